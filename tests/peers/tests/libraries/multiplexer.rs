//! A multiplexer: yamux, over the traits of futures-io.

use std::{future::poll_fn, pin::pin};

use futures::{
    AsyncReadExt, AsyncWriteExt,
    future::{Either, join_all, select, try_join},
    io::copy,
};
use real_peers::{assert_same, noise};
use yamux::{Config, Connection, Mode, Stream};

use crate::support::{KIB, Ours, with_each_way_to_write};

#[tokio::test(flavor = "multi_thread")]
async fn yamux_carries_100_streams() {
    let what = "100 streams of 256 KiB";
    with_each_way_to_write("yamux", what, async |client, server| {
        let server = tokio::spawn(serve(server));
        let sum = connect(client).await;
        server.await.unwrap();
        sum
    })
    .await;
}

/// Opens all streams, and returns how many bytes came back on them.
async fn connect(client: Ours) -> usize {
    let mut connection = Connection::new(client, Config::default(), Mode::Client);
    let mut streams = Vec::new();
    for seed in 0..100 {
        let stream = poll_fn(|cx| connection.poll_new_outbound(cx)).await.unwrap();
        streams.push(exchange(stream, seed));
    }
    let ended = poll_fn(|cx| connection.poll_next_inbound(cx));
    let lengths = match select(join_all(streams), pin!(ended)).await {
        Either::Left((lengths, _)) => lengths,
        Either::Right((end, _)) => panic!("the connection is at its end: {end:?}"),
    };
    poll_fn(|cx| connection.poll_close(cx)).await.unwrap();
    lengths.iter().sum()
}

async fn exchange(stream: Stream, seed: u64) -> usize {
    let data = noise(seed, 256 * KIB);
    let (mut reader, mut writer) = stream.split();
    let mut received = Vec::new();
    let write = async {
        writer.write_all(&data).await?;
        writer.close().await
    };
    try_join(write, reader.read_to_end(&mut received)).await.unwrap();
    assert_same(&received, &data);
    received.len()
}

/// Echoes each stream until the client closes the connection.
async fn serve(server: Ours) {
    let mut connection = Connection::new(server, Config::default(), Mode::Server);
    while let Some(stream) = poll_fn(|cx| connection.poll_next_inbound(cx)).await {
        let (reader, mut writer) = stream.unwrap().split();
        tokio::spawn(async move {
            copy(reader, &mut writer).await.unwrap();
            writer.close().await.unwrap();
        });
    }
}
