//! `WsStream`: constructor, accessors, `Debug`, `Observable`.

mod engine;
mod futures_io;
mod notifier;
mod read;
mod socket;
#[cfg(feature = "tokio_io")]
mod tokio_io;
mod wakers;
mod write;

use std::fmt;

use ::futures_io::{AsyncRead, AsyncWrite};
use async_tungstenite::WebSocketStream;
use pharos::{Observable, Observe, ObserveConfig};

use self::engine::Engine;
use crate::{WsErr, WsEvent};

/// A websocket as a stream of bytes.
pub struct WsStream<S> {
    engine: Engine<WebSocketStream<S>>,
}

impl<S> WsStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Makes a byte stream of a websocket whose handshake is done.
    #[must_use]
    pub fn new(inner: WebSocketStream<S>) -> Self {
        Self { engine: Engine::new(inner) }
    }
}

impl<S> WsStream<S> {
    /// The websocket below, to look at.
    pub fn get_ref(&self) -> &WebSocketStream<S> {
        &self.engine.socket
    }

    /// The websocket below, for instance to set options of the transport or to send a ping.
    ///
    /// Do not receive messages from it, send a close frame through it, or touch the bytes of the
    /// transport: the stream would miss them. What is sent through it leaves when the stream is
    /// polled next, in order with what was written to the stream.
    pub fn get_mut(&mut self) -> &mut WebSocketStream<S> {
        self.engine.unflushed.add_unknown();
        &mut self.engine.socket
    }

    /// Gives back the websocket.
    ///
    /// The unread rest of the current message is lost, and so are events that no observer had room
    /// for. Messages that were not read from yet are still in the websocket, and so is what was
    /// written and is not flushed.
    pub fn into_inner(self) -> WebSocketStream<S> {
        self.engine.socket
    }
}

impl<S> fmt::Debug for WsStream<S> {
    /// Shows the state of both directions, no data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsStream")
            .field("read", &self.engine.read)
            .field("write", &self.engine.write)
            .finish_non_exhaustive()
    }
}

impl<S> Observable<WsEvent> for WsStream<S>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    type Error = WsErr;

    fn observe(&mut self, options: ObserveConfig<WsEvent>) -> Observe<'_, WsEvent, WsErr> {
        self.engine.notifier.observe(options)
    }
}
