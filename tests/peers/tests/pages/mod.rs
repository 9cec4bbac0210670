//! Conversations of a page in Chromium with a server here, whatever carries them.

use std::io::ErrorKind;

use fantoccini::{Client, error::CmdError};
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, join};
use real_peers::{PATIENCE, Table};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};
use ws_stream_tungstenite::{
    CloseEvent, WsMeta, WsStream,
    pharos::{Observable, ObserveConfig},
};

use crate::{
    chromium::POLL_PAUSE,
    endings::{CODES, broken, clean, named},
};

/// Where websockets come in.
pub trait Endpoint {
    type Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Whether a page may leave a close frame without an answer, as the end of our side comes right behind it.
    const END_MAY_SILENCE: bool;

    fn url(&self) -> String;

    /// The next one.
    async fn accept(&mut self) -> WsStream<Self::Transport>;
}

// ---- how they close ----

pub async fn close_with_codes<E: Endpoint>(
    client: &Client,
    endpoint: &mut E,
    table: &mut Table,
) -> Result<(), CmdError> {
    for (code, reason) in CODES {
        let closing = async |stream| close(stream, code, reason).await;
        let (seen, end) = watch(client, endpoint, json!({}), closing).await?;
        assert_eq!(seen, json!([code, reason, true]));
        assert_eq!(end, clean(code, reason));
        table.row(format!("we close with {code}"), format!("it sees {seen}"));
    }
    let closing = async |mut stream: WsStream<E::Transport>| {
        stream.close().await.unwrap();
        ending(stream).await
    };
    let (seen, end) = watch(client, endpoint, json!({}), closing).await?;
    assert_eq!((&seen, end), (&json!([1005, "", true]), clean(1005, "")));
    table.row("we close without a code", format!("it sees {seen}"));

    let (seen, ()) = watch(client, endpoint, json!({}), async |stream| drop(stream)).await?;
    assert_eq!(seen, json!([1006, "", false]));
    table.row("we drop the stream", format!("it sees {seen}"));

    let (seen, end) = watch(client, endpoint, json!({ "text": "hello" }), ending).await?;
    assert_eq!(seen, json!([1003, "Text messages are not supported.", true]));
    let is_silent = E::END_MAY_SILENCE && end == broken();
    assert!(is_silent || (end.code, end.was_clean) == (1003, true), "{end:?}");
    table.row("it sends a text message", format!("it sees {seen}; we see {end:?}"));

    let what = json!({ "bytes": OUR_LIMIT });
    let (seen, end) = watch(client, endpoint, what, ending_after_all).await?;
    assert_eq!((seen, end), (json!([1000, "", true]), clean(1000, "")));
    table.row("it sends a message of 16 MiB", "arrives");

    let (seen, end) = watch(client, endpoint, json!({ "bytes": OUR_LIMIT + 1 }), ending).await?;
    // our close frame is not destroyed by a reset; the answer is among what is discarded
    assert_eq!((&seen[0], end), (&json!(1009), broken()));
    table.row("it sends one byte more", format!("it sees {seen}"));

    let (seen, end) = watch(client, endpoint, json!({ "flood": true }), ending_amid).await?;
    // not clean, says Chromium, as the page had given it more to send
    assert_eq!((&seen[0], &seen[1], end), (&json!(4001), &json!("enough"), clean(4001, "enough")));
    table.row("we close while it sends", format!("it sees {seen}"));

    let closing = json!({ "flood": true, "closeAmid": [4002, "had enough"] });
    let (seen, end) = watch(client, endpoint, closing, ending_of_echo).await?;
    assert_eq!((&seen[0], &seen[1]), (&json!(4002), &json!("had enough")));
    assert_eq!(end, clean(4002, "had enough"));
    table.row("it closes while both send", format!("it sees {seen}"));

    // a page may close with 1000 and 3000 to 4999 only
    for (code, reason) in CODES.into_iter().filter(|(code, _)| *code == 1000 || *code >= 3000) {
        let what = json!({ "close": [code, reason] });
        let (seen, end) = watch(client, endpoint, what, ending).await?;
        assert_eq!((&seen, end), (&json!([code, reason, true]), clean(code, reason)));
        table.row(format!("it closes with {code}"), format!("it sees {seen}, and we the same"));
    }
    let (seen, end) = watch(client, endpoint, json!({ "close": [] }), ending).await?;
    assert_eq!((&seen, end), (&json!([1005, "", true]), clean(1005, "")));
    table.row("it closes without a code", format!("it sees {seen}, and we the same"));
    Ok(())
}

/// The page connects and does what it is asked to. Returns what it saw in the end, and what our side
/// returned.
async fn watch<E: Endpoint, T>(
    client: &Client,
    endpoint: &mut E,
    what: Value,
    answer: impl AsyncFnOnce(WsStream<E::Transport>) -> T,
) -> Result<(Value, T), CmdError> {
    let url = endpoint.url();
    let answering = async { answer(endpoint.accept().await).await };
    let (seen, returned) =
        join!(client.execute_async(WATCH, vec![json!(url), what]), timeout(PATIENCE, answering));
    Ok((seen?, returned.expect("our side hangs")))
}

pub async fn ending<S>(mut stream: WsStream<S>) -> CloseEvent
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    read_to_end(&mut stream).await;
    stream.meta().closed().await
}

/// Closes, and reads to end of file.
pub async fn close<S>(mut stream: WsStream<S>, code: u16, reason: &str) -> CloseEvent
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let meta = stream.meta();
    join!(meta.close(code, reason), read_to_end(&mut stream)).0.unwrap()
}

/// Closes when a message of the largest size has come.
async fn ending_after_all<S>(mut stream: WsStream<S>) -> CloseEvent
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    stream.read_exact(&mut vec![0; OUR_LIMIT]).await.unwrap();
    assert_eq!(stream.meta().counters().messages_received, 1);
    close(stream, 1000, "").await
}

async fn ending_amid<S>(mut stream: WsStream<S>) -> CloseEvent
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    stream.read_exact(&mut vec![0; 1024 * 1024]).await.unwrap();
    close(stream, 4001, "enough").await
}

async fn ending_of_echo<S>(stream: WsStream<S>) -> CloseEvent
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let meta = stream.meta();
    assert_eq!(echo(stream).await, Ok(()));
    meta.closed().await
}

pub async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) {
    futures::io::copy(stream, &mut futures::io::sink()).await.unwrap();
}

// ---- leaving ----

/// A page that sends for ever, and a task that sends it all back.
pub struct Flood {
    echo: JoinHandle<(Result<(), ErrorKind>, Vec<String>)>,
    meta: WsMeta,
}

/// What is seen of a page that is gone.
#[derive(Debug)]
pub struct Gone {
    pub end: CloseEvent,
    pub events: Vec<String>,
    /// How reading ended.
    pub read: Result<(), ErrorKind>,
}

impl Flood {
    /// Has the page begin. It is in the middle of a transfer then, both ways.
    pub async fn begin<E: Endpoint>(client: &Client, endpoint: &mut E) -> Result<Self, CmdError> {
        let url = endpoint.url();
        let (flooding, mut stream) = join!(
            client.execute(WATCH, vec![json!(url), json!({ "flood": true })]),
            endpoint.accept()
        );
        flooding?;
        let meta = stream.meta();
        let events = stream.observe(ObserveConfig::default()).await.unwrap();
        let echo = tokio::spawn(async move {
            let read = echo(stream).await;
            (read, named(events).await)
        });
        while meta.counters().bytes_received < 1024 * 1024 {
            sleep(POLL_PAUSE).await;
        }
        Ok(Self { echo, meta })
    }

    /// When the page has gone, the task ends by itself, and lets go of the stream.
    pub async fn end(self) -> Gone {
        let (read, events) = timeout(PATIENCE, self.echo).await.expect("the echo ends").unwrap();
        let gone = Gone { end: self.meta.closed().await, events, read };
        // Chromium sends a close frame or not, and resets what carried it
        assert!([1001, 1006].contains(&gone.end.code), "{gone:?}");
        assert_eq!(gone.events.last().map(String::as_str), Some("Closed"), "{gone:?}");
        assert!([Ok(()), Err(ErrorKind::ConnectionReset)].contains(&gone.read), "{gone:?}");
        gone
    }
}

/// Until end of file, or until the transport fails.
pub async fn echo<S>(mut stream: WsStream<S>) -> Result<(), ErrorKind>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match stream.read(&mut buffer).await.map_err(|error| error.kind())? {
            0 => return Ok(()),
            length => drop(stream.write_all(&buffer[..length]).await),
        }
    }
}

/// Connects, does what it is asked to, and returns how it ended, if somebody waits for that.
pub const WATCH: &str = "
    const [url, { text, bytes, close, closeAmid, flood }, done] = arguments;
    const socket = new WebSocket(url);
    const sendForEver = () => {
        while (socket.bufferedAmount < 1024 * 1024) socket.send(new Uint8Array(32 * 1024));
        if (socket.readyState === WebSocket.OPEN) setTimeout(sendForEver, 1);
    };
    socket.onopen = () => {
        if (text) socket.send(text);
        if (bytes) socket.send(new Uint8Array(bytes));
        if (close) socket.close(...close);
        if (flood) sendForEver();
    };
    let received = 0;
    socket.onmessage = ({ data }) => {
        received += data.size;
        if (closeAmid && received > 1024 * 1024) socket.close(...closeAmid);
    };
    socket.onclose = ({ code, reason, wasClean }) => done?.([code, reason, wasClean]);
";

/// The largest message that a stream takes with `byte_stream_config()`, in bytes.
const OUR_LIMIT: usize = 16 * 1024 * 1024;
