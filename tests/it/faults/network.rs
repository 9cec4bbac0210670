//! A transport between two ends, on which one call goes wrong, and what it saw of the session.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use futures::{AsyncRead, AsyncWrite};
use tungstenite::protocol::Role;
use ws_stream_tungstenite::{WsMeta, WsState, tungstenite};

use crate::support::{BINARY, CLOSE, Sent, parse};

/// A call of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Read,
    Write,
    Flush,
    Close,
}

/// What happens to a call, and to those that follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and so does all that follows in the same direction.
    Error(ErrorKind),
    /// It is `Pending` until nobody can do anything any more. Then it fails like that.
    Stall(ErrorKind),
    /// The same, but then it works.
    Pause,
    /// It fails, and so does all that follows in either direction. What has arrived is lost.
    Break,
    /// Nothing more comes, or nothing more is taken.
    End,
}

/// Which call of whose transport the fault happens to. The first has the number 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub role: Role,
    pub call: Call,
    pub number: usize,
}

/// How well one direction of an end works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Fine,
    /// Nothing happens. It will fail, or be fine again.
    Stalled(Option<ErrorKind>),
    Failed(ErrorKind),
    Ended,
}

impl Health {
    /// Lets go on what stands still. Says whether it did.
    fn end_stall(&mut self) -> bool {
        let then = match *self {
            Self::Stalled(None) => Self::Fine,
            Self::Stalled(Some(kind)) => Self::Failed(kind),
            Self::Fine | Self::Failed(_) | Self::Ended => return false,
        };
        *self = then;
        true
    }
}

/// What an end was told by the transport, and how it was then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub kind: ErrorKind,
    /// Nobody had closed.
    pub was_open: bool,
    /// Something that the caller wrote had not left, or it waited for its close frame to leave.
    pub had_unsent: bool,
    /// Everything had left, and a close frame behind it.
    pub had_sent_close: bool,
}

/// How reading from the transport ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadEnd {
    EndOfFile,
    Failed(Failure),
}

/// One end of the transport.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct End {
    pub role: Role,
    /// What has come and was not read.
    incoming: VecDeque<u8>,
    /// Nothing more will come.
    is_cut: bool,
    /// What was written and not flushed, where the transport buffers.
    held: Vec<u8>,
    reading: Health,
    writing: Health,
    reader: Option<Waker>,
    writer: Option<Waker>,
    is_dropped: bool,
    /// Closing the transport has worked, or failed.
    pub is_shut_down: bool,
    /// How often each `Call` was made.
    pub calls: [usize; 4],
    /// How many of them the handshake took.
    pub calls_to_open: [usize; 4],
    delivered: Vec<u8>,
    left: Vec<u8>,
    /// How much of that a flush has confirmed.
    confirmed: usize,
    pub last_read: Option<ReadEnd>,
    pub write_failure: Option<Failure>,
    /// How many bytes the stream took of its caller.
    pub accepted: usize,
    /// The caller waits for its close frame to leave.
    pub is_closing: bool,
    /// The handle of the stream, once it is open.
    meta: Option<WsMeta>,
}

impl End {
    fn new(role: Role) -> Self {
        Self {
            role,
            incoming: VecDeque::new(),
            is_cut: false,
            held: Vec::new(),
            reading: Health::Fine,
            writing: Health::Fine,
            reader: None,
            writer: None,
            is_dropped: false,
            is_shut_down: false,
            calls: [0; 4],
            calls_to_open: [0; 4],
            delivered: Vec::new(),
            left: Vec::new(),
            confirmed: 0,
            last_read: None,
            write_failure: None,
            accepted: 0,
            is_closing: false,
            meta: None,
        }
    }

    pub fn on_open(&mut self, meta: WsMeta) {
        self.meta = Some(meta);
        self.calls_to_open = self.calls;
    }

    /// The frames that were read, if the head of the handshake was.
    pub fn received(&self) -> Option<Vec<Sent>> {
        Some(parse(behind_head(&self.delivered)?, other(self.role)))
    }

    /// The frames that have left for good, if the head of the handshake has.
    pub fn sent(&self) -> Option<Vec<Sent>> {
        Some(parse(behind_head(&self.left[..self.confirmed])?, self.role))
    }

    pub fn has_sent_close(&self) -> bool {
        self.sent().unwrap_or_default().iter().any(|frame| frame.opcode == CLOSE)
    }

    /// How many bytes of data have left for good.
    pub fn sent_data(&self) -> usize {
        let frames = self.sent().unwrap_or_default().into_iter();
        frames.filter(|frame| frame.opcode == BINARY).map(|frame| frame.payload.len()).sum()
    }

    pub fn can_read(&self) -> bool {
        self.reading == Health::Fine
    }

    pub fn can_write(&self) -> bool {
        self.writing == Health::Fine
    }

    fn failure(&self, kind: ErrorKind) -> Failure {
        Failure {
            kind,
            was_open: self.meta.as_ref().is_none_or(|meta| meta.ready_state() == WsState::Open),
            had_unsent: self.is_closing || self.sent_data() < self.accepted,
            had_sent_close: self.has_sent_close(),
        }
    }

    fn on_read_end(&mut self, end: ReadEnd) {
        self.last_read.get_or_insert(end);
    }

    fn on_write_failure(&mut self, kind: ErrorKind) {
        let failure = self.failure(kind);
        self.write_failure.get_or_insert(failure);
    }

    fn wake_reader(&mut self) {
        self.reader.take().inspect(Waker::wake_by_ref);
    }

    fn wake_writer(&mut self) {
        self.writer.take().inspect(Waker::wake_by_ref);
    }
}

fn behind_head(bytes: &[u8]) -> Option<&[u8]> {
    const END_OF_HEAD: &[u8] = b"\r\n\r\n";
    let begin = bytes.windows(END_OF_HEAD.len()).position(|window| window == END_OF_HEAD)?;
    Some(&bytes[begin + END_OF_HEAD.len()..])
}

/// Both ends of the transport.
pub struct Network {
    ends: [End; 2],
    buffers: bool,
    fault: Option<(Position, Fault)>,
}

pub fn index(role: Role) -> usize {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}

pub fn other(role: Role) -> Role {
    match role {
        Role::Client => Role::Server,
        Role::Server => Role::Client,
    }
}

impl Network {
    /// `buffers`: what is written leaves when it is flushed, as with TLS.
    pub fn new(buffers: bool, fault: Option<(Position, Fault)>) -> Self {
        Self { ends: [Role::Client, Role::Server].map(End::new), buffers, fault }
    }

    pub fn end(&mut self, role: Role) -> &mut End {
        &mut self.ends[index(role)]
    }

    /// Whether what was to go wrong has not happened.
    pub fn has_fault(&self) -> bool {
        self.fault.is_some()
    }

    /// Lets go on what stands still.
    pub fn end_stall(&mut self) {
        for end in &mut self.ends {
            if end.reading.end_stall() {
                end.wake_reader();
            }
            if end.writing.end_stall() {
                end.wake_writer();
            }
        }
    }

    /// Nothing more will come from this end.
    pub fn cut_behind(&mut self, role: Role) {
        let receiver = self.end(other(role));
        receiver.is_cut = true;
        receiver.wake_reader();
    }

    /// Counts a call, and lets happen what is to happen to it.
    fn on_call(&mut self, role: Role, call: Call) {
        let end = self.end(role);
        let number = end.calls[call as usize];
        end.calls[call as usize] += 1;
        let position = Position { role, call, number };
        if let Some((_, fault)) = self.fault.take_if(|(at, _)| *at == position) {
            self.fail(position, fault);
        }
    }

    fn fail(&mut self, at: Position, fault: Fault) {
        let end = self.end(at.role);
        let direction = if at.call == Call::Read { &mut end.reading } else { &mut end.writing };
        match fault {
            Fault::Error(kind) => *direction = Health::Failed(kind),
            Fault::Stall(kind) => *direction = Health::Stalled(Some(kind)),
            Fault::Pause => *direction = Health::Stalled(None),
            Fault::End => *direction = Health::Ended,
            Fault::Break => {
                end.reading = Health::Failed(ErrorKind::ConnectionReset);
                end.writing = Health::Failed(ErrorKind::BrokenPipe);
                end.wake_reader();
                end.wake_writer();
            }
        }
    }

    /// Takes what has room on its way to the other end, and everything if that is gone.
    fn send(&mut self, role: Role, bytes: &[u8]) -> usize {
        let receiver = self.end(other(role));
        let room =
            if receiver.is_dropped { usize::MAX } else { CAPACITY - receiver.incoming.len() };
        let length = bytes.len().min(room);
        if !receiver.is_dropped {
            receiver.incoming.extend(&bytes[..length]);
        }
        if length > 0 {
            receiver.wake_reader();
        }
        self.end(role).left.extend(&bytes[..length]);
        length
    }

    fn send_held(&mut self, role: Role) {
        let mut held = std::mem::take(&mut self.end(role).held);
        held.drain(..self.send(role, &held));
        self.end(role).held = held;
    }

    /// Takes what has room behind what was not flushed, some of which leaves if there is none.
    fn hold(&mut self, role: Role, bytes: &[u8]) -> usize {
        if self.end(role).held.len() == CAPACITY {
            self.send_held(role);
        }
        let held = &mut self.end(role).held;
        let length = bytes.len().min(CAPACITY - held.len());
        held.extend(&bytes[..length]);
        length
    }
}

/// How much is on its way in one direction, in bytes, and may be held for a flush.
const CAPACITY: usize = 100;

/// The transport of one end.
pub struct Transport {
    role: Role,
    network: Arc<Mutex<Network>>,
}

impl Transport {
    pub fn new(role: Role, network: Arc<Mutex<Network>>) -> Self {
        Self { role, network }
    }

    fn network(&self) -> MutexGuard<'_, Network> {
        self.network.lock().unwrap()
    }

    /// A call of the direction that writes; `act` does what it is for.
    fn poll_writing<R>(
        &self,
        cx: &Context<'_>,
        call: Call,
        act: impl FnOnce(&mut Network) -> Poll<R>,
    ) -> Poll<io::Result<R>> {
        let mut network = self.network();
        network.on_call(self.role, call);
        let end = network.end(self.role);
        let done = match end.writing {
            Health::Failed(kind) => {
                if call != Call::Close {
                    end.on_write_failure(kind);
                }
                return Poll::Ready(Err(kind.into()));
            }
            Health::Stalled(_) => Poll::Pending,
            Health::Fine | Health::Ended => act(&mut network),
        };
        if done.is_pending() {
            network.end(self.role).writer = Some(cx.waker().clone());
        }
        done.map(Ok)
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut network = self.network();
        network.on_call(self.role, Call::Read);
        let end = network.end(self.role);
        let length = end.incoming.len().min(buf.len());
        match end.reading {
            Health::Failed(kind) => {
                end.on_read_end(ReadEnd::Failed(end.failure(kind)));
                Poll::Ready(Err(kind.into()))
            }
            Health::Fine if length > 0 => {
                for (to, from) in buf.iter_mut().zip(end.incoming.drain(..length)) {
                    *to = from;
                }
                end.delivered.extend(&buf[..length]);
                network.end(other(self.role)).wake_writer();
                Poll::Ready(Ok(length))
            }
            Health::Fine if !end.is_cut => {
                end.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Health::Stalled(_) => {
                end.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            Health::Fine | Health::Ended => {
                end.on_read_end(ReadEnd::EndOfFile);
                Poll::Ready(Ok(0))
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_writing(cx, Call::Write, |network| {
            let buffers = network.buffers;
            let end = network.end(self.role);
            if end.writing == Health::Ended {
                end.on_write_failure(ErrorKind::ConnectionReset); // what tungstenite makes of it
                return Poll::Ready(0);
            }
            let length =
                if buffers { network.hold(self.role, buf) } else { network.send(self.role, buf) };
            if length == 0 { Poll::Pending } else { Poll::Ready(length) }
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_writing(cx, Call::Flush, |network| {
            network.send_held(self.role);
            let end = network.end(self.role);
            if !end.held.is_empty() {
                return Poll::Pending;
            }
            end.confirmed = end.left.len();
            Poll::Ready(())
        })
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = self.poll_writing(cx, Call::Close, |network| {
            network.cut_behind(self.role);
            Poll::Ready(())
        });
        self.network().end(self.role).is_shut_down |= closed.is_ready();
        closed
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        let mut network = self.network();
        network.end(self.role).is_dropped = true;
        network.end(other(self.role)).wake_writer();
        network.cut_behind(self.role);
    }
}
