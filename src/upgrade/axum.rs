//! `WsUpgrade` as an extractor of axum (feature `axum`).

use std::sync::{Mutex, PoisonError};

use axum_core::{
    body::Body,
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::request::Parts;
use tungstenite::protocol::WebSocketConfig;

use super::{Upgraded, WsUpgrade, WsUpgradeRejection};
use crate::WsStream;

/// Never locked: the lock makes it `Sync`, as a handler holds a `WsUpgrade` across awaits.
pub(super) type OnFailedUpgrade = Mutex<Box<dyn FnOnce(hyper::Error) + Send>>;

/// In axum (feature `axum`). The names are those of axum's `WebSocketUpgrade`.
#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl WsUpgrade {
    /// Accepts, and has a new task of tokio run what `callback` makes of the stream.
    ///
    /// ```
    /// use axum::{Router, response::IntoResponse, routing::any};
    /// use futures::AsyncWriteExt;
    /// use ws_stream_tungstenite::WsUpgrade;
    ///
    /// async fn handler(upgrade: WsUpgrade) -> impl IntoResponse {
    ///     upgrade.protocols(["greeting"]).on_upgrade(|mut stream| async move {
    ///         let _ = stream.write_all(b"hello").await;
    ///         let _ = stream.close().await;
    ///     })
    /// }
    ///
    /// let app: Router = Router::new().route("/greeting", any(handler));
    /// ```
    ///
    /// The response has to be returned from the handler, and a layer that refuses has to do so before: over
    /// HTTP/1.1, `callback` runs all the same, see [`accept`](Self::accept). Route with `any`, as the method is
    /// `CONNECT` over HTTP/2. The extractor comes before one that takes the body.
    ///
    /// When the server shuts down gracefully, axum does not wait for a websocket over HTTP/1.1; over HTTP/2, it
    /// waits until the peer or you have closed it. The example `axum` closes them all.
    ///
    /// # Panics
    ///
    /// Outside of a runtime of tokio, as `tokio::spawn`. The task, as [`accept`](Self::accept): the client sees
    /// the connection break.
    #[must_use = "the response has to be returned"]
    pub fn on_upgrade<C, Fut>(mut self, callback: C) -> Response
    where
        C: FnOnce(WsStream<Upgraded>) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let on_failed_upgrade =
            std::mem::replace(&mut self.on_failed_upgrade, log_failed_upgrade());
        let on_failed_upgrade =
            on_failed_upgrade.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (response, stream) = self.accept();
        tokio::spawn(async move {
            match stream.await {
                Ok(stream) => callback(stream).await,
                Err(error) => on_failed_upgrade(error),
            }
        });
        response.map(Body::from)
    }

    /// What is done if the connection breaks before it has become a websocket, or is served without upgrades.
    /// Default: a line in the log (`tracing`, level `warn`).
    pub fn on_failed_upgrade<C>(mut self, callback: C) -> Self
    where
        C: FnOnce(hyper::Error) + Send + 'static,
    {
        self.on_failed_upgrade = Mutex::new(Box::new(callback));
        self
    }

    /// The size of the read buffer, in bytes. Default: 20 KiB.
    pub fn read_buffer_size(self, size: usize) -> Self {
        self.map_websocket(|config| config.read_buffer_size(size))
    }

    /// How much is kept back before it is written to the connection, in bytes. Default: 128 KiB; but the
    /// stream flushes whatever is written to it, unless it [collects](crate::Writes::Collect).
    pub fn write_buffer_size(self, size: usize) -> Self {
        self.map_websocket(|config| config.write_buffer_size(size))
    }

    /// How much the write buffer may hold, in bytes; more than `write_buffer_size`. Default: unlimited, which
    /// is best left so: the stream bounds by itself what it keeps.
    pub fn max_write_buffer_size(self, max: usize) -> Self {
        self.map_websocket(|config| config.max_write_buffer_size(max))
    }

    /// The largest message that is taken, in bytes. Default: 16 MiB.
    pub fn max_message_size(self, max: usize) -> Self {
        self.map_websocket(|config| config.max_message_size(Some(max)))
    }

    /// The largest frame that is taken, in bytes. Default: 16 MiB.
    pub fn max_frame_size(self, max: usize) -> Self {
        self.map_websocket(|config| config.max_frame_size(Some(max)))
    }

    /// Whether frames that are not masked are taken, against RFC 6455, section 5.1. Default: no.
    pub fn accept_unmasked_frames(self, accept: bool) -> Self {
        self.map_websocket(|config| config.accept_unmasked_frames(accept))
    }

    fn map_websocket(mut self, change: impl FnOnce(WebSocketConfig) -> WebSocketConfig) -> Self {
        self.config = self.config.map_websocket(change);
        self
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl<S: Sync> FromRequestParts<S> for WsUpgrade {
    type Rejection = WsUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, WsUpgradeRejection> {
        Self::from_parts(parts)
    }
}

#[cfg_attr(docsrs, doc(cfg(feature = "axum")))]
impl IntoResponse for WsUpgradeRejection {
    fn into_response(self) -> Response {
        self.response().map(Body::from)
    }
}

pub(super) fn log_failed_upgrade() -> OnFailedUpgrade {
    Mutex::new(Box::new(|error| {
        tracing::warn!(%error, "a request that was accepted did not become a websocket");
    }))
}
