//! However the transport behaves and whatever the sizes are, the bytes are the same, and no
//! wake-up is lost.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt,
    channel::oneshot,
    future::{BoxFuture, FutureExt},
};
use pharos::{Events, Observable, ObserveConfig};
use proptest::{collection::vec, prelude::*};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{
    TextMessages, UncleanEnd, Writes, WsConfig, WsEvent, WsMeta, WsState, pharos, tungstenite,
};

use crate::{
    backend::{WsStream, websocket},
    support::{
        BINARY, CLOSE, Peer, Random, Sent, Step, TEXT, Task, Wire, connect_with, frame, now,
        observe, pattern, read_all, socket, told,
    },
};

/// One direction of a transport.
#[derive(Debug, Default)]
struct Pipe {
    data: VecDeque<u8>,
    capacity: usize,
    ended: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// One end of a transport that is short and `Pending` at random.
struct Flaky {
    incoming: Arc<Mutex<Pipe>>,
    outgoing: Arc<Mutex<Pipe>>,
    random: Random,
}

fn transport(capacity: usize, seed: u64) -> (Flaky, Flaky) {
    let pipe = || Arc::new(Mutex::new(Pipe { capacity, ..Pipe::default() }));
    let (up, down) = (pipe(), pipe());
    let end = |incoming: &Arc<_>, outgoing: &Arc<_>, seed| Flaky {
        incoming: Arc::clone(incoming),
        outgoing: Arc::clone(outgoing),
        random: Random::new(seed),
    };
    (end(&down, &up, seed), end(&up, &down, seed.rotate_left(32)))
}

impl Flaky {
    fn hesitates(&mut self, cx: &mut Context<'_>) -> bool {
        let hesitates = self.random.one_in(4);
        if hesitates {
            cx.waker().wake_by_ref();
        }
        hesitates
    }
}

fn lock(pipe: &Mutex<Pipe>) -> MutexGuard<'_, Pipe> {
    pipe.lock().unwrap()
}

impl AsyncRead for Flaky {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.hesitates(cx) {
            return Poll::Pending;
        }
        let available = lock(&self.incoming).data.len().min(buf.len());
        let length = if available == 0 { 0 } else { 1 + self.random.below(available) };
        let mut pipe = lock(&self.incoming);
        if length == 0 && !pipe.ended {
            pipe.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        for (to, from) in buf.iter_mut().zip(pipe.data.drain(..length)) {
            *to = from;
        }
        if let Some(writer) = pipe.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(length))
    }
}

impl AsyncWrite for Flaky {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.hesitates(cx) {
            return Poll::Pending;
        }
        let room = {
            let pipe = lock(&self.outgoing);
            pipe.capacity - pipe.data.len()
        };
        if room == 0 {
            lock(&self.outgoing).writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = 1 + self.random.below(room.min(buf.len()));
        let mut pipe = lock(&self.outgoing);
        pipe.data.extend(&buf[..length]);
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(length))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hesitates(cx) { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hesitates(cx) {
            return Poll::Pending;
        }
        let mut pipe = lock(&self.outgoing);
        pipe.ended = true;
        if let Some(reader) = pipe.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(()))
    }
}

/// Runs tasks side by side; panics when all that are left sleep.
fn run_tasks(futures: Vec<BoxFuture<'static, ()>>) {
    let mut tasks: Vec<_> = futures.into_iter().map(Task::new).collect();
    while !tasks.is_empty() {
        let is_any_woken = tasks.iter().any(Task::is_woken);
        assert!(is_any_woken, "{} tasks sleep, and nobody will wake them", tasks.len());
        tasks.iter_mut().for_each(Task::poll_if_woken);
        tasks.retain(|task| !task.is_done());
    }
}

#[derive(Debug, Clone)]
struct Plan {
    /// Each write with its length and whether a flush follows.
    writes: Vec<(usize, bool)>,
    /// The sizes of the buffers that are read into, in turn.
    reads: Vec<usize>,
    vectored: bool,
    /// Whether all that was written is flushed before closing. It has to arrive without that too.
    flushes: bool,
    /// How many pings a handle sends, one after the other.
    pings: u8,
    /// Whether a handle closes.
    closes_from_outside: bool,
    config: WsConfig,
}

fn plan() -> impl Strategy<Value = Plan> {
    let length = prop_oneof![4 => 0..300_usize, 1 => 0..100_000_usize];
    let writes = vec((length, any::<bool>()), 0..12);
    let sizes = vec(1..5000_usize, 1..5);
    (writes, sizes, any::<[bool; 3]>(), 0..5_u8, stream_config()).prop_map(
        |(writes, reads, [vectored, flushes, closes_from_outside], pings, config)| Plan {
            writes,
            reads,
            vectored,
            flushes,
            pings,
            closes_from_outside,
            config,
        },
    )
}

fn stream_config() -> impl Strategy<Value = WsConfig> {
    let writes = prop_oneof![Just(Writes::AtOnce), (1..20_000_usize).prop_map(Writes::Collect)];
    let max_message = prop_oneof![Just(64 * 1024), 1..2000_usize, Just(300_000)];
    let unclean_end = prop_oneof![Just(UncleanEnd::EndOfFile), Just(UncleanEnd::Error)];
    (writes, max_message, unclean_end).prop_map(|(writes, max_message, unclean_end)| {
        WsConfig::new().writes(writes).max_message(max_message).unclean_end(unclean_end)
    })
}

fn config() -> impl Strategy<Value = WebSocketConfig> {
    let room = prop_oneof![Just(usize::MAX), 8..200_usize, 1000..100_000_usize];
    // a close code has to pass in one frame
    let limit = |least| prop_oneof![Just(None), (least..2000_usize).prop_map(Some)];
    let read_buffer = prop_oneof![Just(128 * 1024), 0..5000_usize];
    (room, limit(1), limit(2), read_buffer).prop_map(|(room, message, frame, read_buffer)| {
        // what one end sends has to be what the other end takes
        let both = WebSocketConfig::default().max_message_size(message).max_frame_size(frame);
        let write_buffer = both.write_buffer_size.min(room - 1);
        both.read_buffer_size(read_buffer)
            .write_buffer_size(write_buffer)
            .max_write_buffer_size(room)
    })
}

fn payload(plan: &Plan, seed: usize) -> Vec<u8> {
    let length = plan.writes.iter().map(|(length, _)| length).sum();
    pattern(seed, length)
}

/// Writes, then closes once this end has read everything: closing ends both directions.
async fn write_plan(
    mut half: impl AsyncWrite + Unpin,
    meta: WsMeta,
    plan: Plan,
    seed: usize,
    has_read: oneshot::Receiver<()>,
) {
    let payload = payload(&plan, seed);
    let mut left = &payload[..];
    for (length, flush) in plan.writes {
        let (now, later) = left.split_at(length);
        if plan.vectored {
            write_all_vectored(&mut half, now).await;
        } else {
            half.write_all(now).await.unwrap();
        }
        if flush {
            half.flush().await.unwrap();
        }
        left = later;
    }
    if plan.flushes {
        half.flush().await.unwrap();
    }
    has_read.await.unwrap();
    if plan.closes_from_outside {
        assert!(meta.close(1000, "").await.unwrap().was_clean);
    } else {
        half.close().await.unwrap();
    }
}

/// Sends pings, each when the one before it was answered, until there are no more events.
async fn ping_plan(meta: WsMeta, plan: Plan, mut events: Events<WsEvent>) {
    let mut pongs = 0;
    let _ = meta.ping(&[0]);
    while let Some(event) = events.next().await {
        if let WsEvent::Pong(payload) = event {
            assert_eq!(payload[..], [pongs]);
            pongs += 1;
            let _ = if pongs < plan.pings { meta.ping(&[pongs]) } else { Ok(()) };
        }
    }
    assert_eq!(meta.counters().pongs_received, u64::from(pongs));
}

async fn write_all_vectored(half: &mut (impl AsyncWrite + Unpin), mut data: &[u8]) {
    while !data.is_empty() {
        let (one, two) = data.split_at(data.len() / 3);
        let bufs = [io::IoSlice::new(one), io::IoSlice::new(two)];
        let length = half.write_vectored(&bufs).await.unwrap();
        assert!(length > 0);
        data = &data[length..];
    }
}

async fn read_plan(
    mut half: impl AsyncRead + Unpin,
    plan: Plan,
    expected: Vec<u8>,
    has_read: oneshot::Sender<()>,
) {
    let mut data = Vec::new();
    let mut sizes = plan.reads.iter().cycle();
    while data.len() < expected.len() {
        let mut buf = vec![0; *sizes.next().unwrap()];
        let length = half.read(&mut buf).await.unwrap();
        assert!(length > 0, "{} bytes came of {}", data.len(), expected.len());
        data.extend_from_slice(&buf[..length]);
    }
    assert!(data == expected);
    has_read.send(()).unwrap();
    assert_eq!(half.read(&mut [0; 8]).await.unwrap(), 0);
}

/// The four tasks of a conversation: both ends write their plan, close, and read to the end.
fn converse<R, W>(
    ends: (Flaky, Flaky),
    config: WebSocketConfig,
    plans: (Plan, Plan),
    split: impl Fn(WsStream<Flaky>) -> (R, W),
) where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let end = |transport, role, plan: &Plan| {
        let socket = now(websocket(transport, role, Some(config)));
        WsStream::with_config(socket, plan.config.clone())
    };
    let mut client = end(ends.0, Role::Client, &plans.0);
    let mut server = end(ends.1, Role::Server, &plans.1);
    let (client_meta, server_meta) = (client.meta(), server.meta());
    let pings = [(client_meta.clone(), &plans.0), (server_meta.clone(), &plans.1)];
    let pings = pings.map(|(mut meta, plan)| {
        let events = now(meta.observe(ObserveConfig::default())).unwrap();
        ping_plan(meta, plan.clone(), events).boxed()
    });
    let (mut client_events, mut server_events) = (observe(&mut client), observe(&mut server));
    let (client_read, client_write) = split(client);
    let (server_read, server_write) = split(server);
    let (up, down) = (payload(&plans.0, 1), payload(&plans.1, 2));
    let (client_has_read, client_may_close) = oneshot::channel();
    let (server_has_read, server_may_close) = oneshot::channel();
    let mut tasks = vec![
        write_plan(client_write, client_meta, plans.0.clone(), 1, client_may_close).boxed(),
        write_plan(server_write, server_meta, plans.1.clone(), 2, server_may_close).boxed(),
        read_plan(client_read, plans.0, down, client_has_read).boxed(),
        read_plan(server_read, plans.1, up, server_has_read).boxed(),
    ];
    tasks.extend(pings);
    run_tasks(tasks);
    for events in [&mut client_events, &mut server_events] {
        let mut told = told(events);
        told.retain(|event| !event.starts_with('p'));
        assert!(told[0].starts_with("close"), "{told:?}");
        assert_eq!(told[1..], ["closed"]);
    }
}

/// Messages of a peer: whether it is text, and its payload, which is valid UTF-8.
fn messages() -> impl Strategy<Value = Vec<(bool, String)>> {
    vec((any::<bool>(), "\\PC{0,40}"), 0..8)
}

/// A connected stream whose peer sends `bytes`, cut in pieces of these sizes, and ends.
fn play(role: Role, config: WsConfig, bytes: &[u8], pieces: &[usize]) -> (WsStream<Wire>, Peer) {
    let (ws, peer) = connect_with(role, config);
    let mut pieces = pieces.iter().cycle();
    let mut left = bytes;
    while !left.is_empty() {
        let (piece, rest) = left.split_at((*pieces.next().unwrap()).min(left.len()));
        peer.raw(piece.to_vec());
        left = rest;
    }
    peer.end();
    (ws, peer)
}

fn assert_text_is_passed_or_refused(
    role: Role,
    text: TextMessages,
    messages: &[(bool, String)],
    pieces: &[usize],
) {
    let opcode = |is_text| if is_text { TEXT } else { BINARY };
    let mut frames: Vec<_> = messages
        .iter()
        .map(|(is_text, payload)| frame(role, true, opcode(*is_text), payload.as_bytes()))
        .collect();
    frames.push(frame(role, true, CLOSE, &[]));
    let (mut ws, peer) = play(role, WsConfig::new().text_messages(text), &frames.concat(), pieces);
    let mut events = observe(&mut ws);
    let is_delivered = |(is_text, _): &&(bool, String)| text == TextMessages::PassBytes || !is_text;
    let delivered: Vec<_> = messages.iter().take_while(is_delivered).collect();
    let expected: String = delivered.iter().map(|(_, payload)| payload.as_str()).collect();
    let (data, result) = read_all(&mut ws);
    assert!(result.is_ok());
    assert_eq!(String::from_utf8(data).unwrap(), expected);
    if delivered.len() == messages.len() {
        assert_eq!(told(&mut events), ["close", "closed"]);
        assert_eq!(peer.sent_closes(), [(None, String::new())]);
    } else {
        assert_eq!(told(&mut events), ["error: ReceivedText", "close", "closed"]);
        assert_eq!(peer.sent_closes()[0].0, Some(1003));
    }
}

/// The peer's messages and its close frame, cut off anywhere.
fn assert_a_cut_is_told(
    role: Role,
    unclean_end: UncleanEnd,
    messages: &[(bool, String)],
    cut: prop::sample::Index,
    pieces: &[usize],
) {
    let payloads = || messages.iter().map(|(_, payload)| payload.as_bytes());
    let mut frames: Vec<_> = payloads().map(|payload| frame(role, true, BINARY, payload)).collect();
    frames.push(frame(role, true, CLOSE, &[]));
    let bytes = frames.concat();
    let cut = cut.index(bytes.len() + 1);
    let ends: Vec<_> = frames
        .iter()
        .scan(0, |end, frame| {
            *end += frame.len();
            Some(*end)
        })
        .collect();
    let whole = ends.iter().filter(|end| **end <= cut).count();
    let config = WsConfig::new().unclean_end(unclean_end);
    let (mut ws, _peer) = play(role, config, &bytes[..cut], pieces);
    let (data, result) = read_all(&mut ws);
    assert_eq!(data, payloads().take(whole).collect::<Vec<_>>().concat());
    let is_closed = cut == bytes.len();
    match result {
        Ok(()) => assert!(is_closed || unclean_end == UncleanEnd::EndOfFile),
        Err(error) => {
            assert!(!is_closed && unclean_end == UncleanEnd::Error);
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
    }
    assert_eq!(now(ws.meta().closed()).was_clean, is_closed);
}

/// What the peer sends: frames, broken frames, noise.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let payload = || vec(any::<u8>(), 0..140);
    let frame = (any::<u8>(), any::<bool>(), payload()).prop_map(|(first, masked, payload)| {
        let receiver = if masked { Role::Server } else { Role::Client };
        let mut frame = crate::support::frame(receiver, true, 0, &payload);
        // mostly valid
        frame[0] = [0x82, 0x02, 0x00, 0x80, 0x89, 0x8A, 0x81, 0x88, first][usize::from(first % 9)];
        frame
    });
    vec(prop_oneof![6 => frame, 1 => payload()], 0..12).prop_map(|frames| frames.concat())
}

#[derive(Debug, Clone)]
enum Operation {
    Read(usize),
    Write(usize),
    Flush,
    Close,
    Observe,
    Ping,
    CloseFromOutside,
    Allow(usize),
    Feed(Vec<u8>),
    End,
    Fail,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0..200_usize).prop_map(Operation::Read),
        4 => (0..200_usize).prop_map(Operation::Write),
        2 => Just(Operation::Flush),
        1 => Just(Operation::Close),
        1 => Just(Operation::Observe),
        2 => Just(Operation::Ping),
        1 => Just(Operation::CloseFromOutside),
        2 => prop_oneof![0..300_usize, Just(usize::MAX)].prop_map(Operation::Allow),
        8 => noise().prop_map(Operation::Feed),
        1 => Just(Operation::End),
        1 => Just(Operation::Fail),
    ]
}

fn role(client: bool) -> Role {
    if client { Role::Client } else { Role::Server }
}

fn assert_hostile_peer_is_harmless(
    role: Role,
    config: WebSocketConfig,
    stream_config: WsConfig,
    program: Vec<Operation>,
) {
    // without a limit, tungstenite reserves whatever length a frame header announces
    let frame_limit = config.max_frame_size.unwrap_or(100_000);
    let config = config.max_frame_size(Some(frame_limit));
    let (socket, peer) = socket(role, Some(config));
    let mut ws = WsStream::with_config(socket, stream_config);
    let meta = ws.meta();
    let mut events = observe(&mut ws);
    let mut later_events = Vec::new();
    for operation in program {
        match operation {
            Operation::Read(size) => drop(ws.read(&mut vec![0; size]).now_or_never()),
            Operation::Write(size) => drop(ws.write(&vec![7; size]).now_or_never()),
            Operation::Flush => drop(ws.flush().now_or_never()),
            Operation::Close => drop(ws.close().now_or_never()),
            Operation::Observe => later_events.push(now(pharos::Observable::observe(
                &mut ws,
                pharos::Channel::Bounded(1).into(),
            ))),
            Operation::Ping => drop(meta.ping(b"ping")),
            Operation::CloseFromOutside => drop(meta.close(4000, "").now_or_never()),
            Operation::Allow(room) => peer.allow(room),
            Operation::Feed(bytes) => peer.raw(bytes),
            Operation::End => peer.end(),
            Operation::Fail => peer.steps([Step::Error(io::ErrorKind::ConnectionReset)]),
        }
    }
    later_events.clear(); // nobody may hold up the end
    peer.unblock();
    peer.end();
    let mut polls = 0;
    while ws.read(&mut [0; 1024]).now_or_never().is_none_or(|read| !matches!(read, Ok(0))) {
        polls += 1;
        assert!(polls < 10_000, "reading ends");
    }
    let told = told(&mut events);
    assert_eq!(told.iter().filter(|event| *event == "closed").count(), 1);
    assert_eq!(told.last().unwrap(), "closed");
    assert_eq!(meta.ready_state(), WsState::Closed);
    now(meta.closed());
    let sent: Vec<Sent> = peer.sent(); // checks the frames
    assert!(sent.iter().filter(|frame| frame.opcode == 0x8).count() <= 1);
    assert!(sent.iter().skip_while(|frame| frame.opcode != 0x8).count() <= 1, "close is last");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn bytes_arrive_once_and_in_order(
        capacity in 1..20_000_usize,
        seed: u64,
        config in config(),
        plans in (plan(), plan()),
    ) {
        converse(transport(capacity, seed), config, plans, futures::AsyncReadExt::split);
    }

    #[test]
    #[cfg(feature = "tokio_io")]
    fn bytes_arrive_once_and_in_order_through_the_tokio_traits(
        capacity in 1..20_000_usize,
        seed: u64,
        config in config(),
        plans in (plan(), plan()),
    ) {
        use tokio_util::compat::{TokioAsyncReadCompatExt, TokioAsyncWriteCompatExt};
        converse(transport(capacity, seed), config, plans, |ws| {
            let (read, write) = tokio::io::split(ws);
            (read.compat(), write.compat_write())
        });
    }

    #[test]
    fn text_is_passed_or_refused_as_chosen(
        client: bool,
        passes: bool,
        messages in messages(),
        pieces in vec(1..60_usize, 1..5),
    ) {
        let text = if passes { TextMessages::PassBytes } else { TextMessages::Refuse };
        assert_text_is_passed_or_refused(role(client), text, &messages, &pieces);
    }

    #[test]
    fn a_stream_that_is_cut_off_anywhere_is_told_as_chosen(
        client: bool,
        fails: bool,
        messages in messages(),
        cut: prop::sample::Index,
        pieces in vec(1..60_usize, 1..5),
    ) {
        let unclean_end = if fails { UncleanEnd::Error } else { UncleanEnd::EndOfFile };
        assert_a_cut_is_told(role(client), unclean_end, &messages, cut, &pieces);
    }

    #[test]
    fn a_hostile_peer_is_harmless(
        client: bool,
        config in config(),
        stream_config in stream_config(),
        program in vec(operation(), 0..40),
    ) {
        assert_hostile_peer_is_harmless(role(client), config, stream_config, program);
    }
}
