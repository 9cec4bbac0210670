//! The stream that comes of an upgrade, over every connection of hyper.

use std::io::ErrorKind;

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::join_all};
use hyper_util::rt::TokioIo;
use tungstenite::protocol::WebSocketConfig;
use ws_stream_tungstenite::{WsConfig, WsState, tungstenite};

use crate::{
    connections::{EACH, Over, Pair, Stream, connect, connect_with, on_tokio, read_to_end, told},
    support::{in_words, observe, pattern},
};

const MIB: usize = 1024 * 1024;

/// Sends and receives in two tasks, and closes behind what it sent.
async fn converse(stream: Stream, data: Vec<u8>) -> Vec<u8> {
    let (mut reader, mut writer) = stream.split();
    let write = tokio::spawn(async move {
        for chunk in data.chunks(100_000) {
            writer.write_all(chunk).await.unwrap();
        }
        writer.flush().await.unwrap();
        writer
    });
    let read = tokio::spawn(async move {
        let mut received = vec![0; 8 * MIB];
        reader.read_exact(&mut received).await.unwrap();
        (reader, received)
    });
    let (mut writer, (mut reader, received)) = (write.await.unwrap(), read.await.unwrap());
    let close = tokio::spawn(async move { writer.close().await.unwrap() });
    let mut rest = Vec::new();
    tokio::spawn(async move {
        reader.read_to_end(&mut rest).await.unwrap();
        assert_eq!(rest, []);
    })
    .await
    .unwrap();
    close.await.unwrap();
    received
}

#[test]
fn mebibytes_pass_both_ways_at_once_with_reader_and_writer_in_two_tasks() {
    for over in EACH {
        on_tokio(async {
            let Pair { client, server, connection: _connection } = connect(over).await;
            let (up, down) = (pattern(0, 8 * MIB), pattern(100, 8 * MIB));
            let (at_client, at_server) =
                tokio::join!(converse(client, down.clone()), converse(server, up.clone()));
            assert!(blake3::hash(&at_client) == blake3::hash(&up), "{over:?}");
            assert!(blake3::hash(&at_server) == blake3::hash(&down), "{over:?}");
        });
    }
}

#[test]
fn what_a_server_copies_comes_back_although_the_client_closes_behind_it() {
    for over in EACH {
        on_tokio(async {
            let Pair { client, server, connection: _connection } = connect(over).await;
            let echo = tokio::spawn(async move {
                let (reader, mut writer) = server.split();
                futures::io::copy(reader, &mut writer).await.unwrap()
            });
            let (mut reader, mut writer) = client.split();
            let data = pattern(0, 3 * MIB);
            let sent = data.clone();
            let write = tokio::spawn(async move {
                writer.write_all(&sent).await.unwrap();
                writer.close().await.unwrap();
            });
            let mut back = Vec::new();
            reader.read_to_end(&mut back).await.unwrap();
            write.await.unwrap();
            assert_eq!(echo.await.unwrap(), data.len() as u64, "{over:?}");
            // a server that copies may have to stop when the close frame has come
            assert!(data.starts_with(&back), "{over:?}");
        });
    }
}

#[test]
fn questions_and_answers_alternate() {
    for over in EACH {
        on_tokio(async {
            let Pair { mut client, mut server, connection: _connection } = connect(over).await;
            let serve = tokio::spawn(async move {
                let mut question = [0; 10];
                while server.read_exact(&mut question).await.is_ok() {
                    server.write_all(&question).await.unwrap();
                }
            });
            for start in 0..200 {
                let question = pattern(start, 10);
                client.write_all(&question).await.unwrap();
                let mut answer = [0; 10];
                client.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer[..], question, "{over:?}");
            }
            client.close().await.unwrap();
            assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0, "{over:?}");
            serve.await.unwrap();
        });
    }
}

#[test]
fn whoever_closes_both_ends_see_the_code_and_the_end_of_file() {
    for over in EACH {
        for server_closes in [true, false] {
            on_tokio(async {
                let Pair { client, server, connection: _connection } = connect(over).await;
                let (mut closing, mut other) =
                    if server_closes { (server, client) } else { (client, server) };
                let meta = closing.meta();
                let (closing_events, other_events) = (observe(&mut closing), observe(&mut other));
                other.write_all(b"before").await.unwrap();
                let ends = [closing, other].map(|stream| tokio::spawn(read_to_end(stream)));
                let event = meta.close(1001, "restarting").await.unwrap();
                assert!(event.was_clean, "{over:?} {event:?}");
                assert_eq!((event.code, event.reason.as_str()), (1001, "restarting"), "{over:?}");
                let [closing, other] = ends;
                let (at_closing, result) = closing.await.unwrap();
                let (at_other, other_result) = other.await.unwrap();
                assert_eq!(at_closing, b"before", "{over:?}");
                assert_eq!(at_other, b"", "{over:?}");
                assert!(result.is_ok() && other_result.is_ok(), "{over:?}");
                let expected = ["close 1001 \"restarting\"", "closed"];
                assert_eq!(told(closing_events).await, expected, "{over:?} {server_closes}");
                assert_eq!(told(other_events).await, expected, "{over:?} {server_closes}");
                assert_eq!(meta.ready_state(), WsState::Closed);
            });
        }
    }
}

#[test]
fn an_end_reaches_its_end_although_the_other_holds_its_stream() {
    for over in EACH {
        for server_closes in [true, false] {
            on_tokio(async {
                let Pair { mut client, mut server, connection: _connection } = connect(over).await;
                let closing = if server_closes { &mut server } else { &mut client };
                closing.close().await.unwrap();
                let (at_client, at_server) =
                    tokio::join!(async { client.read(&mut [0; 8]).await.unwrap() }, async {
                        server.read(&mut [0; 8]).await.unwrap()
                    },);
                assert_eq!((at_client, at_server), (0, 0), "{over:?} {server_closes}");
            });
        }
    }
}

#[test]
fn both_ends_may_close_at_once() {
    for over in EACH {
        on_tokio(async {
            let Pair { client, server, connection: _connection } = connect(over).await;
            let metas = [client.meta(), server.meta()];
            let ends = [client, server].map(|stream| tokio::spawn(read_to_end(stream)));
            let closing = metas.map(|meta| async move { meta.close(1000, "").await.unwrap() });
            for event in join_all(closing).await {
                assert!(event.was_clean, "{over:?} {event:?}");
            }
            for end in ends {
                assert!(end.await.unwrap().1.is_ok(), "{over:?}");
            }
        });
    }
}

#[test]
fn what_was_written_before_a_close_arrives_although_its_stream_is_dropped_at_the_end() {
    for over in EACH {
        for server_closes in [true, false] {
            on_tokio(async {
                let Pair { client, server, connection: _connection } = connect(over).await;
                let (mut closing, other) =
                    if server_closes { (server, client) } else { (client, server) };
                let data = pattern(0, 3 * MIB);
                let sent = data.clone();
                let close = tokio::spawn(async move {
                    closing.write_all(&sent).await.unwrap();
                    closing.close().await.unwrap();
                    closing.read_to_end(&mut Vec::new()).await.unwrap();
                });
                let (received, result) = read_to_end(other).await;
                result.unwrap();
                assert!(received == data, "{over:?}: {} of {}", received.len(), data.len());
                close.await.unwrap();
            });
        }
    }
}

#[test]
fn a_ping_is_answered_and_counted() {
    for over in EACH {
        on_tokio(async {
            let Pair { mut client, server, connection: _connection } = connect(over).await;
            let meta = server.meta();
            let mut events = observe(&mut client);
            let [_client, _server] = [client, server].map(|it| tokio::spawn(read_to_end(it)));
            meta.ping(b"there?").unwrap();
            assert_eq!(in_words(&events.next().await.unwrap()), "ping there?", "{over:?}");
            meta.close(1000, "").await.unwrap();
            let counters = meta.counters();
            assert_eq!((counters.pings_sent, counters.pongs_received), (1, 1), "{over:?}");
        });
    }
}

#[test]
fn the_limits_that_the_server_gives_apply() {
    for over in EACH {
        on_tokio(async {
            let websocket = WebSocketConfig::default().max_message_size(Some(1000));
            let pair = connect_with(over, |client| client, move |server| server.config(websocket));
            let Pair { mut client, mut server, connection: _connection } = pair.await;
            let (client_events, server_events) = (observe(&mut client), observe(&mut server));
            let server = tokio::spawn(read_to_end(server));
            client.write_all(&[1; 1000]).await.unwrap();
            client.write_all(&[2; 1001]).await.unwrap();
            read_to_end(client).await.1.unwrap();
            let (received, _) = server.await.unwrap();
            assert_eq!(received, [1; 1000], "{over:?}");
            let told_server = told(server_events).await;
            assert_eq!(told_server[0], "error: Capacity", "{over:?}");
            let told_client = told(client_events).await;
            assert!(told_client[0].starts_with("close 1009"), "{over:?} {told_client:?}");
        });
    }
}

#[test]
fn the_choices_that_the_client_gives_apply() {
    for over in EACH {
        on_tokio(async {
            let choices = WsConfig::new().max_message(10);
            let pair = connect_with(over, |client| client.config(choices), |server| server);
            let Pair { mut client, mut server, connection: _connection } = pair.await;
            let meta = server.meta();
            client.write_all(&pattern(0, 100)).await.unwrap();
            client.flush().await.unwrap();
            let mut received = [0; 100];
            server.read_exact(&mut received).await.unwrap();
            assert_eq!(received[..], pattern(0, 100), "{over:?}");
            assert_eq!(meta.counters().messages_received, 10, "{over:?}");
        });
    }
}

#[test]
fn an_end_that_is_dropped_is_the_end_of_the_other() {
    for over in EACH {
        for server_is_dropped in [true, false] {
            on_tokio(async {
                let Pair { client, server, connection: _connection } = connect(over).await;
                let (mut dropped, mut other) =
                    if server_is_dropped { (server, client) } else { (client, server) };
                let events = observe(&mut other);
                dropped.write_all(b"last words").await.unwrap();
                drop(dropped);
                let (received, _) = read_to_end(other).await;
                // a stream of HTTP/2 that its client drops takes along what hyper has not sent yet
                if (over, server_is_dropped) != (Over::Http2, false) || !received.is_empty() {
                    assert_eq!(received, b"last words", "{over:?} {server_is_dropped}");
                }
                let expected = ["error: MissingCloseFrame", "closed"];
                assert_eq!(told(events).await, expected, "{over:?} {server_is_dropped}");
            });
        }
    }
}

#[test]
fn a_writer_that_waits_for_room_fails_when_the_other_end_is_dropped() {
    for over in EACH {
        for server_is_dropped in [true, false] {
            on_tokio(async {
                let Pair { client, server, connection: _connection } = connect(over).await;
                let (dropped, writing) =
                    if server_is_dropped { (server, client) } else { (client, server) };
                let (mut reader, mut writer) = writing.split();
                let meta = dropped.meta();
                let write = tokio::spawn(async move {
                    loop {
                        if let Err(error) = writer.write(&[0; 10_000]).await {
                            break error;
                        }
                    }
                });
                let read = tokio::spawn(async move { reader.read(&mut [0; 8]).await });
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                drop(dropped);
                assert_eq!(meta.ready_state(), WsState::Closed);
                let error = write.await.unwrap();
                let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
                let kinds = [&kinds[..], &[ErrorKind::NotConnected, ErrorKind::Other]].concat();
                assert!(kinds.contains(&error.kind()), "{over:?} {error:?}");
                let _ = read.await.unwrap(); // the end of file or an error, as the transport has it
            });
        }
    }
}

#[test]
fn over_http2_a_connection_that_breaks_ends_both_its_ends() {
    on_tokio(async {
        let Pair { mut client, mut server, mut connection } = connect(Over::Http2).await;
        let events = [observe(&mut client), observe(&mut server)];
        let ends = [client, server].map(|stream| tokio::spawn(read_to_end(stream)));
        connection.shutdown().await;
        for end in ends {
            let (received, _) = end.await.unwrap();
            assert_eq!(received, b"");
        }
        for events in events {
            let told = told(events).await;
            let (last, errors) = told.split_last().unwrap();
            assert_eq!(last, "closed", "{told:?}");
            // writing may meet it before reading does
            assert!((1..=2).contains(&errors.len()), "{told:?}");
            assert!(errors.iter().all(|event| event.starts_with("error: ")), "{told:?}");
        }
    });
}

#[test]
fn the_transport_gives_hypers_own_back() {
    on_tokio(async {
        let Pair { client, server, connection: _connection } = connect(Over::Http1).await;
        let upgraded = client.into_inner().into_inner().into_inner();
        assert!(upgraded.downcast::<TokioIo<tokio::io::DuplexStream>>().is_ok());
        drop(server);
    });
}
