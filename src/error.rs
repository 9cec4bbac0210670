//! `WsErr`: what can go wrong, and the one table from tungstenite's errors to ours.

use std::{error::Error, fmt, io, sync::Arc};

use pharos::PharErr;
use tungstenite::error::ProtocolError;

/// What can go wrong on a [`WsStream`](crate::WsStream).
///
/// What goes wrong with the connection is told to observers, as
/// [`WsEvent::Error`](crate::WsEvent::Error). In an [`io::Error`] that a read or write returns, a
/// `WsErr` is the inner error ([`io::Error::get_ref`]), unless the transport itself made that
/// `io::Error`. The rest comes from [`WsMeta`](crate::WsMeta) and [`WsConfig`](crate::WsConfig).
#[derive(Debug)]
#[non_exhaustive]
pub enum WsErr {
    /// An error of tungstenite that none of the other variants stands for: text or a close reason
    /// that is not UTF-8 ([`Utf8`](tungstenite::Error::Utf8)), or a message over its size limit
    /// ([`Capacity`](tungstenite::Error::Capacity)).
    Tungstenite {
        /// The error as tungstenite reported it.
        source: tungstenite::Error,
    },

    /// The transport below the websocket failed.
    Io {
        /// The error of the transport.
        source: io::Error,
    },

    /// The peer violated the websocket protocol. The reason is in the close frame that it was sent
    /// and in the log (`tracing`, level `warn`).
    Protocol,

    /// The peer sent a text message. A byte stream is made of binary messages only.
    ReceivedText,

    /// The websocket is closed or closing: it takes no data, no pings and no observers any more. As
    /// an event: what was [collected](crate::Writes::Collect) when the peer closed can't be sent.
    Closed,

    /// An error that cannot occur.
    Unreachable,

    /// The transport ended without a close frame from the peer (RFC 6455, section 7.1.5, calls this
    /// close code 1006): the peer may have had more to say.
    MissingCloseFrame,

    /// The limits in the [`WebSocketConfig`](tungstenite::protocol::WebSocketConfig) or in the
    /// [`WsConfig`](crate::WsConfig) leave no room for a message of even one byte.
    NoRoomForData,

    /// The peer broke the stream off: it may have had more to say. Reads return this where
    /// [`UncleanEnd::Error`](crate::UncleanEnd::Error) was chosen.
    UncleanEnd {
        /// What observers were told.
        source: Arc<WsErr>,
    },

    /// A close code that must not be sent, or is not defined (RFC 6455, section 7.4).
    InvalidCloseCode {
        /// The code that was given.
        supplied: u16,
    },

    /// A close reason of more than 123 bytes (RFC 6455, section 5.5).
    ReasonTooLong {
        /// The length of the reason that was given, in bytes.
        length: usize,
    },

    /// The payload of a ping of more than 125 bytes (RFC 6455, section 5.5).
    PingTooLong {
        /// The length of the payload that was given, in bytes.
        length: usize,
    },

    /// As many pings as may wait are waiting already: the transport is not writable, or nothing polls
    /// the stream.
    TooManyPings,

    /// An observer was refused, because its channel would have no capacity.
    Observe {
        /// The error as pharos reported it.
        source: PharErr,
    },
}

impl Error for WsErr {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Tungstenite { source } => Some(source),
            Self::Io { source } => Some(source),
            Self::Observe { source } => Some(source),
            Self::UncleanEnd { source } => Some(source.as_ref()),
            Self::Protocol
            | Self::ReceivedText
            | Self::Closed
            | Self::Unreachable
            | Self::MissingCloseFrame
            | Self::NoRoomForData
            | Self::InvalidCloseCode { .. }
            | Self::ReasonTooLong { .. }
            | Self::PingTooLong { .. }
            | Self::TooManyPings => None,
        }
    }
}

impl fmt::Display for WsErr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tungstenite { .. } => "the websocket failed",
            Self::Io { .. } => "the transport of the websocket failed",
            Self::Protocol => "the peer violated the websocket protocol",
            Self::ReceivedText => {
                "the peer sent a text message, only binary messages are supported"
            }
            Self::Closed => "the websocket is closed",
            Self::Unreachable => "an error that cannot occur",
            Self::MissingCloseFrame => "the transport ended without a close frame from the peer",
            Self::NoRoomForData => {
                "the limits of the websocket's configuration leave no room for one byte of data"
            }
            Self::UncleanEnd { .. } => "the peer broke the stream off",
            Self::InvalidCloseCode { supplied } => {
                return write!(f, "the close code {supplied} must not be sent");
            }
            Self::ReasonTooLong { length } => {
                return write!(f, "a close reason of {length} bytes, at most 123 are allowed");
            }
            Self::PingTooLong { length } => {
                return write!(f, "a ping with {length} bytes of payload, at most 125 are allowed");
            }
            Self::TooManyPings => "too many pings wait to be sent",
            Self::Observe { .. } => "the observer was refused",
        })
    }
}

impl From<tungstenite::Error> for WsErr {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::Error::{AlreadyClosed, ConnectionClosed, Io, Protocol, WriteBufferFull};

        match error {
            ConnectionClosed | AlreadyClosed | Protocol(ProtocolError::SendAfterClosing) => {
                Self::Closed
            }
            Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::MissingCloseFrame,
            Protocol(_) => Self::Protocol,
            Io(source) => Self::Io { source },
            WriteBufferFull(_) => Self::NoRoomForData,
            source => Self::Tungstenite { source },
        }
    }
}

impl From<io::Error> for WsErr {
    fn from(source: io::Error) -> Self {
        Self::Io { source }
    }
}

impl From<PharErr> for WsErr {
    fn from(source: PharErr) -> Self {
        match source.kind() {
            pharos::ErrorKind::Closed => Self::Closed,
            _ => Self::Observe { source },
        }
    }
}

/// What a caller of the I/O traits gets to see of `error`: the transport's own error as it is, any
/// other as the cause inside an [`io::Error`].
pub(crate) fn into_io(error: WsErr) -> io::Error {
    let kind = match error {
        WsErr::Io { source } => return source,
        WsErr::Closed => io::ErrorKind::NotConnected,
        WsErr::NoRoomForData => io::ErrorKind::InvalidInput,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// A second copy of `error` for the observers; the caller gets the original with its source.
pub(crate) fn copy_io(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}
