//! The tokio traits: the same engine, the same limits.

use std::{
    io::{ErrorKind, IoSlice},
    pin::Pin,
};

use futures::FutureExt;
use futures_test::task::noop_context;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf,
};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{Writes, WsConfig, tungstenite};

use crate::{
    backend::WsStream,
    support::{
        BINARY, Calls, PING, ROLES, Step, Task, Wire, client, connect, connect_with, now, run,
        server,
    },
};

const KIB: usize = 1024;

#[test]
fn the_stream_has_its_traits() {
    fn assert_stream<T: AsyncRead + AsyncBufRead + AsyncWrite + Unpin + Send>() {}
    assert_stream::<WsStream<Wire>>();
}

#[test]
fn a_read_fills_what_is_there_and_zeroes_nothing() {
    let (mut ws, peer) = client(None);
    peer.binary(b"abc");
    let mut memory = [const { std::mem::MaybeUninit::uninit() }; 64];
    let mut buf = ReadBuf::uninit(&mut memory);
    assert!(Pin::new(&mut ws).poll_read(&mut noop_context(), &mut buf).is_ready());
    assert_eq!(buf.filled(), b"abc");
    assert_eq!(buf.initialized().len(), 3, "no byte more was touched");
}

#[test]
fn a_read_appends_to_what_the_buffer_has() {
    let (mut ws, peer) = client(None);
    peer.binary(b"abcdef");
    let mut memory = [0; 5];
    let mut buf = ReadBuf::new(&mut memory);
    buf.put_slice(b"01");
    assert!(Pin::new(&mut ws).poll_read(&mut noop_context(), &mut buf).is_ready());
    assert_eq!(buf.filled(), b"01abc");
    assert!(Pin::new(&mut ws).poll_read(&mut noop_context(), &mut buf).is_ready());
    assert_eq!(buf.filled(), b"01abc", "a full buffer gets nothing");
}

#[test]
fn an_empty_buffer_gets_nothing_without_touching_the_socket() {
    let (mut ws, peer) = client(None);
    peer.binary(b"data");
    assert_eq!(now(ws.read(&mut [])).unwrap(), 0);
    assert_eq!(peer.calls(), Calls::default());
}

#[test]
fn reading_ends_at_the_peers_close_frame() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        peer.binary(b"data");
        peer.binary(b"");
        peer.close_frame(1000, "");
        peer.end();
        let mut data = Vec::new();
        run(ws.read_to_end(&mut data)).unwrap();
        assert_eq!(data, b"data");
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
    }
}

#[test]
fn lines_work_whatever_arrives() {
    let (ws, peer) = client(None);
    peer.binary(b"");
    peer.binary(b"one\ntw");
    peer.steps([Step::Pending]);
    peer.binary(b"o\n");
    peer.close_frame(1000, "");
    peer.end();
    let mut lines = ws.lines();
    assert_eq!(run(lines.next_line()).unwrap().unwrap(), "one");
    assert_eq!(run(lines.next_line()).unwrap().unwrap(), "two");
    assert!(run(lines.next_line()).unwrap().is_none());
}

#[test]
fn one_call_takes_at_most_64_kib() {
    let (mut ws, peer) = server(None);
    assert_eq!(now(ws.write(&vec![1; 200 * KIB])).unwrap(), 64 * KIB);
    assert_eq!(peer.sent().len(), 1);
}

#[test]
fn the_limits_of_the_config_hold() {
    for role in ROLES {
        let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(50);
        let (mut ws, peer) = connect(role, Some(config));
        now(ws.write_all(&[1; 1000])).unwrap();
        assert_eq!(peer.sent_data(), [1; 1000]);
    }
}

#[test]
fn a_vectored_write_gathers_its_buffers_into_one_message() {
    let (mut ws, peer) = client(None);
    assert!(ws.is_write_vectored());
    let bufs = [&b""[..], b"ab", b"cde"].map(IoSlice::new);
    assert_eq!(now(ws.write_vectored(&bufs)).unwrap(), 5);
    assert_eq!(peer.sent()[0].payload, b"abcde");
    assert_eq!(peer.sent().len(), 1);
}

#[test]
fn an_empty_write_sends_nothing() {
    let (mut ws, peer) = client(None);
    assert_eq!(now(ws.write(b"")).unwrap(), 0);
    assert_eq!(now(ws.write_vectored(&[IoSlice::new(b"")])).unwrap(), 0);
    assert_eq!(peer.calls(), Calls::default());
}

#[test]
fn shutdown_sends_a_close_frame_and_again_nothing() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        now(ws.write_all(b"last")).unwrap();
        now(ws.flush()).unwrap();
        now(ws.shutdown()).unwrap();
        now(ws.shutdown()).unwrap();
        assert_eq!(peer.sent_data(), b"last");
        assert_eq!(peer.sent_closes().len(), 1);
        assert_eq!(now(ws.write(b"x")).unwrap_err().kind(), ErrorKind::NotConnected);
    }
}

#[test]
fn a_sleeping_read_half_sends_what_the_write_half_collects_and_a_handle_asks_for() {
    let config = WsConfig::new().writes(Writes::Collect(KIB));
    let (ws, peer) = connect_with(Role::Client, config);
    let meta = ws.meta();
    let (mut reading, mut writing) = tokio::io::split(ws);
    let mut reader = Task::new(async move {
        let _ = reading.read_to_end(&mut Vec::new()).await;
    });
    reader.poll_if_woken();
    for _ in 0..10 {
        now(writing.write_all(b"01234567")).unwrap();
    }
    meta.ping(b"?").unwrap();
    reader.poll_if_woken();
    let opcodes: Vec<_> = peer.sent().iter().map(|frame| frame.opcode).collect();
    assert_eq!(opcodes, [BINARY, PING]);
    assert_eq!(peer.sent_data(), b"01234567".repeat(10));
    assert!(meta.close(4000, "").now_or_never().is_none());
    reader.poll_if_woken();
    assert_eq!(peer.sent_closes(), [(Some(4000), String::new())]);
    peer.close_frame(4000, "");
    peer.end();
    reader.poll_if_woken();
    assert!(reader.is_done());
    assert!(now(meta.closed()).was_clean);
}

#[test]
#[should_panic(expected = "consumed 1 bytes of 0")]
fn consuming_more_than_there_is_panics() {
    let (mut ws, _peer) = client(None);
    Pin::new(&mut ws).consume(1);
}
