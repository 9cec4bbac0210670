//! `WsClientUpgrade`: asking for a websocket on a connection of hyper's client.

use std::{error::Error, fmt};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{
        HOST, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    },
    uri::{Authority, Scheme},
};
use tungstenite::{handshake::client::generate_key, protocol::Role};

use super::{
    handshake::{
        VERSION, accept_value, header_value, insert_upgrade, is_connection_upgrade,
        is_switched_to_websocket, protocols, single,
    },
    transport::Upgraded,
};
use crate::{WsConfig, WsStream};

/// Asks for a websocket on a connection of hyper's client, or of the `Client` of hyper-util (feature
/// `upgrade`).
///
/// The version of the request has to be that of the connection: HTTP/1.1, unless you set it. A connection sends
/// the URI as it is, and most servers of HTTP/1.1 want a path; the `Client` needs a whole one.
///
/// ```no_run
/// # use std::error::Error;
/// # use hyper::{Request, client::conn::http1};
/// # use hyper_util::rt::TokioIo;
/// # use tokio::net::TcpStream;
/// # use ws_stream_tungstenite::{Upgraded, WsClientUpgrade, WsStream};
/// async fn connect(tcp: TcpStream) -> Result<WsStream<Upgraded>, Box<dyn Error>> {
///     let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
///     tokio::spawn(connection.with_upgrades());
///
///     let request = Request::get("/bytes").header("Host", "example.com");
///     let mut request = request.header("Sec-WebSocket-Protocol", "bytes").body(String::new())?;
///     let upgrade = WsClientUpgrade::new(&mut request);
///     let response = sender.send_request(request).await?;
///     let (stream, _response) = upgrade.finish(response).await?;
///     Ok(stream)
/// }
/// ```
///
/// # HTTP/2
///
/// With the feature `http2`, a request whose version is `HTTP_2` becomes the extended `CONNECT` of RFC 8441.
/// Its URI has to be whole (`https://example.com/bytes`), and the server has to have offered this:
/// `is_extended_connect_protocol_enabled` of hyper's `Connection` says so, once the settings of the server
/// have come.
///
/// What was written is sent by hyper's task, also after a `flush` or `close` that is done. If the stream is
/// dropped before, hyper's client resets it, and what has not left is lost, with the close frame: read to
/// the end of file first.
#[cfg_attr(docsrs, doc(cfg(feature = "upgrade")))]
#[derive(Debug)]
#[must_use = "the response is for `finish`"]
pub struct WsClientUpgrade {
    /// What proves that the server has understood the request. There is none over HTTP/2.
    accept: Option<HeaderValue>,
    protocols: Vec<HeaderValue>,
    config: WsConfig,
}

impl WsClientUpgrade {
    /// Makes `request` one for a websocket: sets its method and the headers that RFC 6455, section 4.1, asks
    /// for. In its URI, `ws` and `wss` become `http` and `https`, and a user is left out.
    ///
    /// The subprotocols to ask for are in its header `Sec-WebSocket-Protocol` already, if any. Other headers can
    /// be added before or after. A `Host` is added if there is none and the URI names it. The body has to
    /// be empty.
    pub fn new<B>(request: &mut Request<B>) -> Self {
        let protocols = protocols(request.headers()).collect();
        make_http(request.uri_mut());
        request.headers_mut().insert(SEC_WEBSOCKET_VERSION, VERSION);
        let upgrade = Self { accept: None, protocols, config: WsConfig::new() };
        #[cfg(feature = "http2")]
        if request.version() == Version::HTTP_2 {
            ask_to_connect(request);
            return upgrade;
        }
        Self { accept: Some(ask(request)), ..upgrade }
    }

    /// How the stream is to be: a [`WsConfig`], or the [`WebSocketConfig`] alone. Default: every default of
    /// `WsConfig`, and [`byte_stream_config`](crate::byte_stream_config).
    ///
    /// [`WebSocketConfig`]: tungstenite::protocol::WebSocketConfig
    pub fn config(self, config: impl Into<WsConfig>) -> Self {
        Self { config: config.into(), ..self }
    }

    /// Checks the response, and returns the stream and the head of the response, which says which subprotocol
    /// the server chose.
    ///
    /// Hyper has to be told that the connection may be upgraded (`with_upgrades`), and its task has to go on.
    ///
    /// # Errors
    ///
    /// The server refused, its response is not valid, or the connection broke. The body of a refusal is lost:
    /// look at the status first if you want it.
    ///
    /// # Panics
    ///
    /// As [`WsStream::from_raw_socket`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, so is the connection; over HTTP/2, its stream.
    pub async fn finish<B>(
        self,
        mut response: Response<B>,
    ) -> Result<(WsStream<Upgraded>, Response<()>), WsClientUpgradeError> {
        let upgrade = hyper::upgrade::on(&mut response);
        let response = response.map(drop);
        self.check(&response)?;
        let upgraded = upgrade.await.map_err(|source| WsClientUpgradeError::Hyper { source })?;
        let transport = Upgraded::new(upgraded, Role::Client);
        let stream = WsStream::from_raw_socket(transport, Role::Client, Some(self.config)).await;
        Ok((stream, response))
    }

    /// RFC 6455, section 4.1, or RFC 8441, section 5.
    fn check(&self, response: &Response<()>) -> Result<(), WsClientUpgradeError> {
        let headers = response.headers();
        // over HTTP/1.1, a `CONNECT` that is accepted makes a tunnel
        let (version, accepted) = match self.accept {
            Some(_) => (Version::HTTP_11, StatusCode::SWITCHING_PROTOCOLS),
            None => (Version::HTTP_2, StatusCode::OK),
        };
        if response.status() != accepted {
            return Err(WsClientUpgradeError::Refused { response: Box::new(response.clone()) });
        }
        if response.version() != version {
            return Err(WsClientUpgradeError::InvalidHttpVersion);
        }
        if let Some(accept) = &self.accept {
            check_switch(headers, accept)?;
        }
        if headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            return Err(WsClientUpgradeError::UnexpectedExtension);
        }
        self.check_protocol(headers)
    }

    fn check_protocol(&self, headers: &HeaderMap) -> Result<(), WsClientUpgradeError> {
        let mut lines = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter();
        let is_legible = lines.all(|line| line.to_str().is_ok());
        let mut chosen = protocols(headers);
        let is_right = match (chosen.next(), chosen.next()) {
            (None, _) => self.protocols.is_empty(),
            (Some(protocol), None) => self.protocols.contains(&protocol),
            (Some(_), Some(_)) => false,
        };
        if is_legible && is_right { Ok(()) } else { Err(WsClientUpgradeError::InvalidProtocol) }
    }
}

/// Why a request did not lead to a websocket (feature `upgrade`).
#[derive(Debug)]
#[non_exhaustive]
#[cfg_attr(docsrs, doc(cfg(feature = "upgrade")))]
pub enum WsClientUpgradeError {
    /// The server refused.
    Refused {
        /// What it answered, without the body.
        response: Box<Response<()>>,
    },

    /// The response came over another version of HTTP than the request was made for.
    InvalidHttpVersion,

    /// The response has no `Connection` header with `Upgrade` in it.
    InvalidConnectionHeader,

    /// The response has no `Upgrade` header that is `websocket`, or one that names another protocol too.
    InvalidUpgradeHeader,

    /// The `Sec-WebSocket-Accept` of the response is missing, or does not belong to the request.
    InvalidAcceptHeader,

    /// The server agreed to none of the subprotocols that it was asked for, or to another one, or to several.
    InvalidProtocol,

    /// The server wants to use an extension, for which it was not asked.
    UnexpectedExtension,

    /// Hyper did not hand over the connection.
    Hyper {
        /// The error as hyper reported it.
        source: hyper::Error,
    },
}

impl Error for WsClientUpgradeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        if let Self::Hyper { source } = self { Some(source) } else { None }
    }
}

impl fmt::Display for WsClientUpgradeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused { response } => {
                return write!(
                    f,
                    "the server refused the websocket with status {}",
                    response.status()
                );
            }
            Self::InvalidHttpVersion => {
                "the response came over another version of HTTP than the request was made for"
            }
            Self::InvalidConnectionHeader => {
                "the `Connection` header of the response does not say `Upgrade`"
            }
            Self::InvalidUpgradeHeader => "the `Upgrade` header of the response is not `websocket`",
            Self::InvalidAcceptHeader => {
                "the `Sec-WebSocket-Accept` of the response does not belong to the request"
            }
            Self::InvalidProtocol => {
                "the server did not agree to one of the subprotocols asked for"
            }
            Self::UnexpectedExtension => {
                "the server wants to use an extension it was not asked for"
            }
            Self::Hyper { .. } => {
                "hyper did not hand over the connection: it broke, or does not run `with_upgrades`"
            }
        })
    }
}

#[cfg(feature = "http2")]
fn ask_to_connect<B>(request: &mut Request<B>) {
    let protocol = hyper::ext::Protocol::from_static("websocket");
    *request.method_mut() = Method::CONNECT;
    request.extensions_mut().insert(protocol);
}

/// Returns what will prove that the server has understood the request.
fn ask<B>(request: &mut Request<B>) -> HeaderValue {
    *request.method_mut() = Method::GET;
    *request.version_mut() = Version::HTTP_11;
    let host = host(request.uri());
    let headers = request.headers_mut();
    if let (Some(host), false) = (host, headers.contains_key(HOST)) {
        headers.insert(HOST, host);
    }
    let key = header_value(&generate_key());
    let accept = accept_value(&key);
    insert_upgrade(headers);
    headers.insert(SEC_WEBSOCKET_KEY, key);
    accept
}

/// Changes what a URI of a websocket may have, and that of a request may not: the scheme (RFC 6455,
/// section 4.1; RFC 8441, section 5), and a user with a password (RFC 9110, section 4.2.4).
fn make_http(uri: &mut Uri) {
    let mut parts = uri.clone().into_parts();
    parts.scheme = parts.scheme.map(|scheme| match scheme.as_str() {
        "ws" => Scheme::HTTP,
        "wss" => Scheme::HTTPS,
        _ => scheme,
    });
    parts.authority = parts.authority.map(without_user);
    if let Ok(changed) = Uri::from_parts(parts) {
        *uri = changed;
    }
}

fn without_user(authority: Authority) -> Authority {
    let host = authority.as_str().rsplit_once('@').map(|(_, host)| host);
    host.and_then(|host| host.parse().ok()).unwrap_or(authority)
}

/// The host that a URI names, and the port unless it is the scheme's own (RFC 6455, section 4.1).
fn host(uri: &Uri) -> Option<HeaderValue> {
    let host = uri.host()?;
    let own_port = if uri.scheme() == Some(&Scheme::HTTPS) { 443 } else { 80 };
    Some(match uri.port_u16() {
        Some(port) if port != own_port => header_value(&format!("{host}:{port}")),
        _ => header_value(host),
    })
}

/// What a response over HTTP/1.1 has to say.
fn check_switch(headers: &HeaderMap, accept: &HeaderValue) -> Result<(), WsClientUpgradeError> {
    if !is_connection_upgrade(headers) {
        return Err(WsClientUpgradeError::InvalidConnectionHeader);
    }
    if !is_switched_to_websocket(headers) {
        return Err(WsClientUpgradeError::InvalidUpgradeHeader);
    }
    if single(headers, SEC_WEBSOCKET_ACCEPT) != Some(accept) {
        return Err(WsClientUpgradeError::InvalidAcceptHeader);
    }
    Ok(())
}
