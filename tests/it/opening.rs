//! Streams made of transports: with and without a handshake, on every runtime's transport.

use futures::{AsyncReadExt, AsyncWriteExt};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{
    TextMessages, Writes, WsConfig, WsStream, byte_stream_config, tungstenite,
};

use crate::support::{BINARY, Peer, ROLES, TEXT, Wire, now, read_all, socket, wire};

const KIB: usize = 1024;

fn open(role: Role, config: Option<WsConfig>) -> (WsStream<Wire>, Peer) {
    let (wire, peer) = wire(role);
    (now(WsStream::from_raw_socket(wire, role, config)), peer)
}

fn sizes(config: &WebSocketConfig) -> [Option<usize>; 3] {
    [Some(config.read_buffer_size), config.max_message_size, config.max_frame_size]
}

#[test]
fn a_stream_of_a_transport_has_the_config_for_byte_streams() {
    for role in ROLES {
        for config in [None, Some(WsConfig::new())] {
            let (ws, _peer) = open(role, config);
            let limit = Some(16 * KIB * KIB);
            assert_eq!(sizes(ws.get_ref().get_config()), [Some(20 * KIB), limit, limit]);
            assert_eq!(sizes(ws.get_ref().get_config()), sizes(&byte_stream_config()));
        }
    }
}

#[test]
fn another_config_can_be_given() {
    let config = byte_stream_config().max_message_size(Some(1000));
    let (mut ws, peer) = open(Role::Server, Some(WsConfig::new().websocket(config)));
    now(ws.write_all(&[1; 1500])).unwrap();
    let lengths: Vec<_> = peer.sent().iter().map(|frame| frame.payload.len()).collect();
    assert_eq!(lengths, [1000, 500]);
}

#[test]
fn the_other_choices_apply_too() {
    let config = WsConfig::new()
        .writes(Writes::Collect(KIB))
        .text_messages(TextMessages::PassBytes)
        .websocket(byte_stream_config());
    let (mut ws, peer) = open(Role::Server, Some(config));
    now(ws.write_all(b"not yet")).unwrap();
    assert!(peer.sent().is_empty());
    peer.send(TEXT, b"text");
    let mut text = [0; 4];
    now(ws.read_exact(&mut text)).unwrap();
    assert_eq!(&text, b"text");
}

#[test]
fn a_given_websocket_keeps_its_own_config() {
    let (ws, _peer) = socket(Role::Server, None);
    let config = WsConfig::new().websocket(byte_stream_config());
    let ws = WsStream::with_config(ws, config);
    assert_eq!(sizes(ws.get_ref().get_config()), sizes(&WebSocketConfig::default()));
}

#[test]
fn what_was_read_behind_the_handshake_comes_first() {
    for role in ROLES {
        let (wire, peer) = wire(role);
        let part = peer.frame(BINARY, b"hello ");
        peer.binary(b"world");
        peer.close_frame(1000, "");
        peer.end();
        let mut ws = now(WsStream::from_partially_read(wire, part, role, None));
        let (data, end) = read_all(&mut ws);
        end.unwrap();
        assert_eq!(data, b"hello world");
    }
}

#[test]
#[should_panic(expected = "max_write_buffer_size")]
fn a_config_that_tungstenite_does_not_accept_panics() {
    let config = byte_stream_config().write_buffer_size(10).max_write_buffer_size(10);
    drop(open(Role::Client, Some(WsConfig::new().websocket(config))));
}

#[cfg(feature = "handshake")]
#[expect(clippy::result_large_err, reason = "tungstenite says what a callback returns")]
mod handshake {
    use async_tungstenite::tokio::TokioAdapter;
    use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
    use tokio_util::compat::TokioAsyncReadCompatExt;
    use tungstenite::{
        Error,
        client::IntoClientRequest,
        http::{HeaderValue, Request, Response, StatusCode},
    };
    use ws_stream_tungstenite::{WsConfig, WsStream, byte_stream_config};

    use super::{sizes, tungstenite};

    const URL: &str = "ws://localhost/path";

    /// Sends a question and an answer, and closes.
    async fn converse<C, S>(mut client: WsStream<C>, mut server: WsStream<S>)
    where
        C: AsyncRead + AsyncWrite + Unpin,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut buf = [0; 8];
        client.write_all(b"question").await.unwrap();
        server.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"question");
        server.write_all(b"answer").await.unwrap();
        server.close().await.unwrap();
        let mut answer = Vec::new();
        let read = server.read_to_end(&mut answer);
        let mut rest = Vec::new();
        let (ours, theirs) = futures::join!(client.read_to_end(&mut rest), read);
        ours.unwrap();
        theirs.unwrap();
        assert_eq!(rest, b"answer");
    }

    #[tokio::test]
    async fn over_tokio() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tcp = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (client, server) =
            tokio::join!(WsStream::connect(URL, TokioAdapter::new(tcp), None), async {
                let (tcp, _) = listener.accept().await.unwrap();
                WsStream::accept(TokioAdapter::new(tcp), None).await
            });
        let (client, response) = client.unwrap();
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        converse(client, server.unwrap()).await;
    }

    #[tokio::test]
    async fn over_whatever_is_made_compatible() {
        let (ours, theirs) = tokio::io::duplex(1000);
        let (client, server) = tokio::join!(
            WsStream::connect(URL, ours.compat(), None),
            WsStream::accept(theirs.compat(), None)
        );
        converse(client.unwrap().0, server.unwrap()).await;
    }

    #[test]
    fn over_smol() {
        smol::block_on(async {
            let listener = smol::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let tcp = smol::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let accept = async {
                let (tcp, _) = listener.accept().await.unwrap();
                WsStream::accept(tcp, None).await
            };
            let (client, server) = futures::join!(WsStream::connect(URL, tcp, None), accept);
            converse(client.unwrap().0, server.unwrap()).await;
        });
    }

    #[tokio::test]
    async fn the_config_is_that_for_byte_streams_or_the_given_one() {
        let given = byte_stream_config().read_buffer_size(4096);
        for config in [byte_stream_config(), given] {
            let (ours, theirs) = tokio::io::duplex(1000);
            let choices = Some(WsConfig::new().websocket(config));
            let (client, server) = tokio::join!(
                WsStream::connect(URL, ours.compat(), choices.clone()),
                WsStream::accept(theirs.compat(), choices)
            );
            for ws in [client.unwrap().0.get_ref(), server.unwrap().get_ref()] {
                assert_eq!(sizes(ws.get_config()), sizes(&config));
            }
        }
    }

    #[tokio::test]
    async fn a_callback_sees_the_request_and_adds_headers() {
        let (ours, theirs) = tokio::io::duplex(1000);
        let mut request = URL.into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static("bytes"));
        let callback = |request: &Request<()>, mut response: Response<()>| {
            assert_eq!(request.uri().path(), "/path");
            let protocol = request.headers()["Sec-WebSocket-Protocol"].clone();
            response.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
            Ok(response)
        };
        let (client, server) = tokio::join!(
            WsStream::connect(request, ours.compat(), None),
            WsStream::accept_hdr(theirs.compat(), callback, None)
        );
        let (client, response) = client.unwrap();
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "bytes");
        converse(client, server.unwrap()).await;
    }

    #[tokio::test]
    async fn a_callback_that_refuses_is_an_error_at_both_ends() {
        let (ours, theirs) = tokio::io::duplex(1000);
        let refuse = |_: &Request<()>, _: Response<()>| {
            Err(Response::builder().status(StatusCode::FORBIDDEN).body(None).unwrap())
        };
        let (client, server) = tokio::join!(
            WsStream::connect(URL, ours.compat(), None),
            WsStream::accept_hdr(theirs.compat(), refuse, None)
        );
        for error in [client.unwrap_err(), server.unwrap_err()] {
            let Error::Http(response) = error else { panic!("{error}") };
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
        }
    }

    #[tokio::test]
    async fn who_does_not_ask_for_a_websocket_is_refused() {
        use tokio::io::AsyncWriteExt;

        let (mut ours, theirs) = tokio::io::duplex(1000);
        ours.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let error = WsStream::accept(theirs.compat(), None).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
    }
}
