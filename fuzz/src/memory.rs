//! `Memory`: how much a stream holds.

use allocation_counter::measure;

/// What the stream holds, in bytes.
#[derive(Debug, Default)]
pub struct Memory {
    live: i64,
    pub peak: i64,
}

impl Memory {
    /// Makes a call whose memory counts.
    pub fn count<R>(&mut self, call: impl FnOnce() -> R) -> R {
        let mut result = None;
        let info = measure(|| result = Some(call()));
        let peak = self.live + i64::try_from(info.bytes_max).unwrap();
        self.peak = self.peak.max(peak);
        self.live += info.bytes_current;
        result.expect("the call has returned")
    }
}
