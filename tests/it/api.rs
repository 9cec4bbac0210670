//! The public API: names, bounds, accessors, errors.

use std::{error::Error, io, sync::Arc};

use futures::{
    AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, SinkExt,
};
use pharos::Observable;
use tungstenite::{
    Bytes, Message,
    error::{CapacityError, ProtocolError},
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use ws_stream_tungstenite::{WsErr, WsEvent, pharos, tungstenite};

use crate::{
    backend::{OverTokio, WebSocketStream, WsStream},
    support::{PING, Wire, client, now, server},
};

fn assert_stream<T>()
where
    T: AsyncRead + AsyncBufRead + AsyncWrite + Observable<WsEvent, Error = WsErr>,
    T: std::fmt::Debug + Send + Sync + Unpin + 'static,
{
}

#[test]
fn the_stream_has_its_traits() {
    assert_stream::<WsStream<Wire>>();
    assert_stream::<OverTokio<tokio::net::TcpStream>>();
    assert_stream::<WsStream<smol::net::TcpStream>>();
}

#[test]
fn a_transport_need_not_be_send() {
    struct NotSend(Wire, #[allow(dead_code)] std::rc::Rc<()>);
    fn takes<S: AsyncRead + AsyncWrite + Unpin>(_: fn(WebSocketStream<S>) -> WsStream<S>) {}

    impl AsyncRead for NotSend {
        fn poll_read(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &mut [u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for NotSend {
        fn poll_write(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
            buf: &[u8],
        ) -> std::task::Poll<io::Result<usize>> {
            std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
        }

        fn poll_flush(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_flush(cx)
        }

        fn poll_close(
            mut self: std::pin::Pin<&mut Self>,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<io::Result<()>> {
            std::pin::Pin::new(&mut self.0).poll_close(cx)
        }
    }

    takes::<NotSend>(WsStream::new);
}

#[test]
fn events_can_be_matched_exhaustively_and_cloned() {
    let frame = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
    let events = [
        WsEvent::Error(Arc::new(WsErr::Protocol)),
        WsEvent::CloseFrame(Some(frame)),
        WsEvent::Ping(Bytes::from_static(b"1")),
        WsEvent::Pong(Bytes::from_static(b"2")),
        WsEvent::Closed,
    ];
    for event in events {
        match event.clone() {
            WsEvent::Error(error) => assert!(matches!(*error, WsErr::Protocol)),
            WsEvent::CloseFrame(frame) => assert_eq!(frame.unwrap().code, CloseCode::Normal),
            WsEvent::Ping(data) => assert_eq!(data, "1"),
            WsEvent::Pong(data) => assert_eq!(data, "2"),
            WsEvent::Closed => {}
        }
    }
}

#[test]
fn errors_of_tungstenite_become_ours() {
    type Check = fn(&WsErr) -> bool;
    use tungstenite::Error::{
        AlreadyClosed, Capacity, ConnectionClosed, Io, Protocol, Utf8, WriteBufferFull,
    };
    let too_long = CapacityError::MessageTooLong { size: 2, max_size: 1 };
    let table: [(tungstenite::Error, Check); 8] = [
        (ConnectionClosed, |e| matches!(e, WsErr::Closed)),
        (AlreadyClosed, |e| matches!(e, WsErr::Closed)),
        (Io(io::ErrorKind::Other.into()), |e| matches!(e, WsErr::Io { .. })),
        (Protocol(ProtocolError::UnexpectedContinueFrame), |e| matches!(e, WsErr::Protocol)),
        (Protocol(ProtocolError::ResetWithoutClosingHandshake), |e| {
            matches!(e, WsErr::MissingCloseFrame)
        }),
        (WriteBufferFull(Box::new(Message::Ping(Bytes::new()))), |e| {
            matches!(e, WsErr::NoRoomForData)
        }),
        (Capacity(too_long), |e| matches!(e, WsErr::Tungstenite { .. })),
        (Utf8("text".into()), |e| matches!(e, WsErr::Tungstenite { .. })),
    ];
    for (error, is_expected) in table {
        let name = format!("{error:?}");
        assert!(is_expected(&error.into()), "{name}");
    }
}

#[test]
fn errors_have_their_cause_as_source_and_do_not_repeat_it() {
    let cause = || io::Error::other("the cause");
    let error = WsErr::from(cause());
    assert_eq!(error.source().unwrap().to_string(), "the cause");
    assert!(!error.to_string().contains("the cause"));

    let error = WsErr::from(tungstenite::Error::Utf8("the cause".into()));
    assert!(error.source().unwrap().to_string().contains("the cause"));
    for error in [WsErr::Protocol, WsErr::ReceivedText, WsErr::Closed, WsErr::MissingCloseFrame] {
        assert!(error.source().is_none());
        let text = error.to_string();
        assert!(text.starts_with(|first: char| first.is_lowercase()) && !text.ends_with('.'));
    }
}

#[test]
fn debug_shows_the_state_and_no_data() {
    let (mut ws, peer) = client(None);
    peer.binary(b"secret");
    now(ws.read(&mut [0; 1])).unwrap();
    let shown = format!("{ws:?}");
    assert!(shown.contains("WsStream") && shown.contains("Chunk"), "{shown}");
    assert!(!shown.contains("ecret"), "{shown}");
}

#[test]
fn get_ref_shows_the_websocket() {
    let (ws, _peer) = client(None);
    assert_eq!(ws.get_ref().get_config().max_frame_size, Some(16 << 20));
}

#[test]
fn a_ping_through_get_mut_leaves_in_order() {
    let (mut ws, peer) = client(None);
    peer.block();
    now(ws.write(b"before")).unwrap();
    now(ws.get_mut().feed(Message::Ping(Bytes::from_static(b"?")))).ok();
    peer.unblock();
    now(ws.write(b"after")).unwrap();
    let opcodes: Vec<_> = peer.sent().iter().map(|frame| frame.opcode).collect();
    assert_eq!(opcodes, [0x2, PING, 0x2]);
}

#[test]
fn after_get_mut_the_transport_is_asked_again() {
    let (mut ws, peer) = client(None);
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    peer.hold_wakes(true);
    peer.binary(b"data");
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none(), "the transport has not called");
    ws.get_mut();
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 4);
}

#[test]
fn into_inner_gives_back_a_websocket_that_goes_on() {
    let (mut ws, peer) = server(None);
    peer.binary(b"read and unread");
    peer.binary(b"next");
    now(ws.read(&mut [0; 8])).unwrap();
    peer.block();
    now(ws.write(b"written")).unwrap();

    let mut socket = ws.into_inner();
    let next = now(futures::StreamExt::next(&mut socket)).unwrap().unwrap();
    assert_eq!(next, Message::Binary(Bytes::from_static(b"next")));
    peer.unblock();
    now(SinkExt::flush(&mut socket)).unwrap();
    assert_eq!(peer.sent_data(), b"written");
}
