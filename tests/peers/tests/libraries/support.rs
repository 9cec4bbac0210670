//! Both ends of a connection, and the two ways in which they write.

use async_tungstenite::tokio::TokioAdapter;
use real_peers::{PATIENCE, Table, version};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use ws_stream_tungstenite::{Writes, WsConfig, WsStream};

pub type Ours = WsStream<TokioAdapter<TcpStream>>;

/// Runs `exchange` over connections that write at once, and over such that collect. It returns how
/// many bytes of payload came back as they were sent.
pub async fn with_each_way_to_write<E>(library: &str, what: &str, mut exchange: E)
where
    E: AsyncFnMut(Ours, Ours) -> usize,
{
    let mut table = Table::new(format!("{library} {}, {what}", version(library)));
    for (name, writes) in WAYS_TO_WRITE {
        let (client, server) = connect(writes).await;
        let exchanged = timeout(4 * PATIENCE, exchange(client, server)).await;
        let bytes = exchanged.unwrap_or_else(|_| panic!("{library} hangs with {name}"));
        table.row(name, format!("{} MiB, unchanged", bytes / MIB));
    }
    println!("{table}");
}

/// A client and a server.
async fn connect(writes: Writes) -> (Ours, Ours) {
    let config = WsConfig::new().writes(writes);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let (client, server) = tokio::join!(
        WsStream::connect(format!("ws://{address}/"), TokioAdapter::new(tcp), Some(config.clone())),
        WsStream::accept(TokioAdapter::new(accepted), Some(config)),
    );
    (client.unwrap().0, server.unwrap())
}

const WAYS_TO_WRITE: [(&str, Writes); 2] =
    [("Writes::AtOnce", Writes::AtOnce), ("Writes::Collect(16 KiB)", Writes::Collect(16 * KIB))];

pub const KIB: usize = 1024;
pub const MIB: usize = 1024 * KIB;
