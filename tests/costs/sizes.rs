//! What a connection holds.

use allocation_counter::measure;
use futures::{AsyncReadExt, AsyncWriteExt};
use tungstenite::{Bytes, protocol::Role};
use ws_stream_tungstenite::{byte_stream_config, tungstenite};

use crate::{
    backend::{WebSocketStream, WsStream, websocket},
    counting::KIB,
    support::{BINARY, ROLES, Wire, now, socket, wire},
};

#[test]
fn the_stream_is_200_bytes_larger_than_its_websocket() {
    let own = size_of::<WsStream<Wire>>() - size_of::<WebSocketStream<Wire>>();
    assert!(own <= 200, "{own} bytes");
}

#[test]
fn a_stream_allocates_once_when_it_is_made() {
    let (socket, _peer) = socket(Role::Client, None);
    let mut ws = None;
    let used = measure(|| ws = Some(WsStream::new(socket)));
    assert_eq!(used.count_total, 1);
    assert!(used.bytes_total <= 384, "{} bytes", used.bytes_total);
}

/// What is on the heap for a stream that has read a message and written one.
fn heap(role: Role, size: usize) -> usize {
    let (wire, peer) = wire(role);
    peer.reserve(2 * size + 100);
    // kept until the end: that it goes is not counted
    let message = Bytes::from(peer.frame(BINARY, &vec![1; size]));
    peer.raw(message.clone());
    let mut buf = vec![0; size];
    let mut ws = None;
    let used = measure(|| {
        let socket = now(websocket(wire, role, Some(byte_stream_config())));
        let mut stream = WsStream::new(socket);
        now(stream.read_exact(&mut buf)).unwrap();
        now(stream.write_all(&buf)).unwrap();
        ws = Some(stream);
    });
    drop((ws, message));
    usize::try_from(used.bytes_current).unwrap()
}

/// Of a connection, besides its buffers, in bytes: what the stream shares with its handles, what
/// the websocket keeps of wakers, how often two buffers are referred to, and two frame headers.
const FIXED: usize = 360 + 2 * 64 + 2 * 40 + 2 * 14;

/// In bytes, with `byte_stream_config`.
const READ_BUFFER: usize = 20 * KIB;

#[test]
fn a_connection_holds_its_read_buffer_and_twice_the_largest_message_that_it_wrote() {
    for role in ROLES {
        heap(role, 1); // a client's thread gets a source of random numbers
        for size in [1, KIB, 8 * KIB] {
            let heap = heap(role, size);
            assert!(heap <= READ_BUFFER + 2 * size + FIXED, "{role:?}, {size} bytes: {heap}");
        }
    }
}

#[test]
fn a_message_that_needs_more_than_half_of_the_read_buffer_doubles_it() {
    for role in ROLES {
        heap(role, 1);
        let heap = heap(role, 16 * KIB);
        assert!(heap <= 2 * READ_BUFFER + 2 * 16 * KIB + FIXED, "{role:?}: {heap}");
    }
}
