//! Websockets on the connections of hyper and axum, by subject; a test's path reads as a sentence.

mod api;
mod axum;
#[path = "../it/backend.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod backend;
mod client;
mod connections;
mod hostile;
mod http1;
mod http2;
mod origins;
mod protocols;
mod requests;
mod streams;
#[path = "../it/support.rs"]
#[expect(dead_code, reason = "the tests of the behaviour need more of it")]
mod support;
