//! What is sent: pseudo-random bytes, which can be made again to compare.

use blake3::Hasher;

/// Bytes that are always the same for a `seed`.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// One of many messages. They have 0 to 256 KiB, 32 KiB on average.
pub fn message(index: u64) -> Vec<u8> {
    let length = match index {
        0 => 0,
        1 => LARGEST_MESSAGE,
        _ => (random(index) % LARGEST_MESSAGE) >> (index % 8),
    };
    noise(index, length)
}

/// A number of 24 bits.
fn random(seed: u64) -> usize {
    noise(seed, 3).into_iter().fold(0, |number, byte| (number << 8) | usize::from(byte))
}

/// Says only that they differ, as nobody reads megabytes.
pub fn assert_same(received: &[u8], sent: &[u8]) {
    assert_eq!(
        (received.len(), blake3::hash(received)),
        (sent.len(), blake3::hash(sent)),
        "length and hash of what was received, and of what was sent"
    );
}

const LARGEST_MESSAGE: usize = 256 * 1024;
