//! The frames of fastwebsockets.
//!
//! One frame per write, with its defaults, which are what its README sets: vectored writes, automatic
//! pongs and close frames. A server sends the caller's bytes without a copy; a client has to mask
//! them, and does so in a buffer that is kept, which is cheaper than a new one for each frame.
//! Received frames are lent as they come: a stream of bytes needs no `FragmentCollector`.
//!
//! It has no write buffer of its own: each frame is one call of the transport. [`Buffered`] puts a
//! `BufWriter` around the transport for where many small frames may leave together.

use std::io;

use bytes::BytesMut;
use fastwebsockets::{
    Frame, Payload, Role as FastRole, WebSocket, WebSocketError, WebSocketRead, WebSocketWrite,
    after_handshake_split,
};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter};

use super::{COLLECTED, LARGEST};
use crate::ends::{ByteStream, Contender, End, Reader, Role, Writer};

#[derive(Clone, Copy)]
pub struct Fastwebsockets;

impl Contender for Fastwebsockets {
    type End<T: ByteStream> = FramesEnd<T>;

    async fn end<T: ByteStream>(self, transport: T, role: Role) -> Self::End<T> {
        FramesEnd::new(transport, role)
    }
}

#[derive(Clone, Copy)]
pub struct Buffered;

impl Contender for Buffered {
    type End<T: ByteStream> = FramesEnd<BufWriter<T>>;

    async fn end<T: ByteStream>(self, transport: T, role: Role) -> Self::End<T> {
        FramesEnd::new(BufWriter::with_capacity(COLLECTED, transport), role)
    }
}

impl<T: ByteStream> ByteStream for BufWriter<T> {}

/// One end.
pub struct FramesEnd<T> {
    socket: WebSocket<T>,
    role: Role,
    received: Payload<'static>,
    masked: Vec<u8>,
}

impl<T: ByteStream> FramesEnd<T> {
    fn new(transport: T, role: Role) -> Self {
        let mut socket = WebSocket::after_handshake(transport, fast_role(role));
        socket.set_max_message_size(LARGEST + 1); // the first size that is refused
        Self { socket, role, received: Payload::Borrowed(&[]), masked: Vec::new() }
    }
}

impl<T: ByteStream> Reader for FramesEnd<T> {
    async fn receive(&mut self) -> io::Result<&[u8]> {
        self.received = self.socket.read_frame().await.map_err(into_io)?.payload;
        Ok(&self.received)
    }
}

impl<T: ByteStream> Writer for FramesEnd<T> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let frame = Frame::binary(payload(self.role, &mut self.masked, bytes));
        self.socket.write_frame(frame).await.map_err(into_io)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.socket.flush().await.map_err(into_io)
    }
}

impl<T: ByteStream> End for FramesEnd<T> {
    async fn echo(&mut self) -> io::Result<usize> {
        let payload = self.socket.read_frame().await.map_err(into_io)?.payload;
        let length = payload.len();
        self.socket.write_frame(Frame::binary(payload)).await.map_err(into_io)?;
        self.socket.flush().await.map_err(into_io)?;
        Ok(length)
    }

    fn halves(self) -> (impl Writer, impl Reader) {
        let (reader, writer) = self.socket.into_inner().halves();
        let (mut reader, writer) = after_handshake_split(reader, writer, fast_role(self.role));
        reader.set_max_message_size(LARGEST + 1);
        (
            FramesWriter { socket: writer, role: self.role, masked: self.masked },
            FramesReader { socket: reader, received: BytesMut::new() },
        )
    }
}

struct FramesReader<T> {
    socket: WebSocketRead<T>,
    received: BytesMut,
}

impl<T: AsyncRead + Send + Unpin + 'static> Reader for FramesReader<T> {
    async fn receive(&mut self) -> io::Result<&[u8]> {
        // nothing in this comparison pings or closes
        let mut refuse =
            |_: Frame<'static>| std::future::ready(Err(WebSocketError::ConnectionClosed));
        let frame = self.socket.read_frame(&mut refuse).await.map_err(into_io)?;
        self.received = match frame.payload {
            Payload::Bytes(bytes) => bytes, // always so
            other => BytesMut::from(&*other),
        };
        Ok(&self.received)
    }
}

struct FramesWriter<T> {
    socket: WebSocketWrite<T>,
    role: Role,
    masked: Vec<u8>,
}

impl<T: AsyncWrite + Send + Unpin + 'static> Writer for FramesWriter<T> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let frame = Frame::binary(payload(self.role, &mut self.masked, bytes));
        self.socket.write_frame(frame).await.map_err(into_io)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.socket.flush().await.map_err(into_io)
    }
}

/// What is sent of `bytes`: themselves, or a copy in `masked`, which can be masked in place.
fn payload<'a>(role: Role, masked: &'a mut Vec<u8>, bytes: &'a [u8]) -> Payload<'a> {
    match role {
        Role::Server => Payload::Borrowed(bytes),
        Role::Client => {
            masked.clear();
            masked.extend_from_slice(bytes);
            Payload::BorrowedMut(masked)
        }
    }
}

fn fast_role(role: Role) -> FastRole {
    match role {
        Role::Client => FastRole::Client,
        Role::Server => FastRole::Server,
    }
}

fn into_io(error: WebSocketError) -> io::Error {
    io::Error::other(error)
}
