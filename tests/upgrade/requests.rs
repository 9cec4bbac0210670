//! Which requests become websockets, which are refused, and what is answered.

use hyper::{
    Method, Request, Response, StatusCode, Version,
    ext::Protocol,
    header::{HeaderValue, SEC_WEBSOCKET_ACCEPT},
    upgrade::OnUpgrade,
};
use tokio::io::AsyncWriteExt;
use ws_stream_tungstenite::{
    WsUpgrade,
    WsUpgradeRejection::{self, *},
};

use crate::connections::{
    ACCEPT, Head, accepting, accepting_all, answer, append, headers, http1_server, http2_pair,
    http2_request, on_tokio, on_upgrade, read_head, request, request_line, with_connect_protocol,
};

/// The name of a header, and its value; `-` leaves it out.
type Changes = &'static [(&'static str, &'static str)];

/// What makes a valid request over HTTP/1.1 one that is refused, and as what.
static REFUSED: [(&str, Changes, WsUpgradeRejection); 41] = [
    ("POST /bytes HTTP/1.1", &[], MethodNotGet),
    ("OPTIONS /bytes HTTP/1.1", &[], MethodNotGet),
    ("get /bytes HTTP/1.1", &[], MethodNotGet),
    ("GET /bytes HTTP/1.0", &[], UnsupportedHttpVersion),
    ("GET /bytes HTTP/1.1", &[("Host", "-")], InvalidHostHeader),
    ("GET /bytes HTTP/1.1", &[("Host", "a.com"), ("Host", "b.com")], InvalidHostHeader),
    ("GET http://a.com/bytes HTTP/1.1", &[("Host", "-")], InvalidHostHeader),
    ("GET http://a.com/ HTTP/1.1", &[("Host", "a.com"), ("Host", "b.com")], InvalidHostHeader),
    ("GET /bytes HTTP/1.1", &[("Host", "")], InvalidHostHeader),
    ("GET /bytes HTTP/1.1", &[("Host", ":80")], InvalidHostHeader),
    ("GET /bytes HTTP/1.1", &[("Host", "a.com, b.com")], InvalidHostHeader),
    ("GET /bytes HTTP/1.1", &[("Host", "user@a.com")], InvalidHostHeader),
    ("GET /bytes HTTP/1.1", &[("Host", "http://a.com")], InvalidHostHeader),
    ("GET /bytes HTTP/1.1", &[("Host", "a.com?b")], InvalidHostHeader),
    ("GET /bytes HTTP/1.1", &[("Host", "\u{e4}.com")], InvalidHostHeader),
    ("GET http://user@a.com/ HTTP/1.1", &[("Host", "a.com")], InvalidHostHeader),
    ("GET http://a.com/bytes HTTP/1.1", &[("Host", "a b")], InvalidHostHeader),
    ("GET /bytes HTTP/1.1", &[("Connection", "-")], InvalidConnectionHeader),
    ("GET /bytes HTTP/1.1", &[("Connection", "keep-alive")], InvalidConnectionHeader),
    ("GET /bytes HTTP/1.1", &[("Connection", "Upgraded, not upgrade")], InvalidConnectionHeader),
    ("GET /bytes HTTP/1.1", &[("Upgrade", "-")], InvalidUpgradeHeader),
    ("GET /bytes HTTP/1.1", &[("Upgrade", "h2c")], InvalidUpgradeHeader),
    ("GET /bytes HTTP/1.1", &[("Upgrade", "websockets, a websocket")], InvalidUpgradeHeader),
    ("GET /bytes HTTP/1.1", &[("Upgrade", "websocket/13")], InvalidUpgradeHeader),
    ("GET /bytes HTTP/1.1", &[(VERSION, "-")], InvalidWebSocketVersionHeader),
    ("GET /bytes HTTP/1.1", &[(VERSION, "")], InvalidWebSocketVersionHeader),
    ("GET /bytes HTTP/1.1", &[(VERSION, "8")], InvalidWebSocketVersionHeader),
    ("GET /bytes HTTP/1.1", &[(VERSION, "14")], InvalidWebSocketVersionHeader),
    ("GET /bytes HTTP/1.1", &[(VERSION, "013")], InvalidWebSocketVersionHeader),
    ("GET /bytes HTTP/1.1", &[(VERSION, "8, 13")], InvalidWebSocketVersionHeader),
    ("GET /bytes HTTP/1.1", &[(VERSION, "13"), (VERSION, "13")], InvalidWebSocketVersionHeader),
    ("GET /bytes HTTP/1.1", &[(KEY, "-")], WebSocketKeyHeaderMissing),
    ("GET /bytes HTTP/1.1", &[(KEY, "")], InvalidWebSocketKeyHeader),
    ("GET /bytes HTTP/1.1", &[(KEY, "==")], InvalidWebSocketKeyHeader),
    ("GET /bytes HTTP/1.1", &[(KEY, FIFTEEN_BYTES)], InvalidWebSocketKeyHeader),
    ("GET /bytes HTTP/1.1", &[(KEY, SEVENTEEN_BYTES)], InvalidWebSocketKeyHeader),
    ("GET /bytes HTTP/1.1", &[(KEY, "dGhlIHNhbXBsZSBub25jZQ")], InvalidWebSocketKeyHeader),
    ("GET /bytes HTTP/1.1", &[(KEY, "dGhlIHNhbXBsZSBub25jZ-==")], InvalidWebSocketKeyHeader),
    ("GET /bytes HTTP/1.1", &[(KEY, "dGhlIHNhbXB sZSBub25jZ==")], InvalidWebSocketKeyHeader),
    ("GET /bytes HTTP/1.1", &[(KEY, "dGhlIHNhbXBsZSBub25=ZQ==")], InvalidWebSocketKeyHeader),
    ("GET /bytes HTTP/1.1", &[(KEY, ZEROS), (KEY, ZEROS)], InvalidWebSocketKeyHeader),
];

const VERSION: &str = "Sec-WebSocket-Version";
const KEY: &str = "Sec-WebSocket-Key";
const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAA==";
const FIFTEEN_BYTES: &str = "AAAAAAAAAAAAAAAAAAAA";
const SEVENTEEN_BYTES: &str = "AAAAAAAAAAAAAAAAAAAAAAA=";

/// What a request may be like beside the plainest.
const TAKEN: &[(&str, Changes)] = &[
    ("GET /bytes HTTP/1.1", &[]),
    ("GET /?a=b HTTP/1.1", &[("Cookie", "a=b")]),
    ("GET http://example.com/bytes HTTP/1.1", &[]),
    ("GET /bytes HTTP/1.1", &[("Connection", "keep-alive, Upgrade")]),
    ("GET /bytes HTTP/1.1", &[("Connection", "upgrade,,close ")]),
    ("GET /bytes HTTP/1.1", &[("Connection", "keep-alive"), ("Connection", "UPGRADE")]),
    ("GET /bytes HTTP/1.1", &[("Upgrade", "WebSocket")]),
    ("GET /bytes HTTP/1.1", &[("Upgrade", "h2c , websocket")]),
    ("GET /bytes HTTP/1.1", &[("Upgrade", "h2c"), ("Upgrade", "websocket")]),
    ("GET /bytes HTTP/1.1", &[("HOST", "EXAMPLE.com:8080"), ("uPgRaDe", "wEbSoCkEt")]),
    ("GET /bytes HTTP/1.1", &[("Host", "[fe80::1%25eth0]:8080")]),
    ("GET /bytes HTTP/1.1", &[("Host", "my_service.example.com.:")]),
    ("GET /bytes HTTP/1.1", &[("Host", "%2Frun%2Fservice.sock")]),
    ("GET /bytes HTTP/1.1", &[("connection", " \t upgrade \t "), (VERSION, "  13  ")]),
    ("GET /bytes HTTP/1.1", &[("sec-websocket-version", "13")]),
    ("GET /bytes HTTP/1.1", &[("Content-Length", "0")]),
];

/// What each refusal answers, and says of itself.
static ANSWERS: [(WsUpgradeRejection, u16, &str); 12] = [
    (MethodNotGet, 405, "a websocket is asked for with the method GET"),
    (MethodNotConnect, 405, "over HTTP/2, a websocket is asked for with the method CONNECT"),
    (UnsupportedHttpVersion, 505, "no websockets over this version of HTTP"),
    (InvalidHostHeader, 400, "the request has to name one host"),
    (InvalidConnectionHeader, 400, "the `Connection` header does not say `Upgrade`"),
    (InvalidUpgradeHeader, 400, "the `Upgrade` header does not say `websocket`"),
    (InvalidProtocolPseudoheader, 400, "the `:protocol` is not `websocket`"),
    (InvalidWebSocketVersionHeader, 426, "the `Sec-WebSocket-Version` has to be 13"),
    (WebSocketKeyHeaderMissing, 400, "the `Sec-WebSocket-Key` is missing"),
    (
        InvalidWebSocketKeyHeader,
        400,
        "the `Sec-WebSocket-Key` has to be one value of 16 bytes in base64",
    ),
    (ORIGIN_NOT_ALLOWED, 403, "websockets are not for pages of that origin"),
    (ConnectionNotUpgradable, 426, "this connection can't be upgraded"),
];

const ORIGIN_NOT_ALLOWED: WsUpgradeRejection =
    OriginNotAllowed { origin: HeaderValue::from_static("https://evil.net") };

/// The same request, as hyper would hand it over.
fn parsed(line: &str, changes: &[(&str, &str)], upgrade: Option<OnUpgrade>) -> Request<()> {
    let mut line = line.split(' ');
    let method: Method = line.next().unwrap().parse().unwrap();
    let request = Request::builder().method(method).uri(line.next().unwrap());
    let request = request.version(match line.next().unwrap() {
        "HTTP/1.0" => Version::HTTP_10,
        "HTTP/2.0" => Version::HTTP_2,
        "HTTP/3.0" => Version::HTTP_3,
        "HTTP/0.9" => Version::HTTP_09,
        _ => Version::HTTP_11,
    });
    let mut request = request.body(()).unwrap();
    for (name, value) in headers(changes) {
        append(request.headers_mut(), name, value.trim());
    }
    if let Some(upgrade) = upgrade {
        request.extensions_mut().insert(upgrade);
    }
    request
}

#[test]
fn a_request_that_breaks_a_rule_is_refused_by_name() {
    on_tokio(async {
        let upgrade = on_upgrade().await;
        for (line, changes, rejection) in &REFUSED {
            let mut request = parsed(line, changes, Some(upgrade.clone()));
            let refused = WsUpgrade::new(&mut request).unwrap_err();
            assert_eq!(&refused, rejection, "{line} {changes:?}");
            let (mut parts, ()) = request.into_parts();
            let refused = WsUpgrade::from_parts(&mut parts).unwrap_err();
            assert_eq!(&refused, rejection, "{line} {changes:?}");
            assert!(parts.extensions.get::<OnUpgrade>().is_some(), "{line} {changes:?}");
        }
    });
}

#[test]
fn a_client_that_breaks_a_rule_is_told_which() {
    on_tokio(async {
        for (line, changes, rejection) in &REFUSED {
            let answer = answer(accepting_all(), &request_line(line, changes)).await;
            let context = format!("{line} {changes:?}");
            assert_is_answer_to(&answer, rejection, &context);
        }
    });
}

fn assert_is_answer_to(answer: &Head, rejection: &WsUpgradeRejection, context: &str) {
    let (_, status, text) = ANSWERS.iter().find(|(it, ..)| it == rejection).unwrap();
    assert_eq!((answer.status(), answer.body.as_str()), (*status, *text), "{context}");
    assert_eq!(answer.get("content-type"), Some("text/plain; charset=utf-8"), "{context}");
    let is_426 = *status == 426;
    assert_eq!(answer.get("upgrade"), is_426.then_some("websocket"), "{context}");
    assert_eq!(answer.get("connection"), is_426.then_some("Upgrade"), "{context}");
    assert_eq!(answer.get("sec-websocket-version"), is_426.then_some("13"), "{context}");
    assert_eq!(answer.get("allow"), (*status == 405).then_some("GET"), "{context}");
    assert_eq!(answer.get("sec-websocket-accept"), None, "{context}");
}

#[test]
fn every_refusal_is_a_response_with_the_headers_of_its_status() {
    for (rejection, status, text) in &ANSWERS {
        let response = rejection.response();
        assert_eq!(response.status().as_u16(), *status, "{rejection:?}");
        assert_eq!(rejection.status(), response.status(), "{rejection:?}");
        assert_eq!(response.body(), text);
        assert_eq!(
            (&rejection.body_text(), &rejection.to_string()),
            (response.body(), &(*text).into())
        );
        let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
        let allow = match rejection {
            MethodNotGet => Some("GET"),
            MethodNotConnect => Some("CONNECT"),
            _ => None,
        };
        let is_426 = *status == 426;
        assert_eq!(header("allow"), allow, "{rejection:?}");
        assert_eq!(header("upgrade"), is_426.then_some("websocket"), "{rejection:?}");
        assert_eq!(header("connection"), is_426.then_some("Upgrade"), "{rejection:?}");
        assert_eq!(header("sec-websocket-version"), is_426.then_some("13"), "{rejection:?}");
        assert_eq!(header("content-type"), Some("text/plain; charset=utf-8"), "{rejection:?}");
    }
}

#[test]
fn a_response_never_repeats_what_the_client_said() {
    let origin = HeaderValue::from_static("https://<script>");
    let response = OriginNotAllowed { origin }.response();
    assert!(!format!("{response:?}").contains("script"), "{response:?}");
}

#[test]
fn what_is_valid_is_taken_however_it_is_written() {
    on_tokio(async {
        for (line, changes) in TAKEN {
            let answer = answer(accepting_all(), &request_line(line, changes)).await;
            assert_eq!(answer.status(), 101, "{line} {changes:?}: {answer:?}");
            assert_eq!(answer.get("sec-websocket-accept"), Some(ACCEPT), "{line} {changes:?}");
        }
    });
}

#[test]
fn headers_of_a_request_may_stand_in_any_order() {
    on_tokio(async {
        let mut lines: Vec<_> = headers(&[("Upgrade", "websocket")]);
        for _ in 0..lines.len() {
            lines.rotate_left(1);
            let lines = lines.iter().map(|(name, value)| format!("{name}:{value}\r\n"));
            let request = format!("GET / HTTP/1.1\r\n{}\r\n", lines.collect::<Vec<_>>().concat());
            assert_eq!(
                answer(accepting_all(), request.as_bytes()).await.status(),
                101,
                "{request}"
            );
        }
    });
}

#[test]
fn a_key_is_answered_as_the_rfc_says_whichever_it_is() {
    // the values that are not in the RFC were computed with Python
    let keys = [
        (crate::connections::KEY, ACCEPT),
        (ZEROS, "ICX+Yqv66kxgM0FcWaLWlFLwTAI="),
        ("/////////////////////w==", "XXpj4jYzLM2yUE0C7TIgMwTQh2g="),
        // not what an encoder makes of 16 bytes, but what a decoder takes
        ("AAAAAAAAAAAAAAAAAAAAAB==", "NRJrplgTSmBqvVaQhF+6peBS1S8="),
    ];
    on_tokio(async {
        for (key, accept) in keys {
            let answer = answer(accepting_all(), &request(&[(KEY, key)])).await;
            assert_eq!(answer.get("sec-websocket-accept"), Some(accept), "{key}");
        }
    });
}

#[test]
fn an_accepted_request_is_answered_with_the_switch_and_nothing_else() {
    on_tokio(async {
        let extensions = ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits");
        let answer = answer(accepting_all(), &request(&[extensions])).await;
        assert_eq!(answer.first_line, "HTTP/1.1 101 Switching Protocols");
        assert_eq!(answer.get("upgrade"), Some("websocket"));
        assert_eq!(answer.get("connection"), Some("Upgrade"));
        assert_eq!(answer.get("sec-websocket-accept"), Some(ACCEPT));
        for absent in ["extensions", "protocol", "version", "key"] {
            assert_eq!(answer.get(&format!("sec-websocket-{absent}")), None);
        }
        for absent in ["content-length", "transfer-encoding", "content-type"] {
            assert_eq!(answer.get(absent), None);
        }
    });
}

#[test]
fn headers_can_be_added_to_the_response() {
    on_tokio(async {
        let handle = |mut request: Request<_>| {
            let (mut response, _stream) = WsUpgrade::new(&mut request).unwrap().accept();
            append(response.headers_mut(), "set-cookie", "a=b");
            response
        };
        let answer = answer(handle, &request(&[])).await;
        assert_eq!((answer.status(), answer.get("set-cookie")), (101, Some("a=b")));
    });
}

#[test]
fn the_request_stays_as_it_was_without_its_upgrade() {
    on_tokio(async {
        let upgrade = on_upgrade().await;
        let mut request = parsed("GET /?a=b HTTP/1.1", &[("Cookie", "c")], Some(upgrade));
        request.extensions_mut().insert("of somebody else");
        let before = request.headers().clone();
        let _upgrade = WsUpgrade::new(&mut request).unwrap();
        assert_eq!(request.headers(), &before);
        assert_eq!((request.uri(), request.method()), (&"/?a=b".parse().unwrap(), &Method::GET));
        assert_eq!(request.extensions().get(), Some(&"of somebody else"));
        assert_eq!(WsUpgrade::new(&mut request).unwrap_err(), ConnectionNotUpgradable);
    });
}

#[test]
fn a_request_whose_upgrade_is_taken_is_refused() {
    on_tokio(async {
        let (accept, _accepted) = accepting(Ok);
        let take = move |mut request: Request<_>| {
            request.extensions_mut().remove::<OnUpgrade>().unwrap();
            accept(request)
        };
        let answer = answer(take, &request(&[])).await;
        assert_is_answer_to(&answer, &ConnectionNotUpgradable, "");
    });
    let mut request = parsed("GET / HTTP/1.1", &[], None);
    assert_eq!(WsUpgrade::new(&mut request).unwrap_err(), ConnectionNotUpgradable);
}

#[test]
fn a_refused_client_may_ask_again_on_the_same_connection() {
    on_tokio(async {
        let mut client = http1_server(accepting_all());
        for (line, changes, _) in REFUSED.iter().filter(|(line, ..)| line.ends_with("1.1")) {
            client.write_all(&request_line(line, changes)).await.unwrap();
            let status = read_head(&mut client).await.status();
            assert!((400..500).contains(&status), "{line} {changes:?}: {status}");
        }
        client.write_all(&request(&[])).await.unwrap();
        assert_eq!(read_head(&mut client).await.status(), 101);
    });
}

#[test]
fn what_a_handler_refuses_becomes_its_response() {
    on_tokio(async {
        let (handle, _) = accepting(WsUpgrade::same_origin);
        let answer = answer(handle, &request(&[("Origin", "https://evil.net")])).await;
        assert_is_answer_to(&answer, &ORIGIN_NOT_ALLOWED, "");
    });
}

/// How a request over HTTP/2 is made one that is refused: method, `:protocol`, headers.
static REFUSED_OVER_HTTP2: [(Method, Option<&str>, Changes, WsUpgradeRejection); 9] = [
    (Method::GET, None, &[(VERSION, "13")], MethodNotConnect),
    (Method::POST, None, &[(VERSION, "13")], MethodNotConnect),
    (Method::CONNECT, None, &[(VERSION, "13")], InvalidProtocolPseudoheader),
    (Method::CONNECT, Some("websockets"), &[(VERSION, "13")], InvalidProtocolPseudoheader),
    (Method::CONNECT, Some("connect-udp"), &[(VERSION, "13")], InvalidProtocolPseudoheader),
    (Method::CONNECT, Some("websocket"), &[], InvalidWebSocketVersionHeader),
    (Method::CONNECT, Some("websocket"), &[(VERSION, "8")], InvalidWebSocketVersionHeader),
    (
        Method::CONNECT,
        Some("websocket"),
        &[(VERSION, "13"), (VERSION, "13")],
        InvalidWebSocketVersionHeader,
    ),
    (
        Method::CONNECT,
        Some("websocket"),
        &[(VERSION, "13"), ("Origin", "https://evil.net")],
        ORIGIN_NOT_ALLOWED,
    ),
];

fn connect_request(method: &Method, protocol: Option<&str>, changes: Changes) -> Request<String> {
    let mut request = http2_request(method.clone(), changes);
    if let Some(protocol) = protocol {
        request.extensions_mut().insert(Protocol::from(protocol));
    }
    request
}

#[test]
fn a_client_that_breaks_a_rule_over_http2_is_told_which() {
    on_tokio(async {
        let (handle, _) = accepting(WsUpgrade::same_origin);
        let (mut sender, _connection) = http2_pair(&with_connect_protocol(), handle).await;
        for (method, protocol, changes, rejection) in &REFUSED_OVER_HTTP2 {
            let request = connect_request(method, *protocol, changes);
            let context = format!("{method} {protocol:?} {changes:?}");
            let response = sender.send_request(request).await.unwrap();
            let (_, status, text) = ANSWERS.iter().find(|(it, ..)| it == rejection).unwrap();
            let header =
                |name| response.headers().get(name).map(|it: &HeaderValue| it.to_str().unwrap());
            assert_eq!(response.status(), *status, "{context}");
            assert_eq!(header("allow"), (*status == 405).then_some("CONNECT"), "{context}");
            assert_eq!(
                header("sec-websocket-version"),
                (*status == 426).then_some("13"),
                "{context}"
            );
            // RFC 9113, section 8.2.2, has no such headers
            assert_eq!((header("connection"), header("upgrade")), (None, None), "{context}");
            let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
            assert_eq!(body.to_bytes(), text, "{context}");
        }
    });
}

#[test]
fn over_http2_the_same_is_refused_by_name() {
    on_tokio(async {
        let upgrade = on_upgrade().await;
        for (method, protocol, changes, rejection) in &REFUSED_OVER_HTTP2 {
            let mut request = connect_request(method, *protocol, changes);
            request.extensions_mut().insert(upgrade.clone());
            let refused = WsUpgrade::new(&mut request).and_then(WsUpgrade::same_origin);
            assert_eq!(&refused.unwrap_err(), rejection, "{method} {protocol:?} {changes:?}");
        }
        let mut nowhere = connect_request(&Method::CONNECT, Some("websocket"), &[(VERSION, "13")]);
        *nowhere.uri_mut() = "/bytes".parse().unwrap();
        assert_eq!(WsUpgrade::new(&mut nowhere).unwrap_err(), InvalidHostHeader);
    });
}

#[test]
fn over_http2_a_taken_upgrade_and_a_plain_request_are_refused() {
    on_tokio(async {
        let take = |mut request: Request<_>| {
            request.extensions_mut().remove::<OnUpgrade>();
            match WsUpgrade::new(&mut request) {
                Ok(_) => Response::new("accepted".into()),
                Err(rejection) => rejection.response(),
            }
        };
        let (mut sender, _connection) = http2_pair(&with_connect_protocol(), take).await;
        let request = connect_request(&Method::CONNECT, Some("websocket"), &[(VERSION, "13")]);
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::UPGRADE_REQUIRED);
    });
}

#[test]
fn over_http2_an_accepted_request_is_answered_with_200_and_no_proof() {
    on_tokio(async {
        let (mut sender, _connection) = http2_pair(&with_connect_protocol(), accepting_all()).await;
        for protocol in ["websocket", "WebSocket"] {
            let request = connect_request(&Method::CONNECT, Some(protocol), &[(VERSION, "13")]);
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{protocol}");
            assert_eq!(response.headers().get(SEC_WEBSOCKET_ACCEPT), None, "{protocol}");
        }
    });
}

#[test]
fn other_versions_of_http_are_refused() {
    for version in ["HTTP/0.9", "HTTP/1.0", "HTTP/3.0"] {
        let mut request = parsed(&format!("GET / {version}"), &[], None);
        assert_eq!(WsUpgrade::new(&mut request).unwrap_err(), UnsupportedHttpVersion, "{version}");
    }
}
