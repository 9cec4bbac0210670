//! The futures-io traits for `WsStream`.

use std::{
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use super::{Websocket, WsStream};

impl<S, W: Websocket> AsyncRead for WsStream<S, W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let chunk = ready!(self.engine.poll_chunk(cx))?;
        let length = copy(chunk, buf);
        self.engine.consume_chunk(length);
        Poll::Ready(Ok(length))
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let chunk = ready!(self.engine.poll_chunk(cx))?;
        let length = bufs.iter_mut().fold(0, |length, buf| length + copy(&chunk[length..], buf));
        self.engine.consume_chunk(length);
        Poll::Ready(Ok(length))
    }
}

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

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.engine.poll_flush_all(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.engine.poll_close_frame(cx)
    }
}

/// Copies what fits; says how many bytes that were.
fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let length = from.len().min(to.len());
    to[..length].copy_from_slice(&from[..length]);
    length
}
