//! Nothing is allocated once the buffers have their size.
//!
//! tungstenite allocates for the first message that it reads, and where a message needs a larger
//! buffer than those before it: the read buffer has to hold what has arrived and, behind it, as much
//! as the header of the message says. It never shrinks.

use std::io::{IoSlice, IoSliceMut};

use allocation_counter::{measure, opt_out};
use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, StreamExt};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{WsState, byte_stream_config, tungstenite};

use crate::{
    backend::WsStream,
    counting::{KIB, allocations, byte_stream, collecting},
    support::{BINARY, PING, PONG, Peer, ROLES, Wire, connect, now, server, socket},
};

const MESSAGES: usize = 40;

/// One that writes at once, and one that collects.
fn writers(role: Role) -> [(WsStream<Wire>, Peer); 2] {
    [byte_stream(role), collecting(role, 2 * KIB)]
}

#[test]
fn a_write_allocates_nothing() {
    for role in ROLES {
        for size in [64, 4 * KIB, 64 * KIB] {
            for (mut ws, peer) in writers(role) {
                let data = vec![1; size];
                let allocated = allocations(|| {
                    opt_out(|| peer.reserve(MESSAGES * (size + 100)));
                    for _ in 0..MESSAGES {
                        now(ws.write_all(&data)).unwrap();
                    }
                });
                assert_eq!(allocated, 0, "{role:?}, {size} bytes");
            }
        }
    }
}

#[test]
fn a_vectored_write_allocates_nothing() {
    for role in ROLES {
        for (mut ws, peer) in writers(role) {
            let bufs = [&[1; 9][..], &[], &[2; 4 * KIB]].map(IoSlice::new);
            let allocated = allocations(|| {
                opt_out(|| peer.reserve(MESSAGES * 5 * KIB));
                for _ in 0..MESSAGES {
                    now(ws.write_vectored(&bufs)).unwrap();
                }
            });
            assert_eq!(allocated, 0, "{role:?}");
        }
    }
}

#[test]
fn a_flush_allocates_nothing() {
    for role in ROLES {
        for (mut ws, peer) in writers(role) {
            let allocated = allocations(|| {
                opt_out(|| peer.reserve(MESSAGES * 100));
                for _ in 0..MESSAGES {
                    now(ws.write(&[1; 64])).unwrap();
                    now(ws.flush()).unwrap();
                    now(ws.flush()).unwrap();
                }
            });
            assert_eq!(allocated, 0, "{role:?}");
        }
    }
}

#[test]
fn a_write_to_a_transport_that_is_not_writable_allocates_nothing() {
    for role in ROLES {
        for (mut ws, peer) in writers(role) {
            let allocated = allocations(|| {
                opt_out(|| peer.reserve(MESSAGES * 100));
                peer.block();
                for _ in 0..MESSAGES {
                    now(ws.write(&[1; 64])).unwrap();
                }
                peer.unblock();
                now(ws.flush()).unwrap();
            });
            assert_eq!(allocated, 0, "{role:?}");
        }
    }
}

/// Streams with small, recommended and large read buffers, and messages for them that are far
/// smaller, of the same size, and far larger.
fn readers() -> impl Iterator<Item = (Role, WebSocketConfig, usize)> {
    let small = WebSocketConfig::default().read_buffer_size(4 * KIB);
    let configs = [small, byte_stream_config(), WebSocketConfig::default()];
    let sizes = [1, 64, 1000, 4 * KIB, 16 * KIB, 64 * KIB];
    ROLES.into_iter().flat_map(move |role| {
        configs.into_iter().flat_map(move |config| sizes.map(|size| (role, config, size)))
    })
}

/// Sends messages: `together`, so that a read of the transport may end inside of one, or each for a
/// read of its own.
fn feed(peer: &Peer, size: usize, together: bool) {
    let frame = peer.frame(BINARY, &vec![1; size]);
    if together {
        peer.raw(frame.repeat(MESSAGES));
    } else {
        (0..MESSAGES).for_each(|_| peer.raw(frame.clone()));
    }
}

/// For each of `readers`, and with little and much room to read into. `read` says how many bytes it
/// got.
fn assert_reads_allocate_nothing(mut read: impl FnMut(&mut WsStream<Wire>, &mut [u8]) -> usize) {
    for (role, config, size) in readers() {
        for together in [true, false] {
            for room in [size.div_ceil(3), 128 * KIB] {
                let (mut ws, peer) = connect(role, Some(config));
                let mut buf = vec![0; room];
                let allocated = allocations(|| {
                    opt_out(|| feed(&peer, size, together));
                    let mut left = MESSAGES * size;
                    while left > 0 {
                        left -= read(&mut ws, &mut buf);
                    }
                });
                assert_eq!(allocated, 0, "{role:?}, {size} bytes into {room}, {config:?}");
            }
        }
    }
}

#[test]
fn a_read_allocates_nothing() {
    assert_reads_allocate_nothing(|ws, buf| now(ws.read(buf)).unwrap());
}

#[test]
fn a_vectored_read_allocates_nothing() {
    assert_reads_allocate_nothing(|ws, buf| {
        let (first, second) = buf.split_at_mut(buf.len() / 2);
        let mut bufs = [first, second].map(IoSliceMut::new);
        now(ws.read_vectored(&mut bufs)).unwrap()
    });
}

#[test]
fn a_buffered_read_allocates_nothing() {
    assert_reads_allocate_nothing(|ws, buf| {
        let length = now(ws.fill_buf()).unwrap().len().min(buf.len());
        ws.consume_unpin(length);
        length
    });
}

#[test]
fn the_first_messages_allocate_what_tungstenite_does_which_is_little() {
    for (role, config, size) in readers() {
        for together in [true, false] {
            let (mut socket, peer) = socket(role, Some(config));
            feed(&peer, size, together);
            let by_socket = [(); MESSAGES]
                .map(|()| measure(|| drop(now(socket.next()).unwrap().unwrap())).count_total);
            let (mut ws, peer) = connect(role, Some(config));
            feed(&peer, size, together);
            let mut buf = vec![0; size];
            let by_stream = [(); MESSAGES]
                .map(|()| measure(|| now(ws.read_exact(&mut buf)).unwrap()).count_total);
            assert_eq!(by_stream, by_socket, "{role:?}, {size} bytes, {config:?}");
            assert!(by_stream.iter().sum::<u64>() <= 4, "{role:?}, {size} bytes, {by_stream:?}");
        }
    }
}

#[test]
fn without_observers_pings_and_pongs_allocate_nothing() {
    for role in ROLES {
        for payload in [&b""[..], b"12345678", &[b'x'; 125]] {
            let (mut ws, peer) = byte_stream(role);
            let allocated = allocations(|| {
                opt_out(|| {
                    peer.reserve(10 * KIB);
                    for opcode in [PING, PONG, PING, PONG].repeat(5) {
                        peer.send(opcode, payload);
                    }
                    peer.binary(b"x");
                });
                now(ws.read(&mut [0; 1])).unwrap();
            });
            assert_eq!(allocated, 0, "{role:?}, {} bytes", payload.len());
        }
    }
}

#[test]
fn a_handle_allocates_nothing() {
    let (ws, _peer) = server(None);
    let used = measure(|| {
        let meta = ws.meta().clone();
        assert_eq!(meta.ready_state(), WsState::Open);
        assert_eq!(meta.counters().bytes_sent, 0);
    });
    assert_eq!(used.count_total, 0);
}
