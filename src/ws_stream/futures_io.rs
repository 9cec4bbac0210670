//! The futures-io traits for `WsStream`.

use std::{
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    task::{Context, Poll},
};

use futures_io::{AsyncBufRead, AsyncRead, AsyncWrite};

use super::WsStream;

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WsStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut end = 0;
        self.engine.poll_read_into(cx, buf.len(), |bytes| {
            let begin = end;
            end += bytes.len();
            buf[begin..end].copy_from_slice(bytes);
        })
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let room = bufs.iter().fold(0, |sum: usize, buf| sum.saturating_add(buf.len()));
        if room == 0 {
            return Poll::Ready(Ok(0));
        }
        self.engine.poll_read_into(cx, room, |mut bytes| {
            while let (false, Some(buf)) = (bytes.is_empty(), bufs.first_mut()) {
                let length = bytes.len().min(buf.len());
                buf[..length].copy_from_slice(&bytes[..length]);
                bytes = &bytes[length..];
                IoSliceMut::advance_slices(&mut bufs, length);
            }
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncBufRead for WsStream<S> {
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

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WsStream<S> {
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
