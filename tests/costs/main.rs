//! What the stream costs, in what can be counted: the same on every machine, whatever the load is.

#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod support;

use std::{io::IoSlice, task::Context};

use allocation_counter::measure;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_test::task::new_count_waker;
use tungstenite::{
    Bytes,
    protocol::{Role, WebSocketConfig},
};
use ws_stream_tungstenite::{Writes, WsConfig, WsState, WsStream, tungstenite};

use crate::support::{
    BINARY, Calls, Peer, ROLES, Step, Wire, connect, connect_with, now, server, socket, wire,
};

#[test]
fn a_write_allocates_nothing_in_the_steady_state() {
    const WRITES: u64 = 100;
    for role in ROLES {
        for size in [64, 4096, 64 * 1024] {
            let (mut ws, peer) = connect(role, None);
            let data = vec![1; size];
            now(ws.write_all(&data)).unwrap();
            peer.reserve(128 * 1024 * usize::try_from(WRITES).unwrap());
            let used = measure(|| {
                for _ in 0..WRITES {
                    now(ws.write_all(&data)).unwrap();
                }
            });
            assert_eq!(used.count_total, 0, "{role:?}, {size} bytes");
        }
    }
}

/// What tungstenite allocates to read the messages.
fn allocations_of_tungstenite(messages: &[u8]) -> u64 {
    let (ws, peer) = server(Some(small_reads()));
    let mut socket = ws.into_inner();
    peer.raw(messages.to_vec());
    measure(|| {
        while let Some(Some(message)) =
            futures::FutureExt::now_or_never(futures::StreamExt::next(&mut socket))
        {
            drop(message.unwrap());
        }
    })
    .count_total
}

fn small_reads() -> WebSocketConfig {
    WebSocketConfig::default().read_buffer_size(4096)
}

#[test]
fn a_read_allocates_nothing_that_tungstenite_does_not() {
    let (mut ws, peer) = server(Some(small_reads()));
    let messages = peer.frame(BINARY, &[1; 1000]).repeat(100);
    peer.raw(messages.clone());
    let used = measure(|| {
        for _ in 0..100 {
            now(ws.read_exact(&mut [0; 1000])).unwrap();
        }
    });
    assert!(used.count_total <= allocations_of_tungstenite(&messages));
}

#[test]
fn without_observers_no_event_is_made() {
    let (mut ws, peer) = server(None);
    let pings = [peer.frame(0x9, b""), peer.frame(0xA, b"")].concat().repeat(20);
    peer.raw(pings.clone());
    peer.binary(b"x");
    now(ws.read(&mut [0; 1])).unwrap();
    peer.reserve(4096);
    peer.raw(pings);
    peer.steps([Step::Bytes(peer.frame(BINARY, b"x").into())]);
    let used = measure(|| {
        now(ws.read(&mut [0; 1])).unwrap();
    });
    assert_eq!(used.count_total, 0);
}

#[test]
fn a_message_is_read_with_one_read_of_the_transport() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        for _ in 0..10 {
            let before = peer.calls();
            peer.binary(&[1; 1000]);
            now(ws.read_exact(&mut [0; 1000])).unwrap();
            assert_eq!(peer.calls().reads, before.reads + 1);
        }
    }
}

#[test]
fn the_stream_is_small() {
    type Socket = async_tungstenite::WebSocketStream<crate::support::Wire>;
    type Stream = ws_stream_tungstenite::WsStream<crate::support::Wire>;
    let own = size_of::<Stream>() - size_of::<Socket>();
    assert!(own <= 208, "{own} bytes");
}

#[test]
fn a_stream_allocates_once_when_it_is_made() {
    let (socket, _peer) = socket(Role::Client, None);
    let mut ws = None;
    let used = measure(|| ws = Some(WsStream::new(socket)));
    assert_eq!(used.count_total, 1);
    assert!(used.bytes_total <= 384, "{} bytes", used.bytes_total);
}

#[test]
fn a_handle_allocates_nothing() {
    let (ws, _peer) = server(None);
    let used = measure(|| {
        let meta = ws.meta().clone();
        assert_eq!(meta.ready_state(), WsState::Open);
        assert_eq!(meta.counters().bytes_sent, 0);
    });
    assert_eq!(used.count_total, 0);
}

/// The calls of the transport, and the wakes of the task, in a conversation of a hundred rounds.
fn converse(holds_handle: bool) -> (Calls, usize, u64) {
    let (mut ws, peer) = server(None);
    let meta = holds_handle.then(|| ws.meta());
    let (waker, wakes) = new_count_waker();
    let mut cx = Context::from_waker(&waker);
    peer.reserve(100_000);
    let used = measure(|| {
        for _ in 0..100 {
            assert!(ws.read(&mut [0; 64]).poll_unpin(&mut cx).is_pending());
            peer.binary(b"question");
            assert!(ws.read(&mut [0; 64]).poll_unpin(&mut cx).is_ready());
            assert!(ws.write(b"answer").poll_unpin(&mut cx).is_ready());
            assert!(ws.flush().poll_unpin(&mut cx).is_ready());
        }
    });
    drop(meta);
    (peer.calls(), wakes.get(), used.count_total)
}

#[test]
fn a_handle_that_is_not_used_costs_no_call_no_wake_and_no_allocation() {
    let without = converse(false);
    assert_eq!(converse(true), without);
    let (calls, wakes, _) = without;
    assert_eq!(wakes, 100);
    assert_eq!(calls, Calls { reads: 201, writes: 100, flushes: 101, closes: 0 });
}

const COLLECTED: usize = 16 * 1024;

fn collecting(role: Role) -> (WsStream<Wire>, Peer) {
    let (ws, peer) = connect_with(role, WsConfig::new().writes(Writes::Collect(COLLECTED)));
    peer.reserve(1024 * 1024);
    (ws, peer)
}

/// The calls of the transport that `action` makes.
fn calls(peer: &Peer, action: impl FnOnce()) -> Calls {
    let before = peer.calls();
    action();
    let after = peer.calls();
    Calls {
        reads: after.reads - before.reads,
        writes: after.writes - before.writes,
        flushes: after.flushes - before.flushes,
        closes: after.closes - before.closes,
    }
}

const NONE: Calls = Calls { reads: 0, writes: 0, flushes: 0, closes: 0 };
const SENT: Calls = Calls { writes: 1, flushes: 1, ..NONE };

#[test]
fn a_collected_or_vectored_write_and_a_flush_allocate_nothing() {
    for role in ROLES {
        for (mut ws, peer) in [collecting(role), connect(role, None)] {
            let bufs = [[1; 40], [2; 40], [3; 40]];
            let bufs = bufs.each_ref().map(|buf| IoSlice::new(buf));
            let mut round = || {
                for _ in 0..500 {
                    now(ws.write_vectored(&bufs)).unwrap();
                }
                now(ws.flush()).unwrap();
            };
            round();
            peer.reserve(1024 * 1024);
            assert_eq!(measure(round).count_total, 0, "{role:?}");
        }
    }
}

#[test]
fn requests_and_responses_allocate_nothing() {
    for size in [64, 4096] {
        let (mut ws, peer) = open(Role::Server);
        let request = Bytes::from(peer.frame(BINARY, &vec![1; size]));
        let mut buf = vec![0; size];
        let mut round = || {
            assert!(ws.read(&mut buf).now_or_never().is_none());
            peer.raw(request.clone());
            now(ws.read_exact(&mut buf)).unwrap();
            now(ws.write_all(&buf)).unwrap();
            now(ws.flush()).unwrap();
        };
        for _ in 0..100 {
            round();
        }
        peer.reserve(1024 * 1024);
        let rounds = || (0..100).for_each(|_| round());
        assert_eq!(measure(rounds).count_total, 0, "{size} bytes");
    }
}

fn open(role: Role) -> (WsStream<Wire>, Peer) {
    let (wire, peer) = wire(role);
    (now(WsStream::from_raw_socket(wire, role, None)), peer)
}

#[test]
fn a_small_write_is_one_write_and_one_flush_of_the_transport() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        now(ws.flush()).unwrap();
        let bufs = [b"several", b"buffers"].map(|buf| IoSlice::new(buf));
        assert_eq!(calls(&peer, || assert_eq!(now(ws.write(b"data")).unwrap(), 4)), SENT);
        let vectored = || assert_eq!(now(ws.write_vectored(&bufs)).unwrap(), 14);
        assert_eq!(calls(&peer, vectored), SENT);
        assert_eq!(calls(&peer, || now(ws.flush()).unwrap()), NONE);
    }
}

#[test]
fn collected_writes_call_the_transport_when_they_leave() {
    for role in ROLES {
        let (mut ws, peer) = collecting(role);
        now(ws.flush()).unwrap();
        let collect = || (0..100).for_each(|_| now(ws.write_all(&[1; 64])).unwrap());
        assert_eq!(calls(&peer, collect), NONE);
        assert_eq!(calls(&peer, || now(ws.flush()).unwrap()), SENT);
        assert_eq!(peer.sent().len(), 1);
        let large = || assert_eq!(now(ws.write(&[1; 4 * COLLECTED])).unwrap(), 4 * COLLECTED);
        assert_eq!(calls(&peer, large), SENT);
    }
}

#[test]
fn what_joins_others_behind_a_transport_that_is_not_writable_calls_nobody() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        now(ws.flush()).unwrap();
        peer.block();
        now(ws.write_all(b"first")).unwrap();
        let join = || (0..1000).for_each(|_| now(ws.write_all(&[1; 64])).unwrap());
        assert_eq!(calls(&peer, join), NONE);
        peer.unblock();
        assert_eq!(calls(&peer, || now(ws.flush()).unwrap()), SENT);
        assert_eq!(peer.sent_data().len(), 5 + 64_000);
    }
}

#[test]
fn a_large_write_calls_the_transport_once_for_each_message() {
    let (mut ws, peer) = connect(Role::Client, None);
    now(ws.flush()).unwrap();
    let data = vec![1; 1024 * 1024];
    let sent = calls(&peer, || now(ws.write_all(&data)).unwrap());
    assert_eq!(sent, Calls { writes: 16, flushes: 16, ..NONE });
}

#[test]
fn a_reader_that_is_polled_while_nothing_arrives_reads_the_transport_once() {
    let (mut ws, peer) = server(None);
    let poll = |ws: &mut WsStream<Wire>| assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(calls(&peer, || poll(&mut ws)).reads, 1);
    assert_eq!(calls(&peer, || (0..100).for_each(|_| poll(&mut ws))), NONE);
    peer.binary(b"data");
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 4);
    assert_eq!(calls(&peer, || poll(&mut ws)), NONE, "the read before has tried already");
}

#[test]
fn messages_that_arrived_together_are_read_together() {
    let (mut ws, peer) = server(None);
    now(ws.flush()).unwrap();
    peer.raw(peer.frame(BINARY, &[1; 64]).repeat(60));
    let mut buf = vec![0; 64 * 1024];
    let read = calls(&peer, || assert_eq!(now(ws.read(&mut buf)).unwrap(), 60 * 64));
    assert_eq!(read, Calls { reads: 2, ..NONE }, "and once in vain");
}

#[test]
fn a_full_buffer_asks_for_nothing_more() {
    let (mut ws, peer) = server(None);
    now(ws.flush()).unwrap();
    peer.binary(&[1; 64]);
    let read = calls(&peer, || now(ws.read_exact(&mut [0; 64])).unwrap());
    assert_eq!(read, Calls { reads: 1, ..NONE });
}

#[test]
fn a_message_of_16_kib_arrives_in_one_read_with_the_config_for_byte_streams() {
    for role in ROLES {
        let (mut ws, peer) = open(role);
        now(ws.flush()).unwrap();
        let mut buf = vec![0; 16 * 1024];
        for _ in 0..10 {
            peer.binary(&vec![1; 16 * 1024]);
            let read = calls(&peer, || now(ws.read_exact(&mut buf)).unwrap());
            assert_eq!(read, Calls { reads: 1, ..NONE });
        }
    }
}

#[test]
fn a_message_wakes_the_reader_once_and_no_writer_that_does_not_wait() {
    let (ws, peer) = server(None);
    let (mut reader, mut writer) = ws.split();
    let ((reads, read_wakes), (writes, write_wakes)) = (new_count_waker(), new_count_waker());
    for round in 1..=10 {
        let mut cx = Context::from_waker(&reads);
        assert!(reader.read(&mut [0; 64]).poll_unpin(&mut cx).is_pending());
        let written = writer.write_all(b"data").poll_unpin(&mut Context::from_waker(&writes));
        assert!(written.is_ready());
        peer.binary(b"question");
        assert!(reader.read(&mut [0; 64]).poll_unpin(&mut cx).is_ready());
        assert_eq!((read_wakes.get(), write_wakes.get()), (round, 0));
    }
}
