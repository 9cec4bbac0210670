//! The messages of tokio-websockets.
//!
//! One binary message per write, fed to the sink, as its documentation shows; it masks the payload in
//! place and sends it without another copy. Configured like the server of its own benchmarks: a
//! message is one frame, of any size, so that the receiver need not put frames together. The feature
//! `fastrand` makes its masks; vector instructions are found at run time.

use bytes::Bytes;
use futures_util::StreamExt;
use tokio_websockets::{
    ClientBuilder, Config, Limits, Message as WebsocketsMessage, ServerBuilder, WebSocketStream,
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
        let config = Config::default().frame_size(usize::MAX);
        let limits = Limits::default().max_payload_len(Some(LARGEST));
        SocketEnd::new(match role {
            Role::Client => ClientBuilder::new().config(config).limits(limits).take_over(transport),
            Role::Server => ServerBuilder::new().config(config).limits(limits).serve(transport),
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
