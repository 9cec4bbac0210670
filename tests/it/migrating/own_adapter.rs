//! An adapter as many programs have one, with its faults.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{WebSocketStream, tungstenite::Message};

pub struct OwnAdapter<T> {
    pub websocket: WebSocketStream<T>,
    pub unread: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for OwnAdapter<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            match ready!(self.websocket.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(data))) => self.unread = data.to_vec(),
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(_)) => return self.poll_read(cx, buf),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..length]);
        self.unread.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for OwnAdapter<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let message = Message::binary(data.to_vec());
        self.websocket.start_send_unpin(message).map_err(io::Error::other)?;
        ready!(self.websocket.poll_flush_unpin(cx)).map_err(io::Error::other)?;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.websocket.poll_flush_unpin(cx).map_err(io::Error::other)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.websocket.poll_close_unpin(cx).map_err(io::Error::other)
    }
}
