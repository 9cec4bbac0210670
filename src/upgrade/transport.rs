//! `Upgraded`: the connection that hyper hands over, with the futures-io traits.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures_io::{AsyncRead, AsyncWrite};
use hyper::rt::{Read, ReadBuf, Write};
use tungstenite::protocol::Role;

/// A connection that hyper hands over, as the transport of a [`WsStream`](crate::WsStream) (feature
/// `upgrade`).
///
/// Reads first what hyper had already read from the connection.
#[cfg_attr(docsrs, doc(cfg(feature = "upgrade")))]
#[derive(Debug)]
pub struct Upgraded {
    /// Never locked: the lock makes it `Sync`, which hyper's own is not, and some libraries ask for.
    inner: Mutex<hyper::upgrade::Upgraded>,
    role: Role,
}

impl Upgraded {
    pub(super) fn new(inner: hyper::upgrade::Upgraded, role: Role) -> Self {
        Self { inner: Mutex::new(inner), role }
    }

    /// Hyper's own, which can be taken apart into what it was made of.
    #[must_use]
    pub fn into_inner(self) -> hyper::upgrade::Upgraded {
        self.inner.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn project(&mut self) -> Pin<&mut hyper::upgrade::Upgraded> {
        Pin::new(self.inner.get_mut().unwrap_or_else(PoisonError::into_inner))
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        ready!(self.project().poll_read(cx, buf.unfilled()))?;
        Poll::Ready(Ok(buf.filled().len()))
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.project().poll_write(cx, buf).map_err(broken_pipe)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.project().poll_write_vectored(cx, bufs).map_err(broken_pipe)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(self.project().poll_flush(cx));
        Poll::Ready(self.unless_server_ended(flushed))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut_down = ready!(self.project().poll_shutdown(cx));
        Poll::Ready(self.unless_server_ended(shut_down))
    }
}

// Over HTTP/2, hyper's own errors say that the stream is at its end: reset by the peer, or together with its
// connection. Those of a connection of HTTP/1.1 are its transport's.

impl Upgraded {
    /// Flushing and shutting down are no errors when the server takes no more and says that nothing is wrong:
    /// it resets its stream so as soon as it has ended (RFC 9113, section 8.1), and what it sent may not have
    /// been read yet. A client has no such reset, but a proxy whose own client has gone says the same.
    fn unless_server_ended(&self, result: io::Result<()>) -> io::Result<()> {
        match (self.role, result) {
            (Role::Client, Err(error)) if is_reset_without_error(&error) => Ok(()),
            (_, result) => result.map_err(broken_pipe),
        }
    }
}

#[cfg(feature = "http2")]
fn is_reset_without_error(error: &io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.source());
    let error = error.and_then(|error| error.downcast_ref::<h2::Error>());
    error.is_some_and(|error| error.reason() == Some(h2::Reason::NO_ERROR))
}

#[cfg(not(feature = "http2"))]
fn is_reset_without_error(_: &io::Error) -> bool {
    false
}

/// The kind that a write to a peer that takes no more has on a socket.
fn broken_pipe(error: io::Error) -> io::Error {
    match error.downcast::<hyper::Error>() {
        Ok(reset) => io::Error::new(io::ErrorKind::BrokenPipe, reset),
        Err(error) => error,
    }
}
