//! The websocket that the tests run over: that of async-tungstenite.

use async_tungstenite::tokio::TokioAdapter;
use futures::{AsyncRead, AsyncWrite};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{async_tungstenite, tungstenite};

/// The websocket over a transport that has the traits of futures-io.
pub type WebSocketStream<T> = async_tungstenite::WebSocketStream<T>;

/// The stream over such a websocket.
pub type WsStream<T> = ws_stream_tungstenite::WsStream<T>;

/// The stream over a transport that has tokio's traits.
pub type OverTokio<T> = WsStream<TokioAdapter<T>>;

pub async fn websocket<T>(
    transport: T,
    role: Role,
    config: Option<WebSocketConfig>,
) -> WebSocketStream<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    WebSocketStream::from_raw_socket(transport, role, config).await
}

/// A websocket on one of tokio's transports.
pub mod over_tokio {
    use async_tungstenite::tokio::{accept_async, client_async};
    use tokio::io::{AsyncRead, AsyncWrite};
    use tungstenite::Error;
    use ws_stream_tungstenite::WsConfig;

    use super::{OverTokio, Role, TokioAdapter, WsStream, async_tungstenite, tungstenite};

    pub async fn without_handshake<T>(transport: T, role: Role, config: WsConfig) -> OverTokio<T>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        WsStream::from_raw_socket(TokioAdapter::new(transport), role, Some(config)).await
    }

    #[allow(dead_code, reason = "only the connections by the thousand need it")]
    pub fn transport<T>(ws: &mut OverTokio<T>) -> &mut T
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        ws.get_mut().get_mut().get_mut()
    }

    pub async fn connect<T>(url: &str, transport: T) -> Result<OverTokio<T>, Error>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        Ok(WsStream::new(client_async(url, transport).await?.0))
    }

    pub async fn accept<T>(transport: T) -> Result<OverTokio<T>, Error>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        Ok(WsStream::new(accept_async(transport).await?))
    }
}

/// A websocket with a handshake.
#[cfg(feature = "handshake")]
pub mod handshake {
    use tungstenite::Error;
    use ws_stream_tungstenite::WsConfig;

    use super::{AsyncRead, AsyncWrite, WsStream, tungstenite};

    pub async fn connect<T>(transport: T, config: WsConfig) -> Result<WsStream<T>, Error>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        Ok(WsStream::connect("ws://localhost/", transport, Some(config)).await?.0)
    }

    pub async fn accept<T>(transport: T, config: WsConfig) -> Result<WsStream<T>, Error>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        WsStream::accept(transport, Some(config)).await
    }
}
