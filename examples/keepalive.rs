//! Keeps a connection alive, and notices when its peer is gone.
//!
//! The stream is inside a codec, in a task of its own. A handle to it ([`WsMeta`]) sends pings and
//! sees their answers. A peer that leaves two of them unanswered gets a close frame and a moment to
//! answer that; then the task is aborted, which drops the stream.
//!
//! Pongs come in between the data: they are seen only while somebody reads. A program that stops
//! reading for longer than two pings would take a living peer for a dead one.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_tungstenite::tokio::TokioAdapter;
use asynchronous_codec::{Framed, LinesCodec};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future, join, try_join};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout, timeout_at},
};
use ws_stream_tungstenite::{
    CloseEvent, WsErr, WsEvent, WsMeta, WsStream,
    pharos::{Events, Observable, ObserveConfig},
};

type Stream = WsStream<TokioAdapter<TcpStream>>;

#[tokio::main]
async fn main() -> Result<()> {
    peer_that_answers().await?;
    peer_that_falls_silent().await
}

async fn peer_that_answers() -> Result<()> {
    println!("a peer that answers, and closes when it has nothing more to say:");
    let (stream, mut peer) = connect().await?;
    let (closed, told) = join!(watch(stream), tell_news(&mut peer, 4));
    told.context("the peer failed")?;
    let closed = closed?;
    ensure!(closed.was_clean && closed.code == 1000, "should have been clean: {closed:?}");
    Ok(())
}

async fn peer_that_falls_silent() -> Result<()> {
    println!("a peer that falls silent:");
    let (stream, mut peer) = connect().await?;
    // from then on, it has the connection open, but nothing polls it
    let talkative = timeout(2 * INTERVAL + INTERVAL / 2, tell_news(&mut peer, u32::MAX));
    let (closed, told) = join!(watch(stream), talkative);
    ensure!(told.is_err(), "the peer should still have had much to say");
    let closed = closed?;
    ensure!(!closed.was_clean && closed.code == 1006, "who should have answered: {closed:?}");
    Ok(())
}

/// Prints news until the connection is closed, by the peer or because that does not answer.
async fn watch(stream: Stream) -> Result<CloseEvent> {
    let meta = stream.meta();
    let work = tokio::spawn(print_news(Framed::new(stream, LinesCodec)));

    let closed = match keep_alive(meta.clone(), INTERVAL).await {
        Ok(closed) => {
            work.await?.context("the work failed")?;
            closed
        }
        Err(error) => {
            println!("    giving up: {error:#}");
            work.abort(); // with the task, the stream is dropped
            meta.closed().await
        }
    };
    let CloseEvent { code, reason, was_clean } = &closed;
    println!("    closed with code {code}, reason {reason:?}, clean: {was_clean}");
    Ok(closed)
}

/// The work that the connection is for.
async fn print_news(mut news: Framed<Stream, LinesCodec>) -> Result<()> {
    while let Some(line) = news.next().await {
        print!("    {}", line?);
    }
    Ok(())
}

// ---- what a program would take over ----

/// Sends a ping every `interval` until the connection is closed, and returns how that was. Closes it
/// if [`MAX_MISSED`] pings in a row get no answer before the next one is due.
///
/// # Errors
///
/// If the peer does not complete the closing in time. Then drop the stream: nobody else does.
async fn keep_alive(mut meta: WsMeta, interval: Duration) -> Result<CloseEvent> {
    match ping_while_answered(&mut meta, interval).await {
        Ok(()) | Err(WsErr::Closed) => {}
        Err(error) => return Err(error.into()),
    }
    // only waits, if something else has begun to close the connection, or has closed it
    let closing = meta.close(NO_ANSWER, "no answer to pings");
    let closed = timeout(PATIENCE, closing).await.context("the peer does not close either")?;
    Ok(closed?)
}

/// Returns when too many pings got no answer, or when the connection is closing.
async fn ping_while_answered(meta: &mut WsMeta, interval: Duration) -> Result<(), WsErr> {
    let mut pongs = meta.observe(ObserveConfig::default().filter(is_pong)).await?;
    let mut missed = 0;
    let mut number = 0;
    while missed < MAX_MISSED {
        number += 1;
        let payload = format!("keepalive {number}");
        let sent = Instant::now();
        let due = sent + interval;
        match meta.ping(payload.as_bytes()) {
            Err(WsErr::TooManyPings) => {} // counts as one without answer
            asked => asked?,
        }
        match timeout_at(due, find_pong(&mut pongs, payload.as_bytes())).await {
            Ok(Some(_)) => {
                missed = 0;
                println!("    ping {number}: {:.2} ms", 1000. * sent.elapsed().as_secs_f64());
            }
            Ok(None) => break,
            Err(_) => {
                missed += 1;
                println!("    ping {number}: no answer");
            }
        }
        // a peer may send any number of pongs: they must not pile up until the next ping
        let _ = timeout_at(due, pongs.by_ref().for_each(|_| future::ready(()))).await;
    }
    Ok(())
}

/// Waits for the pong with this payload. Others answer earlier pings, or none at all: a peer may send
/// them unasked (RFC 6455, section 5.5.3). `None`: there are no more, the connection is closed.
async fn find_pong(pongs: &mut Events<WsEvent>, payload: &[u8]) -> Option<WsEvent> {
    let mut matching = pongs.filter(|event| {
        future::ready(matches!(event, WsEvent::Pong(data) if data[..] == *payload))
    });
    matching.next().await
}

fn is_pong(event: &WsEvent) -> bool {
    matches!(event, WsEvent::Pong(_))
}

/// How many pings in a row may go without an answer.
const MAX_MISSED: u32 = 2;

/// The close code for a peer that does not answer: one that applications may define for themselves
/// (RFC 6455, section 7.4.2).
const NO_ANSWER: u16 = 4000;

/// How long the peer may take to close. Seconds, rather, where there is a network in between.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often to ping. Seconds, rather: a slow answer should not count as none, and behind much data
/// in either direction it is slow.
const INTERVAL: Duration = Duration::from_millis(250);

// ---- the peer ----

/// Sends lines, and answers pings meanwhile, since it reads too. Then closes.
async fn tell_news(stream: &mut Stream, lines: u32) -> Result<()> {
    let meta = stream.meta();
    let (mut reader, mut writer) = stream.split();
    let tell = async {
        for number in 1..=lines {
            writer.write_all(format!("news {number}\n").as_bytes()).await?;
            sleep(INTERVAL * 4 / 5).await;
        }
        meta.close(1000, "no more news").await?;
        Ok(())
    };
    let mut rest = Vec::new();
    let read = async { anyhow::Ok(reader.read_to_end(&mut rest).await?) };
    try_join!(tell, read)?;
    Ok(())
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
    for stream in [&client, &server] {
        // a ping is too short to wait for more to send
        stream.get_ref().get_ref().get_ref().set_nodelay(true)?;
    }
    Ok((client, server))
}
