//! Every seed of every target passes: what the fuzzer found to be different, and what failed once.

use std::{fs, path::Path};

use arbitrary::{Arbitrary, Unstructured};
use ws_stream_fuzz::{control, operations, peer_bytes};

/// Runs every seed of `target`. If one fails, the last line of the output is its name.
fn run_seeds(target: &str, run: impl Fn(&[u8])) {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut seeds: Vec<_> = fs::read_dir(seeds).unwrap().map(|seed| seed.unwrap().path()).collect();
    assert!(seeds.len() >= 100, "{} seeds for {target}", seeds.len());
    seeds.sort();
    for seed in seeds {
        println!("{}", seed.display());
        run(&fs::read(seed).unwrap());
    }
}

/// What the fuzzer makes of `input`.
fn decode<'a, P: Arbitrary<'a>>(input: &'a [u8]) -> P {
    P::arbitrary_take_rest(Unstructured::new(input)).unwrap()
}

#[test]
fn control() {
    run_seeds("control", |input| decode::<control::Program>(input).run());
}

#[test]
fn operations() {
    run_seeds("operations", |input| decode::<operations::Program>(input).run());
}

#[test]
fn peer_bytes() {
    run_seeds("peer_bytes", |input| decode::<peer_bytes::Program>(input).run());
}
