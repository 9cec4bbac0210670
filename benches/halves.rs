//! Bytes per second through a client that writes in one task and reads in another what the server
//! sends back.

use std::{
    io,
    time::{Duration, Instant},
};

use criterion::{
    BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use ends::{End, Variant, everywhere};
use futures_util::{
    AsyncReadExt, AsyncWriteExt,
    io::{ReadHalf, WriteHalf},
};
use tokio::sync::mpsc;

criterion_group! {
    name = benches;
    config = ends::criterion();
    targets = halves
}
criterion_main!(benches);

fn halves(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("halves");
    // filling the connection weighs the same in every sample
    group.sampling_mode(SamplingMode::Flat);
    group.throughput(Throughput::Bytes(SIZE as u64));
    for (transport, variant) in everywhere(&Variant::ALL) {
        group.bench_function(BenchmarkId::new(transport.to_string(), variant), |bencher| {
            let runtime = ends::runtime();
            let (client, server) = runtime.block_on(variant.open(transport));
            let (mut reader, writer) = client.split();
            let (order, orders) = mpsc::unbounded_channel();
            runtime.spawn(write(writer, orders));
            runtime.spawn(echo(server));
            bencher.iter_custom(|writes| {
                order.send(writes).expect("the writer runs");
                runtime.block_on(time_reads(&mut reader, writes)).expect("the server answers")
            });
        });
    }
    group.finish();
}

/// Writes as often as it is told to.
async fn write(
    mut writer: WriteHalf<impl End>,
    mut orders: mpsc::UnboundedReceiver<u64>,
) -> io::Result<()> {
    while let Some(writes) = orders.recv().await {
        for _ in 0..writes {
            writer.write_all(&[0; SIZE]).await?;
        }
        writer.flush().await?;
    }
    Ok(())
}

async fn time_reads(reader: &mut ReadHalf<impl End>, reads: u64) -> io::Result<Duration> {
    let mut buf = vec![0; SIZE];
    let begin = Instant::now();
    for _ in 0..reads {
        reader.read_exact(&mut buf).await?;
    }
    Ok(begin.elapsed())
}

/// Sends back what it reads, until there is no more.
async fn echo(mut server: impl End) -> io::Result<()> {
    let mut buf = vec![0; SIZE];
    loop {
        let length = server.read(&mut buf).await?;
        if length == 0 {
            return Ok(());
        }
        server.write_all(&buf[..length]).await?;
        server.flush().await?; // the published crate needs it
    }
}

/// How much one write is given, in bytes.
const SIZE: usize = 16 * 1024;
