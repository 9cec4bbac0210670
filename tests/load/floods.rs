//! A peer that sends without end costs bounded memory and bounded work in one poll, and four times as
//! much of it costs four times as much.
//!
//! The flood is all there when the stream is polled first, and the transport never makes it wait: a
//! peer can't be faster than that.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};

use allocation_counter::{measure, opt_out};
use async_tungstenite::tokio::TokioAdapter;
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt};
use futures_test::task::new_count_waker;
use pharos::{Channel, Events, Observable};
use tungstenite::{
    Bytes,
    protocol::{Role, WebSocketConfig},
};
use ws_stream_tungstenite::{WsEvent, async_tungstenite, byte_stream_config, pharos, tungstenite};

use crate::{
    KIB, MIB,
    backend::{WsStream, websocket},
    support::{
        BINARY, CLOSE, CONTINUATION, PING, PONG, Peer, RESERVED, ROLES, Step, TEXT, Wire, connect,
        fill, now,
    },
};

/// What the peer sends again and again.
struct Flood {
    name: &'static str,
    opcode: u8,
    unit: Vec<u8>,
    /// How many bytes a frame carries.
    payload: usize,
}

fn floods(peer: &Peer) -> Vec<Flood> {
    let frames = [
        ("pings", PING, &[b'x'; 125][..]),
        ("empty pings", PING, b""),
        ("pongs", PONG, &[b'x'; 125]),
        ("empty messages", BINARY, b""),
        ("messages of one byte", BINARY, b"x"),
        ("text", TEXT, b"text"),
        ("close frames", CLOSE, b""),
        ("reserved frames", RESERVED, b""),
    ];
    let frames = frames.map(|(name, opcode, payload)| {
        let unit = peer.frame(opcode, payload);
        Flood { name, opcode, unit, payload: payload.len() }
    });
    let in_fragments = [
        peer.fragment(BINARY, b"x"),
        peer.fragment(CONTINUATION, b"x").repeat(98),
        peer.frame(CONTINUATION, b"x"),
    ];
    let in_fragments = Flood {
        name: "messages in fragments of one byte",
        opcode: BINARY,
        unit: in_fragments.concat(),
        payload: 1,
    };
    frames.into_iter().chain([in_fragments]).collect()
}

/// When the flood comes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    AtOnce,
    /// The peer does not take our answers.
    Deaf,
    /// What we wrote does not leave, and a write waits.
    WriteBlocked,
    /// Our close frame has left.
    Closing,
    /// The peer sent text, and was refused.
    Refused,
    /// The peer broke the protocol.
    Broken,
}

impl When {
    const ALL: [Self; 6] =
        [Self::AtOnce, Self::Deaf, Self::WriteBlocked, Self::Closing, Self::Refused, Self::Broken];

    fn prepare(self, ws: &mut WsStream<Wire>, peer: &Peer) {
        match self {
            Self::AtOnce => {}
            Self::Deaf => peer.block(),
            Self::WriteBlocked => {
                fill(ws, peer);
                assert!(ws.write(b"x").now_or_never().is_none());
            }
            Self::Closing => now(ws.close()).unwrap(),
            Self::Refused => peer.send(TEXT, b"text"),
            Self::Broken => peer.send(RESERVED, b""),
        }
    }

    fn holds_answers(self) -> bool {
        matches!(self, Self::Deaf | Self::WriteBlocked)
    }

    /// What is read is not delivered any more, but discarded.
    fn discards(self) -> bool {
        matches!(self, Self::Refused | Self::Broken)
    }
}

/// Who is told of events.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Observer {
    None,
    Listening,
    Full,
}

impl Observer {
    const ALL: [Self; 3] = [Self::None, Self::Listening, Self::Full];

    fn observe(self, ws: &mut WsStream<Wire>) -> Option<Events<WsEvent>> {
        let channel = match self {
            Self::None => return None,
            Self::Listening => Channel::Unbounded,
            Self::Full => Channel::Bounded(EVENTS),
        };
        Some(now(ws.observe(channel.into())).unwrap())
    }

    fn listen(self, events: &mut Option<Events<WsEvent>>) {
        if let (Self::Listening, Some(events)) = (self, events) {
            while let Some(Some(_)) = events.next().now_or_never() {}
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Scene {
    role: Role,
    config: WebSocketConfig,
    when: When,
    observer: Observer,
}

impl Scene {
    fn all() -> impl Iterator<Item = Self> {
        let configs = [WebSocketConfig::default(), byte_stream_config()];
        ROLES.into_iter().flat_map(move |role| {
            configs.into_iter().flat_map(move |config| {
                When::ALL.into_iter().flat_map(move |when| {
                    Observer::ALL.map(|observer| Self { role, config, when, observer })
                })
            })
        })
    }

    /// What it costs to read what has come.
    fn flood(&self, flood: &Flood, times: usize) -> Costs {
        // kept until the end, so that nothing that is freed was not counted
        let bytes = Bytes::from(flood.unit.repeat(times));
        let mut costs = Costs::default();
        let mut stream = None;
        let used = measure(|| {
            let (mut ws, peer) = connect(self.role, Some(self.config));
            opt_out(|| peer.reserve(MIB + bytes.len()));
            let mut events = self.observer.observe(&mut ws);
            self.when.prepare(&mut ws, &peer);
            opt_out(|| peer.raw(bytes.clone()));
            costs = drive(&mut ws, &peer, || self.observer.listen(&mut events));
            stream = Some((ws, events));
        });
        costs.allocations = usize::try_from(used.count_total).unwrap();
        costs.peak = usize::try_from(used.bytes_max).unwrap();
        costs.alive = usize::try_from(used.count_max).unwrap();
        drop((stream, bytes));
        costs
    }
}

/// What a flood cost.
#[derive(Debug, Default, Clone, Copy)]
struct Costs {
    /// On the heap at a time, in bytes.
    peak: usize,
    /// Allocations that are there at a time.
    alive: usize,
    allocations: usize,
    polls: usize,
    wakes: usize,
    reads: usize,
    writes: usize,
    /// In one poll.
    most_reads: usize,
    most_messages: usize,
    messages: usize,
    bytes: usize,
    ended: bool,
}

/// Reads for as long as there is something to read.
fn drive(ws: &mut WsStream<Wire>, peer: &Peer, mut listen: impl FnMut()) -> Costs {
    let meta = ws.meta();
    let messages = || {
        let counters = meta.counters();
        counters.messages_received + counters.pings_received + counters.pongs_received
    };
    let (waker, wakes) = new_count_waker();
    let mut costs = Costs::default();
    let mut buf = [0; 8 * KIB];
    let begin = peer.calls();
    loop {
        let before = (wakes.get(), peer.calls().reads, messages());
        let polled = Pin::new(&mut *ws).poll_read(&mut Context::from_waker(&waker), &mut buf);
        costs.polls += 1;
        costs.most_reads = costs.most_reads.max(peer.calls().reads - before.1);
        let handled = usize::try_from(messages() - before.2).unwrap();
        costs.most_messages = costs.most_messages.max(handled);
        listen();
        match polled {
            Poll::Pending if wakes.get() == before.0 => break,
            Poll::Pending => {}
            Poll::Ready(Ok(length)) if length > 0 => costs.bytes += length,
            Poll::Ready(_) => {
                costs.ended = true;
                break;
            }
        }
    }
    let calls = peer.calls();
    costs.wakes = wakes.get();
    costs.reads = calls.reads - begin.reads;
    costs.writes = calls.writes - begin.writes;
    costs.messages = usize::try_from(messages()).unwrap();
    costs
}

/// Every flood in every scene, as it is and four times as long.
struct Outcome {
    scene: Scene,
    flood: Flood,
    short: Costs,
    long: Costs,
}

static OUTCOMES: LazyLock<Vec<Outcome>> = LazyLock::new(|| {
    let in_scene = |scene: Scene| {
        let (_, peer) = connect(scene.role, None);
        floods(&peer).into_iter().map(move |flood| {
            let [short, long] = [TIMES, 4 * TIMES].map(|times| scene.flood(&flood, times));
            Outcome { scene, flood, short, long }
        })
    };
    Scene::all().flat_map(in_scene).collect()
});

#[test]
fn take_memory_that_does_not_depend_on_their_length() {
    for Outcome { scene, flood, short, long } in &*OUTCOMES {
        let answers = if scene.when.holds_answers() { grown(MAX_BACKLOG) } else { 0 };
        let limit = read_buffer(&scene.config, flood.payload) + answers + FIXED;
        let peak = short.peak.max(long.peak);
        assert!(peak <= limit, "{peak} bytes, not {limit}: {}, {scene:?}", flood.name);
        // an event that is on its way to an observer takes up to four
        let few = long.alive <= 4 * STEPS_PER_POLL + A_FEW;
        assert!(few, "{} allocations: {}, {scene:?}", long.alive, flood.name);
    }
}

#[test]
fn are_read_a_few_messages_and_reads_at_a_time() {
    for Outcome { scene, flood, long, .. } in &*OUTCOMES {
        let few = long.most_messages <= 2 * STEPS_PER_POLL && long.most_reads <= STEPS_PER_POLL;
        assert!(few, "{long:?}: {}, {scene:?}", flood.name);
    }
}

#[test]
fn that_are_four_times_as_long_cost_four_times_as_much() {
    for Outcome { scene, flood, short, long } in &*OUTCOMES {
        for ((what, short), (_, long)) in short.counts().into_iter().zip(long.counts()) {
            let limit = 4 * short + A_FEW;
            assert!(long <= limit, "{long} {what}, not {short}: {}, {scene:?}", flood.name);
        }
    }
}

#[test]
fn are_read_to_their_end_unless_an_answer_an_event_or_the_end_comes_first() {
    for Outcome { scene, flood, long, .. } in &*OUTCOMES {
        let times = 4 * TIMES;
        let said = format!("{long:?}: {}, {scene:?}", flood.name);
        let asks = flood.opcode == PING && scene.when.holds_answers();
        let tells = matches!(flood.opcode, PING | PONG) && scene.observer == Observer::Full;
        if tells && !scene.when.discards() {
            assert!(long.messages <= EVENTS + 2, "{said}");
        } else if asks {
            assert_eq!(
                long.messages,
                times.min(MAX_PONGS / (flood.payload + MAX_HEADER) + 1),
                "{said}"
            );
        } else if flood.opcode == CLOSE && scene.when != When::Broken {
            assert!(long.reads <= 2, "{said}");
        } else {
            let most = scene.config.read_buffer_size;
            assert!(long.reads * most >= times * flood.unit.len(), "{said}");
        }
    }
}

/// Like `Scene::flood`, but behind `before`, and until end of file.
fn discard(role: Role, before: &[u8], flood: &Bytes) -> (Costs, usize) {
    let mut costs = Costs::default();
    let mut stream = None;
    let used = measure(|| {
        let (mut ws, peer) = connect(role, Some(byte_stream_config()));
        opt_out(|| {
            peer.raw(before.to_vec());
            // more than is discarded
            (0..20).for_each(|_| peer.raw(flood.clone()));
        });
        costs = drive(&mut ws, &peer, || {});
        stream = Some(ws);
    });
    (costs, usize::try_from(used.bytes_max).unwrap())
}

#[test]
fn that_follow_a_violation_end_after_16_mib() {
    for role in ROLES {
        let (_, peer) = connect(role, None);
        for offence in [TEXT, RESERVED] {
            for (opcode, length) in [(PING, 125), (BINARY, 0), (BINARY, 60_000)] {
                let unit = peer.frame(opcode, &vec![b'x'; length]);
                let flood = Bytes::from(unit.repeat(MIB / unit.len()));
                let (costs, peak) = discard(role, &peer.frame(offence, b"text"), &flood);
                let said =
                    format!("{opcode:#x} of {length} behind {offence:#x}, {role:?}: {costs:?}");
                assert!(costs.ended, "{said}");
                // each message counts for six bytes at least
                assert!(costs.reads * 20 * KIB > 5 * MIB, "{said}");
                assert!(costs.reads * 16 * KIB < 17 * MIB, "{said}");
                let reads_of_each = length.div_ceil(20 * KIB);
                assert!(costs.most_reads <= STEPS_PER_POLL * (1 + reads_of_each), "{said}");
                let limit = read_buffer(&byte_stream_config(), length) + FIXED;
                assert!(peak <= limit, "{peak} bytes, not {limit}: {said}");
            }
        }
    }
}

#[test]
fn of_fragments_that_follow_text_end_after_1024_waits() {
    for role in ROLES {
        for payload in [&b""[..], b"x"] {
            let (mut ws, peer) = connect(role, Some(byte_stream_config()));
            let unit = Bytes::from(peer.fragment(CONTINUATION, payload).repeat(100));
            peer.raw([peer.frame(TEXT, b"text"), peer.fragment(BINARY, b"")].concat());
            for _ in 0..2000 {
                peer.steps([Step::Bytes(unit.clone()), Step::Pending]);
            }
            let costs = drive(&mut ws, &peer, || {});
            assert!(costs.ended, "{costs:?}, {payload:?}, {role:?}");
            assert!((1024..1050).contains(&costs.polls), "{costs:?}, {payload:?}, {role:?}");
        }
    }
}

#[test]
fn of_events_do_not_keep_the_memory_that_they_came_in() {
    for role in ROLES {
        let (_, peer) = connect(role, None);
        for opcode in [PING, PONG] {
            let message = peer.frame(BINARY, &vec![1; MIB]);
            let unit = Bytes::from([message, peer.frame(opcode, b"x")].concat());
            let config = byte_stream_config();
            let used = measure(|| {
                let (mut ws, peer) = connect(role, Some(config));
                let _events = Observer::Full.observe(&mut ws);
                opt_out(|| (0..2 * EVENTS).for_each(|_| peer.raw(unit.clone())));
                drive(&mut ws, &peer, || {});
            });
            let (peak, limit) = (used.bytes_max, read_buffer(&config, MIB) + FIXED);
            assert!(peak <= limit as u64, "{peak} bytes, not {limit}: {opcode}, {role:?}");
        }
    }
}

#[test]
fn of_close_reasons_do_not_keep_the_memory_that_they_came_in() {
    for role in ROLES {
        let (_, peer) = connect(role, None);
        let close = peer.frame(CLOSE, &[&1000_u16.to_be_bytes()[..], b"bye"].concat());
        let bytes = Bytes::from([peer.frame(BINARY, &vec![1; MIB]), close].concat());
        let mut events = None;
        let used = measure(|| {
            let (mut ws, peer) = connect(role, Some(byte_stream_config()));
            events = Observer::Listening.observe(&mut ws);
            opt_out(|| peer.raw(bytes.clone()));
            drive(&mut ws, &peer, || {});
        });
        let left = usize::try_from(used.bytes_current).unwrap();
        assert!(left <= FIXED, "{left} bytes wait with the event, not {FIXED}: {role:?}");
        drop(events);
    }
}

/// What a frame header announces, tungstenite reserves before it comes.
#[test]
fn of_headers_alone_take_the_largest_frame_and_no_more() {
    for role in ROLES {
        let (_, peer) = connect(role, None);
        let mut header = peer.frame(BINARY, &vec![1; MIB]);
        header.truncate(header.len() - MIB);
        let used = measure(|| {
            let (mut ws, peer) = connect(role, Some(limited(MIB)));
            opt_out(|| peer.raw(header.clone()));
            drive(&mut ws, &peer, || {});
        });
        let (peak, limit) = (used.bytes_max, MIB + 2 * 4 * KIB + FIXED);
        assert!(peak >= MIB as u64, "{peak} bytes: {role:?}");
        assert!(peak <= limit as u64, "{peak} bytes, not {limit}: {role:?}");
    }
}

/// Messages and frames have the same limit, and the read buffer is small beside it.
fn limited(limit: usize) -> WebSocketConfig {
    let config = WebSocketConfig::default().read_buffer_size(4 * KIB);
    config.max_message_size(Some(limit)).max_frame_size(Some(limit))
}

/// What is on the heap at most while a message arrives in fragments of these lengths, behind one in a
/// single frame. Either is as long as the limit allows.
fn put_together(role: Role, lengths: &[usize]) -> usize {
    let (_, peer) = connect(role, None);
    let mut frame = peer.frame(BINARY, &vec![1; MIB]);
    // the read buffer gets the size of the frame, and has to double for the next
    let payload = frame.split_off(frame.len() - MIB);
    let mut fragments = vec![peer.fragment(BINARY, b"")];
    fragments.extend(lengths.iter().map(|&length| peer.fragment(CONTINUATION, &vec![1; length])));
    let steps = [frame, payload, fragments.concat()].map(Bytes::from);
    let mut data = vec![0; MIB];
    let used = measure(|| {
        let (mut ws, peer) = connect(role, Some(limited(MIB)));
        opt_out(|| peer.steps(steps.clone().map(Step::Bytes)));
        now(ws.read_exact(&mut data)).unwrap();
        assert!(ws.read(&mut data).now_or_never().is_none());
        opt_out(|| drop(peer));
    });
    usize::try_from(used.bytes_max).unwrap()
}

#[test]
fn of_fragments_take_five_times_the_limit_of_a_message_at_most() {
    for role in ROLES {
        let few: [&[usize]; 4] =
            [&[MIB], &[MIB / 2 + 1, MIB / 2 - 1], &[MIB - 1, 1], &[9, MIB - 9]];
        let many = [1, 1000].map(|length| vec![length; MIB / length]);
        let all = few.into_iter().chain(many.iter().map(Vec::as_slice));
        let (most, lengths) =
            all.map(|lengths| (put_together(role, lengths), lengths)).max().unwrap();
        let limit = 5 * (MIB + 2 * 4 * KIB) + FIXED;
        assert!(most <= limit, "{most} bytes, not {limit}: from {} on, {role:?}", lengths[0]);
    }
}

#[test]
fn of_fragments_end_at_the_limit_of_a_message() {
    for role in ROLES {
        for (opcode, length) in [(BINARY, 1), (TEXT, 1), (BINARY, 1000)] {
            let (mut ws, peer) = connect(role, Some(limited(64 * KIB)));
            let times = 64 * KIB / length + 1;
            let fragments = peer.fragment(CONTINUATION, &vec![b'x'; length]).repeat(times);
            let bytes = Bytes::from([peer.fragment(opcode, b""), fragments].concat());
            let used = measure(|| {
                opt_out(|| peer.raw(bytes.clone()));
                assert!(drive(&mut ws, &peer, || {}).bytes == 0);
            });
            assert_eq!(peer.sent_closes()[0].0, Some(1009), "{role:?}, {opcode}, {length}");
            let limit = 5 * (64 * KIB + 2 * 4 * KIB) + FIXED;
            assert!(used.bytes_max <= limit as u64, "{} bytes, not {limit}", used.bytes_max);
        }
    }
}

/// A message that does not end, in fragments of this length.
fn endless(role: Role, length: usize, times: usize) -> Bytes {
    let (_, peer) = connect(role, None);
    let fragments = peer.fragment(CONTINUATION, &vec![b'x'; length]).repeat(times);
    [peer.fragment(BINARY, b""), fragments].concat().into()
}

#[test]
fn of_empty_fragments_take_no_memory() {
    for role in ROLES {
        let config = byte_stream_config();
        for times in [10_000, 40_000] {
            let bytes = endless(role, 0, times);
            let used = measure(|| {
                let (mut ws, peer) = connect(role, Some(config));
                opt_out(|| peer.raw(bytes.clone()));
                assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            });
            let limit = read_buffer(&config, 0) + FIXED;
            assert!(used.bytes_max <= limit as u64, "{} bytes, not {limit}", used.bytes_max);
        }
    }
}

/// What the README says about other runtimes than tokio. If it fails, tungstenite has got better.
#[test]
fn of_fragments_are_put_together_in_one_poll_while_the_transport_has_more() {
    for role in ROLES {
        for length in [0, 1] {
            let bytes = endless(role, length, 100_000);
            let (mut ws, peer) = connect(role, Some(byte_stream_config()));
            peer.raw(bytes.clone());
            let costs = drive(&mut ws, &peer, || {});
            assert_eq!(costs.polls, 1, "{costs:?}");
            assert!(costs.reads * 20 * KIB >= bytes.len(), "{costs:?}");
        }
    }
}

/// What can be done about that on any runtime.
#[test]
fn of_fragments_are_read_in_turns_where_the_transport_yields() {
    for role in ROLES {
        let bytes = endless(role, 0, 100_000);
        let (mut ws, peer) = connect(role, Some(byte_stream_config()));
        let parts: Vec<_> = bytes.chunks(20 * KIB).map(Bytes::copy_from_slice).collect();
        peer.steps(parts.iter().flat_map(|part| [Step::Bytes(part.clone()), Step::Pending]));
        let costs = drive(&mut ws, &peer, || {});
        assert_eq!(costs.polls, parts.len() + 1, "{costs:?}");
    }
}

/// tokio lets a task read 128 times in one turn.
#[test]
fn leave_other_tasks_on_tokio_their_turns() {
    for role in ROLES {
        let (_, peer) = connect(role, None);
        let endless = [b"".as_slice(), b"x"]
            .map(|payload| peer.fragment(CONTINUATION, payload))
            .map(|unit| (peer.fragment(BINARY, b""), unit));
        let repeated = floods(&peer)
            .into_iter()
            .filter(|flood| flood.opcode != CLOSE && flood.opcode != RESERVED);
        let repeated = repeated.map(|flood| (Vec::new(), flood.unit));
        for (first, unit) in repeated.chain(endless) {
            let bytes = [first, unit.repeat(MIB / unit.len())].concat();
            let turns = turns_of_another_task(role, &bytes);
            let least = MIB / (128 * KIB);
            assert!(turns >= least, "{turns} turns, not {least}: {:?}, {role:?}", &unit[..2]);
        }
    }
}

/// How often another task has its turn until all of it is read.
fn turns_of_another_task(role: Role, bytes: &[u8]) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (mut peer, transport) = tokio::io::duplex(4 * MIB);
        tokio::io::AsyncWriteExt::write_all(&mut peer, bytes).await.unwrap();
        tokio::io::AsyncWriteExt::shutdown(&mut peer).await.unwrap();
        let config = limited(4 * MIB).read_buffer_size(KIB);
        let socket = websocket(TokioAdapter::new(transport), role, Some(config)).await;
        let mut ws = WsStream::new(socket);
        let reader = tokio::spawn(async move {
            let mut buf = [0; 8 * KIB];
            while ws.read(&mut buf).await.unwrap() > 0 {}
        });
        let another = tokio::spawn(async move {
            let mut turns = 0;
            poll_fn(|cx| {
                turns += 1;
                // `yield_now` would wait for more than the other's turn
                cx.waker().wake_by_ref();
                if reader.is_finished() { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            turns
        });
        let turns = another.await.unwrap();
        drop(peer); // it does not read what answers it
        turns
    })
}

impl Costs {
    /// What grows with the length of a flood.
    fn counts(&self) -> [(&'static str, usize); 5] {
        [
            ("allocations", self.allocations),
            ("polls", self.polls),
            ("wakes", self.wakes),
            ("reads", self.reads),
            ("writes", self.writes),
        ]
    }
}

/// The most that a `Vec` takes while it grows to hold `length` bytes: what it had, and the double.
fn grown(length: usize) -> usize {
    3 * length
}

/// The most that tungstenite's read buffer takes while it grows, where no frame carries more than
/// `payload`: it doubles where it has no room for a frame and for two reads of the transport.
fn read_buffer(config: &WebSocketConfig, payload: usize) -> usize {
    grown(payload + MAX_HEADER + 2 * config.read_buffer_size)
}

/// How often a unit of a flood comes.
const TIMES: usize = 250;

/// How many events fit into the channel of an observer who does not take them.
const EVENTS: usize = 4;

/// Of messages without data, or reads of what is discarded.
const STEPS_PER_POLL: usize = 64;

/// How much is written ahead of the transport, in bytes, with pongs.
const MAX_BACKLOG: usize = 128 * KIB + MAX_PONGS;

/// The largest header of a frame, in bytes.
const MAX_HEADER: usize = 14;

/// How many bytes of pongs may wait.
const MAX_PONGS: usize = 64 * KIB;

/// What does not depend on the configuration, in bytes: the buffer for what is discarded, events, what
/// the stream shares with its handles.
const FIXED: usize = 24 * KIB;

/// Buffers that grow, and what happens once.
const A_FEW: usize = 16;
