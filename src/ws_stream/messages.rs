//! `Messages`: any stream and sink of messages as a websocket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tungstenite::{Error, Message, error::ProtocolError, protocol::WebSocketConfig};

use super::{
    WsConfig, WsStream,
    socket::{Socket, Websocket},
    write::message_limit,
};
use crate::error::into_io;

/// A `Stream` and `Sink` of tungstenite's messages, as the websocket of a [`WsStream`].
///
/// [`WsStream::from_messages`] makes it.
#[derive(Debug)]
pub struct Messages<M> {
    inner: M,
    config: WebSocketConfig,
    /// The peer's close frame has come.
    is_peer_closed: bool,
    /// The sink has failed. It need not bear to be polled again: `sink_map_err` panics.
    has_failed: bool,
}

impl<M> Messages<M> {
    /// The stream and sink.
    pub fn get_ref(&self) -> &M {
        &self.inner
    }

    /// The stream and sink. As for [`WsStream::get_mut`], do not receive from it, and do not close it.
    pub fn get_mut(&mut self) -> &mut M {
        &mut self.inner
    }

    /// Gives back the stream and sink.
    pub fn into_inner(self) -> M {
        self.inner
    }
}

impl<M> WsStream<M, Messages<M>>
where
    M: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    /// Makes a byte stream of whatever passes messages: a websocket behind adapters, or that of another
    /// library whose messages and errors were mapped to tungstenite's:
    ///
    /// ```
    /// use std::future::ready;
    ///
    /// use futures::{AsyncRead, AsyncWrite, Sink, SinkExt, Stream, StreamExt};
    /// use ws_stream_tungstenite::{WsStream, tungstenite::Error};
    ///
    /// # use std::io;
    /// # use ws_stream_tungstenite::tungstenite::Message;
    /// # struct TheirMessage;
    /// # fn into_ours(_: TheirMessage) -> Message {
    /// #     Message::binary(Vec::new())
    /// # }
    /// # fn into_theirs(_: Message) -> TheirMessage {
    /// #     TheirMessage
    /// # }
    /// # fn into_error(error: io::Error) -> Error {
    /// #     Error::Io(error)
    /// # }
    /// # type TheirError = io::Error;
    /// fn stream<T>(websocket: T) -> impl AsyncRead + AsyncWrite
    /// where
    ///     T: Stream<Item = Result<TheirMessage, TheirError>>
    ///         + Sink<TheirMessage, Error = TheirError>
    ///         + Unpin,
    /// {
    ///     let messages = websocket
    ///         .map(|message| message.map(into_ours).map_err(into_error))
    ///         .sink_map_err(into_error)
    ///         .with(|message| ready(Ok::<_, Error>(into_theirs(message))));
    ///     WsStream::from_messages(messages, None)
    /// }
    /// ```
    ///
    /// What is not `Unpin`, such as an adapter with an `async` block, goes into a `Box::pin`.
    ///
    /// In a server of axum, `WsUpgrade` (feature `axum`) is better than this over axum's `WebSocket`, whose
    /// errors are of another version of tungstenite: it can do all of the following.
    ///
    /// Like the websockets of tungstenite, `messages` has to answer pings and close frames by itself, at
    /// the latest when it is flushed, and to end behind the peer's close frame: where it ends without
    /// one, the peer has broken the stream off ([`WsErr::MissingCloseFrame`](crate::WsErr)). Its `Stream`
    /// and its `Sink` are polled with different wakers, and it is closed (`Sink::poll_close`) behind both
    /// close frames. A sink that has failed is not polled again.
    ///
    /// What an error of the `Stream` means depends on what it is mapped to:
    ///
    /// | error | reads | close frame sent | event |
    /// | --- | --- | --- | --- |
    /// | `Io` | the error, once | – | `Error(Io)` |
    /// | `Protocol(ResetWithoutClosingHandshake)`, or an end | end of file | – | `Error(MissingCloseFrame)` |
    /// | any other `Protocol` | end of file | 1002 | `Error(Protocol)` |
    /// | `Utf8`, `Capacity` | end of file | 1007, 1009 | `Error(Tungstenite)` |
    ///
    /// A `Stream` that does not end behind the peer's close frame keeps a reader waiting.
    ///
    /// The bytes below can't be reached: a peer that breaks the rules is refused with a close frame, and
    /// end of file follows at once, without waiting for the peer. Of
    /// [`WsConfig::websocket`] the limits apply to what is written; what may arrive is up to `messages`.
    /// tungstenite does not flush the close frame with which a server answers: behind adapters, a
    /// transport that buffers what is written keeps it.
    #[must_use]
    pub fn from_messages(messages: M, config: Option<WsConfig>) -> Self {
        let (config, mut choices) = config.unwrap_or_default().split();
        // an adapter may tell too late that there is no room for the mask
        choices.max_message = choices.max_message.min(message_limit(&config, true));
        // nobody knows what `messages` leaves in its buffers: it may call its transport at any time
        let config = config.write_buffer_size(0);
        let messages =
            Messages { inner: messages, config, is_peer_closed: false, has_failed: false };
        Self::from_parts(messages, choices)
    }
}

impl<M> Websocket for Messages<M>
where
    M: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    type Transport = M;
}

impl<M> Stream for Messages<M>
where
    M: Stream<Item = Result<Message, Error>> + Unpin,
{
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.inner.poll_next_unpin(cx));
        match message {
            Some(Ok(Message::Close(_))) => self.is_peer_closed = true,
            None if !self.is_peer_closed => {
                return Poll::Ready(Some(Err(ProtocolError::ResetWithoutClosingHandshake.into())));
            }
            _ => {}
        }
        Poll::Ready(message)
    }
}

impl<M> Sink<Message> for Messages<M>
where
    M: Sink<Message, Error = Error> + Unpin,
{
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_sink(|sink| sink.poll_ready_unpin(cx))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let sent = self.inner.start_send_unpin(message);
        self.has_failed =
            matches!(&sent, Err(error) if !matches!(error, Error::WriteBufferFull(_)));
        sent
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_sink(|sink| sink.poll_flush_unpin(cx))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_sink(|sink| sink.poll_close_unpin(cx))
    }
}

impl<M> Messages<M> {
    fn poll_sink(
        &mut self,
        poll: impl FnOnce(&mut M) -> Poll<Result<(), Error>>,
    ) -> Poll<Result<(), Error>> {
        if self.has_failed {
            return Poll::Ready(Err(Error::AlreadyClosed));
        }
        let polled = poll(&mut self.inner);
        self.has_failed = matches!(polled, Poll::Ready(Err(_)));
        polled
    }
}

impl<M> Socket for Messages<M>
where
    M: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
{
    fn config(&self) -> &WebSocketConfig {
        &self.config
    }

    fn poll_read_transport(
        &mut self,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    fn poll_flush_transport(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(())) // that is up to the sink
    }

    fn poll_close_transport(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_close_unpin(cx).map_err(|error| into_io(error.into()))
    }
}
