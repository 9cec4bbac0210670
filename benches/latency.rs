//! The time from a request to the end of its response, by their size.

use std::{
    io,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkGroup, BenchmarkId, Criterion, criterion_group, criterion_main, measurement::WallTime,
};
use ends::{End, Transport, Variant, everywhere};
use futures_util::{AsyncReadExt, AsyncWriteExt};

criterion_group! {
    name = benches;
    config = ends::criterion();
    targets = latency
}
criterion_main!(benches);

fn latency(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("latency");
    for size in SIZES {
        for (transport, variant) in everywhere(&Variant::ALL) {
            measure(&mut group, size, transport, variant);
        }
    }
    group.finish();
}

fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    size: usize,
    transport: Transport,
    variant: Variant,
) {
    let id = BenchmarkId::new(format!("{transport}/{variant}"), size);
    group.bench_function(id, |bencher| {
        let runtime = ends::runtime();
        let (mut client, server) = runtime.block_on(variant.open(transport));
        runtime.spawn(respond(server, size));
        bencher.iter_custom(|requests| {
            runtime
                .block_on(time_requests(&mut client, size, requests))
                .expect("the server responds")
        });
    });
}

async fn time_requests(client: &mut impl End, size: usize, requests: u64) -> io::Result<Duration> {
    let mut buf = vec![0; size];
    let begin = Instant::now();
    for _ in 0..requests {
        client.write_all(&buf).await?;
        client.flush().await?;
        client.read_exact(&mut buf).await?;
    }
    Ok(begin.elapsed())
}

/// Sends every request back.
async fn respond(mut server: impl End, size: usize) -> io::Result<()> {
    let mut buf = vec![0; size];
    loop {
        server.read_exact(&mut buf).await?;
        server.write_all(&buf).await?;
        server.flush().await?;
    }
}

/// How large a request is, and its response, in bytes.
const SIZES: [usize; 2] = [64, 4 * 1024];
