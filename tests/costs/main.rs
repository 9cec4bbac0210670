//! What the stream costs, in what can be counted: the same on every machine, whatever the load is.

mod allocations;
#[path = "../it/backend.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod backend;
mod counting;
mod rounds;
mod sizes;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod support;
#[cfg(feature = "tokio_io")]
mod tokio_io;
mod transport_calls;
mod wakes;
