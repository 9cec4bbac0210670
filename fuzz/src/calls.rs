//! `Read` and `Write`: what the halves of a stream are asked for.

use std::{
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
};

use crate::{both::ByteStream, memory::Memory, setup::Size};

#[derive(Debug, Clone, Copy)]
pub enum Read {
    Copy(Size),
    Scatter(Size, Size),
    /// Looks at what is there and consumes at most so many bytes.
    Borrow(Size),
}

#[derive(Debug, Clone, Copy)]
pub enum Write {
    Copy(Size),
    Gather(Size, Size),
    Flush,
    Close,
}

impl Read {
    /// Reads, and puts behind `target` what that was. Returns how many bytes there were.
    pub fn poll(
        self,
        cx: &mut Context<'_>,
        mut stream: Pin<&mut dyn ByteStream>,
        memory: &mut Memory,
        target: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Copy(size) => {
                let mut buf = vec![0; size.bytes()];
                let length = ready!(memory.count(|| stream.poll_read(cx, &mut buf)))?;
                target.extend(&buf[..length]);
                Poll::Ready(Ok(length))
            }
            Self::Scatter(one, other) => {
                let (mut one, mut other) = (vec![0; one.bytes()], vec![0; other.bytes()]);
                let bufs = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
                let length = ready!(memory.count(|| stream.poll_read_vectored(cx, bufs)))?;
                target.extend(one.iter().chain(&other).take(length));
                Poll::Ready(Ok(length))
            }
            Self::Borrow(limit) => {
                let bytes = ready!(memory.count(|| stream.as_mut().poll_fill_buf(cx)))?;
                let (length, amount) = (bytes.len(), bytes.len().min(limit.bytes()));
                target.extend(&bytes[..amount]);
                memory.count(|| stream.consume(amount));
                Poll::Ready(Ok(length))
            }
        }
    }

    /// Whether no bytes at all say that the stream is at its end.
    pub fn has_room(self) -> bool {
        match self {
            Self::Copy(size) => size.bytes() > 0,
            Self::Scatter(one, other) => one.bytes() + other.bytes() > 0,
            Self::Borrow(_) => true,
        }
    }
}

impl Write {
    /// Writes what is in the pattern from `start` on. Returns how many bytes were taken.
    pub fn poll(
        self,
        cx: &mut Context<'_>,
        stream: Pin<&mut dyn ByteStream>,
        memory: &mut Memory,
        start: usize,
    ) -> Poll<io::Result<usize>> {
        memory.count(|| match self {
            Self::Copy(size) => stream.poll_write(cx, pattern(start, size.bytes())),
            Self::Gather(one, other) => {
                let [one, other] = [one, other].map(Size::bytes);
                let data = [pattern(start, one), pattern(start + one, other)].map(IoSlice::new);
                stream.poll_write_vectored(cx, &data)
            }
            Self::Flush => stream.poll_flush(cx).map_ok(|()| 0),
            Self::Close => stream.poll_close(cx).map_ok(|()| 0),
        })
    }

    /// How many bytes are offered.
    pub fn length(self) -> usize {
        match self {
            Self::Copy(size) => size.bytes(),
            Self::Gather(one, other) => one.bytes() + other.bytes(),
            Self::Flush | Self::Close => 0,
        }
    }
}

/// Bytes of a long pattern: those that are lost, doubled or moved show.
pub fn pattern(start: usize, length: usize) -> &'static [u8] {
    static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let numbers = (0..PERIOD as u64).map(|index| index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let bytes: Vec<_> = numbers.map(|number| number.to_be_bytes()[0]).collect();
        bytes.repeat(2 + MAX_PATTERN / PERIOD)
    });
    let start = start % PERIOD;
    &PATTERN[start..start + length]
}

/// After how many bytes the pattern repeats itself.
const PERIOD: usize = 65_521;

/// The largest part of the pattern at once, in bytes: that of the largest `Size`.
pub const MAX_PATTERN: usize = 56 * 1500;
