//! A browser: the page of the example `browser` in headless Chromium, and other scripts there.

mod chromium;
mod endings;

use std::fmt;

use async_tungstenite::tokio::TokioAdapter;
use fantoccini::{Client, Locator, error::CmdError};
use futures::{AsyncReadExt, AsyncWriteExt, join};
use real_peers::{PATIENCE, Program, Table, example};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use ws_stream_tungstenite::{
    CloseEvent, WsMeta, WsStream,
    pharos::{Observable, ObserveConfig},
};

use crate::{
    chromium::{POLL_PAUSE, click, close_event, save_screenshot, shows, shows_text, text},
    endings::{CODES, broken, clean, named},
};

#[test]
fn it_echoes_sees_how_connections_close_and_leaves_in_the_middle_of_a_transfer() {
    let (server, url) = serve();
    chromium::with_browser(async |client, table| {
        visit(client, &url, &server, table).await?;
        close_with_codes(client, table).await?;
        for departure in [Departure::Tab, Departure::Reload] {
            leave(departure, client, &url, &server, table).await?;
        }
        Ok(())
    });
}

// ---- the page of the example ----

async fn visit(
    client: &Client,
    url: &str,
    server: &Program,
    table: &mut Table,
) -> Result<(), CmdError> {
    client.goto(url).await?;
    shows(client, "#state[data-state=open]").await?;

    send_mib(client, "64").await?;
    shows(client, "#verdict:is([data-outcome=good], [data-outcome=bad])").await?;
    let verdict = text(client, "verdict").await?;
    assert!(verdict.starts_with("All 64 MiB came back as they were sent"), "{verdict}");
    table.row("the page sends 64 MiB to the example", verdict);
    for rate in ["sent-rate", "received-rate"] {
        assert!(number(client, rate).await? > 0.0);
    }
    shows(client, "#server-trip:not(:empty)").await?;
    for trip in ["page-trip", "server-trip"] {
        assert!(number(client, trip).await? > 0.0);
    }
    save_screenshot(client, "browser-open.png").await?;

    click(client, "ask-server").await?;
    shows(client, "#state[data-state=closed]").await?;
    assert_eq!(close_event(client).await?, ["1001", "the server is going away", "yes"]);
    let answer = "closed cleanly with code 1001";
    server.says(answer);
    shows_text(client, "answer", answer).await?;
    save_screenshot(client, "browser-closed.png").await?;

    click(client, "connect").await?;
    shows(client, "#state[data-state=open]").await?;
    assert_eq!(close_event(client).await?, ["", "", ""]);
    click(client, "close").await?;
    shows(client, "#state[data-state=closed]").await?;
    assert_eq!(close_event(client).await?, ["4000", "closed in the browser", "yes"]);
    let said = server.says("closed cleanly with code 4000");
    assert!(said.contains("closed in the browser"), "{said}");

    click(client, "connect").await?;
    send_mib(client, "4096").await?;
    shows(client, "#received-rate:not(:empty)").await?;
    click(client, "ask-server").await?;
    shows(client, "#state[data-state=closed]").await?;
    // not clean, says Chromium, as the page had given it more to send
    assert_eq!(close_event(client).await?[..2], ["1001", "the server is going away"]);
    server.says("closed cleanly with code 1001");
    let seen = close_event(client).await?.join(", ");
    table.row("the example closes amid a transfer", format!("the page sees {seen}"));
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Departure {
    Tab,
    Reload,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tab => "a tab is closed amid a transfer",
            Self::Reload => "a page is reloaded amid a transfer",
        })
    }
}

/// In a tab of its own, the page talks to the example, and a script to a server here. Both are in the
/// middle of a transfer when the tab is closed, or the page reloaded.
async fn leave(
    departure: Departure,
    client: &Client,
    url: &str,
    server: &Program,
    table: &mut Table,
) -> Result<(), CmdError> {
    let first = client.window().await?;
    client.switch_to_window(client.new_window(true).await?.handle).await?;
    client.goto(url).await?;
    let opened = server.says(": open");
    send_mib(client, "4096").await?;
    shows(client, "#received-rate:not(:empty)").await?;

    let (listener, url) = listen().await;
    let (flooding, echoing) =
        join!(client.execute(FLOOD, vec![json!(url)]), async { spawn_echo(&listener).await });
    flooding?;
    let (echo, meta) = echoing;
    while meta.counters().bytes_received < 1024 * 1024 {
        sleep(POLL_PAUSE).await;
    }
    match departure {
        Departure::Tab => drop(client.close_window().await?),
        Departure::Reload => client.refresh().await?,
    }
    // the task ends by itself, and lets go of the stream
    let (end, events) = timeout(PATIENCE, echo).await.expect("the echo ends").unwrap();
    // Chromium sends a close frame or not, and resets the connection
    assert!([1001, 1006].contains(&end.code), "{end:?}");
    assert_eq!(events.last().map(String::as_str), Some("Closed"), "{events:?}");
    let said = server.says(opened.trim_end_matches("open"));
    table.row(
        departure.to_string(),
        format!("we see {end:?}, {events:?}; the example says: {said}"),
    );
    if departure == Departure::Reload {
        click(client, "close").await?;
        server.says("closed in the browser");
        client.close_window().await?;
    }
    client.switch_to_window(first).await?;
    // the example serves on, and knows of no other connection
    click(client, "connect").await?;
    shows(client, "#state[data-state=open]").await?;
    click(client, "ask-server").await?;
    shows_text(client, "answer", "closed cleanly with code 1001").await?;
    let answer = text(client, "answer").await?;
    assert_eq!(answer.matches("connection").count(), 1, "{answer}");
    server.says("echoed ");
    Ok(())
}

// ---- scripts, and a server here ----

type Stream = WsStream<TokioAdapter<TcpStream>>;

async fn close_with_codes(client: &Client, table: &mut Table) -> Result<(), CmdError> {
    for (code, reason) in CODES {
        let closing = async |mut stream: Stream| {
            let meta = stream.meta();
            join!(meta.close(code, reason), read_to_end(&mut stream)).0.unwrap()
        };
        let (seen, end) = watch(client, json!({}), closing).await?;
        assert_eq!(seen, json!([code, reason, true]));
        assert_eq!(end, clean(code, reason));
        table.row(format!("we close with {code}"), format!("it sees {seen}"));
    }
    let closing = async |mut stream: Stream| {
        stream.close().await.unwrap();
        ending(stream).await
    };
    let (seen, end) = watch(client, json!({}), closing).await?;
    assert_eq!((&seen, end), (&json!([1005, "", true]), clean(1005, "")));
    table.row("we close without a code", format!("it sees {seen}"));

    let (seen, ()) = watch(client, json!({}), async |stream: Stream| drop(stream)).await?;
    assert_eq!(seen, json!([1006, "", false]));
    table.row("we drop the stream", format!("it sees {seen}"));

    let (seen, end) = watch(client, json!({ "text": "hello" }), ending).await?;
    assert_eq!((&seen[0], end.code), (&json!(1003), 1003));
    table.row("it sends a text message", format!("it sees {seen}; we see {end:?}"));

    let (seen, end) = watch(client, json!({ "bytes": OUR_LIMIT }), ending_after_all).await?;
    assert_eq!((seen, end), (json!([1000, "", true]), clean(1000, "")));
    table.row("it sends a message of 16 MiB", "arrives");

    let (seen, end) = watch(client, json!({ "bytes": OUR_LIMIT + 1 }), ending).await?;
    // our close frame is not destroyed by a reset; the answer is among what is discarded
    assert_eq!((&seen[0], end), (&json!(1009), broken()));
    table.row("it sends one byte more", format!("it sees {seen}"));

    // a page may close with 1000 and 3000 to 4999 only
    for (code, reason) in CODES.into_iter().filter(|(code, _)| *code == 1000 || *code >= 3000) {
        let (seen, end) = watch(client, json!({ "close": [code, reason] }), ending).await?;
        assert_eq!((&seen, end), (&json!([code, reason, true]), clean(code, reason)));
        table.row(format!("it closes with {code}"), format!("it sees {seen}, and we the same"));
    }
    let (seen, end) = watch(client, json!({ "close": [] }), ending).await?;
    assert_eq!((&seen, end), (&json!([1005, "", true]), clean(1005, "")));
    table.row("it closes without a code", format!("it sees {seen}, and we the same"));
    Ok(())
}

/// The browser connects and does what it is asked to. Returns what it saw in the end, and what our side
/// returned.
async fn watch<T>(
    client: &Client,
    what: Value,
    answer: impl AsyncFnOnce(Stream) -> T,
) -> Result<(Value, T), CmdError> {
    let (listener, url) = listen().await;
    let answering = async { answer(accept(&listener).await).await };
    let (seen, returned) =
        join!(client.execute_async(WATCH, vec![json!(url), what]), timeout(PATIENCE, answering));
    Ok((seen?, returned.expect("our side hangs")))
}

async fn ending(mut stream: Stream) -> CloseEvent {
    read_to_end(&mut stream).await;
    stream.meta().closed().await
}

/// Closes when a message of the largest size has come.
async fn ending_after_all(mut stream: Stream) -> CloseEvent {
    stream.read_exact(&mut vec![0; OUR_LIMIT]).await.unwrap();
    assert_eq!(stream.meta().counters().messages_received, 1);
    let meta = stream.meta();
    join!(meta.close(1000, ""), read_to_end(&mut stream)).0.unwrap()
}

async fn read_to_end(stream: &mut Stream) {
    futures::io::copy(stream, &mut futures::io::sink()).await.unwrap();
}

type Echo = tokio::task::JoinHandle<(CloseEvent, Vec<String>)>;

async fn spawn_echo(listener: &TcpListener) -> (Echo, WsMeta) {
    let mut stream = accept(listener).await;
    let meta = stream.meta();
    let events = stream.observe(ObserveConfig::default()).await.unwrap();
    let echo = tokio::spawn({
        let meta = meta.clone();
        async move {
            let mut buffer = vec![0; 64 * 1024];
            // until end of file, or the transport fails
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let _ = stream.write_all(&buffer[..length]).await;
            }
            drop(stream);
            (meta.closed().await, named(events).await)
        }
    });
    (echo, meta)
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    (listener, url)
}

async fn accept(listener: &TcpListener) -> Stream {
    let (tcp, _) = timeout(PATIENCE, listener.accept()).await.expect("it connects").unwrap();
    WsStream::accept(TokioAdapter::new(tcp), None).await.unwrap()
}

/// Connects, does what it is asked to, and returns how it ended.
const WATCH: &str = "
    const [url, { text, bytes, close }, done] = arguments;
    const socket = new WebSocket(url);
    socket.onopen = () => {
        if (text) socket.send(text);
        if (bytes) socket.send(new Uint8Array(bytes));
        if (close) socket.close(...close);
    };
    socket.onclose = ({ code, reason, wasClean }) => done([code, reason, wasClean]);
";

/// Sends for ever.
const FLOOD: &str = "
    const socket = new WebSocket(arguments[0]);
    const send = () => {
        while (socket.bufferedAmount < 1024 * 1024) socket.send(new Uint8Array(32 * 1024));
        setTimeout(send, 1);
    };
    socket.onopen = send;
";

// ---- the example ----

/// Starts the example. Returns the address of its page too.
fn serve() -> (Program, String) {
    let server = Program::start(&mut example("browser", &["--port", "0"]));
    let listening = server.says("listening on ");
    (server, listening.rsplit(' ').next().unwrap().to_owned())
}

/// Starts a transfer.
async fn send_mib(client: &Client, mib: &str) -> Result<(), CmdError> {
    let amount = client.find(Locator::Id("amount")).await?;
    amount.clear().await?;
    amount.send_keys(mib).await?;
    click(client, "send").await
}

async fn number(client: &Client, id: &str) -> Result<f64, CmdError> {
    let text = text(client, id).await?;
    Ok(text.parse().unwrap_or_else(|_| panic!("{id} is not a number: {text}")))
}

/// The largest message that a stream takes with `byte_stream_config()`, in bytes.
const OUR_LIMIT: usize = 16 * 1024 * 1024;
