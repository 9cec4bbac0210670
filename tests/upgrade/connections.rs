//! Both ends of hyper's connections, and bare ends that say what the test wants.

use std::{convert::Infallible, future::ready, io, time::Duration};

use futures::StreamExt;
use hyper::{
    HeaderMap, Method, Request, Response, Version,
    body::Incoming,
    client::conn,
    header::{HOST, HeaderName, HeaderValue},
    server, service,
    upgrade::OnUpgrade,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use pharos::Events;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinSet,
};
use ws_stream_tungstenite::{
    Upgraded, WsClientUpgrade, WsEvent, WsStream, WsUpgrade, WsUpgradeRejection, pharos,
};

use crate::support::in_words;

/// The key of RFC 6455, section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What the RFC says that it is answered with.
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub type Stream = WsStream<Upgraded>;
pub type Accepted = UnboundedReceiver<Result<Stream, hyper::Error>>;

/// Runs a test on two threads of tokio; none takes long unless something hangs.
pub fn on_tokio<F: Future>(test: F) -> F::Output {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(patiently(test))
}

pub async fn patiently<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("the test hangs")
}

/// What a server answers to a request.
pub trait Handle: Fn(Request<Incoming>) -> Response<String> + Send + 'static {}

impl<F: Fn(Request<Incoming>) -> Response<String> + Send + 'static> Handle for F {}

/// Accepts what `decide` lets through; the streams come out at the other end.
pub fn accepting<D>(decide: D) -> (impl Handle, Accepted)
where
    D: Fn(WsUpgrade) -> Result<WsUpgrade, WsUpgradeRejection> + Send + 'static,
{
    let (sender, accepted) = unbounded_channel();
    let handle = move |mut request: Request<Incoming>| {
        match WsUpgrade::new(&mut request).and_then(&decide) {
            Ok(upgrade) => {
                let (response, stream) = upgrade.accept();
                let sender = sender.clone();
                tokio::spawn(async move {
                    let _ = sender.send(stream.await); // some tests don't look
                });
                response
            }
            Err(rejection) => rejection.response(),
        }
    };
    (handle, accepted)
}

/// Accepts every valid request, and has no use for the streams.
pub fn accepting_all() -> impl Handle {
    accepting(Ok).0
}

/// Hyper's HTTP/1.1 server; its client is what is returned.
pub fn http1_server(handle: impl Handle) -> DuplexStream {
    let (client, server) = duplex(64 * 1024);
    tokio::spawn(serve_http1(server, handle));
    client
}

async fn serve_http1<T>(transport: T, handle: impl Handle)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service::service_fn(move |request| ready(Ok::<_, Infallible>(handle(request))));
    let connection = server::conn::http1::Builder::new();
    let connection = connection.serve_connection(TokioIo::new(transport), service);
    let _ = connection.with_upgrades().await; // a client that breaks off is none of its business
}

/// Hyper's HTTP/2 server and client, the tasks of which end with the `JoinSet`.
pub async fn http2_pair(
    builder: &server::conn::http2::Builder<TokioExecutor>,
    handle: impl Handle,
) -> (conn::http2::SendRequest<String>, JoinSet<()>) {
    let (client, server) = duplex(64 * 1024);
    let mut tasks = JoinSet::new();
    let service = service::service_fn(move |request| ready(Ok::<_, Infallible>(handle(request))));
    let connection = builder.serve_connection(TokioIo::new(server), service);
    tasks.spawn(async move {
        let _ = connection.await;
    });
    let (mut sender, connection) =
        conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    tasks.spawn(async move {
        let _ = connection.await;
    });
    // the settings of the server come before the response
    let request = Request::get("https://example.com/").body(String::new()).unwrap();
    sender.send_request(request).await.unwrap();
    (sender, tasks)
}

/// A server that offers what RFC 8441 is about.
pub fn with_connect_protocol() -> server::conn::http2::Builder<TokioExecutor> {
    let mut builder = server::conn::http2::Builder::new(TokioExecutor::new());
    builder.enable_connect_protocol();
    builder
}

/// A websocket between hyper's client and server.
pub struct Pair {
    pub client: Stream,
    pub server: Stream,
    /// What moves the bytes. Without it, the connection is broken.
    pub connection: JoinSet<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Http1,
    Http1AndTcp,
    Http2,
}

pub const EACH: [Over; 3] = [Over::Http1, Over::Http1AndTcp, Over::Http2];

pub async fn connect(over: Over) -> Pair {
    connect_with(over, |upgrade| upgrade, |upgrade| upgrade).await
}

pub async fn connect_with(
    over: Over,
    client: impl FnOnce(WsClientUpgrade) -> WsClientUpgrade,
    server: impl Fn(WsUpgrade) -> WsUpgrade + Send + 'static,
) -> Pair {
    let (handle, mut accepted) = accepting(move |upgrade| Ok(server(upgrade)));
    let (client, connection) = match over {
        Over::Http1 => {
            let transport = http1_server(handle);
            (connect_http1(transport, client).await, JoinSet::new())
        }
        Over::Http1AndTcp => {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            tokio::spawn(serve_http1(listener.accept().await.unwrap().0, handle));
            (connect_http1(tcp, client).await, JoinSet::new())
        }
        Over::Http2 => {
            let (mut sender, tasks) = http2_pair(&with_connect_protocol(), handle).await;
            (connect_http2(&mut sender, client).await, tasks)
        }
    };
    Pair { client, server: accepted.recv().await.unwrap().unwrap(), connection }
}

async fn connect_http1<T>(
    transport: T,
    configure: impl FnOnce(WsClientUpgrade) -> WsClientUpgrade,
) -> Stream
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = conn::http1::handshake(TokioIo::new(transport)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get("/bytes").header(HOST, "example.com");
    let mut request = request.body(String::new()).unwrap();
    let upgrade = configure(WsClientUpgrade::new(&mut request));
    let response = sender.send_request(request).await.unwrap();
    upgrade.finish(response).await.unwrap().0
}

pub async fn connect_http2(
    sender: &mut conn::http2::SendRequest<String>,
    configure: impl FnOnce(WsClientUpgrade) -> WsClientUpgrade,
) -> Stream {
    let mut request = http2_request(Method::GET, &[]);
    let upgrade = configure(WsClientUpgrade::new(&mut request));
    let response = sender.send_request(request).await.unwrap();
    upgrade.finish(response).await.unwrap().0
}

pub fn http2_request(method: Method, headers: &[(&str, &str)]) -> Request<String> {
    let request = Request::builder().method(method).version(Version::HTTP_2);
    let mut request = request.uri("https://example.com/bytes").body(String::new()).unwrap();
    for (name, value) in headers {
        append(request.headers_mut(), name, value);
    }
    request
}

/// An upgrade of hyper's, for requests that the test makes itself.
pub async fn on_upgrade() -> OnUpgrade {
    let (sender, mut upgrades) = unbounded_channel();
    let mut client = http1_server(move |mut request| {
        sender.send(request.extensions_mut().remove::<OnUpgrade>().unwrap()).unwrap();
        Response::new(String::new())
    });
    client.write_all(&request(&[])).await.unwrap();
    upgrades.recv().await.unwrap()
}

/// What a client has to send.
pub const VALID: [(&str, &str); 5] = [
    ("Host", "example.com"),
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
];

/// The valid headers with these changes.
pub fn headers<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    changed(&VALID, changes)
}

/// These headers, where `changes` replace those of their names. A value of `-` leaves the header out.
pub fn changed<'a>(
    headers: &[(&'a str, &'a str)],
    changes: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let is_changed = |name: &str| changes.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
    let kept = headers.iter().copied().filter(|(name, _)| !is_changed(name));
    kept.chain(changes.iter().copied().filter(|(_, value)| *value != "-")).collect()
}

/// A valid request with these changes, as it goes over the wire.
pub fn request(changes: &[(&str, &str)]) -> Vec<u8> {
    request_line("GET /bytes HTTP/1.1", changes)
}

pub fn request_line(line: &str, changes: &[(&str, &str)]) -> Vec<u8> {
    head(line, &headers(changes)).into_bytes()
}

/// A head as it goes over the wire.
pub fn head(line: &str, headers: &[(&str, &str)]) -> String {
    let headers = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("{line}\r\n{}\r\n", headers.collect::<String>())
}

pub fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
}

/// A response, or a request, as it came over the wire.
#[derive(Debug)]
pub struct Head {
    pub first_line: String,
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Head {
    /// The values of all lines of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.iter().filter(|(it, _)| it.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| value.as_str()).collect()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        match self.all(name).as_slice() {
            [] => None,
            [value] => Some(value),
            several => panic!("{name} is there several times: {several:?}"),
        }
    }

    /// The status of a response.
    pub fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// Reads one head, not a byte more, and as much of a body as it announces.
pub async fn read_head<T: AsyncRead + Unpin>(transport: &mut T) -> Head {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(transport.read_u8().await.expect("a whole head"));
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let first_line = lines.next().unwrap().to_owned();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut head = Head { first_line, headers, body: String::new() };
    let length = head.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    transport.read_exact(&mut body).await.unwrap();
    head.body = String::from_utf8(body).unwrap();
    head
}

/// What hyper's server with this handler answers to a bare request.
pub async fn answer(handle: impl Handle, request: &[u8]) -> Head {
    let mut client = http1_server(handle);
    client.write_all(request).await.unwrap();
    read_head(&mut client).await
}

/// What is read of a stream, which is dropped then, and how that ends.
pub async fn read_to_end(mut stream: Stream) -> (Vec<u8>, io::Result<usize>) {
    let mut data = Vec::new();
    let result = stream.read_to_end(&mut data).await;
    (data, result)
}

/// All that an observer is told, in words.
pub async fn told(events: Events<WsEvent>) -> Vec<String> {
    events.map(|event| in_words(&event)).collect().await
}
