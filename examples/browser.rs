//! Serves a page that uses a websocket in a browser, and echoes what it sends.
//!
//! `cargo run --release --example browser` prints the address to open; it serves until Ctrl-C. The
//! page shows throughput, round-trip times, and how the browser sees the connection close.
//!
//! Page and websocket share a port: hyper answers requests, and hands over the connections that
//! become websockets. While the echo has the stream, requests reach it through its [`WsMeta`]: they
//! send pings and close codes.

use std::{
    convert::Infallible,
    fmt,
    io::{self, ErrorKind},
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use async_tungstenite::{
    tokio::TokioAdapter,
    tungstenite::{handshake::server::create_response_with_body, protocol::Role},
};
use clap::Parser;
use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt, future::join_all,
};
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{self, HeaderName},
    server::conn::http1,
    service::service_fn,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use indicatif::BinaryBytes;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use ws_stream_tungstenite::{
    CloseEvent, WsConfig, WsEvent, WsMeta, WsState, WsStream, byte_stream_config,
    pharos::{Observable, ObserveConfig},
};

/// Serves a page that uses a websocket in a browser, and echoes what it sends, until Ctrl-C.
#[derive(Parser)]
struct Cli {
    /// Where to listen, on 127.0.0.1; with 0, the system chooses
    #[arg(long, default_value_t = 8080)]
    port: u16,
}

type Answer = Response<Full<Bytes>>;

#[tokio::main]
async fn main() -> Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, Cli::parse().port));
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    println!("listening on http://{}", listener.local_addr()?);

    let connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((tcp, _)) => drop(tokio::spawn(serve_http(tcp, connections.clone()))),
            Err(error) => {
                // most likely too many connections: wait for some of them to end
                eprintln!("cannot accept connections: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

// ---- requests ----

/// Answers requests until the client has no more, or one of them makes this a websocket. What goes
/// wrong meanwhile concerns nobody else.
async fn serve_http(tcp: TcpStream, connections: Connections) -> Result<()> {
    tcp.set_nodelay(true)?;
    let service = service_fn(|request| {
        let connections = connections.clone();
        async { Ok::<_, Infallible>(answer(request, connections).await) }
    });
    let mut http = http1::Builder::new();
    // with a timer, a client that never says what it wants is dropped
    http.timer(TokioTimer::new());
    Ok(http.serve_connection(TokioIo::new(tcp), service).with_upgrades().await?)
}

async fn answer(request: Request<Incoming>, connections: Connections) -> Answer {
    if !is_same_origin(request.headers()) {
        return text(StatusCode::FORBIDDEN, "only pages of this server may do that");
    }
    match (request.method(), request.uri().path(), connection_id(&request)) {
        (&Method::GET, "/", _) => file("text/html; charset=utf-8", HTML),
        (&Method::GET, "/style.css", _) => file("text/css", CSS),
        (&Method::GET, "/page.js", _) => file("text/javascript", SCRIPT),
        (&Method::GET, "/echo", Some(id)) => accept_websocket(request, id, connections),
        (&Method::POST, "/ping", Some(id)) => answer_ping(&connections, id).await,
        (&Method::POST, "/close", _) => text(StatusCode::OK, connections.close_all().await),
        _ => text(StatusCode::NOT_FOUND, "there is nothing here"),
    }
}

/// Whether no page but ours is behind a request. Browsers let any page open websockets to any
/// server, and send forms there, but tell where it came from. Other clients may say what they want.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Some(host) = headers.get(header::HOST) else { return false };
    match (origin.to_str(), host.to_str()) {
        (Ok(origin), Ok(host)) => origin.split_once("://").is_some_and(|(_, from)| from == host),
        _ => false,
    }
}

/// The number that the page gave its connection: `?id=7`.
fn connection_id(request: &Request<Incoming>) -> Option<u16> {
    request.uri().query()?.strip_prefix("id=")?.parse().ok()
}

/// Checks the request, and makes a websocket of the connection once the answer is out.
fn accept_websocket(request: Request<Incoming>, id: u16, connections: Connections) -> Answer {
    match create_response_with_body(&request, Full::default) {
        Ok(switching_protocols) => {
            let upgrade = hyper::upgrade::on(request);
            tokio::spawn(echo_and_log(upgrade, id, connections));
            switching_protocols
        }
        Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
    }
}

async fn answer_ping(connections: &Connections, id: u16) -> Answer {
    let Some(connection) = connections.find(id) else {
        return text(StatusCode::NOT_FOUND, "no such connection");
    };
    match timeout(PATIENCE, ping(connection)).await {
        Ok(Ok(took)) => text(StatusCode::OK, format!("{:.2}", took.as_secs_f64() * 1000.0)),
        Ok(Err(error)) => text(StatusCode::CONFLICT, error.to_string()),
        Err(_) => text(StatusCode::GATEWAY_TIMEOUT, "no pong in time"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer
}

fn file(kind: &'static str, body: &'static str) -> Answer {
    let mut answer = text(StatusCode::OK, body);
    let headers = answer.headers_mut();
    for (name, value) in [(header::CONTENT_TYPE, kind)].into_iter().chain(ISOLATION) {
        headers.insert(name, header::HeaderValue::from_static(value));
    }
    answer
}

// ---- websockets ----

/// A connection that breaks is worth a line, not the end of the server: that is how a tab leaves that is
/// closed in the middle of a transfer.
async fn echo_and_log(upgrade: OnUpgrade, id: u16, connections: Connections) {
    match echo_connection(upgrade, id, &connections).await {
        Ok(report) => println!("connection {id}: {report}"),
        Err(error) => println!("connection {id}: {error}: {}", error.root_cause()),
    }
    connections.forget_closed();
}

/// What there is to say about a connection that has ended.
struct Report {
    /// In bytes.
    echoed: u64,
    end: CloseEvent,
}

async fn echo_connection(upgrade: OnUpgrade, id: u16, connections: &Connections) -> Result<Report> {
    let upgraded = upgrade.await.context("the handshake failed")?;
    let transport = TokioAdapter::new(TokioIo::new(upgraded));
    let config =
        byte_stream_config().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let config = WsConfig::new().websocket(config);
    let mut stream = WsStream::from_raw_socket(transport, Role::Server, Some(config)).await;
    let meta = stream.meta();
    connections.add(id, meta.clone());
    println!("connection {id}: open");
    let echoed = echo(&mut stream).await.context("the connection broke")?;
    Ok(Report { echoed, end: meta.closed().await })
}

/// Sends back what comes until end of file, which is when both ends have closed. Returns how many
/// bytes that were.
async fn echo(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut echoed = 0;
    loop {
        let length = stream.read(&mut buffer).await?;
        if length == 0 {
            return Ok(echoed);
        }
        // no flush: what does not leave at once is moved on by the next read
        match stream.write_all(&buffer[..length]).await {
            Ok(()) => echoed += length as u64,
            // Somebody has closed: nothing can be sent any more. But the browser's answer is still
            // to come, behind what it had sent before.
            Err(error) if error.kind() == ErrorKind::NotConnected => {}
            Err(error) => return Err(error),
        }
    }
}

/// Measures how long the browser takes to answer a ping. It does so by itself, past the page.
async fn ping(mut connection: WsMeta) -> Result<Duration> {
    let is_pong: fn(&_) -> bool = |event| matches!(event, WsEvent::Pong(_));
    let mut pongs = connection.observe(ObserveConfig::default().filter(is_pong)).await?;
    let start = Instant::now();
    connection.ping(b"are you there?")?;
    pongs.next().await.context("closed before the pong came")?;
    Ok(start.elapsed())
}

/// The connections that are open, each with the number that its page gave it.
#[derive(Clone, Default)]
struct Connections(Arc<Mutex<Vec<(u16, WsMeta)>>>);

impl Connections {
    /// Closes all connections, each as its echo goes on. Returns how they ended.
    async fn close_all(&self) -> String {
        let open = self.with(|connections| connections.clone());
        let farewells = open.iter().map(|(id, connection)| {
            close(connection).map(move |end| format!("connection {id} {end}"))
        });
        let report = match join_all(farewells).await.join("\n") {
            none if none.is_empty() => "no connection is open".into(),
            report => report,
        };
        println!("asked to close all connections\n{report}");
        report
    }

    fn add(&self, id: u16, connection: WsMeta) {
        self.with(|connections| connections.push((id, connection)));
    }

    fn find(&self, id: u16) -> Option<WsMeta> {
        self.with(|connections| {
            // the same page may have connected anew
            let found = connections.iter().rfind(|(other, _)| *other == id);
            found.map(|(_, connection)| connection.clone())
        })
    }

    fn forget_closed(&self) {
        self.with(|connections| {
            connections.retain(|(_, connection)| connection.ready_state() != WsState::Closed);
        });
    }

    fn with<R>(&self, f: impl FnOnce(&mut Vec<(u16, WsMeta)>) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Closes a connection whose stream is somewhere else. Returns how it ended.
async fn close(connection: &WsMeta) -> String {
    let start = Instant::now();
    match timeout(PATIENCE, connection.close(1001, "the server is going away")).await {
        Ok(Ok(end)) => format!("{} after {:.1?}", describe(&end), start.elapsed()),
        Ok(Err(error)) => format!("could not be closed: {error}"),
        Err(_) => "does not answer".into(),
    }
}

fn describe(CloseEvent { code, reason, was_clean }: &CloseEvent) -> String {
    let how = if *was_clean { "cleanly" } else { "uncleanly" };
    format!("closed {how} with code {code} and reason {reason:?}")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { echoed, end } = self;
        write!(f, "echoed {}; {}", BinaryBytes(*echoed), describe(end))
    }
}

const HTML: &str = include_str!("browser/index.html");
const CSS: &str = concat!(include_str!("page.css"), include_str!("browser/style.css"));
const SCRIPT: &str = include_str!("browser/page.js");

/// Without these, browsers keep their clock at 0.1 ms: too coarse for round trips on one machine.
const ISOLATION: [(HeaderName, &str); 2] = [
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
];

const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How long a browser may take to answer a ping or a close frame.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest message that a browser may send, in bytes. The page sends 64 KiB at a time.
const MAX_MESSAGE: usize = 256 * 1024;

/// How much is read at once, in bytes. Room for one message of the page.
const BUFFER: usize = 64 * 1024;
