//! The websocket that the tests run over: that of tokio-tungstenite.

use futures::{AsyncRead, AsyncWrite};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{TokioWsStream, tungstenite};

/// The websocket over a transport that has the traits of futures-io.
pub type WebSocketStream<T> = tokio_tungstenite::WebSocketStream<Compat<T>>;

/// The stream over such a websocket.
pub type WsStream<T> = TokioWsStream<Compat<T>>;

/// The stream over a transport that has tokio's traits.
pub type OverTokio<T> = TokioWsStream<T>;

pub async fn websocket<T>(
    transport: T,
    role: Role,
    config: Option<WebSocketConfig>,
) -> WebSocketStream<T>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    WebSocketStream::from_raw_socket(transport.compat(), role, config).await
}

/// A websocket on one of tokio's transports.
pub mod over_tokio {
    use tokio::io::{AsyncRead, AsyncWrite};
    use tokio_tungstenite::{WebSocketStream, accept_async, client_async};
    use tungstenite::Error;
    use ws_stream_tungstenite::{WsConfig, byte_stream_config};

    use super::{OverTokio, Role, tungstenite};

    pub async fn without_handshake<T>(transport: T, role: Role, config: WsConfig) -> OverTokio<T>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let limits = Some(byte_stream_config());
        let socket = WebSocketStream::from_raw_socket(transport, role, limits).await;
        OverTokio::with_config(socket, config)
    }

    #[cfg(unix)]
    pub fn transport<T>(ws: &mut OverTokio<T>) -> &mut T
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        ws.get_mut().get_mut()
    }

    pub async fn connect<T>(url: &str, transport: T) -> Result<OverTokio<T>, Error>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        Ok(OverTokio::new(client_async(url, transport).await?.0))
    }

    pub async fn accept<T>(transport: T) -> Result<OverTokio<T>, Error>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        Ok(OverTokio::new(accept_async(transport).await?))
    }
}

/// A websocket with a handshake.
#[cfg(feature = "handshake")]
pub mod handshake {
    use tokio_tungstenite::{accept_async_with_config, client_async_with_config};
    use tungstenite::Error;
    use ws_stream_tungstenite::{WsConfig, byte_stream_config};

    use super::{AsyncRead, AsyncWrite, FuturesAsyncReadCompatExt, WsStream, tungstenite};

    pub async fn connect<T>(transport: T, config: WsConfig) -> Result<WsStream<T>, Error>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let limits = Some(byte_stream_config());
        let opening = client_async_with_config("ws://localhost/", transport.compat(), limits);
        Ok(WsStream::with_config(opening.await?.0, config))
    }

    pub async fn accept<T>(transport: T, config: WsConfig) -> Result<WsStream<T>, Error>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let limits = Some(byte_stream_config());
        let socket = accept_async_with_config(transport.compat(), limits).await?;
        Ok(WsStream::with_config(socket, config))
    }
}
