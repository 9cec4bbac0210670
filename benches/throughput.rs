//! Bytes per second: by direction, by the size of a write, and by how it is flushed.
//!
//! What is timed is one write among many: the receiver acknowledges only the last.

use std::{
    io,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main, measurement::WallTime,
};
use ends::{End, Ends, Transport, Variant, everywhere};
use futures_util::{AsyncReadExt, AsyncWriteExt};

criterion_group! {
    name = benches;
    config = ends::criterion();
    targets = client_to_server, server_to_client, small_writes, huge_writes
}
criterion_main!(benches);

/// What a client sends is masked.
fn client_to_server(criterion: &mut Criterion) {
    by_size(criterion, "client_to_server", |(client, server)| (client, server));
}

fn server_to_client(criterion: &mut Criterion) {
    by_size(criterion, "server_to_client", |(client, server)| (server, client));
}

fn by_size(criterion: &mut Criterion, name: &str, direction: fn(Ends) -> Ends) {
    let mut group = group(criterion, name);
    for size in SIZES {
        for (transport, variant) in everywhere(&Variant::ALL) {
            let id = BenchmarkId::new(format!("{transport}/{variant}"), size);
            let load = Load { size, flush: Flush::Last };
            measure(&mut group, id, load, variant, transport, direction);
        }
    }
    group.finish();
}

fn small_writes(criterion: &mut Criterion) {
    let mut group = group(criterion, "small_writes");
    let [current, recommended, published] = Variant::ALL;
    let variants = [current, recommended, published, Variant::Handles, Variant::Collecting];
    for (flush, variants) in [(Flush::Each, &variants[..3]), (Flush::Last, &variants)] {
        for (transport, variant) in everywhere(variants) {
            let id = BenchmarkId::new(format!("{transport}/{variant}"), flush.name());
            measure(&mut group, id, Load { size: SMALL, flush }, variant, transport, |ends| ends);
        }
    }
    group.finish();
}

/// One `write_all` of very much, which is as fast for each byte as one of less.
fn huge_writes(criterion: &mut Criterion) {
    let mut group = group(criterion, "huge_writes");
    group.sample_size(10);
    for size in HUGE_SIZES {
        for (transport, variant) in everywhere(&Variant::ALL) {
            // the receiver refuses a message of more than that
            if variant == Variant::Published && size > PUBLISHED_LIMIT {
                continue;
            }
            let mebibytes = format!("{} MiB", size / 1024 / 1024);
            let id = BenchmarkId::new(format!("{transport}/{variant}"), mebibytes);
            let load = Load { size, flush: Flush::Each };
            measure(&mut group, id, load, variant, transport, |ends| ends);
        }
    }
    group.finish();
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    // one acknowledgement weighs the same in every sample
    group.sampling_mode(SamplingMode::Flat);
    group
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    load: Load,
    variant: Variant,
    transport: Transport,
    direction: fn(Ends) -> Ends,
) {
    group.throughput(Throughput::Bytes(load.size as u64));
    group.bench_function(id, |bencher| {
        let runtime = ends::runtime();
        let (mut sender, receiver) = direction(runtime.block_on(variant.open(transport)));
        runtime.spawn(acknowledge(receiver));
        bencher.iter_custom(|writes| {
            runtime.block_on(load.time(&mut sender, writes)).expect("the receiver listens")
        });
    });
}

/// What is sent.
#[derive(Clone, Copy)]
struct Load {
    /// How much one write is given, in bytes.
    size: usize,
    flush: Flush,
}

impl Load {
    async fn time(self, sender: &mut impl End, writes: u64) -> io::Result<Duration> {
        let mut data = vec![!LAST; self.size];
        let begin = Instant::now();
        for _ in 1..writes {
            sender.write_all(&data).await?;
            if let Flush::Each = self.flush {
                sender.flush().await?;
            }
        }
        data[self.size - 1] = LAST;
        sender.write_all(&data).await?;
        sender.flush().await?;
        sender.read_exact(&mut [0]).await?;
        Ok(begin.elapsed())
    }
}

/// Which writes are followed by a flush.
#[derive(Clone, Copy)]
enum Flush {
    Each,
    Last,
}

impl Flush {
    fn name(self) -> &'static str {
        match self {
            Self::Each => "each flushed",
            Self::Last => "last flushed",
        }
    }
}

/// Reads on and on, and answers each `LAST`, which nothing follows until then.
async fn acknowledge(mut receiver: impl End) -> io::Result<()> {
    let mut buf = vec![0; READ_SIZE];
    loop {
        let length = receiver.read(&mut buf).await?;
        if length == 0 {
            return Ok(());
        }
        if buf[length - 1] == LAST {
            receiver.write_all(&[LAST]).await?;
            receiver.flush().await?;
        }
    }
}

/// How much one write is given, in bytes.
const SIZES: [usize; 5] = [SMALL, 1024, 16 * 1024, 64 * 1024, 1024 * 1024];

/// A write that weighs little beside the message that it becomes, in bytes.
const SMALL: usize = 64;

/// What no message holds, in bytes.
const HUGE_SIZES: [usize; 4] = [1 << 20, 4 << 20, 16 << 20, 64 << 20];

/// The largest frame that is accepted by default, in bytes. The published crate sends larger ones.
const PUBLISHED_LIMIT: usize = 16 << 20;

/// How much the receiver asks for in one read, in bytes.
const READ_SIZE: usize = 64 * 1024;

/// The last byte of the last write. No other byte is the same.
const LAST: u8 = 1;
