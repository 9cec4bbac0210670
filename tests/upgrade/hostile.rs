//! Whatever the other end sends: nothing panics or hangs, and there is an answer.

use futures::FutureExt;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Uri, Version,
    client::conn::http1,
    ext::Protocol,
    header::{HeaderName, HeaderValue},
};
use hyper_util::rt::TokioIo;
use proptest::{
    arbitrary::any, collection::vec, option, prelude::Strategy, prop_assert, prop_assert_eq,
    prop_oneof, proptest, sample::select, strategy::Just, test_runner::Config,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tungstenite::handshake::derive_accept_key;
use ws_stream_tungstenite::{WsClientUpgrade, WsClientUpgradeError, WsUpgrade, tungstenite};

use crate::connections::{
    KEY, accepting, accepting_all, http1_server, http2_request, on_tokio, on_upgrade, read_head,
    read_to_end, request,
};

const NAMES: [&str; 9] = [
    "host",
    "connection",
    "upgrade",
    "origin",
    "sec-websocket-accept",
    "sec-websocket-extensions",
    "sec-websocket-key",
    "sec-websocket-protocol",
    "sec-websocket-version",
];

/// A value as it ought to be, nearly so, or of any bytes that a header can have.
fn value() -> impl Strategy<Value = HeaderValue> {
    let right = select(vec![
        "Upgrade",
        "websocket",
        "13",
        KEY,
        "example.com",
        "https://example.com",
        "null",
        "a, b",
        ",,",
        "",
        "://",
        ":443",
        "https://:443",
    ]);
    prop_oneof![
        right.prop_map(HeaderValue::from_static),
        vec(any::<u8>(), 0..40)
            .prop_filter_map("a header value", |bytes| { HeaderValue::from_bytes(&bytes).ok() }),
    ]
}

/// Mostly the valid headers, with some more, and some that are not there.
fn headers() -> impl Strategy<Value = HeaderMap> {
    let valid = [
        ("host", "example.com"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    let name = || select(NAMES.to_vec());
    (vec((name(), value()), 0..4), option::of(name()), any::<bool>()).prop_map(
        move |(more, missing, are_valid)| {
            let mut headers = HeaderMap::new();
            for (name, value) in valid.into_iter().filter(|_| are_valid) {
                headers.insert(name, HeaderValue::from_static(value));
            }
            if let Some(missing) = missing {
                headers.remove(missing);
            }
            for (name, value) in more {
                headers.append(HeaderName::from_static(name), value);
            }
            headers
        },
    )
}

fn uri() -> impl Strategy<Value = Uri> {
    let right = select(vec!["/", "*", "example.com", "http://a:b@[::1]:99999/", "http://a.com"]);
    prop_oneof![
        right.prop_map(Uri::from_static),
        vec(any::<u8>(), 1..40).prop_filter_map("a URI", |bytes| Uri::try_from(bytes).ok()),
        "(http|ws|x)://[!-~]{1,20}".prop_filter_map("a URI", |text| Uri::try_from(text).ok()),
    ]
}

/// What a scripted peer sends: pieces of what is right, and noise.
fn bytes(right: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    let noise = vec(any::<u8>(), 0..50);
    let place = 0..=right.len();
    prop_oneof![
        vec(any::<u8>(), 0..300),
        (place.clone(), place, noise).prop_map(move |(start, end, noise)| {
            let (start, end) = (start.min(end), start.max(end));
            [&right[..start], &noise, &right[end..]].concat()
        }),
        Just(right.to_vec()),
    ]
}

const REQUEST: &[u8] = b"GET /bytes HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: a, b\r\n\
    Origin: https://example.com\r\n\r\n\x82\x85\0\0\0\0hello\x88\x80\0\0\0\0";

const RESPONSE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: ????????????????????????????\r\n\
    Sec-WebSocket-Protocol: b\r\n\r\n\x82\x05hello\x88\0";

#[test]
fn what_the_properties_begin_with_is_right() {
    on_tokio(async {
        assert_eq!(served(REQUEST).await, (true, b"hello".to_vec()));
        assert_eq!(asked(RESPONSE).await.unwrap(), b"hello");
    });
}

/// Whether this was accepted, and what the stream read.
async fn served(bytes: &[u8]) -> (bool, Vec<u8>) {
    let (handle, mut accepted) =
        accepting(|it| Ok(it.protocols(["b"]).same_origin()?.config(small())));
    let mut client = http1_server(handle);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::spawn(async move { client.read_to_end(&mut answer).await.map(|_| answer) });
    match accepted.recv().await {
        Some(Ok(stream)) => {
            let data = read_to_end(stream).await.0;
            assert!(read.await.unwrap().unwrap().starts_with(b"HTTP/1.1 101 "));
            (true, data)
        }
        Some(Err(_)) => (false, Vec::new()),
        None => {
            let answer = read.await.unwrap().unwrap();
            // hyper says nothing where nothing, or only a part of a request, has come
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
            assert!(!answer.starts_with(b"HTTP/1.1 101 "), "{answer:?}");
            (false, Vec::new())
        }
    }
}

fn small() -> tungstenite::protocol::WebSocketConfig {
    let config = ws_stream_tungstenite::byte_stream_config();
    config.max_message_size(Some(1000)).max_frame_size(Some(1000))
}

/// What the client reads of a server that sends this. Question marks become the right proof.
async fn asked(response: &[u8]) -> Result<Vec<u8>, Option<WsClientUpgradeError>> {
    let (client, mut server) = duplex(10_000);
    let response = response.to_vec();
    let serve = tokio::spawn(async move {
        let head = read_head(&mut server).await;
        let accept = derive_accept_key(head.get("sec-websocket-key").unwrap().as_bytes());
        server.write_all(&proved(response, accept.as_bytes())).await.unwrap();
        server.shutdown().await.unwrap();
        let _ = server.read_to_end(&mut Vec::new()).await;
    });
    let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection.with_upgrades());
    let request = Request::get("/").header("host", "a.com").header("sec-websocket-protocol", "b");
    let mut request = request.body(String::new()).unwrap();
    let upgrade = WsClientUpgrade::new(&mut request).config(small());
    let response = sender.send_request(request).await.map_err(|_| None)?;
    let (stream, _) = upgrade.finish(response).await.map_err(Some)?;
    let data = read_to_end(stream).await.0;
    serve.await.unwrap();
    Ok(data)
}

fn proved(mut response: Vec<u8>, accept: &[u8]) -> Vec<u8> {
    let mark = &[b'?'; 28];
    if let Some(start) = response.windows(28).position(|window| window == mark) {
        response[start..start + 28].copy_from_slice(accept);
    }
    response
}

proptest! {
    #![proptest_config(Config { cases: 300, ..Config::default() })]

    #[test]
    fn any_request_is_taken_or_refused_by_name(
        headers in headers(),
        uri in uri(),
        method in select(vec![Method::GET, Method::CONNECT, Method::POST]),
        version in select(vec![Version::HTTP_11, Version::HTTP_2, Version::HTTP_10]),
        protocol in option::of("[a-z]{0,3}|websocket"),
    ) {
        on_tokio(async {
            let mut request = Request::new(());
            *request.headers_mut() = headers;
            *request.uri_mut() = uri;
            *request.method_mut() = method;
            *request.version_mut() = version;
            if let Some(protocol) = &protocol {
                request.extensions_mut().insert(Protocol::from(protocol.as_str()));
            }
            request.extensions_mut().insert(on_upgrade().await);
            let upgrade = WsUpgrade::new(&mut request).and_then(WsUpgrade::same_origin);
            let upgrade = upgrade.and_then(|it| it.protocols(["b"]).allowed_origins(["null"]));
            let response = match upgrade {
                Ok(upgrade) => upgrade.accept().0,
                Err(rejection) => rejection.response(),
            };
            let success = if version == Version::HTTP_2 { 200 } else { 101 };
            let status = response.status().as_u16();
            prop_assert!([success, 400, 403, 405, 426, 505].contains(&status), "{response:?}");
            prop_assert_eq!(response.body().is_empty(), status == success);
            Ok(())
        })?;
    }

    #[test]
    fn any_response_is_taken_or_refused_by_name(
        headers in headers(),
        status in select(vec![101_u16, 200, 204, 426, 500]),
        is_http2 in any::<bool>(),
        asked in option::of(value()),
    ) {
        let mut request = http2_request(Method::GET, &[]);
        if !is_http2 {
            *request.version_mut() = Version::HTTP_11;
        }
        if let Some(asked) = asked {
            request.headers_mut().insert("sec-websocket-protocol", asked);
        }
        let upgrade = WsClientUpgrade::new(&mut request);
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers;
        // it did not come from a connection
        let error = upgrade.finish(response).now_or_never().expect("is ready at once").unwrap_err();
        prop_assert!(!error.to_string().is_empty());
    }

    #[test]
    fn any_request_can_be_made_one_for_a_websocket(
        headers in headers(),
        uri in uri(),
        is_http2 in any::<bool>(),
    ) {
        let mut request = Request::new(());
        *request.headers_mut() = headers;
        *request.uri_mut() = uri;
        if is_http2 {
            *request.version_mut() = Version::HTTP_2;
        }
        let _upgrade = WsClientUpgrade::new(&mut request);
        let expected = if is_http2 { Method::CONNECT } else { Method::GET };
        prop_assert_eq!(request.method(), expected);
        prop_assert_eq!(&request.headers()["sec-websocket-version"], "13");
    }
}

proptest! {
    #![proptest_config(Config { cases: 300, ..Config::default() })]

    #[test]
    fn a_server_answers_any_bytes(bytes in bytes(REQUEST)) {
        on_tokio(served(&bytes));
    }

    #[test]
    fn a_client_takes_any_bytes(bytes in bytes(RESPONSE)) {
        let _ = on_tokio(asked(&bytes));
    }
}

#[test]
fn a_client_that_dribbles_its_request_is_served() {
    on_tokio(async {
        let mut client = http1_server(accepting_all());
        for byte in request(&[]) {
            client.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(read_head(&mut client).await.status(), 101);
    });
}
