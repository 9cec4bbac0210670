//! Remote procedure calls: tarpc, in frames with a length.

use std::time::Instant;

use futures::{StreamExt, future::join_all};
use real_peers::{PATIENCE, assert_same, noise};
use tarpc::{
    client,
    context::Context,
    serde_transport,
    server::{BaseChannel, Channel},
    tokio_serde::formats::Bincode,
    tokio_util::codec::LengthDelimitedCodec,
};

use crate::support::{KIB, Ours, with_each_way_to_write};

#[tokio::test(flavor = "multi_thread")]
async fn tarpc_carries_calls_side_by_side() {
    let what = "64 calls at the same time, with 256 KiB each";
    with_each_way_to_write("tarpc", what, async |client, server| {
        let server = tokio::spawn(serve(server));
        let sum = call(client).await;
        server.await.unwrap();
        sum
    })
    .await;
}

#[tarpc::service]
trait Echo {
    async fn echo(data: Vec<u8>) -> Vec<u8>;
}

#[derive(Clone)]
struct Echoes;

impl Echo for Echoes {
    async fn echo(self, _: Context, data: Vec<u8>) -> Vec<u8> {
        data
    }
}

async fn serve(server: Ours) {
    let framed = LengthDelimitedCodec::builder().new_framed(server);
    let transport = serde_transport::new(framed, Bincode::default());
    let calls = BaseChannel::with_defaults(transport).execute(Echoes.serve());
    calls.for_each(async |call| drop(tokio::spawn(call))).await;
}

async fn call(client: Ours) -> usize {
    let framed = LengthDelimitedCodec::builder().new_framed(client);
    let transport = serde_transport::new(framed, Bincode::default());
    let client = EchoClient::new(client::Config::default(), transport).spawn();
    let mut context = Context::current();
    context.deadline = Instant::now() + 4 * PATIENCE;

    let calls = (0..64).map(async |seed| {
        let data = noise(seed, 256 * KIB);
        let answer = client.echo(context, data.clone()).await.unwrap();
        assert_same(&answer, &data);
        answer.len()
    });
    join_all(calls).await.iter().sum()
}
