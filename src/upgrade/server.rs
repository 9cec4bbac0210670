//! `WsUpgrade`: the request of a client that wants a websocket.

use std::{borrow::Cow, fmt};

use http::{
    Extensions, HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{
        HOST, ORIGIN, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION,
    },
    request::Parts,
};
use hyper::upgrade::OnUpgrade;
use tungstenite::protocol::Role;

use super::{
    handshake::{
        VERSION, accept_value, header_value, insert_upgrade, is_connection_upgrade,
        offers_websocket, protocols, single,
    },
    rejection::WsUpgradeRejection,
    transport::Upgraded,
};
use crate::{WsConfig, WsStream};

/// The request of a client that wants a websocket, checked, and what will be answered (feature
/// `upgrade`).
///
/// Made of any request to hyper's server; with the feature `axum` it is an extractor too, whose methods
/// have the names of those of axum's `WebSocketUpgrade`.
///
/// ```no_run
/// # use hyper::{Request, Response, body::Incoming};
/// # use ws_stream_tungstenite::{Upgraded, WsStream, WsUpgrade, WsUpgradeRejection};
/// async fn service(mut request: Request<Incoming>) -> Response<String> {
///     match upgrade(&mut request) {
///         Ok(switching_protocols) => switching_protocols,
///         Err(rejection) => rejection.response(),
///     }
/// }
///
/// fn upgrade(request: &mut Request<Incoming>) -> Result<Response<String>, WsUpgradeRejection> {
///     let upgrade = WsUpgrade::new(request)?.same_origin()?.protocols(["bytes"]);
///     let (response, stream) = upgrade.accept();
///     tokio::spawn(async move {
///         match stream.await {
///             Ok(stream) => serve(stream).await,
///             Err(error) => eprintln!("the client went away: {error}"),
///         }
///     });
///     Ok(response)
/// }
///
/// async fn serve(stream: WsStream<Upgraded>) { /* … */ }
/// ```
///
/// # HTTP/2
///
/// With the feature `http2`, the extended `CONNECT` of RFC 8441 is taken too, and the websocket is one
/// of the streams of its connection. Hyper offers it to clients after
/// `http2::Builder::enable_connect_protocol`.
///
/// What was written is sent by hyper's task, also after a `flush` or `close` that is done; if the peer resets
/// the stream before, it is lost.
///
/// A peer that is refused, for text say, sees the close code, but may take the end of our side for that of both:
/// Chromium does not answer then, and [`CloseEvent::was_clean`](crate::CloseEvent) is `false`.
///
/// # Timeouts
///
/// The stream is there when hyper has sent the response. Hyper's `header_read_timeout` covers a request over
/// HTTP/1.1, but only if hyper was given a timer: by default, and in `axum::serve`, it has none. From then on
/// there is no timeout.
#[cfg_attr(docsrs, doc(cfg(feature = "upgrade")))]
#[must_use = "a request is answered by what `accept` or `on_upgrade` returns"]
pub struct WsUpgrade {
    connection: OnUpgrade,
    #[cfg(feature = "axum")]
    pub(super) on_failed_upgrade: super::axum::OnFailedUpgrade,
    asked: Asked,
    selected_protocol: Option<HeaderValue>,
    pub(super) config: WsConfig,
}

/// What a request asked for.
#[derive(Debug)]
struct Asked {
    /// What proves to the client that its request was understood. There is none over HTTP/2.
    accept: Option<HeaderValue>,
    /// The host and port that the client took this for.
    host: HeaderValue,
    origins: Vec<HeaderValue>,
    protocols: Vec<HeaderValue>,
}

impl WsUpgrade {
    /// Checks what RFC 6455, section 4.2.1, and RFC 8441, section 4, ask of a request.
    ///
    /// Takes the upgrade out of the request, and leaves the rest as it is.
    ///
    /// # Errors
    ///
    /// What is wrong with the request; [`WsUpgradeRejection::response`] is what to answer. The request is left
    /// as it was: where a page has the same path, [`InvalidConnectionHeader`] and [`InvalidUpgradeHeader`] say
    /// that somebody asks for that.
    ///
    /// [`InvalidConnectionHeader`]: WsUpgradeRejection::InvalidConnectionHeader
    /// [`InvalidUpgradeHeader`]: WsUpgradeRejection::InvalidUpgradeHeader
    pub fn new<B>(request: &mut Request<B>) -> Result<Self, WsUpgradeRejection> {
        let asked = Head {
            method: request.method(),
            uri: request.uri(),
            version: request.version(),
            headers: request.headers(),
            extensions: request.extensions(),
        };
        let asked = asked.check()?;
        Self::take(asked, request.extensions_mut())
    }

    /// The same, of a request without its body.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn from_parts(parts: &mut Parts) -> Result<Self, WsUpgradeRejection> {
        let asked = Head {
            method: &parts.method,
            uri: &parts.uri,
            version: parts.version,
            headers: &parts.headers,
            extensions: &parts.extensions,
        };
        let asked = asked.check()?;
        Self::take(asked, &mut parts.extensions)
    }

    fn take(asked: Asked, extensions: &mut Extensions) -> Result<Self, WsUpgradeRejection> {
        let connection = extensions.remove();
        Ok(Self {
            connection: connection.ok_or(WsUpgradeRejection::ConnectionNotUpgradable)?,
            #[cfg(feature = "axum")]
            on_failed_upgrade: super::axum::log_failed_upgrade(),
            asked,
            selected_protocol: None,
            config: WsConfig::new(),
        })
    }

    /// Refuses what pages of other sites ask for: *cross-site WebSocket hijacking*.
    ///
    /// A browser lets every page open a websocket to every server, sends the user's cookies for that
    /// server along, and lets the page read what comes. A page that the user happens to look at could so
    /// act in the user's name. What gives it away is the `Origin` header, which a browser always sends
    /// (RFC 6455, section 10.2). Here its host and port have to be those of the `Host` header (over
    /// HTTP/2, of `:authority`). Requests without `Origin` do not come from a page, and are let through.
    ///
    /// A layer for CORS is no help: browsers do not keep websockets to it, and it refuses nothing itself.
    ///
    /// This is not enough
    ///
    /// - behind a proxy that changes `Host`, where it refuses every page;
    /// - for a server with TLS, against whoever can change what travels without: the scheme is not compared,
    ///   as few requests tell it, and a page of `http://example.com` passes for one of `https://example.com`;
    /// - for a server without TLS, or on the user's own network: a name of the attacker's that is made to
    ///   point to the server (*DNS rebinding*) is in both headers.
    ///
    /// Use [`allowed_origins`](Self::allowed_origins) there. And whatever is not a browser can say what it
    /// wants: this is no replacement for authentication.
    ///
    /// # Errors
    ///
    /// [`WsUpgradeRejection::OriginNotAllowed`]: another origin, several, or `null`, as a page in a
    /// sandbox or a file has it.
    pub fn same_origin(self) -> Result<Self, WsUpgradeRejection> {
        let is_same = |origin: &HeaderValue| is_same_origin(origin, &self.asked.host);
        self.asked.check_origin(is_same)?;
        Ok(self)
    }

    /// Refuses pages that are not of one of these origins, such as `https://example.com`, without a slash
    /// at the end. A port that is the scheme's own may be left out.
    ///
    /// As [`same_origin`](Self::same_origin), against the same attack, where the server knows by which
    /// names it is reached.
    ///
    /// # Errors
    ///
    /// [`WsUpgradeRejection::OriginNotAllowed`]: another origin, or several.
    pub fn allowed_origins<I>(self, origins: I) -> Result<Self, WsUpgradeRejection>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        self.asked.check_origin(|origin| {
            let Ok(origin) = origin.to_str() else { return false };
            origins.into_iter().any(|one| are_same(origin, one.as_ref()))
        })?;
        Ok(self)
    }

    /// Agrees to the first of these subprotocols that the client asks for, or to none (RFC 6455,
    /// section 1.9). Browsers fail a websocket if they asked for some and got none.
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator<Item: Into<Cow<'static, str>>>,
    {
        let mut offered = protocols.into_iter().map(Into::into);
        let is_asked_for =
            |name: &Cow<'static, str>| self.requested_protocols().any(|it| it == &**name);
        let selected = offered.find(is_asked_for);
        self.selected_protocol = selected.and_then(|name| HeaderValue::from_str(&name).ok());
        self
    }

    /// The subprotocols that the client asks for, those that it prefers first; the first 100 of them.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &HeaderValue> {
        self.asked.protocols.iter()
    }

    /// Agrees to a subprotocol. It has to be one of those that the client asks for, or the client fails the
    /// websocket.
    pub fn set_selected_protocol(&mut self, protocol: HeaderValue) {
        self.selected_protocol = Some(protocol);
    }

    /// The subprotocol that was agreed to.
    #[must_use]
    pub fn selected_protocol(&self) -> Option<&HeaderValue> {
        self.selected_protocol.as_ref()
    }

    /// How the stream is to be: a [`WsConfig`], or the [`WebSocketConfig`] alone. Default: every default of
    /// `WsConfig`, and [`byte_stream_config`](crate::byte_stream_config). Sizes that were set before are
    /// forgotten.
    ///
    /// [`WebSocketConfig`]: tungstenite::protocol::WebSocketConfig
    pub fn config(self, config: impl Into<WsConfig>) -> Self {
        Self { config: config.into(), ..self }
    }

    /// The response that accepts, and the stream that is there once it was sent.
    ///
    /// Headers can be added to the response, and its body, which is empty, made one of your service's type:
    /// `response.map(Full::from)`, say. The future has to be awaited in a task of its own: in the
    /// service it would wait for what the service has not returned yet.
    ///
    /// Return this response and no other, and refuse before. Over HTTP/1.1, hyper does not look at what was
    /// answered. If it was a refusal, the future waits for as long as the connection serves other requests,
    /// and a client that sent `Connection: Upgrade, close` gets its websocket nevertheless.
    ///
    /// # Errors
    ///
    /// Of the future: the connection broke before the response was out, or hyper serves it without upgrades
    /// (`with_upgrades`; in hyper-util, `serve_connection_with_upgrades`).
    ///
    /// # Panics
    ///
    /// The future, as [`WsStream::from_raw_socket`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, so is the connection; over HTTP/2, its stream.
    pub fn accept(
        self,
    ) -> (
        Response<String>,
        impl Future<Output = Result<WsStream<Upgraded>, hyper::Error>> + Send + 'static,
    ) {
        let response = self.response();
        let Self { connection, config, .. } = self;
        (response, async move {
            let transport = Upgraded::new(connection.await?, Role::Server);
            Ok(WsStream::from_raw_socket(transport, Role::Server, Some(config)).await)
        })
    }

    fn response(&self) -> Response<String> {
        let mut response = Response::new(String::new());
        // without a key, the status of an accepted `CONNECT` is that of any other success
        if let Some(accept) = &self.asked.accept {
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            insert_upgrade(response.headers_mut());
            response.headers_mut().insert(SEC_WEBSOCKET_ACCEPT, accept.clone());
        }
        if let Some(protocol) = &self.selected_protocol {
            response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol.clone());
        }
        response
    }
}

impl fmt::Debug for WsUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsUpgrade")
            .field("asked", &self.asked)
            .field("selected_protocol", &self.selected_protocol)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Asked {
    fn check_origin(
        &self,
        is_allowed: impl FnOnce(&HeaderValue) -> bool,
    ) -> Result<(), WsUpgradeRejection> {
        match self.origins.as_slice() {
            [] => Ok(()),
            [origin] if is_allowed(origin) => Ok(()),
            [origin, ..] => Err(WsUpgradeRejection::OriginNotAllowed { origin: origin.clone() }),
        }
    }
}

/// The head of a request.
struct Head<'a> {
    method: &'a Method,
    uri: &'a Uri,
    version: Version,
    headers: &'a HeaderMap,
    #[cfg_attr(
        not(feature = "http2"),
        expect(dead_code, reason = "tells the protocol of a `CONNECT`")
    )]
    extensions: &'a Extensions,
}

impl Head<'_> {
    fn check(&self) -> Result<Asked, WsUpgradeRejection> {
        let accept = match self.version {
            Version::HTTP_11 => Some(self.check_upgrade()?),
            #[cfg(feature = "http2")]
            Version::HTTP_2 => {
                self.check_connect()?;
                None
            }
            _ => return Err(WsUpgradeRejection::UnsupportedHttpVersion),
        };
        Ok(Asked {
            accept,
            host: self.host()?,
            origins: self.headers.get_all(ORIGIN).iter().cloned().collect(),
            protocols: protocols(self.headers).take(MAX_PROTOCOLS).collect(),
        })
    }

    /// RFC 6455, section 4.2.1. Returns what proves that the request was understood.
    fn check_upgrade(&self) -> Result<HeaderValue, WsUpgradeRejection> {
        if self.method != Method::GET {
            return Err(WsUpgradeRejection::MethodNotGet);
        }
        if !is_connection_upgrade(self.headers) {
            return Err(WsUpgradeRejection::InvalidConnectionHeader);
        }
        if !offers_websocket(self.headers) {
            return Err(WsUpgradeRejection::InvalidUpgradeHeader);
        }
        self.check_version()?;
        self.accept_key()
    }

    /// RFC 8441, section 5.
    #[cfg(feature = "http2")]
    fn check_connect(&self) -> Result<(), WsUpgradeRejection> {
        if self.method != Method::CONNECT {
            return Err(WsUpgradeRejection::MethodNotConnect);
        }
        let protocol = self.extensions.get::<hyper::ext::Protocol>();
        if !protocol.is_some_and(|it| it.as_str().eq_ignore_ascii_case("websocket")) {
            return Err(WsUpgradeRejection::InvalidProtocolPseudoheader);
        }
        self.check_version()
    }

    fn check_version(&self) -> Result<(), WsUpgradeRejection> {
        match single(self.headers, SEC_WEBSOCKET_VERSION) {
            Some(version) if version == VERSION => Ok(()),
            _ => Err(WsUpgradeRejection::InvalidWebSocketVersionHeader),
        }
    }

    fn accept_key(&self) -> Result<HeaderValue, WsUpgradeRejection> {
        if !self.headers.contains_key(SEC_WEBSOCKET_KEY) {
            return Err(WsUpgradeRejection::WebSocketKeyHeaderMissing);
        }
        let key = single(self.headers, SEC_WEBSOCKET_KEY).filter(|key| is_key(key.as_bytes()));
        key.map(accept_value).ok_or(WsUpgradeRejection::InvalidWebSocketKeyHeader)
    }

    /// Where the client believes to be. Over HTTP/1.1, every request has one valid `Host`, but a URI with a
    /// host comes before it (RFC 9112, sections 3.2 and 3.2.2). Over HTTP/2, the URI has it.
    fn host(&self) -> Result<HeaderValue, WsUpgradeRejection> {
        let header = single(self.headers, HOST).filter(|host| is_host(host));
        let authority = self.uri.authority().map(|authority| header_value(authority.as_str()));
        let host = match authority {
            Some(_) if self.version == Version::HTTP_11 && header.is_none() => None,
            Some(authority) => Some(authority).filter(is_host),
            None => header.cloned(),
        };
        host.ok_or(WsUpgradeRejection::InvalidHostHeader)
    }
}

/// Whether this may be a host, with or without a port, as far as its characters tell (RFC 9110, section 7.2).
fn is_host(host: &HeaderValue) -> bool {
    let may_have =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    let host = host.as_bytes();
    host.first().is_some_and(|first| *first != b':') && host.iter().all(may_have)
}

/// Whether this is 16 bytes in base64.
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || [b'+', b'/'].contains(byte);
    key.strip_suffix(b"==").is_some_and(|digits| digits.len() == 22 && digits.iter().all(is_digit))
}

/// Whether a page of this origin was served by the host that it connects to now.
fn is_same_origin(origin: &HeaderValue, host: &HeaderValue) -> bool {
    let (Ok(origin), Ok(host)) = (origin.to_str(), host.to_str()) else { return false };
    let is_same = |scheme: &str| are_same(origin, &format!("{scheme}://{host}"));
    is_same("http") || is_same("https")
}

/// Whether two origins are the same (RFC 6454, section 5). A browser leaves out a port that is the scheme's
/// own; others may not.
fn are_same(one: &str, other: &str) -> bool {
    without_own_port(one).eq_ignore_ascii_case(without_own_port(other))
}

fn without_own_port(origin: &str) -> &str {
    let own_port = match origin.split_once(':') {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => ":80",
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => ":443",
        _ => return origin,
    };
    origin.strip_suffix(own_port).unwrap_or(origin)
}

/// Each takes more than ten times the memory that it has in the header, of which hyper takes 400 KB.
const MAX_PROTOCOLS: usize = 100;
