//! `WsStream`: constructor, accessors, `Debug`, `Observable`.

mod close;
mod config;
mod control;
mod engine;
mod futures_io;
#[cfg(feature = "handshake")]
mod handshake;
mod messages;
mod meta;
mod notifier;
mod outbox;
mod read;
mod socket;
#[cfg(test)]
mod tests;
#[cfg(feature = "tokio_io")]
mod tokio_io;
#[cfg(feature = "tokio-tungstenite")]
mod tokio_tungstenite;
mod wakers;
mod write;

use std::{fmt, marker::PhantomData, sync::Arc};

use ::futures_io::{AsyncRead, AsyncWrite};
use async_tungstenite::WebSocketStream;
use pharos::{Observable, Observe, ObserveConfig};
use tungstenite::protocol::Role;

#[cfg(feature = "tokio-tungstenite")]
pub use self::tokio_tungstenite::TokioWsStream;
pub use self::{
    close::CloseEvent,
    config::{TextMessages, UncleanEnd, Writes, WsConfig, byte_stream_config},
    messages::Messages,
    meta::{WsCounters, WsMeta, WsState},
    socket::Websocket,
};

use self::{config::Choices, engine::Engine};
use crate::{WsErr, WsEvent};

/// A websocket as a stream of bytes.
///
/// Implements the futures-io traits and, with the feature `tokio_io`, those of tokio. Both behave
/// the same. The crate's documentation has the tables of what is sent, returned and told when.
///
/// # Reading
///
/// The payloads of the binary messages, in order (and of text messages, if
/// [chosen](WsConfig::text_messages)). A read returns what is there of the current message, copied once;
/// `AsyncBufRead` lends it without a copy. It goes to the next message only when the current one was
/// read to its end, so whatever was read can be answered, also if the peer closed right behind it.
/// Messages without data are skipped. End of file comes after the close handshake, or where the peer
/// broke it off or broke the rules; observers are told which.
///
/// Reading drives everything else: pings are answered, events delivered, close frames answered.
///
/// # Writing
///
/// One call takes what fits into one message: at most 64 KiB, or what
/// [`max_message`](WsConfig::max_message) says, and no more than `max_message_size`, `max_frame_size` and `max_write_buffer_size` of the
/// [`WebSocketConfig`](tungstenite::protocol::WebSocketConfig) allow. It sends the message at once
/// if the transport takes it. Vectored writes gather their buffers into one message. Small writes can
/// be [collected](Writes::Collect) into larger messages instead.
///
/// Flushing waits until the transport has everything. Closing also sends a close frame, behind all
/// that was written, and does not wait for the peer's. [`WsMeta::close`] does, and gives a reason.
///
/// # Errors
///
/// - Reading: only errors of the transport, and of kind
///   [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof) if [`UncleanEnd::Error`] was chosen, each
///   once. After an error or end of file, every read is at end of file.
/// - Writing: [`NotConnected`](std::io::ErrorKind::NotConnected) after a close frame was sent, or the
///   peer's was read, or when reading has ended. [`InvalidInput`](std::io::ErrorKind::InvalidInput) if the
///   configuration leaves no room for data. Any other kind: the transport failed; reading can go on.
///
/// # Cancel safety
///
/// Every poll is: `Pending` means that no byte was read or taken. `write_all`, `read_exact` and the
/// like are *not*: what they did before they were dropped is not known.
///
/// # Two tasks
///
/// Reading and writing may happen in two tasks, through `futures::io::split` or `tokio::io::split`.
/// Neither half misses a wake-up because of what the other does.
///
/// # Type parameters
///
/// `S` is the transport, and `W` the [websocket](Websocket) on it: that of async-tungstenite, unless the
/// type says otherwise. With the feature `tokio-tungstenite`, `TokioWsStream<T>` is the same over that of
/// tokio-tungstenite: where the compiler finds a different `WebSocketStream` than it expects, that is the type
/// to name. The traits, events and handles are the same over each; [`Websocket`] shows a function that takes
/// any.
pub struct WsStream<S, W = WebSocketStream<S>> {
    engine: Engine<W>,
    transport: PhantomData<fn() -> S>,
}

impl<S, W> WsStream<S, W>
where
    W: Websocket<Transport = S>,
{
    /// Makes a byte stream of a websocket whose handshake is done: that of async-tungstenite, or of
    /// tokio-tungstenite with the feature of that name.
    ///
    /// `poll_close` of the transport has to shut down its sending side: a peer may wait for that.
    #[must_use]
    pub fn new(inner: W) -> Self {
        Self::with_config(inner, WsConfig::default())
    }

    /// The same, where there is a choice as `config` says.
    #[must_use]
    pub fn with_config(inner: W, config: WsConfig) -> Self {
        Self::from_parts(inner, config.choices)
    }

    fn from_parts(inner: W, choices: Choices) -> Self {
        Self { engine: Engine::new(inner, choices), transport: PhantomData }
    }
}

impl<S> WsStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Makes a byte stream of a transport on which a handshake was done by other means.
    ///
    /// Without `config`, with every default, and with [`byte_stream_config`] instead of the larger
    /// buffers and limits of tungstenite. Does not wait for anything.
    ///
    /// # Panics
    ///
    /// If `max_write_buffer_size` of the `WebSocketConfig` is not larger than `write_buffer_size`.
    pub async fn from_raw_socket(transport: S, role: Role, config: Option<WsConfig>) -> Self {
        let (websocket, choices) = config.unwrap_or_default().split();
        let inner = WebSocketStream::from_raw_socket(transport, role, Some(websocket)).await;
        Self::from_parts(inner, choices)
    }

    /// The same, where `part` was already read from the transport, behind the handshake.
    ///
    /// # Panics
    ///
    /// As [`from_raw_socket`](Self::from_raw_socket).
    pub async fn from_partially_read(
        transport: S,
        part: Vec<u8>,
        role: Role,
        config: Option<WsConfig>,
    ) -> Self {
        let (websocket, choices) = config.unwrap_or_default().split();
        let inner =
            WebSocketStream::from_partially_read(transport, part, role, Some(websocket)).await;
        Self::from_parts(inner, choices)
    }
}

impl<S, W> WsStream<S, W> {
    /// A handle to this stream, which stays usable when the stream is inside something else: to send
    /// pings, to close with a code and wait for the end, to observe, to see the state and the
    /// counters. Costs no allocation.
    pub fn meta(&self) -> WsMeta {
        WsMeta { control: Arc::clone(&self.engine.control) }
    }

    /// The websocket below, to look at.
    pub fn get_ref(&self) -> &W {
        &self.engine.socket
    }

    /// The websocket below, for instance to set options of the transport.
    ///
    /// Do not receive messages from it, send a close frame through it, or touch the bytes of the
    /// transport: the stream would miss them. What is sent through it leaves when the stream is
    /// polled next, in order with what was written to the stream, except that it overtakes what was
    /// [collected](Writes::Collect).
    pub fn get_mut(&mut self) -> &mut W {
        self.engine.unflushed.add_unknown();
        self.engine.is_read_up = false;
        &mut self.engine.socket
    }

    /// Gives back the websocket.
    ///
    /// The unread rest of the current message is lost, and so are events that no observer had room
    /// for. Messages that were not read from yet are still in the websocket, and so is what was
    /// written and is not flushed, except for what was [collected](Writes::Collect). For handles, the
    /// connection is over.
    pub fn into_inner(self) -> W {
        self.engine.socket
    }
}

impl<S, W> fmt::Debug for WsStream<S, W> {
    /// Shows the state of both directions, no data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsStream")
            .field("read", &self.engine.read)
            .field("write", &self.engine.write)
            .finish_non_exhaustive()
    }
}

impl<S, W> Observable<WsEvent> for WsStream<S, W>
where
    W: Websocket + Send,
{
    type Error = WsErr;

    /// Lets an observer be told of [events](WsEvent) from now on, and of those before that still wait
    /// for room at another observer.
    ///
    /// A bounded channel that is full holds up reading until it has room. It never holds up writing
    /// or closing. An observer that is dropped is forgotten.
    ///
    /// # Errors
    ///
    /// - [`WsErr::Closed`]: the last event was told before.
    /// - [`WsErr::Observe`]: a bounded channel of capacity 0.
    fn observe(&mut self, options: ObserveConfig<WsEvent>) -> Observe<'_, WsEvent, WsErr> {
        self.engine.notifier.observe(options)
    }
}
