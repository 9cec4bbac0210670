//! The two ends of a websocket as streams of bytes: of either crate, over either transport.

use std::{io, time::Duration};

use criterion::Criterion;
use current::{WsConfig, WsStream};
use current_tungstenite::tokio::TokioAdapter;
use futures_util::{AsyncRead, AsyncWrite};
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

/// One end of a websocket, which can live in a task of its own.
pub(crate) trait End: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> End for T {}

/// One end of a websocket of the crate in this repository.
pub(crate) type Current<T> = WsStream<TokioAdapter<T>>;

/// What a websocket runs over.
pub(crate) trait Transport:
    tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static
{
}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Transport for T {}

/// The client and the server of the crate in this repository.
pub(crate) async fn current<T: Transport>(transports: (T, T)) -> (Current<T>, Current<T>) {
    current_with(transports, &WsConfig::new()).await
}

/// The same, with other choices than the default.
pub(crate) async fn current_with<T: Transport>(
    transports: (T, T),
    config: &WsConfig,
) -> (Current<T>, Current<T>) {
    use current_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

    let end = async |transport, role| {
        WsStream::with_config(
            WebSocketStream::from_raw_socket(TokioAdapter::new(transport), role, None).await,
            config.clone(),
        )
    };
    (end(transports.0, Role::Client).await, end(transports.1, Role::Server).await)
}

/// The client and the server of the published crate.
pub(crate) async fn published<T: Transport>(transports: (T, T)) -> (impl End, impl End) {
    use published::WsStream;
    use published_tungstenite::{
        WebSocketStream, tokio::TokioAdapter, tungstenite::protocol::Role,
    };

    let end = async |transport, role| {
        WsStream::new(
            WebSocketStream::from_raw_socket(TokioAdapter::new(transport), role, None).await,
        )
    };
    (end(transports.0, Role::Client).await, end(transports.1, Role::Server).await)
}

/// The two ends of an in-memory pipe.
pub(crate) fn pipe() -> (DuplexStream, DuplexStream) {
    tokio::io::duplex(PIPE_CAPACITY)
}

/// The two ends of a loopback connection.
pub(crate) async fn tcp() -> (TcpStream, TcpStream) {
    let connected: io::Result<_> = async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let client = TcpStream::connect(listener.local_addr()?).await?;
        let (server, _) = listener.accept().await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok((client, server))
    }
    .await;
    connected.expect("the loopback interface takes connections")
}

/// Runs both ends on the thread of the bench: the time to wake another one is not ours to measure.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_io().build().expect("the system has room for a poller")
}

/// Settings with which both benches together take about two minutes.
pub(crate) fn criterion() -> Criterion {
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .nresamples(10_000)
}

/// How much one direction of the pipe holds, in bytes: more than one frame of 64 KiB.
const PIPE_CAPACITY: usize = 256 * 1024;
