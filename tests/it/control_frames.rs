//! Pings, pongs, and floods of them.

use std::io::ErrorKind;

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};

use crate::support::{
    BINARY, CONTINUATION, PING, PONG, ROLES, Sent, client, connect, now, observe, read_all, run,
    server, told,
};

fn pong(payload: &[u8]) -> Sent {
    Sent { opcode: PONG, payload: payload.to_vec() }
}

#[test]
fn a_ping_is_answered_and_told() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        peer.buffer();
        peer.send(PING, b"are you there?");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        assert_eq!(peer.sent(), [pong(b"are you there?")]);
        assert_eq!(told(&mut events), ["ping are you there?"]);
    }
}

#[test]
fn a_ping_inside_a_fragmented_message_is_answered_at_once() {
    let (mut ws, peer) = server(None);
    peer.raw(peer.fragment(BINARY, b"one "));
    peer.send(PING, b"?");
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(peer.sent(), [pong(b"?")]);
    peer.send(CONTINUATION, b"two");
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 7);
}

#[test]
fn a_pong_does_not_overtake_or_cut_a_message_that_is_half_out() {
    let (mut ws, peer) = client(None);
    peer.allow(10);
    now(ws.write(&[1; 100])).unwrap();
    peer.send(PING, b"?");
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    peer.unblock();
    now(ws.flush()).unwrap();
    assert_eq!(peer.sent(), [Sent { opcode: BINARY, payload: vec![1; 100] }, pong(b"?")]);
}

#[test]
fn a_flood_of_pings_needs_no_stack_and_no_memory() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.raw(peer.frame(PING, b"").repeat(100_000));
        peer.binary(b"data");
        let small_stack = std::thread::Builder::new().stack_size(128 * 1024);
        let flooded = move || assert_eq!(run(ws.read(&mut [0; 8])).unwrap(), 4);
        small_stack.spawn(flooded).unwrap().join().unwrap();
        assert_eq!(peer.sent().len(), 100_000);
    }
}

#[test]
fn pongs_that_cannot_leave_hold_up_reading_before_they_pile_up() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.block();
        let ping = peer.frame(PING, &[0; 125]);
        peer.raw(ping.repeat(10_000));
        peer.binary(b"data");
        assert!(run_until_stalled(&mut ws), "reading waits for the peer to take pongs");
        peer.unblock();
        assert_eq!(run(ws.read(&mut [0; 8])).unwrap(), 4);
        assert_eq!(peer.sent().len(), 10_000, "every ping is answered");
    }
}

/// Polls a read for as long as it wakes itself; `true` if it is then still pending.
fn run_until_stalled(ws: &mut crate::backend::WsStream<crate::support::Wire>) -> bool {
    let (waker, wakes) = futures_test::task::new_count_waker();
    let mut cx = std::task::Context::from_waker(&waker);
    loop {
        let before = wakes.get();
        if ws.read(&mut [0; 8]).poll_unpin(&mut cx).is_ready() {
            return false;
        }
        if wakes.get() == before {
            return true;
        }
    }
}

#[test]
fn pings_after_our_close_frame_do_not_end_reading_although_sending_fails() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        now(ws.close()).unwrap();
        peer.fail_writes(ErrorKind::BrokenPipe);
        peer.raw(peer.frame(PING, &[0; 125]).repeat(600));
        peer.binary(b"data");
        peer.close_frame(1000, "");
        peer.end();
        assert_eq!(read_all(&mut ws).0, b"data");
    }
}

#[test]
fn pings_that_cannot_be_answered_any_more_do_not_end_reading() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        peer.fail_writes(ErrorKind::BrokenPipe);
        peer.raw(peer.frame(PING, b"?").repeat(100));
        peer.binary(b"data");
        peer.close_frame(1000, "");
        peer.end();
        let (data, result) = read_all(&mut ws);
        assert_eq!(data, b"data");
        assert!(result.is_ok());
        let errors = told(&mut events).iter().filter(|event| event.starts_with("error")).count();
        assert_eq!(errors, 1, "the failure is told once");
    }
}

#[test]
fn endless_pings_that_cannot_be_answered_any_more_end_reading_with_the_cause() {
    let (mut ws, peer) = server(None);
    let mut events = observe(&mut ws);
    peer.fail_writes(ErrorKind::TimedOut);
    peer.raw(peer.frame(PING, &[0; 125]).repeat(10_000));
    let (_, result) = read_all(&mut ws);
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert_eq!(error.to_string(), "the cause");
    let told = told(&mut events);
    assert_eq!(told.iter().filter(|event| event.starts_with("error")).count(), 1);
}
