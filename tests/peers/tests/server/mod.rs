//! A server of hyper over TLS: pages, bytes, and websockets, over HTTP/2 and HTTP/1.1.

use std::{convert::Infallible, future::ready, sync::Arc};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    ext::Protocol,
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use real_peers::{PATIENCE, noise};
use tokio::{
    net::TcpListener,
    select,
    sync::{
        Notify,
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    },
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};
use ws_stream_tungstenite::{Upgraded, WsStream, WsUpgrade, WsUpgradeRejection};

/// A server, for as long as the runtime lives.
pub struct Server {
    port: u16,
    arrivals: UnboundedReceiver<Arrival>,
    serving: JoinHandle<()>,
    stop: Arc<Notify>,
}

/// A request for a websocket.
pub struct Arrival {
    /// The number of the connection it came on.
    pub connection: usize,
    /// How it asked.
    pub asked: String,
    pub outcome: Result<WsStream<Upgraded>, WsUpgradeRejection>,
}

impl Server {
    /// Offers HTTP/2, and the extended `CONNECT` or not.
    pub async fn start(offers_connect: bool) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        if offers_connect {
            builder.http2().enable_connect_protocol();
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, arrivals) = unbounded_channel();
        let stop = Arc::new(Notify::new());
        let serving = tokio::spawn(serve(listener, builder, sender, stop.clone()));
        Self { port, arrivals, serving, stop }
    }

    /// The address of a page.
    pub fn page(&self, host: &str) -> String {
        format!("https://{host}:{}/", self.port)
    }

    /// Where pages, or other clients, get a websocket.
    pub fn websocket(&self) -> String {
        format!("wss://127.0.0.1:{}/websocket", self.port)
    }

    /// Takes no new connections and requests, and waits for those that it has.
    pub async fn shut_down(&mut self) {
        self.stop.notify_one();
        timeout(PATIENCE, &mut self.serving).await.expect("all have been served").unwrap();
    }

    /// The next request for a websocket.
    pub async fn arrival(&mut self) -> Arrival {
        timeout(PATIENCE, self.arrivals.recv()).await.expect("it asks for a websocket").unwrap()
    }
}

async fn serve(
    listener: TcpListener,
    builder: Builder<TokioExecutor>,
    arrivals: UnboundedSender<Arrival>,
    stop: Arc<Notify>,
) {
    let tls = acceptor();
    let graceful = GracefulShutdown::new();
    for connection in 0.. {
        let accepted = select! {
            accepted = listener.accept() => accepted,
            () = stop.notified() => break,
        };
        let (tcp, _) = accepted.unwrap();
        tcp.set_nodelay(true).unwrap();
        let service = Service { connection, arrivals: arrivals.clone() };
        let service =
            service_fn(move |request| ready(Ok::<_, Infallible>(service.answer(request))));
        let (tls, builder, watcher) = (tls.clone(), builder.clone(), graceful.watcher());
        tokio::spawn(async move {
            // browsers open connections that they may not need, and break them off
            let Ok(tls) = tls.accept(tcp).await else { return };
            let serving = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
            let _ = watcher.watch(serving.into_owned()).await;
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

/// What one connection is served by.
struct Service {
    connection: usize,
    arrivals: UnboundedSender<Arrival>,
}

impl Service {
    /// The number of the connection comes with every response.
    fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let mut response = match path.strip_prefix("/noise/") {
            Some(seed) => Response::new(noise(seed.parse().unwrap(), NOISE).into()),
            None if path == "/websocket" => self.upgrade(request).map(Full::from),
            None => page(self.connection),
        };
        response.headers_mut().insert("connection-number", HeaderValue::from(self.connection));
        response
    }

    fn upgrade(&self, mut request: Request<Incoming>) -> Response<String> {
        let asked = in_words(&request);
        let upgrade = WsUpgrade::new(&mut request).and_then(WsUpgrade::same_origin);
        let arrivals = self.arrivals.clone();
        let arrive = {
            let connection = self.connection;
            // nobody may be interested any more, at the end of a test
            move |outcome| drop(arrivals.send(Arrival { connection, asked, outcome }))
        };
        match upgrade {
            Ok(upgrade) => {
                let (response, stream) = upgrade.protocols(["bytes"]).accept();
                tokio::spawn(async move { arrive(Ok(stream.await.unwrap())) });
                response
            }
            Err(rejection) => {
                let response = rejection.response();
                arrive(Err(rejection));
                response
            }
        }
    }
}

/// Version, method, and the protocol that is to be spoken then.
fn in_words(request: &Request<Incoming>) -> String {
    let protocol = request.extensions().get::<Protocol>().map(Protocol::as_str);
    let upgrade = request.headers().get("upgrade").map(|upgrade| upgrade.to_str().unwrap());
    let [protocol, upgrade] = [protocol, upgrade].map(|word| word.unwrap_or("-"));
    format!("{:?} {} :protocol {protocol}, upgrade {upgrade}", request.version(), request.method())
}

/// A page that shows the number of its connection.
fn page(connection: usize) -> Response<Full<Bytes>> {
    let page = format!("<!doctype html><title>page</title><p id='connection'>{connection}</p>");
    let mut response = Response::new(page.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

/// HTTP/2, or else HTTP/1.1, with a certificate that nobody trusts.
fn acceptor() -> TlsAcceptor {
    let hosts = HOSTS.map(str::to_owned);
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(hosts).unwrap();
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::from(signing_key))
        .unwrap();
    config.alpn_protocols = ["h2", "http/1.1"].map(|protocol| protocol.as_bytes().to_vec()).into();
    Arc::new(config).into()
}

pub const HOSTS: [&str; 2] = ["127.0.0.1", "localhost"];

/// How much noise there is, in bytes. More than fits in all buffers between.
pub const NOISE: usize = 8 * 1024 * 1024;
