//! `Websocket`: what a `WsStream` may be made of; `Socket`: what the engine needs of it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use async_tungstenite::WebSocketStream;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{Sink, Stream};
use tungstenite::{Error, Message, protocol::WebSocketConfig};

/// A websocket that a [`WsStream`](crate::WsStream) can be made of.
///
/// Sealed: the implementations listed here are all there are.
pub trait Websocket: Socket {
    /// What the frames travel over.
    type Transport;
}

/// A stream and sink of messages, and the parts of it that messages can't reach.
///
/// Its `Stream` and its `Sink` may be polled with different wakers; neither loses the other's. The
/// close frame of the peer is answered by the socket, when it is flushed.
pub trait Socket:
    Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin
{
    fn config(&self) -> &WebSocketConfig;

    /// Reads from the transport, past the websocket.
    fn poll_read_transport(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>>;

    /// Flushes the transport alone.
    fn poll_flush_transport(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Shuts down the sending side of the transport.
    fn poll_close_transport(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Websocket for WebSocketStream<S> {
    type Transport = S;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket for WebSocketStream<S> {
    fn config(&self) -> &WebSocketConfig {
        self.get_config()
    }

    fn poll_read_transport(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.get_mut()).poll_read(cx, buf)
    }

    fn poll_flush_transport(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut()).poll_flush(cx)
    }

    fn poll_close_transport(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut()).poll_close(cx)
    }
}
