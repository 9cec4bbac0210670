//! How much memory the process takes, as the system sees it.

use crate::KIB;

/// What the process has in memory, where the system says so in the way of Linux.
pub fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<usize>().ok()? * KIB)
}
