//! `Wire`: a transport in memory, each call of which may hesitate, be short or fail.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use allocation_counter::opt_out;
use futures::{AsyncRead, AsyncWrite};

/// What happens to a transport. Nothing of it loses a byte, but `FailWrites` and `FailReads`.
#[derive(Debug, Clone, Copy)]
pub enum Event {
    /// Only so many bytes may be on the way.
    Room(u8),
    /// What is written waits for a flush, as in TLS.
    Buffer(bool),
    BlockFlush(bool),
    BlockClose(bool),
    /// Wake-ups are late: a task that polls before does not get its wake-up any more.
    HoldWakes(bool),
    /// There is room as soon as the transport has said once more that there is none; the wake-up for
    /// that is late.
    OpenLate,
    /// The next call is like this.
    Fault(Fault),
    FailWrites,
    FailReads,
}

/// What one call of a transport does.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    None,
    /// `Pending`, with the wake-up already on its way.
    Pending,
    /// At most so many bytes, and at least one.
    Short(u8),
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Pipe {
    /// Written, and held back until a flush.
    unflushed: Vec<u8>,
    in_flight: VecDeque<u8>,
    /// All that was ever in flight.
    history: Vec<u8>,
    room: usize,
    has_ended: bool,
    is_shut_down: bool,
    reader: Parked,
    writer: Parked,
    closer: Parked,
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

    fn wake(&mut self, holds: bool) {
        self.is_due = true;
        if !holds {
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        if std::mem::take(&mut self.is_due) {
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

/// How one end of a connection behaves.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct Behaviour {
    buffers: bool,
    blocks_flush: bool,
    blocks_close: bool,
    holds_wakes: bool,
    opens_late: bool,
    writes_fail: bool,
    reads_fail: bool,
    faults: VecDeque<Fault>,
    /// How many bytes were moved.
    moved: usize,
    /// How many calls met a fault.
    faults_met: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes towards the end with this number.
    pipes: [Pipe; 2],
    behaviours: [Behaviour; 2],
}

/// One end of a connection, from outside: what the stream on it does not see.
#[derive(Debug, Clone)]
pub struct End {
    state: Arc<Mutex<State>>,
    number: usize,
}

/// One end of a connection, for the stream on it.
#[derive(Debug)]
pub struct Wire(End);

/// Both ends of a connection.
pub fn connection() -> [End; 2] {
    let mut state = State::default();
    state.pipes.iter_mut().for_each(|pipe| pipe.room = usize::MAX);
    let state = Arc::new(Mutex::new(state));
    [0, 1].map(|number| End { state: Arc::clone(&state), number })
}

impl End {
    pub fn wire(&self) -> Wire {
        Wire(self.clone())
    }

    /// Lets something happen to this end.
    pub fn happen(&self, event: Event) {
        let state = &mut *self.lock();
        let behaviour = &mut state.behaviours[self.number];
        match event {
            Event::Room(room) => state.pipes[1 - self.number].room = room.into(),
            Event::Buffer(buffers) => behaviour.buffers = buffers,
            Event::BlockFlush(blocks) => behaviour.blocks_flush = blocks,
            Event::BlockClose(blocks) => behaviour.blocks_close = blocks,
            Event::HoldWakes(holds) => {
                behaviour.holds_wakes = holds;
                behaviour.opens_late = false;
            }
            Event::OpenLate => behaviour.opens_late = true,
            Event::Fault(fault) => behaviour.faults.push_back(fault),
            Event::FailWrites => behaviour.writes_fail = true,
            Event::FailReads => behaviour.reads_fail = true,
        }
        match event {
            Event::Room(_)
            | Event::Buffer(_)
            | Event::BlockFlush(_)
            | Event::BlockClose(_)
            | Event::FailWrites => state.wake_writer(self.number),
            Event::FailReads => state.wake_reader(self.number),
            Event::HoldWakes(false) => state.deliver_wakes(self.number),
            Event::HoldWakes(true) | Event::OpenLate | Event::Fault(_) => {}
        }
    }

    /// Takes everything out of the way but failures.
    pub fn unblock(&self) {
        let state = &mut *self.lock();
        let behaviour = &mut state.behaviours[self.number];
        behaviour.blocks_flush = false;
        behaviour.blocks_close = false;
        behaviour.opens_late = false;
        behaviour.holds_wakes = false;
        behaviour.faults.clear();
        state.pipes[1 - self.number].room = usize::MAX;
        state.wake_writer(self.number);
        state.deliver_wakes(self.number);
    }

    /// Sends bytes from this end past the stream on it.
    pub fn send(&self, bytes: &[u8]) {
        let state = &mut *self.lock();
        state.pipes[1 - self.number].deliver(bytes);
        state.wake_reader(1 - self.number);
    }

    /// Takes what has arrived at this end.
    pub fn receive(&self, amount: usize) {
        let state = &mut *self.lock();
        let in_flight = &mut state.pipes[self.number].in_flight;
        let amount = amount.min(in_flight.len());
        in_flight.drain(..amount);
        state.wake_writer(1 - self.number);
    }

    /// Ends what this end sends.
    pub fn end(&self) {
        let state = &mut *self.lock();
        state.pipes[1 - self.number].has_ended = true;
        state.wake_reader(1 - self.number);
    }

    /// Whether what this end sends is at its end.
    pub fn has_ended(&self) -> bool {
        self.lock().pipes[1 - self.number].has_ended
    }

    /// How many bytes have arrived at this end and were not read.
    pub fn unread(&self) -> usize {
        self.lock().pipes[self.number].in_flight.len()
    }

    /// Whether a flush of this end waits.
    pub fn blocks_flush(&self) -> bool {
        self.lock().behaviours[self.number].blocks_flush
    }

    /// Whether the stream on this end has shut its side down.
    pub fn is_shut_down(&self) -> bool {
        self.lock().pipes[1 - self.number].is_shut_down
    }

    /// Whether a call of this end has failed, or the next one will.
    pub fn fails(&self) -> bool {
        let behaviour = &self.lock().behaviours[self.number];
        behaviour.writes_fail || behaviour.reads_fail
    }

    /// Whether the other end has ended what it sends.
    pub fn is_left(&self) -> bool {
        self.lock().pipes[self.number].has_ended
    }

    /// How many bytes this end has taken from the stream and holds back until a flush.
    pub fn held_back(&self) -> usize {
        self.lock().pipes[1 - self.number].unflushed.len()
    }

    /// How many bytes this end has moved.
    pub fn moved(&self) -> usize {
        self.lock().behaviours[self.number].moved
    }

    /// How many faults this end has met.
    pub fn faults_met(&self) -> usize {
        self.lock().behaviours[self.number].faults_met
    }

    /// Lets `see` have all that has left this end so far.
    pub fn see_sent<R>(&self, see: impl FnOnce(&[u8]) -> R) -> R {
        see(&self.lock().pipes[1 - self.number].history)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Pipe {
    fn deliver(&mut self, bytes: &[u8]) {
        self.in_flight.extend(bytes);
        self.history.extend(bytes);
    }

    fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.unflushed);
        self.deliver(&bytes);
    }

    fn free(&self) -> usize {
        self.room.saturating_sub(self.in_flight.len() + self.unflushed.len())
    }
}

impl State {
    fn wake_reader(&mut self, number: usize) {
        self.pipes[number].reader.wake(self.behaviours[number].holds_wakes);
    }

    fn wake_writer(&mut self, number: usize) {
        let holds = self.behaviours[number].holds_wakes;
        let pipe = &mut self.pipes[1 - number];
        pipe.writer.wake(holds);
        pipe.closer.wake(holds);
    }

    fn deliver_wakes(&mut self, number: usize) {
        self.pipes[number].reader.deliver();
        let pipe = &mut self.pipes[1 - number];
        pipe.writer.deliver();
        pipe.closer.deliver();
    }

    fn read(&mut self, number: usize, cx: &Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let behaviour = &mut self.behaviours[number];
        let pipe = &mut self.pipes[number];
        pipe.reader = Parked::default();
        if behaviour.reads_fail {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        let Some(limit) = behaviour.next_limit() else {
            pipe.reader.park(cx);
            pipe.reader.wake(behaviour.holds_wakes);
            return Poll::Pending;
        };
        if pipe.in_flight.is_empty() && !pipe.has_ended {
            pipe.reader.park(cx);
            return Poll::Pending;
        }
        let length = limit.min(buf.len()).min(pipe.in_flight.len());
        for (to, from) in buf.iter_mut().zip(pipe.in_flight.drain(..length)) {
            *to = from;
        }
        behaviour.moved += length;
        self.wake_writer(1 - number);
        Poll::Ready(Ok(length))
    }

    fn write(&mut self, number: usize, cx: &Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let behaviour = &mut self.behaviours[number];
        let pipe = &mut self.pipes[1 - number];
        pipe.writer = Parked::default();
        if behaviour.writes_fail {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let Some(limit) = behaviour.next_limit() else {
            pipe.writer.park(cx);
            pipe.writer.wake(behaviour.holds_wakes);
            return Poll::Pending;
        };
        assert!(!pipe.is_shut_down, "nothing is written to a transport that was shut down");
        let length = limit.min(buf.len()).min(pipe.free());
        if length == 0 {
            pipe.writer.park(cx);
            if std::mem::take(&mut behaviour.opens_late) {
                behaviour.holds_wakes = true;
                pipe.room = usize::MAX;
                self.wake_writer(number);
            }
            return Poll::Pending;
        }
        behaviour.moved += length;
        if behaviour.buffers {
            pipe.unflushed.extend(&buf[..length]);
        } else {
            pipe.flush(); // in order
            pipe.deliver(&buf[..length]);
            self.wake_reader(1 - number);
        }
        Poll::Ready(Ok(length))
    }

    fn flush(&mut self, number: usize, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let behaviour = &mut self.behaviours[number];
        let pipe = &mut self.pipes[1 - number];
        pipe.writer = Parked::default();
        if behaviour.writes_fail {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let is_blocked = behaviour.blocks_flush;
        if is_blocked || behaviour.next_limit().is_none() {
            pipe.writer.park(cx);
            if !is_blocked {
                pipe.writer.wake(behaviour.holds_wakes);
            }
            return Poll::Pending;
        }
        if !pipe.unflushed.is_empty() {
            pipe.flush();
            self.wake_reader(1 - number);
        }
        Poll::Ready(Ok(()))
    }

    fn close(&mut self, number: usize, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let behaviour = &mut self.behaviours[number];
        let pipe = &mut self.pipes[1 - number];
        pipe.closer = Parked::default();
        if behaviour.writes_fail {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        if behaviour.blocks_close {
            pipe.closer.park(cx);
            return Poll::Pending;
        }
        pipe.flush();
        pipe.has_ended = true;
        pipe.is_shut_down = true;
        self.wake_reader(1 - number);
        Poll::Ready(Ok(()))
    }
}

impl Behaviour {
    /// How many bytes the next call moves at most; nothing if it is `Pending`.
    fn next_limit(&mut self) -> Option<usize> {
        let fault = self.faults.pop_front();
        self.faults_met += usize::from(fault.is_some());
        match fault {
            None | Some(Fault::None) => Some(usize::MAX),
            Some(Fault::Short(limit)) => Some(usize::from(limit).max(1)),
            Some(Fault::Pending) => None,
        }
    }
}

impl Wire {
    /// A call of the transport, whose own memory does not count.
    fn call<R>(&self, call: impl FnOnce(&mut State, usize) -> Poll<R>) -> Poll<R> {
        let mut result = Poll::Pending;
        opt_out(|| result = call(&mut self.0.lock(), self.0.number));
        result
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.call(|state, number| state.read(number, cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.call(|state, number| state.write(number, cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.call(|state, number| state.flush(number, cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.call(|state, number| state.close(number, cx))
    }
}
