//! Websockets over HTTP/2 (RFC 8441): a browser and node, and a server of hyper over TLS.

#[expect(dead_code, reason = "the tests with pages of the examples need more of it")]
mod chromium;
mod endings;
mod pages;
mod server;

use std::io::ErrorKind;

use blake3::Hasher;
use fantoccini::{Client, error::CmdError};
use futures::{AsyncReadExt, AsyncWriteExt, join};
use real_peers::{PATIENCE, Program, Table, assert_same, node, noise};
use serde_json::{Value, json};
use tokio::time::timeout;
use ws_stream_tungstenite::{CloseEvent, Upgraded, WsStream, WsUpgradeRejection};

use crate::{
    chromium::text,
    endings::{CODES, broken, clean},
    pages::{Endpoint, Flood, WATCH, close, close_with_codes, echo, ending, read_to_end},
    server::{Arrival, HOSTS, NOISE, Server},
};

// ---- Chromium ----

#[test]
fn the_websockets_of_a_page_share_its_connection() {
    chromium::with_browser(async |client, table| {
        let mut server = Server::start(true).await;
        let mut page = visit(client, &mut server, OVER_HTTP2).await?;
        let seen = exchange(client, &mut page).await?;
        table.row("8 MiB each way at once", format!("are the same; it sees {seen}"));
        let seen = share(client, &mut page).await?;
        table.row("two websockets, and the page loads", format!("are one connection; {seen}"));
        close_with_codes(client, &mut page, table).await?;
        leave(client, &mut server, table).await?;
        refuse_other_pages(client, &mut server, table).await?;
        shut_down(client, &mut server, table).await?;

        let mut server = Server::start(false).await;
        let mut page = visit(client, &mut server, OVER_HTTP1).await?;
        let seen = exchange(client, &mut page).await?;
        table.row("a server does not offer it", format!("HTTP/1.1 does; it sees {seen}"));
        Ok(())
    });
}

/// A page of the server's, and how it has to ask for websockets.
struct Page<'a> {
    server: &'a mut Server,
    /// The number of its connection.
    connection: usize,
    asks: &'static str,
}

impl Endpoint for Page<'_> {
    type Transport = Upgraded;

    const END_MAY_SILENCE: bool = true;

    fn url(&self) -> String {
        self.server.websocket()
    }

    async fn accept(&mut self) -> WsStream<Upgraded> {
        let Arrival { connection, asked, outcome } = self.server.arrival().await;
        assert_eq!(asked, self.asks);
        // over HTTP/1.1, a websocket has a connection of its own
        assert_eq!(connection == self.connection, self.asks == OVER_HTTP2, "{connection}");
        outcome.unwrap()
    }
}

async fn visit<'a>(
    client: &Client,
    server: &'a mut Server,
    asks: &'static str,
) -> Result<Page<'a>, CmdError> {
    client.goto(&server.page(HOSTS[0])).await?;
    let connection = text(client, "connection").await?.parse().unwrap();
    Ok(Page { server, connection, asks })
}

async fn exchange(client: &Client, page: &mut Page<'_>) -> Result<Value, CmdError> {
    let url = page.url();
    let answering = async {
        let stream = page.accept().await;
        let meta = stream.meta();
        let (mut read, mut write) = stream.split();
        let (mut received, ours) = (vec![0; NOISE], noise(2, NOISE));
        let (reading, writing) = join!(read.read_exact(&mut received), write.write_all(&ours));
        reading.and(writing).unwrap();
        assert_same(&received, &noise(1, NOISE));
        join!(meta.close(1000, ""), read_to_end(&mut read)).0.unwrap()
    };
    let (seen, end) =
        join!(client.execute_async(EXCHANGE, vec![json!(url)]), timeout(2 * PATIENCE, answering));
    let seen = seen?;
    assert_eq!(end.ok(), Some(clean(1000, "")), "{seen}");
    let expected = json!({
        "length": NOISE, "same": true, "protocol": "bytes", "extensions": "",
        "code": 1000, "wasClean": true,
    });
    assert_eq!(seen, expected);
    Ok(seen)
}

/// Two websockets carry bytes for as long as the page loads other things, all on one connection.
async fn share(client: &Client, page: &mut Page<'_>) -> Result<String, CmdError> {
    let url = page.url();
    let connection = page.connection.to_string();
    let answering = async {
        let streams = [page.accept().await, page.accept().await];
        let [first, second] = streams.map(echo);
        join!(first, second)
    };
    let (seen, echoed) =
        join!(client.execute_async(SHARE, vec![json!(url)]), timeout(2 * PATIENCE, answering));
    let seen = seen?;
    assert_eq!(echoed.ok(), Some((Ok(()), Ok(()))), "{seen}");
    let [talks, loaded] = ["talks", "loaded"].map(|what| seen[what].as_array().unwrap());
    for talk in talks {
        assert_eq!((&talk["same"], &talk["code"]), (&json!(true), &json!(1000)), "{seen}");
    }
    for one in loaded {
        assert_eq!(one, &json!([connection, NOISE]), "{seen}");
    }
    assert!(loaded.len() > 2, "{seen}");
    let [first, second] = [&talks[0], &talks[1]].map(|talk| &talk["received"]);
    Ok(format!("{first} and {second} bytes came back during {} loads of {NOISE}", loaded.len() - 2))
}

/// In a tab of its own, the page is in the middle of a transfer when the tab is closed.
async fn leave(client: &Client, server: &mut Server, table: &mut Table) -> Result<(), CmdError> {
    let first = client.window().await?;
    client.switch_to_window(client.new_window(true).await?.handle).await?;
    let mut page = visit(client, server, OVER_HTTP2).await?;
    let flood = Flood::begin(client, &mut page).await?;
    client.close_window().await?;
    let gone = flood.end().await;
    table.row("a tab is closed amid a transfer", format!("we see {gone:?}"));
    client.switch_to_window(first).await
}

async fn refuse_other_pages(
    client: &Client,
    server: &mut Server,
    table: &mut Table,
) -> Result<(), CmdError> {
    let other = server.page(HOSTS[1]);
    client.goto(&other).await?;
    // without a connection that it may use, it asks over HTTP/1.1
    for (first_load, asks) in [(None, OVER_HTTP1), (Some(server.page(HOSTS[0])), OVER_HTTP2)] {
        let arguments = vec![json!(first_load), json!(server.websocket())];
        let seen = client.execute_async(INTRUDE, arguments).await?;
        assert_eq!(seen, json!([1006, "", false]));
        let Arrival { asked, outcome, .. } = server.arrival().await;
        assert_eq!(asked, asks);
        let Err(WsUpgradeRejection::OriginNotAllowed { origin }) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(format!("{}/", origin.to_str().unwrap()), other);
        table.row(format!("a page of {other} connects"), format!("is refused, {asked}"));
    }
    Ok(())
}

async fn shut_down(
    client: &Client,
    server: &mut Server,
    table: &mut Table,
) -> Result<(), CmdError> {
    let mut page = visit(client, server, OVER_HTTP2).await?;
    let url = page.url();
    let closing = async {
        let stream = page.accept().await;
        join!(page.server.shut_down(), close(stream, 1001, "going away")).1
    };
    let watching = client.execute_async(WATCH, vec![json!(url), json!({})]);
    let (seen, end) = join!(watching, closing);
    assert_eq!((seen?, end), (json!([1001, "going away", true]), clean(1001, "going away")));
    table.row("the server shuts down", "it sees [1001,\"going away\",true], and the server ends");
    Ok(())
}

/// Sends one noise and receives another.
const EXCHANGE: &str = "
    const [url, done] = arguments;
    const noise = async (seed) =>
        new Uint8Array(await (await fetch(`/noise/${seed}`)).arrayBuffer());
    const exchange = async () => {
        const [ours, theirs] = await Promise.all([noise(1), noise(2)]);
        const received = new Uint8Array(theirs.length);
        let length = 0;
        const socket = new WebSocket(url, ['soap', 'bytes']);
        socket.binaryType = 'arraybuffer';
        socket.onopen = () => {
            const size = 100_000;
            for (let start = 0; start < ours.length; start += size) {
                socket.send(ours.subarray(start, start + size));
            }
        };
        socket.onmessage = ({ data }) => {
            received.set(new Uint8Array(data), length);
            length += data.byteLength;
        };
        socket.onclose = ({ code, wasClean }) => {
            const same = received.every((byte, index) => byte === theirs[index]);
            const { protocol, extensions } = socket;
            done({ length, same, protocol, extensions, code, wasClean });
        };
    };
    exchange().catch((error) => done(`${error}`));
";

/// Two websockets send noise and compare what comes back, while the page loads more: both until each has
/// had enough.
const SHARE: &str = "
    const [url, done] = arguments;
    const enough = 4 * 1024 * 1024;
    const piece = 32 * 1024;
    const loaded = [];
    const load = async (seed) => {
        const response = await fetch(`/noise/${seed}`);
        const bytes = new Uint8Array(await response.arrayBuffer());
        loaded.push([response.headers.get('connection-number'), bytes.length]);
        return bytes;
    };
    const talk = (bytes) => {
        const socket = new WebSocket(url);
        socket.binaryType = 'arraybuffer';
        let sent = 0;
        const state = { received: 0, same: true, stop: false };
        const send = () => {
            for (; !state.stop && sent - state.received < 8 * piece; sent += piece) {
                const start = sent % bytes.length;
                socket.send(bytes.subarray(start, start + piece));
            }
            if (sent === state.received) socket.close(1000);
        };
        socket.onopen = send;
        socket.onmessage = ({ data }) => {
            const start = state.received % bytes.length;
            const back = new Uint8Array(data);
            state.same &&= back.every((byte, index) => byte === bytes[start + index]);
            state.received += back.length;
            send();
        };
        state.closed = new Promise((resolve) => {
            socket.onclose = ({ code }) => { state.code = code; resolve(); };
        });
        return state;
    };
    const share = async () => {
        const talks = (await Promise.all([load(1), load(2)])).map(talk);
        while (talks.some(({ received, code }) => received < enough && !code)) await load(3);
        talks.forEach((talk) => { talk.stop = true; });
        await Promise.all(talks.map(({ closed }) => closed));
        done({ talks: talks.map(({ received, same, code }) => ({ received, same, code })), loaded });
    };
    share().catch((error) => done(`${error}`));
";

/// A page of elsewhere connects, and perhaps has a connection to the server by then.
const INTRUDE: &str = "
    const [firstLoad, url, done] = arguments;
    const intrude = async () => {
        if (firstLoad) await fetch(firstLoad, { mode: 'no-cors', credentials: 'include' });
        const socket = new WebSocket(url);
        socket.onopen = () => done('open');
        socket.onclose = ({ code, reason, wasClean }) => done([code, reason, wasClean]);
    };
    intrude().catch((error) => done(`${error}`));
";

// ---- node ----

#[tokio::test(flavor = "multi_thread")]
async fn node_and_we_send_both_ways_at_once_with_pings_between() {
    let mut server = Server::start(true).await;
    let options = json!({ "protocols": ["soap", "bytes"] });
    let script = connect(&server, &options, &["--pings"], &["exchange", &NOISE.to_string()]);
    script.says("CONNECT is offered");
    let stream = accept(&mut server).await;
    assert_eq!(script.says("protocol "), "protocol bytes");
    let meta = stream.meta();
    let (mut read, mut write) = stream.split();
    let (mut received, ours) = (vec![0; NOISE], noise(1, NOISE));
    let (reading, writing) =
        within(async { join!(read.read_exact(&mut received), write.write_all(&ours)) }).await;
    reading.and(writing).unwrap();
    assert_same(&received, &theirs());
    script.says(&format!("received {}", blake3::hash(&ours)));
    assert!(meta.counters().pings_received > 0);
    let (end, ()) = within(async { join!(meta.close(1000, ""), read_to_end(&mut read)) }).await;
    assert_eq!(end.unwrap(), clean(1000, ""));
    script.says("pings were answered");
    assert_eq!(seen(&script), "closed 1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_and_we_see_the_same_code_whoever_closes() {
    let mut server = Server::start(true).await;
    for (code, reason) in CODES {
        let script = connect(&server, &json!({}), &[], &["close", &code.to_string(), reason]);
        let end = within(ending(accept(&mut server).await)).await;
        assert_eq!(end, clean(code, reason));
        assert_eq!(seen(&script), format!("closed {code} {reason}").trim_end());

        let script = connect(&server, &json!({}), &[], &["flood"]);
        let end = within(close(accept(&mut server).await, code, reason)).await;
        assert_eq!(end, clean(code, reason));
        assert_eq!(seen(&script), format!("closed {code} {reason}").trim_end());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_node_sent_before_it_closed_is_read_while_we_send() {
    let mut server = Server::start(true).await;
    let script = connect(&server, &json!({}), &[], &["upload", &NOISE.to_string()]);
    let stream = accept(&mut server).await;
    let meta = stream.meta();
    let (mut read, mut write) = stream.split();
    let sending = async { while write.write_all(&[7; 1024]).await.is_ok() {} };
    let mut received = Vec::new();
    let ((), length) = within(async { join!(sending, read.read_to_end(&mut received)) }).await;
    assert_eq!(length.unwrap(), NOISE);
    assert_same(&received, &theirs());
    assert_eq!(within(meta.closed()).await, clean(1000, "that was all"));
    assert_eq!(seen(&script), "closed 1000 that was all");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_node_breaks_off_ends_without_a_close_frame() {
    let mut server = Server::start(true).await;
    let _script = connect(&server, &json!({}), &[], &["terminate"]);
    let (end, read) = broken_off(accept(&mut server).await).await;
    assert_eq!((end, read), (broken(), Ok(0)));

    let script = connect(&server, &json!({}), &[], &["listen"]);
    let stream = accept(&mut server).await;
    script.says("protocol ");
    drop(script);
    let (end, read) = broken_off(stream).await;
    assert_eq!(end, broken());
    // of the connection: TLS did not say goodbye, or something was not read
    let kind = read.unwrap_err();
    assert!([ErrorKind::UnexpectedEof, ErrorKind::ConnectionReset].contains(&kind), "{kind:?}");

    let script = connect(&server, &json!({}), &[], &["listen"]);
    drop(accept(&mut server).await);
    assert_eq!(seen(&script), "closed 1006");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_is_refused_with_the_status_that_fits() {
    let mut server = Server::start(true).await;
    let refused = async |headers: Value| {
        let script = connect(&server, &json!({ "headers": headers }), &[], &["listen"]);
        script.says("refused ").trim_end().to_owned()
    };
    assert_eq!(refused(json!({ "origin": "https://elsewhere.example" })).await, "refused 403");
    assert_eq!(refused(json!({ "sec-websocket-version": 8 })).await, "refused 426 13");
    for _ in 0..2 {
        assert!(server.arrival().await.outcome.is_err());
    }
}

/// Starts a client, with options of the script.
fn connect(server: &Server, options: &Value, before: &[&str], scene: &[&str]) -> Program {
    let url = server.websocket().replace("wss:", "https:");
    let mut script = node("peer.mjs");
    script.env("OPTIONS", options.to_string()).args(before).args(["connect", &url]).args(scene);
    Program::start(&mut script)
}

async fn accept(server: &mut Server) -> WsStream<Upgraded> {
    let Arrival { asked, outcome, .. } = server.arrival().await;
    assert_eq!(asked, OVER_HTTP2);
    outcome.unwrap()
}

/// How a stream ends that is broken off, and how many bytes were read before.
async fn broken_off(mut stream: WsStream<Upgraded>) -> (CloseEvent, Result<usize, ErrorKind>) {
    let read = within(stream.read_to_end(&mut Vec::new())).await;
    (within(stream.meta().closed()).await, read.map_err(|error| error.kind()))
}

/// What the script says of how the connection closed.
fn seen(script: &Program) -> String {
    script.says("closed ").trim_end().to_owned()
}

/// What the script sends.
fn theirs() -> Vec<u8> {
    let mut bytes = vec![0; NOISE];
    Hasher::new().update(b"theirs").finalize_xof().fill(&mut bytes);
    bytes
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it hangs")
}

const OVER_HTTP2: &str = "HTTP/2.0 CONNECT :protocol websocket, upgrade -";
const OVER_HTTP1: &str = "HTTP/1.1 GET :protocol -, upgrade websocket";
