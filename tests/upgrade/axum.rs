//! `WsUpgrade` as an extractor of axum.

use std::{future::ready, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{FromRequestParts, Path, State},
    response::{IntoResponse, Response},
    routing::{any, get},
};
use futures::{SinkExt, StreamExt};
use http_body_util::BodyExt;
use hyper::{
    Method, Request, StatusCode, Version, client::conn, ext::Protocol, header::HeaderValue,
};
use hyper_util::{
    client::legacy::Client as PooledClient,
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tower::ServiceExt;
use tungstenite::{
    Error, Message,
    client::IntoClientRequest,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use ws_stream_tungstenite::{
    Upgraded, Writes, WsClientUpgrade, WsConfig, WsStream, WsUpgrade, WsUpgradeRejection,
    tungstenite,
};

use crate::{
    connections::{Stream, VALID, append, on_tokio, read_to_end, told},
    support::{observe, pattern},
};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Serves these routes, and says where.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    address
}

async fn connect(address: SocketAddr, protocols: &str) -> (Client, Option<String>) {
    let mut request = format!("ws://{address}/bytes").into_client_request().unwrap();
    if !protocols.is_empty() {
        append(request.headers_mut(), "Sec-WebSocket-Protocol", protocols);
    }
    let (client, response) = tokio_tungstenite::connect_async(request).await.unwrap();
    let protocol = response.headers().get("sec-websocket-protocol");
    (client, protocol.map(|protocol| protocol.to_str().unwrap().to_owned()))
}

/// What a client that sends `data`, and then closes, receives.
async fn talk(mut client: Client, data: &[u8]) -> Vec<u8> {
    client.send(Message::binary(data.to_vec())).await.unwrap();
    let mut received = Vec::new();
    while received.len() < data.len() {
        received.extend_from_slice(&client.next().await.unwrap().unwrap().into_data());
    }
    client.close(None).await.unwrap();
    while client.next().await.is_some() {}
    received
}

async fn echo(stream: Stream) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    tokio::io::copy(&mut reader, &mut writer).await.unwrap();
}

/// A valid request, as it is without a connection.
fn request(changes: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get("/bytes").body(Body::empty()).unwrap();
    for (name, value) in VALID.iter().chain(changes) {
        request.headers_mut().insert(
            hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap(),
            value.parse().unwrap(),
        );
    }
    request
}

async fn body(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().into()).unwrap()
}

fn assert_send_sync<T: Send + Sync + 'static>() {}

#[test]
fn a_handler_may_hold_it_across_an_await() {
    fn assert_handler<H: axum::handler::Handler<T, ()>, T>(_: H) {}
    async fn handler(upgrade: WsUpgrade) -> Response {
        let held = &upgrade;
        ready(()).await;
        let _still = held.selected_protocol();
        upgrade.on_upgrade(echo)
    }
    assert_send_sync::<WsUpgrade>();
    assert_handler(handler);
}

#[test]
fn bytes_come_back_of_a_handler_for_get_or_any_method() {
    on_tokio(async {
        let handler = || async |upgrade: WsUpgrade| upgrade.on_upgrade(echo);
        for route in [get(handler()), any(handler())] {
            let address = serve(Router::new().route("/bytes", route)).await;
            let (client, protocol) = connect(address, "").await;
            assert_eq!(protocol, None);
            let data = pattern(0, 1_000_000);
            assert!(talk(client, &data).await == data);
        }
    });
}

#[test]
fn both_ends_see_the_close_code() {
    on_tokio(async {
        let (sender, mut events) = mpsc::unbounded_channel();
        let handler = async |State(sender): State<mpsc::UnboundedSender<_>>, upgrade: WsUpgrade| {
            upgrade.on_upgrade(move |mut stream| async move {
                let events = observe(&mut stream);
                read_to_end(stream).await.1.unwrap();
                sender.send(told(events).await).unwrap();
            })
        };
        let router = Router::new().route("/bytes", any(handler)).with_state(sender);
        let (mut client, _) = connect(serve(router).await, "").await;
        let frame = CloseFrame { code: CloseCode::Library(4000), reason: "done".into() };
        client.close(Some(frame.clone())).await.unwrap();
        let answer = client.next().await.unwrap().unwrap();
        assert_eq!(answer, Message::Close(Some(frame)));
        assert_eq!(events.recv().await.unwrap(), ["close 4000 \"done\"", "closed"]);
    });
}

#[test]
fn subprotocols_are_agreed_to_as_in_axum() {
    on_tokio(async {
        let by_list = async |upgrade: WsUpgrade| {
            let upgrade = upgrade.protocols(["b", "a"]);
            assert_eq!(upgrade.selected_protocol(), Some(&HeaderValue::from_static("b")));
            upgrade.on_upgrade(echo)
        };
        let by_hand = async |mut upgrade: WsUpgrade| {
            let asked: Vec<_> = upgrade.requested_protocols().cloned().collect();
            assert_eq!(asked, ["a", "b"]);
            assert_eq!(upgrade.selected_protocol(), None);
            upgrade.set_selected_protocol(asked[0].clone());
            upgrade.on_upgrade(echo)
        };
        for (route, expected) in [(any(by_list), "b"), (any(by_hand), "a")] {
            let address = serve(Router::new().route("/bytes", route)).await;
            let (client, protocol) = connect(address, "a, b").await;
            assert_eq!(protocol.as_deref(), Some(expected));
            assert_eq!(talk(client, b"hello").await, b"hello");
        }
    });
}

#[test]
fn other_extractors_may_come_before() {
    async fn handler(
        State(greeting): State<Arc<str>>,
        Path(name): Path<String>,
        method: Method,
        upgrade: WsUpgrade,
    ) -> impl IntoResponse {
        upgrade.on_upgrade(async move |mut stream| {
            let text = format!("{greeting} {name} {method}");
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            read_to_end(stream).await.1.unwrap();
        })
    }
    on_tokio(async {
        let router = Router::new().route("/{name}", any(handler)).with_state("hello".into());
        let (mut client, _) = connect(serve(router).await, "").await;
        let message = client.next().await.unwrap().unwrap();
        assert_eq!(message.into_data(), "hello bytes GET");
    });
}

#[test]
fn a_handler_may_do_without_an_upgrade() {
    async fn handler(upgrade: Result<WsUpgrade, WsUpgradeRejection>) -> Response {
        match upgrade {
            Ok(upgrade) => upgrade.on_upgrade(echo),
            Err(rejection) => format!("no websocket: {rejection}").into_response(),
        }
    }
    on_tokio(async {
        let router = Router::new().route("/bytes", any(handler));
        let plain = Request::get("/bytes").header("host", "a.com").body(Body::empty()).unwrap();
        let response = router.clone().oneshot(plain).await.unwrap();
        let expected = "no websocket: the `Connection` header does not say `Upgrade`";
        assert_eq!(body(response).await, expected);
        let (client, _) = connect(serve(router).await, "").await;
        assert_eq!(talk(client, b"hello").await, b"hello");
    });
}

#[test]
fn rejections_are_responses() {
    use WsUpgradeRejection::*;
    let table = [
        (("upgrade", "h2c"), InvalidUpgradeHeader),
        (("connection", "close"), InvalidConnectionHeader),
        (("sec-websocket-version", "8"), InvalidWebSocketVersionHeader),
        (("sec-websocket-key", "short"), InvalidWebSocketKeyHeader),
        (("x", "valid"), ConnectionNotUpgradable),
    ];
    let handler = async |upgrade: WsUpgrade| upgrade.on_upgrade(echo);
    on_tokio(async {
        let router = Router::new().route("/bytes", any(handler));
        for (change, rejection) in table {
            let response = router.clone().oneshot(request(&[change])).await.unwrap();
            assert_eq!(response.status(), rejection.status(), "{change:?}");
            for (name, value) in rejection.response().headers() {
                assert_eq!(response.headers().get(name), Some(value), "{change:?}");
            }
            assert_eq!(body(response).await, rejection.body_text(), "{change:?}");
        }
        let mut post = request(&[]);
        *post.method_mut() = Method::POST;
        let response = router.oneshot(post).await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &"GET".parse().unwrap())
        );
    });
}

#[test]
fn a_request_without_a_connection_is_rejected_by_name() {
    on_tokio(async {
        let (mut parts, _) = request(&[]).into_parts();
        let rejection = WsUpgrade::from_request_parts(&mut parts, &()).await.unwrap_err();
        assert_eq!(rejection, WsUpgradeRejection::ConnectionNotUpgradable);
    });
}

#[test]
fn a_handler_can_refuse_pages_of_other_sites() {
    async fn same_origin(upgrade: WsUpgrade) -> Result<impl IntoResponse, WsUpgradeRejection> {
        Ok(upgrade.same_origin()?.on_upgrade(echo))
    }
    async fn allowed(upgrade: WsUpgrade) -> Result<impl IntoResponse, WsUpgradeRejection> {
        Ok(upgrade.allowed_origins(["https://example.com"])?.on_upgrade(echo))
    }
    on_tokio(async {
        for (route, is_same) in [(any(same_origin), true), (any(allowed), false)] {
            let address = serve(Router::new().route("/bytes", route)).await;
            let own =
                if is_same { format!("http://{address}") } else { "https://example.com".into() };
            for (origin, is_let_through) in [(own.as_str(), true), ("https://evil.net", false)] {
                let mut request = format!("ws://{address}/bytes").into_client_request().unwrap();
                append(request.headers_mut(), "Origin", origin);
                match tokio_tungstenite::connect_async(request).await {
                    Ok((client, _)) => {
                        assert!(is_let_through, "{origin}");
                        assert_eq!(talk(client, b"hello").await, b"hello");
                    }
                    Err(Error::Http(response)) => {
                        assert!(!is_let_through, "{origin}");
                        assert_eq!(response.status(), 403);
                    }
                    Err(other) => panic!("{origin}: {other:?}"),
                }
            }
        }
    });
}

/// What the server makes of messages of these sizes that come in frames of one message each: how many
/// bytes it took, and the code that it closed with.
async fn taken(
    configure: impl Fn(WsUpgrade) -> WsUpgrade + Clone + Send + Sync + 'static,
    sizes: &[usize],
) -> (usize, Option<u16>) {
    let (sender, mut received) = mpsc::unbounded_channel();
    let handler = async move |upgrade: WsUpgrade| {
        configure(upgrade).on_upgrade(move |stream| async move {
            sender.send(read_to_end(stream).await.0.len()).unwrap();
        })
    };
    let (mut client, _) =
        connect(serve(Router::new().route("/bytes", any(handler))).await, "").await;
    for size in sizes {
        client.send(Message::binary(vec![0; *size])).await.unwrap();
    }
    client.close(None).await.unwrap();
    let mut code = None;
    while let Some(Ok(message)) = client.next().await {
        if let Message::Close(Some(frame)) = message {
            code = Some(frame.code.into());
        }
    }
    drop(client); // a server that refuses waits for the end of the transport
    (received.recv().await.unwrap(), code)
}

#[test]
fn the_size_settings_apply() {
    on_tokio(async {
        assert_eq!(taken(|it| it, &[1000, 1001]).await, (2001, None));
        let message = |it: WsUpgrade| it.max_message_size(1000);
        assert_eq!(taken(message, &[1000, 1001]).await, (1000, Some(1009)));
        let frame = |it: WsUpgrade| it.max_frame_size(1000);
        assert_eq!(taken(frame, &[1000, 1001]).await, (1000, Some(1009)));
        let both = |it: WsUpgrade| it.max_frame_size(1001).max_message_size(1000);
        assert_eq!(taken(both, &[1000, 1001]).await, (1000, Some(1009)));
        let buffers = |it: WsUpgrade| {
            it.read_buffer_size(10).write_buffer_size(0).max_write_buffer_size(100_000)
        };
        assert_eq!(taken(buffers, &[1000, 1001]).await, (2001, None));
    });
}

#[test]
fn each_setting_is_the_one_that_its_name_says() {
    on_tokio(async {
        let handler = async |upgrade: WsUpgrade| {
            let upgrade = upgrade
                .config(WsConfig::new().writes(Writes::Collect(1)))
                .read_buffer_size(1)
                .write_buffer_size(2)
                .max_write_buffer_size(3)
                .max_message_size(4)
                .max_frame_size(5)
                .accept_unmasked_frames(true);
            format!("{upgrade:?}")
        };
        let address = serve(Router::new().route("/bytes", any(handler))).await;
        let request = format!("ws://{address}/bytes").into_client_request().unwrap();
        let Err(Error::Http(response)) = tokio_tungstenite::connect_async(request).await else {
            panic!("it was not refused");
        };
        let text = String::from_utf8(response.into_body().unwrap()).unwrap();
        for setting in [
            "writes: Collect(1)",
            "read_buffer_size: 1,",
            " write_buffer_size: 2,",
            "max_write_buffer_size: 3,",
            "max_message_size: Some(4)",
            "max_frame_size: Some(5)",
            "accept_unmasked_frames: true",
        ] {
            assert!(text.contains(setting), "{setting} is not in {text}");
        }
    });
}

#[test]
fn unmasked_frames_are_taken_if_that_is_chosen() {
    on_tokio(async {
        for accepts in [true, false] {
            let (sender, mut received) = mpsc::unbounded_channel();
            let handler = async move |upgrade: WsUpgrade| {
                let upgrade = upgrade.accept_unmasked_frames(accepts);
                upgrade.on_upgrade(move |stream| async move {
                    sender.send(read_to_end(stream).await.0).unwrap();
                })
            };
            let address = serve(Router::new().route("/bytes", any(handler))).await;
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(&crate::connections::request(&[])).await.unwrap();
            assert_eq!(crate::connections::read_head(&mut client).await.status(), 101);
            client.write_all(b"\x82\x05hello").await.unwrap();
            client.shutdown().await.unwrap();
            let expected = if accepts { &b"hello"[..] } else { b"" };
            assert_eq!(received.recv().await.unwrap(), expected, "{accepts}");
        }
    });
}

#[test]
fn an_upgrade_that_fails_is_told_to_the_callback() {
    on_tokio(async {
        let (sender, mut errors) = mpsc::unbounded_channel();
        let handler = async move |upgrade: WsUpgrade| {
            // as with axum's, it is never shared
            let callback: Box<dyn FnOnce(hyper::Error) + Send> =
                Box::new(move |error| sender.send(error).unwrap());
            let upgrade = upgrade.on_failed_upgrade(callback);
            let _not_returned = upgrade.on_upgrade(|_| async { panic!("nothing was upgraded") });
            StatusCode::SERVICE_UNAVAILABLE
        };
        let address = serve(Router::new().route("/bytes", any(handler))).await;
        let (mut sender, _connection) = http2(address).await;
        let response = sender.send_request(connect_request(address)).await.unwrap();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(errors.recv().await.unwrap().is_canceled());
    });
}

async fn http2(
    address: SocketAddr,
) -> (conn::http2::SendRequest<String>, tokio::task::JoinHandle<()>) {
    let tcp = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = conn::http2::handshake(TokioExecutor::new(), tcp).await.unwrap();
    (sender, tokio::spawn(async { connection.await.unwrap() }))
}

fn connect_request(address: SocketAddr) -> Request<String> {
    let request = Request::connect(format!("http://{address}/bytes")).version(Version::HTTP_2);
    let request = request.extension(Protocol::from_static("websocket"));
    request.header("sec-websocket-version", "13").body(String::new()).unwrap()
}

#[test]
fn the_same_handler_serves_http2() {
    on_tokio(async {
        let handler = async |upgrade: WsUpgrade| upgrade.protocols(["b"]).on_upgrade(echo);
        let address = serve(Router::new().route("/bytes", any(handler))).await;
        let (mut sender, _connection) = http2(address).await;
        let mut streams: Vec<WsStream<Upgraded>> = Vec::new();
        for _ in 0..3 {
            let mut request = connect_request(address);
            append(request.headers_mut(), "sec-websocket-protocol", "a, b");
            let upgrade = WsClientUpgrade::new(&mut request);
            let response = sender.send_request(request).await.unwrap();
            let (stream, response) = upgrade.finish(response).await.unwrap();
            assert_eq!(response.headers()["sec-websocket-protocol"], "b");
            streams.push(stream);
        }
        for mut stream in streams {
            let data = pattern(0, 100_000);
            let mut back = vec![0; data.len()];
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            let (sent, received) =
                tokio::join!(writer.write_all(&data), reader.read_exact(&mut back));
            sent.unwrap();
            received.unwrap();
            assert!(back == data);
            stream.shutdown().await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        }
    });
}

#[test]
fn the_client_of_hyper_util_asks_over_either_version() {
    on_tokio(async {
        let handler = async |upgrade: WsUpgrade| upgrade.on_upgrade(echo);
        let address = serve(Router::new().route("/bytes", any(handler))).await;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut client = PooledClient::builder(TokioExecutor::new());
            let client = client.http2_only(version == Version::HTTP_2).build_http();
            // the settings of the server come before a response
            client.get(format!("http://{address}/").parse().unwrap()).await.unwrap();
            for round in 0..3 {
                let request = Request::get(format!("ws://{address}/bytes")).version(version);
                let mut request = request.body(String::new()).unwrap();
                let upgrade = WsClientUpgrade::new(&mut request);
                let response = client.request(request).await.unwrap();
                let (mut stream, _) = upgrade.finish(response).await.unwrap();
                stream.write_all(b"hello").await.unwrap();
                let mut back = [0; 5];
                stream.read_exact(&mut back).await.unwrap();
                assert_eq!(&back, b"hello", "{version:?}, round {round}");
                stream.shutdown().await.unwrap();
                assert_eq!(stream.read(&mut back).await.unwrap(), 0, "{version:?}, round {round}");
            }
        }
    });
}

#[test]
fn other_layers_may_stand_in_between() {
    on_tokio(async {
        let handler = async |upgrade: WsUpgrade| upgrade.on_upgrade(echo);
        let add = async |request: axum::extract::Request, next: axum::middleware::Next| {
            let mut response = next.run(request).await;
            append(response.headers_mut(), "x-layer", "was here");
            response
        };
        let router = Router::new().route("/bytes", any(handler));
        let router = Router::new().nest("/nested", router).layer(axum::middleware::from_fn(add));
        let address = serve(router).await;
        let request = format!("ws://{address}/nested/bytes").into_client_request().unwrap();
        let (client, response) = tokio_tungstenite::connect_async(request).await.unwrap();
        assert_eq!(response.headers()["x-layer"], "was here");
        assert_eq!(talk(client, b"hello").await, b"hello");
    });
}
