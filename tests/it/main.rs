//! The behaviour of `WsStream`, by subject; a test's path reads as a sentence.

mod api;
mod backend;
mod browser;
mod choices;
mod closing;
mod collecting;
mod control_frames;
mod events;
mod examples;
#[cfg(feature = "handshake")]
mod faults;
mod guarantees;
mod handles;
mod limits;
mod log;
mod messages;
#[cfg(feature = "tokio_io")]
mod migrating;
mod opening;
mod program;
mod properties;
mod reading;
mod simulation;
mod support;
mod tcp;
mod timeouts;
#[cfg(feature = "tokio_io")]
mod tokio_io;
mod two_halves;
mod violations;
mod writing;
