//! Close frames that may be sent, and `CloseEvent`: how a connection closed.

use tungstenite::{
    Utf8Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::WsErr;

/// How a connection closed. The same as the event of that name in browsers and in `ws_stream_wasm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseEvent {
    /// The close code in the peer's close frame, whoever closed first; a peer that only answers
    /// usually repeats ours. 1005: its frame had no code. 1006: no close frame came (RFC 6455,
    /// section 7.1.5), or only among what was discarded because the peer broke a rule.
    pub code: u16,

    /// The reason in the peer's close frame, at most 123 bytes. Empty if it had none.
    pub reason: String,

    /// Whether both close frames are through: the peer's came, and ours left (RFC 6455, section
    /// 7.1.4), behind everything that was written. The peer may see it otherwise: for Chromium, what
    /// a page has not sent yet when our close frame comes makes it unclean.
    pub was_clean: bool,
}

impl CloseEvent {
    /// `peer`: the close frame that came, if one came. `is_complete`: ours has left, and all before.
    pub(super) fn new(peer: Option<CloseFrame>, is_complete: bool) -> Self {
        let was_clean = peer.is_some() && is_complete;
        let CloseFrame { code, reason } =
            peer.unwrap_or_else(|| without_reason(CloseCode::Abnormal));
        Self { code: code.into(), reason: reason.as_str().to_owned(), was_clean }
    }
}

pub(super) fn without_reason(code: CloseCode) -> CloseFrame {
    CloseFrame { code, reason: Utf8Bytes::default() }
}

/// A close frame that may be sent (RFC 6455, sections 5.5 and 7.4).
pub(super) fn close_frame(code: u16, reason: &str) -> Result<CloseFrame, WsErr> {
    let length = reason.len();
    if !CloseCode::from(code).is_allowed() {
        return Err(WsErr::InvalidCloseCode { supplied: code });
    }
    if length > MAX_REASON {
        return Err(WsErr::ReasonTooLong { length });
    }
    Ok(CloseFrame { code: code.into(), reason: reason.into() })
}

/// The close frame as it is told, without the rest of the read buffer that it came in. One with a code
/// that must not be sent (RFC 6455, section 7.4) is a violation: tungstenite says so of a peer that
/// closes first, but not of one that answers.
pub(super) fn as_told(frame: CloseFrame) -> CloseFrame {
    let CloseFrame { code, reason } = frame;
    if code.is_allowed() {
        CloseFrame { code, reason: reason.to_string().into() }
    } else {
        let reason = Utf8Bytes::from_static("Protocol violation");
        CloseFrame { code: CloseCode::Protocol, reason }
    }
}

/// The largest payload of a control frame, in bytes (RFC 6455, section 5.5).
pub(super) const MAX_CONTROL_PAYLOAD: usize = 125;

/// The largest header of a control frame, in bytes: with a mask (RFC 6455, section 5.2).
pub(super) const MAX_CONTROL_HEADER: usize = 6;

/// The longest close reason, in bytes: the code takes two.
const MAX_REASON: usize = MAX_CONTROL_PAYLOAD - size_of::<u16>();
