//! One end of a websocket over `Memory`: of either crate.

use current::{
    Writes, WsConfig, WsStream, byte_stream_config, tungstenite::protocol::WebSocketConfig,
};
use futures_util::{AsyncRead, AsyncWrite, FutureExt};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use crate::memory::Memory;

/// One end of a websocket.
pub(crate) type End = Box<dyn Io>;

pub(crate) trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

#[derive(Clone, Copy)]
pub(crate) enum Role {
    Client,
    Server,
}

/// Which crate, and how it is set up.
#[derive(Clone, Copy)]
pub(crate) enum Crate {
    Published,
    Current,
    /// With `byte_stream_config`.
    Recommended,
    /// The same, over tokio-tungstenite.
    Tokio,
    Collecting,
}

impl Crate {
    pub(crate) fn open(self, role: Role, transport: Memory) -> End {
        let standard = WebSocketConfig::default();
        match self {
            Self::Published => open_published(role, transport),
            Self::Current => open_current(role, transport, standard, WsConfig::new()),
            Self::Recommended => {
                open_current(role, transport, byte_stream_config(), WsConfig::new())
            }
            Self::Tokio => open_tokio(role, transport),
            Self::Collecting => {
                let config = WsConfig::new().writes(Writes::Collect(COLLECTED));
                open_current(role, transport, standard, config)
            }
        }
    }
}

fn open_published(role: Role, transport: Memory) -> End {
    use published_tungstenite::{WebSocketStream, tungstenite::protocol};

    let role = match role {
        Role::Client => protocol::Role::Client,
        Role::Server => protocol::Role::Server,
    };
    let socket = WebSocketStream::from_raw_socket(transport, role, None).now_or_never();
    Box::new(published::WsStream::new(socket.expect("there is nothing to wait for")))
}

fn open_current(
    role: Role,
    transport: Memory,
    websocket: WebSocketConfig,
    config: WsConfig,
) -> End {
    use current_tungstenite::{WebSocketStream, tungstenite::protocol};

    let role = match role {
        Role::Client => protocol::Role::Client,
        Role::Server => protocol::Role::Server,
    };
    let socket = WebSocketStream::from_raw_socket(transport, role, Some(websocket)).now_or_never();
    Box::new(WsStream::with_config(socket.expect("there is nothing to wait for"), config))
}

fn open_tokio(role: Role, transport: Memory) -> End {
    use current::tokio_tungstenite::{WebSocketStream, tungstenite::protocol};

    let role = match role {
        Role::Client => protocol::Role::Client,
        Role::Server => protocol::Role::Server,
    };
    let config = Some(byte_stream_config());
    let socket = WebSocketStream::from_raw_socket(transport.compat(), role, config).now_or_never();
    Box::new(WsStream::new(socket.expect("there is nothing to wait for")))
}

/// How much is collected for one message, in bytes.
const COLLECTED: usize = 8 * 1024;
