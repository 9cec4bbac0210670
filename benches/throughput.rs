//! Bytes per second from client to server, by the size of a write.
//!
//! What is timed is one write among many: the client flushes and the server acknowledges only the
//! last.

mod ends;

use std::{
    io,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group,
    criterion_main, measurement::WallTime,
};
use current::{
    Writes, WsConfig,
    pharos::{Observable, ObserveConfig},
};
use futures_util::{AsyncReadExt, AsyncWriteExt};

use ends::{End, Transport};

criterion_group! {
    name = benches;
    config = ends::criterion();
    targets = throughput
}
criterion_main!(benches);

fn throughput(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("throughput");
    // one acknowledgement weighs the same in every sample
    group.sampling_mode(SamplingMode::Flat);
    for size in SIZES {
        let group = &mut group;
        send(group, "pipe/current", size, async { ends::current(ends::pipe()).await });
        send(group, "pipe/published", size, async { ends::published(ends::pipe()).await });
        send(group, "tcp/current", size, async { ends::current(ends::tcp().await).await });
        send(group, "tcp/published", size, async { ends::published(ends::tcp().await).await });
        if size == SMALL {
            send(group, "pipe/collected", size, async { collected(ends::pipe()).await });
            send(group, "pipe/handles", size, async { with_handles(ends::pipe()).await });
            send(group, "tcp/collected", size, async { collected(ends::tcp().await).await });
            send(group, "tcp/handles", size, async { with_handles(ends::tcp().await).await });
        }
    }
    group.finish();
}

/// Two ends at which many small writes become one message.
async fn collected<T: Transport>(transports: (T, T)) -> (impl End, impl End) {
    let config = WsConfig::new().writes(Writes::Collect(COLLECTED));
    ends::current_with(transports, &config).await
}

/// Two ends whose handles are held by others, who observe and wait for the end.
async fn with_handles<T: Transport>(transports: (T, T)) -> (impl End, impl End) {
    let (client, server) = ends::current(transports).await;
    for mut meta in [client.meta(), server.meta()] {
        tokio::spawn(async move {
            let events = meta.observe(ObserveConfig::default()).await;
            (meta.closed().await, events)
        });
    }
    (client, server)
}

fn send<C: End, S: End>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    size: usize,
    ends: impl Future<Output = (C, S)>,
) {
    let runtime = ends::runtime();
    let (mut client, server) = runtime.block_on(ends);
    runtime.spawn(acknowledge(server));
    group.throughput(Throughput::Bytes(size as u64));
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter_custom(|writes| {
            runtime.block_on(time_writes(&mut client, size, writes)).expect("the server listens")
        });
    });
}

async fn time_writes(client: &mut impl End, size: usize, writes: u64) -> io::Result<Duration> {
    let plain = vec![0; size];
    let mut last = plain.clone();
    last[size - 1] = LAST;
    let begin = Instant::now();
    for _ in 1..writes {
        client.write_all(&plain).await?;
    }
    client.write_all(&last).await?;
    client.flush().await?;
    client.read_exact(&mut [0]).await?;
    Ok(begin.elapsed())
}

/// Reads on and on, and answers each `LAST`, which nothing follows until then.
async fn acknowledge(mut server: impl End) -> io::Result<()> {
    let mut buf = vec![0; READ_SIZE];
    loop {
        let length = server.read(&mut buf).await?;
        if length == 0 {
            return Ok(());
        }
        if buf[length - 1] == LAST {
            server.write_all(&[LAST]).await?;
            server.flush().await?;
        }
    }
}

/// How much one write gives to the client, in bytes.
const SIZES: [usize; 5] = [SMALL, 1024, 16 * 1024, 64 * 1024, 1024 * 1024];

/// A write that weighs little beside the message that it becomes, in bytes.
const SMALL: usize = 64;

/// How much a client collects for one message, in bytes.
const COLLECTED: usize = 8 * 1024;

/// How much the server asks for in one read, in bytes.
const READ_SIZE: usize = 64 * 1024;

/// The last byte of the last write. All others are zero.
const LAST: u8 = 1;
