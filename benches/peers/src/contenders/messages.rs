//! The messages of async-tungstenite.
//!
//! One binary message per write, fed to the sink, so that many of them leave together; the halves
//! are those of its own `split`.

use async_tungstenite::{
    WebSocketStream,
    tokio::TokioAdapter,
    tungstenite::{Message as TungsteniteMessage, protocol::WebSocketConfig},
};
use bytes::Bytes;

use super::{
    roomy,
    socket::{Message, Receiver, Sender, Socket, SocketEnd, tungstenite_role},
};
use crate::ends::{ByteStream, Contender, Role};

#[derive(Clone, Copy)]
pub struct Messages(pub WebSocketConfig);

impl Contender for Messages {
    type End<T: ByteStream> = SocketEnd<WebSocketStream<TokioAdapter<T>>, TungsteniteMessage>;

    async fn end<T: ByteStream>(self, transport: T, role: Role) -> Self::End<T> {
        let transport = TokioAdapter::new(transport);
        let config = Some(roomy(self.0));
        SocketEnd::new(
            WebSocketStream::from_raw_socket(transport, tungstenite_role(role), config).await,
        )
    }
}

impl<T: ByteStream> Socket for WebSocketStream<TokioAdapter<T>> {
    type Message = TungsteniteMessage;

    fn split(self) -> (impl Sender<Self::Message>, impl Receiver<Self::Message>) {
        self.split()
    }
}

impl Message for TungsteniteMessage {
    fn binary(payload: Bytes) -> Self {
        Self::Binary(payload)
    }

    fn into_payload(self) -> Bytes {
        self.into_data()
    }
}
