//! Lines of text over a websocket, with `tokio-util`'s codecs, on tokio.
//!
//! `cargo run --features tokio_io --example tokio_codec`

use anyhow::{Context, Result, bail, ensure};
use async_tungstenite::tokio::TokioAdapter;
use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};
use ws_stream_tungstenite::WsStream;

type Lines = Framed<WsStream<TokioAdapter<TcpStream>>, LinesCodec>;

#[tokio::main]
async fn main() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let tcp = TcpStream::connect(listener.local_addr()?).await?;
    tokio::try_join!(serve(listener), talk(tcp))?;
    println!("both ends closed");
    Ok(())
}

/// Answers one client, until it closes or sends too long a line.
async fn serve(listener: TcpListener) -> Result<()> {
    let (tcp, _) = listener.accept().await?;
    tcp.set_nodelay(true)?;
    let mut lines = frame(WsStream::accept(TokioAdapter::new(tcp), None).await?);
    while let Some(line) = lines.next().await {
        match line {
            Ok(line) => lines.send(line.to_uppercase()).await?,
            Err(LinesCodecError::MaxLineLengthExceeded) => {
                lines.send(TOO_LONG).await?;
                break;
            }
            Err(LinesCodecError::Io(error)) => return Err(error).context("the server failed"),
        }
    }
    close(lines).await
}

async fn talk(tcp: TcpStream) -> Result<()> {
    tcp.set_nodelay(true)?;
    let tcp = TokioAdapter::new(tcp);
    let (stream, _response) = WsStream::connect("ws://localhost/", tcp, None).await?;
    let mut lines = frame(stream);
    for line in ["good morning", "how do you do?"] {
        let answer = ask(&mut lines, line).await?;
        println!("{line} → {answer}");
        ensure!(answer == line.to_uppercase(), "wrong answer");
    }

    let answer = ask(&mut lines, &"la".repeat(MAX_LINE)).await?;
    println!("la la la la la … → {answer}");
    ensure!(answer == TOO_LONG, "the server should have complained");
    // the server closes now; the stream answers its close frame while the end is waited for
    if let Some(line) = lines.next().await {
        bail!("unexpected: {}", line?);
    }
    Ok(())
}

async fn ask(lines: &mut Lines, line: &str) -> Result<String> {
    lines.send(line).await?;
    Ok(lines.next().await.context("the server closed")??)
}

/// Sends a close frame and waits for the client's.
async fn close(mut lines: Lines) -> Result<()> {
    // which kind of item the sink takes makes no difference here, but has to be said
    SinkExt::<&str>::close(&mut lines).await?;
    // what the client said before it got the frame is in the way
    while let Some(line) = lines.next().await {
        match line {
            Ok(_) | Err(LinesCodecError::MaxLineLengthExceeded) => {}
            Err(LinesCodecError::Io(error)) => return Err(error).context("closing failed"),
        }
    }
    Ok(())
}

/// The limit keeps a peer that never ends its line from filling the memory.
fn frame(stream: WsStream<TokioAdapter<TcpStream>>) -> Lines {
    Framed::new(stream, LinesCodec::new_with_max_length(MAX_LINE))
}

/// The longest line that is taken, in bytes.
const MAX_LINE: usize = 80;

const TOO_LONG: &str = "that line was too long, goodbye";
