//! `Writes::Collect`: many small writes become one message, and none of them waits for ever.

use std::io::{self, ErrorKind, IoSlice};

use allocation_counter::measure;
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{Writes, WsConfig, tungstenite};

use crate::{
    backend::WsStream,
    support::{
        BINARY, CLOSE, PING, PONG, Peer, ROLES, Step, Task, Wire, connect_with, now, observe,
        pattern, read_all, settle, socket, told,
    },
};

const SIZE: usize = 1000;

fn collecting(role: Role) -> (WsStream<Wire>, Peer) {
    let (mut ws, peer) = connect_with(role, WsConfig::new().writes(Writes::Collect(SIZE)));
    now(ws.flush()).unwrap();
    (ws, peer)
}

fn client() -> (WsStream<Wire>, Peer) {
    collecting(Role::Client)
}

/// The sizes of the messages that have left.
fn sizes(peer: &Peer) -> Vec<usize> {
    let frames = peer.sent().into_iter().filter(|frame| frame.opcode == BINARY);
    frames.map(|frame| frame.payload.len()).collect()
}

fn write_small(ws: &mut WsStream<Wire>, writes: usize) {
    for _ in 0..writes {
        assert_eq!(now(ws.write(b"01234567")).unwrap(), 8);
    }
}

/// Blocks the transport and collects until no more is taken; returns how many bytes were.
fn fill(ws: &mut WsStream<Wire>, peer: &Peer) -> usize {
    peer.block();
    let mut length = 0;
    while let Some(taken) = ws.write(&[1; 100]).now_or_never() {
        length += taken.unwrap();
    }
    length
}

#[test]
fn nothing_leaves_and_the_transport_is_not_called_before_there_is_a_reason() {
    let (mut ws, peer) = client();
    let before = peer.calls();
    write_small(&mut ws, 100);
    assert_eq!(peer.calls(), before);
    assert_eq!(peer.sent(), []);
}

#[test]
fn a_flush_sends_one_message() {
    for role in ROLES {
        let (mut ws, peer) = collecting(role);
        peer.buffer();
        let before = peer.calls();
        write_small(&mut ws, 100);
        now(ws.flush()).unwrap();
        assert_eq!(sizes(&peer), [800]);
        assert_eq!(peer.calls().writes, before.writes + 1);
        assert_eq!(peer.calls().flushes, before.flushes + 1);
    }
}

#[test]
fn closing_sends_one_message_before_the_close_frame_in_one_write() {
    for role in ROLES {
        let (mut ws, peer) = collecting(role);
        let before = peer.calls();
        write_small(&mut ws, 100);
        now(ws.close()).unwrap();
        assert_eq!(
            peer.sent().iter().map(|frame| frame.opcode).collect::<Vec<_>>(),
            [BINARY, CLOSE]
        );
        assert_eq!(sizes(&peer), [800]);
        assert_eq!(peer.calls().writes, before.writes + 1);
    }
}

#[test]
fn a_handle_that_closes_sends_it_before_the_close_frame() {
    let (mut ws, peer) = client();
    write_small(&mut ws, 100);
    assert!(ws.meta().close(4000, "").now_or_never().is_none());
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(sizes(&peer), [800]);
    assert_eq!(peer.sent_closes(), [(Some(4000), String::new())]);
}

#[test]
fn refusing_the_peer_sends_it_before_the_close_frame() {
    let (mut ws, peer) = client();
    peer.block();
    write_small(&mut ws, 100);
    peer.send(crate::support::TEXT, b"text");
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    peer.unblock();
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(sizes(&peer), [800]);
    assert_eq!(peer.sent().last().unwrap().opcode, CLOSE);
}

#[test]
fn messages_of_the_chosen_size_leave_at_once() {
    let (mut ws, peer) = client();
    now(ws.write_all(&pattern(0, 2500))).unwrap();
    assert_eq!(sizes(&peer), [SIZE, SIZE]);
    now(ws.flush()).unwrap();
    assert_eq!(sizes(&peer), [SIZE, SIZE, 500]);
    assert_eq!(peer.sent_data(), pattern(0, 2500));
}

#[test]
fn reading_the_next_message_sends_it_first() {
    for role in ROLES {
        let (mut ws, peer) = collecting(role);
        peer.binary(b"question");
        peer.binary(b"question");
        assert_eq!(now(ws.read(&mut [0; 4])).unwrap(), 4);
        write_small(&mut ws, 10);
        assert_eq!(now(ws.read(&mut [0; 4])).unwrap(), 4);
        assert!(sizes(&peer).is_empty(), "the rest of a message needs nothing of the peer");
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 8);
        assert_eq!(sizes(&peer), [80]);
        write_small(&mut ws, 10);
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        assert_eq!(sizes(&peer), [80, 80]);
    }
}

#[test]
fn a_reader_that_sleeps_in_another_task_is_woken_once_and_sends_it() {
    let (ws, peer) = client();
    let (mut reading, mut writing) = ws.split();
    let mut reader = Task::new(async move {
        let _ = reading.read(&mut [0; 8]).await;
    });
    for round in 1..10 {
        settle(&mut [&mut reader]);
        assert_eq!(peer.sent().len(), round - 1);
        let before = reader.wakes();
        for _ in 0..100 {
            now(writing.write_all(b"01234567")).unwrap();
        }
        assert_eq!(reader.wakes(), before + 1);
        reader.poll_if_woken();
        assert_eq!(sizes(&peer), vec![800; round]);
    }
}

#[test]
fn a_reader_that_does_not_sleep_is_not_woken() {
    let (mut ws, peer) = client();
    let (waker, wakes) = futures_test::task::new_count_waker();
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(ws.read(&mut [0; 8]).poll_unpin(&mut cx).is_pending());
    peer.binary(b"question");
    let before = wakes.get();
    assert!(ws.read(&mut [0; 8]).poll_unpin(&mut cx).is_ready());
    write_small(&mut ws, 10);
    assert_eq!(wakes.get(), before);
}

#[test]
fn a_pong_and_a_ping_do_not_wait_for_it() {
    let (mut ws, peer) = client();
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    write_small(&mut ws, 10);
    peer.send(PING, b"1");
    ws.meta().ping(b"2").unwrap();
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    let opcodes: Vec<_> = peer.sent().iter().map(|frame| frame.opcode).collect();
    assert_eq!(opcodes.len(), 3);
    assert!(opcodes.contains(&PING) && opcodes.contains(&PONG));
}

#[test]
fn a_full_observer_does_not_keep_it_back() {
    let (mut ws, peer) = client();
    let bounded = pharos::Channel::Bounded(1).into();
    let _events = now(pharos::Observable::observe(&mut ws, bounded)).unwrap();
    peer.raw(peer.frame(PONG, b"").repeat(10));
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    write_small(&mut ws, 10);
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(sizes(&peer), [80]);
}

#[test]
fn what_a_blocked_transport_does_not_take_is_bounded() {
    for role in ROLES {
        let (mut ws, peer) = collecting(role);
        let taken = fill(&mut ws, &peer);
        assert!(taken < 150 * 1024, "{taken} bytes");
        peer.unblock();
        now(ws.flush()).unwrap();
        assert_eq!(peer.sent_data().len(), taken);
    }
}

#[test]
fn a_writer_that_waits_for_room_is_woken_whoever_is_polled() {
    for polls_reader in [true, false] {
        let (mut ws, peer) = client();
        fill(&mut ws, &peer);
        let (mut reading, mut writing) = ws.split();
        let mut reader = Task::new(async move {
            let _ = reading.read(&mut [0; 8]).await;
        });
        let mut writer = Task::new(async move {
            writing.write_all(&[1; 5000]).await.unwrap();
        });
        writer.poll_if_woken();
        if polls_reader {
            reader.poll_if_woken();
        }
        assert!(!writer.is_done());
        peer.unblock();
        if polls_reader {
            reader.poll_if_woken();
        }
        writer.poll_if_woken();
        assert!(writer.is_done());
    }
}

#[test]
fn what_had_no_room_beside_a_message_is_not_left_behind_when_that_has_left() {
    let limits = WebSocketConfig::default().write_buffer_size(50).max_write_buffer_size(150);
    let (socket, peer) = socket(Role::Server, Some(limits));
    let mut ws = WsStream::with_config(socket, WsConfig::new().writes(Writes::Collect(100)));
    now(ws.flush()).unwrap();
    peer.block();
    let mut writer = Task::new(async move {
        ws.write_all(&[1; 100]).await.unwrap();
        ws.write_all(&[2; 30]).await.unwrap();
        ws.flush().await.unwrap();
    });
    settle(&mut [&mut writer]);
    peer.hold_wakes(true);
    peer.allow(102); // the first message and its header
    writer.poll(); // before it is woken for that
    peer.hold_wakes(false);
    settle(&mut [&mut writer]);
    assert_eq!(sizes(&peer), [100]);
    peer.unblock();
    settle(&mut [&mut writer]);
    assert!(writer.is_done(), "the writer sleeps for ever");
    assert_eq!(sizes(&peer), [100, 30]);
}

#[test]
fn a_flush_that_was_given_up_still_lets_it_leave() {
    let (mut ws, peer) = client();
    fill(&mut ws, &peer);
    assert!(ws.flush().now_or_never().is_none());
    peer.unblock();
    now(ws.write(b"1")).unwrap();
    let sent = peer.sent_data().len();
    now(ws.flush()).unwrap();
    assert_eq!(peer.sent_data().len(), sent + 1);
}

#[test]
fn what_the_peers_close_frame_cuts_off_is_told_once() {
    type Operation = fn(&mut WsStream<Wire>) -> io::Result<()>;
    let operations: [Operation; 3] =
        [|ws| now(ws.write(b"1")).map(drop), |ws| now(ws.flush()), |ws| now(ws.close())];
    for role in ROLES {
        for operation in operations {
            let (mut ws, peer) = collecting(role);
            fill(&mut ws, &peer);
            peer.close_frame(1000, "");
            peer.end();
            let mut events = observe(&mut ws);
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            peer.unblock();
            read_all(&mut ws).1.unwrap();
            assert_eq!(told(&mut events), ["close 1000 \"\"", "error: Closed", "closed"]);
            assert!(!now(ws.meta().closed()).was_clean);
            assert_eq!(operation(&mut ws).unwrap_err().kind(), ErrorKind::NotConnected);
            now(ws.flush()).unwrap();
            now(ws.close()).unwrap();
        }
    }
}

#[test]
fn what_the_end_of_the_transport_cuts_off_is_told() {
    let room = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(40);
    let (socket, peer) = socket(Role::Client, Some(room));
    let mut ws = WsStream::with_config(socket, WsConfig::new().writes(Writes::Collect(SIZE)));
    fill(&mut ws, &peer);
    assert!(ws.close().now_or_never().is_none());
    peer.end();
    read_all(&mut ws).1.unwrap();
    peer.unblock();
    assert_eq!(now(ws.close()).unwrap_err().kind(), ErrorKind::NotConnected);
    now(ws.close()).unwrap();
}

#[test]
fn a_close_frame_fits_behind_it_whatever_the_limits_are() {
    let room = WebSocketConfig::default().write_buffer_size(999).max_write_buffer_size(1000);
    let config = WsConfig::new().writes(Writes::Collect(2000));
    let config = config.close_frame(4000, &"x".repeat(123)).unwrap();
    for role in ROLES {
        let (socket, peer) = socket(role, Some(room));
        let mut ws = WsStream::with_config(socket, config.clone());
        now(ws.flush()).unwrap();
        now(ws.write_all(&[1; 900])).unwrap();
        now(ws.close()).unwrap();
        assert_eq!(sizes(&peer), [900]);
        assert_eq!(peer.sent_closes().len(), 1);
    }
}

#[test]
fn a_close_frame_that_refuses_the_peer_does_not_wait_for_the_transport_to_take_it() {
    let (mut ws, peer) = client();
    let taken = fill(&mut ws, &peer);
    ws.meta().ping(b"?").unwrap();
    peer.send(crate::support::TEXT, b"text");
    peer.end();
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    peer.unblock();
    read_all(&mut ws).1.unwrap();
    assert_eq!(peer.sent_data().len(), taken);
    assert_eq!(peer.sent_closes()[0].0, Some(1003));
}

#[test]
fn what_a_failing_transport_loses_is_told_to_the_writer() {
    let (mut ws, peer) = client();
    write_small(&mut ws, 10);
    peer.fail_writes(ErrorKind::BrokenPipe);
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(now(ws.flush()).unwrap_err().kind(), ErrorKind::BrokenPipe);
    now(ws.flush()).unwrap();

    let (mut ws, peer) = client();
    fill(&mut ws, &peer);
    peer.steps([Step::Error(ErrorKind::ConnectionReset)]);
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(now(ws.close()).unwrap_err().kind(), ErrorKind::ConnectionReset);
    now(ws.close()).unwrap();
}

#[test]
fn what_was_written_when_the_peer_closes_leaves_before_the_answer() {
    for role in ROLES {
        let (mut ws, peer) = collecting(role);
        write_small(&mut ws, 10);
        peer.close_frame(1000, "");
        peer.end();
        read_all(&mut ws).1.unwrap();
        assert_eq!(sizes(&peer), [80]);
        now(ws.close()).unwrap();
    }
}

#[test]
fn vectored_writes_are_collected_too() {
    let (mut ws, peer) = client();
    for _ in 0..10 {
        let bufs = [IoSlice::new(b"01"), IoSlice::new(b""), IoSlice::new(b"23")];
        assert_eq!(now(ws.write_vectored(&bufs)).unwrap(), 4);
    }
    let rest = [IoSlice::new(&[1; 900]), IoSlice::new(&[2; 900])];
    assert_eq!(now(ws.write_vectored(&rest)).unwrap(), 1800);
    assert_eq!(sizes(&peer), [SIZE]);
    now(ws.flush()).unwrap();
    assert_eq!(sizes(&peer), [SIZE, 1840 - SIZE]);
    let data = [b"0123".repeat(10), vec![1; 900], vec![2; 900]].concat();
    assert_eq!(peer.sent_data(), data);
}

#[test]
fn a_large_write_becomes_several_messages_that_leave_together() {
    let (mut ws, peer) = client();
    write_small(&mut ws, 10);
    let before = peer.calls();
    assert_eq!(now(ws.write(&[1; 4 * SIZE])).unwrap(), 4 * SIZE);
    assert_eq!(sizes(&peer), [SIZE; 4]);
    assert_eq!(peer.calls().writes, before.writes + 1);
    now(ws.flush()).unwrap();
    assert_eq!(sizes(&peer), [SIZE, SIZE, SIZE, SIZE, 80]);
}

#[test]
fn a_large_write_takes_no_more_than_there_is_room_for() {
    let (mut ws, peer) = client();
    now(ws.flush()).unwrap();
    peer.block();
    let taken = now(ws.write(&vec![1; 1024 * 1024])).unwrap();
    assert!((100_000..=130 * 1024).contains(&taken), "{taken} bytes");
    assert!(ws.write(&[1]).now_or_never().is_none(), "the message is full");
    peer.unblock();
    now(ws.flush()).unwrap();
    assert_eq!(peer.sent_data().len(), taken);
}

#[test]
fn an_empty_write_or_flush_sends_nothing() {
    let (mut ws, peer) = client();
    let before = peer.calls();
    assert_eq!(now(ws.write(b"")).unwrap(), 0);
    now(ws.flush()).unwrap();
    assert_eq!(peer.sent(), []);
    assert_eq!(peer.calls(), before);
}

#[test]
fn nothing_is_allocated_in_the_steady_state() {
    for role in ROLES {
        let (mut ws, peer) = collecting(role);
        let round = |ws: &mut WsStream<Wire>| {
            write_small(ws, 200);
            now(ws.flush()).unwrap();
        };
        round(&mut ws);
        peer.reserve(1024 * 1024);
        let used = measure(|| (0..100).for_each(|_| round(&mut ws)));
        assert_eq!(used.count_total, 0, "{role:?}");
    }
}

#[test]
fn the_size_is_limited_by_the_other_limits() {
    let socket_limits = WebSocketConfig::default().max_message_size(Some(300));
    let room = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(310);
    let collects = WsConfig::new().writes(Writes::Collect(SIZE));
    let cases = [
        (None, collects.clone().max_message(300), 300),
        (Some(socket_limits), collects.clone(), 300),
        (Some(room), collects, 302),
    ];
    for role in ROLES {
        for (limits, config, expected) in &cases {
            let (socket, peer) = socket(role, *limits);
            let mut ws = WsStream::with_config(socket, config.clone());
            now(ws.write_all(&pattern(0, 1000))).unwrap();
            now(ws.flush()).unwrap();
            assert_eq!(sizes(&peer), [*expected, *expected, *expected, 1000 - 3 * expected]);
            assert_eq!(peer.sent_data(), pattern(0, 1000));
        }
    }
}

#[test]
fn memory_grows_with_what_is_collected_whatever_the_size_is() {
    let limits = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    let (socket, peer) = socket(Role::Client, Some(limits));
    let config = WsConfig::new().max_message(usize::MAX).writes(Writes::Collect(usize::MAX));
    let mut ws = WsStream::with_config(socket, config);
    let used = measure(|| now(ws.write_all(b"data")).unwrap());
    assert!(used.bytes_max < 1000, "{} bytes", used.bytes_max);
    now(ws.flush()).unwrap();
    assert_eq!(sizes(&peer), [4]);
}

#[test]
fn a_size_of_zero_is_an_invalid_input() {
    let (mut ws, peer) = connect_with(Role::Client, WsConfig::new().writes(Writes::Collect(0)));
    assert_eq!(now(ws.write(b"data")).unwrap_err().kind(), ErrorKind::InvalidInput);
    peer.binary(b"data");
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 4);
}
