//! What a fuzzer does with `ws_stream_tungstenite`: a program for each target, which panics if something
//! that always has to hold does not.

mod both;
mod calls;
pub mod control;
mod decode;
mod endpoint;
mod frames;
mod memory;
pub mod operations;
pub mod peer_bytes;
mod pipe;
mod session;
mod setup;
mod tasks;
