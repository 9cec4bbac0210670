//! Websockets on the connections of hyper and axum (features `upgrade`, `http2`, `axum`).

#[cfg(feature = "axum")]
mod axum;
mod client;
mod handshake;
mod rejection;
mod server;
mod transport;

pub use self::{
    client::{WsClientUpgrade, WsClientUpgradeError},
    rejection::WsUpgradeRejection,
    server::WsUpgrade,
    transport::Upgraded,
};
