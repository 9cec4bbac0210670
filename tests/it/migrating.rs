//! What the chapter "Moving here" says of other ways to have a byte stream, beside this one.

mod own_adapter;

use std::io;

use async_tungstenite::{ByteReader, ByteWriter};
use futures::{FutureExt, SinkExt, StreamExt, future::ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_util::{
    compat::{Compat, FuturesAsyncReadCompatExt},
    io::{CopyToBytes, SinkWriter, StreamReader},
};
use tungstenite::{Bytes, Error, Message, protocol::Role};
use ws_stream_tungstenite::tungstenite;

use self::own_adapter::OwnAdapter;
use crate::support::{
    BINARY, CLOSE, PING, PONG, Peer, RESERVED, Sent, Step, TEXT, Task, Wire, close_payload, now,
    server, settle, socket, wire,
};

#[test]
fn the_page_on_own_adapters_shows_the_one_that_is_tested_here() {
    let page = include_str!("../../src/migrating/own_adapter.md");
    let source = include_str!("migrating/own_adapter.rs");
    let (_, adapter) = source.split_once("\n\n").unwrap();
    assert!(page.contains(adapter), "the page has another adapter");
}

#[test]
fn an_own_adapter_may_send_twice_what_the_transport_had_no_room_for() {
    for (mut end, expected) in [(own_adapter(), "datadata"), (ours(), "data")] {
        end.peer.block();
        let mut written = end.write(b"data");
        end.peer.unblock();
        if written.is_none() {
            written = end.write(b"data"); // as `write_all` does when it is woken
        }
        assert_eq!(written, Some(Ok(4)), "{}", end.name);
        assert_eq!(end.flush(), Some(Ok(())), "{}", end.name);
        let sent = String::from_utf8(end.peer.sent_data()).unwrap();
        assert_eq!(sent, expected, "{}", end.name);
    }
}

#[test]
fn an_own_adapter_may_leave_out_text_without_a_word() {
    let mut end = own_adapter();
    end.peer.send(TEXT, b"text");
    end.peer.binary(b"data");
    assert_eq!(end.read(), data("data"));
}

#[test]
fn an_own_adapter_may_leave_a_close_frame_without_an_answer() {
    for (mut end, answers) in [(own_adapter(), 0), (ours(), 1)] {
        end.peer.close_frame(1000, "");
        let read = end.read();
        assert_eq!(end.peer.sent_closes().len(), answers, "{}", end.name);
        assert!([END_OF_FILE, None].contains(&read), "{}: {read:?}", end.name);
        assert_eq!(end.flush(), Some(Ok(())), "{}", end.name);
        assert_eq!(end.peer.sent_closes().len(), 1, "{}", end.name);
    }
}

#[test]
fn an_empty_message_may_look_like_end_of_file() {
    let cases = [
        (own_adapter(), END_OF_FILE),
        (stream_reader(), data("data")),
        (byte_reader(), END_OF_FILE),
        (ours(), data("data")),
    ];
    for (mut end, expected) in cases {
        end.peer.binary(b"");
        end.peer.binary(b"data");
        assert_eq!(end.read(), expected, "{}", end.name);
    }
}

#[test]
fn an_empty_ping_is_end_of_file_to_a_byte_reader() {
    for (mut end, expected) in [(byte_reader(), END_OF_FILE), (ours(), data("data"))] {
        end.peer.send(PING, b"");
        end.peer.binary(b"data");
        assert_eq!(end.read(), expected, "{}", end.name);
    }
}

#[test]
fn pings_pongs_and_the_reason_of_a_close_may_be_read_as_data() {
    for opcode in [PING, PONG, CLOSE] {
        for (mut end, is_read) in [(stream_reader(), true), (byte_reader(), true), (ours(), false)]
        {
            let payload =
                if opcode == CLOSE { close_payload(1000, "why") } else { b"why".to_vec() };
            end.peer.send(opcode, &payload);
            assert_eq!(end.read() == data("why"), is_read, "{}, opcode {opcode}", end.name);
        }
    }
}

#[test]
fn pings_are_answered_by_whoever_reads() {
    for mut end in others().into_iter().chain([ours()]) {
        end.peer.send(PING, b"why");
        _ = end.read();
        _ = end.read();
        let pong = Sent { opcode: PONG, payload: b"why".to_vec() };
        assert_eq!(end.peer.sent(), [pong], "{}", end.name);
    }
}

#[test]
fn text_may_be_read_as_data() {
    for (mut end, is_read) in [(stream_reader(), true), (byte_reader(), true), (ours(), false)] {
        end.peer.send(TEXT, b"text");
        assert_eq!(end.read() == data("text"), is_read, "{}", end.name);
        assert_eq!(end.peer.sent_closes().is_empty(), is_read, "{}", end.name);
    }
}

#[test]
fn the_others_say_nothing_to_a_peer_that_broke_the_rules() {
    for mut end in others() {
        end.peer.send(RESERVED, b"");
        assert_eq!(end.read(), Some(Err(io::ErrorKind::Other)), "{}", end.name);
        _ = end.flush();
        assert!(end.peer.sent().is_empty(), "{}: {:?}", end.name, end.peer.sent());
    }
    let mut end = ours();
    end.peer.send(RESERVED, b"");
    assert_eq!(end.read(), None, "the peer has not ended its side");
    assert_eq!(end.peer.sent_closes().len(), 1);
    end.peer.end();
    assert_eq!(end.read(), END_OF_FILE);
}

#[test]
fn the_others_return_a_missing_close_frame_as_an_error_of_no_kind() {
    for mut end in others() {
        end.peer.end();
        assert_eq!(end.read(), Some(Err(io::ErrorKind::Other)), "{}", end.name);
    }
    let mut end = ours();
    end.peer.end();
    assert_eq!(end.read(), END_OF_FILE);
}

#[test]
fn an_error_of_the_transport_may_lose_its_kind() {
    let kind = io::ErrorKind::ConnectionReset;
    let cases = [
        (own_adapter(), io::ErrorKind::Other),
        (stream_reader(), io::ErrorKind::Other),
        (byte_reader(), kind),
        (ours(), kind),
    ];
    for (mut end, expected) in cases {
        end.peer.steps([Step::Error(kind)]);
        assert_eq!(end.read(), Some(Err(expected)), "{}", end.name);
    }
}

#[test]
fn a_full_transport_lets_an_own_adapter_collect_without_end() {
    let large = vec![0; 64 * 1024];
    for (mut end, kept) in
        [(own_adapter(), 16), (stream_reader(), 3), (byte_reader(), 2), (ours(), 1)]
    {
        end.peer.block();
        for _ in 0..16 {
            _ = end.write(&large);
        }
        end.peer.unblock();
        assert_eq!(end.flush(), Some(Ok(())), "{}", end.name);
        assert_eq!(end.peer.sent_data().len(), kept * large.len(), "{}", end.name);
    }
}

#[test]
fn what_is_written_behind_the_close_frame_of_the_peer_fails_with_another_kind() {
    let kinds = others().map(|end| (end, io::ErrorKind::Other));
    for (mut end, kind) in kinds.into_iter().chain([(ours(), io::ErrorKind::NotConnected)]) {
        end.peer.close_frame(1000, "");
        _ = end.read();
        let written = end.write(b"data");
        let expected = if end.name == "StreamReader" { Ok(4) } else { Err(kind) };
        assert_eq!(written, Some(expected), "{}", end.name);
        if written == Some(Ok(4)) {
            assert_eq!(end.flush(), Some(Err(kind)), "{}", end.name);
        }
    }
}

#[test]
fn a_reader_and_a_writer_are_woken_each_for_its_own() {
    for end in others().into_iter().chain([ours()]) {
        let End { name, stream, peer } = end;
        let (mut reading, mut writing) = tokio::io::split(stream);
        peer.block();
        let mut reader = Task::new(async move {
            assert_eq!(reading.read(&mut [0; 64]).await.unwrap(), 4, "{name}");
        });
        let mut writer = Task::new(async move {
            writing.write_all(b"data").await.unwrap();
            writing.flush().await.unwrap();
        });
        settle(&mut [&mut reader, &mut writer]);
        assert!(!reader.is_done() && !writer.is_done(), "{name}");
        peer.binary(b"data");
        settle(&mut [&mut reader, &mut writer]);
        assert!(reader.is_done() && !writer.is_done(), "{name}");
        peer.unblock();
        settle(&mut [&mut reader, &mut writer]);
        assert!(writer.is_done(), "{name}");
    }
}

#[test]
fn what_is_written_may_wait_for_a_flush() {
    let cases =
        [(own_adapter(), true), (stream_reader(), false), (byte_reader(), false), (ours(), true)];
    for (mut end, leaves) in cases {
        assert_eq!(end.write(b"data"), Some(Ok(4)), "{}", end.name);
        assert_eq!(end.peer.sent_data() == b"data", leaves, "{}", end.name);
    }
}

#[test]
fn the_others_make_one_message_of_each_write_however_large() {
    let large = vec![0; 17 << 20];
    for mut end in others() {
        assert_eq!(end.write(&large), Some(Ok(large.len())), "{}", end.name);
        assert_eq!(end.flush(), Some(Ok(())), "{}", end.name);
        let sent = end.peer.sent();
        let lengths: Vec<_> = sent.iter().map(|frame| frame.payload.len()).collect();
        assert_eq!(lengths, [large.len()], "{}", end.name);
    }
    assert_eq!(ours().write(&large), Some(Ok(64 * 1024)));
}

#[test]
fn the_others_send_empty_messages() {
    for mut end in others() {
        assert_eq!(end.write(b""), Some(Ok(0)), "{}", end.name);
        assert_eq!(end.flush(), Some(Ok(())), "{}", end.name);
        let opcodes: Vec<_> = end.peer.sent().iter().map(|frame| frame.opcode).collect();
        assert_eq!(opcodes, [BINARY], "{}", end.name);
    }
    let mut end = ours();
    assert_eq!(end.write(b""), Some(Ok(0)));
    assert_eq!(end.flush(), Some(Ok(())));
    assert!(end.peer.sent().is_empty());
}

trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

/// A server's end of a connection.
struct End {
    name: &'static str,
    stream: Box<dyn ByteStream>,
    peer: Peer,
}

fn own_adapter() -> End {
    let (websocket, peer) = tokio_websocket();
    let stream = OwnAdapter { websocket, unread: Vec::new() };
    End { name: "own adapter", stream: Box::new(stream), peer }
}

fn stream_reader() -> End {
    let (websocket, peer) = tokio_websocket();
    let (sink, stream) = websocket.split();
    let payloads = stream.map(|message| message.map(Message::into_data).map_err(io::Error::other));
    let messages = sink
        .with(|payload: Bytes| ready(Ok::<_, Error>(Message::Binary(payload))))
        .sink_map_err(io::Error::other);
    let reader = StreamReader::new(payloads);
    let writer = SinkWriter::new(CopyToBytes::new(messages));
    End { name: "StreamReader", stream: Box::new(tokio::io::join(reader, writer)), peer }
}

fn byte_reader() -> End {
    let (websocket, peer) = socket(Role::Server, None);
    let (sender, receiver) = websocket.split();
    let stream = tokio::io::join(ByteReader::new(receiver), ByteWriter::new(sender));
    End { name: "ByteReader", stream: Box::new(stream), peer }
}

fn ours() -> End {
    let (stream, peer) = server(None);
    End { name: "WsStream", stream: Box::new(stream), peer }
}

fn tokio_websocket() -> (WebSocketStream<Compat<Wire>>, Peer) {
    let (wire, peer) = wire(Role::Server);
    (now(WebSocketStream::from_raw_socket(wire.compat(), Role::Server, None)), peer)
}

fn others() -> [End; 3] {
    [own_adapter(), stream_reader(), byte_reader()]
}

impl End {
    /// What a read returns, or `None` if it waits.
    fn read(&mut self) -> Option<Result<String, io::ErrorKind>> {
        let mut buf = [0; 64];
        let length = self.stream.read(&mut buf).now_or_never()?;
        let text = |length| String::from_utf8(buf[..length].to_vec()).unwrap();
        Some(length.map(text).map_err(|error| error.kind()))
    }

    /// What a write returns, or `None` if it waits.
    fn write(&mut self, data: &[u8]) -> Option<Result<usize, io::ErrorKind>> {
        let written = self.stream.write(data).now_or_never()?;
        Some(written.map_err(|error| error.kind()))
    }

    fn flush(&mut self) -> Option<Result<(), io::ErrorKind>> {
        let flushed = self.stream.flush().now_or_never()?;
        Some(flushed.map_err(|error| error.kind()))
    }
}

/// That a read returns this.
#[expect(clippy::unnecessary_wraps, reason = "as `End::read`")]
fn data(data: &str) -> Option<Result<String, io::ErrorKind>> {
    Some(Ok(data.to_owned()))
}

const END_OF_FILE: Option<Result<String, io::ErrorKind>> = Some(Ok(String::new()));
