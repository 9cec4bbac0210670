//! tokio's traits cost the same.

use std::io::IoSlice;

use allocation_counter::opt_out;
use futures::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::{
    counting::{KIB, allocations, byte_stream, calls, reads, sends},
    support::{Calls, ROLES, now},
};

#[test]
fn a_write_and_a_flush_cost_one_write_one_flush_and_no_allocation() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        assert!(ws.is_write_vectored());
        let bufs = [&[1; 9][..], &[2; 4 * KIB]].map(IoSlice::new);
        let mut round = || {
            opt_out(|| peer.reserve(10 * KIB));
            now(ws.write(&[1; 64])).unwrap();
            assert_eq!(now(ws.write_vectored(&bufs)).unwrap(), 4 * KIB + 9);
            now(ws.flush()).unwrap();
        };
        assert_eq!(calls(&peer, &mut round), sends(2), "{role:?}");
        assert_eq!(allocations(round), 0, "{role:?}");
    }
}

#[test]
fn a_read_costs_one_read_and_no_allocation() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        let mut round = || {
            opt_out(|| peer.binary(&[1; KIB]));
            now(ws.read_exact(&mut [0; 1000])).unwrap();
            assert_eq!(now(ws.fill_buf()).unwrap().len(), 24);
            ws.consume(24);
        };
        assert_eq!(calls(&peer, &mut round), reads(1), "{role:?}");
        assert_eq!(allocations(round), 0, "{role:?}");
    }
}

#[test]
fn a_reader_that_is_polled_again_while_nothing_has_arrived_costs_nothing() {
    for role in ROLES {
        let (mut ws, peer) = byte_stream(role);
        let mut poll = || assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        poll();
        assert_eq!(calls(&peer, poll), Calls::default(), "{role:?}");
    }
}
