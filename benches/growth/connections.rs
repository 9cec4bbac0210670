//! Many connections in one process, and what they cost.
//!
//! They are pipes in memory, which take next to nothing: neither the limit of file descriptors nor
//! what a system does for sockets has a part in the figures. Both ends of each are tasks that sleep
//! in a read.

use std::{fs, io, sync::Arc, time::Duration};

use current_tungstenite::{
    WebSocketStream, tokio::TokioAdapter, tungstenite::Message, tungstenite::protocol::Role,
};
use ends::{TokioIo, Variant};
use futures_util::StreamExt;
use rustix::{
    param::page_size,
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};
use stats_alloc::INSTRUMENTED_SYSTEM;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    select,
    sync::{Semaphore, watch},
    task::yield_now,
};

/// What a connection costs, both ends together.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) kind: String,
    pub(crate) connections: usize,
    /// What the allocator gave, for each connection.
    pub(crate) heap_bytes: usize,
    /// What was touched of it, in whole pages, and what else is in memory.
    pub(crate) resident_bytes: usize,
    /// Processor time for sending a message and receiving it.
    pub(crate) message_ns: u128,
}

/// What the connections are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// The transport without a websocket.
    Pipe,
    /// The websocket without a stream of bytes on top, with the newer async-tungstenite.
    Websocket,
    Stream(Variant),
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Pipe,
        Self::Websocket,
        Self::Stream(Variant::Published),
        Self::Stream(Variant::Current),
        Self::Stream(Variant::Recommended),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pipe => "pipe alone",
            Self::Websocket => "websocket alone",
            Self::Stream(variant) => variant.name(),
        }
    }

    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.name() == name).ok_or_else(|| format!("{name} is not measured"))
    }
}

/// Opens connections, lets each carry one message each way, and measures.
pub(crate) fn measure(kind: Kind, connections: usize) -> Figures {
    ends::runtime().block_on(async {
        let mut all = Connections::new(kind);
        // the first one pays for what all share
        all.open(1).await;
        all.serve_all().await;

        let (heap, resident) = (heap_bytes(), resident_bytes());
        all.open(connections).await;
        all.serve_all().await;
        let heap = heap_bytes() - heap;
        let resident = resident_bytes().saturating_sub(resident);

        Figures {
            kind: kind.name().to_owned(),
            connections,
            heap_bytes: heap / connections,
            resident_bytes: resident / connections,
            message_ns: all.time_message().await.as_nanos(),
        }
    })
}

struct Connections {
    kind: Kind,
    count: u32,
    /// Makes each client send a request.
    rounds: watch::Sender<()>,
    /// How many clients have their response.
    done: Arc<Semaphore>,
}

impl Connections {
    fn new(kind: Kind) -> Self {
        let (rounds, _) = watch::channel(());
        Self { kind, count: 0, rounds, done: Arc::new(Semaphore::new(0)) }
    }

    async fn open(&mut self, count: usize) {
        for _ in 0..count {
            self.open_one().await;
            self.count += 1;
        }
    }

    async fn open_one(&self) {
        let requests = Requests { rounds: self.rounds.subscribe(), done: Arc::clone(&self.done) };
        let (client, server) = tokio::io::duplex(PIPE_CAPACITY);
        match self.kind {
            Kind::Pipe => spawn_ends((client, server), requests),
            Kind::Websocket => {
                tokio::spawn(requests.send_messages(websocket(client, Role::Client).await));
                tokio::spawn(respond_to_messages(websocket(server, Role::Server).await));
            }
            Kind::Stream(variant) => spawn_ends(variant.wrap((client, server)).await, requests),
        }
    }

    /// One request and its response on each connection.
    async fn serve_all(&self) {
        self.rounds.send_replace(());
        let done = self.done.acquire_many(self.count).await;
        done.expect("nobody closes it").forget();
        // whoever has received goes back to sleep
        for _ in 0..ROUNDS_OF_SCHEDULER {
            yield_now().await;
        }
    }

    /// Processor time for sending a message and receiving it, when the machine is least disturbed.
    async fn time_message(&self) -> Duration {
        let rounds = REQUESTS.div_ceil(self.count);
        let mut least = Duration::MAX;
        for _ in 0..SAMPLES {
            let begin = processor_time();
            for _ in 0..rounds {
                self.serve_all().await;
            }
            least = least.min(processor_time().saturating_sub(begin));
        }
        least / (2 * rounds * self.count)
    }
}

fn spawn_ends<T: TokioIo>((client, server): (T, T), requests: Requests) {
    tokio::spawn(requests.send(client));
    tokio::spawn(respond(server));
}

/// What makes a client send requests.
struct Requests {
    rounds: watch::Receiver<()>,
    done: Arc<Semaphore>,
}

impl Requests {
    /// Sleeps in a read also while there is nothing to be read, as who does not know better does.
    async fn send(mut self, mut client: impl TokioIo) -> io::Result<()> {
        let mut buf = [0; SIZE];
        loop {
            select! {
                biased;
                round = self.rounds.changed() => {
                    let Ok(()) = round else { return Ok(()) };
                    client.write_all(&[0; SIZE]).await?;
                    client.flush().await?;
                }
                length = client.read(&mut buf) => {
                    assert_eq!(length?, SIZE);
                    self.done.add_permits(1);
                }
            }
        }
    }

    /// The same with messages.
    async fn send_messages(mut self, mut client: Websocket) {
        loop {
            select! {
                biased;
                round = self.rounds.changed() => {
                    let Ok(()) = round else { return };
                    let message = Message::binary(vec![0; SIZE]);
                    client.send(message).await.expect("the server is there");
                }
                message = client.next() => {
                    let message = message.expect("the server is there");
                    assert_eq!(message.expect("it responds").len(), SIZE);
                    self.done.add_permits(1);
                }
            }
        }
    }
}

async fn respond(mut server: impl TokioIo) -> io::Result<()> {
    let mut buf = [0; SIZE];
    loop {
        server.read_exact(&mut buf).await?;
        server.write_all(&buf).await?;
        server.flush().await?;
    }
}

async fn respond_to_messages(mut server: Websocket) {
    while let Some(Ok(message)) = server.next().await {
        server.send(message).await.expect("the client is there");
    }
}

type Websocket = WebSocketStream<TokioAdapter<DuplexStream>>;

async fn websocket(transport: DuplexStream, role: Role) -> Websocket {
    WebSocketStream::from_raw_socket(TokioAdapter::new(transport), role, None).await
}

fn heap_bytes() -> usize {
    let stats = INSTRUMENTED_SYSTEM.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn resident_bytes() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("the system is a Linux");
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("the second number is that of the resident pages") * page_size()
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.try_into().expect("time does not run backwards")
}

/// How long a request is, and its response, in bytes.
const SIZE: usize = 64;

/// How much a direction of a pipe holds, in bytes.
const PIPE_CAPACITY: usize = 1024;

/// How many requests a sample has, or one on each connection if those are more.
const REQUESTS: u32 = 4_000;

const SAMPLES: usize = 5;

/// How often the measuring task lets all others run, so that they come to rest.
const ROUNDS_OF_SCHEDULER: usize = 4;
