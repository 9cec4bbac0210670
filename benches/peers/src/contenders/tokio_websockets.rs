//! The messages of tokio-websockets.
//!
//! One binary message per write, fed to the sink, as its documentation shows. It masks the payload in
//! place and sends it without another copy; its benchmarks recommend no other settings than the
//! default. The feature `fastrand` makes its masks; vector instructions are found at run time.

use bytes::Bytes;
use futures_util::StreamExt;
use tokio_websockets::{
    ClientBuilder, Limits, Message as WebsocketsMessage, ServerBuilder, WebSocketStream,
};

use super::{
    LARGEST,
    socket::{Message, Receiver, Sender, Socket, SocketEnd},
};
use crate::ends::{ByteStream, Contender, Role};

#[derive(Clone, Copy)]
pub struct TokioWebsockets;

impl Contender for TokioWebsockets {
    type End<T: ByteStream> = SocketEnd<WebSocketStream<T>, WebsocketsMessage>;

    async fn end<T: ByteStream>(self, transport: T, role: Role) -> Self::End<T> {
        let limits = Limits::default().max_payload_len(Some(LARGEST));
        SocketEnd::new(match role {
            Role::Client => ClientBuilder::new().limits(limits).take_over(transport),
            Role::Server => ServerBuilder::new().limits(limits).serve(transport),
        })
    }
}

impl<T: ByteStream> Socket for WebSocketStream<T> {
    type Message = WebsocketsMessage;

    fn split(self) -> (impl Sender<Self::Message>, impl Receiver<Self::Message>) {
        StreamExt::split(self)
    }
}

impl Message for WebsocketsMessage {
    fn binary(payload: Bytes) -> Self {
        Self::binary(payload)
    }

    fn into_payload(self) -> Bytes {
        self.into_payload().into()
    }
}
