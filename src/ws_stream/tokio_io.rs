//! The tokio traits for `WsStream` (feature `tokio_io`).

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use super::{Websocket, WsStream};

#[cfg_attr(docsrs, doc(cfg(feature = "tokio_io")))]
impl<S, W: Websocket> AsyncRead for WsStream<S, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let chunk = ready!(self.engine.poll_chunk(cx))?;
        let length = chunk.len().min(buf.remaining());
        buf.put_slice(&chunk[..length]);
        self.engine.consume_chunk(length);
        Poll::Ready(Ok(()))
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "tokio_io")))]
impl<S, W: Websocket> AsyncBufRead for WsStream<S, W> {
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.get_mut().engine.poll_chunk(cx)
    }

    /// # Panics
    ///
    /// If `amount` is larger than the slice that `poll_fill_buf` returned.
    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        self.engine.consume_chunk(amount);
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "tokio_io")))]
impl<S, W: Websocket> AsyncWrite for WsStream<S, W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.engine.poll_send(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.engine.poll_send(cx, bufs)
    }

    /// `true`: several buffers become one message.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.engine.poll_flush_all(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.engine.poll_close_frame(cx)
    }
}
