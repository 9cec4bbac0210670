//! `WsConfig`, except for when data leaves.

use std::{error::Error, io, io::ErrorKind};

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{TextMessages, UncleanEnd, WsConfig, WsErr, pharos, tungstenite};

use crate::{
    backend::WsStream,
    support::{
        BINARY, CONTINUATION, PING, PONG, Peer, ROLES, Step, TEXT, Wire, connect_with, now,
        observe, read_all, socket, told,
    },
};

fn passing_text(role: Role) -> (WsStream<Wire>, Peer) {
    connect_with(role, WsConfig::new().text_messages(TextMessages::PassBytes))
}

fn strict(role: Role) -> (WsStream<Wire>, Peer) {
    connect_with(role, WsConfig::new().unclean_end(UncleanEnd::Error))
}

/// The cause inside what a strict stream returns.
fn cause(error: &io::Error) -> &WsErr {
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    let inner = error.get_ref().unwrap().downcast_ref().unwrap();
    assert!(matches!(inner, WsErr::UncleanEnd { .. }));
    error.source().unwrap().downcast_ref().unwrap()
}

#[test]
fn text_is_read_as_bytes_if_chosen() {
    for role in ROLES {
        let (mut ws, peer) = passing_text(role);
        let mut events = observe(&mut ws);
        peer.send(TEXT, "grüß dich, ".as_bytes());
        peer.send(TEXT, b"");
        peer.binary(b"binary, ");
        peer.raw(peer.fragment(TEXT, b"frag"));
        peer.send(PING, b"?");
        peer.send(CONTINUATION, b"ments");
        peer.close_frame(1000, "");
        peer.end();
        let (data, result) = read_all(&mut ws);
        assert_eq!(String::from_utf8(data).unwrap(), "grüß dich, binary, fragments");
        result.unwrap();
        assert_eq!(told(&mut events), ["ping ?", "close 1000 \"\"", "closed"]);
        assert_eq!(ws.meta().counters().messages_received, 4);
        assert_eq!(ws.meta().counters().bytes_received, 30);
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_even_so() {
    let (mut ws, peer) = passing_text(Role::Client);
    let mut events = observe(&mut ws);
    peer.send(TEXT, b"\xFF");
    peer.end();
    assert_eq!(read_all(&mut ws).0, b"");
    assert_eq!(told(&mut events), ["error: Utf8", "closed"]);
    assert_eq!(peer.sent_closes()[0].0, Some(1007));
}

#[test]
fn what_is_written_leaves_as_binary_messages_even_so() {
    let (mut ws, peer) = passing_text(Role::Client);
    peer.send(TEXT, b"text");
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 4);
    now(ws.write(b"text")).unwrap();
    assert_eq!(peer.sent()[0].opcode, BINARY);
}

#[test]
fn a_missing_close_frame_is_an_unexpected_eof_if_chosen() {
    for role in ROLES {
        let (mut ws, peer) = strict(role);
        let mut events = observe(&mut ws);
        peer.binary(b"all of this, and then");
        peer.end();
        let (data, result) = read_all(&mut ws);
        assert_eq!(data, b"all of this, and then");
        assert!(matches!(cause(&result.unwrap_err()), WsErr::MissingCloseFrame));
        assert_eq!(told(&mut events), ["error: MissingCloseFrame", "closed"]);
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0, "the error comes once");
    }
}

#[test]
fn a_missing_answer_to_our_close_frame_is_one_too() {
    let (mut ws, peer) = strict(Role::Client);
    now(ws.close()).unwrap();
    peer.end();
    assert!(matches!(cause(&read_all(&mut ws).1.unwrap_err()), WsErr::MissingCloseFrame));
}

#[test]
fn a_violation_is_an_unexpected_eof_with_its_cause_if_chosen() {
    type IsCause = fn(&WsErr) -> bool;
    let limits = WebSocketConfig::default().max_message_size(Some(100));
    let cases: [(u8, &[u8], IsCause); 4] = [
        (0x3, b"", |error| matches!(error, WsErr::Protocol)),
        (TEXT, b"text", |error| matches!(error, WsErr::ReceivedText)),
        (TEXT, b"\xFF", |error| {
            matches!(error, WsErr::Tungstenite { source: tungstenite::Error::Utf8(_) })
        }),
        (BINARY, &[0; 101], |error| {
            matches!(error, WsErr::Tungstenite { source: tungstenite::Error::Capacity(_) })
        }),
    ];
    for role in ROLES {
        for (opcode, payload, is_cause) in cases {
            let (socket, peer) = socket(role, Some(limits));
            let config = WsConfig::new().unclean_end(UncleanEnd::Error);
            let mut ws = WsStream::with_config(socket, config);
            peer.binary(b"before");
            peer.send(opcode, payload);
            peer.binary(b"after");
            peer.end();
            let (data, result) = read_all(&mut ws);
            assert_eq!(data, b"before");
            assert!(is_cause(cause(&result.unwrap_err())));
            assert_eq!(peer.sent_closes().len(), 1);
        }
    }
}

#[test]
fn a_text_message_is_an_unexpected_eof_although_the_peer_then_closes() {
    let (mut ws, peer) = strict(Role::Client);
    peer.send(TEXT, b"text");
    peer.close_frame(1003, "");
    peer.end();
    assert!(matches!(cause(&read_all(&mut ws).1.unwrap_err()), WsErr::ReceivedText));
}

#[test]
fn a_stream_that_was_closed_is_whole_whatever_follows() {
    for role in ROLES {
        let (mut ws, peer) = strict(role);
        peer.binary(b"data");
        peer.close_frame(1011, "trouble");
        peer.raw(peer.frame(0x3, b""));
        peer.end();
        let (data, result) = read_all(&mut ws);
        assert_eq!(data, b"data");
        result.unwrap();
    }
}

#[test]
fn an_error_of_the_transport_is_returned_as_it_is_even_so() {
    let (mut ws, peer) = strict(Role::Client);
    peer.steps([Step::Error(ErrorKind::ConnectionReset)]);
    let error = read_all(&mut ws).1.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(error.get_ref().unwrap().is::<crate::support::Cause>());
}

#[test]
fn an_unclean_end_waits_for_observers_like_any_other() {
    let (mut ws, peer) = strict(Role::Client);
    let bounded = pharos::Channel::Bounded(1).into();
    let mut events = now(pharos::Observable::observe(&mut ws, bounded)).unwrap();
    peer.raw(peer.frame(PONG, b"").repeat(5));
    peer.end();
    let mut seen = Vec::new();
    let error = loop {
        match ws.read(&mut [0; 8]).now_or_never() {
            Some(result) => break result.unwrap_err(),
            None => seen.push(now(events.next()).unwrap()),
        }
    };
    assert!(matches!(cause(&error), WsErr::MissingCloseFrame));
    assert!(seen.len() >= 5);
}

#[test]
#[cfg(feature = "tokio_io")]
fn a_codec_does_not_take_a_stream_that_was_cut_off_for_a_whole_one() {
    use tokio_util::codec::{FramedRead, LinesCodec};

    let lines = |unclean_end| {
        let (ws, peer) = connect_with(Role::Client, WsConfig::new().unclean_end(unclean_end));
        peer.binary(b"one line\nhalf of anoth");
        peer.end();
        let results: Vec<_> = now(FramedRead::new(ws, LinesCodec::new()).collect());
        results.into_iter().map(Result::ok).collect::<Vec<_>>()
    };
    let (whole, half) = (Some("one line".into()), Some("half of anoth".into()));
    assert_eq!(lines(UncleanEnd::EndOfFile), [whole.clone(), half]);
    assert_eq!(lines(UncleanEnd::Error)[..2], [whole, None]);
}

#[test]
fn messages_are_as_large_as_chosen() {
    for role in ROLES {
        for size in [1, 100, 70_000, 1_000_000] {
            let (mut ws, peer) = connect_with(role, WsConfig::new().max_message(size));
            let data = vec![1; 2 * size + 1];
            assert_eq!(now(ws.write(&data)).unwrap(), size);
            now(ws.write_all(&data[size..])).unwrap();
            now(ws.flush()).unwrap();
            let sizes: Vec<_> = peer.sent().iter().map(|frame| frame.payload.len()).collect();
            assert_eq!(sizes, [size, size, 1]);
        }
    }
}

#[test]
fn a_large_message_waits_until_the_one_before_it_has_left() {
    let (mut ws, peer) = connect_with(Role::Client, WsConfig::new().max_message(1_000_000));
    peer.block();
    assert_eq!(now(ws.write(&vec![1; 1_000_000])).unwrap(), 1_000_000);
    assert!(ws.write(&vec![1; 1_000_000]).now_or_never().is_none());
    peer.unblock();
    assert_eq!(now(ws.write(&vec![1; 1_000_000])).unwrap(), 1_000_000);
}

#[test]
fn messages_keep_to_the_limits_of_the_websocket_even_so() {
    let limits = WebSocketConfig::default().max_message_size(Some(100));
    let (socket, _peer) = socket(Role::Client, Some(limits));
    let mut ws = WsStream::with_config(socket, WsConfig::new().max_message(1000));
    assert_eq!(now(ws.write(&[1; 1000])).unwrap(), 100);
}

#[test]
fn messages_of_zero_bytes_are_an_invalid_input() {
    let (mut ws, _peer) = connect_with(Role::Client, WsConfig::new().max_message(0));
    assert_eq!(now(ws.write(b"data")).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_plain_close_sends_the_chosen_code_and_reason() {
    for role in ROLES {
        let config = WsConfig::new().close_frame(1001, "going away").unwrap();
        let (mut ws, peer) = connect_with(role, config);
        now(ws.close()).unwrap();
        assert_eq!(peer.sent_closes(), [(Some(1001), "going away".into())]);
    }
}

#[test]
#[cfg(feature = "tokio_io")]
fn so_does_a_shutdown_through_the_tokio_traits() {
    let config = WsConfig::new().close_frame(1001, "going away").unwrap();
    let (mut ws, peer) = connect_with(Role::Client, config);
    now(tokio::io::AsyncWriteExt::shutdown(&mut ws)).unwrap();
    assert_eq!(peer.sent_closes(), [(Some(1001), "going away".into())]);
}

#[test]
fn other_close_frames_are_not_changed_by_that() {
    let config = WsConfig::new().close_frame(1001, "going away").unwrap();
    let (mut ws, peer) = connect_with(Role::Client, config.clone());
    assert!(ws.meta().close(4000, "a handle").now_or_never().is_none());
    now(ws.close()).unwrap();
    assert_eq!(peer.sent_closes(), [(Some(4000), "a handle".into())]);

    let (mut ws, peer) = connect_with(Role::Client, config.clone());
    peer.send(TEXT, b"text");
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(peer.sent_closes()[0].0, Some(1003));

    let (mut ws, peer) = connect_with(Role::Client, config);
    peer.close_frame(1000, "");
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(peer.sent_closes()[0].0, Some(1000));
}

#[test]
fn a_close_frame_that_must_not_be_sent_is_refused() {
    let refused = |code, reason| WsConfig::new().close_frame(code, reason).unwrap_err();
    assert!(matches!(refused(1005, ""), WsErr::InvalidCloseCode { supplied: 1005 }));
    assert!(matches!(refused(1000, &"x".repeat(124)), WsErr::ReasonTooLong { length: 124 }));
}
