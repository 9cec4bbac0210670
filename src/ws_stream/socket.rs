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
/// Sealed: the implementations listed here are all there are. With the feature `tokio-tungstenite` its
/// websocket is one of them. Each is `Unpin`. What takes a stream over any of them says so:
///
/// ```
/// use std::io;
///
/// use futures::AsyncReadExt;
/// use ws_stream_tungstenite::{Websocket, WsStream};
///
/// async fn read<S, W>(stream: &mut WsStream<S, W>) -> io::Result<Vec<u8>>
/// where
///     W: Websocket<Transport = S>,
/// {
///     let mut data = Vec::new();
///     stream.read_to_end(&mut data).await?;
///     Ok(data)
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "a `WsStream` can't be made of `{Self}`",
    note = "a `WebSocketStream` of async-tungstenite has to be that of version 0.35",
    note = "for the websocket of tokio-tungstenite 0.30, enable the feature `tokio-tungstenite`",
    note = "for other streams and sinks of tungstenite's messages, there is `WsStream::from_messages`"
)]
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
