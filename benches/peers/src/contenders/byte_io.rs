//! The `ByteReader` and `ByteWriter` of async-tungstenite.
//!
//! Made of the halves of a socket, as in its examples, and driven as any stream. Each write becomes
//! one message, so the limits are raised.

use async_tungstenite::{
    ByteReader, ByteWriter, WebSocketReceiver, WebSocketSender, WebSocketStream,
    tokio::TokioAdapter, tungstenite::protocol::WebSocketConfig,
};
use tokio::io::{AsyncRead, AsyncWrite, Join};

use super::{roomy, socket::tungstenite_role};
use crate::ends::{ByteStream, Role, StreamContender};

#[derive(Clone, Copy)]
pub struct ByteIo;

impl StreamContender for ByteIo {
    type Stream<T: ByteStream> = Both<TokioAdapter<T>>;

    async fn stream<T: ByteStream>(self, transport: T, role: Role) -> Self::Stream<T> {
        let transport = TokioAdapter::new(transport);
        let config = roomy(WebSocketConfig::default());
        let socket =
            WebSocketStream::from_raw_socket(transport, tungstenite_role(role), Some(config)).await;
        let (sender, receiver) = socket.split();
        tokio::io::join(ByteReader::new(receiver), ByteWriter::new(sender))
    }
}

type Both<T> = Join<ByteReader<WebSocketReceiver<T>>, ByteWriter<WebSocketSender<T>>>;

impl<T: ByteStream> ByteStream for Both<TokioAdapter<T>> {
    fn halves(
        self,
    ) -> (impl AsyncRead + Send + Unpin + 'static, impl AsyncWrite + Send + Unpin + 'static) {
        self.into_inner()
    }
}
