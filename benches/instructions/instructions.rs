//! How many instructions the most frequent operations take, counted by callgrind.
//!
//! Each is done a thousand times: leave off three digits for one. Both ends of a connection are in
//! memory, and no runtime is involved.

mod ends;
mod memory;

use std::{
    hint::black_box,
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use futures_util::{AsyncRead, AsyncWrite};
use gungraun::{
    Callgrind, EventKind, LibraryBenchmarkConfig, OutputFormat, library_benchmark,
    library_benchmark_group, main,
};

use ends::{Crate, End, Role};
use memory::Memory;

main!(config = config(), library_benchmark_groups = operations);

library_benchmark_group!(name = operations, benchmarks = [current, recommended, tokio, published]);

#[library_benchmark]
#[bench::write_64(args = (Crate::Current, 64), setup = prepare_write)]
#[bench::write_16k(args = (Crate::Current, 16 * 1024), setup = prepare_write)]
#[bench::read_64(args = (Crate::Current, 64), setup = prepare_read)]
#[bench::read_16k(args = (Crate::Current, 16 * 1024), setup = prepare_read)]
#[bench::request_64(args = (Crate::Current, 64), setup = prepare_request)]
#[bench::collected_write_64(args = (Crate::Collecting, 64), setup = prepare_write)]
fn current(operation: Operation) -> Operation {
    black_box(repeat(operation))
}

#[library_benchmark]
#[bench::write_64(args = (Crate::Recommended, 64), setup = prepare_write)]
#[bench::write_16k(args = (Crate::Recommended, 16 * 1024), setup = prepare_write)]
#[bench::read_64(args = (Crate::Recommended, 64), setup = prepare_read)]
#[bench::read_16k(args = (Crate::Recommended, 16 * 1024), setup = prepare_read)]
#[bench::request_64(args = (Crate::Recommended, 64), setup = prepare_request)]
fn recommended(operation: Operation) -> Operation {
    black_box(repeat(operation))
}

#[library_benchmark]
#[bench::write_64(args = (Crate::Tokio, 64), setup = prepare_write)]
#[bench::write_16k(args = (Crate::Tokio, 16 * 1024), setup = prepare_write)]
#[bench::read_64(args = (Crate::Tokio, 64), setup = prepare_read)]
#[bench::read_16k(args = (Crate::Tokio, 16 * 1024), setup = prepare_read)]
#[bench::request_64(args = (Crate::Tokio, 64), setup = prepare_request)]
fn tokio(operation: Operation) -> Operation {
    black_box(repeat(operation))
}

#[library_benchmark]
#[bench::write_64(args = (Crate::Published, 64), setup = prepare_write)]
#[bench::write_16k(args = (Crate::Published, 16 * 1024), setup = prepare_write)]
#[bench::read_64(args = (Crate::Published, 64), setup = prepare_read)]
#[bench::read_16k(args = (Crate::Published, 16 * 1024), setup = prepare_read)]
#[bench::request_64(args = (Crate::Published, 64), setup = prepare_request)]
fn published(operation: Operation) -> Operation {
    black_box(repeat(operation))
}

/// What is repeated.
type Operation = Box<dyn FnMut()>;

fn repeat(mut operation: Operation) -> Operation {
    for _ in 0..REPETITIONS {
        operation();
    }
    operation
}

/// A client writes, and its transport takes everything.
fn prepare_write(which: Crate, size: usize) -> Operation {
    let mut client = which.open(Role::Client, Memory::default());
    let data = vec![1; size];
    warm_up(move || write(&mut client, &data))
}

/// A server reads what is in its transport already.
fn prepare_read(which: Crate, size: usize) -> Operation {
    let (client, server) = Memory::pair();
    let mut client = Crate::Current.open(Role::Client, client);
    for _ in 0..WARM_UP + REPETITIONS {
        write(&mut client, &vec![1; size]);
    }
    let mut server = which.open(Role::Server, server);
    let mut buf = vec![0; size];
    warm_up(move || read(&mut server, &mut buf))
}

/// A client sends to a server, and the server sends it back.
fn prepare_request(which: Crate, size: usize) -> Operation {
    let (client, server) = Memory::pair();
    let mut client = which.open(Role::Client, client);
    let mut server = which.open(Role::Server, server);
    let mut buf = vec![1; size];
    warm_up(move || {
        write(&mut client, &buf);
        flush(&mut client);
        read(&mut server, &mut buf);
        write(&mut server, &buf);
        flush(&mut server);
        read(&mut client, &mut buf);
    })
}

/// Buffers grow at first.
fn warm_up(mut operation: impl FnMut() + 'static) -> Operation {
    for _ in 0..WARM_UP {
        operation();
    }
    Box::new(operation)
}

fn write(end: &mut End, data: &[u8]) {
    let written = Pin::new(end).poll_write(&mut noop(), data);
    assert_eq!(ready(written), data.len());
}

fn flush(end: &mut End) {
    ready(Pin::new(end).poll_flush(&mut noop()));
}

fn read(end: &mut End, buf: &mut [u8]) {
    let length = buf.len();
    let read = Pin::new(end).poll_read(&mut noop(), buf);
    assert_eq!(ready(read), length);
}

fn noop() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn ready<T>(poll: Poll<io::Result<T>>) -> T {
    match poll {
        Poll::Ready(Ok(value)) => value,
        Poll::Ready(Err(error)) => panic!("the transport never fails: {error}"),
        Poll::Pending => panic!("the transport has and takes everything"),
    }
}

fn config() -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::with_args(["--cache-sim=no"]);
    callgrind.format([EventKind::Ir]);
    let mut config = LibraryBenchmarkConfig::default();
    let mut output = OutputFormat::default();
    output.truncate_description(Some(0));
    config.tool(callgrind).output_format(output).env("GLIBC_TUNABLES", NO_STRING_INSTRUCTIONS);
    config
}

/// How often each operation is done.
const REPETITIONS: usize = 1000;

/// How often it is done before.
const WARM_UP: usize = 100;

/// Callgrind takes a `rep movsb` of any length for one instruction: so the C library is to copy and
/// to fill memory with others.
const NO_STRING_INSTRUCTIONS: &str = "glibc.cpu.x86_rep_movsb_threshold=1000000000:\
     glibc.cpu.x86_rep_stosb_threshold=1000000000";
