//! Libraries that take any stream of bytes, at both ends of ours over TCP.

mod http;
mod multiplexer;
mod rpc;
mod ssh;
mod support;
mod tls;
