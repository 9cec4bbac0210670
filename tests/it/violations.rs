//! What is sent, told and read when the peer breaks the rules.

use std::io::ErrorKind;

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::tungstenite;

use crate::support::{
    BINARY, CLOSE, CONTINUATION, Cause, PING, Peer, ROLES, Step, TEXT, close_payload, connect,
    fill, frame, now, observe, read_all, run, server, told,
};

/// What the peer gets to see, what observers are told, and that reading ends where it should.
#[track_caller]
fn assert_refused(
    role: Role,
    offence: impl Fn(&Peer) -> Vec<u8>,
    code: u16,
    reason: Option<&str>,
    event: &str,
) {
    let config = WebSocketConfig::default().max_frame_size(Some(1000)).max_message_size(Some(1500));
    let (mut ws, peer) = connect(role, Some(config));
    let mut events = observe(&mut ws);
    peer.binary(b"before");
    peer.raw(offence(&peer));
    peer.binary(b"after");
    peer.steps([Step::Pending]);
    peer.binary(b"and later");
    peer.end();
    let (data, result) = read_all(&mut ws);
    assert_eq!(data, b"before", "nothing behind the offence is delivered");
    assert!(result.is_ok());
    let closes = peer.sent_closes();
    assert_eq!(closes.len(), 1);
    assert_eq!(closes[0].0, Some(code));
    assert!(!closes[0].1.is_empty());
    assert_eq!(closes[0].1, reason.unwrap_or(&closes[0].1));
    assert_eq!(told(&mut events), [event, "closed"]);
    assert_eq!(now(ws.write(b"late")).unwrap_err().kind(), ErrorKind::NotConnected);
    assert!(now(ws.flush()).is_ok());
    assert!(now(ws.close()).is_ok());
    assert_eq!(peer.sent_closes().len(), 1);
}

#[test]
fn text_is_refused_with_1003() {
    let reason = Some("Text messages are not supported.");
    for role in ROLES {
        assert_refused(role, |peer| peer.frame(TEXT, b"hi"), 1003, reason, "error: ReceivedText");
        assert_refused(role, |peer| peer.frame(TEXT, b""), 1003, reason, "error: ReceivedText");
        let fragments =
            |peer: &Peer| [peer.fragment(TEXT, b"h"), peer.frame(CONTINUATION, b"i")].concat();
        assert_refused(role, fragments, 1003, reason, "error: ReceivedText");
    }
}

#[test]
fn text_that_is_not_utf_8_is_refused_with_1007() {
    for role in ROLES {
        assert_refused(role, |peer| peer.frame(TEXT, b"\xff"), 1007, None, "error: Utf8");
    }
}

#[test]
fn a_close_reason_that_is_not_utf_8_is_refused_with_1007() {
    for role in ROLES {
        let offence =
            |peer: &Peer| peer.frame(CLOSE, &[&close_payload(1000, "")[..], b"\xff"].concat());
        assert_refused(role, offence, 1007, None, "error: Utf8");
    }
}

#[test]
fn protocol_violations_are_refused_with_1002() {
    type Offence = fn(&Peer) -> Vec<u8>;
    let offences: [(&str, Offence); 8] = [
        ("a reserved bit", |peer| with_bits(0x40, peer.frame(BINARY, b"x"))),
        ("a reserved data opcode", |peer| peer.frame(0x3, b"x")),
        ("a reserved control opcode", |peer| peer.frame(0xB, b"x")),
        ("a fragmented control frame", |peer| peer.fragment(PING, b"x")),
        ("an oversize control frame", |peer| peer.frame(PING, &[0; 126])),
        ("a stray continuation", |peer| peer.frame(CONTINUATION, b"x")),
        ("a close frame with one byte", |peer| peer.frame(CLOSE, b"x")),
        ("a message inside a message", |peer| {
            [peer.fragment(BINARY, b"x"), peer.frame(BINARY, b"y")].concat()
        }),
    ];
    for role in ROLES {
        for (name, offence) in offences {
            eprintln!("{role:?}: {name}");
            assert_refused(role, offence, 1002, None, "error: Protocol");
        }
    }
}

#[test]
fn the_mask_must_fit_the_role() {
    let unmasked = |_: &Peer| frame(Role::Client, true, BINARY, b"x");
    assert_refused(Role::Server, unmasked, 1002, None, "error: Protocol");
    let masked = |_: &Peer| frame(Role::Server, true, BINARY, b"x");
    assert_refused(Role::Client, masked, 1002, None, "error: Protocol");
}

#[test]
fn what_is_over_a_size_limit_is_refused_with_1009() {
    for role in ROLES {
        let frame = |peer: &Peer| peer.frame(BINARY, &[0; 1001]);
        assert_refused(role, frame, 1009, None, "error: Capacity");
        let message = |peer: &Peer| {
            [peer.fragment(BINARY, &[0; 900]), peer.frame(CONTINUATION, &[0; 900])].concat()
        };
        assert_refused(role, message, 1009, None, "error: Capacity");
    }
}

#[test]
fn a_transport_error_is_returned_once_with_its_source() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        peer.binary(b"before");
        peer.steps([Step::Error(ErrorKind::TimedOut)]);
        peer.binary(b"after");
        let (data, result) = read_all(&mut ws);
        assert_eq!(data, b"before");
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.get_ref().unwrap().is::<Cause>());
        assert_eq!(read_all(&mut ws).0, b"");
        assert_eq!(told(&mut events), ["error: Io(TimedOut)", "closed"]);
        assert!(peer.sent_closes().is_empty());
        assert_eq!(now(ws.write(b"late")).unwrap_err().kind(), ErrorKind::NotConnected);
    }
}

#[test]
fn after_text_the_peers_answer_ends_the_stream() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        peer.send(TEXT, b"hi");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        assert_eq!(peer.sent_closes().len(), 1, "the close frame does not wait");
        peer.binary(b"crossed it");
        peer.close_frame(1003, "as you say");
        if role == Role::Client {
            peer.end();
        }
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        let told = told(&mut events);
        assert_eq!(told, ["error: ReceivedText", "close 1003 \"as you say\"", "closed"]);
        assert!(peer.is_shut_down());
    }
}

#[test]
fn a_violation_after_our_close_frame_ends_the_stream_without_another() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        now(ws.close()).unwrap();
        peer.binary(b"fine");
        peer.send(0x3, b"not fine");
        peer.end();
        assert_eq!(read_all(&mut ws).0, b"fine");
        assert_eq!(told(&mut events), ["error: Protocol", "closed"]);
        assert_eq!(peer.sent_closes(), [(None, String::new())]);
    }
}

#[test]
fn data_after_the_peers_close_frame_is_told_to_a_client_and_not_delivered() {
    let (mut ws, peer) = connect(Role::Client, None);
    let mut events = observe(&mut ws);
    peer.close_frame(1000, "");
    peer.binary(b"too late");
    peer.end();
    assert_eq!(read_all(&mut ws).0, b"");
    assert_eq!(told(&mut events), ["close 1000 \"\"", "error: Protocol", "closed"]);
}

#[test]
fn the_event_is_told_although_the_close_frame_is_stuck() {
    for offence in [TEXT, 0x3] {
        let (mut ws, peer) = server(None);
        let mut events = observe(&mut ws);
        peer.block();
        now(ws.write(b"stuck")).unwrap();
        peer.send(offence, b"x");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        let error = if offence == TEXT { "error: ReceivedText" } else { "error: Protocol" };
        assert_eq!(told(&mut events), [error]);
        peer.unblock();
        peer.end();
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        assert_eq!(peer.sent_closes().len(), 1);
        assert_eq!(told(&mut events), ["closed"]);
    }
}

#[test]
fn what_still_arrives_is_discarded_until_the_peer_ends() {
    let (mut ws, peer) = server(None);
    peer.send(0x3, b"offence");
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert!(peer.is_shut_down(), "the peer may wait for our end before it ends");
    for _ in 0..100 {
        peer.raw(vec![0xAB; 10_000]);
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    }
    peer.end();
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
}

#[test]
fn what_still_arrives_is_discarded_although_the_close_frame_is_stuck() {
    let (mut ws, peer) = server(None);
    peer.block();
    peer.send(0x3, b"offence");
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    let reads = peer.calls().reads;
    peer.raw(vec![0xAB; 10_000]);
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert!(peer.calls().reads > reads);
    peer.end();
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none(), "the close frame has to leave");
    peer.unblock();
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
    assert_eq!(peer.sent_closes().len(), 1);
}

#[test]
fn no_more_than_16_mib_are_discarded() {
    const MIB: usize = 1024 * 1024;
    for offence in [TEXT, 0x3] {
        for blocked in [true, false] {
            let (mut ws, peer) = server(None);
            if blocked {
                peer.block();
            }
            peer.send(offence, b"offence");
            let mut discarded = 0;
            while ws.read(&mut [0; 8]).now_or_never().is_none() {
                assert!(discarded <= 17 * MIB);
                discarded += MIB;
                peer.binary(&vec![0; MIB]);
            }
            assert!(discarded >= 16 * MIB, "{discarded} bytes");
        }
    }
}

#[test]
fn a_violation_wakes_a_writer_that_is_blocked() {
    for offence in [TEXT, 0x3] {
        let (mut ws, peer) = server(None);
        fill(&mut ws, &peer);
        let (waker, wakes) = futures_test::task::new_count_waker();
        let mut more = Box::pin(ws.write(b"more"));
        assert!(more.poll_unpin(&mut std::task::Context::from_waker(&waker)).is_pending());
        drop(more);
        peer.send(offence, b"x");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        assert_eq!(wakes.get(), 1);
        assert_eq!(now(ws.write(b"more")).unwrap_err().kind(), ErrorKind::NotConnected);
    }
}

#[test]
fn the_close_frame_leaves_out_its_reason_where_the_config_has_no_room_for_it() {
    for (room, code) in [(8, Some(1003)), (7, None)] {
        for role in ROLES {
            let config =
                WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(room);
            let (mut ws, peer) = connect(role, Some(config));
            peer.send(TEXT, b"hi");
            peer.end();
            assert_eq!(run(ws.read(&mut [0; 8])).unwrap(), 0);
            assert_eq!(peer.sent_closes(), [(code, String::new())]);
        }
    }
}

fn with_bits(bits: u8, mut frame: Vec<u8>) -> Vec<u8> {
    frame[0] |= bits;
    frame
}

#[test]
fn the_close_frame_leaves_although_the_peer_ended_its_side_while_it_was_stuck() {
    for role in ROLES {
        for offence in [TEXT, 0x3] {
            let (mut ws, peer) = connect(role, None);
            peer.block();
            now(ws.write(b"stuck")).unwrap();
            peer.send(offence, b"x");
            peer.end();
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            peer.unblock();
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
            assert_eq!(peer.sent_closes().len(), 1);
        }
    }
}

#[test]
fn pings_after_text_that_cannot_be_answered_end_in_end_of_file() {
    let (mut ws, peer) = server(None);
    let mut events = observe(&mut ws);
    peer.fail_writes(ErrorKind::BrokenPipe);
    peer.send(TEXT, b"hi");
    peer.raw(peer.frame(PING, &[0; 125]).repeat(2000));
    peer.end();
    assert!(read_all(&mut ws).1.is_ok());
    let told = told(&mut events);
    assert_eq!(told, ["error: Io(BrokenPipe)", "error: ReceivedText", "closed"]);
}
