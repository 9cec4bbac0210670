//! The behaviour of `WsStream` over the websocket of tokio-tungstenite: the tests of `tests/it`.

mod backend;

#[path = "../it/support.rs"]
mod support;

#[path = "../it/api.rs"]
mod api;
#[path = "../it/choices.rs"]
mod choices;
#[path = "../it/closing.rs"]
mod closing;
#[path = "../it/collecting.rs"]
mod collecting;
#[path = "../it/control_frames.rs"]
mod control_frames;
#[path = "../it/events.rs"]
mod events;
#[cfg(feature = "handshake")]
#[path = "../it/faults.rs"]
mod faults;
#[path = "../it/handles.rs"]
mod handles;
#[path = "../it/limits.rs"]
mod limits;
#[path = "../it/log.rs"]
mod log;
#[path = "../it/messages.rs"]
mod messages;
#[path = "../it/properties.rs"]
mod properties;
#[path = "../it/reading.rs"]
mod reading;
#[path = "../it/simulation.rs"]
mod simulation;
#[path = "../it/tcp.rs"]
mod tcp;
#[path = "../it/timeouts.rs"]
mod timeouts;
#[cfg(feature = "tokio_io")]
#[path = "../it/tokio_io.rs"]
mod tokio_io;
#[path = "../it/two_halves.rs"]
mod two_halves;
#[path = "../it/violations.rs"]
mod violations;
#[path = "../it/writing.rs"]
mod writing;
