//! The two ends of a connection, as every scenario sees them, whatever carries the bytes.
//!
//! Everything is generic: no contender pays for a virtual call or a box that another does not.

use std::io;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    net::TcpStream,
};

/// Which side of the websocket: clients mask what they send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Client,
    Server,
}

/// What receives.
pub trait Reader: Send + 'static {
    /// Waits for the next bytes, however many. Message-based contenders lend the payload of a
    /// message; it is their advantage that nothing has to be copied. Streams read into a buffer.
    fn receive(&mut self) -> impl Future<Output = io::Result<&[u8]>> + Send;
}

/// What sends.
pub trait Writer: Send + 'static {
    /// Takes all of `bytes`. They leave at the latest when flushed.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;

    /// Waits until the transport has everything.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// One end of a connection.
pub trait End: Reader + Writer {
    /// Receives once, sends that back and flushes. Returns how many bytes it were.
    fn echo(&mut self) -> impl Future<Output = io::Result<usize>> + Send;

    /// The two directions, for two tasks.
    fn halves(self) -> (impl Writer, impl Reader);
}

/// A way to carry bytes.
pub trait Contender: Copy + 'static {
    /// One end over the transport `T`.
    type End<T: ByteStream>: End;

    /// Makes an end of a transport, as if the handshake was done.
    fn end<T: ByteStream>(self, transport: T, role: Role) -> impl Future<Output = Self::End<T>>;
}

/// A way to carry bytes that looks like any other stream.
pub trait StreamContender: Copy + 'static {
    /// One end over the transport `T`.
    type Stream<T: ByteStream>: ByteStream;

    /// Makes an end of a transport, as if the handshake was done.
    fn stream<T: ByteStream>(
        self,
        transport: T,
        role: Role,
    ) -> impl Future<Output = Self::Stream<T>>;
}

/// A stream of bytes: a transport, or what a contender makes of one.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin + Sized + 'static {
    /// The two directions, split in the cheapest way there is.
    fn halves(
        self,
    ) -> (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static) {
        tokio::io::split(self)
    }
}

impl ByteStream for DuplexStream {}

impl ByteStream for TcpStream {
    fn halves(
        self,
    ) -> (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static) {
        self.into_split()
    }
}

/// A stream, driven as streams are: `write_all`, `flush`, and reads into a buffer of 64 KiB.
#[derive(Clone, Copy)]
pub struct Streamed<C>(pub C);

impl<C: StreamContender> Contender for Streamed<C> {
    type End<T: ByteStream> = StreamEnd<C::Stream<T>>;

    async fn end<T: ByteStream>(self, transport: T, role: Role) -> Self::End<T> {
        StreamEnd::new(self.0.stream(transport, role).await)
    }
}

/// A stream, or one half of it, and the buffer that it is read into.
pub struct StreamEnd<S> {
    stream: S,
    buffer: Box<[u8]>,
}

impl<S> StreamEnd<S> {
    fn new(stream: S) -> Self {
        Self { stream, buffer: vec![0; READ_SIZE].into_boxed_slice() }
    }
}

impl<S: AsyncRead + Send + Unpin + 'static> Reader for StreamEnd<S> {
    async fn receive(&mut self) -> io::Result<&[u8]> {
        match self.stream.read(&mut self.buffer).await? {
            0 => Err(ended()),
            length => Ok(&self.buffer[..length]),
        }
    }
}

impl<S: AsyncWrite + Send + Unpin + 'static> Writer for StreamEnd<S> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.stream.flush().await
    }
}

impl<S: ByteStream> End for StreamEnd<S> {
    async fn echo(&mut self) -> io::Result<usize> {
        let length = self.stream.read(&mut self.buffer).await?;
        if length == 0 {
            return Err(ended());
        }
        self.stream.write_all(&self.buffer[..length]).await?;
        self.stream.flush().await?;
        Ok(length)
    }

    fn halves(self) -> (impl Writer, impl Reader) {
        let (reader, writer) = self.stream.halves();
        (StreamEnd { stream: writer, buffer: Box::default() }, StreamEnd::new(reader))
    }
}

/// What is told of an end of file where more bytes should come.
pub fn ended() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended")
}

/// How much a stream is asked for in one read, in bytes.
const READ_SIZE: usize = 64 * 1024;
