//! How often the transport is read, written, flushed and closed: on a socket, each is a system call.

use std::io::IoSlice;

use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt};
use futures_test::task::noop_context;
use tungstenite::protocol::Role;
use ws_stream_tungstenite::tungstenite;

use crate::{
    counting::{KIB, byte_stream, calls, collecting, reads, sends},
    support::{BINARY, CLOSE, Calls, PING, PONG, ROLES, connect, now},
};

#[test]
fn a_write_costs_one_write_and_one_flush() {
    for role in ROLES {
        for size in [1, 64, 4 * KIB, 64 * KIB] {
            let (mut ws, peer) = byte_stream(role);
            let data = vec![1; size];
            let asked = calls(&peer, || assert_eq!(now(ws.write(&data)).unwrap(), size));
            assert_eq!(asked, sends(1), "{role:?}, {size} bytes");
        }
    }
}

#[test]
fn the_first_write_costs_one_flush_more_for_whoever_had_the_websocket_before() {
    for role in ROLES {
        let (mut ws, peer) = connect(role, None);
        now(ws.write(b"first")).unwrap();
        assert_eq!(peer.calls(), Calls { flushes: 2, ..sends(1) }, "{role:?}");
    }
}

#[test]
fn a_vectored_write_costs_one_write_and_one_flush() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        let bufs = [&[1; 9][..], &[], &[2; 4 * KIB], &[3]].map(IoSlice::new);
        let asked = calls(&peer, || assert_eq!(now(ws.write_vectored(&bufs)).unwrap(), 4106));
        assert_eq!(asked, sends(1), "{role:?}");
        assert_eq!(peer.sent().len(), 1);
    }
}

#[test]
fn a_flush_with_nothing_to_flush_costs_nothing() {
    for role in ROLES {
        for (mut ws, peer) in [byte_stream(role), collecting(role, KIB)] {
            now(ws.write(b"data")).unwrap();
            now(ws.flush()).unwrap();
            let asked = calls(&peer, || now(ws.flush()).unwrap());
            assert_eq!(asked, Calls::default(), "{role:?}");
        }
    }
}

#[test]
fn a_flush_behind_a_write_costs_nothing() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        now(ws.write(b"data")).unwrap();
        let asked = calls(&peer, || now(ws.flush()).unwrap());
        assert_eq!(asked, Calls::default(), "{role:?}");
    }
}

#[test]
fn a_large_write_costs_at_most_one_write_and_one_flush_for_64_kib() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        let data = vec![1; KIB * KIB];
        let asked = calls(&peer, || now(ws.write_all(&data)).unwrap());
        assert!(asked.writes <= 16 && asked.flushes <= 16, "{role:?}, {asked:?}");
        assert_eq!((asked.reads, asked.closes), (0, 0), "{role:?}");
        assert_eq!(peer.sent_data().len(), data.len());
    }
}

#[test]
fn collected_writes_cost_nothing_until_they_are_flushed_together() {
    for role in ROLES {
        let (mut ws, peer) = collecting(role, 8 * KIB);
        let asked = calls(&peer, || (0..100).for_each(|_| now(ws.write_all(&[1; 64])).unwrap()));
        assert_eq!(asked, Calls::default(), "{role:?}");
        let asked = calls(&peer, || now(ws.flush()).unwrap());
        assert_eq!(asked, sends(1), "{role:?}");
        assert_eq!(peer.sent().len(), 1);
    }
}

#[test]
fn collected_writes_that_fill_a_message_cost_one_write_and_one_flush() {
    for role in ROLES {
        let (mut ws, peer) = collecting(role, 8 * KIB);
        for _ in 0..10 {
            let write = || (0..128).for_each(|_| now(ws.write_all(&[1; 64])).unwrap());
            assert_eq!(calls(&peer, write), sends(1), "{role:?}");
        }
        assert_eq!(peer.sent().len(), 10);
    }
}

#[test]
fn writes_that_join_others_cost_nothing_and_leave_in_one_write() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        peer.block();
        let asked = calls(&peer, || now(ws.write_all(&[1; 64])).unwrap());
        assert_eq!(asked, Calls { writes: 1, ..Calls::default() }, "{role:?}: it was in vain");
        let write = || (0..1000).for_each(|_| now(ws.write_all(&[1; 64])).unwrap());
        assert_eq!(calls(&peer, write), Calls::default(), "{role:?}");
        let asked = calls(&peer, || {
            peer.unblock();
            now(ws.flush()).unwrap();
        });
        assert_eq!(asked, sends(1), "{role:?}");
        assert_eq!(peer.sent().len(), 1001);
    }
}

#[test]
fn a_transport_that_is_not_writable_is_not_tried_again_before_it_calls() {
    for role in ROLES {
        for (mut ws, peer) in [byte_stream(role), collecting(role, KIB)] {
            let mut cx = noop_context();
            assert!(ws.read(&mut [0; 8]).poll_unpin(&mut cx).is_pending());
            peer.block();
            now(ws.write(b"data")).unwrap();
            assert!(ws.flush().poll_unpin(&mut cx).is_pending());
            let asked = calls(&peer, || {
                for _ in 0..100 {
                    assert!(ws.flush().poll_unpin(&mut cx).is_pending());
                    assert!(ws.read(&mut [0; 8]).poll_unpin(&mut cx).is_pending());
                }
            });
            assert_eq!(asked, Calls::default(), "{role:?}");
        }
    }
}

#[test]
fn collected_messages_that_join_others_leave_in_one_write() {
    for role in ROLES {
        let (mut ws, peer) = collecting(role, 8 * KIB);
        peer.block();
        now(ws.write_all(&[1; 8 * KIB])).unwrap();
        let write = || (0..KIB).for_each(|_| now(ws.write_all(&[1; 64])).unwrap());
        assert_eq!(calls(&peer, write), Calls::default(), "{role:?}");
        let asked = calls(&peer, || {
            peer.unblock();
            now(ws.flush()).unwrap();
        });
        assert_eq!(asked, sends(1), "{role:?}");
        assert_eq!(peer.sent_data().len(), 72 * KIB);
    }
}

#[test]
fn a_reader_that_is_polled_again_while_nothing_has_arrived_costs_nothing() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        let mut cx = noop_context();
        let asked = calls(&peer, || assert!(ws.read(&mut [0; 8]).poll_unpin(&mut cx).is_pending()));
        assert_eq!(asked, reads(1), "{role:?}");
        let asked = calls(&peer, || {
            for _ in 0..100 {
                assert!(ws.read(&mut [0; 8]).poll_unpin(&mut cx).is_pending());
                assert!(ws.fill_buf().poll_unpin(&mut cx).is_pending());
            }
        });
        assert_eq!(asked, Calls::default(), "{role:?}");
        let asked = calls(&peer, || {
            for _ in 0..100 {
                now(ws.write(b"data")).unwrap();
                assert!(ws.read(&mut [0; 8]).poll_unpin(&mut cx).is_pending());
            }
        });
        assert_eq!(asked, sends(100), "{role:?}: what is written does not make it read");
    }
}

#[test]
fn a_message_costs_one_read() {
    for role in ROLES {
        // a frame of 16 KiB is what the read buffer is made for
        for size in [1, 1000, 16 * KIB] {
            let (mut ws, peer) = byte_stream(role);
            let mut buf = vec![0; 2 * size];
            for _ in 0..10 {
                let asked = calls(&peer, || {
                    peer.binary(&vec![1; size]);
                    assert_eq!(now(ws.read(&mut buf)).unwrap(), size);
                });
                assert_eq!(asked, reads(1), "{role:?}, {size} bytes");
            }
        }
    }
}

#[test]
fn what_is_left_of_a_message_costs_nothing() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        peer.binary(&[1; KIB]);
        now(ws.read(&mut [0; 24])).unwrap();
        let asked =
            calls(&peer, || (0..10).for_each(|_| now(ws.read_exact(&mut [0; 100])).unwrap()));
        assert_eq!(asked, Calls::default(), "{role:?}");
    }
}

#[test]
fn messages_that_arrived_together_cost_one_read() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        let mut buf = vec![0; KIB];
        let mut cx = noop_context();
        for _ in 0..10 {
            let asked = calls(&peer, || {
                peer.raw(peer.frame(BINARY, &[1; 10]).repeat(50));
                for _ in 0..50 {
                    assert_eq!(now(ws.read(&mut buf)).unwrap(), 10);
                }
                assert!(ws.read(&mut buf).poll_unpin(&mut cx).is_pending());
            });
            assert_eq!(asked, reads(2), "{role:?}: one of them in vain");
        }
    }
}

#[test]
fn lent_messages_that_arrived_together_cost_one_read() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        let asked = calls(&peer, || {
            peer.raw(peer.frame(BINARY, &[1; 10]).repeat(100));
            for _ in 0..100 {
                assert_eq!(now(ws.fill_buf()).unwrap().len(), 10);
                ws.consume_unpin(10);
            }
        });
        assert_eq!(asked, reads(1), "{role:?}");
        let asked = calls(&peer, || assert!(ws.fill_buf().now_or_never().is_none()));
        assert_eq!(asked, reads(1), "{role:?}");
    }
}

#[test]
fn a_large_message_costs_one_read_for_each_20_kib() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        let mut buf = vec![0; 64 * KIB];
        for _ in 0..10 {
            peer.binary(&buf);
            let asked = calls(&peer, || now(ws.read_exact(&mut buf)).unwrap());
            assert_eq!(asked, reads(4), "{role:?}");
        }
    }
}

#[test]
fn a_ping_costs_one_write_and_one_flush_and_a_pong_nothing() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        let asked = calls(&peer, || {
            let frames = [PING, PONG].map(|opcode| peer.frame(opcode, b"still there?"));
            peer.raw(frames.concat().repeat(10));
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        });
        assert_eq!(asked, Calls { reads: 2, ..sends(10) }, "{role:?}");
        assert_eq!(peer.sent().len(), 10);
    }
}

#[test]
fn closing_costs_one_write_and_one_close() {
    // tungstenite flushes when it is given the close frame and when it is flushed, then the engine
    // flushes the transport alone; a client flushes once more behind the peer's answer
    for (role, last) in [
        (Role::Client, Calls { reads: 2, flushes: 1, closes: 1, ..Calls::default() }),
        (Role::Server, Calls { reads: 1, closes: 1, ..Calls::default() }),
    ] {
        let (mut ws, peer) = byte_stream(role);
        let asked = calls(&peer, || now(ws.close()).unwrap());
        assert_eq!(asked, Calls { flushes: 3, ..sends(1) }, "{role:?}");
        peer.send(CLOSE, b"");
        peer.end();
        let asked = calls(&peer, || assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0));
        assert_eq!(asked, last, "{role:?}");
        let asked = calls(&peer, || {
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
            now(ws.close()).unwrap();
        });
        assert_eq!(asked, Calls::default(), "{role:?}");
    }
}
