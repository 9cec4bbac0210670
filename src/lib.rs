#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod event;
mod ws_stream;

pub use crate::{error::WsErr, event::WsEvent, ws_stream::WsStream};

pub use async_tungstenite;
pub use pharos;
pub use tungstenite;
