//! Websockets as streams of an HTTP/2 connection (RFC 8441).

use std::{convert::Infallible, future::ready, io::ErrorKind};

use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, future::join_all};
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response, StatusCode, ext::Protocol, server::conn::http2::Builder,
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::duplex, sync::mpsc};
use tungstenite::protocol::Role;
use ws_stream_tungstenite::{WsClientUpgrade, WsClientUpgradeError, WsUpgrade, tungstenite};

use crate::{
    connections::{
        Over, Pair, Stream, accepting, accepting_all, connect, connect_http2, http2_pair,
        http2_request, on_tokio, read_to_end, told, with_connect_protocol,
    },
    support::{CLOSE, frame, observe, pattern},
};

async fn echo(stream: Stream) {
    let (reader, mut writer) = stream.split();
    futures::io::copy(reader, &mut writer).await.unwrap();
}

#[test]
fn websockets_and_ordinary_requests_share_a_connection() {
    on_tokio(async {
        let (accept, mut accepted) = accepting(Ok);
        let handle = move |request: Request<_>| match *request.method() {
            Method::CONNECT => accept(request),
            _ => Response::new("ordinary".repeat(10_000)),
        };
        let (mut sender, _connection) = http2_pair(&with_connect_protocol(), handle).await;
        let serve = tokio::spawn(async move {
            while let Some(stream) = accepted.recv().await {
                tokio::spawn(echo(stream.unwrap()));
            }
        });
        let mut talks = Vec::new();
        for start in 0..8 {
            let mut stream = connect_http2(&mut sender, |upgrade| upgrade).await;
            talks.push(tokio::spawn(async move {
                for round in 0..50 {
                    let data = pattern(start * 31 + round, 20_000);
                    let mut back = vec![0; data.len()];
                    stream.write_all(&data).await.unwrap();
                    stream.read_exact(&mut back).await.unwrap();
                    assert!(back == data, "stream {start}, round {round}");
                }
                stream.close().await.unwrap();
                assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
            }));
            let response = sender.send_request(http2_request(Method::GET, &[])).await.unwrap();
            let body = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body.len(), 80_000);
        }
        for talk in join_all(talks).await {
            talk.unwrap();
        }
        serve.abort();
    });
}

/// The reset by which the server says that it wants no more may come before the client's flush is done.
#[test]
fn closing_is_no_error_for_the_client_however_soon_the_server_has_ended() {
    on_tokio(async {
        let (handle, mut accepted) = accepting(Ok);
        let (mut sender, _connection) = http2_pair(&with_connect_protocol(), handle).await;
        tokio::spawn(async move {
            while let Some(stream) = accepted.recv().await {
                tokio::spawn(read_to_end(stream.unwrap()));
            }
        });
        for round in 0..300 {
            let mut client = connect_http2(&mut sender, |upgrade| upgrade).await;
            client.write_all(b"bye").await.unwrap();
            let closed = client.close().await;
            assert!(closed.is_ok(), "round {round}: {closed:?}");
            let read = client.read(&mut [0; 8]).await;
            assert_eq!(read.ok(), Some(0), "round {round}");
        }
    });
}

#[test]
fn what_is_lost_when_the_client_resets_its_stream_is_told() {
    // whatever the reason: proxies say that there is no error where their own client has gone
    for reason in [h2::Reason::INTERNAL_ERROR, h2::Reason::CANCEL, h2::Reason::NO_ERROR] {
        on_tokio(is_lost_and_told(reason));
    }
}

async fn is_lost_and_told(reason: h2::Reason) {
    let (handle, mut accepted) = accepting(Ok);
    let (client, server) = duplex(64 * 1024);
    let service = service_fn(move |request| ready(Ok::<_, Infallible>(handle(request))));
    tokio::spawn(with_connect_protocol().serve_connection(TokioIo::new(server), service));
    // takes one byte, and no more
    let mut bare = h2::client::Builder::new();
    let (sender, connection) =
        bare.initial_window_size(1).handshake::<_, Bytes>(client).await.unwrap();
    let (mut sender, _connection) = (sender.ready().await.unwrap(), tokio::spawn(connection));
    while !sender.is_extended_connect_protocol_enabled() {
        tokio::task::yield_now().await;
    }
    let request = Request::connect("https://example.com/bytes");
    let mut request = request.header("sec-websocket-version", "13").body(()).unwrap();
    request.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (_response, mut sending) = sender.send_request(request, false).unwrap();

    let mut server = accepted.recv().await.unwrap().unwrap();
    let (meta, events) = (server.meta(), observe(&mut server));
    for _ in 0..3 {
        server.write_all(&pattern(0, 64 * 1024)).await.unwrap();
    }
    assert!(server.close().now_or_never().is_none());
    sending.send_data(frame(Role::Server, true, CLOSE, b"").into(), false).unwrap();
    sending.send_reset(reason);

    let error = server.close().await.expect_err(&format!("what was written is lost: {reason}"));
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{reason}");
    let _ = server.read_to_end(&mut Vec::new()).await;
    assert!(!meta.closed().await.was_clean, "{reason}");
    let told = told(events).await;
    assert_eq!(told[0], "error: Io(BrokenPipe)", "{reason}: {told:?}");
}

#[test]
fn a_websocket_that_is_not_read_holds_up_neither_the_others_nor_requests() {
    on_tokio(async {
        let (handle, mut accepted) = accepting(Ok);
        let mut builder = with_connect_protocol();
        // the others have room in the connection beside what the stuck one may fill
        builder.initial_stream_window_size(100_000).initial_connection_window_size(1_000_000);
        let (mut sender, _connection) = http2_pair(&builder, handle).await;
        let stuck = connect_http2(&mut sender, |upgrade| upgrade).await;
        let stuck_server = accepted.recv().await.unwrap().unwrap();
        let (written, mut progress) = mpsc::unbounded_channel();
        let (mut stuck_reader, mut stuck_writer) = stuck.split();
        let write = tokio::spawn(async move {
            let data = pattern(0, 3_000_000);
            for chunk in data.chunks(10_000) {
                stuck_writer.write_all(chunk).await.unwrap();
                written.send(()).unwrap();
            }
            stuck_writer.close().await.unwrap();
        });
        progress.recv().await.unwrap();

        let mut client = connect_http2(&mut sender, |upgrade| upgrade).await;
        tokio::spawn(echo(accepted.recv().await.unwrap().unwrap()));
        for start in 0..20 {
            let data = pattern(start, 50_000);
            let mut back = vec![0; data.len()];
            client.write_all(&data).await.unwrap();
            client.read_exact(&mut back).await.unwrap();
            assert!(back == data);
        }
        let response = sender.send_request(http2_request(Method::GET, &[])).await.unwrap();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(!write.is_finished(), "nothing holds the writer up");

        let (received, result) = {
            let end = tokio::spawn(async move { stuck_reader.read(&mut [0; 8]).await });
            let received = read_to_end(stuck_server).await;
            assert_eq!(end.await.unwrap().unwrap(), 0);
            received
        };
        result.unwrap();
        assert!(received == pattern(0, 3_000_000), "{}", received.len());
        write.await.unwrap();
    });
}

#[test]
fn dropping_one_websocket_leaves_the_others() {
    on_tokio(async {
        let (handle, mut accepted) = accepting(Ok);
        let (mut sender, _connection) = http2_pair(&with_connect_protocol(), handle).await;
        let first = connect_http2(&mut sender, |upgrade| upgrade).await;
        let mut first_server = accepted.recv().await.unwrap().unwrap();
        let mut second = connect_http2(&mut sender, |upgrade| upgrade).await;
        tokio::spawn(echo(accepted.recv().await.unwrap().unwrap()));
        let events = observe(&mut first_server);
        drop(first);
        assert_eq!(read_to_end(first_server).await.0, b"");
        assert_eq!(told(events).await, ["error: MissingCloseFrame", "closed"]);
        second.write_all(b"still here").await.unwrap();
        let mut back = [0; 10];
        second.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, b"still here");
    });
}

#[test]
fn a_writer_whose_peer_is_gone_is_told_of_a_broken_pipe() {
    for server_is_dropped in [true, false] {
        on_tokio(async {
            let Pair { client, server, connection: _connection } = connect(Over::Http2).await;
            let (dropped, mut writing) =
                if server_is_dropped { (server, client) } else { (client, server) };
            drop(dropped);
            let error = loop {
                if let Err(error) = writing.write(&[0; 1000]).await {
                    break error;
                }
                tokio::task::yield_now().await;
            };
            assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{error:?}");
        });
    }
}

#[test]
fn a_server_that_does_not_offer_it_refuses_the_request() {
    on_tokio(async {
        let builder = Builder::new(TokioExecutor::new());
        let (mut sender, _connection) = http2_pair(&builder, accepting_all()).await;
        let mut request = http2_request(Method::GET, &[]);
        let _upgrade = WsClientUpgrade::new(&mut request);
        let error = sender.send_request(request).await.unwrap_err();
        assert!(!error.to_string().is_empty(), "{error:?}");
    });
}

#[test]
fn the_request_of_the_client_is_an_extended_connect() {
    on_tokio(async {
        let (sender_of_heads, mut heads) = mpsc::unbounded_channel();
        let handle = move |request: Request<_>| {
            sender_of_heads.send(request.map(drop)).unwrap();
            Response::new(String::new())
        };
        let (mut sender, _connection) = http2_pair(&with_connect_protocol(), handle).await;
        heads.recv().await.unwrap(); // that of the pair
        let mut request = http2_request(Method::GET, &[("sec-websocket-protocol", "a, b")]);
        let _upgrade = WsClientUpgrade::new(&mut request);
        sender.send_request(request).await.unwrap();
        let head = heads.recv().await.unwrap();
        assert_eq!(head.method(), Method::CONNECT);
        assert_eq!(head.extensions().get(), Some(&Protocol::from_static("websocket")));
        assert_eq!(head.uri(), "https://example.com/bytes");
        let header = |name| head.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("sec-websocket-version"), Some("13"));
        assert_eq!(header("sec-websocket-protocol"), Some("a, b"));
        for absent in ["connection", "upgrade", "sec-websocket-key", "host"] {
            assert_eq!(header(absent), None, "{absent}");
        }
    });
}

/// What the client makes of a response over HTTP/2.
async fn finish(
    asked: &[(&str, &str)],
    respond: impl Fn(&mut Response<String>) + Send + 'static,
) -> Result<(), WsClientUpgradeError> {
    let handle = move |request: Request<_>| {
        let mut response = Response::new(String::new());
        if request.method() == Method::CONNECT {
            respond(&mut response);
        }
        response
    };
    let (mut sender, _connection) = http2_pair(&with_connect_protocol(), handle).await;
    let mut request = http2_request(Method::GET, asked);
    let upgrade = WsClientUpgrade::new(&mut request);
    let response = sender.send_request(request).await.unwrap();
    upgrade.finish(response).await.map(drop)
}

#[test]
fn the_client_takes_200_and_what_it_asked_for_only() {
    use WsClientUpgradeError::{InvalidProtocol, Refused, UnexpectedExtension};
    type Check = fn(&Result<(), WsClientUpgradeError>) -> bool;
    type Headers = &'static [(&'static str, &'static str)];
    const PROTOCOL: &str = "sec-websocket-protocol";
    let table: [(u16, Headers, Headers, Check); 9] = [
        (200, &[], &[], Result::is_ok),
        (200, &[(PROTOCOL, "a, b")], &[(PROTOCOL, "b")], Result::is_ok),
        (200, &[(PROTOCOL, "a")], &[], |it| matches!(it, Err(InvalidProtocol))),
        (200, &[(PROTOCOL, "a")], &[(PROTOCOL, "c")], |it| matches!(it, Err(InvalidProtocol))),
        (200, &[], &[(PROTOCOL, "c")], |it| matches!(it, Err(InvalidProtocol))),
        (200, &[], &[("sec-websocket-extensions", "permessage-deflate")], |it| {
            matches!(it, Err(UnexpectedExtension))
        }),
        (204, &[], &[], |it| matches!(it, Err(Refused { .. }))),
        (403, &[], &[], |it| matches!(it, Err(Refused { .. }))),
        (301, &[], &[("location", "/")], |it| matches!(it, Err(Refused { .. }))),
    ];
    on_tokio(async {
        for (status, asked, answered, is_expected) in table {
            let result = finish(asked, move |response| {
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                for (name, value) in answered {
                    response.headers_mut().append(*name, value.parse().unwrap());
                }
            });
            let result = result.await;
            assert!(is_expected(&result), "{status} {asked:?} {answered:?}: {result:?}");
        }
    });
}

#[test]
fn a_response_that_refuses_after_all_fails_the_stream() {
    on_tokio(async {
        let (sender_of_results, mut results) = mpsc::unbounded_channel();
        let handle = move |mut request: Request<_>| {
            if let Ok(upgrade) = WsUpgrade::new(&mut request) {
                let (_response, stream) = upgrade.accept();
                let results = sender_of_results.clone();
                tokio::spawn(async move { results.send(stream.await.map(drop)).unwrap() });
            }
            let mut response = Response::new(String::new());
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response
        };
        let (mut sender, _connection) = http2_pair(&with_connect_protocol(), handle).await;
        let mut request = http2_request(Method::GET, &[]);
        let upgrade = WsClientUpgrade::new(&mut request);
        let response = sender.send_request(request).await.unwrap();
        assert!(matches!(
            upgrade.finish(response).await,
            Err(WsClientUpgradeError::Refused { response }) if response.status() == 503
        ));
        assert!(results.recv().await.unwrap().unwrap_err().is_canceled());
    });
}

#[test]
fn a_future_that_is_dropped_takes_its_stream_with_it_and_leaves_the_connection() {
    on_tokio(async {
        let handle = |mut request: Request<_>| match WsUpgrade::new(&mut request) {
            Ok(upgrade) => upgrade.accept().0, // and no future
            Err(rejection) => rejection.response(),
        };
        let (mut sender, _connection) = http2_pair(&with_connect_protocol(), handle).await;
        for _ in 0..3 {
            let client = connect_http2(&mut sender, |upgrade| upgrade).await;
            assert_eq!(read_to_end(client).await.0, b"");
        }
    });
}

#[test]
fn windows_smaller_than_a_message_do_not_stop_reader_and_writer() {
    for window in [1, 100, 10_000] {
        on_tokio(async {
            let (handle, mut accepted) = accepting(Ok);
            let mut builder = with_connect_protocol();
            builder.initial_stream_window_size(window);
            let (mut sender, _connection) = http2_pair(&builder, handle).await;
            let client = connect_http2(&mut sender, |upgrade| upgrade).await;
            let echo = tokio::spawn(echo(accepted.recv().await.unwrap().unwrap()));
            let (mut reader, mut writer) = client.split();
            let data = pattern(0, usize::try_from(window).unwrap() * 100);
            let mut back = vec![0; data.len()];
            let write = tokio::spawn({
                let data = data.clone();
                async move {
                    writer.write_all(&data).await.unwrap();
                    writer.flush().await.unwrap();
                    writer
                }
            });
            reader.read_exact(&mut back).await.unwrap();
            assert!(back == data, "a window of {window}");
            write.await.unwrap().close().await.unwrap();
            assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 0, "a window of {window}");
            echo.await.unwrap();
        });
    }
}

#[test]
fn clients_that_give_up_their_request_leave_no_task_waiting_and_the_connection_usable() {
    on_tokio(async {
        let (handle, mut accepted) = accepting(Ok);
        let (mut sender, connection) = http2_pair(&with_connect_protocol(), handle).await;
        for patience in 0..20 {
            let mut request = http2_request(Method::GET, &[]);
            let _upgrade = WsClientUpgrade::new(&mut request);
            let response = tokio::spawn(sender.send_request(request));
            for _ in 0..patience {
                tokio::task::yield_now().await;
            }
            response.abort();
        }
        let client = connect_http2(&mut sender, |upgrade| upgrade).await;
        drop((client, sender, connection));
        // ends when no task is left that may get a stream
        while let Some(result) = accepted.recv().await {
            if let Ok(stream) = result {
                assert_eq!(read_to_end(stream).await.0, b"");
            }
        }
    });
}
