//! Over real sockets, with what only they do: buffers in the kernel, resets, handshakes.

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt, SinkExt, StreamExt};
use pharos::{Observable, ObserveConfig};
use smol::{Async, future::FutureExt, net};
use tungstenite::{
    Message,
    protocol::{Role, frame::coding::CloseCode},
};
use ws_stream_tungstenite::{pharos, tungstenite};

use crate::{
    backend::{OverTokio, WsStream, over_tokio, websocket},
    support::{BINARY, TEXT, frame, in_words, parse},
};

const MIB: usize = 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);

type Tokio = OverTokio<tokio::net::TcpStream>;

/// A client and a server with a handshake between them, on tokio.
async fn connected() -> (Tokio, Tokio) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let tcp = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (client, server) = tokio::join!(over_tokio::connect(&url, tcp), async {
        over_tokio::accept(listener.accept().await.unwrap().0).await
    });
    (client.unwrap(), server.unwrap())
}

/// Runs a test on tokio; none of them takes long unless something hangs.
fn on_tokio<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("the test hangs") })
}

/// A server's stream, and the bare socket of its client.
fn server_and_bare_client() -> (WsStream<net::TcpStream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let server = net::TcpStream::from(Async::new(listener.accept().unwrap().0).unwrap());
    let socket = smol::block_on(websocket(server, Role::Server, None));
    (WsStream::new(socket), client)
}

async fn hangs<T>() -> T {
    smol::Timer::after(PATIENCE).await;
    panic!("the test hangs");
}

#[test]
fn a_write_of_64_mib_passes_and_comes_back() {
    on_tokio(async {
        let (client, server) = connected().await;
        let data: Vec<u8> = (0..=250).cycle().take(64 * MIB).collect();
        let (mut read, mut write) = client.split();
        let (server_read, mut server_write) = server.split();
        let echo = async {
            futures::io::copy(server_read, &mut server_write).await.unwrap();
            server_write.close().await.unwrap();
        };
        let conversation = async {
            let mut back = vec![0; data.len()];
            let (sent, received) = tokio::join!(write.write_all(&data), read.read_exact(&mut back));
            sent.unwrap();
            received.unwrap();
            assert!(back == data);
            write.close().await.unwrap();
            assert_eq!(read.read(&mut [0; 8]).await.unwrap(), 0);
        };
        tokio::join!(echo, conversation);
    });
}

#[test]
fn a_request_that_is_not_flushed_gets_its_answer() {
    on_tokio(async {
        let (mut client, mut server) = connected().await;
        let serve = async {
            let mut request = vec![0; 300_000];
            server.read_exact(&mut request).await.unwrap();
            server.write_all(&request).await.unwrap();
            server
        };
        let ask = async {
            client.write_all(&vec![7; 300_000]).await.unwrap();
            let mut answer = vec![0; 300_000];
            client.read_exact(&mut answer).await.unwrap();
            answer
        };
        let (_server, answer) = tokio::join!(serve, ask);
        assert!(answer == vec![7; 300_000]);
    });
}

#[test]
fn a_client_that_closes_behind_its_requests_gets_the_answers_of_a_server_that_copies() {
    on_tokio(async {
        let (mut client, server) = connected().await;
        for request in [b"one ", b"two ", b"and "] {
            client.write_all(request).await.unwrap();
        }
        client.close().await.unwrap();
        let (reader, mut writer) = server.split();
        let echo = async move { futures::io::copy(reader, &mut writer).await.unwrap() };
        let mut answers = Vec::new();
        let (echoed, read) = tokio::join!(echo, client.read_to_end(&mut answers));
        read.unwrap();
        assert_eq!((echoed, &answers[..]), (12, &b"one two and "[..]));
    });
}

#[test]
fn a_client_reaches_its_end_although_the_server_holds_its_stream() {
    for server_closes_first in [true, false] {
        on_tokio(async {
            let (mut client, mut server) = connected().await;
            let mut events = client.observe(ObserveConfig::default()).await.unwrap();
            let serve = async {
                if server_closes_first {
                    server.close().await.unwrap();
                }
                assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
                server
            };
            let end = async {
                if !server_closes_first {
                    client.close().await.unwrap();
                }
                assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
            };
            let (server, ()) = tokio::join!(serve, end);
            let mut told = Vec::new();
            while let Some(event) = events.next().await {
                told.push(in_words(&event));
            }
            assert_eq!(told, ["close", "closed"]);
            drop(server);
        });
    }
}

#[test]
fn a_peer_that_does_not_read_blocks_the_writer_after_a_bounded_number_of_bytes() {
    on_tokio(async {
        let (mut client, mut server) = connected().await;
        let mut written = 0;
        let write = async {
            loop {
                written += client.write(&vec![1; 64 * 1024]).await.unwrap();
                assert!(written < 64 * MIB, "nothing holds the writer up");
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(300), write).await.is_err());
        let mut rest = vec![0; written];
        let (flushed, read) = tokio::join!(client.flush(), server.read_exact(&mut rest));
        flushed.unwrap();
        read.unwrap();
    });
}

/// A client that breaks a rule, goes on sending, and only then looks what it was sent.
fn sends_on_after(offence: &[u8]) -> (Vec<String>, Vec<u8>) {
    let (mut server, mut client) = server_and_bare_client();
    let offence = offence.to_vec();
    let peer = thread::spawn(move || {
        client.write_all(&offence).unwrap();
        let message = frame(Role::Server, true, BINARY, &vec![0; MIB]);
        for _ in 0..8 {
            client.write_all(&message).unwrap();
        }
        thread::sleep(Duration::from_millis(100));
        let mut sent = Vec::new();
        client.read_to_end(&mut sent).unwrap();
        sent
    });
    let told = smol::block_on(
        async {
            let mut events = server.observe(ObserveConfig::default()).await.unwrap();
            let mut data = Vec::new();
            server.read_to_end(&mut data).await.unwrap();
            assert!(data.is_empty());
            drop(server);
            events.by_ref().map(|event| in_words(&event)).collect::<Vec<_>>().await
        }
        .or(hangs()),
    );
    (told, peer.join().unwrap())
}

#[test]
fn the_close_frame_reaches_a_peer_that_is_still_sending() {
    let (told, sent) = sends_on_after(&frame(Role::Server, true, 0x3, b"offence"));
    assert_eq!(told, ["error: Protocol", "closed"]);
    let closes = parse(&sent, Role::Server);
    assert_eq!(closes.len(), 1);
    assert_eq!(closes[0].payload[..2], 1002_u16.to_be_bytes());
}

#[test]
fn the_close_frame_about_a_message_that_is_too_large_reaches_a_peer_that_is_still_sending_it() {
    // 17 MiB are announced, and never come to an end
    let header = [&[0x82, 0xFF][..], &(17 * MIB as u64).to_be_bytes(), &[0; 4]].concat();
    let (told, sent) = sends_on_after(&header);
    assert_eq!(told, ["error: Capacity", "closed"]);
    assert_eq!(parse(&sent, Role::Server)[0].payload[..2], 1009_u16.to_be_bytes());
}

#[test]
fn a_peer_that_sends_text_learns_why_it_is_refused() {
    on_tokio(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serve = async {
            let mut server = over_tokio::accept(listener.accept().await.unwrap().0).await.unwrap();
            assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
            server
        };
        let client = async {
            let tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            let client = over_tokio::connect(&format!("ws://{address}/"), tcp).await.unwrap();
            let mut client = client.into_inner();
            SinkExt::send(&mut client, Message::text("hi")).await.unwrap();
            let Message::Close(Some(frame)) = client.next().await.unwrap().unwrap() else {
                panic!("not a close frame");
            };
            assert_eq!(frame.code, CloseCode::Unsupported);
            assert!(client.next().await.is_none(), "the server ends the transport");
        };
        tokio::join!(serve, client);
    });
}

#[test]
fn a_peer_that_is_gone_is_an_error_of_the_transport_or_a_missing_close_frame() {
    let (mut server, client) = server_and_bare_client();
    smol::block_on(
        async {
            // the bytes that the client does not read turn its end into a reset
            server.write_all(b"unread").await.unwrap();
            let mut events = server.observe(ObserveConfig::default()).await.unwrap();
            smol::Timer::after(Duration::from_millis(50)).await;
            drop(client);
            let error = server.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            let told: Vec<_> = events.by_ref().map(|event| in_words(&event)).collect().await;
            assert_eq!(told, ["error: Io(ConnectionReset)", "closed"]);
        }
        .or(hangs()),
    );
}

#[test]
fn what_arrived_before_the_peer_was_gone_can_be_read_after_a_write_failed() {
    let (mut server, mut client) = server_and_bare_client();
    smol::block_on(
        async {
            client.write_all(&frame(Role::Server, true, BINARY, b"first ")).unwrap();
            client.write_all(&frame(Role::Server, true, BINARY, b"second")).unwrap();
            drop(client);
            while server.write_all(&[0; 1000]).await.is_ok() {}
            let mut data = Vec::new();
            let _ = server.read_to_end(&mut data).await;
            assert_eq!(data, b"first second");
        }
        .or(hangs()),
    );
}

#[test]
fn a_text_flood_ends_both_halves_in_their_threads() {
    for _ in 0..20 {
        let (server, mut client) = server_and_bare_client();
        let peer = thread::spawn(move || {
            client.write_all(&frame(Role::Server, true, TEXT, b"hi")).unwrap();
            thread::sleep(Duration::from_millis(20));
            io::copy(&mut client, &mut io::sink()).unwrap();
        });
        let (mut read, mut write) = server.split();
        let writing = thread::spawn(move || {
            smol::block_on(
                async {
                    loop {
                        if let Err(error) = write.write_all(&vec![1; 64 * 1024]).await {
                            break error.kind();
                        }
                    }
                }
                .or(hangs()),
            )
        });
        let read = smol::block_on(async { read.read(&mut [0; 8]).await }.or(hangs()));
        assert_eq!(read.unwrap(), 0);
        assert_eq!(writing.join().unwrap(), io::ErrorKind::NotConnected);
        peer.join().unwrap();
    }
}
