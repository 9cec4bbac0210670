//! Observes what happens on a websocket besides data: pings, pongs, close frames, errors.

use std::error::Error as _;

use anyhow::{Context, Result, ensure};
use async_tungstenite::{
    WebSocketStream,
    tokio::{TokioAdapter, accept_async},
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};
use futures::{AsyncReadExt, StreamExt, join, try_join};
use tokio::net::{TcpListener, TcpStream};
use ws_stream_tungstenite::{
    WsEvent, WsStream,
    pharos::{Channel, Events, Observable, ObserveConfig},
};

type Socket = WebSocketStream<TokioAdapter<TcpStream>>;

#[tokio::main]
async fn main() -> Result<()> {
    heartbeats_and_farewell().await?;
    text().await
}

/// Three observers of the same connection.
async fn heartbeats_and_farewell() -> Result<()> {
    println!("a peer that sends heartbeats and then closes:");
    let farewell = CloseFrame { code: CloseCode::Away, reason: "maintenance".into() };
    let (mut stream, peer) = connect([
        Message::Ping("are you there?".into()),
        Message::Binary("some data".into()),
        Message::Pong("I am still here".into()),
        Message::Close(Some(farewell)),
    ])
    .await?;

    // An unbounded channel, without filter. It never holds up the stream, but grows with every
    // event: make sure that somebody takes them.
    let all = stream.observe(ObserveConfig::default()).await?;
    // A bounded channel. The stream reads nothing more while an observer has no room, and so the
    // peer has to wait too: somebody must take the events while the stream is read.
    let bounded = stream.observe(Channel::Bounded(1).into()).await?;
    // A filter: this observer is told of little, so few are waiting even if nobody takes them.
    let config = ObserveConfig::default().filter(is_heartbeat);
    let heartbeats = stream.observe(config).await?;

    let mut data = Vec::new();
    let (read, bounded) = join!(stream.read_to_end(&mut data), print_each("bounded", bounded));
    read.context("reading failed")?;
    let all = print_each("unbounded", all).await;
    let heartbeats = print_each("filtered", heartbeats).await;

    peer.await??;
    ensure!(data == b"some data", "events are not data");
    let expected = [
        "ping: are you there?",
        "pong: I am still here",
        "close frame: 1001 maintenance",
        "closed",
    ];
    ensure!(all == expected, "wrong events: {all:?}");
    ensure!(bounded == expected, "wrong events: {bounded:?}");
    ensure!(heartbeats == expected[..2], "wrong events: {heartbeats:?}");
    Ok(())
}

/// Text has no place in a stream of bytes: the stream refuses it with a close frame of its own.
async fn text() -> Result<()> {
    println!("a peer that sends text:");
    let (mut stream, peer) = connect([Message::text("hello")]).await?;
    let all = stream.observe(ObserveConfig::default()).await?;

    let mut data = Vec::new();
    stream.read_to_end(&mut data).await.context("reading failed")?;
    let all = print_each("unbounded", all).await;

    peer.await??;
    ensure!(data.is_empty(), "text is not data");
    let expected = [
        "error: the peer sent a text message, only binary messages are supported",
        // tungstenite answers with the code that it got, which the stream had chosen
        "close frame: 1003 Text messages are not supported.",
        "closed",
    ];
    ensure!(all == expected, "wrong events: {all:?}");
    Ok(())
}

fn is_heartbeat(event: &WsEvent) -> bool {
    matches!(event, WsEvent::Ping(_) | WsEvent::Pong(_))
}

/// Prints events as they come, until there are no more: the last one is `Closed`.
async fn print_each(observer: &str, mut events: Events<WsEvent>) -> Vec<String> {
    let mut seen = Vec::new();
    while let Some(event) = events.next().await {
        let event = describe(&event);
        println!("    {observer:9} {event}");
        seen.push(event);
    }
    seen
}

fn describe(event: &WsEvent) -> String {
    match event {
        WsEvent::Error(error) => match error.source() {
            Some(cause) => format!("error: {error}: {cause}"),
            None => format!("error: {error}"),
        },
        WsEvent::CloseFrame(Some(frame)) => {
            format!("close frame: {} {}", u16::from(frame.code), frame.reason)
        }
        WsEvent::CloseFrame(None) => "close frame without code".into(),
        WsEvent::Ping(data) => format!("ping: {}", String::from_utf8_lossy(data)),
        WsEvent::Pong(data) => format!("pong: {}", String::from_utf8_lossy(data)),
        WsEvent::Closed => "closed".into(),
    }
}

/// A client, connected over TCP to a server that sends `script`.
async fn connect(
    script: impl IntoIterator<Item = Message, IntoIter: Send> + Send + 'static,
) -> Result<(WsStream<TokioAdapter<TcpStream>>, tokio::task::JoinHandle<Result<()>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let client = async {
        let tcp = TokioAdapter::new(TcpStream::connect(address).await?);
        Ok(WsStream::connect(format!("ws://{address}"), tcp, None).await?)
    };
    let server = async {
        let (tcp, _) = listener.accept().await?;
        anyhow::Ok(accept_async(tcp).await?)
    };
    let ((client, _response), server) = try_join!(client, server)?;
    Ok((client, tokio::spawn(play(server, script))))
}

/// The peer, without `WsStream`: that has no way to send most of these.
async fn play(mut socket: Socket, script: impl IntoIterator<Item = Message>) -> Result<()> {
    for message in script {
        socket.send(message).await?;
    }
    // until the client has closed too
    while let Some(message) = socket.next().await {
        message?;
    }
    Ok(())
}
