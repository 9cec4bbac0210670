//! The two ends of a websocket as streams of bytes: of either crate, over either transport.

mod loopback;

use std::{fmt, time::Duration};

use criterion::Criterion;
use current::{
    Writes, WsConfig, WsStream, byte_stream_config,
    pharos::{Observable, ObserveConfig},
    tungstenite::protocol::WebSocketConfig,
};
use current_tungstenite::tokio::TokioAdapter;
use futures_util::{AsyncRead, AsyncWrite};
use tokio::runtime::{Builder, Runtime};

/// One end of a websocket, which can live in a task of its own.
pub trait End: AsyncRead + AsyncWrite + TokioIo {}

impl<T: AsyncRead + AsyncWrite + TokioIo> End for T {}

/// A stream of bytes with tokio's traits.
pub trait TokioIo: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> TokioIo for T {}

/// A client and its server. The indirection costs the same whatever is behind it.
pub type Ends = (Box<dyn End>, Box<dyn End>);

/// Which crate, and how it is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The crate in this repository, with the websocket configuration of tungstenite.
    Current,
    /// The same with `byte_stream_config`, as its own constructors make it.
    Recommended,
    /// The same as `Current`, but many small writes become one message.
    Collecting,
    /// The same as `Current`, with handles held by others who observe and wait for the end.
    Handles,
    /// The last release before 0.16, as it is by default.
    Published,
}

impl Variant {
    /// Those that are compared in everything.
    pub const ALL: [Self; 3] = [Self::Current, Self::Recommended, Self::Published];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Recommended => "recommended",
            Self::Collecting => "collecting",
            Self::Handles => "handles",
            Self::Published => "published",
        }
    }

    /// Opens a websocket, on the runtime whose context this runs in.
    pub async fn open(self, transport: Transport) -> Ends {
        match transport {
            Transport::Pipe => self.wrap(tokio::io::duplex(PIPE_CAPACITY)).await,
            Transport::Tcp => {
                self.wrap(loopback::connect().await.expect("loopback takes connections")).await
            }
        }
    }

    /// The same over the two ends of any transport.
    pub async fn wrap<T: TokioIo>(self, transports: (T, T)) -> Ends {
        let standard = WebSocketConfig::default();
        match self {
            Self::Current => current(transports, standard, &WsConfig::new()).await,
            Self::Recommended => current(transports, byte_stream_config(), &WsConfig::new()).await,
            Self::Collecting => {
                let config = WsConfig::new().writes(Writes::Collect(COLLECTED));
                current(transports, standard, &config).await
            }
            Self::Handles => with_handles(transports).await,
            Self::Published => published(transports).await,
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a websocket runs over.
#[derive(Debug, Clone, Copy)]
pub enum Transport {
    Pipe,
    Tcp,
}

impl Transport {
    const ALL: [Self; 2] = [Self::Pipe, Self::Tcp];
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pipe => "pipe",
            Self::Tcp => "tcp",
        })
    }
}

/// Runs both ends on the thread of the bench: the time to wake another one is not ours to measure.
#[must_use]
pub fn runtime() -> Runtime {
    Builder::new_current_thread().enable_io().build().expect("the system has room for a poller")
}

/// Settings with which all benches together take about five minutes.
#[must_use]
pub fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .nresamples(10_000)
}

/// Each variant with each transport.
pub fn everywhere(variants: &[Variant]) -> impl Iterator<Item = (Transport, Variant)> {
    Transport::ALL
        .into_iter()
        .flat_map(|transport| variants.iter().map(move |variant| (transport, *variant)))
}

async fn current<T: TokioIo>(
    (client, server): (T, T),
    websocket: WebSocketConfig,
    config: &WsConfig,
) -> Ends {
    let (client, server) = current_streams((client, server), websocket, config).await;
    (Box::new(client), Box::new(server))
}

async fn with_handles<T: TokioIo>(transports: (T, T)) -> Ends {
    let (client, server) =
        current_streams(transports, WebSocketConfig::default(), &WsConfig::new()).await;
    for mut meta in [client.meta(), server.meta()] {
        tokio::spawn(async move {
            let events = meta.observe(ObserveConfig::default()).await;
            (meta.closed().await, events)
        });
    }
    (Box::new(client), Box::new(server))
}

type Current<T> = WsStream<TokioAdapter<T>>;

async fn current_streams<T: TokioIo>(
    (client, server): (T, T),
    websocket: WebSocketConfig,
    config: &WsConfig,
) -> (Current<T>, Current<T>) {
    use current_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

    let end = async |transport, role| {
        let transport = TokioAdapter::new(transport);
        let socket = WebSocketStream::from_raw_socket(transport, role, Some(websocket)).await;
        WsStream::with_config(socket, config.clone())
    };
    (end(client, Role::Client).await, end(server, Role::Server).await)
}

async fn published<T: TokioIo>((client, server): (T, T)) -> Ends {
    use published::WsStream;
    use published_tungstenite::{
        WebSocketStream, tokio::TokioAdapter, tungstenite::protocol::Role,
    };

    let end = async |transport, role| {
        let transport = TokioAdapter::new(transport);
        WsStream::new(WebSocketStream::from_raw_socket(transport, role, None).await)
    };
    (Box::new(end(client, Role::Client).await), Box::new(end(server, Role::Server).await))
}

/// How much one direction of the pipe holds, in bytes: more than one frame of 64 KiB.
const PIPE_CAPACITY: usize = 256 * 1024;

/// How much is collected for one message, in bytes.
const COLLECTED: usize = 8 * 1024;
