//! How connections end, in words and codes.

use futures::StreamExt;
use ws_stream_tungstenite::{CloseEvent, WsErr, WsEvent, pharos::Events};

/// The events, without pings and pongs and details, as the README calls them.
pub async fn named(events: Events<WsEvent>) -> Vec<String> {
    let named = events.filter_map(async |event| match event {
        WsEvent::Error(error) => Some(match error.as_ref() {
            WsErr::Tungstenite { source } => {
                let source = format!("{source:?}");
                format!("Error(Tungstenite {{ {} }})", source.split('(').next().unwrap())
            }
            WsErr::Io { .. } => "Error(Io)".into(),
            other => format!("Error({other:?})"),
        }),
        WsEvent::CloseFrame(None) => Some("CloseFrame".into()),
        WsEvent::CloseFrame(Some(frame)) => Some(format!("CloseFrame({})", u16::from(frame.code))),
        WsEvent::Ping(_) | WsEvent::Pong(_) => None,
        WsEvent::Closed => Some("Closed".into()),
    });
    named.collect().await
}

pub fn clean(code: u16, reason: &str) -> CloseEvent {
    CloseEvent { code, reason: reason.into(), was_clean: true }
}

/// Without a close frame.
pub fn broken() -> CloseEvent {
    CloseEvent { code: 1006, reason: String::new(), was_clean: false }
}

/// Close codes and reasons that may be sent.
pub const CODES: [(u16, &str); 6] = [
    (1000, ""),
    (1001, "going away"),
    (1011, "Störung im Betriebsablauf"),
    (3000, "a"),
    (4001, LONGEST_REASON),
    (4999, "the last"),
];

/// 123 bytes (RFC 6455, section 5.5).
const LONGEST_REASON: &str = "abcdefghij abcdefghij abcdefghij abcdefghij abcdefghij abcdefghij \
    abcdefghij abcdefghij abcdefghij abcdefghij abcdefghij ab";
