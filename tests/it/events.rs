//! What observers are told, and what they can hold up.

use std::{pin::Pin, task::Context};

use futures::{AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt};
use futures_test::task::new_count_waker;
use pharos::{Channel, Observable, ObserveConfig};
use ws_stream_tungstenite::{WsErr, WsEvent, pharos};

use crate::{
    backend::WsStream,
    support::{
        PING, PONG, ROLES, Step, TEXT, Wire, client, connect, fill, now, observe, read_all, run,
        server, told,
    },
};

fn observe_bounded(ws: &mut WsStream<Wire>, capacity: usize) -> pharos::Events<WsEvent> {
    now(ws.observe(Channel::Bounded(capacity).into())).unwrap()
}

#[test]
fn events_come_in_the_order_in_which_things_happened() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        peer.send(PING, b"1");
        peer.send(PONG, b"2");
        peer.binary(b"data");
        peer.send(PING, b"3");
        peer.close_frame(1000, "bye");
        peer.end();
        let mut buf = [0; 8];
        assert_eq!(now(ws.read(&mut buf)).unwrap(), 4);
        assert_eq!(told(&mut events), ["ping 1", "pong 2"]);
        assert_eq!(now(ws.read(&mut buf)).unwrap(), 0);
        assert_eq!(told(&mut events), ["ping 3", "close 1000 \"bye\"", "closed"]);
    }
}

#[test]
fn the_stream_of_events_ends_after_closed() {
    let (mut ws, peer) = server(None);
    let mut events = observe(&mut ws);
    peer.close_frame(1000, "");
    read_all(&mut ws).1.unwrap();
    assert_eq!(now(events.by_ref().count()), 2);
    let refused = now(ws.observe(ObserveConfig::default())).unwrap_err();
    assert!(matches!(refused, WsErr::Closed));
}

#[test]
fn a_stream_that_closed_unobserved_refuses_observers() {
    let (mut ws, peer) = server(None);
    peer.close_frame(1000, "");
    read_all(&mut ws).1.unwrap();
    assert!(now(ws.observe(ObserveConfig::default())).is_err());
}

#[test]
fn closed_is_told_once_and_last_on_every_path() {
    type Path = fn(&mut WsStream<Wire>, &crate::support::Peer);
    let paths: [(&str, Path); 7] = [
        ("clean, the peer first", |_, peer| peer.close_frame(1000, "")),
        ("clean, we first", |ws, peer| {
            now(ws.close()).unwrap();
            peer.close_frame(1000, "");
        }),
        ("text", |_, peer| peer.send(TEXT, b"hi")),
        ("violation", |_, peer| peer.send(0x3, b"")),
        ("transport error", |_, peer| {
            peer.steps([Step::Error(std::io::ErrorKind::ConnectionReset)]);
        }),
        ("transport end", |_, _| {}),
        ("failed write", |ws, peer| {
            peer.fail_writes(std::io::ErrorKind::BrokenPipe);
            now(ws.write(b"lost")).unwrap_err();
        }),
    ];
    for role in ROLES {
        for (name, path) in paths {
            let (mut ws, peer) = connect(role, None);
            let mut events = observe(&mut ws);
            path(&mut ws, &peer);
            peer.end();
            let _ = read_all(&mut ws);
            let _ = (now(ws.flush()), now(ws.close()), read_all(&mut ws));
            let told = told(&mut events);
            assert_eq!(told.iter().filter(|event| *event == "closed").count(), 1, "{name}");
            assert_eq!(told.last().unwrap(), "closed", "{name}");
        }
    }
}

#[test]
fn a_full_observer_holds_up_reading_and_has_it_woken() {
    let (mut ws, peer) = client(None);
    let mut events = observe_bounded(&mut ws, 1);
    peer.send(PING, b"1");
    peer.send(PING, b"2");
    peer.binary(b"data");
    let (waker, wakes) = new_count_waker();
    let mut buf = [0; 8];
    let mut read = Box::pin(ws.read(&mut buf));
    assert!(read.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(told(&mut events)[0], "ping 1");
    assert!(wakes.get() >= 1);
    assert_eq!(run(read).unwrap(), 4);
    assert_eq!(told(&mut events), ["ping 2"]);
}

#[test]
fn a_full_observer_holds_up_neither_writing_nor_closing() {
    let (mut ws, peer) = server(None);
    let _events = observe_bounded(&mut ws, 1);
    for _ in 0..4 {
        peer.send(PING, b"");
    }
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    let pongs = peer.sent().len();
    now(ws.write(b"data")).unwrap();
    now(ws.flush()).unwrap();
    now(ws.close()).unwrap();
    assert_eq!(peer.sent().len(), pongs + 2);
}

#[test]
fn a_full_observer_does_not_hold_up_the_answer_to_the_peers_close_frame() {
    let (mut ws, peer) = server(None);
    let mut events = observe_bounded(&mut ws, 1);
    peer.send(PING, b"");
    peer.close_frame(1000, "");
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(peer.sent_closes().len(), 1);
    assert!(peer.is_shut_down());
    let mut told = Vec::new();
    while let Some(event) = run(async {
        let _ = futures::poll!(std::pin::pin!(ws.read(&mut [0; 8])));
        events.next().await
    }) {
        told.push(crate::support::in_words(&event));
    }
    assert_eq!(told, ["ping ", "close 1000 \"\"", "closed"]);
}

#[test]
fn end_of_file_waits_for_a_full_observer_to_be_told() {
    let (mut ws, peer) = server(None);
    let mut events = observe_bounded(&mut ws, 1);
    peer.close_frame(1000, "");
    let (waker, wakes) = new_count_waker();
    let cx = &mut Context::from_waker(&waker);
    let mut buf = [0; 8];
    let mut end = Box::pin(ws.read(&mut buf));
    assert!(end.poll_unpin(cx).is_pending());
    assert_eq!(told(&mut events), ["close 1000 \"\""]);
    assert!(wakes.get() >= 1);
    assert_eq!(now(end).unwrap(), 0);
    assert_eq!(told(&mut events), ["closed"]);
}

#[test]
fn room_at_an_observer_wakes_the_reader_and_leaves_a_blocked_writer_its_waker() {
    let (mut ws, peer) = server(None);
    let mut events = observe_bounded(&mut ws, 1);
    for _ in 0..3 {
        peer.send(PONG, b"");
    }
    peer.binary(b"data");
    fill(&mut ws, &peer);
    let (writer, writer_wakes) = new_count_waker();
    let (reader, reader_wakes) = new_count_waker();
    let poll_write =
        |ws: &mut WsStream<_>| Pin::new(ws).poll_write(&mut Context::from_waker(&writer), b"more");
    assert!(poll_write(&mut ws).is_pending());
    let mut buf = [0; 8];
    let poll_read = |ws: &mut WsStream<_>, buf: &mut [u8]| {
        ws.read(buf).poll_unpin(&mut Context::from_waker(&reader))
    };
    assert!(poll_read(&mut ws, &mut buf).is_pending());
    while poll_read(&mut ws, &mut buf).is_pending() {
        let before = reader_wakes.get();
        assert!(!told(&mut events).is_empty());
        assert!(reader_wakes.get() > before, "the reader is woken");
        assert!(poll_write(&mut ws).is_pending());
    }
    let before = writer_wakes.get();
    peer.unblock();
    assert!(writer_wakes.get() > before, "the writer is woken");
    assert!(poll_write(&mut ws).is_ready());
}

#[test]
fn a_dropped_observer_is_forgotten() {
    let (mut ws, peer) = client(None);
    let full = observe_bounded(&mut ws, 1);
    let mut other = observe(&mut ws);
    for _ in 0..3 {
        peer.send(PONG, b"");
    }
    peer.binary(b"data");
    let (waker, wakes) = new_count_waker();
    let mut buf = [0; 8];
    let mut read = Box::pin(ws.read(&mut buf));
    assert!(read.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    drop(full);
    assert!(wakes.get() >= 1);
    assert_eq!(now(read).unwrap(), 4);
    assert_eq!(told(&mut other).len(), 3);
}

#[test]
fn a_failed_write_is_told_without_any_reading() {
    let (mut ws, peer) = client(None);
    let mut events = observe(&mut ws);
    peer.fail_writes(std::io::ErrorKind::BrokenPipe);
    now(ws.write(b"lost")).unwrap_err();
    assert_eq!(told(&mut events), ["error: Io(BrokenPipe)"]);
}

#[test]
fn an_observer_without_capacity_is_refused_with_the_cause() {
    use std::error::Error;
    let (mut ws, _peer) = client(None);
    let refused = now(ws.observe(Channel::Bounded(0).into())).unwrap_err();
    assert!(refused.source().unwrap().to_string().contains("size"), "{refused:?}");
}

#[test]
fn filters_choose_events() {
    let (mut ws, peer) = server(None);
    let config = ObserveConfig::default().filter(|event| matches!(event, WsEvent::Closed));
    let mut events = now(ws.observe(config)).unwrap();
    peer.send(PING, b"");
    peer.close_frame(1000, "");
    read_all(&mut ws).1.unwrap();
    assert_eq!(told(&mut events), ["closed"]);
}

#[test]
fn a_reader_that_waits_for_the_end_has_told_what_happened() {
    for role in ROLES {
        for (opcode, event) in [(TEXT, "error: ReceivedText"), (0x3, "error: Protocol")] {
            let (mut ws, peer) = connect(role, None);
            let mut events = observe(&mut ws);
            peer.send(opcode, b"x");
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            assert_eq!(told(&mut events), [event]);
        }
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        peer.block();
        peer.close_frame(1001, "going away");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        assert_eq!(told(&mut events), ["close 1001 \"going away\""]);
    }
}

#[test]
fn room_at_an_observer_wakes_a_reader_although_the_writer_was_polled_last() {
    let (mut ws, peer) = server(None);
    let mut events = observe_bounded(&mut ws, 1);
    for _ in 0..3 {
        peer.send(PONG, b"");
    }
    peer.binary(b"data");
    let (waker, wakes) = new_count_waker();
    let poll_read =
        |ws: &mut WsStream<_>| ws.read(&mut [0; 8]).poll_unpin(&mut Context::from_waker(&waker));
    assert!(poll_read(&mut ws).is_pending());
    while poll_read(&mut ws).is_pending() {
        now(ws.flush()).unwrap();
        let before = wakes.get();
        assert!(!told(&mut events).is_empty());
        assert!(wakes.get() > before);
        now(ws.write(b"x")).unwrap();
    }
}
