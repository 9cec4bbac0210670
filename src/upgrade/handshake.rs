//! What both ends of a handshake look at, and say.

use http::{
    HeaderMap,
    header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, UPGRADE},
};
use tungstenite::handshake::derive_accept_key;

pub(super) const WEBSOCKET: HeaderValue = HeaderValue::from_static("websocket");

/// The version of the protocol that RFC 6455 defines.
pub(super) const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Says that this end wants the protocol to change, or has changed it.
pub(super) fn insert_upgrade(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, WEBSOCKET);
}

/// Whether the other end wants the connection to be upgraded, or says that it is.
pub(super) fn is_connection_upgrade(headers: &HeaderMap) -> bool {
    tokens(headers, CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"))
}

/// Whether one of the protocols that the client would change to is that of websockets.
pub(super) fn offers_websocket(headers: &HeaderMap) -> bool {
    tokens(headers, UPGRADE).any(is_websocket)
}

/// Whether the server has changed to the protocol of websockets, and to nothing below or above it (RFC 9110,
/// section 7.8).
pub(super) fn is_switched_to_websocket(headers: &HeaderMap) -> bool {
    let mut protocols = tokens(headers, UPGRADE);
    protocols.next().is_some_and(is_websocket) && protocols.next().is_none()
}

fn is_websocket(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("websocket")
}

/// What a server answers to a key (RFC 6455, section 4.2.2).
pub(super) fn accept_value(key: &HeaderValue) -> HeaderValue {
    header_value(&derive_accept_key(key.as_bytes()))
}

/// # Panics
///
/// If `text` has characters that are not visible ASCII.
#[expect(clippy::expect_used, reason = "given are base64, and what was parsed before")]
pub(super) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("visible ASCII")
}

/// The subprotocols that a request asks for, or a response agrees to.
pub(super) fn protocols(headers: &HeaderMap) -> impl Iterator<Item = HeaderValue> {
    // what is part of a value is a value
    tokens(headers, SEC_WEBSOCKET_PROTOCOL).filter_map(|token| HeaderValue::from_str(token).ok())
}

/// The only value of a header; none if it is there several times.
pub(super) fn single(headers: &HeaderMap, name: HeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    values.next().filter(|_| values.next().is_none())
}

/// The elements of a header that is a list, of all its lines (RFC 9110, section 5.6.1).
fn tokens(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|token| !token.is_empty())
}
