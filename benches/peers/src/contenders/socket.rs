//! What contenders have in common whose sockets are a `Stream` and a `Sink` of messages.

use std::{error::Error, io};

use async_tungstenite::tungstenite::protocol::Role as TungsteniteRole;
use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};

use crate::ends::{End, Reader, Role, Writer, ended};

/// A message with bytes in it.
pub trait Message: Send + Sized + 'static {
    fn binary(payload: Bytes) -> Self;
    fn into_payload(self) -> Bytes;
}

/// What messages come from.
pub trait Receiver<M>: Stream<Item = Result<M, Self::Failure>> + Send + Unpin + 'static {
    type Failure: Error + Send + Sync + 'static;
}

impl<M, E, S> Receiver<M> for S
where
    E: Error + Send + Sync + 'static,
    S: Stream<Item = Result<M, E>> + Send + Unpin + 'static,
{
    type Failure = E;
}

/// What takes messages.
pub trait Sender<M>: Sink<M, Error = Self::Failure> + Send + Unpin + 'static {
    type Failure: Error + Send + Sync + 'static;
}

impl<M, E, S> Sender<M> for S
where
    E: Error + Send + Sync + 'static,
    S: Sink<M, Error = E> + Send + Unpin + 'static,
{
    type Failure = E;
}

/// A socket that knows best how to be split.
pub trait Socket {
    type Message: Message;

    fn split(self) -> (impl Sender<Self::Message>, impl Receiver<Self::Message>);
}

/// One end, or one half of it: writes are fed to the sink as messages of their own; received
/// messages are lent.
pub struct SocketEnd<S, M> {
    socket: S,
    payload: Bytes,
    message: std::marker::PhantomData<fn() -> M>,
}

impl<S, M> SocketEnd<S, M> {
    pub fn new(socket: S) -> Self {
        Self { socket, payload: Bytes::new(), message: std::marker::PhantomData }
    }
}

impl<S: Receiver<M>, M: Message> Reader for SocketEnd<S, M> {
    async fn receive(&mut self) -> io::Result<&[u8]> {
        let message = self.socket.next().await.ok_or_else(ended)?;
        self.payload = message.map_err(io::Error::other)?.into_payload();
        Ok(&self.payload)
    }
}

impl<S: Sender<M>, M: Message> Writer for SocketEnd<S, M> {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let message = M::binary(Bytes::copy_from_slice(bytes));
        self.socket.feed(message).await.map_err(io::Error::other)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.socket.flush().await.map_err(io::Error::other)
    }
}

impl<S, M> End for SocketEnd<S, M>
where
    S: Sender<M> + Receiver<M> + Socket<Message = M>,
    M: Message,
{
    async fn echo(&mut self) -> io::Result<usize> {
        let message = self.socket.next().await.ok_or_else(ended)?;
        let payload = message.map_err(io::Error::other)?.into_payload();
        let length = payload.len();
        self.socket.send(M::binary(payload)).await.map_err(io::Error::other)?;
        Ok(length)
    }

    fn halves(self) -> (impl Writer, impl Reader) {
        let (sender, receiver) = self.socket.split();
        (SocketEnd::new(sender), SocketEnd::new(receiver))
    }
}

/// The same as tungstenite says it.
pub fn tungstenite_role(role: Role) -> TungsteniteRole {
    match role {
        Role::Client => TungsteniteRole::Client,
        Role::Server => TungsteniteRole::Server,
    }
}
