//! What the tests count, and the streams that they count it of.

use allocation_counter::measure;
use futures::AsyncWriteExt;
use tungstenite::protocol::Role;
use ws_stream_tungstenite::{Writes, WsConfig, byte_stream_config, tungstenite};

use crate::{
    backend::WsStream,
    support::{Calls, Peer, Wire, connect, connect_with, now},
};

pub const KIB: usize = 1024;

/// What `run` asks of the transport.
pub fn calls(peer: &Peer, run: impl FnOnce()) -> Calls {
    let before = peer.calls();
    run();
    let after = peer.calls();
    Calls {
        reads: after.reads - before.reads,
        writes: after.writes - before.writes,
        flushes: after.flushes - before.flushes,
        closes: after.closes - before.closes,
    }
}

pub fn reads(reads: usize) -> Calls {
    Calls { reads, ..Calls::default() }
}

/// As many writes as flushes.
pub fn sends(sends: usize) -> Calls {
    Calls { writes: sends, flushes: sends, ..Calls::default() }
}

/// What `run` allocates once it has run often enough for the buffers to have their size.
pub fn allocations(mut run: impl FnMut()) -> u64 {
    run();
    run();
    measure(run).count_total
}

/// A stream with the configuration that this crate recommends.
pub fn byte_stream(role: Role) -> (WsStream<Wire>, Peer) {
    flushed(connect(role, Some(byte_stream_config())))
}

pub fn collecting(role: Role, size: usize) -> (WsStream<Wire>, Peer) {
    flushed(connect_with(role, WsConfig::new().writes(Writes::Collect(size))))
}

/// Before the first flush, whoever had the websocket before may have left something in it.
pub fn flushed((mut ws, peer): (WsStream<Wire>, Peer)) -> (WsStream<Wire>, Peer) {
    now(ws.flush()).unwrap();
    (ws, peer)
}
