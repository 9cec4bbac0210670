//! Bytes per second through codecs of tokio-util, from client to server.
//!
//! A codec writes when it has 8 KiB, or when it is flushed. Only the last item is, and is
//! acknowledged.

use std::time::{Duration, Instant};

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use ends::{End, Variant, everywhere};
use futures_util::{SinkExt, StreamExt};
use tokio_util::{
    bytes::Bytes,
    codec::{Decoder, Encoder, Framed, LengthDelimitedCodec, LinesCodec},
};

criterion_group! {
    name = benches;
    config = ends::criterion();
    targets = lines, length_delimited
}
criterion_main!(benches);

fn lines(criterion: &mut Criterion) {
    let [plain, last] = [PLAIN, LAST].map(|byte| char::from(byte).to_string().repeat(ITEM_SIZE));
    measure(criterion, "lines", &Items { codec: LinesCodec::new(), plain, last });
}

fn length_delimited(criterion: &mut Criterion) {
    let [plain, last] = [PLAIN, LAST].map(|byte| Bytes::from(vec![byte; ITEM_SIZE]));
    measure(
        criterion,
        "length_delimited",
        &Items { codec: LengthDelimitedCodec::new(), plain, last },
    );
}

fn measure<C, I>(criterion: &mut Criterion, name: &str, items: &Items<C, I>)
where
    C: Decoder<Item: AsRef<[u8]> + Send, Error: Send> + Encoder<I> + Clone + Send + 'static,
    I: Clone + Send + Sync + 'static,
{
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Bytes(ITEM_SIZE as u64));
    for (transport, variant) in everywhere(&Variant::ALL) {
        group.bench_function(BenchmarkId::new(transport.to_string(), variant), |bencher| {
            let runtime = ends::runtime();
            let (client, server) = runtime.block_on(variant.open(transport));
            let mut client = Framed::new(client, items.codec.clone());
            let server = Framed::new(server, items.codec.clone());
            runtime.spawn(acknowledge(server, items.last.clone()));
            bencher.iter_custom(|count| {
                runtime.block_on(items.time(&mut client, count)).expect("the server listens")
            });
        });
    }
    group.finish();
}

/// What is sent, and how.
struct Items<C, I> {
    codec: C,
    plain: I,
    last: I,
}

impl<C: Decoder + Encoder<I>, I: Clone> Items<C, I> {
    async fn time(&self, client: &mut Framed<impl End, C>, count: u64) -> Option<Duration> {
        let begin = Instant::now();
        for _ in 1..count {
            client.feed(self.plain.clone()).await.ok()?;
        }
        client.send(self.last.clone()).await.ok()?;
        client.next().await?.ok()?;
        Some(begin.elapsed())
    }
}

/// Reads on and on, and sends the last item back, which nothing follows until then.
async fn acknowledge<C, I>(mut server: Framed<impl End, C>, last: I)
where
    C: Decoder<Item: AsRef<[u8]>> + Encoder<I>,
    I: Clone,
{
    while let Some(Ok(item)) = server.next().await {
        if item.as_ref()[0] == LAST && server.send(last.clone()).await.is_err() {
            return;
        }
    }
}

/// How long an item is, in bytes.
const ITEM_SIZE: usize = 64;

/// What all items but the last consist of.
const PLAIN: u8 = b'p';

/// What the last item consists of.
const LAST: u8 = b'l';
