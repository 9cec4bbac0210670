//! This crate before 0.16, every setting left alone.
//!
//! Driven as any stream. Its limits are not raised: that a large write fails was its behaviour.

use published::WsStream;
use published_tungstenite::{
    WebSocketStream, tokio::TokioAdapter, tungstenite::protocol::Role as TungsteniteRole,
};

use crate::ends::{ByteStream, Role, StreamContender};

#[derive(Clone, Copy)]
pub struct Published;

impl StreamContender for Published {
    type Stream<T: ByteStream> = WsStream<TokioAdapter<T>>;

    async fn stream<T: ByteStream>(self, transport: T, role: Role) -> Self::Stream<T> {
        let role = match role {
            Role::Client => TungsteniteRole::Client,
            Role::Server => TungsteniteRole::Server,
        };
        let transport = TokioAdapter::new(transport);
        WsStream::new(WebSocketStream::from_raw_socket(transport, role, None).await)
    }
}

impl<T: ByteStream> ByteStream for WsStream<TokioAdapter<T>> {}
