//! Who takes part, and how each is driven.

mod byte_io;
mod fastwebsockets;
mod messages;
mod ours;
mod plain;
mod published;
mod socket;
mod tokio_tungstenite;
mod tokio_websockets;

use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use ws_stream_tungstenite::{Writes, byte_stream_config};

use self::ours::Ours;
use crate::ends::{Contender, StreamContender};

/// A contender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// This crate, every setting left alone.
    Ours,
    /// This crate, over the configuration that it recommends.
    OursRecommended,
    /// The same, and small writes are collected.
    OursCollected,
    /// The last release before 0.16.
    Published,
    /// The messages of async-tungstenite, every setting left alone.
    Messages,
    /// The messages of async-tungstenite, configured as we recommend.
    MessagesRecommended,
    /// The byte streams of async-tungstenite.
    ByteIo,
    /// The messages of tokio-tungstenite, as a stream by the adapters of tokio-util.
    TokioTungstenite,
    /// The messages of tokio-websockets.
    TokioWebsockets,
    /// The frames of fastwebsockets.
    Fastwebsockets,
    /// The frames of fastwebsockets, over a transport in a `BufWriter`.
    FastwebsocketsBuffered,
    /// No websocket: the floor.
    Plain,
}

impl Who {
    /// What tables and pictures call it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::OursRecommended => "ours, recommended",
            Self::OursCollected => "ours, collected",
            Self::Published => "published 0.15",
            Self::Messages => "async-tungstenite messages",
            Self::MessagesRecommended => "async-tungstenite, recommended",
            Self::ByteIo => "ByteReader/ByteWriter",
            Self::TokioTungstenite => "tokio-tungstenite + tokio-util",
            Self::TokioWebsockets => "tokio-websockets",
            Self::Fastwebsockets => "fastwebsockets",
            Self::FastwebsocketsBuffered => "fastwebsockets + BufWriter",
            Self::Plain => "plain transport",
        }
    }

    /// Everybody, in the order of the report.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Whether it carries messages or bytes over a websocket, and is not ours.
    pub fn is_peer(self) -> bool {
        !self.is_ours() && !matches!(self, Self::Published | Self::Plain)
    }

    /// Whether others are compared with it.
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Ours | Self::OursRecommended | Self::OursCollected)
    }
}

/// What is done with each contender.
pub trait Visitor {
    /// It has messages or frames.
    fn messages(&mut self, who: Who, contender: impl Contender);

    /// It is a stream.
    fn stream(&mut self, who: Who, contender: impl StreamContender);
}

/// Shows every contender to `visitor`.
pub fn visit_all(visitor: &mut impl Visitor) {
    let ours = Ours { socket: None, writes: Writes::AtOnce };
    let ours_recommended = Ours { socket: Some(byte_stream_config()), ..ours };
    let ours_collected = Ours { writes: Writes::Collect(COLLECTED), ..ours_recommended };
    visitor.stream(Who::Ours, ours);
    visitor.stream(Who::OursRecommended, ours_recommended);
    visitor.stream(Who::OursCollected, ours_collected);
    visitor.stream(Who::Published, published::Published);
    visitor.messages(Who::Messages, messages::Messages(WebSocketConfig::default()));
    visitor.messages(Who::MessagesRecommended, messages::Messages(byte_stream_config()));
    visitor.stream(Who::ByteIo, byte_io::ByteIo);
    visitor.stream(Who::TokioTungstenite, tokio_tungstenite::TokioTungstenite);
    visitor.messages(Who::TokioWebsockets, tokio_websockets::TokioWebsockets);
    visitor.messages(Who::Fastwebsockets, fastwebsockets::Fastwebsockets);
    visitor.messages(Who::FastwebsocketsBuffered, fastwebsockets::Buffered);
    visitor.stream(Who::Plain, plain::Plain);
}

/// The same configuration, with room for one message per write.
fn roomy(config: WebSocketConfig) -> WebSocketConfig {
    config.max_message_size(Some(LARGEST)).max_frame_size(Some(LARGEST))
}

/// How much is collected for one message, in bytes.
const COLLECTED: usize = 16 * 1024;

/// The largest write, in bytes. Contenders which make one message of it have their limits raised to
/// that: a limit costs a comparison, whatever it is.
const LARGEST: usize = 64 * 1024 * 1024;
