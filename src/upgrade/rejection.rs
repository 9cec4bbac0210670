//! `WsUpgradeRejection`: why a request does not become a websocket, and the response that says so.

use std::{error::Error, fmt};

use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, SEC_WEBSOCKET_VERSION},
};

use super::handshake::{VERSION, insert_upgrade};

/// Why a request does not become a websocket (feature `upgrade`).
///
/// The names are those of axum's rejections where they mean the same.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(docsrs, doc(cfg(feature = "upgrade")))]
pub enum WsUpgradeRejection {
    /// A request over HTTP/1.1 that is not `GET`. Status 405.
    MethodNotGet,

    /// A request over HTTP/2 that is not `CONNECT`. Status 405.
    MethodNotConnect,

    /// HTTP/1.0 or older, HTTP/3 or newer, or HTTP/2 without the feature `http2`. Status 505.
    UnsupportedHttpVersion,

    /// No `Host`, more than one, or one that is no host; over HTTP/2 the same of `:authority`, in place of which
    /// `Host` may stand. Status 400.
    InvalidHostHeader,

    /// No `Connection` header with `Upgrade` in it. Status 400.
    InvalidConnectionHeader,

    /// No `Upgrade` header with `websocket` in it. Status 400.
    InvalidUpgradeHeader,

    /// An extended `CONNECT` for another protocol, or a plain one. Status 400.
    InvalidProtocolPseudoheader,

    /// Another version of the websocket protocol than 13, or none. Status 426, with the version that
    /// would do (RFC 6455, section 4.2.2).
    InvalidWebSocketVersionHeader,

    /// No `Sec-WebSocket-Key`. Status 400.
    WebSocketKeyHeaderMissing,

    /// A `Sec-WebSocket-Key` that is not 16 bytes in base64, or more than one. Status 400.
    InvalidWebSocketKeyHeader,

    /// A page of another site asks, or one that hides where it comes from. Status 403.
    OriginNotAllowed {
        /// The `Origin` of the request; the first, if there are several. It is what the client says:
        /// mind that when you write it to a log.
        origin: HeaderValue,
    },

    /// The request did not come from a connection of hyper that can be upgraded, or somebody else has
    /// taken the upgrade. Status 426.
    ConnectionNotUpgradable,
}

impl WsUpgradeRejection {
    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MethodNotGet | Self::MethodNotConnect => StatusCode::METHOD_NOT_ALLOWED,
            Self::UnsupportedHttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::InvalidHostHeader
            | Self::InvalidConnectionHeader
            | Self::InvalidUpgradeHeader
            | Self::InvalidProtocolPseudoheader
            | Self::WebSocketKeyHeaderMissing
            | Self::InvalidWebSocketKeyHeader => StatusCode::BAD_REQUEST,
            Self::InvalidWebSocketVersionHeader | Self::ConnectionNotUpgradable => {
                StatusCode::UPGRADE_REQUIRED
            }
            Self::OriginNotAllowed { .. } => StatusCode::FORBIDDEN,
        }
    }

    /// The text of the response.
    #[must_use]
    pub fn body_text(&self) -> String {
        self.to_string()
    }

    /// The response, with its text and the headers that its status asks for.
    #[must_use]
    pub fn response(&self) -> Response<String> {
        let mut response = Response::new(self.body_text());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        match self.status() {
            StatusCode::UPGRADE_REQUIRED => {
                insert_upgrade(headers);
                headers.insert(SEC_WEBSOCKET_VERSION, VERSION);
            }
            StatusCode::METHOD_NOT_ALLOWED => {
                let method = if let Self::MethodNotGet = self { "GET" } else { "CONNECT" };
                headers.insert(ALLOW, HeaderValue::from_static(method));
            }
            _ => {}
        }
        response
    }
}

impl Error for WsUpgradeRejection {}

impl fmt::Display for WsUpgradeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MethodNotGet => "a websocket is asked for with the method GET",
            Self::MethodNotConnect => {
                "over HTTP/2, a websocket is asked for with the method CONNECT"
            }
            Self::UnsupportedHttpVersion => "no websockets over this version of HTTP",
            Self::InvalidHostHeader => "the request has to name one host",
            Self::InvalidConnectionHeader => "the `Connection` header does not say `Upgrade`",
            Self::InvalidUpgradeHeader => "the `Upgrade` header does not say `websocket`",
            Self::InvalidProtocolPseudoheader => "the `:protocol` is not `websocket`",
            Self::InvalidWebSocketVersionHeader => "the `Sec-WebSocket-Version` has to be 13",
            Self::WebSocketKeyHeaderMissing => "the `Sec-WebSocket-Key` is missing",
            Self::InvalidWebSocketKeyHeader => {
                "the `Sec-WebSocket-Key` has to be one value of 16 bytes in base64"
            }
            Self::OriginNotAllowed { .. } => "websockets are not for pages of that origin",
            Self::ConnectionNotUpgradable => "this connection can't be upgraded",
        })
    }
}
