//! A scripted transport, the frames that go over it, and an executor that notices a lost wake-up.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use bytes::Buf;
use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt,
    future::{BoxFuture, FutureExt},
};
use futures_test::task::{AwokenCount, new_count_waker};
use pharos::{Events, Observable, ObserveConfig};
use tungstenite::{
    Bytes,
    protocol::{Role, WebSocketConfig},
};
use ws_stream_tungstenite::{WsConfig, WsErr, WsEvent, pharos, tungstenite};

use crate::backend::{WebSocketStream, WsStream, websocket};

pub const BINARY: u8 = 0x2;
pub const TEXT: u8 = 0x1;
pub const CONTINUATION: u8 = 0x0;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;
/// What no frame may be.
pub const RESERVED: u8 = 0x3;

/// What the transport does when it is read, in order.
#[derive(Debug, Clone)]
pub enum Step {
    Bytes(Bytes),
    /// `Pending` once, with the wake-up already on its way.
    Pending,
    Error(io::ErrorKind),
    End,
}

/// The transport of the stream under test. After its script it is `Pending`.
#[derive(Debug)]
pub struct Wire(Peer);

/// The other end of a `Wire`: what the test says and sees.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The role of the stream under test.
    role: Role,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct State {
    script: VecDeque<Step>,
    reader: Parked,
    writer: Parked,
    closer: Parked,
    room: usize,
    /// Bytes that were written wait here until they are flushed.
    buffers: bool,
    blocks_flush: bool,
    blocks_close: bool,
    written: Vec<u8>,
    sent: Vec<u8>,
    write_error: Option<io::ErrorKind>,
    closed: bool,
    holds_wakes: bool,
    opens_late: bool,
    /// How many polls will be `Pending` with the wake-up already on its way.
    flinches: usize,
    knows_one_waker: bool,
    calls: Calls,
}

impl State {
    fn wake_reader(&mut self) {
        self.reader.wake(self.holds_wakes);
    }

    fn wake_writer(&mut self) {
        self.writer.wake(self.holds_wakes);
        self.closer.wake(self.holds_wakes);
    }

    fn park(&mut self, who: fn(&mut Self) -> &mut Parked, cx: &Context<'_>) {
        if self.knows_one_waker {
            for parked in [&mut self.reader, &mut self.writer, &mut self.closer] {
                parked.replace(cx);
            }
        }
        who(self).park(cx);
    }
}

/// Whether this poll is `Pending` for no reason, with the wake-up already on its way.
pub fn is_flinching(flinches: &mut usize, cx: &Context<'_>) -> bool {
    let is_flinching = *flinches > 0;
    if is_flinching {
        *flinches -= 1;
        cx.waker().wake_by_ref();
    }
    is_flinching
}

/// Who waits for an operation of the transport.
#[derive(Debug, Default)]
struct Parked {
    waker: Option<Waker>,
    /// The wake-up is due, and held back.
    is_due: bool,
}

impl Parked {
    fn park(&mut self, cx: &Context<'_>) {
        self.waker = Some(cx.waker().clone());
    }

    fn replace(&mut self, cx: &Context<'_>) {
        if self.waker.is_some() {
            self.park(cx);
        }
    }

    fn wake(&mut self, holds: bool) {
        self.is_due = true;
        if !holds {
            self.wake_if_due();
        }
    }

    fn wake_if_due(&mut self) {
        if std::mem::take(&mut self.is_due) {
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

/// How often the transport was polled.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    pub reads: usize,
    pub writes: usize,
    pub flushes: usize,
    pub closes: usize,
}

/// A frame that the stream sent, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

pub fn client(config: Option<WebSocketConfig>) -> (WsStream<Wire>, Peer) {
    connect(Role::Client, config)
}

pub fn server(config: Option<WebSocketConfig>) -> (WsStream<Wire>, Peer) {
    connect(Role::Server, config)
}

pub const ROLES: [Role; 2] = [Role::Client, Role::Server];

pub fn connect(role: Role, config: Option<WebSocketConfig>) -> (WsStream<Wire>, Peer) {
    let (socket, peer) = socket(role, config);
    (WsStream::new(socket), peer)
}

/// The stream that is configured so.
pub fn connect_with(role: Role, config: WsConfig) -> (WsStream<Wire>, Peer) {
    let (socket, peer) = socket(role, None);
    (WsStream::with_config(socket, config), peer)
}

pub fn socket(role: Role, config: Option<WebSocketConfig>) -> (WebSocketStream<Wire>, Peer) {
    let (wire, peer) = wire(role);
    (now(websocket(wire, role, config)), peer)
}

/// The transport for a stream with this role.
pub fn wire(role: Role) -> (Wire, Peer) {
    let state = State { room: usize::MAX, ..State::default() };
    let peer = Peer { role, state: Arc::new(Mutex::new(state)) };
    (Wire(peer.clone()), peer)
}

impl Peer {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn steps(&self, steps: impl IntoIterator<Item = Step>) {
        let mut state = self.state();
        state.script.extend(steps);
        state.wake_reader();
    }

    /// Sends bytes as they are.
    pub fn raw(&self, bytes: impl Into<Bytes>) {
        self.steps([Step::Bytes(bytes.into())]);
    }

    /// One frame, masked as the role of the peer demands.
    pub fn frame(&self, opcode: u8, payload: &[u8]) -> Vec<u8> {
        frame(self.role, true, opcode, payload)
    }

    /// A part of a message that more frames follow.
    pub fn fragment(&self, opcode: u8, payload: &[u8]) -> Vec<u8> {
        frame(self.role, false, opcode, payload)
    }

    pub fn send(&self, opcode: u8, payload: &[u8]) {
        self.raw(self.frame(opcode, payload));
    }

    pub fn binary(&self, payload: &[u8]) {
        self.send(BINARY, payload);
    }

    pub fn close_frame(&self, code: u16, reason: &str) {
        self.send(CLOSE, &close_payload(code, reason));
    }

    pub fn end(&self) {
        self.steps([Step::End]);
    }

    /// Lets the transport take `room` bytes more.
    pub fn allow(&self, room: usize) {
        let mut state = self.state();
        state.room = room;
        state.wake_writer();
    }

    pub fn block(&self) {
        self.allow(0);
    }

    pub fn unblock(&self) {
        self.allow(usize::MAX);
    }

    /// Makes the transport keep what is written until it is flushed, as TLS does.
    pub fn buffer(&self) {
        self.state().buffers = true;
    }

    pub fn block_flush(&self, blocks: bool) {
        let mut state = self.state();
        state.blocks_flush = blocks;
        state.wake_writer();
    }

    pub fn block_close(&self, blocks: bool) {
        let mut state = self.state();
        state.blocks_close = blocks;
        state.wake_writer();
    }

    pub fn fail_writes(&self, kind: io::ErrorKind) {
        let mut state = self.state();
        state.write_error = Some(kind);
        state.wake_writer();
    }

    /// Holds wake-ups back, like a reactor that is late. A task that polls before does not get its
    /// wake-up any more, unless it has to wait again.
    pub fn hold_wakes(&self, holds: bool) {
        let mut state = self.state();
        state.holds_wakes = holds;
        if !holds {
            state.reader.wake_if_due();
            state.writer.wake_if_due();
            state.closer.wake_if_due();
        }
    }

    /// Lets the transport take everything as soon as it has said once more that it has no room. The
    /// wake-up for that is held back.
    pub fn unblock_late(&self) {
        self.state().opens_late = true;
    }

    /// Makes the next polls of the transport `Pending` for no reason, with the wake-up already on its
    /// way, as tokio's sockets do when the budget of a task is used up.
    pub fn flinch(&self, polls: usize) {
        self.state().flinches = polls;
    }

    /// Makes the transport remember the last waker only, whoever waits for what.
    pub fn know_one_waker(&self) {
        self.state().knows_one_waker = true;
    }

    /// Makes room for what will be sent, so that recording it allocates nothing.
    pub fn reserve(&self, additional: usize) {
        self.state().sent.reserve(additional);
    }

    pub fn calls(&self) -> Calls {
        self.state().calls
    }

    /// Whether the transport was dropped.
    pub fn is_alone(&self) -> bool {
        Arc::strong_count(&self.state) == 1
    }

    /// Whether the sending side of the transport was shut down.
    pub fn is_shut_down(&self) -> bool {
        self.state().closed
    }

    /// What has left the transport, as frames; a frame that is half out does not count.
    pub fn sent(&self) -> Vec<Sent> {
        parse(&self.state().sent, self.role)
    }

    /// The payloads of the binary messages that have left.
    pub fn sent_data(&self) -> Vec<u8> {
        let frames = self.sent().into_iter().filter(|frame| frame.opcode == BINARY);
        frames.flat_map(|frame| frame.payload).collect()
    }

    /// The close frames that have left.
    pub fn sent_closes(&self) -> Vec<(Option<u16>, String)> {
        let closes = self.sent().into_iter().filter(|frame| frame.opcode == CLOSE);
        closes.map(|frame| parse_close(&frame.payload)).collect()
    }
}

pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

pub fn parse_close(payload: &[u8]) -> (Option<u16>, String) {
    match payload.split_at_checked(2) {
        Some((code, reason)) => (
            Some(u16::from_be_bytes(code.try_into().unwrap())),
            String::from_utf8(reason.to_vec()).unwrap(),
        ),
        None => (None, String::new()),
    }
}

/// A frame as the peer of a stream with this role sends it.
pub fn frame(receiver: Role, is_final: bool, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let (mask_bit, mask): (u8, &[u8]) = match receiver {
        Role::Server => (0x80, &[0; 4]),
        Role::Client => (0, &[]),
    };
    let first = if is_final { 0x80 | opcode } else { opcode };
    let length = match payload.len() {
        length @ 0..=125 => vec![u8::try_from(length).unwrap()],
        length => match u16::try_from(length) {
            Ok(length) => [&[126], &length.to_be_bytes()[..]].concat(),
            Err(_) => [&[127], &(length as u64).to_be_bytes()[..]].concat(),
        },
    };
    [&[first, length[0] | mask_bit], &length[1..], mask, payload].concat()
}

/// The frames in `bytes`; checks that they are masked as the role of their sender demands.
pub fn parse(mut bytes: &[u8], sender: Role) -> Vec<Sent> {
    let mut frames = Vec::new();
    while let Some((frame, rest)) = parse_frame(bytes, sender) {
        frames.push(frame);
        bytes = rest;
    }
    frames
}

fn parse_frame(bytes: &[u8], sender: Role) -> Option<(Sent, &[u8])> {
    let (head, rest) = bytes.split_at_checked(2)?;
    assert_eq!(head[0] & 0x70, 0, "no reserved bit is set");
    assert_eq!(head[0] & 0x80, 0x80, "frames are final");
    assert_eq!(head[1] & 0x80 != 0, sender == Role::Client, "clients mask, servers do not");
    let extended = match head[1] & 0x7F {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let (length, rest) = rest.split_at_checked(extended)?;
    let length = match extended {
        0 => usize::from(head[1] & 0x7F),
        _ => length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
    };
    let (mask, rest) = rest.split_at_checked(if sender == Role::Client { 4 } else { 0 })?;
    let (payload, rest) = rest.split_at_checked(length)?;
    let mut payload = payload.to_vec();
    if !mask.is_empty() {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    Some((Sent { opcode: head[0] & 0x0F, payload }, rest))
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        state.reader = Parked::default();
        state.calls.reads += 1;
        if is_flinching(&mut state.flinches, cx) {
            return Poll::Pending;
        }
        match state.script.pop_front() {
            Some(Step::Bytes(mut bytes)) => {
                let length = bytes.len().min(buf.len());
                buf[..length].copy_from_slice(&bytes[..length]);
                bytes.advance(length); // unlike `split_to`, allocates nothing
                if !bytes.is_empty() {
                    state.script.push_front(Step::Bytes(bytes));
                }
                Poll::Ready(Ok(length))
            }
            Some(Step::Pending) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Error(kind)) => Poll::Ready(Err(io::Error::new(kind, Cause))),
            Some(Step::End) => {
                state.script.push_front(Step::End);
                Poll::Ready(Ok(0))
            }
            None => {
                state.park(|state| &mut state.reader, cx);
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        state.writer = Parked::default();
        state.calls.writes += 1;
        if is_flinching(&mut state.flinches, cx) {
            return Poll::Pending;
        }
        if let Some(kind) = state.write_error {
            return Poll::Ready(Err(io::Error::new(kind, Cause)));
        }
        let length = buf.len().min(state.room);
        if length == 0 {
            state.park(|state| &mut state.writer, cx);
            if std::mem::take(&mut state.opens_late) {
                state.holds_wakes = true;
                state.room = usize::MAX;
                state.wake_writer();
            }
            return Poll::Pending;
        }
        state.room -= length;
        let buffers = state.buffers;
        let target = if buffers { &mut state.written } else { &mut state.sent };
        target.extend_from_slice(&buf[..length]);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        state.writer = Parked::default();
        state.calls.flushes += 1;
        if is_flinching(&mut state.flinches, cx) {
            return Poll::Pending;
        }
        if let Some(kind) = state.write_error {
            return Poll::Ready(Err(io::Error::new(kind, Cause)));
        }
        if state.blocks_flush {
            state.park(|state| &mut state.writer, cx);
            return Poll::Pending;
        }
        let written = std::mem::take(&mut state.written);
        state.sent.extend(written);
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.state();
        state.closer = Parked::default();
        state.calls.closes += 1;
        if is_flinching(&mut state.flinches, cx) {
            return Poll::Pending;
        }
        if state.blocks_close {
            state.park(|state| &mut state.closer, cx);
            return Poll::Pending;
        }
        state.closed = true;
        Poll::Ready(Ok(()))
    }
}

/// The source of the transport's errors.
#[derive(Debug)]
pub struct Cause;

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the cause")
    }
}

impl std::error::Error for Cause {}

/// The output of a future that is ready at its first poll.
#[track_caller]
pub fn now<F: Future>(future: F) -> F::Output {
    future.now_or_never().expect("the future is ready at once")
}

/// Polls a future until it is ready; panics if it is `Pending` and nobody woke it.
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let (waker, wakes) = new_count_waker();
    loop {
        let before = wakes.get();
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(wakes.get() > before, "pending, and nobody was woken");
    }
}

/// A task that is polled only after it was woken. It starts woken.
pub struct Task {
    future: BoxFuture<'static, ()>,
    waker: Waker,
    wakes: AwokenCount,
    /// How many of the wakes its polls have followed.
    answered: usize,
    is_done: bool,
}

impl Task {
    pub fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        let (waker, wakes) = new_count_waker();
        waker.wake_by_ref();
        Self { future: future.boxed(), waker, wakes, answered: 0, is_done: false }
    }

    pub fn is_woken(&self) -> bool {
        !self.is_done && self.wakes.get() > self.answered
    }

    pub fn poll_if_woken(&mut self) {
        if self.is_woken() {
            self.poll();
        }
    }

    /// Polls the task for another reason than a wake-up, unless it is done.
    pub fn poll(&mut self) {
        if !self.is_done {
            self.answered = self.wakes.get();
            let cx = &mut Context::from_waker(&self.waker);
            self.is_done = self.future.poll_unpin(cx).is_ready();
        }
    }

    pub fn is_done(&self) -> bool {
        self.is_done
    }

    pub fn wakes(&self) -> usize {
        self.wakes.get()
    }
}

/// Polls tasks until none of them is woken.
pub fn settle(tasks: &mut [&mut Task]) {
    while tasks.iter().any(|task| task.is_woken()) {
        for task in &mut *tasks {
            task.poll_if_woken();
        }
    }
}

/// Numbers that look random (SplitMix64). The seed determines them all.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from(mixed >> 32).unwrap() % limit
    }

    /// True one time in `times`.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// Bytes of a long pattern: those that are lost, doubled or moved show.
pub fn pattern(start: usize, length: usize) -> Vec<u8> {
    (0..=250).cycle().skip(start).take(length).collect()
}

/// Blocks the transport and writes until no more is taken.
pub fn fill(ws: &mut WsStream<Wire>, peer: &Peer) {
    now(ws.flush()).unwrap();
    peer.block();
    for size in [1024, 1] {
        while ws.write(&vec![0; size]).now_or_never().is_some() {}
    }
}

/// Reads to the end of file, or the error.
#[track_caller]
pub fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, io::Result<()>) {
    let mut data = Vec::new();
    let result = run(stream.read_to_end(&mut data)).map(|_| ());
    (data, result)
}

pub fn observe<S>(stream: &mut WsStream<S>) -> Events<WsEvent>
where
    S: AsyncRead + AsyncWrite + Send + Unpin,
{
    now(stream.observe(ObserveConfig::default())).unwrap()
}

/// What has been observed so far, in words: `error: Protocol`, `close 1000 "bye"`, `closed`.
pub fn told(events: &mut Events<WsEvent>) -> Vec<String> {
    let told = RefCell::new(Vec::new());
    let _ = futures::StreamExt::for_each(events, |event| {
        told.borrow_mut().push(in_words(&event));
        std::future::ready(())
    })
    .now_or_never();
    told.into_inner()
}

pub fn in_words(event: &WsEvent) -> String {
    match event {
        WsEvent::Error(error) => match &**error {
            WsErr::Io { source } => format!("error: Io({:?})", source.kind()),
            WsErr::Tungstenite { source: tungstenite::Error::Utf8(_) } => "error: Utf8".into(),
            WsErr::Tungstenite { source: tungstenite::Error::Capacity(_) } => {
                "error: Capacity".into()
            }
            error => format!("error: {error:?}"),
        },
        WsEvent::CloseFrame(None) => "close".into(),
        WsEvent::CloseFrame(Some(frame)) => {
            format!("close {} {:?}", u16::from(frame.code), frame.reason.as_str())
        }
        WsEvent::Ping(data) => format!("ping {}", data.escape_ascii()),
        WsEvent::Pong(data) => format!("pong {}", data.escape_ascii()),
        WsEvent::Closed => "closed".into(),
    }
}
