//! Thousands of connections at once in one process: requests and responses, and every kind of end.

use std::{
    fmt, io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use allocation_counter::{AllocationInfo, measure};
use futures::{AsyncReadExt, AsyncWriteExt};
use pharos::{Channel, Events, Observable};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Barrier, Semaphore},
    task::{JoinSet, yield_now},
};
use tungstenite::protocol::Role;
use ws_stream_tungstenite::{WsConfig, WsEvent, pharos, tungstenite};

use crate::{
    KIB,
    backend::{OverTokio, over_tokio},
    memory::resident_bytes,
    support::{Random, told},
};

/// A transport that can be cut.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// When it is dropped, the other end gets an error.
    fn cut(&mut self);
}

/// One end of a pipe in memory.
struct Pipe {
    inner: DuplexStream,
    is_cut: Arc<AtomicBool>,
}

impl Pipe {
    fn check(&self) -> io::Result<()> {
        let is_cut = self.is_cut.load(Ordering::Relaxed);
        if is_cut { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
    }
}

impl Transport for Pipe {
    fn cut(&mut self) {
        self.is_cut.store(true, Ordering::Relaxed);
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl Transport for TcpStream {
    fn cut(&mut self) {
        let now = Some(Duration::ZERO);
        rustix::net::sockopt::set_socket_linger(self, now).unwrap();
    }
}

/// Where the two ends of a connection come from.
trait Network: Send + Sync + 'static {
    type Transport: Transport;

    fn connect(&self) -> impl Future<Output = (Self::Transport, Self::Transport)> + Send;
}

struct Memory;

impl Network for Memory {
    type Transport = Pipe;

    async fn connect(&self) -> (Pipe, Pipe) {
        let (client, server) = tokio::io::duplex(KIB);
        let is_cut = Arc::new(AtomicBool::new(false));
        let pipe = |inner| Pipe { inner, is_cut: Arc::clone(&is_cut) };
        (pipe(client), pipe(server))
    }
}

struct Tcp {
    listener: TcpListener,
    /// How many may be on their way.
    slots: Semaphore,
}

impl Tcp {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, slots: Semaphore::new(100) }
    }
}

impl Network for Tcp {
    type Transport = TcpStream;

    /// The ends may belong to two connections that are opened at the same time, which are the same
    /// in every respect.
    async fn connect(&self) -> (TcpStream, TcpStream) {
        let _slot = self.slots.acquire().await.unwrap();
        let address = self.listener.local_addr().unwrap();
        let ends = tokio::try_join!(TcpStream::connect(address), self.listener.accept());
        let (client, (server, _)) = ends.unwrap();
        (client, server)
    }
}

/// What is done with a request.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(u8)]
enum Act {
    Answer,
    Close,
    CloseWithCode,
    Drop,
    DropInsideMessage,
    Cut,
}

impl Act {
    const ALL: [Self; 6] = [
        Self::Answer,
        Self::Close,
        Self::CloseWithCode,
        Self::Drop,
        Self::DropInsideMessage,
        Self::Cut,
    ];

    /// What the other end is told.
    fn is_told_as(self) -> &'static [&'static str] {
        match self {
            Self::Answer => &[],
            Self::Close => &["close", "closed"],
            Self::CloseWithCode => &["close 4001 \"bye\"", "closed"],
            Self::Drop | Self::DropInsideMessage => &["error: MissingCloseFrame", "closed"],
            Self::Cut => &["error: Io(ConnectionReset)", "closed"],
        }
    }
}

/// One end of a connection.
struct End<T> {
    ws: OverTokio<T>,
    events: Events<WsEvent>,
    role: Role,
}

impl<T: Transport> End<T> {
    async fn new(transport: T, role: Role) -> Self {
        let mut ws = over_tokio::without_handshake(transport, role, WsConfig::new()).await;
        let events = ws.observe(Channel::Bounded(4).into()).await.unwrap();
        Self { ws, events, role }
    }

    /// Sends a request, and reads the response to it.
    async fn ask(&mut self, size: usize) {
        self.send(Act::Answer, &vec![1; size]).await;
        let mut response = vec![0; size];
        self.ws.read_exact(&mut response).await.unwrap();
        assert!(response.iter().all(|&byte| byte == 2));
    }

    async fn send(&mut self, act: Act, payload: &[u8]) {
        let size = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.ws.write_all(&[&[act as u8], &size[..], payload].concat()).await.unwrap();
    }

    /// Answers until a request asks for something else, or there are no more.
    async fn serve(mut self) {
        let mut header = [0; 5];
        while self.ws.read(&mut header[..1]).await.is_ok_and(|length| length == 1) {
            self.ws.read_exact(&mut header[1..]).await.unwrap();
            let size = u32::from_be_bytes(header[1..].try_into().unwrap());
            let mut payload = vec![0; usize::try_from(size).unwrap()];
            self.ws.read_exact(&mut payload).await.unwrap();
            let act = Act::ALL[usize::from(header[0])];
            if act != Act::Answer {
                return self.end(act).await;
            }
            payload.fill(2);
            self.ws.write_all(&payload).await.unwrap();
        }
        let told = told(&mut self.events);
        let last = told.last().expect("something is told");
        assert_eq!(last, "closed", "{told:?}");
    }

    async fn end(mut self, act: Act) {
        let transport = over_tokio::transport(&mut self.ws);
        match act {
            Act::Answer | Act::Drop => {}
            Act::Close => {
                self.ws.close().await.unwrap();
                self.watch(act).await;
            }
            Act::CloseWithCode => {
                let meta = self.ws.meta();
                let (event, ()) = tokio::join!(meta.close(4001, "bye"), self.watch(act));
                assert!(event.unwrap().was_clean);
            }
            Act::DropInsideMessage => {
                let mask_bit = if self.role == Role::Client { 0x80 } else { 0 };
                let half = [0x82, 0x40 | mask_bit, 1, 2, 3, 4, 5, 6, 7, 8];
                tokio::io::AsyncWriteExt::write_all(transport, &half).await.unwrap();
            }
            Act::Cut => transport.cut(),
        }
    }

    /// Reads to the end that the other end made with `act`.
    async fn watch(&mut self, act: Act) {
        let read = self.ws.read(&mut [0; 8]).await;
        if act == Act::Cut {
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        } else {
            assert_eq!(read.unwrap(), 0, "{act:?}");
        }
        assert_eq!(told(&mut self.events), act.is_told_as(), "{act:?}, {:?}", self.role);
    }
}

/// How many connections ended in which way, made by the client and by the server.
#[derive(Default)]
struct Ends([[AtomicUsize; 2]; Act::ALL.len()]);

impl Ends {
    fn count(&self, act: Act, by_server: bool) {
        self.0[act as usize][usize::from(by_server)].fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, act: Act) -> [usize; 2] {
        [0, 1].map(|by| self.0[act as usize][by].load(Ordering::Relaxed))
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for act in &Act::ALL[1..] {
            let [client, server] = self.of(*act);
            write!(f, " {act:?} {client}+{server}")?;
        }
        Ok(())
    }
}

/// A client: a connection that lasts until all are there and has random requests and a random end,
/// and perhaps another.
async fn client(network: Arc<impl Network>, seed: u64, all: Arc<Barrier>, ends: Arc<Ends>) {
    let mut random = Random::new(seed);
    for _ in 0..random.below(50) {
        yield_now().await;
    }
    connection(&*network, &mut random, Some(&all), &ends).await;
    if random.one_in(4) {
        connection(&*network, &mut random, None, &ends).await;
    }
}

async fn connection(
    network: &impl Network,
    random: &mut Random,
    all: Option<&Barrier>,
    ends: &Ends,
) {
    let (client, server) = network.connect().await;
    let server = tokio::spawn(async { End::new(server, Role::Server).await.serve().await });
    let mut client = End::new(client, Role::Client).await;
    client.ask(SIZES[random.below(SIZES.len())]).await;
    if let Some(all) = all {
        all.wait().await; // for the rest to be there
        all.wait().await; // for the measurement
    }
    for _ in 0..random.below(4) {
        client.ask(SIZES[random.below(SIZES.len())]).await;
        yield_now().await;
    }
    let act = Act::ALL[1 + random.below(Act::ALL.len() - 1)];
    let by_server = random.one_in(2);
    ends.count(act, by_server);
    if by_server {
        client.send(act, &[]).await;
        client.watch(act).await;
    } else {
        client.end(act).await;
    }
    server.await.unwrap();
}

/// Runs so many clients, and says what was in memory when all were connected.
async fn clients(network: impl Network, count: usize, ends: &Arc<Ends>) -> Option<usize> {
    let network = Arc::new(network);
    let all = Arc::new(Barrier::new(count + 1));
    let mut tasks = JoinSet::new();
    for seed in 0..count {
        let (network, all, ends) = (Arc::clone(&network), Arc::clone(&all), Arc::clone(ends));
        tasks.spawn(client(network, seed as u64, all, ends));
    }
    let whole = async {
        all.wait().await;
        let resident = resident_bytes();
        all.wait().await;
        let mut ended = 0;
        while let Some(task) = tasks.join_next().await {
            task.unwrap();
            ended += 1;
        }
        assert_eq!(ended, count);
        resident
    };
    tokio::time::timeout(PATIENCE, whole).await.expect("a task is lost")
}

/// All of it, from a new runtime to its end, and what that allocated.
fn run<N: Network>(count: usize, network: impl AsyncFnOnce() -> N) -> AllocationInfo {
    let ends = Arc::new(Ends::default());
    let (before, mut resident) = (resident_bytes(), None);
    let used = measure(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        resident = runtime.block_on(async { clients(network().await, count, &ends).await });
        drop(runtime);
    });
    let resident = resident.zip(before).map_or(0, |(most, before)| most.saturating_sub(before));
    println!(
        "{count} connections: {} KiB of heap each at most, {} KiB resident; ends by client+server:{ends}",
        used.bytes_max / KIB as u64 / count as u64,
        resident / KIB / count,
    );
    if count > 1000 {
        assert!(
            Act::ALL[1..].iter().all(|act| ends.of(*act).iter().all(|&ends| ends > 0)),
            "{ends}"
        );
    }
    used
}

/// The same, on a thread that has allocated what each thread does once.
fn check<N: Network>(count: usize, network: impl AsyncFn() -> N) {
    run(2, &network);
    let used = run(count, &network);
    assert_eq!((used.count_current, used.bytes_current), (0, 0), "something is left: {used:?}");
    assert!(used.bytes_max < (count * MOST_HEAP) as u64, "{used:?}");
}

#[test]
fn ten_thousand_in_memory_leave_nothing_behind() {
    check(CONNECTIONS, async || Memory);
}

#[test]
fn as_many_over_tcp_as_may_be_open_leave_nothing_behind() {
    check(CONNECTIONS.min(most_connections()), Tcp::new);
}

/// How many connections may be open, both ends in this process. Raises the limit as far as it goes.
fn most_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, ..limit };
    setrlimit(Resource::Nofile, raised).unwrap();
    let most = limit.maximum.map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    println!("{most} files may be open");
    (most - OTHER_FILES) / 2
}

const CONNECTIONS: usize = 10_000;

/// How many files other tests have open.
const OTHER_FILES: usize = 200;

/// Of requests, in bytes.
const SIZES: [usize; 5] = [0, 1, 100, 1000, 6000];

/// For a connection, in bytes: two read buffers, twice what was written at each end, the transport,
/// the tasks.
const MOST_HEAP: usize = 80 * KIB;

/// For all connections together, which take seconds.
const PATIENCE: Duration = Duration::from_secs(120);
