//! `same_origin` and `allowed_origins`: which pages may open a websocket.

use hyper::{
    Method, Request, Version,
    ext::Protocol,
    header::{HOST, HeaderValue, ORIGIN},
    upgrade::OnUpgrade,
};
use ws_stream_tungstenite::{WsUpgrade, WsUpgradeRejection};

use crate::connections::{VALID, append, http2_pair, http2_request, on_tokio, on_upgrade};
use crate::connections::{accepting, answer, request, with_connect_protocol};

/// What `Host` and `Origin` are, and whether that is one site.
const SAME_ORIGIN: &[(&str, &[&[u8]], bool)] = &[
    ("example.com", &[], true),
    ("example.com", &[b"https://example.com"], true),
    ("example.com", &[b"http://example.com"], true),
    ("EXAMPLE.com", &[b"https://example.COM"], true),
    ("localhost:3000", &[b"http://localhost:3000"], true),
    ("127.0.0.1:3000", &[b"http://127.0.0.1:3000"], true),
    ("[::1]:3000", &[b"http://[::1]:3000"], true),
    ("[::1]", &[b"http://[::1]"], true),
    // a port that is the scheme's own
    ("example.com:443", &[b"https://example.com"], true),
    ("example.com", &[b"https://example.com:443"], true),
    ("example.com:80", &[b"http://example.com"], true),
    ("[::1]:80", &[b"http://[::1]"], true),
    ("example.com:80", &[b"https://example.com"], false),
    ("example.com:443", &[b"http://example.com"], false),
    ("example.com", &[b"http://example.com:443"], false),
    ("example.com:8443", &[b"https://example.com"], false),
    ("example.com", &[b"https://example.com:8443"], false),
    ("localhost:3000", &[b"http://localhost:3001"], false),
    ("[::1]", &[b"http://[::2]"], false),
    ("[::443]", &[b"https://[:"], false),
    ("[::1]:80", &[b"http://[::1]:8080"], false),
    // other sites, and what looks like this one
    ("example.com", &[b"https://evil.net"], false),
    ("example.com", &[b"https://www.example.com"], false),
    ("example.com", &[b"https://example.com.evil.net"], false),
    ("example.com", &[b"https://evilexample.com"], false),
    ("example.com", &[b"https://example.co"], false),
    ("example.com", &[b"https://example.com."], false),
    ("example.com", &[b"https://evil.net/?example.com"], false),
    ("example.com", &[b"https://evil.net#example.com"], false),
    ("example.com", &[b"https://evil.net/https://example.com"], false),
    ("example.com", &[b"https://example.com@evil.net"], false),
    ("example.com", &[b"https://evil.net@example.com"], false),
    ("example.com", &[b"https://user@example.com"], false),
    ("example.com", &[b"https://example.com/"], false),
    ("example.com", &[b"https://example.com\\evil.net"], false),
    // what is no origin of a page that was served
    ("example.com", &[b"null"], false),
    ("null", &[b"null"], false),
    ("example.com", &[b""], false),
    ("example.com", &[b"*"], false),
    ("example.com", &[b"example.com"], false),
    ("example.com", &[b"//example.com"], false),
    ("example.com", &[b"file://example.com"], false),
    ("example.com", &[b"file://"], false),
    ("example.com", &[b"chrome-extension://example.com"], false),
    ("example.com", &[b"ws://example.com"], false),
    ("example.com", &[b"https://example.com https://evil.net"], false),
    ("example.com", &[b"https://example.com, https://example.com"], false),
    ("example.com", &[b"https://example.com", b"https://example.com"], false),
    ("example.com", &[b"https://example.com", b"https://evil.net"], false),
    ("example.com", &[b"https://evil.net", b"https://example.com"], false),
    ("example.com", &[b"https://ex\xC3\xA4mple.com"], false),
    ("example.com", &[b"https://example.com\xFF"], false),
];

/// With `https://example.com`, `http://localhost:3000` and `http://example.net:80` allowed.
const ALLOWED_ORIGINS: &[(&[&[u8]], bool)] = &[
    (&[], true),
    (&[b"https://example.com"], true),
    (&[b"HTTPS://Example.COM"], true),
    (&[b"http://localhost:3000"], true),
    (&[b"http://example.com"], false),
    // a port that is the scheme's own says nothing
    (&[b"https://example.com:443"], true),
    (&[b"http://example.net"], true),
    (&[b"http://example.net:80"], true),
    (&[b"HTTP://EXAMPLE.NET"], true),
    (&[b"https://example.com:80"], false),
    (&[b"https://example.com:443:443"], false),
    (&[b"https://example.com:4430"], false),
    (&[b"https://example.net:80"], false),
    (&[b"http://example.net:443"], false),
    (&[b"https://example.com/"], false),
    (&[b"https://example.com.evil.net"], false),
    (&[b"https://evil.net/?https://example.com"], false),
    (&[b"https://user@example.com"], false),
    (&[b"http://localhost"], false),
    (&[b"https://example.com\xFF"], false),
    (&[b"null"], false),
    (&[b""], false),
    (&[b"https://example.com", b"https://example.com"], false),
    (&[b"https://example.com", b"https://evil.net"], false),
];

fn asked(upgrade: &OnUpgrade, host: &str, origins: &[&[u8]]) -> WsUpgrade {
    let mut request = Request::builder().uri("/").body(()).unwrap();
    for (name, value) in VALID {
        append(request.headers_mut(), name, value);
    }
    request.headers_mut().insert(HOST, HeaderValue::from_bytes(host.as_bytes()).unwrap());
    for origin in origins {
        request.headers_mut().append(ORIGIN, HeaderValue::from_bytes(origin).unwrap());
    }
    request.extensions_mut().insert(upgrade.clone());
    WsUpgrade::new(&mut request).unwrap()
}

#[track_caller]
fn check(checked: Result<WsUpgrade, WsUpgradeRejection>, origins: &[&[u8]], is_allowed: bool) {
    let shown: Vec<_> = origins.iter().map(|origin| origin.escape_ascii().to_string()).collect();
    match checked {
        Ok(_) => assert!(is_allowed, "{shown:?} was allowed"),
        Err(WsUpgradeRejection::OriginNotAllowed { origin }) => {
            assert!(!is_allowed, "{shown:?} was refused");
            assert_eq!(origin.as_bytes(), origins[0], "the origin that was refused");
        }
        Err(other) => panic!("{shown:?} was refused as {other:?}"),
    }
}

#[test]
fn same_origin_lets_through_pages_of_this_host_and_what_is_no_page() {
    on_tokio(async {
        let upgrade = on_upgrade().await;
        for (host, origins, is_allowed) in SAME_ORIGIN {
            check(asked(&upgrade, host, origins).same_origin(), origins, *is_allowed);
        }
    });
}

#[test]
fn allowed_origins_lets_through_those_that_it_names_and_what_is_no_page() {
    let allowed = ["https://example.com", "http://localhost:3000", "http://example.net:80"];
    on_tokio(async {
        let upgrade = on_upgrade().await;
        for (origins, is_allowed) in ALLOWED_ORIGINS {
            let asked = asked(&upgrade, "example.com", origins);
            check(asked.allowed_origins(allowed), origins, *is_allowed);
        }
    });
}

#[test]
fn allowed_origins_without_any_refuses_every_page_whatever_its_host() {
    on_tokio(async {
        let upgrade = on_upgrade().await;
        let none: [String; 0] = [];
        let page: &[&[u8]] = &[b"https://example.com"];
        check(asked(&upgrade, "example.com", page).allowed_origins(&none), page, false);
        check(asked(&upgrade, "example.com", &[]).allowed_origins(none), &[], true);
    });
}

#[test]
fn a_name_that_is_made_to_point_here_passes_same_origin_but_not_allowed_origins() {
    on_tokio(async {
        let upgrade = on_upgrade().await;
        let page: &[&[u8]] = &[b"http://evil.net"];
        check(asked(&upgrade, "evil.net", page).same_origin(), page, true);
        let asked = asked(&upgrade, "evil.net", page);
        check(asked.allowed_origins(["http://example.com"]), page, false);
    });
}

#[test]
fn the_host_of_a_whole_uri_comes_before_the_header() {
    on_tokio(async {
        let cases = [("https://a.com", 101), ("https://b.com", 403)];
        for (origin, status) in cases {
            let (handle, _) = accepting(WsUpgrade::same_origin);
            let request = request(&[("Host", "b.com"), ("Origin", origin)]);
            let request = String::from_utf8(request).unwrap();
            let request = request.replacen("/bytes", "http://a.com/bytes", 1);
            assert_eq!(answer(handle, request.as_bytes()).await.status(), status, "{origin}");
        }
    });
}

#[test]
fn over_http2_the_host_is_the_authority() {
    on_tokio(async {
        let (handle, _) = accepting(WsUpgrade::same_origin);
        let (mut sender, _connection) = http2_pair(&with_connect_protocol(), handle).await;
        for (host, origin, status) in [
            (None, "https://example.com", 200),
            (None, "https://EXAMPLE.com:443", 200),
            (None, "https://evil.net", 403),
            (Some("evil.net"), "https://evil.net", 403),
            (Some("evil.net"), "https://example.com", 200),
        ] {
            let headers = [("sec-websocket-version", "13"), ("origin", origin)];
            let mut request = http2_request(Method::CONNECT, &headers);
            request.extensions_mut().insert(Protocol::from_static("websocket"));
            if let Some(host) = host {
                append(request.headers_mut(), "host", host);
            }
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            assert_eq!(response.status(), status, "{host:?} {origin}");
        }
    });
}
