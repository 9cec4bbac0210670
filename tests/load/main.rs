//! A lot of it: floods, connections by the thousand, and minutes of random traffic.

#[path = "../it/backend.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod backend;
#[cfg(unix)]
mod connections;
mod floods;
mod soak;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod support;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What the process has in memory, where the system says so in the way of Linux.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<usize>().ok()? * KIB)
}
