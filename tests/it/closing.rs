//! The close handshake, from either side, and the end of the transport.

use std::{
    io::{ErrorKind, IoSlice},
    pin::Pin,
    task::Context,
};

use futures::{AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt};
use futures_test::task::{new_count_waker, noop_context};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{WsErr, tungstenite};

use crate::support::{
    BINARY, CLOSE, PING, PONG, ROLES, Sent, Step, client, connect, fill, now, observe, read_all,
    run, server, told,
};

fn opcodes(frames: &[Sent]) -> Vec<u8> {
    frames.iter().map(|frame| frame.opcode).collect()
}

#[test]
fn close_sends_what_was_written_then_a_close_frame_and_does_not_wait_for_the_peer() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.buffer();
        now(ws.write(b"last words")).unwrap();
        now(ws.close()).unwrap();
        assert_eq!(opcodes(&peer.sent()), [BINARY, CLOSE]);
        assert_eq!(peer.sent_closes(), [(None, String::new())]);
    }
}

#[test]
fn close_again_is_ok_and_sends_nothing() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        now(ws.close()).unwrap();
        let calls = peer.calls();
        now(ws.close()).unwrap();
        now(ws.flush()).unwrap();
        assert_eq!(peer.calls(), calls);
    }
}

#[test]
fn close_waits_until_the_transport_has_the_close_frame() {
    let (mut ws, peer) = server(None);
    peer.block();
    now(ws.write(b"data")).unwrap();
    let (waker, wakes) = new_count_waker();
    let cx = &mut Context::from_waker(&waker);
    assert!(Pin::new(&mut ws).poll_close(cx).is_pending());
    peer.allow(6); // the message, and nothing of the close frame
    assert_eq!(wakes.get(), 1);
    assert!(Pin::new(&mut ws).poll_close(cx).is_pending());
    assert_eq!(opcodes(&peer.sent()), [BINARY]);
    peer.unblock();
    assert_eq!(wakes.get(), 2);
    assert!(Pin::new(&mut ws).poll_close(cx).is_ready());
    assert_eq!(opcodes(&peer.sent()), [BINARY, CLOSE]);
}

#[test]
fn writes_after_close_fail_with_not_connected() {
    let (mut ws, _peer) = client(None);
    now(ws.close()).unwrap();
    let error = now(ws.write(b"more")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(WsErr::Closed)));
    let error = now(ws.write_vectored(&[IoSlice::new(b"more")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
}

#[test]
fn writes_fail_while_the_close_frame_is_stuck() {
    let (mut ws, peer) = client(None);
    peer.block();
    assert!(ws.close().now_or_never().is_none());
    assert_eq!(now(ws.write(b"more")).unwrap_err().kind(), ErrorKind::NotConnected);
}

#[test]
fn after_our_close_frame_the_peers_remaining_data_is_delivered() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        now(ws.close()).unwrap();
        peer.binary(b"still ");
        peer.steps([Step::Pending]);
        peer.binary(b"coming");
        peer.close_frame(1000, "bye");
        peer.end();
        assert_eq!(read_all(&mut ws).0, b"still coming");
        assert_eq!(told(&mut events), ["close 1000 \"bye\"", "closed"]);
        assert_eq!(peer.sent_closes().len(), 1);
    }
}

#[test]
fn a_servers_end_of_file_comes_after_both_close_frames() {
    let (mut ws, peer) = server(None);
    now(ws.close()).unwrap();
    assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
    assert!(!peer.is_shut_down());
    peer.close_frame(1000, "");
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
}

#[test]
fn a_server_shuts_its_side_of_the_transport_down_although_it_is_still_held() {
    for closes_first in [true, false] {
        let (mut ws, peer) = server(None);
        if closes_first {
            now(ws.close()).unwrap();
        }
        peer.close_frame(1000, "");
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        assert!(peer.is_shut_down());
        assert_eq!(peer.calls().closes, 1);
    }
}

#[test]
fn a_clients_end_of_file_comes_when_the_server_has_closed_the_transport() {
    for closes_first in [true, false] {
        let (mut ws, peer) = client(None);
        if closes_first {
            now(ws.close()).unwrap();
        }
        peer.close_frame(1000, "");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        assert_eq!(peer.sent_closes().len(), 1);
        assert!(!peer.is_shut_down(), "the server is the one to close the transport");
        peer.end();
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
    }
}

#[test]
fn a_client_takes_a_reset_after_the_close_frames_for_the_end() {
    for kind in [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof] {
        let (mut ws, peer) = client(None);
        let mut events = observe(&mut ws);
        peer.close_frame(1000, "");
        peer.steps([Step::Error(kind)]);
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        assert_eq!(told(&mut events), ["close 1000 \"\"", "closed"]);
    }
}

#[test]
fn another_error_of_the_transport_after_the_close_frames_is_returned() {
    let (mut ws, peer) = client(None);
    let mut events = observe(&mut ws);
    peer.close_frame(1000, "");
    peer.steps([Step::Error(ErrorKind::TimedOut)]);
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
    assert_eq!(told(&mut events), ["close 1000 \"\"", "error: Io(TimedOut)", "closed"]);
}

#[test]
fn the_peers_close_frame_is_answered_and_told() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        peer.close_frame(4001, "done");
        peer.end();
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        assert_eq!(told(&mut events), ["close 4001 \"done\"", "closed"]);
        assert_eq!(peer.sent_closes(), [(Some(4001), "done".into())]);
    }
}

#[test]
fn a_close_frame_without_code_is_told_without_one() {
    let (mut ws, peer) = server(None);
    let mut events = observe(&mut ws);
    peer.send(CLOSE, b"");
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
    assert_eq!(told(&mut events), ["close", "closed"]);
}

#[test]
fn the_answer_goes_out_behind_what_was_still_unsent() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.block();
        now(ws.write(b"unsent")).unwrap();
        peer.close_frame(1000, "");
        peer.end();
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        peer.unblock();
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        assert_eq!(opcodes(&peer.sent()), [BINARY, CLOSE]);
    }
}

#[test]
fn end_of_file_waits_for_the_answer_to_be_flushed() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        now(ws.flush()).unwrap();
        peer.buffer();
        peer.block_flush(true);
        peer.close_frame(1000, "");
        peer.end();
        let (waker, wakes) = new_count_waker();
        let mut buf = [0; 8];
        let mut end = Box::pin(ws.read(&mut buf));
        for _ in 0..3 {
            assert!(end.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
        }
        assert!(peer.sent().is_empty());
        assert!(!peer.is_shut_down());
        peer.block_flush(false);
        assert!(wakes.get() > 0);
        assert_eq!(now(end).unwrap(), 0);
        assert_eq!(opcodes(&peer.sent()), [CLOSE]);
    }
}

#[test]
fn the_answer_goes_out_also_if_only_the_writer_is_polled() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.block();
        peer.close_frame(1000, "");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        peer.unblock();
        now(ws.flush()).unwrap();
        assert_eq!(opcodes(&peer.sent()), [CLOSE]);
    }
}

#[test]
fn after_the_peers_close_frame_writes_fail_with_not_connected_and_flush_and_close_are_ok() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.close_frame(1000, "");
        let _ = ws.read(&mut [0; 8]).now_or_never();
        assert_eq!(now(ws.write(b"late")).unwrap_err().kind(), ErrorKind::NotConnected);
        assert!(now(ws.flush()).is_ok());
        assert!(now(ws.close()).is_ok());
        assert_eq!(peer.sent_closes().len(), 1, "one close frame is enough");
    }
}

#[test]
fn a_large_blocked_write_is_woken_by_the_peers_close_frame() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        fill(&mut ws, &peer);
        let data = vec![1; 60_000];
        let (waker, wakes) = new_count_waker();
        let cx = &mut Context::from_waker(&waker);
        assert!(Pin::new(&mut ws).poll_write(cx, &data).is_pending());
        peer.close_frame(1001, "");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        assert_eq!(wakes.get(), 1);
        assert_eq!(now(ws.write(&data)).unwrap_err().kind(), ErrorKind::NotConnected);
        peer.unblock();
        now(ws.flush()).unwrap();
        assert_eq!(opcodes(&peer.sent()).last(), Some(&CLOSE));
    }
}

#[test]
fn both_sides_may_close_at_once() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.block();
        assert!(ws.close().now_or_never().is_none());
        peer.close_frame(1000, "");
        peer.end();
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        peer.unblock();
        now(ws.close()).unwrap();
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        assert_eq!(peer.sent_closes().len(), 1);
    }
}

#[test]
fn a_close_frame_stuck_behind_data_leaves_although_the_peer_was_faster() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.block();
        now(ws.write(b"data")).unwrap();
        assert!(ws.close().now_or_never().is_none());
        peer.close_frame(4000, "mine");
        peer.end();
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        peer.unblock();
        now(ws.close()).unwrap();
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        assert_eq!(opcodes(&peer.sent()), [BINARY, CLOSE]);
        assert_eq!(peer.sent_closes(), [(None, String::new())]);
    }
}

#[test]
fn the_end_of_the_transport_without_a_close_frame_is_end_of_file_and_told() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        peer.binary(b"cut ");
        peer.raw(peer.frame(BINARY, b"off")[..4].to_vec());
        peer.end();
        let (data, result) = read_all(&mut ws);
        assert_eq!(data, b"cut ");
        assert!(result.is_ok());
        assert_eq!(told(&mut events), ["error: MissingCloseFrame", "closed"]);
        assert!(peer.sent_closes().is_empty());
        assert_eq!(now(ws.write(b"late")).unwrap_err().kind(), ErrorKind::NotConnected);
        assert!(now(ws.flush()).is_ok());
        assert!(now(ws.close()).is_ok());
    }
}

#[test]
fn the_end_of_the_transport_instead_of_an_answer_is_told() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        now(ws.close()).unwrap();
        peer.end();
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        assert_eq!(told(&mut events), ["error: MissingCloseFrame", "closed"]);
    }
}

#[test]
fn an_answer_that_cannot_be_sent_does_not_spoil_the_end() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        let mut events = observe(&mut ws);
        now(ws.flush()).unwrap();
        peer.fail_writes(ErrorKind::BrokenPipe);
        peer.binary(b"whole");
        peer.close_frame(1000, "");
        peer.end();
        let (data, result) = read_all(&mut ws);
        assert_eq!(data, b"whole");
        assert!(result.is_ok());
        assert!(now(ws.flush()).is_ok());
        assert!(now(ws.close()).is_ok());
        assert_eq!(told(&mut events).last().unwrap(), "closed");
    }
}

#[test]
fn the_answer_to_a_close_frame_that_was_read_before_goes_out() {
    use crate::backend::{WebSocketStream, WsStream};

    for role in ROLES {
        let (ws, peer) = connect(role, None);
        peer.buffer();
        let mut socket: WebSocketStream<_> = ws.into_inner();
        peer.close_frame(1000, "");
        peer.end();
        now(futures::StreamExt::next(&mut socket)).unwrap().unwrap();
        let mut ws = WsStream::new(socket);
        assert_eq!(now(ws.write(b"late")).unwrap_err().kind(), ErrorKind::NotConnected);
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        assert!(now(ws.close()).is_ok());
        assert_eq!(opcodes(&peer.sent()), [CLOSE]);
        assert!(peer.is_shut_down());
    }
}

#[test]
fn close_fails_if_the_close_frame_cannot_be_sent() {
    for role in [Role::Client, Role::Server] {
        let (mut ws, peer) = connect(role, None);
        peer.fail_writes(ErrorKind::BrokenPipe);
        assert_eq!(now(ws.close()).unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert!(Pin::new(&mut ws).poll_close(&mut noop_context()).is_ready());
    }
}

#[test]
fn what_was_written_and_the_close_frame_leave_although_the_peer_has_ended_its_side() {
    for role in ROLES {
        for buffers in [true, false] {
            let (mut ws, peer) = connect(role, None);
            now(ws.flush()).unwrap();
            if buffers {
                peer.buffer();
            }
            peer.block();
            now(ws.write(b"data")).unwrap();
            assert!(ws.close().now_or_never().is_none());
            peer.end();
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
            peer.unblock();
            now(ws.close()).unwrap();
            assert_eq!(opcodes(&peer.sent()), [BINARY, CLOSE]);
        }
    }
}

/// A config whose buffer is full with one message of the largest size that it allows.
fn tight(room: usize) -> WebSocketConfig {
    WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(room)
}

#[test]
fn the_answer_goes_out_although_the_socket_had_no_room_for_it() {
    for role in ROLES {
        for room in [40, 64 * 1024] {
            let (mut ws, peer) = connect(role, Some(tight(room)));
            peer.block();
            now(ws.write(&vec![1; room])).unwrap();
            peer.close_frame(1000, "");
            peer.end();
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            peer.unblock();
            assert_eq!(run(ws.read(&mut [0; 8])).unwrap(), 0);
            assert_eq!(opcodes(&peer.sent()), [BINARY, CLOSE]);
        }
    }
}

#[test]
fn what_was_written_leaves_also_where_the_close_frame_comes_too_late() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, Some(tight(40)));
        now(ws.flush()).unwrap();
        peer.buffer();
        peer.block();
        now(ws.write(&[1; 30])).unwrap();
        assert!(ws.close().now_or_never().is_none());
        peer.end();
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        peer.unblock();
        now(ws.close()).unwrap();
        assert_eq!(peer.sent_data(), [1; 30]);
    }
}

#[test]
fn a_flush_sends_the_answer_although_the_socket_had_no_room_for_it() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, Some(tight(40)));
        peer.block();
        now(ws.write(&[1; 100])).unwrap();
        peer.close_frame(1000, "");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        peer.unblock();
        now(ws.flush()).unwrap();
        assert_eq!(opcodes(&peer.sent()), [BINARY, CLOSE]);
    }
}

#[test]
fn no_pong_follows_the_close_frame() {
    for role in ROLES {
        for config in [None, Some(tight(40))] {
            let (mut ws, peer) = connect(role, config);
            peer.block();
            now(ws.write(&[1; 100])).unwrap();
            peer.send(PING, b"?");
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            assert!(ws.close().now_or_never().is_none());
            peer.unblock();
            now(ws.close()).unwrap();
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            assert_eq!(opcodes(&peer.sent()), [BINARY, PONG, CLOSE]);
        }
    }
}

#[test]
fn a_failed_write_does_not_spoil_the_end_where_the_socket_has_no_room_for_the_answer() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, Some(tight(64 * 1024)));
        now(ws.flush()).unwrap();
        peer.block();
        now(ws.write(&vec![1; 100_000])).unwrap();
        peer.fail_writes(ErrorKind::BrokenPipe);
        peer.binary(b"whole");
        peer.close_frame(1000, "");
        peer.end();
        let (data, result) = read_all(&mut ws);
        assert_eq!(data, b"whole");
        assert!(result.is_ok());
    }
}

#[test]
fn a_server_shuts_the_transport_down_also_if_only_the_writer_is_polled() {
    let (mut ws, peer) = server(None);
    now(ws.flush()).unwrap();
    peer.block();
    peer.close_frame(1000, "");
    let (waker, wakes) = new_count_waker();
    let read = ws.read(&mut [0; 8]).poll_unpin(&mut Context::from_waker(&waker));
    assert!(read.is_pending());
    peer.unblock();
    now(ws.close()).unwrap();
    assert!(peer.is_shut_down());
    assert!(wakes.get() > 0, "the reader is at end of file");
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
}

#[test]
fn end_of_file_waits_for_the_transport_to_be_shut_down() {
    let (mut ws, peer) = server(None);
    peer.block_close(true);
    peer.close_frame(1000, "");
    let (waker, wakes) = new_count_waker();
    let mut buf = [0; 8];
    let mut end = Box::pin(ws.read(&mut buf));
    assert!(end.poll_unpin(&mut Context::from_waker(&waker)).is_pending());
    peer.block_close(false);
    assert!(wakes.get() > 0);
    assert_eq!(now(end).unwrap(), 0);
    assert!(peer.is_shut_down());
}

#[test]
fn a_pong_that_is_owed_leaves_before_the_close_frame() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        // more than one poll takes: it goes to sleep when it has just read one
        peer.raw(peer.frame(PING, b"?").repeat(100));
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        run(ws.close()).unwrap();
        let frames = opcodes(&peer.sent());
        assert_eq!(frames.last(), Some(&CLOSE), "nothing follows a close frame: {frames:?}");
    }
}
