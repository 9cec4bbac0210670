//! Closes a websocket properly, and gives up on a peer that does not answer.
//!
//! `close` sends a close frame and returns; the peer's answer shows as end of file. How long to
//! wait for that is up to the caller: a peer may take its time, or never answer.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use async_tungstenite::tokio::TokioAdapter;
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future, try_join};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use ws_stream_tungstenite::{
    WsEvent, WsStream,
    pharos::{Observable, ObserveConfig},
};

type Stream = WsStream<TokioAdapter<TcpStream>>;

#[tokio::main]
async fn main() -> Result<()> {
    peer_that_answers().await?;
    peer_that_stays_silent().await
}

async fn peer_that_answers() -> Result<()> {
    let (stream, mut peer) = connect().await?;
    // a `WsStream` answers by itself, as long as somebody reads from it
    let peer = tokio::spawn(async move {
        peer.write_all(b"one last thing").await?;
        peer.read_to_end(&mut Vec::new()).await
    });

    let start = Instant::now();
    let Farewell::Clean { rest } = say_goodbye(stream).await? else {
        bail!("the peer should have answered");
    };
    ensure!(rest == b"one last thing", "the peer's last words were lost");
    println!("a peer that answers: closed after {:?}", start.elapsed());
    println!("    its last words: {}", String::from_utf8_lossy(&rest));
    peer.await?.context("the peer failed")?;
    Ok(())
}

async fn peer_that_stays_silent() -> Result<()> {
    // this peer has the connection open, but does not read from it
    let (stream, _peer) = connect().await?;

    let start = Instant::now();
    let Farewell::NoAnswer = say_goodbye(stream).await? else {
        bail!("nobody could have answered");
    };
    ensure!(start.elapsed() >= PATIENCE, "gave up too early");
    println!("a peer that stays silent: dropped the connection after {:?}", start.elapsed());
    Ok(())
}

/// How it ended.
enum Farewell {
    /// The peer has all that was written and said goodbye too. `rest` is what it still had to say.
    Clean { rest: Vec<u8> },
    /// The peer did not answer in time. Nobody knows how much it got of what was written.
    NoAnswer,
}

/// Closes `stream`, waits for the peer to do the same, but not for long, and drops it.
async fn say_goodbye(mut stream: Stream) -> Result<Farewell> {
    let events = stream.observe(ObserveConfig::default()).await?;
    let mut rest = Vec::new();
    let closing = async {
        // this can take long too: the frame waits for the peer to read what was written before
        stream.close().await?;
        // the answer is not what comes first, if the peer had sent data before it got the frame
        stream.read_to_end(&mut rest).await
    };
    match timeout(PATIENCE, closing).await {
        Ok(closed) => closed.context("the connection broke")?,
        // Nothing more can be done in order. Dropping the stream closes the transport.
        Err(_) => return Ok(Farewell::NoAnswer),
    };
    // a connection that was cut ends the file as well
    let mut farewells = events.filter(|event| future::ready(is_close_frame(event)));
    ensure!(farewells.next().await.is_some(), "the peer left without a close frame");
    Ok(Farewell::Clean { rest })
}

fn is_close_frame(event: &WsEvent) -> bool {
    matches!(event, WsEvent::CloseFrame(_))
}

/// Both ends of a websocket over TCP: client and server.
async fn connect() -> Result<(Stream, Stream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let client = async {
        let tcp = TokioAdapter::new(TcpStream::connect(address).await?);
        Ok(WsStream::connect(format!("ws://{address}"), tcp, None).await?)
    };
    let server = async {
        let (tcp, _) = listener.accept().await?;
        anyhow::Ok(WsStream::accept(TokioAdapter::new(tcp), None).await?)
    };
    let ((client, _response), server) = try_join!(client, server)?;
    Ok((client, server))
}

/// How long the peer may take to answer. Seconds, rather, where there is a network in between.
const PATIENCE: Duration = Duration::from_millis(500);
