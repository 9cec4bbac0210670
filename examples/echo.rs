//! Sends data through a websocket to an echo server and checks what comes back.
//!
//! `cargo run --release --example echo` runs both ends in one process; `-- --help` tells how to run
//! them in two.

use std::{
    fmt,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use async_tungstenite::tokio::{TokioAdapter, accept_async_with_config, connect_async_with_config};
use blake3::Hash;
use clap::{Args, Parser, Subcommand};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt, try_join};
use indicatif::{BinaryBytes, ProgressBar, ProgressStyle};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use ws_stream_tungstenite::{
    WsEvent, WsStream, byte_stream_config,
    pharos::{Events, Observable, ObserveConfig},
};

/// Sends data through a websocket to an echo server and checks what comes back.
///
/// Without a command, the server and the client run in one process, connected over TCP.
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    amount: Amount,
}

#[derive(Subcommand)]
enum Command {
    /// Echo whatever clients send, until Ctrl-C
    Serve {
        /// Where to listen, for instance 127.0.0.1:3012
        addr: String,
    },
    /// Send data to a server that is already running and check its echo
    Connect {
        /// Where the server is, for instance ws://127.0.0.1:3012
        url: String,
        #[command(flatten)]
        amount: Amount,
    },
}

#[derive(Args, Clone, Copy)]
struct Amount {
    /// How much the client sends, in MiB
    #[arg(long, default_value_t = 256)]
    mib: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        None => run_both_ends(cli.amount).await,
        Some(Command::Serve { addr }) => serve(&addr).await,
        Some(Command::Connect { url, amount }) => run_client(&url, amount).await,
    }
}

async fn run_both_ends(amount: Amount) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}", listener.local_addr()?);
    let server = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await?;
        serve_connection(tcp).await
    });
    run_client(&url, amount).await?;
    let report = server.await?.context("the server failed")?;
    println!("server: {report}");
    ensure!(report.echoed == amount.bytes(), "the server did not echo everything");
    ensure!(is_clean(&report.events), "the client left without a close frame");
    Ok(())
}

// ---- server ----

/// What there is to say about a connection that has ended.
struct Report {
    /// In bytes.
    echoed: u64,
    events: Vec<WsEvent>,
}

async fn serve(addr: &str) -> Result<()> {
    let listener = TcpListener::bind(addr).await.with_context(|| format!("no socket on {addr}"))?;
    println!("listening on ws://{}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => drop(tokio::spawn(serve_and_log(tcp, peer))),
            Err(error) => {
                // most likely too many connections: wait for some of them to end
                eprintln!("cannot accept connections: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection that fails is worth a line, not the end of the server.
async fn serve_and_log(tcp: TcpStream, peer: SocketAddr) {
    match serve_connection(tcp).await {
        Ok(report) => println!("{peer}: {report}"),
        Err(error) => eprintln!("{peer}: {error}: {}", error.root_cause()),
    }
}

async fn serve_connection(tcp: TcpStream) -> Result<Report> {
    tcp.set_nodelay(true)?;
    let accept = accept_async_with_config(tcp, Some(byte_stream_config()));
    let handshake = timeout(HANDSHAKE_TIMEOUT, accept).await;
    let socket = handshake.context("no handshake in time")?.context("the handshake failed")?;
    let mut stream = WsStream::new(socket);
    let events = observe(&mut stream).await?;
    let echoed = echo(&mut stream).await?;
    Ok(Report { echoed, events: events.collect().await })
}

/// Sends back what comes until end of file: the client has closed, and the stream has answered its
/// close frame. Returns how many bytes that were.
async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut echoed = 0;
    loop {
        let length = stream.read(&mut buffer).await.context("receiving failed")?;
        if length == 0 {
            return Ok(echoed);
        }
        // no flush: what does not leave at once is moved on by the next read
        stream.write_all(&buffer[..length]).await.context("sending failed")?;
        echoed += length as u64;
    }
}

// ---- client ----

/// What went in one direction.
struct Transfer {
    hash: Hash,
    took: Duration,
}

async fn run_client(url: &str, amount: Amount) -> Result<()> {
    let mut stream = connect(url).await?;
    let events = observe(&mut stream).await?;
    let (mut reader, mut writer) = stream.split();

    println!("client: sending {} MiB to {url}", amount.mib);
    let bar = progress_bar(amount);
    let start = Instant::now();
    // both at once: an echo server stops reading while nobody takes what it sends
    let (sent, received) = try_join!(
        send(&mut writer, amount.bytes(), start),
        receive(&mut reader, amount.bytes(), start, &bar),
    )?;
    bar.finish_and_clear();
    ensure!(sent.hash == received.hash, "sent {}, received {}", sent.hash, received.hash);

    // only now: a server that has our close frame can't send any more
    let closing = timeout(CLOSE_TIMEOUT, close(&mut reader, &mut writer)).await;
    closing.context("the server does not close the connection")??;
    let events: Vec<_> = events.collect().await;

    println!("client: sent      {}", amount.per_second(sent.took));
    println!("client: received  {}", amount.per_second(received.took));
    println!("client: what came back is what was sent (blake3 {})", received.hash);
    println!("client: events: {events:?}");
    ensure!(is_clean(&events), "the server left without a close frame");
    Ok(())
}

async fn connect(url: &str) -> Result<WsStream<TokioAdapter<TcpStream>>> {
    let connect = connect_async_with_config(url, Some(byte_stream_config()));
    let handshake = timeout(HANDSHAKE_TIMEOUT, connect).await;
    let (socket, _response) = handshake
        .with_context(|| format!("no answer from {url}"))?
        .with_context(|| format!("cannot connect to {url}"))?;
    socket.get_ref().get_ref().set_nodelay(true)?;
    Ok(WsStream::new(socket))
}

async fn send(
    writer: &mut (impl AsyncWrite + Unpin),
    total: u64,
    start: Instant,
) -> Result<Transfer> {
    let mut source = Source::new();
    let mut hasher = blake3::Hasher::new();
    let mut left = total;
    while left > 0 {
        let chunk = source.next_chunk(left);
        hasher.update(chunk);
        writer.write_all(chunk).await.context("sending failed")?;
        left -= chunk.len() as u64;
    }
    writer.flush().await.context("sending failed")?;
    Ok(Transfer { hash: hasher.finalize(), took: start.elapsed() })
}

async fn receive(
    reader: &mut (impl AsyncRead + Unpin),
    total: u64,
    start: Instant,
    bar: &ProgressBar,
) -> Result<Transfer> {
    let mut buffer = vec![0; BUFFER];
    let mut hasher = blake3::Hasher::new();
    let mut received = 0;
    while received < total {
        let length = reader.read(&mut buffer).await.context("receiving failed")?;
        ensure!(length > 0, "the server closed after {received} bytes of {total}");
        hasher.update(&buffer[..length]);
        received += length as u64;
        bar.set_position(received);
    }
    ensure!(received == total, "the server sent more than it was sent");
    Ok(Transfer { hash: hasher.finalize(), took: start.elapsed() })
}

/// Says goodbye and waits for the server to do the same.
async fn close(
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<()> {
    writer.close().await.context("closing failed")?;
    let mut rest = Vec::new();
    reader.read_to_end(&mut rest).await.context("receiving failed")?;
    ensure!(rest.is_empty(), "the server sent more than it was sent");
    Ok(())
}

/// Pseudo-random data that costs next to nothing: pieces of one random block, of random length and
/// from random places.
struct Source {
    block: Vec<u8>,
    random: u64,
}

impl Source {
    fn new() -> Self {
        let mut random = 0x9E37_79B9_7F4A_7C15;
        let words = std::iter::repeat_with(|| xorshift(&mut random).to_le_bytes());
        let block = words.take((MAX_START + MAX_CHUNK) / 8).flatten().collect();
        Self { block, random }
    }

    /// The next piece: at least one byte, at most `MAX_CHUNK`, at most `left`.
    fn next_chunk(&mut self, left: u64) -> &[u8] {
        let [a, b, c, d, ..] = xorshift(&mut self.random).to_le_bytes();
        let start = usize::from(u16::from_le_bytes([a, b]));
        let length = 4 * (1 + usize::from(u16::from_le_bytes([c, d])));
        let length = usize::try_from(left).map_or(length, |left| length.min(left));
        &self.block[start..][..length]
    }
}

fn xorshift(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}

// ---- both ----

/// Observes what the websocket does besides data. Not the heartbeats: nobody takes the events while
/// the connection lasts, and the peer may send any number of pings.
async fn observe(stream: &mut WsStream<TokioAdapter<TcpStream>>) -> Result<Events<WsEvent>> {
    let no_heartbeat: fn(&_) -> bool =
        |event| !matches!(event, WsEvent::Ping(_) | WsEvent::Pong(_));
    Ok(stream.observe(ObserveConfig::default().filter(no_heartbeat)).await?)
}

/// End of file alone does not tell: it also comes when the connection is cut.
fn is_clean(events: &[WsEvent]) -> bool {
    matches!(events, [WsEvent::CloseFrame(_), WsEvent::Closed])
}

fn progress_bar(amount: Amount) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar} {binary_bytes} {binary_bytes_per_sec}");
    let bar = ProgressBar::new(amount.bytes());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

impl Amount {
    fn bytes(self) -> u64 {
        u64::from(self.mib) * 1024 * 1024
    }

    fn per_second(self, took: Duration) -> String {
        let (mib, seconds) = (f64::from(self.mib), took.as_secs_f64());
        format!("{mib} MiB in {seconds:.2} s, {:.0} MiB/s", mib / seconds)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { echoed, events } = self;
        write!(f, "echoed {}; events: {events:?}", BinaryBytes(*echoed))
    }
}

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How much is read at once, in bytes. Room for one message as [`WsStream`] sends them.
const BUFFER: usize = 64 * 1024;

/// Where in its block a piece of [`Source`] starts at most, in bytes.
const MAX_START: usize = 64 * 1024;

/// The largest piece of data that is written at once, in bytes.
const MAX_CHUNK: usize = 256 * 1024;
