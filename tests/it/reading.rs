//! Binary messages in, bytes out.

use std::io::{ErrorKind, IoSliceMut};

use futures::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, io::AsyncBufRead,
};
use futures_test::task::noop_context;
use std::{pin::Pin, task::Poll};

use crate::{
    backend::WsStream,
    support::{
        BINARY, CLOSE, CONTINUATION, Calls, PING, PONG, RESERVED, ROLES, Step, TEXT, Wire, client,
        connect, now, read_all, run,
    },
};

#[test]
fn messages_become_their_bytes_in_order() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.binary(b"one ");
        peer.binary(b"two ");
        peer.raw([peer.fragment(BINARY, b"thr"), peer.frame(CONTINUATION, b"ee")].concat());
        peer.close_frame(1000, "");
        peer.end();
        let (data, result) = read_all(&mut ws);
        assert_eq!(data, b"one two three");
        assert!(result.is_ok());
    }
}

#[test]
fn a_message_is_read_in_parts_as_small_as_the_buffer() {
    let (mut ws, peer) = client(None);
    peer.binary(b"abc");
    let mut byte = [0];
    for expected in b"abc" {
        assert_eq!(now(ws.read(&mut byte)).unwrap(), 1);
        assert_eq!(byte, [*expected]);
    }
    assert!(ws.read(&mut byte).now_or_never().is_none());
}

#[test]
fn an_empty_message_is_not_end_of_file() {
    let (mut ws, peer) = client(None);
    peer.binary(b"");
    peer.steps([Step::Pending]);
    peer.binary(b"hi");
    assert_eq!(run(ws.read(&mut [0; 8])).unwrap(), 2);
}

#[test]
fn a_read_returns_what_it_has_without_waiting_for_more() {
    let (mut ws, peer) = client(None);
    peer.binary(b"first");
    peer.steps([Step::Pending]);
    peer.binary(b"second");
    assert_eq!(now(ws.read(&mut [0; 64])).unwrap(), 5);
    assert_eq!(run(ws.read(&mut [0; 64])).unwrap(), 6);
}

#[test]
fn what_a_read_returns_can_be_answered_although_the_peers_close_frame_came_right_behind_it() {
    for role in ROLES {
        for last in [CLOSE, TEXT, RESERVED] {
            let (mut ws, peer) = connect(role, None);
            peer.raw([peer.frame(BINARY, b"question"), peer.frame(last, b"")].concat());
            peer.end();
            assert_eq!(now(ws.read(&mut [0; 64])).unwrap(), 8);
            now(ws.write_all(b"answer")).unwrap();
            assert_eq!(now(ws.read(&mut [0; 64])).unwrap(), 0);
            assert_eq!(peer.sent_data(), b"answer", "{role:?}, in front of {last:#x}");
        }
    }
}

#[test]
fn a_read_does_not_go_beyond_the_message_at_hand() {
    let (mut ws, peer) = client(None);
    peer.raw([b"one", b"two"].map(|data| peer.frame(BINARY, data)).concat());
    for message in [b"one", b"two"] {
        let mut buf = [0; 64];
        assert_eq!(now(ws.read(&mut buf)).unwrap(), 3);
        assert_eq!(&buf[..3], message);
    }
}

#[test]
fn what_ends_the_stream_comes_behind_the_data_before_it() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.binary(b"data");
        peer.steps([Step::Error(ErrorKind::TimedOut)]);
        assert_eq!(now(ws.read(&mut [0; 64])).unwrap(), 4);
        assert_eq!(now(ws.read(&mut [0; 64])).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(now(ws.read(&mut [0; 64])).unwrap(), 0);

        let (mut ws, peer) = connect(role, None);
        peer.raw([peer.frame(BINARY, b"data"), peer.frame(TEXT, b"no")].concat());
        peer.end();
        assert_eq!(now(ws.read(&mut [0; 64])).unwrap(), 4);
        assert_eq!(now(ws.read(&mut [0; 64])).unwrap(), 0);
    }
}

#[test]
fn a_ping_behind_data_is_answered_by_the_next_read() {
    let (mut ws, peer) = client(None);
    peer.raw([peer.frame(BINARY, b"data"), peer.frame(PING, b"?")].concat());
    assert_eq!(now(ws.read(&mut [0; 64])).unwrap(), 4);
    assert!(ws.read(&mut [0; 64]).now_or_never().is_none());
    assert_eq!(peer.sent().last().unwrap().opcode, PONG);
}

#[test]
fn an_empty_buffer_gets_nothing_without_touching_the_socket() {
    let (mut ws, peer) = client(None);
    peer.binary(b"data");
    assert_eq!(now(ws.read(&mut [])).unwrap(), 0);
    assert_eq!(now(ws.read_vectored(&mut [IoSliceMut::new(&mut [])])).unwrap(), 0);
    assert_eq!(now(ws.read_vectored(&mut [])).unwrap(), 0);
    assert_eq!(peer.calls(), Calls::default());
}

#[test]
fn a_vectored_read_fills_several_buffers_from_the_current_message() {
    let (mut ws, peer) = client(None);
    peer.binary(b"abcdefg");
    peer.binary(b"next");
    let (mut one, mut two, mut three) = ([0; 2], [0; 3], [0; 8]);
    let mut bufs = [&mut one[..], &mut [], &mut two, &mut three].map(IoSliceMut::new);
    assert_eq!(now(ws.read_vectored(&mut bufs)).unwrap(), 7);
    assert_eq!((&one, &two, &three[..2]), (b"ab", b"cde", &b"fg"[..]));
    assert_eq!(three[2..], [0; 6], "the next message waits for the next read");
}

#[test]
fn filling_the_buffer_again_copies_nothing() {
    let (mut ws, peer) = client(None);
    peer.binary(b"abcdef");
    let mut cx = noop_context();
    let mut fill = |ws: &mut WsStream<Wire>| match Pin::new(ws).poll_fill_buf(&mut cx) {
        Poll::Ready(Ok(bytes)) => (bytes.as_ptr() as usize, bytes.to_vec()),
        other => panic!("{other:?}"),
    };
    let (start, all) = fill(&mut ws);
    assert_eq!(all, b"abcdef");
    Pin::new(&mut ws).consume(2);
    assert_eq!(fill(&mut ws), (start + 2, b"cdef".to_vec()));
    Pin::new(&mut ws).consume(0);
    assert_eq!(fill(&mut ws), (start + 2, b"cdef".to_vec()));
}

#[test]
fn lines_work_whatever_arrives() {
    let (ws, peer) = client(None);
    peer.binary(b"");
    peer.binary(b"one\ntw");
    peer.binary(b"");
    peer.steps([Step::Pending]);
    peer.binary(b"o\n\nthree");
    peer.close_frame(1000, "");
    peer.end();
    let lines: Vec<_> = run(ws.lines().map(Result::unwrap).collect());
    assert_eq!(lines, ["one", "two", "", "three"]);
}

#[test]
#[should_panic(expected = "consumed 4 bytes of 3")]
fn consuming_more_than_there_is_panics() {
    let (mut ws, peer) = client(None);
    peer.binary(b"abc");
    now(ws.fill_buf()).unwrap();
    futures::AsyncBufReadExt::consume_unpin(&mut ws, 4);
}

#[test]
fn after_end_of_file_reads_touch_nothing() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.close_frame(1000, "");
        peer.end();
        assert_eq!(run(ws.read(&mut [0; 8])).unwrap(), 0);
        let calls = peer.calls();
        for _ in 0..3 {
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
            assert!(now(ws.fill_buf()).unwrap().is_empty());
        }
        assert_eq!(peer.calls(), calls);
    }
}

#[test]
fn after_an_error_reads_are_at_end_of_file_and_touch_nothing() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.binary(b"data");
        peer.steps([Step::Error(ErrorKind::ConnectionReset)]);
        assert_eq!(run(ws.read(&mut [0; 8])).unwrap(), 4);
        assert_eq!(run(ws.read(&mut [0; 8])).unwrap_err().kind(), ErrorKind::ConnectionReset);
        let calls = peer.calls();
        for _ in 0..3 {
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        }
        assert_eq!(peer.calls(), calls);
    }
}
