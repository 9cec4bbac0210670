//! `WsMeta`: what a handle can do while the stream is inside something else, asleep, blocked or gone.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt, channel::oneshot,
    future::BoxFuture,
};
use futures_test::task::new_count_waker;
use pharos::{Channel, Events, Observable, ObserveConfig};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{
    CloseEvent, WsConfig, WsErr, WsEvent, WsMeta, WsState, pharos, tungstenite,
};

use crate::{
    backend::{OverTokio, WsStream, over_tokio, websocket},
    support::{
        BINARY, CLOSE, PING, PONG, Peer, ROLES, Sent, TEXT, Task, Wire, client, connect, fill, now,
        read_all, server, settle, told, wire,
    },
};

fn ping(payload: &[u8]) -> Sent {
    Sent { opcode: PING, payload: payload.to_vec() }
}

fn closed(code: u16, reason: &str, was_clean: bool) -> CloseEvent {
    CloseEvent { code, reason: reason.into(), was_clean }
}

fn observe(meta: &mut WsMeta) -> Events<WsEvent> {
    now(meta.observe(ObserveConfig::default())).unwrap()
}

/// A task that reads to the end of the stream, asleep.
fn sleeping_reader(mut ws: WsStream<Wire>) -> Task {
    let mut reader = Task::new(async move {
        let _ = ws.read_to_end(&mut Vec::new()).await;
    });
    reader.poll_if_woken();
    assert!(!reader.is_done() && !reader.is_woken());
    reader
}

/// A task that closes, and what comes of it.
fn closer(meta: &WsMeta, code: u16, reason: &'static str) -> (Task, oneshot::Receiver<CloseEvent>) {
    let (sender, receiver) = oneshot::channel();
    let meta = meta.clone();
    let mut task = Task::new(async move {
        let event = meta.close(code, reason).await.unwrap();
        let _ = sender.send(event);
    });
    task.poll_if_woken();
    (task, receiver)
}

#[test]
fn a_handle_can_be_cloned_and_sent_anywhere() {
    fn takes<T: Clone + Send + Sync + std::fmt::Debug + 'static>(_: T) {}

    let (ws, _peer) = client(None);
    let meta = ws.meta();
    assert_eq!(format!("{meta:?}"), "WsMeta { ready_state: Open, .. }");
    takes(meta);
}

#[test]
fn a_future_of_a_handle_can_be_sent_to_another_thread() {
    fn takes(_: BoxFuture<'static, ()>) {}

    let meta = client(None).0.meta();
    takes(Box::pin(async move {
        let _ = meta.close(1000, "").await;
    }));
}

mod ping {
    use super::*;

    #[test]
    fn is_sent_although_the_reader_sleeps_and_nobody_writes() {
        for role in ROLES {
            let (ws, peer) = connect(role, None);
            let meta = ws.meta();
            peer.buffer();
            let mut reader = sleeping_reader(ws);
            meta.ping(b"are you there?").unwrap();
            reader.poll_if_woken();
            assert_eq!(peer.sent(), [ping(b"are you there?")]);
        }
    }

    #[test]
    fn wakes_a_sleeping_reader_once() {
        let (ws, peer) = client(None);
        let meta = ws.meta();
        let mut reader = sleeping_reader(ws);
        let before = reader.wakes();
        for _ in 0..10 {
            meta.ping(b"?").unwrap();
        }
        settle(&mut [&mut reader]);
        assert_eq!(reader.wakes(), before + 1);
        assert_eq!(peer.sent().len(), 10);
    }

    #[test]
    fn wakes_nobody_when_nobody_sleeps() {
        let (mut ws, _peer) = client(None);
        let (waker, wakes) = new_count_waker();
        let mut cx = Context::from_waker(&waker);
        assert!(ws.write(b"data").poll_unpin(&mut cx).is_ready());
        ws.meta().ping(b"?").unwrap();
        assert_eq!(wakes.get(), 0);
    }

    #[test]
    fn is_sent_by_a_writer_when_nobody_reads() {
        let (mut ws, peer) = client(None);
        ws.meta().ping(b"?").unwrap();
        now(ws.write(b"data")).unwrap();
        assert_eq!(peer.sent(), [ping(b"?"), Sent { opcode: BINARY, payload: b"data".to_vec() }]);
    }

    #[test]
    fn is_sent_while_the_reader_sleeps_and_the_writer_is_blocked() {
        for role in ROLES {
            let (mut ws, peer) = connect(role, None);
            let meta = ws.meta();
            fill(&mut ws, &peer);
            let (mut reading, mut writing) = ws.split();
            let mut reader = Task::new(async move {
                let _ = reading.read(&mut [0; 8]).await;
            });
            let mut writer = Task::new(async move {
                writing.write_all(&vec![1; 100_000]).await.unwrap();
                futures::future::pending::<()>().await;
            });
            settle(&mut [&mut reader, &mut writer]);
            let left = peer.sent_data();
            meta.ping(b"?").unwrap();
            settle(&mut [&mut reader, &mut writer]);
            assert_eq!(peer.sent_data(), left, "the transport is blocked");
            peer.unblock();
            settle(&mut [&mut reader, &mut writer]);
            assert_eq!(peer.sent().iter().filter(|frame| **frame == ping(b"?")).count(), 1);
            assert!(peer.sent_data().ends_with(&vec![1; 100_000]));
        }
    }

    #[test]
    fn is_sent_by_a_blocked_writer_alone() {
        let (mut ws, peer) = client(None);
        let meta = ws.meta();
        fill(&mut ws, &peer);
        let mut writer = Task::new(async move {
            ws.write_all(b"data").await.unwrap();
            futures::future::pending::<()>().await;
        });
        writer.poll_if_woken();
        meta.ping(b"?").unwrap();
        settle(&mut [&mut writer]);
        peer.unblock();
        settle(&mut [&mut writer]);
        assert!(peer.sent().contains(&ping(b"?")));
    }

    #[test]
    fn does_not_wait_for_room_at_an_observer() {
        let (mut ws, peer) = client(None);
        let meta = ws.meta();
        let _events = now(ws.observe(Channel::Bounded(1).into())).unwrap();
        peer.raw(peer.frame(PONG, b"").repeat(10));
        let mut reader = sleeping_reader(ws);
        meta.ping(b"?").unwrap();
        reader.poll_if_woken();
        assert_eq!(peer.sent(), [ping(b"?")]);
    }

    #[test]
    fn has_at_most_125_bytes() {
        let (mut ws, peer) = client(None);
        let meta = ws.meta();
        meta.ping(&[1; 125]).unwrap();
        let error = meta.ping(&[1; 126]).unwrap_err();
        assert!(matches!(error, WsErr::PingTooLong { length: 126 }));
        assert!(error.to_string().contains("125"));
        now(ws.flush()).unwrap();
        assert_eq!(peer.sent(), [ping(&[1; 125])]);
    }

    #[test]
    fn is_refused_before_pings_pile_up() {
        let (ws, peer) = client(None);
        let meta = ws.meta();
        peer.block();
        let mut reader = sleeping_reader(ws);
        let mut pings = 0;
        let refusal = loop {
            match meta.ping(&[1; 125]) {
                Ok(()) => pings += 1,
                Err(error) => break error,
            }
            reader.poll_if_woken();
            assert!(pings < 2000, "the queue is bounded");
        };
        assert!(matches!(refusal, WsErr::TooManyPings));
        peer.unblock();
        settle(&mut [&mut reader]);
        assert_eq!(peer.sent().len(), pings, "what was accepted has left");
        meta.ping(b"").unwrap();
    }

    #[test]
    fn is_refused_while_nothing_polls_the_stream_and_16_wait() {
        let (mut ws, peer) = client(None);
        let meta = ws.meta();
        for _ in 0..16 {
            meta.ping(b"?").unwrap();
        }
        assert!(matches!(meta.ping(b"?"), Err(WsErr::TooManyPings)));
        now(ws.flush()).unwrap();
        assert_eq!(peer.sent().len(), 16);
    }

    #[test]
    fn leaves_in_one_write_with_others() {
        let (mut ws, peer) = client(None);
        for _ in 0..16 {
            ws.meta().ping(b"?").unwrap();
        }
        now(ws.flush()).unwrap();
        assert_eq!(peer.calls().writes, 1);
    }

    #[test]
    fn leaves_before_the_close_frame_of_the_same_handle() {
        let (ws, peer) = client(None);
        let meta = ws.meta();
        let mut reader = sleeping_reader(ws);
        meta.ping(b"?").unwrap();
        let _closer = closer(&meta, 1000, "");
        reader.poll_if_woken();
        assert_eq!(peer.sent()[0], ping(b"?"));
        assert_eq!(peer.sent_closes().len(), 1);
    }

    #[test]
    fn is_refused_once_closing_has_begun() {
        let (mut ws, peer) = client(None);
        let meta = ws.meta();
        now(ws.close()).unwrap();
        assert!(matches!(meta.ping(b"?"), Err(WsErr::Closed)));
        peer.close_frame(1000, "");
        peer.end();
        read_all(&mut ws).1.unwrap();
        assert!(matches!(meta.ping(b"?"), Err(WsErr::Closed)));
        drop(ws);
        assert!(matches!(meta.ping(b"?"), Err(WsErr::Closed)));
    }

    #[test]
    fn that_waits_when_the_peer_closes_holds_up_nothing() {
        for role in ROLES {
            let (ws, peer) = connect(role, None);
            let meta = ws.meta();
            let mut ws = ws;
            fill(&mut ws, &peer);
            for _ in 0..16 {
                meta.ping(b"?").unwrap();
            }
            peer.close_frame(1000, "");
            peer.end();
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            peer.unblock();
            read_all(&mut ws).1.unwrap();
            assert_eq!(now(meta.closed()), closed(1000, "", true));
        }
    }

    #[test]
    fn without_room_in_the_configuration_is_dropped() {
        let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(40);
        let (mut ws, peer) = client(Some(config));
        ws.meta().ping(&[1; 125]).unwrap();
        ws.meta().ping(b"?").unwrap();
        now(ws.write_all(b"data")).unwrap();
        now(ws.flush()).unwrap();
        assert_eq!(peer.sent()[0], ping(b"?"));
        assert_eq!(peer.sent_data(), b"data");
    }

    #[test]
    fn is_answered_with_a_pong_that_observers_are_told() {
        let (ws, peer) = client(None);
        let mut meta = ws.meta();
        let mut events = observe(&mut meta);
        let mut reader = sleeping_reader(ws);
        meta.ping(b"1").unwrap();
        reader.poll_if_woken();
        peer.send(PONG, &peer.sent()[0].payload);
        reader.poll_if_woken();
        assert_eq!(told(&mut events), ["pong 1"]);
    }
}

mod close {
    use super::*;

    #[test]
    fn sends_code_and_reason_and_resolves_when_the_connection_is_closed() {
        for role in ROLES {
            let (ws, peer) = connect(role, None);
            let meta = ws.meta();
            let mut reader = sleeping_reader(ws);
            let (mut closer, mut event) = closer(&meta, 4000, "that is all");
            settle(&mut [&mut reader, &mut closer]);
            assert_eq!(peer.sent_closes(), [(Some(4000), "that is all".into())]);
            assert!(!closer.is_done(), "the peer has not answered");
            peer.close_frame(4000, "that is all");
            peer.end();
            settle(&mut [&mut reader, &mut closer]);
            assert!(reader.is_done());
            assert_eq!(event.try_recv().unwrap().unwrap(), closed(4000, "that is all", true));
        }
    }

    #[test]
    fn accepts_the_codes_that_may_be_sent_and_no_others() {
        let allowed = [1000..=1003, 1007..=1013, 3000..=4999];
        for code in 0..=u16::MAX {
            let (mut ws, peer) = client(None);
            let meta = ws.meta();
            let result = meta.close(code, "").now_or_never();
            if allowed.iter().any(|codes| codes.contains(&code)) {
                assert!(result.is_none());
                now(ws.flush()).unwrap();
                assert_eq!(peer.sent_closes(), [(Some(code), String::new())]);
            } else {
                let error = result.unwrap().unwrap_err();
                assert!(matches!(error, WsErr::InvalidCloseCode { supplied } if supplied == code));
                assert!(error.to_string().contains(&code.to_string()));
                assert_eq!(meta.ready_state(), WsState::Open);
            }
        }
    }

    #[test]
    fn accepts_a_reason_of_123_bytes_and_no_longer_one() {
        let (mut ws, peer) = client(None);
        let meta = ws.meta();
        let too_long = "é".repeat(62);
        let error = now(meta.close(1000, &too_long)).unwrap_err();
        assert!(matches!(error, WsErr::ReasonTooLong { length: 124 }));
        assert!(error.to_string().contains("123"));
        now(ws.write_all(b"still open")).unwrap();
        let longest = format!("{}!", "é".repeat(61));
        assert!(meta.close(1000, &longest).now_or_never().is_none());
        now(ws.flush()).unwrap();
        assert_eq!(peer.sent_closes(), [(Some(1000), longest)]);
    }

    #[test]
    fn lets_written_data_go_first_although_it_is_half_out() {
        for role in ROLES {
            let (mut ws, peer) = connect(role, None);
            let meta = ws.meta();
            now(ws.flush()).unwrap();
            peer.allow(1000);
            let (reading, mut writing) = ws.split();
            let (sender, mut accepted) = oneshot::channel();
            let mut writer = Task::new(async move {
                let mut length = 0;
                let error = loop {
                    match writing.write(&vec![1; 1_000_000]).await {
                        Ok(taken) => length += taken,
                        Err(error) => break error,
                    }
                };
                sender.send((length, error.kind())).unwrap();
            });
            let mut reader = Task::new(async move {
                let _ = { reading }.read_to_end(&mut Vec::new()).await;
            });
            settle(&mut [&mut writer, &mut reader]);
            assert!(!writer.is_done());
            let (mut closer, _event) = closer(&meta, 1001, "restarting");
            settle(&mut [&mut writer, &mut reader, &mut closer]);
            peer.unblock();
            settle(&mut [&mut writer, &mut reader, &mut closer]);
            let (length, error) = accepted.try_recv().unwrap().unwrap();
            assert_eq!(error, io::ErrorKind::NotConnected, "nothing more is taken");
            assert!(length > 0);
            assert_eq!(peer.sent_data().len(), length);
            assert_eq!(peer.sent().last().unwrap().opcode, CLOSE);
            assert_eq!(peer.sent_closes(), [(Some(1001), "restarting".into())]);
        }
    }

    #[test]
    fn says_how_the_peer_closed_if_that_was_first() {
        for role in ROLES {
            let (ws, peer) = connect(role, None);
            let meta = ws.meta();
            let mut reader = sleeping_reader(ws);
            peer.close_frame(1001, "going away");
            reader.poll_if_woken();
            let (mut closer, mut event) = closer(&meta, 1000, "");
            peer.end();
            settle(&mut [&mut reader, &mut closer]);
            assert_eq!(peer.sent_closes(), [(Some(1001), "going away".into())]);
            assert_eq!(event.try_recv().unwrap().unwrap(), closed(1001, "going away", true));
        }
    }

    #[test]
    fn says_how_the_peer_closed_if_that_was_at_the_same_moment() {
        for role in ROLES {
            let (ws, peer) = connect(role, None);
            let meta = ws.meta();
            let mut reader = sleeping_reader(ws);
            let (mut closer, mut event) = closer(&meta, 4001, "ours");
            peer.close_frame(4002, "theirs");
            peer.end();
            settle(&mut [&mut reader, &mut closer]);
            assert_eq!(peer.sent_closes(), [(Some(4001), "ours".into())]);
            assert_eq!(event.try_recv().unwrap().unwrap(), closed(4002, "theirs", true));
        }
    }

    #[test]
    fn says_1005_if_the_peers_frame_had_no_code() {
        let (mut ws, peer) = client(None);
        peer.send(CLOSE, b"");
        peer.end();
        read_all(&mut ws).1.unwrap();
        assert_eq!(now(ws.meta().closed()), closed(1005, "", true));
    }

    #[test]
    fn says_1002_if_the_peers_frame_had_a_code_that_must_not_be_sent() {
        for code in [0, 999, 1004, 1005, 1006, 1014, 1015, 2999] {
            for closes_first in [true, false] {
                let (mut ws, peer) = client(None);
                let mut events = observe(&mut ws.meta());
                if closes_first {
                    now(ws.close()).unwrap();
                }
                peer.close_frame(code, "bye");
                peer.end();
                read_all(&mut ws).1.unwrap();
                let event = now(ws.meta().closed());
                assert_eq!(event, closed(1002, "Protocol violation", true), "{code}");
                assert_eq!(told(&mut events), ["close 1002 \"Protocol violation\"", "closed"]);
            }
        }
    }

    #[test]
    fn says_1006_if_the_transport_ended() {
        let (ws, peer) = client(None);
        let meta = ws.meta();
        let mut reader = sleeping_reader(ws);
        let (mut closer, mut event) = closer(&meta, 1000, "");
        peer.end();
        settle(&mut [&mut reader, &mut closer]);
        assert_eq!(event.try_recv().unwrap().unwrap(), closed(1006, "", false));
    }

    #[test]
    fn is_not_clean_if_our_answer_could_not_be_sent() {
        let (mut ws, peer) = client(None);
        peer.fail_writes(io::ErrorKind::BrokenPipe);
        peer.close_frame(1000, "bye");
        peer.end();
        let _ = read_all(&mut ws);
        assert_eq!(now(ws.meta().closed()), closed(1000, "bye", false));
    }

    #[test]
    fn resolves_if_the_stream_is_dropped() {
        for asked_before in [true, false] {
            let (mut ws, _peer) = client(None);
            let meta = ws.meta();
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            if asked_before {
                let (mut closer, mut event) = closer(&meta, 1000, "");
                drop(ws);
                assert!(closer.is_woken());
                closer.poll_if_woken();
                assert_eq!(event.try_recv().unwrap().unwrap(), closed(1006, "", false));
            } else {
                drop(ws);
                assert_eq!(now(meta.close(1000, "")).unwrap(), closed(1006, "", false));
            }
        }
    }

    #[test]
    fn was_clean_if_the_stream_is_dropped_when_both_close_frames_are_through() {
        let (mut ws, peer) = client(None);
        let meta = ws.meta();
        peer.close_frame(1000, "bye");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none(), "the server has not ended it yet");
        drop(ws);
        assert_eq!(now(meta.closed()), closed(1000, "bye", true));
    }

    #[test]
    fn is_over_for_the_handle_when_the_stream_is_taken_apart() {
        let (ws, _peer) = client(None);
        let meta = ws.meta();
        let _socket = ws.into_inner();
        assert_eq!(now(meta.closed()), closed(1006, "", false));
        assert_eq!(meta.ready_state(), WsState::Closed);
    }

    #[test]
    fn goes_on_if_its_future_is_dropped() {
        let (ws, peer) = client(None);
        let meta = ws.meta();
        let mut reader = sleeping_reader(ws);
        assert!(meta.close(4000, "first").now_or_never().is_none());
        assert_eq!(meta.ready_state(), WsState::Closing);
        settle(&mut [&mut reader]);
        assert_eq!(peer.sent_closes(), [(Some(4000), "first".into())]);
        let (mut closer, mut event) = closer(&meta, 4001, "second");
        peer.close_frame(4000, "first");
        peer.end();
        settle(&mut [&mut reader, &mut closer]);
        assert_eq!(peer.sent_closes().len(), 1);
        assert_eq!(event.try_recv().unwrap().unwrap(), closed(4000, "first", true));
    }

    #[test]
    fn asks_for_nothing_before_it_is_polled() {
        let (ws, _peer) = client(None);
        let meta = ws.meta();
        drop(meta.close(1000, ""));
        assert_eq!(meta.ready_state(), WsState::Open);
    }

    #[test]
    fn resolves_for_all_who_wait_whoever_gave_up() {
        let (ws, peer) = client(None);
        let meta = ws.meta();
        let mut reader = sleeping_reader(ws);
        let mut closers: Vec<_> = (0..10).map(|_| closer(&meta, 1000, "")).collect();
        drop(closers.remove(0)); // the first that was polled
        drop(closers.remove(4));
        peer.close_frame(1000, "");
        peer.end();
        settle(&mut [&mut reader]);
        for (mut closer, mut event) in closers {
            assert!(closer.is_woken());
            closer.poll_if_woken();
            assert_eq!(event.try_recv().unwrap().unwrap(), closed(1000, "", true));
        }
    }

    #[test]
    fn leaves_nothing_behind_for_those_who_gave_up() {
        let (ws, _peer) = client(None);
        let meta = ws.meta();
        let (waker, _) = new_count_waker();
        let _others = closer(&meta, 1000, "");
        let wait = || {
            let mut waiting = Box::pin(meta.closed());
            let mut cx = Context::from_waker(&waker);
            assert!(waiting.poll_unpin(&mut cx).is_pending());
        };
        wait();
        let used = allocation_counter::measure(|| (0..1000).for_each(|_| wait()));
        assert!(used.bytes_current.abs() < 1000, "{} bytes", used.bytes_current);
    }

    #[test]
    fn is_out_when_a_writer_is_told_which_may_drop_the_stream_for_that() {
        for role in ROLES {
            let (mut ws, peer) = connect(role, None);
            let meta = ws.meta();
            fill(&mut ws, &peer);
            let mut writer = Task::new(async move {
                let error = ws.write(b"data").await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::NotConnected);
                drop(ws);
            });
            writer.poll_if_woken();
            let (mut closer, _event) = closer(&meta, 1001, "going away");
            settle(&mut [&mut writer, &mut closer]);
            peer.unblock();
            settle(&mut [&mut writer, &mut closer]);
            assert!(writer.is_done());
            assert_eq!(peer.sent_closes(), [(Some(1001), "going away".into())]);
        }
    }

    #[test]
    fn fits_behind_pings_whatever_the_limits_are() {
        let room = WebSocketConfig::default().write_buffer_size(309).max_write_buffer_size(310);
        let reason = "x".repeat(123);
        for role in ROLES {
            let (mut ws, peer) = connect(role, Some(room));
            now(ws.flush()).unwrap();
            for _ in 0..15 {
                ws.meta().ping(&[1; 125]).unwrap();
            }
            let _ = ws.meta().close(4000, &reason).now_or_never();
            now(ws.flush()).unwrap();
            assert_eq!(peer.sent().len(), 16);
            assert_eq!(peer.sent_closes(), [(Some(4000), reason.clone())]);
        }
    }

    #[test]
    fn without_a_code_is_not_clean_either_if_the_answer_had_no_room() {
        let room = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(1);
        for role in ROLES {
            let (mut ws, peer) = connect(role, Some(room));
            peer.send(CLOSE, b"");
            peer.end();
            read_all(&mut ws).1.unwrap();
            assert!(peer.sent_closes().is_empty());
            assert_eq!(now(ws.meta().closed()), closed(1005, "", false));
        }
    }

    #[test]
    fn does_not_keep_a_writer_waiting_for_a_peer_that_is_gone() {
        for ends in [true, false] {
            let (mut ws, peer) = client(None);
            let meta = ws.meta();
            fill(&mut ws, &peer);
            let _closer = closer(&meta, 1001, "going away");
            assert!(ws.write(b"data").now_or_never().is_none());
            if ends {
                peer.end();
            } else {
                peer.close_frame(1000, "");
            }
            let _ = ws.read(&mut [0; 8]).now_or_never();
            assert_eq!(now(ws.write(b"data")).unwrap_err().kind(), io::ErrorKind::NotConnected);
        }
    }

    #[test]
    fn counts_for_the_next_write_at_once() {
        let (mut ws, peer) = client(None);
        let _closer = closer(&ws.meta(), 4000, "");
        assert_eq!(now(ws.write(b"data")).unwrap_err().kind(), io::ErrorKind::NotConnected);
        assert_eq!(peer.sent_closes(), [(Some(4000), String::new())]);
        now(ws.close()).unwrap();
        assert_eq!(peer.sent_closes().len(), 1);
    }

    #[test]
    fn can_wait_in_the_task_that_reads() {
        let (mut ws, peer) = client(None);
        let meta = ws.meta();
        let mut task = Task::new(async move {
            let (event, read) =
                futures::join!(meta.close(1000, ""), async { ws.read(&mut [0; 8]).await });
            assert_eq!(event.unwrap(), closed(1000, "", true));
            assert_eq!(read.unwrap(), 0);
        });
        settle(&mut [&mut task]);
        peer.close_frame(1000, "");
        peer.end();
        settle(&mut [&mut task]);
        assert!(task.is_done());
    }

    #[test]
    fn is_not_clean_if_the_answer_had_no_room() {
        let room = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(100);
        for role in ROLES {
            for (length, was_clean) in [(80, true), (123, false)] {
                let (mut ws, peer) = connect(role, Some(room));
                let reason = "x".repeat(length);
                peer.close_frame(1001, &reason);
                peer.end();
                read_all(&mut ws).1.unwrap();
                assert_eq!(now(ws.meta().closed()), closed(1001, &reason, was_clean));
                assert_eq!(peer.sent_closes().len(), usize::from(was_clean));
            }
        }
    }

    #[test]
    fn wakes_whoever_waits_without_a_lock() {
        struct Uses(WsMeta);
        impl std::task::Wake for Uses {
            fn wake(self: Arc<Self>) {
                now(self.0.closed());
            }
        }

        let (ws, _peer) = client(None);
        let meta = ws.meta();
        let waker = std::task::Waker::from(Arc::new(Uses(ws.meta())));
        let mut waiting = Box::pin(meta.closed());
        assert!(waiting.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        within_seconds(move || drop(ws));
        now(waiting);
    }

    #[test]
    fn ends_in_an_unclean_way_if_sending_fails() {
        let (ws, peer) = client(None);
        let meta = ws.meta();
        let mut reader = sleeping_reader(ws);
        peer.fail_writes(io::ErrorKind::BrokenPipe);
        let (mut closer, mut event) = closer(&meta, 1000, "");
        settle(&mut [&mut reader, &mut closer]);
        peer.end();
        settle(&mut [&mut reader, &mut closer]);
        assert_eq!(event.try_recv().unwrap().unwrap(), closed(1006, "", false));
    }

    #[test]
    fn is_bounded_by_the_timeout_of_any_runtime() {
        let patience = Duration::from_millis(20);
        let (ws, _silent_peer) = client(None);
        let meta = ws.meta();
        let mut reader = sleeping_reader(ws);
        let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        tokio.block_on(async {
            tokio::time::timeout(patience, meta.close(1000, "")).await.unwrap_err();
        });
        smol::block_on(async {
            let timer = async {
                smol::Timer::after(patience).await;
                Ok(closed(0, "timeout", false))
            };
            let event = smol::future::or(meta.close(1000, ""), timer).await.unwrap();
            assert_eq!(event.reason, "timeout");
        });
        reader.poll_if_woken();
        drop(reader);
        assert_eq!(now(meta.closed()), closed(1006, "", false));
    }
}

mod state {
    use super::*;

    #[test]
    fn follows_the_closing_handshake_whoever_begins() {
        for peer_is_first in [true, false] {
            let (mut ws, peer) = server(None);
            let meta = ws.meta();
            assert_eq!(meta.ready_state(), WsState::Open);
            if peer_is_first {
                peer.block();
                peer.close_frame(1000, "");
                assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            } else {
                now(ws.close()).unwrap();
                assert_eq!(meta.ready_state(), WsState::Closing);
                peer.close_frame(1000, "");
                peer.block_close(true);
                assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            }
            assert_eq!(meta.ready_state(), WsState::Closing);
            peer.unblock();
            peer.block_close(false);
            read_all(&mut ws).1.unwrap();
            assert_eq!(meta.ready_state(), WsState::Closed);
        }
    }

    #[test]
    fn is_closing_when_the_peer_is_refused_or_sending_has_failed() {
        let (mut ws, peer) = client(None);
        peer.send(TEXT, b"text");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        assert_eq!(ws.meta().ready_state(), WsState::Closing);

        let (mut ws, peer) = client(None);
        peer.fail_writes(io::ErrorKind::BrokenPipe);
        now(ws.write(b"data")).unwrap_err();
        assert_eq!(ws.meta().ready_state(), WsState::Closing);
    }

    #[test]
    fn is_closed_when_the_transport_ends_or_the_stream_is_dropped() {
        let (mut ws, peer) = client(None);
        peer.end();
        read_all(&mut ws).1.unwrap();
        assert_eq!(ws.meta().ready_state(), WsState::Closed);

        let (ws, _peer) = client(None);
        let meta = ws.meta();
        drop(ws);
        assert_eq!(meta.ready_state(), WsState::Closed);
    }

    #[test]
    fn of_a_socket_that_was_closed_before_ends_closed() {
        let (ws, peer) = client(None);
        let mut socket = ws.into_inner();
        peer.close_frame(1000, "");
        peer.end();
        while !matches!(now(socket.next()), None | Some(Err(_))) {}
        let mut ws = WsStream::new(socket);
        read_all(&mut ws).1.unwrap();
        assert_eq!(ws.meta().ready_state(), WsState::Closed);
    }
}

mod observing {
    use super::*;

    #[test]
    fn tells_what_happens_from_now_on() {
        let (mut ws, peer) = client(None);
        let mut meta = ws.meta();
        peer.send(PING, b"before");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        let mut events = observe(&mut meta);
        let mut others = observe(&mut meta.clone());
        peer.send(PONG, b"after");
        peer.close_frame(1000, "");
        peer.end();
        read_all(&mut ws).1.unwrap();
        for events in [&mut events, &mut others] {
            assert_eq!(told(events), ["pong after", "close 1000 \"\"", "closed"]);
            assert!(now(events.next()).is_none());
        }
    }

    #[test]
    fn through_a_bounded_channel_holds_up_reading() {
        let (mut ws, peer) = client(None);
        let mut meta = ws.meta();
        let mut events = now(meta.observe(Channel::Bounded(1).into())).unwrap();
        peer.raw(peer.frame(PONG, b"").repeat(5));
        peer.binary(b"data");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        assert!(!told(&mut events).is_empty());
        while ws.read(&mut [0; 8]).now_or_never().is_none() {
            told(&mut events);
        }
    }

    #[test]
    fn ends_without_closed_if_the_stream_is_dropped() {
        let (ws, _peer) = client(None);
        let mut events = observe(&mut ws.meta());
        drop(ws);
        assert!(now(events.next()).is_none());
    }

    #[test]
    fn ends_when_the_state_is_closed() {
        struct Looks(WsMeta);
        impl std::task::Wake for Looks {
            fn wake(self: Arc<Self>) {
                assert_eq!(self.0.ready_state(), WsState::Closed);
            }
        }

        let (mut ws, _peer) = client(None);
        let mut events = crate::support::observe(&mut ws);
        let waker = std::task::Waker::from(Arc::new(Looks(ws.meta())));
        let mut next = events.next();
        assert!(next.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        drop(ws);
        assert!(now(next).is_none());
    }

    #[test]
    fn is_refused_when_it_is_over() {
        let (mut ws, peer) = client(None);
        let mut meta = ws.meta();
        peer.end();
        read_all(&mut ws).1.unwrap();
        assert!(matches!(now(meta.observe(ObserveConfig::default())), Err(WsErr::Closed)));
        drop(ws);
        assert!(matches!(now(meta.observe(ObserveConfig::default())), Err(WsErr::Closed)));
    }

    #[test]
    fn leaves_nothing_behind_when_it_is_given_up() {
        let (mut ws, _peer) = client(None);
        let mut meta = ws.meta();
        let mut observe_and_give_up = || {
            drop(observe(&mut meta));
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        };
        observe_and_give_up();
        let used = allocation_counter::measure(|| (0..1000).for_each(|_| observe_and_give_up()));
        assert!(used.bytes_current.abs() < 1000, "{} bytes", used.bytes_current);
    }

    #[test]
    fn is_refused_without_capacity() {
        let (ws, _peer) = client(None);
        let refused = now(ws.meta().observe(Channel::Bounded(0).into()));
        assert!(matches!(refused, Err(WsErr::Observe { .. })));
    }
}

#[test]
fn counters_count_what_went_over_the_connection() {
    let (mut ws, peer) = client(None);
    let meta = ws.meta();
    assert_eq!(meta.counters(), ws_stream_tungstenite::WsCounters::default());
    now(ws.write_all(&vec![1; 100_000])).unwrap();
    meta.ping(b"?").unwrap();
    peer.binary(b"");
    peer.binary(b"data");
    peer.send(PING, b"");
    peer.send(PONG, b"");
    peer.send(PONG, b"");
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 4);
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    let counters = meta.counters();
    assert_eq!(counters.bytes_sent, 100_000);
    assert_eq!(counters.messages_sent, 2);
    assert_eq!(counters.bytes_received, 4);
    assert_eq!(counters.messages_received, 2);
    assert_eq!(counters.pings_sent, 1);
    assert_eq!(counters.pings_received, 1);
    assert_eq!(counters.pongs_received, 2);
    assert_eq!(counters.pongs_sent, 1);
    now(ws.close()).unwrap();
    peer.send(PING, b"");
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert_eq!(meta.counters().pings_received, 2);
    assert_eq!(meta.counters().pongs_sent, 1, "nothing follows a close frame");
    let counters = meta.counters();
    drop(ws);
    assert_eq!(meta.counters(), counters);
}

#[test]
fn a_handle_keeps_neither_the_transport_nor_a_task_alive() {
    let (mut ws, peer) = connect(Role::Client, None);
    let meta = ws.meta();
    fill(&mut ws, &peer);
    let task = Arc::new(());
    let waker = waker_of(&task);
    let mut cx = Context::from_waker(&waker);
    assert!(ws.read(&mut [0; 8]).poll_unpin(&mut cx).is_pending());
    assert!(ws.write(b"data").poll_unpin(&mut cx).is_pending());
    drop(ws);
    drop(waker);
    assert!(peer.is_alone());
    drop(peer);
    assert_eq!(Arc::strong_count(&task), 1);
    drop(meta);
}

/// A waker that holds `task`, as those of executors do.
fn waker_of(task: &Arc<()>) -> std::task::Waker {
    struct Holds(#[expect(dead_code)] Arc<()>);
    impl std::task::Wake for Holds {
        fn wake(self: Arc<Self>) {}
    }

    std::task::Waker::from(Arc::new(Holds(Arc::clone(task))))
}

/// A client, whose peer `peer` is a server with the same transport, on tokio.
async fn tcp() -> (OverTokio<tokio::net::TcpStream>, smol::net::TcpStream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let server = smol::Async::new(listener.accept().unwrap().0).unwrap();
    (over_tokio::without_handshake(client, Role::Client, WsConfig::new()).await, server.into())
}

/// A server that answers until it is closed.
fn serve(tcp: smol::net::TcpStream) {
    thread::spawn(|| {
        smol::block_on(async {
            let mut ws = WsStream::new(websocket(tcp, Role::Server, None).await);
            futures::io::copy(&mut ws, &mut futures::io::sink()).await.unwrap();
        });
    });
}

/// Runs something that hangs if it is wrong.
fn within_seconds(run: impl FnOnce() + Send + 'static) {
    let (done, is_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        run();
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(60)).expect("it hangs or has panicked");
}

/// A transport that uses a handle in each of its polls.
struct Nosy {
    wire: Wire,
    meta: Arc<Mutex<Option<WsMeta>>>,
}

impl Nosy {
    fn look(&self) {
        let Some(mut meta) = self.meta.lock().unwrap().clone() else { return };
        let _ = meta.ping(b"?");
        let _ = (meta.counters(), meta.ready_state());
        let _ = now(meta.observe(ObserveConfig::default()));
        let _ = meta.closed().now_or_never();
    }
}

impl AsyncRead for Nosy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.look();
        Pin::new(&mut self.wire).poll_read(cx, buf)
    }
}

impl AsyncWrite for Nosy {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.look();
        Pin::new(&mut self.wire).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look();
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.look();
        Pin::new(&mut self.wire).poll_close(cx)
    }
}

impl Drop for Nosy {
    fn drop(&mut self) {
        self.look();
    }
}

#[test]
fn no_lock_is_held_while_the_transport_is_polled_or_dropped() {
    let (mut ws, peer, meta) = nosy();
    within_seconds(move || {
        now(ws.write_all(b"data")).unwrap();
        peer.send(PING, b"?");
        peer.binary(b"data");
        now(ws.read(&mut [0; 8])).unwrap();
        let _ = meta.close(1000, "").now_or_never();
        now(ws.flush()).unwrap();
        peer.close_frame(1000, "");
        peer.end();
        while ws.read(&mut [0; 8]).now_or_never().is_none() {}
    });
}

/// A stream whose transport knows its handle.
fn nosy() -> (WsStream<Nosy>, Peer, WsMeta) {
    let (wire, peer) = wire(Role::Client);
    let known = Arc::default();
    let transport = Nosy { wire, meta: Arc::clone(&known) };
    let ws = WsStream::new(now(websocket(transport, Role::Client, None)));
    let meta = ws.meta();
    *known.lock().unwrap() = Some(meta.clone());
    (ws, peer, meta)
}

/// Pings from one task, while another writes and a third reads.
#[test]
fn pings_get_through_while_other_threads_write_and_read() {
    const ROUNDS: u32 = 100;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (ws, server) = tcp().await;
        serve(server);
        let mut meta = ws.meta();
        let mut events = meta.observe(ObserveConfig::default()).await.unwrap();
        let (mut reading, mut writing) = ws.split();
        let reader = tokio::spawn(async move { reading.read_to_end(&mut Vec::new()).await });
        let writer = tokio::spawn(async move {
            loop {
                if let Err(error) = writing.write_all(&vec![1; 1_000_000]).await {
                    break error.kind();
                }
            }
        });
        let pings = async {
            for round in 0..ROUNDS {
                meta.ping(&round.to_be_bytes()).unwrap();
                let Some(WsEvent::Pong(payload)) = events.next().await else { panic!() };
                assert_eq!(payload[..], round.to_be_bytes());
            }
            assert!(meta.close(4321, "enough").await.unwrap().was_clean);
        };
        tokio::time::timeout(Duration::from_secs(60), pings).await.expect("a ping was lost");
        assert_eq!(reader.await.unwrap().unwrap(), 0);
        assert_eq!(writer.await.unwrap(), io::ErrorKind::NotConnected);
    });
}

/// Thousands of requests meet the stream's polls at every moment; each is seen.
#[test]
fn no_request_from_another_thread_is_lost() {
    const ROUNDS: u32 = 3000;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut ws, server) = runtime.block_on(tcp());
    serve(server);
    let mut meta = ws.meta();
    let other = thread::spawn(move || {
        smol::block_on(async {
            let mut events = meta.observe(ObserveConfig::default()).await.unwrap();
            for round in 0..ROUNDS {
                meta.ping(&round.to_be_bytes()).unwrap();
                let Some(WsEvent::Pong(payload)) = events.next().await else { panic!() };
                assert_eq!(payload[..], round.to_be_bytes());
            }
            let event = meta.close(4321, "enough").await.unwrap();
            assert_eq!(event, closed(4321, "enough", true));
        });
    });
    let patience = Duration::from_secs(60);
    let read = async { tokio::time::timeout(patience, ws.read(&mut [0; 8])).await };
    let read = runtime.block_on(read).expect("a ping was lost").unwrap();
    assert_eq!(read, 0);
    other.join().unwrap();
}
