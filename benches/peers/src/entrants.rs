//! Contenders in a scenario: connected with themselves, and ready to run.

use std::{io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::DuplexStream,
    net::TcpStream,
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use crate::{
    codecs::{Codec, Lines},
    contenders::{Visitor, Who, visit_all},
    ends::{ByteStream, Contender, End, Role, StreamContender, Streamed},
    loopback,
    scenarios::{Direction, KIB, Scenario, Transport, Work},
    workloads::{Job, Pace, Ran, duplex, exchange, items, one_way},
};

/// A contender in a scenario, connected.
pub trait Run {
    /// Runs a number of operations and returns what they cost together.
    ///
    /// After a failure, every run fails.
    fn run(&mut self, operations: usize, check: bool) -> Result<Duration, String>;
}

/// A contender, ready to run.
pub type Entrant = (Who, Box<dyn Run>);

/// Connects those contenders that `wanted` takes.
pub fn connect(scenario: Scenario, wanted: &dyn Fn(Who) -> bool) -> Vec<Entrant> {
    let data = letters(scenario.size);
    let mut entrants = Entrants { scenario, wanted, data, entered: Vec::new() };
    visit_all(&mut entrants);
    entrants.entered
}

/// Letters, in an order that repeats only after 26 times 251 of them.
fn letters(count: usize) -> Bytes {
    let mut alphabet = (b'a'..=b'z').cycle();
    let mut letters = Vec::with_capacity(count);
    while letters.len() < count {
        alphabet.next(); // so that the next lot begins with another letter
        letters.extend(alphabet.by_ref().take(251.min(count - letters.len())));
    }
    letters.into()
}

struct Entrants<'w> {
    scenario: Scenario,
    wanted: &'w dyn Fn(Who) -> bool,
    data: Bytes,
    entered: Vec<Entrant>,
}

impl Visitor for Entrants<'_> {
    fn messages(&mut self, who: Who, contender: impl Contender) {
        if self.takes(who) {
            match self.scenario.transport {
                Transport::Pipe => self.enter::<Pipe>(who, contender),
                Transport::Tcp => self.enter::<Tcp>(who, contender),
            }
        }
    }

    fn stream(&mut self, who: Who, contender: impl StreamContender) {
        if self.takes(who) {
            match (self.scenario.work, self.scenario.transport) {
                (Work::Lines, Transport::Pipe) => self.enter_codec::<Lines, Pipe>(who, contender),
                (Work::Lines, Transport::Tcp) => self.enter_codec::<Lines, Tcp>(who, contender),
                (Work::Frames, Transport::Pipe) => {
                    self.enter_codec::<LengthDelimitedCodec, Pipe>(who, contender);
                }
                (Work::Frames, Transport::Tcp) => {
                    self.enter_codec::<LengthDelimitedCodec, Tcp>(who, contender);
                }
                _ => self.messages(who, Streamed(contender)),
            }
        }
    }
}

impl Entrants<'_> {
    fn takes(&self, who: Who) -> bool {
        self.scenario.suits(who) && (self.wanted)(who)
    }

    /// Every workload that is not a codec's, which takes a stream.
    fn enter<D: Dial>(&mut self, who: Who, contender: impl Contender) {
        let runtime = runtime();
        let ends = runtime.block_on(async {
            let (client, server) = D::dial().await.expect("there is room for a connection");
            (contender.end(client, Role::Client).await, contender.end(server, Role::Server).await)
        });
        let ends = self.sender_first(ends);
        match self.scenario.work {
            Work::Writes => self.add(who, runtime, ends, |e, job| one_way(e, job, Pace::Streaming)),
            Work::FlushedWrites => {
                self.add(who, runtime, ends, |e, job| one_way(e, job, Pace::Flushing));
            }
            Work::HugeWrite => {
                self.add(who, runtime, ends, |e, job| one_way(e, job, Pace::Waiting));
            }
            Work::Exchange => self.add(who, runtime, ends, exchange),
            Work::Duplex => {
                let (client, server) = ends;
                let (writer, reader) = client.halves();
                self.add(who, runtime, (writer, reader, server), duplex);
            }
            Work::Lines | Work::Frames => {}
        }
    }

    fn enter_codec<C: Codec, D: Dial>(&mut self, who: Who, contender: impl StreamContender) {
        let runtime = runtime();
        let ends = runtime.block_on(async {
            let (client, server) = D::dial().await.expect("there is room for a connection");
            let client = contender.stream(client, Role::Client).await;
            let server = contender.stream(server, Role::Server).await;
            (Framed::new(client, C::new()), Framed::new(server, C::new()))
        });
        let ends = self.sender_first(ends);
        self.add(who, runtime, ends, items);
    }

    fn sender_first<E>(&self, (client, server): (E, E)) -> (E, E) {
        match self.scenario.direction {
            Direction::ToServer | Direction::Both => (client, server),
            Direction::ToClient => (server, client),
        }
    }

    fn add<E, F>(
        &mut self,
        who: Who,
        runtime: Runtime,
        ends: E,
        work: impl Fn(E, Job) -> F + 'static,
    ) where
        E: Send + 'static,
        F: Future<Output = Ran<E>> + Send + 'static,
    {
        let connected = Connected { open: Some((runtime, ends)), data: self.data.clone(), work };
        self.entered.push((who, Box::new(connected)));
    }
}

/// Two ends, the runtime on which both live, and what they do.
struct Connected<E, W> {
    open: Option<(Runtime, E)>,
    data: Bytes,
    work: W,
}

impl<E, F, W> Run for Connected<E, W>
where
    E: Send + 'static,
    F: Future<Output = Ran<E>> + Send + 'static,
    W: Fn(E, Job) -> F,
{
    fn run(&mut self, operations: usize, check: bool) -> Result<Duration, String> {
        let (runtime, ends) = self.open.take().ok_or("failed before")?;
        let job = Job { data: self.data.clone(), operations, check };
        let work = (self.work)(ends, job);
        // in a task of its own, so that the time limit is not polled along with it
        let ran = runtime.block_on(async { timeout(TIME_LIMIT, tokio::spawn(work)).await });
        let (ends, cost) = match ran {
            Ok(joined) => joined.map_err(|error| error.to_string())??,
            Err(_) => return Err(format!("takes more than {} s", TIME_LIMIT.as_secs())),
        };
        self.open = Some((runtime, ends));
        Ok(cost)
    }
}

/// How a transport is made.
trait Dial {
    type Transport: ByteStream;

    fn dial() -> impl Future<Output = io::Result<(Self::Transport, Self::Transport)>>;
}

struct Pipe;

impl Dial for Pipe {
    type Transport = DuplexStream;

    async fn dial() -> io::Result<(DuplexStream, DuplexStream)> {
        Ok(tokio::io::duplex(PIPE_CAPACITY))
    }
}

struct Tcp;

impl Dial for Tcp {
    type Transport = TcpStream;

    async fn dial() -> io::Result<(TcpStream, TcpStream)> {
        loopback::connect().await
    }
}

/// Both ends run on the thread of the comparison: no other has to be woken, none works beside it.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("the system has room for a poller")
}

/// How much one direction of the pipe holds, in bytes: more than one frame of 64 KiB.
const PIPE_CAPACITY: usize = 256 * KIB;

/// After which a run counts as failed: it takes a tenth of that on the slowest machine.
const TIME_LIMIT: Duration = Duration::from_secs(20);
