//! How often the tasks of the two halves are woken.

use std::task::{Context, Poll, Waker};

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_test::task::{AwokenCount, new_count_waker};
use tungstenite::protocol::Role;
use ws_stream_tungstenite::tungstenite;

use crate::{
    backend::WsStream,
    counting::{KIB, byte_stream, collecting},
    support::{PING, Peer, ROLES, Step, Wire, fill},
};

/// The halves of a stream, each in a task of its own.
struct Halves {
    ws: WsStream<Wire>,
    reader: Waker,
    reader_wakes: AwokenCount,
    writer: Waker,
    writer_wakes: AwokenCount,
}

impl Halves {
    fn new(ws: WsStream<Wire>) -> Self {
        let (reader, reader_wakes) = new_count_waker();
        let (writer, writer_wakes) = new_count_waker();
        Self { ws, reader, reader_wakes, writer, writer_wakes }
    }

    fn read(&mut self) -> Poll<usize> {
        let mut cx = Context::from_waker(&self.reader);
        self.ws.read(&mut [0; 64]).poll_unpin(&mut cx).map(Result::unwrap)
    }

    fn write(&mut self, data: &[u8]) -> Poll<usize> {
        let mut cx = Context::from_waker(&self.writer);
        self.ws.write(data).poll_unpin(&mut cx).map(Result::unwrap)
    }

    fn flush(&mut self) -> Poll<()> {
        let mut cx = Context::from_waker(&self.writer);
        self.ws.flush().poll_unpin(&mut cx).map(Result::unwrap)
    }

    /// How often the reader was woken, and how often the writer.
    fn wakes(&self) -> (usize, usize) {
        (self.reader_wakes.get(), self.writer_wakes.get())
    }
}

/// Both for each role, with the reader asleep.
fn asleep(make: impl Fn(Role) -> (WsStream<Wire>, Peer)) -> impl Iterator<Item = (Halves, Peer)> {
    ROLES.into_iter().map(move |role| {
        let (ws, peer) = make(role);
        let mut halves = Halves::new(ws);
        assert!(halves.read().is_pending());
        (halves, peer)
    })
}

#[test]
fn a_message_wakes_the_reader_once_and_not_a_writer_that_waits_for_nothing() {
    for (mut halves, peer) in asleep(byte_stream) {
        for round in 1..=100 {
            assert!(halves.write(b"data").is_ready());
            assert!(halves.flush().is_ready());
            peer.binary(b"data");
            assert_eq!(halves.wakes(), (round, 0));
            assert_eq!(halves.read(), Poll::Ready(4));
            assert!(halves.read().is_pending());
            assert_eq!(halves.wakes(), (round, 0));
        }
    }
}

#[test]
fn a_message_does_not_wake_a_writer_that_has_waited() {
    for (mut halves, peer) in asleep(byte_stream) {
        peer.block();
        peer.send(PING, b""); // what answers it is tried again and again
        assert!(halves.read().is_pending());
        assert!(halves.write(b"data").is_ready());
        assert!(halves.flush().is_pending());
        peer.hold_wakes(true);
        peer.unblock();
        assert!(halves.flush().is_ready(), "before the transport calls");
        peer.hold_wakes(false);
        assert!(halves.read().is_pending());
        let (reader, writer) = halves.wakes();
        peer.binary(b"data");
        assert_eq!(halves.wakes(), (reader + 1, writer));
    }
}

#[test]
fn messages_that_arrive_before_the_reader_comes_wake_it_once() {
    for (mut halves, peer) in asleep(byte_stream) {
        (0..10).for_each(|_| peer.binary(b"data"));
        (0..10).for_each(|_| assert_eq!(halves.read(), Poll::Ready(4)));
        assert!(halves.read().is_pending());
        assert_eq!(halves.wakes(), (1, 0));
    }
}

#[test]
fn a_write_does_not_wake_a_reader_that_waits() {
    for (mut halves, _peer) in asleep(byte_stream) {
        for _ in 0..100 {
            assert!(halves.write(b"data").is_ready());
            assert!(halves.flush().is_ready());
        }
        assert_eq!(halves.wakes(), (0, 0));
    }
}

#[test]
fn collected_writes_do_not_wake_a_reader_that_does_not_wait() {
    for (mut halves, peer) in asleep(|role| collecting(role, KIB)) {
        peer.block();
        assert!(halves.write(&[1; KIB]).is_ready());
        peer.binary(b"data");
        assert_eq!(halves.read(), Poll::Ready(4)); // and would move on what could not leave
        let before = halves.wakes();
        (0..100).for_each(|_| assert!(halves.write(b"data").is_ready()));
        assert_eq!(halves.wakes(), before);
    }
}

#[test]
fn collected_writes_wake_a_reader_that_waits_once() {
    for (mut halves, peer) in asleep(|role| collecting(role, 8 * KIB)) {
        for round in 1..=10 {
            (0..100).for_each(|_| assert!(halves.write(b"data").is_ready()));
            assert_eq!(halves.wakes(), (round, 0));
            assert!(halves.read().is_pending());
            assert_eq!(peer.sent().len(), round);
        }
        assert_eq!(halves.wakes(), (10, 0));
    }
}

#[test]
fn a_reader_that_collected_writes_have_woken_is_not_woken_again_before_it_comes() {
    for (mut halves, _peer) in asleep(|role| collecting(role, 8 * KIB)) {
        for _ in 0..10 {
            (0..100).for_each(|_| assert!(halves.write(b"data").is_ready()));
            assert!(halves.flush().is_ready());
        }
        assert_eq!(halves.wakes(), (1, 0));
    }
}

#[test]
fn room_wakes_a_writer_that_waits_once_and_the_reader_no_more_often() {
    for (mut halves, peer) in asleep(byte_stream) {
        for round in 1..=10 {
            fill(&mut halves.ws, &peer);
            assert!(halves.write(b"data").is_pending());
            peer.unblock();
            assert!(halves.write(b"data").is_ready());
            assert!(halves.flush().is_ready());
            assert!(halves.read().is_pending());
            let (reader, writer) = halves.wakes();
            assert_eq!(writer, round);
            assert!(reader <= round, "{reader}"); // transports tell both halves
        }
    }
}

#[test]
fn data_and_room_at_the_same_time_wake_each_half_once() {
    for (mut halves, peer) in asleep(byte_stream) {
        fill(&mut halves.ws, &peer);
        assert!(halves.write(b"data").is_pending());
        peer.binary(b"data");
        peer.unblock();
        assert_eq!(halves.wakes(), (1, 1));
        assert_eq!(halves.read(), Poll::Ready(4));
        assert!(halves.write(b"data").is_ready());
        assert_eq!(halves.wakes(), (1, 1));
    }
}

#[test]
fn a_half_that_was_woken_is_not_woken_again_before_it_comes() {
    for role in ROLES {
        let (ws, peer) = byte_stream(role);
        let mut halves = Halves::new(ws);
        peer.block();
        assert!(halves.write(b"data").is_ready());
        peer.steps([Step::Pending]); // calls before the reader is parked
        assert!(halves.read().is_pending());
        let (reader, writer) = halves.wakes();
        assert!(reader >= 1 && writer == 1, "{role:?}");
        peer.unblock();
        assert_eq!(halves.wakes(), (reader, writer), "{role:?}");
        assert!(halves.flush().is_ready());
    }
}

#[test]
fn a_writer_that_was_woken_during_its_poll_is_not_woken_again_before_it_comes() {
    for (mut halves, peer) in asleep(byte_stream) {
        peer.flinch(1);
        assert!(halves.write(b"data").is_ready());
        assert_eq!(halves.wakes(), (1, 1), "what could not leave has to");
        peer.binary(b"data");
        assert_eq!(halves.wakes(), (1, 1));
        assert!(halves.flush().is_ready());
    }
}

#[test]
fn polling_again_wakes_nobody() {
    for (mut halves, peer) in asleep(byte_stream) {
        peer.block();
        assert!(halves.write(b"data").is_ready());
        for _ in 0..100 {
            assert!(halves.read().is_pending());
            assert!(halves.flush().is_pending());
        }
        assert_eq!(halves.wakes(), (0, 0));
    }
}
