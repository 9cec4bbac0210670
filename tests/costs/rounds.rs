//! A conversation: requests that a task waits for, and its responses.

use std::task::{Context, Poll};

use allocation_counter::{measure, opt_out};
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_test::task::new_count_waker;

use crate::{
    backend::WsStream,
    counting::{KIB, byte_stream, calls, collecting},
    support::{Calls, Peer, ROLES, Wire},
};

const ROUNDS: usize = 100;

#[derive(Debug, PartialEq, Eq)]
struct Costs {
    calls: Calls,
    wakes: usize,
    allocations: u64,
}

/// One read for the message and one in vain, after which the task sleeps; one write, one flush, one
/// wake-up.
const EXPECTED: Costs = Costs {
    calls: Calls { reads: 2 * ROUNDS, writes: ROUNDS, flushes: ROUNDS, closes: 0 },
    wakes: ROUNDS,
    allocations: 0,
};

/// What a hundred rounds cost a task that reads into `room` bytes and answers with `answer`.
fn converse(
    (ws, peer): &mut (WsStream<Wire>, Peer),
    request: &[u8],
    room: usize,
    mut answer: impl FnMut(&mut WsStream<Wire>, &mut Context<'_>),
) -> Costs {
    let (waker, wakes) = new_count_waker();
    let mut cx = Context::from_waker(&waker);
    let mut buf = vec![0; room];
    let mut round = || {
        assert!(ws.read(&mut buf).poll_unpin(&mut cx).is_pending());
        opt_out(|| {
            peer.reserve(2 * request.len() + KIB);
            peer.binary(request);
        });
        let mut left = request.len();
        while left > 0 {
            left -= ready(ws.read(&mut buf).poll_unpin(&mut cx)).unwrap();
        }
        answer(ws, &mut cx);
    };
    (0..3).for_each(|_| round()); // the buffers get their size
    let (wakes_before, mut allocations) = (wakes.get(), 0);
    let calls = calls(peer, || {
        allocations = measure(|| (0..ROUNDS).for_each(|_| round())).count_total;
    });
    Costs { calls, wakes: wakes.get() - wakes_before, allocations }
}

#[track_caller]
fn ready<R>(poll: Poll<R>) -> R {
    match poll {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("it is ready at once"),
    }
}

/// Writes it in one piece, and flushes.
fn answer_with(answer: &[u8]) -> impl FnMut(&mut WsStream<Wire>, &mut Context<'_>) {
    move |ws, cx| {
        assert_eq!(ready(ws.write(answer).poll_unpin(cx)).unwrap(), answer.len());
        ready(ws.flush().poll_unpin(cx)).unwrap();
    }
}

#[test]
fn a_round_costs_two_reads_one_write_one_flush_one_wake_up_and_no_allocation() {
    for role in ROLES {
        for size in [64, 4 * KIB, 16 * KIB] {
            let data = vec![1; size];
            for room in [size, 64 * KIB] {
                let answer = answer_with(&data);
                let costs = converse(&mut byte_stream(role), &data, room, answer);
                assert_eq!(costs, EXPECTED, "{role:?}, {size} bytes into {room}");
            }
        }
    }
}

#[test]
fn a_request_that_is_read_in_parts_costs_no_more() {
    for role in ROLES {
        let answer = answer_with(b"answer");
        let costs = converse(&mut byte_stream(role), &[1; KIB], 100, answer);
        assert_eq!(costs, EXPECTED, "{role:?}");
    }
}

#[test]
fn a_response_that_is_collected_costs_no_more_and_needs_no_flush() {
    for role in ROLES {
        let costs = converse(&mut collecting(role, 8 * KIB), b"request", 64, |ws, cx| {
            for _ in 0..10 {
                assert_eq!(ready(ws.write(&[1; 64]).poll_unpin(cx)).unwrap(), 64);
            }
        });
        assert_eq!(costs, EXPECTED, "{role:?}");
    }
}

#[test]
fn a_handle_that_is_not_used_costs_nothing() {
    for role in ROLES {
        let mut stream = byte_stream(role);
        let _meta = stream.0.meta();
        let costs = converse(&mut stream, b"request", 64, answer_with(b"response"));
        assert_eq!(costs, EXPECTED, "{role:?}");
    }
}
