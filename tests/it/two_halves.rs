//! Reading and writing in two tasks: nobody's wake-up is lost.

use std::{
    io::ErrorKind,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, executor::ThreadPool};
use futures_test::task::{AwokenCount, new_count_waker};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{Writes, WsConfig, tungstenite};

use crate::{
    backend::WsStream,
    support::{
        self, BINARY, PING, Peer, ROLES, Step, TEXT, Wire, connect, connect_with, fill, now,
        observe, run, settle, told,
    },
};

/// A task that polls one half of the stream.
struct Task {
    waker: Waker,
    wakes: AwokenCount,
}

impl Task {
    fn new() -> Self {
        let (waker, wakes) = new_count_waker();
        Self { waker, wakes }
    }

    fn read(&self, ws: &mut WsStream<Wire>) -> Poll<std::io::Result<usize>> {
        Pin::new(ws).poll_read(&mut Context::from_waker(&self.waker), &mut [0; 64])
    }

    fn write(&self, ws: &mut WsStream<Wire>) -> Poll<std::io::Result<usize>> {
        Pin::new(ws).poll_write(&mut Context::from_waker(&self.waker), b"data")
    }

    fn close(&self, ws: &mut WsStream<Wire>) -> Poll<std::io::Result<()>> {
        Pin::new(ws).poll_close(&mut Context::from_waker(&self.waker))
    }
}

/// A stream with a blocked writer and a sleeping reader, the one or the other polled last.
fn both_parked(role: Role, reader_last: bool) -> (WsStream<Wire>, Peer, Task, Task) {
    let (mut ws, peer) = connect(role, None);
    let (reader, writer) = (Task::new(), Task::new());
    fill(&mut ws, &peer);
    if reader_last {
        assert!(writer.write(&mut ws).is_pending());
        assert!(reader.read(&mut ws).is_pending());
    } else {
        assert!(reader.read(&mut ws).is_pending());
        assert!(writer.write(&mut ws).is_pending());
    }
    (ws, peer, reader, writer)
}

#[test]
fn room_in_the_transport_wakes_a_blocked_writer_whoever_was_polled_last() {
    for role in ROLES {
        for reader_last in [true, false] {
            let (mut ws, peer, _, writer) = both_parked(role, reader_last);
            peer.unblock();
            assert_eq!(writer.wakes.get(), 1);
            assert!(writer.write(&mut ws).is_ready());
        }
    }
}

#[test]
fn data_wakes_a_sleeping_reader_whoever_was_polled_last() {
    for role in ROLES {
        for reader_last in [true, false] {
            let (mut ws, peer, reader, _) = both_parked(role, reader_last);
            peer.binary(b"data");
            assert!(reader.wakes.get() >= 1);
            assert!(reader.read(&mut ws).is_ready());
        }
    }
}

#[test]
fn a_reader_that_moves_the_writers_bytes_on_wakes_the_writer() {
    for role in ROLES {
        let (mut ws, peer, reader, writer) = both_parked(role, true);
        // room without a wake-up: the reader finds it by being polled for another reason
        peer.allow(usize::MAX);
        let woken = writer.wakes.get();
        assert!(reader.read(&mut ws).is_pending());
        assert!(writer.wakes.get() >= woken);
        assert!(writer.write(&mut ws).is_ready());
    }
}

#[test]
fn a_transport_that_calls_while_it_is_polled_wakes_whoever_polls() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let (reader, writer) = (Task::new(), Task::new());
        now(ws.flush()).unwrap();
        peer.flinch(1);
        assert!(reader.read(&mut ws).is_pending());
        assert!(reader.wakes.get() >= 1, "{role:?}: the reader sleeps for ever");
        assert!(reader.read(&mut ws).is_pending());
        peer.flinch(2); // the socket itself tries once
        assert!(writer.close(&mut ws).is_pending());
        assert!(writer.wakes.get() >= 1, "{role:?}: the writer sleeps for ever");
        assert!(writer.close(&mut ws).is_ready());
    }
}

#[test]
fn the_end_wakes_a_blocked_writer() {
    type End = fn(&Peer);
    let ends: [End; 5] = [
        |peer| peer.send(TEXT, b"hi"),
        |peer| peer.send(0x3, b""),
        |peer| peer.close_frame(1000, ""),
        |peer| peer.end(),
        |peer| peer.steps([Step::Error(ErrorKind::ConnectionReset)]),
    ];
    for role in ROLES {
        for end in ends {
            let (mut ws, peer, reader, writer) = both_parked(role, true);
            end(&peer);
            assert!(reader.wakes.get() >= 1);
            let _ = reader.read(&mut ws);
            assert!(writer.wakes.get() >= 1);
            let Poll::Ready(Err(error)) = writer.write(&mut ws) else { panic!("writing is over") };
            assert!([ErrorKind::NotConnected, ErrorKind::ConnectionReset].contains(&error.kind()));
        }
    }
}

#[test]
fn a_blocked_close_survives_a_reader_that_drives_it() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let (reader, closer) = (Task::new(), Task::new());
        peer.block();
        assert!(closer.close(&mut ws).is_pending());
        assert!(reader.read(&mut ws).is_pending());
        peer.unblock();
        assert_eq!(closer.wakes.get(), 1);
        assert!(reader.read(&mut ws).is_pending());
        assert!(closer.close(&mut ws).is_ready());
        assert_eq!(peer.sent_closes().len(), 1);
    }
}

#[test]
fn a_reader_whose_answer_the_writer_sent_is_woken() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let (reader, writer) = (Task::new(), Task::new());
        now(ws.flush()).unwrap();
        peer.block();
        peer.close_frame(1000, "");
        peer.end();
        assert!(reader.read(&mut ws).is_pending());
        let before = reader.wakes.get();
        peer.unblock();
        assert!(reader.wakes.get() > before);
        let before = reader.wakes.get();
        // the writer gets there first; the reader may have been polled in between, in vain
        assert!(writer.close(&mut ws).is_ready());
        assert!(reader.wakes.get() >= before);
        assert!(matches!(reader.read(&mut ws), Poll::Ready(Ok(0))));
    }
}

#[test]
fn a_writer_that_waits_for_nothing_is_not_woken_by_what_arrives() {
    let (mut ws, peer) = connect(Role::Server, None);
    let (reader, writer) = (Task::new(), Task::new());
    assert!(reader.read(&mut ws).is_pending());
    assert!(writer.write(&mut ws).is_ready());
    peer.binary(b"data");
    assert_eq!((reader.wakes.get() >= 1, writer.wakes.get()), (true, 0));
}

#[test]
fn pongs_that_wait_do_not_cost_the_writer_its_waker() {
    for role in ROLES {
        let (mut ws, peer, reader, writer) = both_parked(role, false);
        for _ in 0..3 {
            peer.send(PING, b"?");
            // what arrives may wake the writer too
            assert!(writer.write(&mut ws).is_pending());
            assert!(reader.read(&mut ws).is_pending());
        }
        let before = writer.wakes.get();
        peer.unblock();
        assert!(writer.wakes.get() > before);
        assert!(writer.write(&mut ws).is_ready());
    }
}

/// With a peer that sends text, a writer in another task learns of the end in every run.
#[test]
fn text_ends_a_writer_in_another_thread() {
    let pool = ThreadPool::builder().pool_size(2).create().unwrap();
    for run_number in 0..50 {
        let (mut ws, peer) = connect(Role::Server, None);
        let mut events = observe(&mut ws);
        let (mut reading, mut writing) = ws.split();
        peer.allow(1000 + run_number);
        let (done, writer_is_done) = futures::channel::oneshot::channel();
        pool.spawn_ok(async move {
            let error = loop {
                if let Err(error) = writing.write_all(&[1; 100]).await {
                    break error;
                }
            };
            let _ = done.send(error.kind());
        });
        let (done, reader_is_done) = futures::channel::oneshot::channel();
        pool.spawn_ok(async move {
            let _ = done.send(reading.read_to_end(&mut Vec::new()).await.map_err(|e| e.kind()));
        });
        peer.send(TEXT, b"hi");
        assert_eq!(futures::executor::block_on(writer_is_done).unwrap(), ErrorKind::NotConnected);
        peer.unblock();
        peer.end();
        assert_eq!(futures::executor::block_on(reader_is_done).unwrap(), Ok(0));
        assert_eq!(told(&mut events), ["error: ReceivedText", "closed"]);
    }
}

#[test]
fn halves_of_one_stream_work_in_one_task() {
    let (ws, peer) = connect(Role::Client, None);
    let (mut reading, mut writing) = ws.split();
    peer.binary(b"question");
    let mut buf = [0; 8];
    run(async {
        reading.read_exact(&mut buf).await.unwrap();
        writing.write_all(b"answer").await.unwrap();
        writing.close().await.unwrap();
    });
    assert_eq!(peer.sent_data(), b"answer");
}

/// Limits with which the socket calls the transport for what is more than `size` bytes.
fn write_buffer(size: usize) -> WebSocketConfig {
    WebSocketConfig::default().write_buffer_size(size).max_write_buffer_size(1_000_000)
}

/// A task that reads once.
fn reader(mut half: impl AsyncRead + Unpin + Send + 'static) -> support::Task {
    support::Task::new(async move {
        let _ = half.read(&mut [0; 8]).await;
    })
}

#[test]
fn a_message_that_joins_others_does_not_make_the_transport_forget_who_waits() {
    let (mut ws, peer) = support::client(Some(write_buffer(0)));
    now(ws.flush()).unwrap();
    peer.buffer();
    peer.block_flush(true);
    let (reading, mut writing) = ws.split();
    let mut reader = reader(reading);
    for message in [b"first ", b"second"] {
        settle(&mut [&mut reader]);
        now(writing.write(message)).unwrap();
    }
    settle(&mut [&mut reader]);
    peer.block_flush(false);
    settle(&mut [&mut reader]);
    assert_eq!(peer.sent_data(), b"first second");
}

#[test]
fn a_message_that_joins_others_is_not_left_behind_by_a_wake_up_that_is_late() {
    let (mut ws, peer) = support::client(Some(write_buffer(50)));
    now(ws.flush()).unwrap();
    peer.block();
    let (reading, mut writing) = ws.split();
    let mut reader = reader(reading);
    settle(&mut [&mut reader]);
    now(writing.write(&[1; 100])).unwrap();
    settle(&mut [&mut reader]);
    peer.unblock_late();
    now(writing.write(&[2; 10])).unwrap();
    peer.hold_wakes(false);
    settle(&mut [&mut reader]);
    assert_eq!(peer.sent_data().len(), 110);
}

#[test]
fn a_reader_that_waits_for_pongs_to_leave_is_woken_although_the_wake_up_is_late() {
    for when in [Writes::AtOnce, Writes::Collect(8)] {
        let (mut ws, peer) = connect_with(Role::Server, WsConfig::new().writes(when));
        now(ws.flush()).unwrap();
        peer.block();
        let (reading, mut writing) = ws.split();
        let mut reader = reader(reading);
        peer.raw(peer.frame(PING, &[1; 125]).repeat(600));
        peer.binary(b"data");
        settle(&mut [&mut reader]);
        assert!(!reader.is_done());
        peer.unblock_late();
        now(writing.write(b"01234567")).unwrap();
        peer.hold_wakes(false);
        settle(&mut [&mut reader]);
        assert_eq!(peer.sent_data(), b"01234567");
        assert!(reader.is_done(), "{when:?}");
    }
}

#[test]
fn a_writer_that_waits_to_collect_more_is_woken_by_the_reader_that_makes_room() {
    let (socket, peer) = support::socket(Role::Server, Some(write_buffer(7)));
    let mut ws = WsStream::with_config(socket, WsConfig::new().writes(Writes::Collect(5)));
    let (reader, writer) = (Task::new(), Task::new());
    now(ws.flush()).unwrap();
    // of seven messages, the transport has four, the socket two, and one is full
    peer.allow(28);
    assert_eq!(now(ws.write(&[1; 35])).unwrap(), 35);
    assert!(writer.write(&mut ws).is_pending());
    peer.hold_wakes(true);
    peer.allow(14);
    assert!(reader.read(&mut ws).is_pending());
    assert_eq!(writer.wakes.get(), 1);
    assert!(writer.write(&mut ws).is_ready());
}

#[test]
fn a_pong_for_which_there_is_no_room_does_not_cost_the_writer_its_wake_up() {
    let config = write_buffer(0).max_write_buffer_size(151);
    let (mut ws, peer) = support::client(Some(config));
    let (reader, writer) = (Task::new(), Task::new());
    now(ws.flush()).unwrap();
    peer.block();
    assert_eq!(now(ws.write(&[1; 138])).unwrap(), 138);
    assert!(writer.write(&mut ws).is_pending());
    peer.raw([peer.frame(PING, b""), peer.frame(BINARY, b"data")].concat());
    assert!(reader.read(&mut ws).is_ready());
    let before = writer.wakes.get();
    peer.unblock_late();
    assert!(reader.read(&mut ws).is_pending());
    peer.hold_wakes(false);
    assert!(writer.wakes.get() > before, "what was in its way has left: {:?}", peer.calls());
    assert!(writer.write(&mut ws).is_ready());
}
