#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|program: ws_stream_fuzz::operations::Program| program.run());

#[cfg(not(fuzzing))]
fn main() {}
