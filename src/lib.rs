#![cfg_attr(docsrs, feature(doc_cfg))]
// its examples need the features
#![cfg_attr(
    any(not(doctest), all(feature = "axum", feature = "handshake", feature = "tokio_io")),
    doc = include_str!("../README.md")
)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]
// nothing that a peer, a configuration or an order of polls brings about may panic
#![cfg_attr(not(test), warn(clippy::expect_used, clippy::panic, clippy::unwrap_used))]

mod error;
mod event;
#[cfg(feature = "upgrade")]
mod upgrade;
mod ws_stream;

#[cfg(doc)]
#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[cfg(doc)]
#[doc = include_str!("migrating.md")]
pub mod migrating {
    #[doc = include_str!("migrating/published.md")]
    pub mod published {}

    // the examples need the features
    #[cfg(any(not(doctest), all(feature = "axum", feature = "handshake", feature = "tokio_io")))]
    #[doc = include_str!("migrating/copied_axum.md")]
    pub mod copied_axum {}

    #[cfg(any(not(doctest), all(feature = "tokio-tungstenite", feature = "tokio_io")))]
    #[doc = include_str!("migrating/own_adapter.md")]
    pub mod own_adapter {}

    #[cfg(any(not(doctest), all(feature = "tokio-tungstenite", feature = "tokio_io")))]
    #[doc = include_str!("migrating/stream_reader.md")]
    pub mod stream_reader {}

    #[doc = include_str!("migrating/byte_reader.md")]
    pub mod byte_reader {}
}

pub use crate::{
    error::WsErr,
    event::WsEvent,
    ws_stream::{
        CloseEvent, Messages, TextMessages, UncleanEnd, Websocket, Writes, WsConfig, WsCounters,
        WsMeta, WsState, WsStream, byte_stream_config,
    },
};

#[cfg(feature = "upgrade")]
pub use crate::upgrade::{
    Upgraded, WsClientUpgrade, WsClientUpgradeError, WsUpgrade, WsUpgradeRejection,
};
#[cfg(feature = "tokio-tungstenite")]
pub use crate::ws_stream::TokioWsStream;

pub use async_tungstenite;
#[cfg(feature = "upgrade")]
#[cfg_attr(docsrs, doc(cfg(feature = "upgrade")))]
pub use hyper;
pub use pharos;
#[cfg(feature = "tokio-tungstenite")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio-tungstenite")))]
pub use tokio_tungstenite;
pub use tungstenite;
