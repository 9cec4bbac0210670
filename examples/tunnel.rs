//! Carries TCP connections through websockets, each through one of its own.
//!
//! `cargo run --features tokio_io --example tunnel` demonstrates it within one process; with
//! `-- --help` it tells how to use it for real.
//!
//! TCP can end one direction and keep the other. A websocket can't: who has got a close frame must
//! not send data any more. So a connection through the tunnel ends as a whole: when one side ends
//! its direction, the other side still gets everything that was sent before, then sees end of file,
//! and what it sends after that is discarded. That suits HTTP or SSH, but nobody who shuts down
//! their sending side first and expects an answer then.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use async_tungstenite::tokio::{TokioAdapter, connect_async_with_config};
use clap::{Args, Parser, Subcommand};
use futures::{FutureExt, StreamExt, future::try_join_all};
use indicatif::BinaryBytes;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, copy_bidirectional_with_sizes,
    },
    net::{TcpListener, TcpStream},
    select,
    sync::Notify,
    time::{sleep, timeout},
    try_join,
};
use ws_stream_tungstenite::{
    WsEvent, WsStream, byte_stream_config,
    pharos::{Events, Observable, ObserveConfig},
};

type Stream = WsStream<TokioAdapter<TcpStream>>;

/// Carries TCP connections through websockets, each through one of its own.
///
/// Neither end encrypts anything or asks who is there.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Accept websockets and forward each to a TCP service
    Server {
        #[command(flatten)]
        listen: Listen,
        /// Address of the TCP service, for instance 127.0.0.1:22
        #[arg(long, value_name = "ADDR")]
        to: String,
    },
    /// Accept TCP connections and forward each through a websocket
    Client {
        #[command(flatten)]
        listen: Listen,
        /// Where the tunnel's server is, for instance ws://example.com:8080
        #[arg(long, value_name = "URL")]
        to: String,
    },
    /// Run a service and both ends of a tunnel in this process, and send data through (default)
    Demo,
}

#[derive(Args)]
struct Listen {
    /// Where to listen, for instance 127.0.0.1:8080
    #[arg(long, value_name = "ADDR")]
    listen: String,
}

/// One end of the tunnel, and where it forwards what it accepts.
#[derive(Clone)]
enum End {
    Server { tcp_address: String },
    Client { url: String },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Cli::parse().command {
        None | Some(Command::Demo) => demonstrate().await,
        Some(Command::Server { listen, to }) => {
            run(bind(&listen.listen).await?, End::Server { tcp_address: to }).await
        }
        Some(Command::Client { listen, to }) => {
            run(bind(&listen.listen).await?, End::Client { url: to }).await
        }
    }
}

async fn bind(address: &str) -> Result<TcpListener> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    eprintln!("listening on {}", listener.local_addr()?);
    Ok(listener)
}

/// Accepts connections for ever.
async fn run(listener: TcpListener, end: End) -> Result<()> {
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => drop(tokio::spawn(end.clone().serve(tcp, peer))),
            Err(error) => {
                // most likely too many connections: wait for some of them to end
                eprintln!("{}: cannot accept connections: {error}", end.name());
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl End {
    fn name(&self) -> &'static str {
        match self {
            Self::Server { .. } => "server",
            Self::Client { .. } => "client",
        }
    }

    /// A connection that fails is worth a line, not the end of the tunnel.
    async fn serve(self, tcp: TcpStream, peer: SocketAddr) {
        let forwarded = match &self {
            Self::Server { tcp_address } => forward_to_tcp(tcp, tcp_address).await,
            Self::Client { url } => forward_to_websocket(tcp, url).await,
        };
        match forwarded {
            Ok(traffic) => eprintln!("{}: {peer}: {traffic}", self.name()),
            Err(error) => eprintln!("{}: {peer}: {error}: {}", self.name(), error.root_cause()),
        }
    }
}

async fn forward_to_tcp(incoming: TcpStream, address: &str) -> Result<String> {
    incoming.set_nodelay(true)?;
    let accept = WsStream::accept(TokioAdapter::new(incoming), None);
    let handshake = timeout(HANDSHAKE_TIMEOUT, accept).await;
    let stream = handshake.context("no handshake in time")?.context("the handshake failed")?;
    match connect_tcp(address).await {
        Ok(tcp) => forward(tcp, stream).await,
        Err(error) => {
            // the client learns of it by a close frame; how well that goes makes no difference
            let _ = timeout(LINGER, close(stream)).await;
            Err(error)
        }
    }
}

async fn connect_tcp(address: &str) -> Result<TcpStream> {
    let tcp = timeout(HANDSHAKE_TIMEOUT, TcpStream::connect(address)).await;
    tcp.with_context(|| format!("no answer from {address}"))?
        .with_context(|| format!("cannot connect to {address}"))
}

async fn close(mut stream: Stream) -> Result<()> {
    stream.shutdown().await?;
    // what the client sends before it got the close frame has nowhere to go
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    Ok(())
}

async fn forward_to_websocket(incoming: TcpStream, url: &str) -> Result<String> {
    let connect = connect_async_with_config(url, Some(byte_stream_config()));
    let handshake = timeout(HANDSHAKE_TIMEOUT, connect).await;
    let (socket, _response) = handshake
        .with_context(|| format!("no answer from {url}"))?
        .with_context(|| format!("cannot connect to {url}"))?;
    socket.get_ref().get_ref().set_nodelay(true)?;
    forward(incoming, WsStream::new(socket)).await
}

/// Forwards until both sides have ended. Returns what there is to say about it.
async fn forward(mut tcp: TcpStream, stream: Stream) -> Result<String> {
    tcp.set_nodelay(true)?;
    let ended = Notify::new();
    let mut tunnel = Tunnel::new(stream, &ended).await?;
    let copied = select! {
        copied = copy_bidirectional_with_sizes(&mut tcp, &mut tunnel, BUFFER, BUFFER) => copied,
        () = linger(&ended) => Err(io::Error::other("one side ended, the other does not")),
    };
    if copied.is_err() {
        // a reset, as end of file would say that this was everything
        tcp.set_zero_linger()?;
    }
    let (sent, received) = copied.context("the connection was cut")?;
    let (sent, received) = (BinaryBytes(sent), BinaryBytes(received));
    Ok(format!("{sent} into the websocket, {received} out of it"))
}

/// Gives the rest of a connection some time, once one side has ended its direction.
async fn linger(ended: &Notify) {
    ended.notified().await;
    sleep(LINGER).await;
}

/// A websocket as `copy_bidirectional` should see it.
struct Tunnel<'a> {
    stream: Stream,
    /// Told when either side has ended its direction.
    ended: &'a Notify,
    errors: Events<WsEvent>,
}

impl<'a> Tunnel<'a> {
    async fn new(mut stream: Stream, ended: &'a Notify) -> Result<Self> {
        let only_errors = ObserveConfig::default().filter(is_error);
        let errors = stream.observe(only_errors).await?;
        Ok(Self { stream, ended, errors })
    }

    fn on_end_of_file(&mut self) -> io::Result<()> {
        self.ended.notify_one();
        // end of file is the end of what came; an error tells that there should have been more
        match self.errors.next().now_or_never() {
            Some(Some(WsEvent::Error(error))) => Err(io::Error::other(error)),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Tunnel<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            self.on_end_of_file()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(Pin::new(&mut self.stream).poll_write(cx, buf)) {
            // The other side has closed and takes nothing more. An error here would also end the
            // opposite direction, where there may be data left to deliver.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(buf.len())),
            written => Poll::Ready(written),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Comes when TCP has ended, and sends a close frame: see the top of this file.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended.notify_one();
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn is_error(event: &WsEvent) -> bool {
    matches!(event, WsEvent::Error(_))
}

// ---- demonstration ----

/// visitor ── TCP ──▶ client ── websocket ──▶ server ── TCP ──▶ service
async fn demonstrate() -> Result<()> {
    let service = TcpListener::bind(ANY_PORT).await?;
    let server = TcpListener::bind(ANY_PORT).await?;
    let client = TcpListener::bind(ANY_PORT).await?;
    let tcp_address = service.local_addr()?.to_string();
    let (server_address, client_address) = (server.local_addr()?, client.local_addr()?);
    let url = format!("ws://{server_address}");
    println!("visitors of {client_address} get through {url} to {tcp_address}");

    tokio::spawn(run_service(service));
    tokio::spawn(run(server, End::Server { tcp_address }));
    tokio::spawn(run(client, End::Client { url }));

    visit_without_handshake(server_address).await?;
    try_join_all((1..=VISITORS).map(|visitor| visit(client_address, visitor))).await?;
    println!("{VISITORS} visitors got back everything that they sent");
    Ok(())
}

/// Greets each visitor and echoes what it says.
async fn run_service(listener: TcpListener) -> Result<()> {
    loop {
        let (mut tcp, _) = listener.accept().await?;
        tokio::spawn(async move {
            tcp.write_all(GREETING).await?;
            let (mut reader, mut writer) = tcp.split();
            tokio::io::copy(&mut reader, &mut writer).await
        });
    }
}

/// Takes the server for a web server. That must not trouble the others.
async fn visit_without_handshake(server: SocketAddr) -> Result<()> {
    let mut tcp = TcpStream::connect(server).await?;
    tcp.write_all(b"GET /news HTTP/1.1\r\nHost: localhost\r\n\r\n").await?;
    let received = tcp.read_to_end(&mut Vec::new()).await.unwrap_or(0);
    println!("a stranger without a handshake got {received} bytes");
    Ok(())
}

async fn visit(client: SocketAddr, visitor: u8) -> Result<()> {
    let mut tcp = TcpStream::connect(client).await?;
    let mut greeting = vec![0; GREETING.len()];
    tcp.read_exact(&mut greeting).await?;
    ensure!(greeting == GREETING, "the greeting was garbled");

    let data = test_data(visitor);
    let mut echo = vec![0; data.len()];
    let (mut reader, mut writer) = tcp.split();
    try_join!(writer.write_all(&data), reader.read_exact(&mut echo))?;
    ensure!(blake3::hash(&echo) == blake3::hash(&data), "the echo differs from what was sent");

    // only now: the tunnel closes both directions
    tcp.shutdown().await?;
    let rest = tcp.read_to_end(&mut Vec::new()).await?;
    ensure!(rest == 0, "there was nothing left to echo");
    println!("visitor {visitor}: sent {} MiB, got the same back", data.len() / MIB);
    Ok(())
}

/// Some MiB in which no two places look alike, different for each visitor.
fn test_data(visitor: u8) -> Vec<u8> {
    let words = (0_u32..).map(|word| word.wrapping_mul(2 * u32::from(visitor) + 1));
    words.flat_map(u32::to_be_bytes).take(4 * MIB).collect()
}

const GREETING: &[u8] = b"hello, say something\n";
const VISITORS: u8 = 3;
const ANY_PORT: &str = "127.0.0.1:0";
const MIB: usize = 1024 * 1024;

/// How long a connection may take to come about.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one side may go on after the other has ended. Meanwhile, what is still on its way is
/// delivered, so this is no measure of how long a connection may be idle.
const LINGER: Duration = Duration::from_secs(60);

const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How much is read at once, in bytes. As much as [`WsStream`] puts into one message.
const BUFFER: usize = 64 * 1024;
