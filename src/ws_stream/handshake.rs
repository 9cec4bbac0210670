//! Accepting and connecting (feature `handshake`).

use async_tungstenite::{accept_hdr_async_with_config, client_async_with_config};
use futures_io::{AsyncRead, AsyncWrite};
use tungstenite::{
    Error,
    client::IntoClientRequest,
    handshake::{
        client::Response,
        server::{Callback, NoCallback},
    },
};

use super::{WsStream, config::WsConfig};

/// The handshakes of async-tungstenite, over the transport of any runtime (feature `handshake`).
///
/// A transport of tokio is wrapped in `async_tungstenite::tokio::TokioAdapter`, or in the `Compat` of
/// tokio-util. Without `config`, the stream has every default and a websocket with
/// [`byte_stream_config`](crate::byte_stream_config).
///
/// There is no timeout: put one of your runtime around them. Dropped, they drop the transport.
#[cfg_attr(docsrs, doc(cfg(feature = "handshake")))]
impl<S> WsStream<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Accepts a websocket, as a server.
    ///
    /// Takes any request for one, from any origin: see [`accept_hdr`](Self::accept_hdr).
    ///
    /// # Errors
    ///
    /// Those of `async_tungstenite::accept_async_with_config`: the transport failed, or the client did
    /// not ask for a websocket.
    ///
    /// # Panics
    ///
    /// As [`from_raw_socket`](Self::from_raw_socket).
    pub async fn accept(transport: S, config: Option<WsConfig>) -> Result<Self, Error> {
        Self::accept_hdr(transport, NoCallback, config).await
    }

    /// The same, where `callback` sees the request and may refuse it, or add headers to the response:
    /// to check the path or the `Origin` (RFC 6455, section 10.2), or to choose a subprotocol.
    ///
    /// # Errors
    ///
    /// As [`accept`](Self::accept), and [`Error::Http`] if `callback` refused.
    ///
    /// # Panics
    ///
    /// As [`from_raw_socket`](Self::from_raw_socket).
    pub async fn accept_hdr<C>(
        transport: S,
        callback: C,
        config: Option<WsConfig>,
    ) -> Result<Self, Error>
    where
        C: Callback + Unpin,
    {
        let (websocket, choices) = config.unwrap_or_default().split();
        let inner = accept_hdr_async_with_config(transport, callback, Some(websocket)).await?;
        Ok(Self::from_parts(inner, choices))
    }

    /// Asks the server at the other end of `transport` for a websocket.
    ///
    /// `request` is a URL, which has to begin with `ws:` or `wss:`, or a request with headers. The
    /// transport is connected, and for `wss` encrypted, already. To leave that to async-tungstenite,
    /// give `connect_async_with_config` of its module for your runtime
    /// [`byte_stream_config`](crate::byte_stream_config), and [`new`](Self::new) what it returns.
    ///
    /// # Errors
    ///
    /// Those of `async_tungstenite::client_async_with_config`: the transport failed, `request` is not
    /// valid, or the server refused it ([`Error::Http`]).
    ///
    /// # Panics
    ///
    /// As [`from_raw_socket`](Self::from_raw_socket).
    pub async fn connect<R>(
        request: R,
        transport: S,
        config: Option<WsConfig>,
    ) -> Result<(Self, Response), Error>
    where
        R: IntoClientRequest + Unpin,
    {
        let (websocket, choices) = config.unwrap_or_default().split();
        let (inner, response) =
            client_async_with_config(request, transport, Some(websocket)).await?;
        Ok((Self::from_parts(inner, choices), response))
    }
}
