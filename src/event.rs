//! `WsEvent`: what observers are told.

use std::sync::Arc;

use tungstenite::{Bytes, protocol::CloseFrame};

use crate::WsErr;

/// What happens on the websocket and can't be said through `AsyncRead` and `AsyncWrite`.
///
/// Observers get events in the order in which they happened. `observe` of
/// [`WsStream`](crate::WsStream) and [`WsMeta`](crate::WsMeta) comes from the trait
/// `pharos::Observable`.
#[derive(Debug, Clone)]
pub enum WsEvent {
    /// Something went wrong. Where the close handshake is still possible, the stream does it: read
    /// on until end of file.
    Error(Arc<WsErr>),

    /// The peer's close frame arrived, with its close code and reason if it has them. Either it
    /// answers ours, or the stream answers it, as long as it is polled. Read on until end of file.
    ///
    /// A close frame whose code must not be sent (RFC 6455, section 7.4) shows here, and in a
    /// [`CloseEvent`](crate::CloseEvent), with code 1002 and the reason "Protocol violation".
    CloseFrame(Option<CloseFrame>),

    /// The peer sent a ping with this payload. The stream answers it, as long as it is polled.
    Ping(Bytes),

    /// The peer sent a pong with this payload: the answer to a ping of
    /// [`WsMeta::ping`](crate::WsMeta::ping), or a heartbeat that nobody asked for.
    Pong(Bytes),

    /// The connection is over: reads are at end of file, writes fail with
    /// [`NotConnected`](std::io::ErrorKind::NotConnected). Comes exactly once, as the last event;
    /// after it the stream of events ends. If the `WsStream` is dropped before it was read to its
    /// end, the events end without it.
    Closed,
}
