//! This crate.
//!
//! Driven as any stream. What differs is the configuration of the websocket below, and whether small
//! writes are collected.

use async_tungstenite::{
    WebSocketStream, tokio::TokioAdapter, tungstenite::protocol::WebSocketConfig,
};
use ws_stream_tungstenite::{Writes, WsConfig, WsStream};

use super::socket::tungstenite_role;
use crate::ends::{ByteStream, Role, StreamContender};

#[derive(Clone, Copy)]
pub struct Ours {
    pub socket: Option<WebSocketConfig>,
    pub writes: Writes,
}

impl StreamContender for Ours {
    type Stream<T: ByteStream> = WsStream<TokioAdapter<T>>;

    async fn stream<T: ByteStream>(self, transport: T, role: Role) -> Self::Stream<T> {
        let transport = TokioAdapter::new(transport);
        let socket =
            WebSocketStream::from_raw_socket(transport, tungstenite_role(role), self.socket).await;
        WsStream::with_config(socket, WsConfig::new().writes(self.writes))
    }
}

impl<T: ByteStream> ByteStream for WsStream<TokioAdapter<T>> {}
