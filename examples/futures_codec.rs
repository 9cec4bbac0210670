//! Lines of text over a websocket, with `asynchronous-codec`, on smol.

use anyhow::{Context, Result, ensure};
use asynchronous_codec::{Framed, LinesCodec};
use futures::{AsyncRead, AsyncWrite, SinkExt, StreamExt, try_join};
use smol::net::{TcpListener, TcpStream};
use ws_stream_tungstenite::WsStream;

fn main() -> Result<()> {
    smol::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let tcp = TcpStream::connect(listener.local_addr()?).await?;
        try_join!(serve(listener), ask(tcp))?;
        println!("both ends closed");
        Ok(())
    })
}

/// Answers one client, until it closes.
async fn serve(listener: TcpListener) -> Result<()> {
    let (tcp, _) = listener.accept().await?;
    tcp.set_nodelay(true)?;
    let mut lines = frame(WsStream::accept(tcp, None).await?);
    while let Some(request) = lines.next().await {
        let answer = answer(request.context("the server failed")?.trim_end());
        // `send` flushes: the client waits for this line
        lines.send(format!("{answer}\n")).await?;
    }
    // end of file: there is nothing left to close, the stream has answered the close frame
    Ok(())
}

fn answer(request: &str) -> String {
    match request.split_once(' ') {
        Some(("shout", text)) => text.to_uppercase(),
        Some(("reverse", text)) => text.chars().rev().collect(),
        _ => format!("what is \"{request}\"?"),
    }
}

async fn ask(tcp: TcpStream) -> Result<()> {
    tcp.set_nodelay(true)?;
    let (stream, _response) = WsStream::connect("ws://localhost/", tcp, None).await?;
    let mut lines = frame(stream);
    for (request, expected) in CONVERSATION {
        lines.send(format!("{request}\n")).await?;
        let answer = lines.next().await.context("the server closed")??;
        println!("{request:20} → {}", answer.trim_end());
        ensure!(answer.trim_end() == *expected, "expected {expected}");
    }
    // Closing the sink sends a close frame. The server's answer to that is the end of the lines.
    lines.close().await?;
    ensure!(lines.next().await.transpose()?.is_none(), "there was no request left to answer");
    Ok(())
}

/// The codec keeps line ends and puts none, and does not limit the length of a line: a peer that
/// never ends one makes the buffer grow. Bring a codec of your own where peers are not trusted.
fn frame<S: AsyncRead + AsyncWrite>(stream: S) -> Framed<S, LinesCodec> {
    Framed::new(stream, LinesCodec)
}

/// Requests and their answers.
const CONVERSATION: &[(&str, &str)] = &[
    ("shout good morning", "GOOD MORNING"),
    ("reverse stressed", "desserts"),
    ("dance", "what is \"dance\"?"),
];
