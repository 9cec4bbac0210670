//! A lot of it: floods, connections by the thousand, and minutes of random traffic.

#[path = "../it/backend.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod backend;
#[cfg(unix)]
mod connections;
mod floods;
mod memory;
mod soak;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod support;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
