//! Minutes of random traffic over TCP, in both directions, with reconnects and broken connections.
//!
//! What is sent is the output of a hash function with the seed of the direction as its key, so the
//! receiver knows what should have come, however much that was before the connection broke.

use std::{
    env, io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tungstenite::protocol::Role;
use ws_stream_tungstenite::{Writes, WsConfig, tungstenite};

use crate::{
    KIB, MIB,
    backend::{OverTokio, over_tokio},
    memory::resident_bytes,
    support::Random,
};

type Stream = OverTokio<TcpStream>;

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// Both close when they have sent and received everything.
    Clean,
    /// One of them is dropped when it has sent that many bytes.
    Broken { role: Role, sent: usize },
}

/// What one connection carries. The seed determines it all.
#[derive(Debug, Clone, Copy)]
struct Plan {
    seed: u64,
    /// From the client and from the server, in bytes.
    lengths: [usize; 2],
    end: End,
}

impl Plan {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let lengths = [(); 2].map(|()| random.below(MAX_LENGTH));
        let end = if random.one_in(3) {
            let role = [Role::Client, Role::Server][random.below(2)];
            End::Broken { role, sent: random.below(lengths[usize::from(role == Role::Server)] + 1) }
        } else {
            End::Clean
        };
        Self { seed, lengths, end }
    }

    fn direction(&self, from: Role) -> Direction {
        let index = usize::from(from == Role::Server);
        let sent = match self.end {
            End::Broken { role, sent } if role == from => sent,
            _ => self.lengths[index],
        };
        Direction {
            seed: self.seed.wrapping_mul(2) + index as u64,
            length: self.lengths[index],
            sent,
        }
    }

    fn is_dropped_by(&self, role: Role) -> bool {
        matches!(self.end, End::Broken { role: by, .. } if by == role)
    }
}

#[derive(Debug, Clone, Copy)]
struct Direction {
    seed: u64,
    length: usize,
    /// Less than `length` if the sender is dropped before the end.
    sent: usize,
}

impl Direction {
    /// The bytes that are sent, one after the other.
    fn bytes(&self) -> blake3::OutputReader {
        blake3::Hasher::new().update(&self.seed.to_le_bytes()).finalize_xof()
    }

    /// The hash of the first `length` of them.
    fn hash(&self, length: usize) -> blake3::Hash {
        let mut bytes = self.bytes();
        let mut hasher = blake3::Hasher::new();
        let mut buf = vec![0; 64 * KIB];
        let mut left = length;
        while left > 0 {
            let part = left.min(buf.len());
            bytes.fill(&mut buf[..part]);
            hasher.update(&buf[..part]);
            left -= part;
        }
        hasher.finalize()
    }

    /// Sends them in random pieces, some of which are flushed.
    async fn send<W: AsyncWrite + Unpin>(self, mut to: W) -> io::Result<W> {
        let mut random = Random::new(self.seed);
        let mut bytes = self.bytes();
        let mut buf = vec![0; MAX_PIECE];
        let mut left = self.sent;
        while left > 0 {
            let piece = piece(&mut random).min(left);
            bytes.fill(&mut buf[..piece]);
            to.write_all(&buf[..piece]).await?;
            left -= piece;
            if random.one_in(4) {
                to.flush().await?;
            }
        }
        to.flush().await?;
        Ok(to)
    }

    /// Receives them into buffers of random sizes: all of them, or until nothing more comes. Says how
    /// many came, and checks them.
    async fn receive<R: AsyncRead + Unpin>(self, mut from: R) -> (R, usize) {
        let mut random = Random::new(!self.seed);
        let mut hasher = blake3::Hasher::new();
        let mut buf = vec![0; MAX_PIECE];
        let mut length = 0;
        while length < self.length {
            let piece = piece(&mut random);
            match from.read(&mut buf[..piece]).await {
                Ok(0) | Err(_) => break,
                Ok(part) => {
                    hasher.update(&buf[..part]);
                    length += part;
                }
            }
        }
        assert!(hasher.finalize() == self.hash(length), "{length} bytes are not those of {self:?}");
        (from, length)
    }
}

/// From one byte to `MAX_PIECE`, small ones as often as large ones.
fn piece(random: &mut Random) -> usize {
    let limit = 1 << random.below(MAX_PIECE.ilog2() as usize + 1);
    1 + random.below(limit)
}

/// Does what one end has to do. Says how many bytes it received.
async fn run(plan: Plan, role: Role, stream: Stream) -> usize {
    let (stream, received) = match plan.seed % 2 {
        #[cfg(feature = "tokio_io")]
        0 => in_tasks_of_tokio(plan, role, stream).await,
        _ => in_tasks_of_futures(plan, role, stream).await,
    };
    if let Some(mut stream) = stream {
        assert_eq!(received, plan.lengths[usize::from(role == Role::Client)], "{role:?}, {plan:?}");
        stream.close().await.unwrap();
        assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "{role:?}, {plan:?}");
    }
    received
}

async fn in_tasks_of_futures(plan: Plan, role: Role, stream: Stream) -> (Option<Stream>, usize) {
    let (read, write) = stream.split();
    let (halves, received) = in_two_tasks(plan, role, read, write).await;
    (halves.map(|(read, write)| read.reunite(write).unwrap()), received)
}

#[cfg(feature = "tokio_io")]
async fn in_tasks_of_tokio(plan: Plan, role: Role, stream: Stream) -> (Option<Stream>, usize) {
    use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};
    let (read, write) = tokio::io::split(stream);
    let (halves, received) = in_two_tasks(plan, role, read.compat(), write.compat_write()).await;
    let joined = halves.map(|(read, write)| read.into_inner().unsplit(write.into_inner()));
    (joined, received)
}

/// Sends in one task and receives in another. Returns the halves if the connection is whole.
async fn in_two_tasks<R, W>(plan: Plan, role: Role, read: R, write: W) -> (Option<(R, W)>, usize)
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let other = if role == Role::Client { Role::Server } else { Role::Client };
    let receiver = tokio::spawn(plan.direction(other).receive(read));
    let sender = tokio::spawn(plan.direction(role).send(write));
    let sent = sender.await.unwrap();
    if plan.is_dropped_by(role) {
        receiver.abort();
    }
    match (receiver.await, sent) {
        (Ok((read, received)), Ok(write)) if plan.end == End::Clean => {
            (Some((read, write)), received)
        }
        (Ok((_, received)), _) if plan.end != End::Clean => (None, received),
        (Err(error), _) if error.is_cancelled() => (None, 0),
        (received, sent) => panic!(
            "{role:?}, {plan:?}: {:?}, {:?}",
            received.map(|(_, received)| received),
            sent.map(|_| ())
        ),
    }
}

/// One connection, from its beginning to its end. Says how many bytes were received.
async fn connection(listener: &TcpListener, plan: Plan) -> usize {
    let (client, server) =
        tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
    let ends = [(Role::Client, client.unwrap()), (Role::Server, server.unwrap().0)];
    let ends = ends.map(|(role, tcp)| async move {
        // one in four collects
        let writes = if plan.seed % 4 < 3 { Writes::AtOnce } else { Writes::Collect(8 * KIB) };
        let config = WsConfig::new().writes(writes);
        let stream = over_tokio::without_handshake(tcp, role, config).await;
        tokio::spawn(run(plan, role, stream)).await.unwrap()
    });
    let both = futures::future::join_all(ends);
    let received = tokio::time::timeout(PATIENCE, both).await;
    received.unwrap_or_else(|_| panic!("hangs: {plan:?}")).into_iter().sum()
}

#[derive(Debug, Default)]
struct Totals {
    next_seed: AtomicU64,
    connections: AtomicU64,
    /// How many of them were broken.
    broken: AtomicU64,
    bytes: AtomicU64,
}

impl Totals {
    fn say(&self, begin: Instant) {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let connections = self.connections.load(Ordering::Relaxed);
        let broken = self.broken.load(Ordering::Relaxed);
        let resident = resident_bytes()
            .map_or("unknown".into(), |bytes| format!("{} KiB resident", bytes / KIB));
        let (seconds, gib) = (begin.elapsed().as_secs(), bytes >> 30);
        println!(
            "{seconds:>4} s: {connections} connections ({broken} broken), {gib} GiB, {resident}"
        );
    }
}

/// `SOAK_SECONDS` and `SOAK_SEED` change how long it takes and where it begins.
#[test]
#[ignore = "takes minutes"]
fn soak() {
    let from_env = |name: &str| env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let duration = Duration::from_secs(from_env("SOAK_SECONDS").unwrap_or(180));
    let seed = from_env("SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()) << 32);
    println!("{AT_ONCE} connections at once for {duration:?}, from SOAK_SEED={seed} on");
    let totals = Arc::new(Totals { next_seed: seed.into(), ..Totals::default() });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let begin = Instant::now();
        let workers =
            [(); AT_ONCE].map(|()| tokio::spawn(work(Arc::clone(&totals), begin + duration)));
        for _ in 0..=duration.as_secs() / 20 {
            totals.say(begin);
            let rest = (begin + duration).saturating_duration_since(Instant::now());
            tokio::time::sleep(rest.min(Duration::from_secs(20))).await;
        }
        for worker in workers {
            worker.await.unwrap();
        }
        totals.say(begin);
    });
    assert!(totals.connections.load(Ordering::Relaxed) > 0);
}

/// Opens connections one after the other until the time is up.
async fn work(totals: Arc<Totals>, end: Instant) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    while Instant::now() < end {
        let seed = totals.next_seed.fetch_add(1, Ordering::Relaxed);
        let plan = Plan::new(seed);
        let bytes = connection(&listener, plan).await;
        totals.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        totals.connections.fetch_add(1, Ordering::Relaxed);
        totals.broken.fetch_add(u64::from(plan.end != End::Clean), Ordering::Relaxed);
    }
}

const AT_ONCE: usize = 8;

/// Of what a direction carries, in bytes.
const MAX_LENGTH: usize = 8 * MIB;

/// Of a write and of the buffer for a read, in bytes: more than one message.
const MAX_PIECE: usize = 256 * KIB;

/// For one connection, which takes a second at most unless something hangs.
const PATIENCE: Duration = Duration::from_secs(120);
