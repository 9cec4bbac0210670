//! A reader, a writer, an observer and a handle of one stream, while its transport and its peer do
//! at random what they may do: nobody sleeps for ever, and what is read, told and sent is right.

use std::{
    io::{self, ErrorKind},
    sync::{Arc, Mutex, MutexGuard},
};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt, channel::mpsc};
use pharos::{Channel, Events, Observable};
use proptest::prelude::*;
use tungstenite::{
    Bytes,
    protocol::{Role, WebSocketConfig},
};
use ws_stream_tungstenite::{
    CloseEvent, UncleanEnd, Writes, WsConfig, WsEvent, WsMeta, WsState, pharos, tungstenite,
};

use crate::{
    backend::WsStream,
    support::{
        BINARY, CLOSE, PING, PONG, Peer, RESERVED, ROLES, Random, Step, TEXT, Task, close_payload,
        frame, in_words, now, pattern, socket,
    },
};

/// What the peer sends, and what has to come of it if the transport does not fail.
struct Script {
    receiver: Role,
    sent: Vec<u8>,
    read: Vec<u8>,
    told: Vec<String>,
    ending: Ending,
    /// The transport ends with an error rather than with end of file.
    ends_with_error: bool,
}

/// What ends the peer's messages.
#[derive(PartialEq, Eq)]
enum Ending {
    /// Nothing but the end of the transport.
    Silence,
    Text,
    /// Nothing that follows is understood.
    Violation,
    CloseFrame,
}

impl Script {
    fn new(random: &mut Random, receiver: Role) -> Self {
        let mut script = Self {
            receiver,
            sent: Vec::new(),
            read: Vec::new(),
            told: Vec::new(),
            ending: Ending::Silence,
            ends_with_error: random.one_in(5),
        };
        for _ in 0..random.below(8) {
            script.add_message(random);
        }
        if !random.one_in(3) {
            script.add_close();
        }
        script
    }

    fn add_message(&mut self, random: &mut Random) {
        let length = random.below(60);
        match random.below(36) {
            0..=17 => self.add_data(length),
            18..=26 => self.add_control(PING, "ping", length),
            27..=33 => self.add_control(PONG, "pong", length),
            34 => self.add_text(),
            _ => self.add_violation(),
        }
    }

    fn add_frame(&mut self, opcode: u8, payload: &[u8]) {
        self.sent.extend(frame(self.receiver, true, opcode, payload));
    }

    /// Whether what comes next is delivered.
    fn is_open(&self) -> bool {
        self.ending == Ending::Silence
    }

    fn add_data(&mut self, length: usize) {
        let data = pattern(self.read.len(), length);
        self.add_frame(BINARY, &data);
        if self.is_open() {
            self.read.extend(data);
        }
    }

    fn add_control(&mut self, opcode: u8, name: &str, length: usize) {
        let payload = "?".repeat(length);
        self.add_frame(opcode, payload.as_bytes());
        if self.is_open() {
            self.told.push(format!("{name} {payload}"));
        }
    }

    fn add_text(&mut self) {
        self.add_frame(TEXT, b"text");
        if self.is_open() {
            self.told.push("error: ReceivedText".into());
            self.ending = Ending::Text;
        }
    }

    fn add_violation(&mut self) {
        self.add_frame(RESERVED, b"");
        if self.is_open() {
            self.told.push("error: Protocol".into());
        }
        self.ending = Ending::Violation;
    }

    fn add_close(&mut self) {
        self.add_frame(CLOSE, &close_payload(1000, ""));
        if self.ending != Ending::Violation {
            self.told.push("close 1000 \"\"".into());
            self.ending = Ending::CloseFrame;
        }
    }
}

/// What the reader, the writer and the handle do.
struct Plan {
    /// The size of the buffer that is read into.
    buffer: usize,
    /// Each write with its length and whether a flush follows.
    writes: Vec<(usize, bool)>,
    payload: Vec<u8>,
    when: Writes,
    unclean_end: UncleanEnd,
    /// How many pings the handle sends.
    pings: usize,
    /// Whether the handle closes, or only waits for the end.
    closes_from_outside: bool,
}

impl Plan {
    fn new(random: &mut Random) -> Self {
        let mut writes = Vec::new();
        for _ in 0..random.below(5) {
            let limit = if random.one_in(50) { 100_000 } else { 200 };
            writes.push((random.below(limit), random.one_in(4)));
        }
        let length = writes.iter().map(|(length, _)| length).sum();
        Self {
            buffer: 1 + random.below(40),
            writes,
            payload: pattern(0, length),
            when: if random.one_in(2) {
                Writes::AtOnce
            } else {
                Writes::Collect(1 + random.below(250))
            },
            unclean_end: if random.one_in(2) { UncleanEnd::EndOfFile } else { UncleanEnd::Error },
            pings: random.below(4),
            closes_from_outside: random.one_in(3),
        }
    }
}

/// How much the socket may buffer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limits {
    Default,
    /// Any number of messages, but only few bytes before it calls the transport.
    Eager,
    /// A message, or hardly that.
    Tight,
}

impl Limits {
    fn config(self, random: &mut Random) -> WebSocketConfig {
        let config = WebSocketConfig::default();
        match self {
            Self::Default => config,
            Self::Eager => config.write_buffer_size(random.below(100)),
            Self::Tight => config.write_buffer_size(0).max_write_buffer_size(8 + random.below(150)),
        }
    }
}

/// One run: what is planned, and what has happened so far.
struct Run {
    limits: Limits,
    script: Script,
    plan: Plan,
    peer: Peer,
    meta: WsMeta,
    record: Mutex<Record>,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Record {
    read: Vec<u8>,
    has_read_to_end: bool,
    /// How many bytes of the payload the stream took.
    written: usize,
    /// The writer is in a call of `write`.
    is_writing: bool,
    /// What the writer got in the end: from `close`, or from what failed before.
    write_end: Option<io::Result<()>>,
    told: Vec<String>,
    /// How many pings the stream took.
    pings: usize,
    close_event: Option<CloseEvent>,
    writes_fail: bool,
    peer_has_ended: bool,
}

impl Run {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }

    fn written(&self) -> &[u8] {
        let written = self.record().written;
        &self.plan.payload[..written]
    }

    /// Whether neither direction of the transport has failed.
    fn is_healthy(&self) -> bool {
        let record = self.record();
        let reads_fail = record.peer_has_ended && self.script.ends_with_error;
        !record.writes_fail && !reads_fail
    }

    fn can_reading_fail(&self) -> bool {
        // with tight limits, the socket keeps a pong back and tries again when it is read
        let flushes = self.limits != Limits::Default;
        self.script.ends_with_error || (flushes && self.record().writes_fail)
    }

    fn on_flushed(&self) {
        assert!(self.peer.sent_data() == self.written(), "what was written has left");
    }

    fn is_collecting(&self) -> bool {
        self.plan.when != Writes::AtOnce
    }

    /// Whether the reader is to get an error for what the peer did.
    fn is_unclean_end_an_error(&self) -> bool {
        let is_error_told = self.script.told.iter().any(|event| event.starts_with("error"));
        self.plan.unclean_end == UncleanEnd::Error
            && (is_error_told || self.script.ending == Ending::Silence)
    }

    fn on_closed(&self, peer_had_ended: bool) {
        self.on_flushed();
        self.check_close_frame(match self.limits {
            Limits::Default => peer_had_ended,
            Limits::Eager | Limits::Tight => self.record().peer_has_ended,
        });
    }

    /// A close frame has left, unless the peer ended the transport too early for that.
    fn check_close_frame(&self, peer_had_ended: bool) {
        let is_owed = match (&self.script.ending, self.limits) {
            // if it is lost, the writer is told
            (Ending::Silence, Limits::Default) => !peer_had_ended,
            // it has to wait for room
            (Ending::Silence | Ending::Text, Limits::Eager | Limits::Tight) => {
                self.is_healthy() && !peer_had_ended
            }
            (Ending::Text | Ending::Violation | Ending::CloseFrame, _) => self.is_healthy(),
        };
        if is_owed {
            assert!(!self.peer.sent_closes().is_empty(), "a close frame has left");
        }
    }

    fn on_read_end(&self, end: io::Result<()>) {
        self.record().has_read_to_end = true;
        match end {
            Ok(()) => self.on_end_of_file(),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                assert!(self.is_unclean_end_an_error(), "{error}");
            }
            Err(error) => assert!(self.can_reading_fail(), "{error}"),
        }
    }

    fn on_end_of_file(&self) {
        assert!(self.record().read == self.script.read, "all data was read");
        assert!(!self.is_unclean_end_an_error(), "the end was unclean");
        self.check_close_frame(true);
        if self.script.ending != Ending::Silence && self.is_healthy() {
            assert!(self.peer.is_shut_down(), "the transport is shut down");
        }
    }

    /// A writer that waits for room learns that there will be none. Holds while all tasks sleep.
    fn check_writer(&self) {
        let record = self.record();
        let ends = |event: &String| event.starts_with("close") || event.starts_with("error");
        if record.told.iter().any(ends) {
            assert!(!record.is_writing, "the writer knows that it is over");
        }
    }

    /// Nothing is left to do but to close. Holds while all tasks sleep, nothing is blocked, and the
    /// peer has sent everything.
    fn check_at_rest(&self) {
        let record = self.record();
        assert!(record.read == self.script.read, "all data was read");
        assert!(record.told.starts_with(&self.script.told), "all was told");
        let is_polled = !record.has_read_to_end;
        // what was collected when the peer closed can't be sent, which the writer is told
        let is_cut_off = self.is_collecting() && self.script.ending == Ending::CloseFrame;
        let pings = record.pings;
        drop(record);
        if is_polled && !is_cut_off {
            self.on_flushed(); // what a write leaves behind leaves when the stream is polled
        }
        if self.meta.ready_state() == WsState::Open {
            let sent = self.peer.sent();
            let sent = sent.iter().filter(|frame| frame.opcode == PING).count();
            assert_eq!(sent, pings, "the pings have left");
        }
        self.check_close_frame(true);
        self.check_shut_down();
    }

    fn check_shut_down(&self) {
        let shuts_down_first = match self.script.ending {
            Ending::Silence => false,
            Ending::Text | Ending::Violation => true,
            Ending::CloseFrame => self.script.receiver == Role::Server,
        };
        if shuts_down_first {
            assert!(self.peer.is_shut_down(), "the transport is shut down");
        }
    }

    /// Closing does not wait for the peer. Holds as above.
    fn check_closed(&self) {
        let record = self.record();
        assert!(record.write_end.is_some(), "the writer has closed");
        let peer_has_ended = record.peer_has_ended;
        drop(record);
        self.check_close_frame(peer_has_ended);
    }

    /// Holds when all tasks are done.
    fn check_at_end(&self) {
        self.check_told();
        self.check_sent();
        self.check_close_event();
        let record = self.record();
        assert!(self.script.read.starts_with(&record.read), "no other data was read");
        if let Some(Err(error)) = &record.write_end {
            let can_fail = record.writes_fail || self.script.ends_with_error;
            assert!(can_fail || error.kind() == ErrorKind::NotConnected, "{error}");
        }
    }

    fn check_told(&self) {
        let mut told = self.record().told.clone();
        assert_eq!(told.pop().as_deref(), Some("closed"));
        if !self.is_healthy() {
            told.retain(|event| !event.starts_with("error: Io"));
        }
        if self.is_collecting() && self.script.ending == Ending::CloseFrame {
            told.retain(|event| event != "error: Closed"); // what was collected came too late
        }
        let mut expected = self.script.told.clone();
        if self.script.ending == Ending::Silence && !self.script.ends_with_error {
            expected.push("error: MissingCloseFrame".into());
        }
        if self.can_reading_fail() {
            expected.truncate(told.len());
        }
        assert_eq!(told, expected);
    }

    fn check_close_event(&self) {
        let event = self.record().close_event.clone().expect("the handle knows of the end");
        assert_eq!(self.meta.ready_state(), WsState::Closed);
        match self.script.ending {
            Ending::CloseFrame if self.is_healthy() => {
                assert_eq!(event.code, 1000);
                let may_lose = self.limits == Limits::Tight || self.is_collecting();
                assert!(event.was_clean || may_lose);
                let is_answered = !self.peer.sent_closes().is_empty();
                assert!(is_answered || !event.was_clean, "our close frame has left");
            }
            Ending::CloseFrame => {}
            Ending::Silence | Ending::Text | Ending::Violation => {
                assert_eq!((event.code, event.was_clean), (1006, false));
            }
        }
    }

    fn check_sent(&self) {
        assert!(self.written().starts_with(&self.peer.sent_data()), "nothing else was sent");
        let sent = self.peer.sent();
        let after_close = sent.iter().skip_while(|frame| frame.opcode != CLOSE).skip(1);
        assert_eq!(after_close.count(), 0, "nothing follows a close frame");
    }
}

async fn read(run: Arc<Run>, mut half: impl AsyncRead + Unpin) {
    let mut buf = vec![0; run.plan.buffer];
    let end = loop {
        match half.read(&mut buf).await {
            Ok(0) => break Ok(()),
            Ok(length) => run.record().read.extend_from_slice(&buf[..length]),
            Err(error) => break Err(error),
        }
    };
    run.on_read_end(end);
    assert_eq!(half.read(&mut buf).await.unwrap(), 0, "nothing follows the end");
}

async fn write(run: Arc<Run>, half: impl AsyncWrite + Unpin, turns: mpsc::UnboundedReceiver<()>) {
    let end = write_and_close(&run, half, turns).await;
    run.record().write_end = Some(end);
}

async fn write_and_close(
    run: &Run,
    mut half: impl AsyncWrite + Unpin,
    mut turns: mpsc::UnboundedReceiver<()>,
) -> io::Result<()> {
    let mut target = 0;
    for (length, flush) in &run.plan.writes {
        target += length;
        turns.next().await;
        write_up_to(run, &mut half, target).await?;
        if *flush {
            half.flush().await?;
            run.on_flushed();
        }
    }
    turns.next().await;
    let peer_had_ended = run.record().peer_has_ended;
    half.close().await?;
    run.on_closed(peer_had_ended);
    Ok(())
}

async fn write_up_to(
    run: &Run,
    half: &mut (impl AsyncWrite + Unpin),
    target: usize,
) -> io::Result<()> {
    while run.written().len() < target {
        let left = &run.plan.payload[run.written().len()..target];
        run.record().is_writing = true;
        let result = half.write(left).await;
        run.record().is_writing = false;
        let length = result?;
        assert!(length > 0);
        run.record().written += length;
    }
    Ok(())
}

async fn control(run: Arc<Run>, meta: WsMeta, mut turns: mpsc::UnboundedReceiver<()>) {
    for _ in 0..run.plan.pings {
        turns.next().await;
        if meta.ping(b"?").is_ok() {
            run.record().pings += 1;
        }
    }
    turns.next().await;
    let event = if run.plan.closes_from_outside {
        meta.close(4000, "from outside").await.unwrap()
    } else {
        meta.closed().await
    };
    run.record().close_event = Some(event);
}

async fn observe(run: Arc<Run>, mut events: Events<WsEvent>) {
    while let Some(event) = events.next().await {
        run.record().told.push(in_words(&event));
    }
}

/// The transport and the peer.
struct World {
    run: Arc<Run>,
    random: Random,
    /// What the peer has not sent yet.
    unsent: Bytes,
    /// Whether writing to the transport fails in the end.
    breaks: bool,
    /// Each lets the writer take a step; once they have ended, it does the rest at once.
    turns: mpsc::UnboundedSender<()>,
    /// The same for the handle.
    control_turns: mpsc::UnboundedSender<()>,
}

impl World {
    fn new(
        run: Arc<Run>,
        mut random: Random,
        turns: mpsc::UnboundedSender<()>,
        control_turns: mpsc::UnboundedSender<()>,
    ) -> Self {
        if random.one_in(2) {
            run.peer.buffer();
        }
        if random.one_in(3) {
            run.peer.know_one_waker();
        }
        run.peer.allow(random.below(80));
        let unsent = run.script.sent.clone().into();
        Self { breaks: random.one_in(4), turns, control_turns, run, random, unsent }
    }

    /// Does something that can happen at any time.
    fn change(&mut self) {
        match self.random.below(25) {
            0..=4 => self.go_on(),
            5..=6 => self.let_writer_go_on(),
            7..=11 => self.run.peer.allow(self.random.below(80)),
            12..=14 => self.run.peer.block_flush(self.random.one_in(2)),
            15 => self.run.peer.block_close(self.random.one_in(2)),
            16..=18 => self.run.peer.hold_wakes(self.random.one_in(2)),
            19..=20 => self.let_handle_go_on(),
            21..=23 => self.run.peer.flinch(1 + self.random.below(4)),
            _ => self.break_down(),
        }
    }

    /// Lets the peer send a little more. It may end when nothing is left.
    fn go_on(&mut self) {
        if self.unsent.is_empty() {
            return self.end_perhaps();
        }
        if self.random.one_in(3) {
            self.run.peer.steps([Step::Pending]);
        }
        let length = 1 + self.random.below(self.unsent.len());
        self.run.peer.raw(self.unsent.split_to(length));
    }

    fn end_perhaps(&mut self) {
        if self.random.one_in(8) {
            self.end();
        }
    }

    fn send_rest(&mut self) {
        while !self.unsent.is_empty() {
            self.go_on();
        }
    }

    fn end(&mut self) {
        self.send_rest();
        if self.run.script.ends_with_error {
            self.run.peer.steps([Step::Error(ErrorKind::ConnectionAborted)]);
        }
        self.run.record().peer_has_ended = true;
        self.run.peer.end();
    }

    fn deliver_wakes(&mut self) {
        self.run.peer.hold_wakes(false);
    }

    fn let_writer_go_on(&mut self) {
        let _ = self.turns.unbounded_send(()); // the writer may be gone
    }

    fn let_handle_go_on(&mut self) {
        let _ = self.control_turns.unbounded_send(()); // the handle may be done
    }

    fn let_handle_finish(&mut self) {
        self.control_turns.close_channel();
    }

    fn let_writer_finish(&mut self) {
        self.turns.close_channel();
    }

    fn break_down(&mut self) {
        if self.breaks {
            self.run.record().writes_fail = true;
            self.run.peer.fail_writes(ErrorKind::BrokenPipe);
        }
    }
}

type Change = fn(&mut World);

/// What lets the stream go on, in any order.
const UNBLOCK: [Change; 4] = [
    World::send_rest,
    |world| world.run.peer.unblock(),
    |world| world.run.peer.block_flush(false),
    |world| world.run.peer.block_close(false),
];

/// What ends the transport, in any order.
const END: [Change; 2] = [World::end, World::break_down];

/// A run, and who takes part in it.
struct Simulation {
    run: Arc<Run>,
    world: World,
    /// The reader, the writer, the observer and the handle.
    tasks: [Task; 4],
}

const READER: usize = 0;

impl Simulation {
    fn new(seed: u64, limits: Limits) -> Self {
        let mut random = Random::new(seed);
        let role = ROLES[random.below(2)];
        let (socket, peer) = socket(role, Some(limits.config(&mut random)));
        let plan = Plan::new(&mut random);
        let config = WsConfig::new().writes(plan.when).unclean_end(plan.unclean_end);
        let mut ws = WsStream::with_config(socket, config);
        let meta = ws.meta();
        let channel = if random.one_in(2) { Channel::Bounded(1) } else { Channel::Unbounded };
        let events = now(ws.observe(channel.into())).unwrap();
        let (reading, writing) = ws.split();
        let script = Script::new(&mut random, role);
        let record = Mutex::default();
        let run = Arc::new(Run { limits, script, plan, peer, meta: meta.clone(), record });
        let (sender, turns) = mpsc::unbounded();
        let (control_sender, control_turns) = mpsc::unbounded();
        let tasks = [
            Task::new(read(Arc::clone(&run), reading)),
            Task::new(write(Arc::clone(&run), writing, turns)),
            Task::new(observe(Arc::clone(&run), events)),
            Task::new(control(Arc::clone(&run), meta, control_turns)),
        ];
        let world = World::new(Arc::clone(&run), random, sender, control_sender);
        Self { run, world, tasks }
    }

    fn run(mut self) {
        for _ in 0..self.world.random.below(150) {
            self.take_turn();
        }
        self.settle();
        self.finish();
        self.run.check_at_end();
        let wakes: usize = self.tasks.iter().map(Task::wakes).sum();
        assert!(wakes <= MAX_WAKES, "{wakes} wakes");
    }

    /// Lets the stream do all that it can do while the peer stays.
    fn settle(&mut self) {
        self.make_changes(&UNBLOCK);
        if self.world.random.one_in(3) {
            self.tasks[READER].poll(); // it may be there before its wake-up
        }
        self.make_changes(&[World::deliver_wakes]);
        if self.run.is_healthy() {
            self.run.check_at_rest();
        }
        self.make_changes(&[World::let_writer_finish, World::let_handle_finish]);
        if self.run.is_healthy() {
            self.run.check_closed();
        }
    }

    fn finish(&mut self) {
        self.make_changes(&END);
        for (task, name) in self.tasks.iter().zip(["reader", "writer", "observer", "handle"]) {
            assert!(task.is_done(), "the {name} sleeps for ever");
        }
    }

    fn take_turn(&mut self) {
        match self.world.random.below(20) {
            0..=9 => self.world.change(),
            10..=18 => self.poll_one(),
            _ => self.poll_until_all_sleep(),
        }
    }

    /// Polls one of the tasks, if it was woken. The others are late.
    fn poll_one(&mut self) {
        let index = self.world.random.below(self.tasks.len());
        self.tasks[index].poll_if_woken();
    }

    fn make_changes(&mut self, changes: &[Change]) {
        let mut changes = changes.to_vec();
        while !changes.is_empty() {
            let change = changes.swap_remove(self.world.random.below(changes.len()));
            change(&mut self.world);
            self.poll_until_all_sleep();
        }
    }

    fn poll_until_all_sleep(&mut self) {
        let mut polls = 0;
        while self.tasks.iter().any(Task::is_woken) {
            self.poll_one();
            polls += 1;
            assert!(polls <= MAX_POLLS, "the tasks do not come to rest");
        }
        self.run.check_writer();
    }
}

/// How often a task is picked until all tasks sleep.
const MAX_POLLS: usize = 200;

/// How often tasks are woken in one run.
const MAX_WAKES: usize = 200;

proptest! {
    #![proptest_config(ProptestConfig { cases: 5000, ..ProptestConfig::default() })]

    #[test]
    fn everything_ends_well_with_the_default_config(seed: u64) {
        Simulation::new(seed, Limits::Default).run();
    }

    #[test]
    fn everything_ends_well_with_a_small_write_buffer(seed: u64) {
        Simulation::new(seed, Limits::Eager).run();
    }

    #[test]
    fn everything_ends_well_with_tight_limits(seed: u64) {
        Simulation::new(seed, Limits::Tight).run();
    }
}
