//! `Endpoint`: a stream with everybody who uses it, and what holds whatever they do.

mod checks;
mod settle;

use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::Poll,
};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use ws_stream_tungstenite::{
    CloseEvent, WsCounters, WsErr, WsEvent, WsMeta, WsState,
    pharos::{Channel, Events, Observable},
    tungstenite::protocol::{Role, WebSocketConfig},
};

pub use settle::{settle, unblock};

use crate::{
    both::{Backend, ByteStream, Seen, in_words},
    calls::{Read, Write},
    frames::{MAX_CONTROL, Sent, close_payload, may_be_sent},
    memory::Memory,
    pipe::End,
    setup::{Setup, Size},
    tasks::Task,
};

/// Something that a user of the stream does.
#[derive(Debug, Clone, Copy)]
pub enum Op {
    Read(Read),
    Write(Write),
    /// What is waited for is given up.
    StopReading,
    StopWriting,
    /// The half goes to another task.
    MoveReader,
    MoveWriter,
    /// The half is polled without having been woken.
    PollReader,
    PollWriter,
    /// The half is polled if it was woken.
    WakeReader,
    WakeWriter,
    Ping(u8),
    /// So many pings, one after the other.
    PingOften(u8),
    Close(u16, u8),
    WaitForEnd,
    /// The waiter with this number goes away.
    StopWaiting(u8),
    Observe(Option<u8>),
    /// The observer with this number takes so many events.
    Watch(u8, u8),
    StopObserving(u8),
}

/// Who waits for the end of the connection.
struct Waiter {
    task: Task<()>,
    future: BoxFuture<'static, Result<CloseEvent, WsErr>>,
}

pub struct Observer {
    events: Events<WsEvent>,
    /// Since when: whether before anything arrived.
    pub is_first: bool,
    pub told: Vec<WsEvent>,
    pub has_ended: bool,
}

/// How reading ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadEnd {
    EndOfFile,
    /// `UnexpectedEof`.
    Unclean,
    /// Any other error.
    Failed,
}

pub struct Endpoint {
    pub role: Role,
    pub setup: Setup,
    pub websocket: WebSocketConfig,
    pub end: End,
    stream: Box<dyn ByteStream>,
    pub meta: WsMeta,
    pub reader: Task<Read>,
    pub writer: Task<Write>,
    waiters: Vec<Waiter>,
    pub observers: Vec<Observer>,
    /// Where in the pattern what is written begins.
    seed: usize,
    /// How many bytes the stream took.
    pub written: usize,
    /// The errors that writing, flushing and closing returned.
    pub write_errors: Vec<ErrorKind>,
    /// A write returned one of them, so that nothing can be written any more.
    is_refused: bool,
    /// The payload of the close frame that was asked for first.
    pub asked: Option<Vec<u8>>,
    /// A plain close has begun.
    pub closes: bool,
    pub has_closed: bool,
    pub read: Vec<u8>,
    pub read_end: Option<ReadEnd>,
    pub sent: Sent,
    /// How many pings were taken.
    pub pings: u64,
    pub close_event: Option<CloseEvent>,
    state: WsState,
    pub memory: Memory,
    /// All that was seen, in order.
    seen: Vec<Seen>,
}

impl Endpoint {
    pub fn new(backend: Backend, role: Role, setup: Setup, end: End) -> Self {
        let mut memory = Memory::default();
        let wire = end.wire();
        let (meta, stream) = memory.count(|| {
            let stream = backend.stream(wire, role, &setup);
            stream.now_or_never().expect("it does not wait for anything")
        });
        Self {
            role,
            setup,
            websocket: setup.websocket(),
            end,
            stream,
            meta,
            reader: Task::new(),
            writer: Task::new(),
            waiters: Vec::new(),
            observers: Vec::new(),
            seed: if role == Role::Client { 0 } else { 1234 },
            written: 0,
            write_errors: Vec::new(),
            is_refused: false,
            asked: None,
            closes: false,
            has_closed: false,
            read: Vec::new(),
            read_end: None,
            sent: Sent::new(role),
            pings: 0,
            close_event: None,
            state: WsState::Open,
            memory,
            seen: Vec::new(),
        }
    }

    pub fn run(&mut self, op: Op) {
        match op {
            Op::Read(read) => self.read(read),
            Op::Write(write) => self.write(write),
            Op::StopReading => self.reader.waits_for = None,
            Op::StopWriting => self.writer.waits_for = None,
            Op::MoveReader => {
                self.reader.replace_waker();
                self.poll_reader();
            }
            Op::MoveWriter => {
                self.writer.replace_waker();
                self.poll_writer();
            }
            Op::PollReader => self.poll_reader(),
            Op::PollWriter => self.poll_writer(),
            Op::WakeReader => drop(self.poll_woken_reader()),
            Op::WakeWriter => drop(self.poll_woken_writer()),
            Op::Ping(length) => self.ping(length.into()),
            Op::PingOften(times) => (0..times).for_each(|_| self.ping(0)),
            Op::Close(code, reason) => self.close(code, reason.into()),
            Op::WaitForEnd => self.wait_for_end(),
            Op::StopWaiting(number) => drop(take(&mut self.waiters, number)),
            Op::Observe(capacity) => self.observe(capacity),
            Op::Watch(number, amount) => self.watch(number, amount),
            Op::StopObserving(number) => {
                let observer = take(&mut self.observers, number);
                self.memory.count(|| drop(observer));
            }
        }
        self.check();
    }

    /// Waits for the end with `meta.closed()`.
    fn wait_for_end(&mut self) {
        let meta = self.meta.clone();
        self.wait(async move { Ok(meta.closed().await) }.boxed());
    }

    fn close(&mut self, code: u16, reason: usize) {
        if self.waiters.len() >= MAX_WAITERS {
            return;
        }
        let meta = self.meta.clone();
        let is_allowed = may_be_sent(code) && reason <= MAX_CONTROL - 2;
        let before = meta.ready_state();
        if is_allowed && before == WsState::Open {
            self.asked = Some(close_payload(code, &"q".repeat(reason)));
        }
        self.wait(async move { meta.close(code, &"q".repeat(reason)).await }.boxed());
        let expected = if is_allowed { before.max(WsState::Closing) } else { before };
        assert_eq!(self.meta.ready_state(), expected, "after a close with {code}");
    }

    fn wait(&mut self, future: BoxFuture<'static, Result<CloseEvent, WsErr>>) {
        if self.waiters.len() < MAX_WAITERS {
            let mut task = Task::new();
            task.waits_for = Some(());
            self.waiters.push(Waiter { task, future });
            self.poll_waiter(self.waiters.len() - 1);
        }
    }

    fn poll_waiter(&mut self, index: usize) {
        let waiter = &mut self.waiters[index];
        let Poll::Ready(result) = waiter.task.poll((), |(), cx| waiter.future.poll_unpin(cx))
        else {
            return;
        };
        self.waiters.remove(index);
        if let Ok(event) = result {
            self.seen.push(Seen::Ended(event.clone()));
            assert_eq!(self.meta.ready_state(), WsState::Closed, "nobody is told too early");
            let former = self.close_event.get_or_insert_with(|| event.clone());
            assert_eq!(*former, event, "everybody is told the same");
        }
    }

    fn ping(&mut self, length: usize) {
        let state = self.meta.ready_state();
        let result = self.meta.ping(&vec![b'?'; length]);
        match &result {
            Ok(()) => self.pings += 1,
            Err(WsErr::PingTooLong { .. }) => assert!(length > MAX_CONTROL),
            Err(WsErr::Closed) => assert!(state != WsState::Open),
            Err(WsErr::TooManyPings) => assert!(self.waiting_pings() >= MAX_PINGS),
            Err(error) => panic!("a ping failed with {error}"),
        }
        if result.is_ok() {
            assert!(length <= MAX_CONTROL && state == WsState::Open);
            // pings for which there is no room are not counted
            let is_right = self.waiting_pings() <= MAX_PINGS || !self.has_ample_buffer();
            assert!(is_right, "{} pings wait", self.waiting_pings());
        }
    }

    fn waiting_pings(&self) -> u64 {
        self.pings - self.meta.counters().pings_sent
    }

    fn observe(&mut self, capacity: Option<u8>) {
        if self.observers.len() >= MAX_OBSERVERS {
            return;
        }
        let channel = match capacity {
            Some(capacity) => Channel::Bounded(capacity.into()),
            None => Channel::Unbounded,
        };
        let is_first = self.meta.counters() == WsCounters::default()
            && self.state == WsState::Open
            && self.end.moved() == 0;
        // by turns of the stream and of a handle
        let by_handle = self.observers.len() % 2 == 1;
        let (stream, meta) = (&mut self.stream, &mut self.meta);
        let observed = self.memory.count(|| {
            if by_handle {
                meta.observe(channel.into()).now_or_never()
            } else {
                stream.observe(channel.into()).now_or_never()
            }
        });
        match observed.expect("it does not wait for anything") {
            Ok(events) => {
                assert!(capacity != Some(0));
                let told = Vec::new();
                self.observers.push(Observer { events, is_first, told, has_ended: false });
            }
            Err(WsErr::Observe { .. }) => assert!(capacity == Some(0)),
            Err(WsErr::Closed) => assert!(self.meta.ready_state() == WsState::Closed),
            Err(error) => panic!("an observer was refused with {error}"),
        }
    }

    fn watch(&mut self, number: u8, amount: u8) {
        if self.observers.is_empty() {
            return;
        }
        let index = usize::from(number) % self.observers.len();
        for _ in 0..amount {
            if !self.watch_once(index) {
                break;
            }
        }
    }

    fn watch_once(&mut self, index: usize) -> bool {
        let observer = &mut self.observers[index];
        let next = self.memory.count(|| observer.events.next().now_or_never());
        match next {
            Some(Some(event)) => {
                let has_closed = matches!(observer.told.last(), Some(WsEvent::Closed));
                assert!(!has_closed, "{event:?} was told after the last event");
                self.seen.push(Seen::Told(format!("{event:?}")));
                observer.told.push(event);
                true
            }
            Some(None) => {
                observer.has_ended = true;
                false
            }
            None => false,
        }
    }

    /// Lets the observers take all there is.
    pub fn watch_all(&mut self) {
        for index in 0..self.observers.len() {
            while self.watch_once(index) {}
        }
    }

    pub fn read(&mut self, read: Read) {
        let Self { stream, memory, reader, read: target, .. } = self;
        let (before, mut stream) = (target.len(), Pin::new(&mut **stream));
        let result = reader.poll(read, |read, cx| read.poll(cx, stream.as_mut(), memory, target));
        self.seen.push(Seen::Read(in_words(&result)));
        match result {
            Poll::Pending => assert!(self.read_end.is_none(), "nothing is waited for at the end"),
            Poll::Ready(Ok(0)) if read.has_room() => {
                self.read_end.get_or_insert(ReadEnd::EndOfFile);
            }
            Poll::Ready(Ok(_)) => {
                let is_over = self.read_end.is_some() && self.read.len() > before;
                assert!(!is_over, "nothing is read behind the end");
            }
            Poll::Ready(Err(error)) => self.on_read_error(&error),
        }
    }

    fn on_read_error(&mut self, error: &io::Error) {
        assert!(self.read_end.is_none(), "{error} was returned behind the end");
        self.read_end = Some(if error.kind() == ErrorKind::UnexpectedEof {
            assert!(self.setup.unclean_is_error, "{error}");
            ReadEnd::Unclean
        } else {
            assert!(self.end.fails(), "{error}, and the transport did not fail");
            ReadEnd::Failed
        });
    }

    pub fn write(&mut self, write: Write) {
        if matches!(write, Write::Close) && self.meta.ready_state() == WsState::Open {
            self.asked = Some(self.setup.close_payload());
        }
        let start = self.seed + self.written;
        let Self { stream, memory, writer, .. } = self;
        let mut stream = Pin::new(&mut **stream);
        let result = writer.poll(write, |write, cx| write.poll(cx, stream.as_mut(), memory, start));
        self.seen.push(Seen::Written(in_words(&result)));
        self.update_sent();
        self.closes |= matches!(write, Write::Close);
        match result {
            Poll::Pending => {
                assert!(!self.is_refused || write.length() == 0, "a write waits in vain");
            }
            Poll::Ready(Ok(length)) => self.on_written(write, length),
            Poll::Ready(Err(error)) => self.on_write_error(write, &error),
        }
    }

    fn on_written(&mut self, write: Write, length: usize) {
        let offered = write.length();
        assert!(length <= offered, "{length} bytes were taken of {offered}");
        assert_eq!(length > 0, offered > 0, "a write takes a byte if there is one");
        assert!(length == 0 || !self.is_refused, "nothing is taken after an error");
        self.written += length;
        match write {
            Write::Copy(_) | Write::Gather(..) => {}
            Write::Flush => self.check_flushed(),
            Write::Close => {
                self.check_flushed();
                self.has_closed = true;
                let may_have_none = !self.has_ample_buffer()
                    || self.end.fails()
                    || self.end.is_left()
                    || self.is_refused;
                assert!(may_have_none || self.sent.close.is_some(), "a close frame has left");
            }
        }
    }

    fn on_write_error(&mut self, write: Write, error: &io::Error) {
        let kind = error.kind();
        match kind {
            ErrorKind::NotConnected => {
                let state = self.meta.ready_state();
                assert!(state != WsState::Open, "{error}, and the stream is open");
            }
            ErrorKind::InvalidInput => assert!(!self.has_room(), "{error}"),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                assert!(self.end.fails(), "{error}");
                assert!(!self.write_errors.contains(&kind), "{error} was returned twice");
            }
            _ => panic!("writing failed with {error:?}"),
        }
        self.write_errors.push(kind);
        self.is_refused |= write.length() > 0 && kind != ErrorKind::InvalidInput;
    }

    /// Whether the limits let a message of one byte pass.
    fn has_room(&self) -> bool {
        let sizes = [self.setup.max_message, self.setup.collects, self.setup.max_message_size];
        let smallest_frame = if self.role == Role::Client { 7 } else { 3 };
        let sizes = sizes.into_iter().chain([self.setup.max_frame_size]);
        sizes.flatten().all(|size| size.bytes() > 0)
            && self.websocket.max_write_buffer_size >= smallest_frame
            // a message that is collected may have to be masked
            && (self.setup.collects.is_none() || self.websocket.max_write_buffer_size >= 7)
    }

    pub fn poll_reader(&mut self) {
        if let Some(read) = self.reader.waits_for {
            self.read(read);
        }
    }

    pub fn poll_writer(&mut self) {
        if let Some(write) = self.writer.waits_for {
            self.write(write);
        }
    }

    fn poll_woken_reader(&mut self) -> bool {
        let is_woken = self.reader.is_woken();
        if is_woken {
            self.poll_reader();
        }
        is_woken
    }

    fn poll_woken_writer(&mut self) -> bool {
        let is_woken = self.writer.is_woken();
        if is_woken {
            self.poll_writer();
        }
        is_woken
    }

    /// Polls everybody who was woken, the writer first or last. Says whether somebody was.
    pub fn poll_woken(&mut self, is_writer_first: bool) -> bool {
        let mut is_any_woken = is_writer_first && self.poll_woken_writer();
        is_any_woken |= self.poll_woken_reader();
        is_any_woken |= self.poll_woken_writer();
        for index in (0..self.waiters.len()).rev() {
            if self.waiters[index].task.is_woken() {
                self.poll_waiter(index);
                is_any_woken = true;
            }
        }
        self.check();
        is_any_woken
    }

    /// What grows while somebody gets on.
    pub fn progress(&self) -> u64 {
        let counters = self.meta.counters();
        let told: usize = self.observers.iter().map(|observer| observer.told.len()).sum();
        let units =
            told + self.end.moved() + self.end.faults_met() + self.read.len() + self.written;
        units as u64
            + counters.messages_received
            + counters.pings_received
            + counters.pongs_received
            + counters.pings_sent
            + self.meta.ready_state() as u64
    }

    /// Whether the limits leave room for all that a stream sends by itself.
    pub fn has_ample_buffer(&self) -> bool {
        self.websocket.max_write_buffer_size == usize::MAX
    }

    /// Reads until nothing is left, or the end.
    pub fn read_on(&mut self) {
        while self.read_end.is_none() && self.reader.waits_for.is_none() {
            self.run(Op::Read(Read::Copy(Size::LARGEST)));
        }
    }

    /// Returns all that was seen.
    pub fn into_seen(mut self) -> Vec<Seen> {
        self.seen.push(Seen::Counted(self.meta.counters()));
        self.seen
    }

    /// Drops the stream. Its handle and those who wait for its end remain, and are told. Returns all
    /// that was seen.
    pub fn abandon(self) -> Vec<Seen> {
        let Self { stream, mut meta, waiters, observers, mut close_event, mut seen, .. } = self;
        let was_over = meta.ready_state() == WsState::Closed;
        drop(stream);
        assert_eq!(meta.ready_state(), WsState::Closed, "a stream that was dropped is closed");
        assert!(matches!(meta.ping(b"?"), Err(WsErr::Closed)), "nobody is there to send a ping");
        let observed = meta.observe(Channel::Unbounded.into()).now_or_never();
        assert!(matches!(observed, Some(Err(WsErr::Closed))), "nothing is left to observe");
        let event = meta.closed().now_or_never().expect("the connection is over");
        assert_eq!(*close_event.get_or_insert(event.clone()), event, "everybody is told the same");
        for mut waiter in waiters {
            assert!(waiter.task.is_woken(), "who waits for the end is woken");
            let result = waiter.task.poll((), |(), cx| waiter.future.poll_unpin(cx));
            assert!(matches!(result, Poll::Ready(Ok(told)) if told == event), "it is told the end");
        }
        for observer in observers {
            let last = observer.events.collect::<Vec<_>>().now_or_never().expect("events end");
            let is_last = last.iter().any(|event| matches!(event, WsEvent::Closed));
            assert!(was_over || !is_last, "`Closed` was told too early");
            seen.extend(last.iter().map(|event| Seen::Told(format!("{event:?}"))));
        }
        seen.push(Seen::Ended(event));
        seen
    }
}

/// Takes one of `items`, if there are any.
fn take<T>(items: &mut Vec<T>, number: u8) -> Option<T> {
    (!items.is_empty()).then(|| items.remove(usize::from(number) % items.len()))
}

const MAX_WAITERS: usize = 4;

const MAX_OBSERVERS: usize = 3;

/// How many pings may wait.
const MAX_PINGS: u64 = 16;
