//! The messages of tokio-tungstenite as a stream, by the `StreamReader`, `SinkWriter` and
//! `CopyToBytes` of tokio-util.
//!
//! The usual way to get a byte stream without a crate for it. The adapters are nested, which spares
//! the lock of two halves. Each write becomes one message, so the limits are raised.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};
use tokio_util::io::{CopyToBytes, SinkWriter, StreamReader};

use super::{roomy, socket::tungstenite_role};
use crate::ends::{ByteStream, Role, StreamContender};

#[derive(Clone, Copy)]
pub struct TokioTungstenite;

impl StreamContender for TokioTungstenite {
    type Stream<T: ByteStream> = Adapted<T>;

    async fn stream<T: ByteStream>(self, transport: T, role: Role) -> Self::Stream<T> {
        let config = roomy(WebSocketConfig::default());
        let socket =
            WebSocketStream::from_raw_socket(transport, tungstenite_role(role), Some(config)).await;
        SinkWriter::new(StreamReader::new(CopyToBytes::new(Payloads(socket))))
    }
}

type Adapted<T> = SinkWriter<StreamReader<CopyToBytes<Payloads<T>>, Bytes>>;

impl<T: ByteStream> ByteStream for Adapted<T> {}

/// The payloads of the messages: both `map` and `with`, with a name.
pub struct Payloads<T>(WebSocketStream<T>);

impl<T: ByteStream> Stream for Payloads<T> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let message = ready!(self.0.poll_next_unpin(cx));
        Poll::Ready(message.map(|message| message.map(Message::into_data).map_err(into_io)))
    }
}

impl<T: ByteStream> Sink<Bytes> for Payloads<T> {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_ready_unpin(cx).map_err(into_io)
    }

    fn start_send(mut self: Pin<&mut Self>, payload: Bytes) -> io::Result<()> {
        self.0.start_send_unpin(Message::Binary(payload)).map_err(into_io)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_flush_unpin(cx).map_err(into_io)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_close_unpin(cx).map_err(into_io)
    }
}

fn into_io(error: Error) -> io::Error {
    io::Error::other(error)
}
