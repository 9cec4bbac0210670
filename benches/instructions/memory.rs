//! `Memory`: a transport that costs next to nothing.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures_util::{AsyncRead, AsyncWrite};

/// Bytes in memory. Takes whatever is written, at once, and wakes nobody.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    incoming: Queue,
    /// Where writes go. Without, they go nowhere.
    outgoing: Option<Queue>,
}

impl Memory {
    /// Two ends that are connected with each other.
    pub(crate) fn pair() -> (Self, Self) {
        let (one, other) = (Queue::default(), Queue::default());
        let left = Self { incoming: one.clone(), outgoing: Some(other.clone()) };
        (left, Self { incoming: other, outgoing: Some(one) })
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match self.incoming.lock().take(buf) {
            0 => Poll::Pending,
            length => Poll::Ready(Ok(length)),
        }
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(outgoing) = &self.outgoing {
            outgoing.lock().bytes.extend_from_slice(buf);
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[derive(Debug, Clone, Default)]
struct Queue(Arc<Mutex<Bytes>>);

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Bytes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Bytes {
    bytes: Vec<u8>,
    /// How many of them were taken.
    taken: usize,
}

impl Bytes {
    fn take(&mut self, buf: &mut [u8]) -> usize {
        let length = buf.len().min(self.bytes.len() - self.taken);
        buf[..length].copy_from_slice(&self.bytes[self.taken..][..length]);
        self.taken += length;
        if self.taken == self.bytes.len() {
            self.bytes.clear();
            self.taken = 0;
        }
        length
    }
}
