//! What is done with two ends in one run, and what it costs.
//!
//! Each workload takes the ends and gives them back, with the processor time that was spent between
//! the first write and the arrival of the last byte or of its acknowledgement.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinHandle;
use tokio_util::codec::Framed;

use crate::{
    codecs::Codec,
    ends::{ByteStream, End, Reader, Writer, ended},
};

/// The ends, and what the run cost; or why it failed.
pub type Ran<E> = Result<(E, Duration), String>;

/// One run.
#[derive(Clone)]
pub struct Job {
    /// What one operation sends.
    pub data: Bytes,
    pub operations: usize,
    /// Whether the receiver looks at the bytes, or only counts them.
    pub check: bool,
}

/// When a sender flushes and waits for the acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Flushes at the end, and waits there.
    Streaming,
    /// Flushes after each write, and waits at the end.
    Flushing,
    /// Flushes after each write, and waits there.
    Waiting,
}

/// Bytes in one direction.
pub async fn one_way<E: End>((sender, receiver): (E, E), job: Job, pace: Pace) -> Ran<(E, E)> {
    let receiving = tokio::spawn(receive_and_acknowledge(receiver, job.clone(), pace));
    let begin = processor_time();
    let sent = send(sender, &job, pace).await;
    let cost = processor_time().saturating_sub(begin);
    Ok((both(sent, receiving).await?, cost))
}

async fn send<E: End>(mut sender: E, job: &Job, pace: Pace) -> io::Result<E> {
    for _ in 0..job.operations {
        sender.write(&job.data).await?;
        if pace != Pace::Streaming {
            sender.flush().await?;
        }
        if pace == Pace::Waiting {
            receive(&mut sender, 1, None).await?;
        }
    }
    if pace == Pace::Streaming {
        sender.flush().await?;
    }
    if pace != Pace::Waiting {
        receive(&mut sender, 1, None).await?;
    }
    Ok(sender)
}

async fn receive_and_acknowledge<E: End>(mut receiver: E, job: Job, pace: Pace) -> io::Result<E> {
    let (batches, batch) = match pace {
        Pace::Waiting => (job.operations, 1),
        Pace::Streaming | Pace::Flushing => (1, job.operations),
    };
    for _ in 0..batches {
        receive(&mut receiver, batch * job.data.len(), job.expected()).await?;
        receiver.write(&[ACKNOWLEDGEMENT]).await?;
        receiver.flush().await?;
    }
    Ok(receiver)
}

/// Requests, each of which waits for its response.
pub async fn exchange<E: End>((client, server): (E, E), job: Job) -> Ran<(E, E)> {
    let responding = tokio::spawn(echo(server, job.total()));
    let begin = processor_time();
    let answered = request(client, &job).await;
    let cost = processor_time().saturating_sub(begin);
    Ok((both(answered, responding).await?, cost))
}

async fn request<E: End>(mut client: E, job: &Job) -> io::Result<E> {
    for _ in 0..job.operations {
        client.write(&job.data).await?;
        client.flush().await?;
        receive(&mut client, job.data.len(), job.expected()).await?;
    }
    Ok(client)
}

/// Bytes to the server and back, written and read by two tasks of the client.
pub async fn duplex<W: Writer, R: Reader, E: End>(
    (mut writer, mut reader, server): (W, R, E),
    job: Job,
) -> Ran<(W, R, E)> {
    let echoing = tokio::spawn(echo(server, job.total()));
    let Job { data, operations, .. } = job.clone();
    let begin = processor_time();
    let writing = tokio::spawn(async move {
        for _ in 0..operations {
            writer.write(&data).await?;
        }
        writer.flush().await?;
        Ok(writer)
    });
    let received = receive(&mut reader, job.total(), job.expected()).await;
    let cost = processor_time().saturating_sub(begin);
    let (reader, writer) = both(received.map(|()| reader), writing).await?;
    let server = joined(echoing).await.map_err(|error| error.to_string())?;
    Ok(((writer, reader, server), cost))
}

async fn echo<E: End>(mut end: E, total: usize) -> io::Result<E> {
    let mut echoed = 0;
    while echoed < total {
        echoed += end.echo().await?;
    }
    Ok(end)
}

/// Items of a codec in one direction, flushed at the end.
pub async fn items<S: ByteStream, C: Codec>(
    (sender, receiver): (Framed<S, C>, Framed<S, C>),
    job: Job,
) -> Ran<(Framed<S, C>, Framed<S, C>)> {
    let receiving = tokio::spawn(receive_items(receiver, job.clone()));
    let begin = processor_time();
    let sent = send_items(sender, &job).await;
    let cost = processor_time().saturating_sub(begin);
    Ok((both(sent, receiving).await?, cost))
}

async fn send_items<S: ByteStream, C: Codec>(
    mut sender: Framed<S, C>,
    job: &Job,
) -> io::Result<Framed<S, C>> {
    let item = C::item(&job.data);
    for _ in 0..job.operations {
        sender.feed(item.clone()).await?;
    }
    SinkExt::<C::Sent>::flush(&mut sender).await?;
    match sender.next().await {
        Some(acknowledgement) => acknowledgement.map(|_| sender),
        None => Err(ended()),
    }
}

async fn receive_items<S: ByteStream, C: Codec>(
    mut receiver: Framed<S, C>,
    job: Job,
) -> io::Result<Framed<S, C>> {
    for _ in 0..job.operations {
        let item = receiver.next().await.ok_or_else(ended)??;
        if job.check && C::bytes(&item) != job.data {
            return Err(io::Error::other("an item differs from what was sent"));
        }
    }
    receiver.send(C::item(&Bytes::from_static(&[ACKNOWLEDGEMENT]))).await?;
    Ok(receiver)
}

/// Waits for `total` bytes and not one more.
async fn receive(
    reader: &mut impl Reader,
    total: usize,
    expected: Option<&[u8]>,
) -> io::Result<()> {
    let mut received = 0;
    while received < total {
        let bytes = reader.receive().await?;
        if let Some(data) = expected {
            compare(bytes, data, received)?;
        }
        received += bytes.len();
    }
    if received > total {
        return Err(io::Error::other("received more than was sent"));
    }
    Ok(())
}

/// Fails unless `bytes` stand at `position` in a repetition of `data`.
fn compare(mut bytes: &[u8], data: &[u8], mut position: usize) -> io::Result<()> {
    while !bytes.is_empty() {
        let rest = &data[position % data.len()..];
        let length = rest.len().min(bytes.len());
        if bytes[..length] != rest[..length] {
            return Err(io::Error::other("received something else than was sent"));
        }
        bytes = &bytes[length..];
        position += length;
    }
    Ok(())
}

impl Job {
    fn total(&self) -> usize {
        self.operations * self.data.len()
    }

    fn expected(&self) -> Option<&[u8]> {
        self.check.then_some(&self.data)
    }
}

/// What both tasks gave back. Where this one failed, the other is heard first: it may know why.
async fn both<A, B>(
    this: io::Result<A>,
    other: JoinHandle<io::Result<B>>,
) -> Result<(A, B), String> {
    match this {
        Ok(this) => Ok((this, joined(other).await.map_err(|error| error.to_string())?)),
        Err(error) => Err(match joined(other).await {
            Ok(_) => error.to_string(),
            Err(cause) => format!("{cause}; at the other end: {error}"),
        }),
    }
}

async fn joined<B>(task: JoinHandle<io::Result<B>>) -> io::Result<B> {
    task.await.map_err(io::Error::other)?
}

/// The processor time of this process, user and system.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// What is sent when everything has arrived.
const ACKNOWLEDGEMENT: u8 = b'!';
