//! A lot of it: floods.

mod floods;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod support;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
