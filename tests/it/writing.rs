//! Bytes in, binary messages out.

use std::{
    io::{ErrorKind, IoSlice},
    pin::Pin,
    task::Context,
};

use futures::{AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt};
use futures_test::task::{new_count_waker, noop_context};

use crate::support::{
    BINARY, Calls, Cause, ROLES, Sent, Step, client, connect, fill, now, observe, read_all, run,
    server, told,
};

const KIB: usize = 1024;

fn message(payload: &[u8]) -> Sent {
    Sent { opcode: BINARY, payload: payload.to_vec() }
}

#[test]
fn each_write_is_one_binary_message() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        assert_eq!(now(ws.write(b"one")).unwrap(), 3);
        assert_eq!(now(ws.write(b"two")).unwrap(), 3);
        assert_eq!(peer.sent(), [message(b"one"), message(b"two")]);
    }
}

#[test]
fn a_write_leaves_without_being_flushed() {
    let (mut ws, peer) = client(None);
    peer.buffer();
    now(ws.write(b"request")).unwrap();
    assert_eq!(peer.sent(), [message(b"request")]);
}

#[test]
fn one_call_takes_at_most_64_kib() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let data = vec![7; 200 * KIB];
        assert_eq!(now(ws.write(&data)).unwrap(), 64 * KIB);
        now(ws.write_all(&data[64 * KIB..])).unwrap();
        let lengths: Vec<_> = peer.sent().iter().map(|frame| frame.payload.len()).collect();
        assert_eq!(lengths, [64 * KIB, 64 * KIB, 64 * KIB, 8 * KIB]);
    }
}

#[test]
fn an_empty_write_sends_nothing() {
    let (mut ws, peer) = client(None);
    assert_eq!(now(ws.write(b"")).unwrap(), 0);
    assert_eq!(now(ws.write_vectored(&[])).unwrap(), 0);
    assert_eq!(now(ws.write_vectored(&[IoSlice::new(b""), IoSlice::new(b"")])).unwrap(), 0);
    assert_eq!(peer.calls(), Calls::default());
}

#[test]
fn a_vectored_write_gathers_its_buffers_into_one_message() {
    let (mut ws, peer) = server(None);
    let bufs = [&b""[..], b"ab", b"", b"cde"].map(IoSlice::new);
    assert_eq!(now(ws.write_vectored(&bufs)).unwrap(), 5);
    assert_eq!(peer.sent(), [message(b"abcde")]);
}

#[test]
fn a_vectored_write_takes_a_part_of_a_buffer_where_the_limit_is() {
    let (mut ws, peer) = client(None);
    let large = vec![1; 40 * KIB];
    let bufs = [&large, &large, &large].map(|buf| IoSlice::new(buf));
    assert_eq!(now(ws.write_vectored(&bufs)).unwrap(), 64 * KIB);
    assert_eq!(peer.sent()[0].payload.len(), 64 * KIB);
}

#[test]
fn a_full_transport_makes_writes_pending_and_wakes_them_when_there_is_room() {
    let (mut ws, peer) = client(None);
    peer.block();
    let (waker, wakes) = new_count_waker();
    let cx = &mut Context::from_waker(&waker);
    let mut accepted = 0;
    while Pin::new(&mut ws).poll_write(cx, &[1; KIB]).is_ready() {
        accepted += KIB;
        assert!(accepted <= 128 * KIB, "what is accepted is bounded");
    }
    assert!(Pin::new(&mut ws).poll_flush(cx).is_pending());
    let before = wakes.get();
    peer.allow(100); // not enough for the message
    assert_eq!(wakes.get(), before + 1);
    assert!(Pin::new(&mut ws).poll_write(cx, &[2; KIB]).is_pending());
    peer.unblock();
    assert_eq!(wakes.get(), before + 2);
    assert!(Pin::new(&mut ws).poll_write(cx, &[2; KIB]).is_ready());
    assert_eq!(peer.sent_data(), [vec![1; accepted], vec![2; KIB]].concat());
}

#[test]
fn a_write_that_could_not_leave_at_once_wakes_its_task_when_it_can() {
    let (mut ws, peer) = client(None);
    peer.block();
    let (waker, wakes) = new_count_waker();
    now(ws.flush()).unwrap();
    let cx = &mut Context::from_waker(&waker);
    assert!(Pin::new(&mut ws).poll_write(cx, b"request").is_ready());
    assert_eq!(wakes.get(), 0);
    peer.unblock();
    assert_eq!(wakes.get(), 1);
}

#[test]
fn pending_takes_no_bytes() {
    let (mut ws, peer) = client(None);
    fill(&mut ws, &peer);
    for _ in 0..3 {
        assert!(ws.write(&[1; 1024]).now_or_never().is_none());
    }
    peer.unblock();
    now(ws.flush()).unwrap();
    assert!(peer.sent_data().iter().all(|byte| *byte == 0));
}

#[test]
fn what_could_not_leave_is_driven_by_a_reader_that_is_polled_next() {
    let (mut ws, peer) = client(None);
    peer.block();
    now(ws.write(b"request")).unwrap();
    let (waker, wakes) = new_count_waker();
    let mut buf = [0; 16];
    let mut answer = Box::pin(ws.read(&mut buf));
    assert!(answer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    peer.unblock();
    let woken = wakes.get();
    assert!(woken > 0, "the reader is woken to move the request on");
    assert!(answer.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(peer.sent(), [message(b"request")]);
    peer.binary(b"answer");
    assert!(wakes.get() > woken);
    assert_eq!(now(answer).unwrap(), 6);
}

#[test]
fn what_could_not_leave_is_driven_also_by_a_reader_that_has_data() {
    let (mut ws, peer) = client(None);
    peer.binary(b"a long message");
    now(ws.read(&mut [0; 1])).unwrap();
    peer.block();
    now(ws.write(b"request")).unwrap();
    peer.unblock();
    now(ws.read(&mut [0; 1])).unwrap();
    assert_eq!(peer.sent(), [message(b"request")]);
}

#[test]
fn a_flush_waits_for_the_transport_to_be_flushed() {
    let (mut ws, peer) = client(None);
    now(ws.flush()).unwrap();
    peer.buffer();
    peer.block_flush(true);
    now(ws.write(b"data")).unwrap();
    assert!(ws.flush().now_or_never().is_none());
    assert!(peer.sent().is_empty());
    peer.block_flush(false);
    now(ws.flush()).unwrap();
    assert_eq!(peer.sent(), [message(b"data")]);
}

#[test]
fn a_write_that_failed_ends_writing_but_not_reading() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        peer.binary(b"it arrived ");
        peer.send(crate::support::PING, b"?");
        peer.binary(b"before");
        peer.close_frame(1000, "");
        peer.end();
        peer.fail_writes(ErrorKind::BrokenPipe);

        let error = now(ws.write(b"lost")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert!(error.get_ref().unwrap().is::<Cause>(), "the transport's own error");
        assert_eq!(now(ws.write(b"more")).unwrap_err().kind(), ErrorKind::NotConnected);

        let (data, result) = read_all(&mut ws);
        assert_eq!(data, b"it arrived before");
        assert!(result.is_ok());
        let told = told(&mut events);
        assert_eq!(told, ["error: Io(BrokenPipe)", "ping ?", "close 1000 \"\"", "closed"]);
    }
}

#[test]
fn a_failure_that_only_the_reader_met_is_told_to_the_writer() {
    let (mut ws, peer) = client(None);
    peer.block();
    now(ws.write(b"lost")).unwrap();
    peer.fail_writes(ErrorKind::BrokenPipe);
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(now(ws.flush()).unwrap_err().kind(), ErrorKind::BrokenPipe);
    assert_eq!(now(ws.write(b"more")).unwrap_err().kind(), ErrorKind::NotConnected);
    assert!(now(ws.close()).is_ok());
}

#[test]
fn a_reader_that_fails_fails_what_is_unflushed() {
    let (mut ws, peer) = client(None);
    peer.block();
    now(ws.write(b"lost")).unwrap();
    peer.steps([Step::Error(ErrorKind::TimedOut)]);
    assert_eq!(run(ws.read(&mut [0; 8])).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(now(ws.flush()).unwrap_err().kind(), ErrorKind::TimedOut);
}

#[test]
fn what_was_written_is_still_flushed_when_the_peer_has_ended_its_side() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.block();
        now(ws.write(b"data")).unwrap();
        peer.end();
        assert_eq!(run(ws.read(&mut [0; 8])).unwrap(), 0);
        assert_eq!(now(ws.write(b"more")).unwrap_err().kind(), ErrorKind::NotConnected);
        peer.unblock();
        now(ws.flush()).unwrap();
        assert_eq!(peer.sent(), [message(b"data")]);
    }
}

#[test]
fn a_message_is_cut_by_the_transport_without_losing_bytes() {
    let (mut ws, peer) = client(None);
    let data: Vec<_> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    let mut written = 0;
    while written < data.len() {
        peer.allow(1013);
        if let Some(length) = ws.write(&data[written..]).now_or_never() {
            written += length.unwrap();
        }
    }
    peer.unblock();
    now(ws.flush()).unwrap();
    assert_eq!(peer.sent_data(), data);
}

#[test]
fn small_messages_that_cannot_leave_at_once_leave_together() {
    let (mut ws, peer) = client(None);
    fill(&mut ws, &peer);
    peer.unblock();
    let before = peer.calls().writes;
    now(ws.flush()).unwrap();
    assert_eq!(peer.calls().writes, before + 1);
    assert!(peer.sent().len() >= 120, "{} messages of 1 KiB", peer.sent().len());
}

#[test]
fn one_write_costs_one_write_and_one_flush_of_the_transport() {
    let (mut ws, peer) = client(None);
    now(ws.write(b"first")).unwrap();
    let before = peer.calls();
    now(ws.write(b"second")).unwrap();
    let calls = peer.calls();
    assert_eq!((calls.writes - before.writes, calls.flushes - before.flushes), (1, 1));
    assert_eq!(calls.reads, 0);
    now(ws.flush()).unwrap();
    assert_eq!(peer.calls(), calls, "there is nothing left to flush");
    assert!(Pin::new(&mut ws).poll_flush(&mut noop_context()).is_ready());
}
