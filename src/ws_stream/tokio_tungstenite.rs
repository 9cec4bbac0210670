//! The websocket of tokio-tungstenite (feature `tokio-tungstenite`).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tungstenite::protocol::WebSocketConfig;

use super::{
    WsStream,
    socket::{Socket, Websocket},
};

/// A [`WsStream`] over a websocket of tokio-tungstenite, whose transport `T` has tokio's traits
/// (feature `tokio-tungstenite`).
///
/// [`WsStream::new`] makes it of the websocket. Everything is the same as over async-tungstenite, and
/// the stream itself has the traits of futures-io, and with the feature `tokio_io` those of tokio too.
#[cfg_attr(docsrs, doc(cfg(feature = "tokio-tungstenite")))]
pub type TokioWsStream<T> = WsStream<T, WebSocketStream<T>>;

#[cfg_attr(docsrs, doc(cfg(feature = "tokio-tungstenite")))]
impl<T: AsyncRead + AsyncWrite + Unpin> Websocket for WebSocketStream<T> {
    type Transport = T;
}

impl<T: AsyncRead + AsyncWrite + Unpin> Socket for WebSocketStream<T> {
    fn config(&self) -> &WebSocketConfig {
        self.get_config()
    }

    fn poll_read_transport(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(Pin::new(self.get_mut()).poll_read(cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    fn poll_flush_transport(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut()).poll_flush(cx)
    }

    fn poll_close_transport(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut()).poll_shutdown(cx)
    }
}
