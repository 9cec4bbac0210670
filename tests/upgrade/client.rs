//! `WsClientUpgrade`: what it asks, which answers it takes, and other implementations at the other end.

use std::error::Error;

use futures::{SinkExt, StreamExt};
use hyper::{Request, Version, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_util::compat::TokioAsyncReadCompatExt;
use tungstenite::{
    Message,
    client::IntoClientRequest,
    handshake::{derive_accept_key, server},
    protocol::{CloseFrame, Role, frame::coding::CloseCode},
};
use ws_stream_tungstenite::{
    WsClientUpgrade,
    WsClientUpgradeError::{self, *},
    WsStream, tungstenite,
};

use crate::{
    connections::{
        Head, Stream, accepting, accepting_all, append, changed, head, http1_server, on_tokio,
        read_head, read_to_end, told,
    },
    support::{BINARY, frame, observe, pattern},
};

type Failure = Box<dyn Error + Send + Sync>;

/// What a client that sends this request has of a transport.
async fn ask(
    transport: DuplexStream,
    mut request: Request<String>,
) -> Result<(Stream, hyper::Response<()>), Failure> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(transport)).await?;
    tokio::spawn(connection.with_upgrades());
    let upgrade = WsClientUpgrade::new(&mut request);
    let response = sender.send_request(request).await?;
    Ok(upgrade.finish(response).await?)
}

/// A request for these subprotocols.
fn asking(protocols: &str) -> Request<String> {
    let request = Request::get("/bytes").header(HOST, "example.com");
    let mut request = request.body(String::new()).unwrap();
    if !protocols.is_empty() {
        append(request.headers_mut(), "Sec-WebSocket-Protocol", protocols);
    }
    request
}

/// What the client makes of this answer, in which `ACCEPT` is what belongs to its request.
async fn answered(protocols: &str, answer: &str) -> Result<(), Failure> {
    let (client, mut server) = duplex(10_000);
    let answer = answer.to_owned();
    let serve = tokio::spawn(async move {
        let head = read_head(&mut server).await;
        let accept = derive_accept_key(head.get("sec-websocket-key").unwrap().as_bytes());
        server.write_all(answer.replace("ACCEPT", &accept).as_bytes()).await.unwrap();
    });
    let result = ask(client, asking(protocols)).await.map(drop);
    serve.await.unwrap();
    result
}

/// An answer with these headers in place of those that are right. `-` leaves one out.
fn switch(changes: &[(&str, &str)]) -> String {
    let right =
        [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Accept", "ACCEPT")];
    head("HTTP/1.1 101 Switching Protocols", &changed(&right, changes))
}

#[test]
fn an_answer_that_is_right_is_taken_however_it_is_written() {
    let table: [(&str, &[(&str, &str)]); 8] = [
        ("", &[]),
        ("", &[("Date", "today"), ("Set-Cookie", "a=b")]),
        ("", &[("connection", "keep-alive, UPGRADE"), ("upgrade", "WebSocket")]),
        ("", &[("Connection", "keep-alive"), ("Connection", "upgrade")]),
        ("", &[("sec-websocket-accept", "   ACCEPT  ")]),
        ("a", &[("Sec-WebSocket-Protocol", "a")]),
        ("a, b", &[("sec-websocket-protocol", "b")]),
        ("a,b", &[("sec-websocket-protocol", " a ")]),
    ];
    on_tokio(async {
        for (protocols, changes) in table {
            let result = answered(protocols, &switch(changes)).await;
            assert!(result.is_ok(), "{protocols:?} {changes:?}: {result:?}");
        }
    });
}

#[test]
fn an_answer_that_is_wrong_is_refused_by_name() {
    const ACCEPT: &str = "Sec-WebSocket-Accept";
    const PROTOCOL: &str = "Sec-WebSocket-Protocol";
    const EXTENSIONS: &str = "Sec-WebSocket-Extensions";
    type Changes = &'static [(&'static str, &'static str)];
    type Check = fn(&WsClientUpgradeError) -> bool;
    let connection: Check = |it| matches!(it, InvalidConnectionHeader);
    let upgrade: Check = |it| matches!(it, InvalidUpgradeHeader);
    let accept: Check = |it| matches!(it, InvalidAcceptHeader);
    let protocol: Check = |it| matches!(it, InvalidProtocol);
    let extension: Check = |it| matches!(it, UnexpectedExtension);
    let table: [(&str, Changes, Check); 27] = [
        ("", &[("Connection", "-")], connection),
        ("", &[("Connection", "keep-alive")], connection),
        ("", &[("Upgrade", "-")], upgrade),
        ("", &[("Upgrade", "h2c")], upgrade),
        ("", &[("Upgrade", "websockets")], upgrade),
        // it would be the protocol above another one (RFC 9110, section 7.8)
        ("", &[("Upgrade", "TLS/1.3, websocket")], upgrade),
        ("", &[("Upgrade", "websocket, h2c")], upgrade),
        ("", &[("Upgrade", "h2c"), ("Upgrade", "websocket")], upgrade),
        ("", &[("Upgrade", "websocket"), ("Upgrade", "websocket")], upgrade),
        ("", &[(ACCEPT, "-")], accept),
        ("", &[(ACCEPT, "")], accept),
        ("", &[(ACCEPT, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")], accept),
        ("", &[(ACCEPT, "ACCEPT="), ("X", "Y")], accept),
        ("", &[(ACCEPT, "xACCEPT")], accept),
        ("", &[(ACCEPT, "ACCEPT"), (ACCEPT, "ACCEPT")], accept),
        ("", &[(EXTENSIONS, "permessage-deflate")], extension),
        ("", &[(EXTENSIONS, "")], extension),
        ("", &[(PROTOCOL, "a")], protocol),
        ("a", &[], protocol),
        ("a", &[(PROTOCOL, "")], protocol),
        ("a", &[(PROTOCOL, "b")], protocol),
        ("a", &[(PROTOCOL, "A")], protocol),
        ("a, b", &[(PROTOCOL, "a, b")], protocol),
        ("a, b", &[(PROTOCOL, "a"), (PROTOCOL, "b")], protocol),
        ("a", &[(PROTOCOL, "a, a")], protocol),
        ("", &[(PROTOCOL, "\u{e4}")], protocol),
        ("a", &[(PROTOCOL, "a"), (PROTOCOL, "\u{e4}")], protocol),
    ];
    on_tokio(async {
        for (protocols, changes, is_expected) in table {
            let error = answered(protocols, &switch(changes)).await.unwrap_err();
            let error: &WsClientUpgradeError = error.downcast_ref().unwrap();
            assert!(is_expected(error), "{protocols:?} {changes:?}: {error:?}");
        }
    });
}

#[test]
fn a_tunnel_over_http1_is_not_taken_for_a_websocket() {
    on_tokio(async {
        for (status, is_tunnel) in [("200 OK", true), ("403 Forbidden", false)] {
            let (client, mut server) = duplex(10_000);
            let serve = tokio::spawn(async move {
                let head = read_head(&mut server).await;
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                server.write_all(answer.as_bytes()).await.unwrap();
                head
            });
            let mut request =
                Request::get("https://example.com/bytes").body(String::new()).unwrap();
            *request.version_mut() = Version::HTTP_2;
            let error = *ask(client, request).await.unwrap_err().downcast().unwrap();
            if is_tunnel {
                assert!(matches!(error, InvalidHttpVersion), "{error:?}");
            } else {
                assert!(matches!(error, Refused { .. }), "{error:?}");
            }
            drop(serve.await.unwrap());
        }
    });
}

#[test]
fn a_server_that_refuses_is_quoted() {
    let answers = [
        "401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nno",
        "200 OK\r\nContent-Length: 0\r\n\r\n",
        "301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
        "426 Upgrade Required\r\nSec-WebSocket-Version: 14\r\nContent-Length: 0\r\n\r\n",
        // whatever else it says
        "200 OK\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ACCEPT\r\n\r\n",
    ];
    on_tokio(async {
        for answer in answers {
            let error = answered("", &format!("HTTP/1.1 {answer}")).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&answer[..3]), "{text}");
            match *error.downcast().unwrap() {
                Refused { response } => {
                    assert_eq!(response.status().as_str(), &answer[..3]);
                    let headers = response.headers();
                    assert_eq!(headers.contains_key("location"), answer.contains("Location"));
                }
                other => panic!("{answer}: {other:?}"),
            }
        }
    });
}

#[test]
fn an_answer_that_is_no_http_or_only_half_is_an_error_of_hyper() {
    let answers = [
        "",
        "H",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: webso",
        "\0\0\0\0\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 99999 What\r\n\r\n",
        "HTTP/1.1 101\r\nno header\r\n\r\n",
    ];
    on_tokio(async {
        for answer in answers {
            let error = answered("", answer).await.unwrap_err();
            assert!(error.is::<hyper::Error>(), "{answer:?}: {error:?}");
        }
    });
}

#[test]
fn errors_say_what_is_wrong_and_keep_the_cause_apart() {
    on_tokio(async {
        let texts = [
            (
                InvalidHttpVersion,
                "the response came over another version of HTTP than the request was made for",
            ),
            (
                InvalidConnectionHeader,
                "the `Connection` header of the response does not say `Upgrade`",
            ),
            (InvalidUpgradeHeader, "the `Upgrade` header of the response is not `websocket`"),
            (
                InvalidAcceptHeader,
                "the `Sec-WebSocket-Accept` of the response does not belong to the request",
            ),
            (InvalidProtocol, "the server did not agree to one of the subprotocols asked for"),
            (UnexpectedExtension, "the server wants to use an extension it was not asked for"),
        ];
        for (error, text) in texts {
            assert_eq!(error.to_string(), text);
            assert!(error.source().is_none());
        }
        let (client, server) = duplex(1);
        drop(server);
        let source = *ask(client, asking("")).await.unwrap_err().downcast().unwrap();
        let error = Hyper { source };
        assert_eq!(
            error.to_string(),
            "hyper did not hand over the connection: it broke, or does not run `with_upgrades`"
        );
        assert!(error.source().unwrap().is::<hyper::Error>());
    });
}

/// What a request becomes, as it goes over the wire.
async fn sent(request: Request<String>) -> Head {
    let (client, mut server) = duplex(10_000);
    tokio::spawn(ask(client, request));
    read_head(&mut server).await
}

#[test]
fn the_request_has_what_the_rfc_asks_for() {
    on_tokio(async {
        let mut request = asking("a, b");
        append(request.headers_mut(), "Origin", "https://example.com");
        *request.method_mut() = hyper::Method::POST;
        *request.version_mut() = Version::HTTP_10;
        for stale in ["Sec-WebSocket-Version", "Sec-WebSocket-Key", "Connection", "Upgrade"] {
            append(request.headers_mut(), stale, "stale");
        }
        let head = sent(request).await;
        assert_eq!(head.first_line, "GET /bytes HTTP/1.1");
        assert_eq!(head.get("host"), Some("example.com"));
        assert_eq!(head.get("connection"), Some("Upgrade"));
        assert_eq!(head.get("upgrade"), Some("websocket"));
        assert_eq!(head.get("sec-websocket-version"), Some("13"));
        assert_eq!(head.get("sec-websocket-protocol"), Some("a, b"));
        assert_eq!(head.get("origin"), Some("https://example.com"));
        assert_eq!(head.get("sec-websocket-extensions"), None);
    });
}

#[test]
fn the_key_is_16_bytes_and_another_each_time() {
    on_tokio(async {
        let mut keys = std::collections::HashSet::new();
        for _ in 0..20 {
            let head = sent(asking("")).await;
            let key = head.get("sec-websocket-key").unwrap().to_owned();
            assert!(key.len() == 24 && key.ends_with("==") && !key.ends_with("==="), "{key}");
            assert!(keys.insert(key));
        }
    });
}

#[test]
fn the_host_is_that_of_the_uri_unless_it_is_given() {
    let table = [
        ("http://example.com/", None, "example.com"),
        ("http://example.com:8080/bytes", None, "example.com:8080"),
        ("http://[::1]:8080/bytes", None, "[::1]:8080"),
        ("http://user:secret@example.com/", None, "example.com"),
        ("http://user@[::1]:8080/", None, "[::1]:8080"),
        // a port that is the scheme's own is left out
        ("http://[::1]:80/", None, "[::1]"),
        ("https://example.com:443/", None, "example.com"),
        ("ws://example.com:80/", None, "example.com"),
        ("wss://example.com:443/", None, "example.com"),
        ("http://example.com:443/", None, "example.com:443"),
        ("https://example.com:80/", None, "example.com:80"),
        ("http://example.com/", Some("other.com"), "other.com"),
        ("/", Some("other.com"), "other.com"),
    ];
    on_tokio(async {
        for (uri, host, expected) in table {
            let mut request = Request::get(uri).body(String::new()).unwrap();
            if let Some(host) = host {
                append(request.headers_mut(), "host", host);
            }
            assert_eq!(sent(request).await.get("host"), Some(expected), "{uri} {host:?}");
        }
    });
}

#[test]
fn the_uri_becomes_one_of_http_and_says_no_user() {
    let table = [
        ("/bytes?a=b", "/bytes?a=b"),
        ("http://example.com:80/bytes", "http://example.com:80/bytes"),
        ("ws://example.com/bytes?a=b@c", "http://example.com/bytes?a=b@c"),
        ("wss://example.com:8443", "https://example.com:8443/"),
        ("http://user:secret@example.com/", "http://example.com/"),
        ("wss://user@[::1]:8080/", "https://[::1]:8080/"),
    ];
    for (uri, expected) in table {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let mut request = Request::get(uri).version(version).body(String::new()).unwrap();
            let _upgrade = WsClientUpgrade::new(&mut request);
            assert_eq!(request.uri(), expected, "{uri} {version:?}");
        }
    }
}

#[test]
fn the_response_says_what_was_agreed_to() {
    on_tokio(async {
        let (handle, _accepted) = accepting(|upgrade| Ok(upgrade.protocols(["b", "a"])));
        let (_stream, response) = ask(http1_server(handle), asking("a, b")).await.unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-protocol"], "b");
    });
}

#[test]
fn our_server_refuses_what_our_client_finds_out() {
    on_tokio(async {
        let request = Request::get("/no/host").body(String::new()).unwrap();
        let error = ask(http1_server(accepting_all()), request).await.unwrap_err();
        match *error.downcast().unwrap() {
            Refused { response } => assert_eq!(response.status(), 400),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn data_that_comes_with_the_response_is_read() {
    on_tokio(async {
        let (client, mut server) = duplex(10_000);
        let serve = tokio::spawn(async move {
            let head = read_head(&mut server).await;
            let accept = derive_accept_key(head.get("sec-websocket-key").unwrap().as_bytes());
            let response = switch(&[]).replace("ACCEPT", &accept).into_bytes();
            let data = frame(Role::Client, true, BINARY, b"at once");
            server.write_all(&[response, data].concat()).await.unwrap();
            server
        });
        let (mut stream, _) = ask(client, asking("")).await.unwrap();
        let mut data = [0; 7];
        stream.read_exact(&mut data).await.unwrap();
        assert_eq!(&data, b"at once");
        let events = observe(&mut stream);
        drop(serve.await.unwrap());
        assert_eq!(read_to_end(stream).await.0, b"");
        assert_eq!(told(events).await, ["error: MissingCloseFrame", "closed"]);
    });
}

#[test]
fn a_server_of_tokio_tungstenite_understands_the_client() {
    on_tokio(async {
        let (client, server) = duplex(10_000);
        let serve = tokio::spawn(async move {
            let mut socket = tokio_tungstenite::accept_async(server).await.unwrap();
            let mut received = Vec::new();
            while received.len() < 300_000 {
                received.extend_from_slice(&socket.next().await.unwrap().unwrap().into_data());
            }
            socket.send(Message::binary(received)).await.unwrap();
            let frame = CloseFrame { code: CloseCode::Away, reason: "bye".into() };
            socket.close(Some(frame)).await.unwrap();
            while socket.next().await.is_some() {}
        });
        let (mut stream, _) = ask(client, asking("")).await.unwrap();
        let events = observe(&mut stream);
        let data = pattern(0, 300_000);
        stream.write_all(&data).await.unwrap();
        stream.flush().await.unwrap();
        let (received, result) = read_to_end(stream).await;
        result.unwrap();
        assert!(received == data);
        assert_eq!(told(events).await, ["close 1001 \"bye\"", "closed"]);
        serve.await.unwrap();
    });
}

#[test]
fn a_server_of_async_tungstenite_understands_the_client() {
    on_tokio(async {
        let (client, server) = duplex(10_000);
        let serve = tokio::spawn(async move {
            #[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
            let choose = |request: &server::Request, mut response: server::Response| {
                assert_eq!(request.headers()["sec-websocket-protocol"], "a, b");
                append(response.headers_mut(), "sec-websocket-protocol", "b");
                Ok(response)
            };
            let mut stream = WsStream::accept_hdr(server.compat(), choose, None).await.unwrap();
            let mut data = [0; 5];
            stream.read_exact(&mut data).await.unwrap();
            stream.write_all(&data).await.unwrap();
            stream.shutdown().await.unwrap();
            assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
        });
        let (mut stream, response) = ask(client, asking("a, b")).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "b");
        stream.write_all(b"hello").await.unwrap();
        let (received, result) = read_to_end(stream).await;
        assert!(result.is_ok() && received == b"hello", "{received:?} {result:?}");
        serve.await.unwrap();
    });
}

#[test]
fn a_client_of_tokio_tungstenite_understands_the_server() {
    on_tokio(async {
        let (handle, mut accepted) = accepting(|upgrade| Ok(upgrade.protocols(["b"])));
        let mut request = "ws://example.com/bytes".into_client_request().unwrap();
        append(request.headers_mut(), "Sec-WebSocket-Protocol", "a, b");
        let (mut socket, response) =
            tokio_tungstenite::client_async(request, http1_server(handle)).await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "b");
        let mut stream = accepted.recv().await.unwrap().unwrap();
        let events = observe(&mut stream);
        let echo = tokio::spawn(async move {
            let mut data = vec![0; 100_000];
            stream.read_exact(&mut data).await.unwrap();
            stream.write_all(&data).await.unwrap();
            read_to_end(stream).await.1.unwrap();
        });
        let data = pattern(0, 100_000);
        socket.send(Message::binary(data.clone())).await.unwrap();
        let mut received = Vec::new();
        while received.len() < data.len() {
            received.extend_from_slice(&socket.next().await.unwrap().unwrap().into_data());
        }
        assert!(received == data);
        let frame = CloseFrame { code: CloseCode::Library(4000), reason: "done".into() };
        socket.close(Some(frame)).await.unwrap();
        while socket.next().await.is_some() {}
        echo.await.unwrap();
        assert_eq!(told(events).await, ["close 4000 \"done\"", "closed"]);
    });
}

#[test]
fn a_future_that_is_dropped_takes_the_connection_with_it() {
    on_tokio(async {
        let (client, mut server) = duplex(10_000);
        let serve = tokio::spawn(async move {
            let head = read_head(&mut server).await;
            let accept = derive_accept_key(head.get("sec-websocket-key").unwrap().as_bytes());
            let response = switch(&[]).replace("ACCEPT", &accept);
            server.write_all(response.as_bytes()).await.unwrap();
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
        });
        let (mut sender, connection) = http1::handshake(TokioIo::new(client)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let mut request = asking("");
        let upgrade = WsClientUpgrade::new(&mut request);
        let response = sender.send_request(request).await.unwrap();
        drop(upgrade.finish(response));
        serve.await.unwrap();
    });
}
