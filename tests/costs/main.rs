//! What the stream costs, in what can be counted: the same on every machine, whatever the load is.

#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod support;

use std::task::Context;

use allocation_counter::measure;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_test::task::new_count_waker;
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{WsState, WsStream, tungstenite};

use crate::support::{BINARY, Calls, ROLES, Step, connect, now, server, socket};

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
    assert!(own <= 280, "{own} bytes");
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
