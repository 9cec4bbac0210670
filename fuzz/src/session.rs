//! `Session`: a stream whose peer is a script, and what has to come of what the peer says.

use ws_stream_tungstenite::{CloseEvent, WsErr, WsEvent, WsState, tungstenite::protocol::Role};

use crate::{
    both::{Backend, Seen},
    endpoint::{self, Endpoint, Observer, Op, ReadEnd},
    frames::{CLOSE, Ending, FIN, Heard, Listener, PING, may_be_sent, raw_frame},
    pipe::{self, End},
    setup::Setup,
};

pub struct Session {
    /// One, in a form that suits `endpoint::settle`.
    ends: [Endpoint; 1],
    peer: End,
    /// What the peer is about to send.
    unsent: Vec<u8>,
    /// What it has sent.
    said: Vec<u8>,
}

impl Session {
    pub fn new(backend: Backend, role: Role, setup: Setup) -> Self {
        let [end, peer] = pipe::connection();
        let ends = [Endpoint::new(backend, role, setup, end)];
        Self { ends, peer, unsent: Vec::new(), said: Vec::new() }
    }

    pub fn stream(&mut self) -> &mut Endpoint {
        &mut self.ends[0]
    }

    /// Lets the peer say something, which `send` sends.
    pub fn say(&mut self, bytes: &[u8]) {
        if self.unsent.len() + self.said.len() + bytes.len() <= MAX_SAID {
            self.unsent.extend(bytes);
        }
    }

    /// Sends so many bytes of what the peer says.
    pub fn send(&mut self, amount: usize) {
        let amount = amount.min(self.unsent.len());
        if amount > 0 && !self.peer.has_ended() {
            let bytes: Vec<_> = self.unsent.drain(..amount).collect();
            self.peer.send(&bytes);
            self.said.extend(bytes);
        }
    }

    /// Lets the peer take so many bytes of what it was sent.
    pub fn receive(&self, amount: usize) {
        self.peer.receive(amount);
    }

    /// Ends what the peer sends.
    pub fn end(&self) {
        self.peer.end();
    }

    pub fn settle(&mut self, is_writer_first: bool) {
        endpoint::settle(&mut self.ends, is_writer_first);
    }

    /// Lets the peer say everything, and the stream do all that it can do while the peer stays.
    pub fn come_to_rest(&mut self) {
        self.send(usize::MAX);
        self.stream().run(Op::WaitForEnd);
        endpoint::unblock(&mut self.ends);
        self.read_on();
        self.stream().check_at_rest();
        self.check_pongs();
        self.check_heard();
        self.check_handle();
    }

    /// Ends the connection, which is over then.
    pub fn finish(&mut self) {
        self.end();
        self.settle(true);
        self.read_on();
        self.stream().check_over();
        self.check_heard();
        self.check_end();
    }

    /// What the stream held at most is what its limits allow.
    pub fn check_memory(&self) {
        let [stream] = &self.ends;
        let peak = stream.memory.peak;
        let bound = memory_bound(stream);
        assert!(peak <= bound, "{peak} bytes were held, and {bound} are allowed");
    }

    fn read_on(&mut self) {
        let mut is_moving = true;
        while is_moving {
            let before = self.stream().progress();
            self.stream().read_on();
            self.settle(false);
            self.stream().watch_all();
            is_moving = self.stream().progress() > before;
        }
    }

    /// What the peer said, as the stream has to understand it.
    pub fn heard(&self) -> Heard {
        let [stream] = &self.ends;
        let Setup { passes_text, .. } = stream.setup;
        Listener { receiver: stream.role, websocket: stream.websocket, passes_text }
            .hear(&self.said)
    }

    /// Lets the peer answer the close frame that it was sent.
    pub fn answer_close(&mut self) {
        let role = self.stream().role;
        if let Some(payload) = self.stream().sent.close.clone() {
            self.say(&raw_frame(FIN | CLOSE, role == Role::Server, &payload));
            self.send(usize::MAX);
        }
    }

    /// Drops the stream. Returns all that was seen.
    pub fn abandon(self) -> Vec<Seen> {
        let [stream] = self.ends;
        stream.abandon()
    }

    /// Returns all that was seen.
    pub fn into_seen(self) -> Vec<Seen> {
        let [stream] = self.ends;
        stream.into_seen()
    }

    /// What the handle says is right. Holds at rest.
    fn check_handle(&self) {
        let [stream] = &self.ends;
        let heard = self.heard();
        let is_quiet = heard.ending == Ending::None && !stream.end.is_left();
        if stream.end.fails() || !stream.has_ample_buffer() {
            return;
        }
        let is_open = stream.meta.ready_state() == WsState::Open;
        assert_eq!(is_open, is_quiet && stream.asked.is_none(), "{:?}", heard.ending);
        if is_quiet {
            assert_eq!(stream.sent.close, stream.asked, "the close frame is who was first's");
            check_counters(stream, &heard);
        }
    }

    /// What was read and told is what the peer said.
    fn check_heard(&self) {
        let [stream] = &self.ends;
        let heard = self.heard();
        assert!(heard.data.starts_with(&stream.read), "nothing else was read");
        let is_cut_off = stream.end.fails();
        if !is_cut_off {
            assert_eq!(stream.read.len(), heard.data.len(), "all data was read");
            let messages = stream.meta.counters().messages_received;
            assert_eq!(messages, heard.messages, "all messages were counted");
        }
        for observer in stream.observers.iter().filter(|observer| observer.is_first) {
            check_told(observer, &heard, is_cut_off);
        }
    }

    /// The last ping was answered, if any can be.
    fn check_pongs(&self) {
        let [stream] = &self.ends;
        let heard = self.heard();
        if heard.ending == Ending::Text {
            return; // what follows is answered too
        }
        let mut pings = heard.controls.iter().filter(|frame| frame.opcode() == PING);
        for pong in &stream.sent.pongs {
            assert!(pings.any(|ping| ping.payload == *pong), "a pong answers a ping, in order");
        }
        let is_open =
            heard.ending == Ending::None && stream.sent.close.is_none() && !stream.end.is_left();
        if is_open && stream.has_ample_buffer() && !stream.end.fails() {
            assert!(pings.next().is_none(), "the last ping was answered");
        }
    }

    fn check_end(&self) {
        let [stream] = &self.ends;
        if stream.end.fails() {
            return;
        }
        let heard = self.heard();
        let is_unclean = !matches!(heard.ending, Ending::Close { .. });
        let expected = if stream.setup.unclean_is_error && is_unclean {
            ReadEnd::Unclean
        } else {
            ReadEnd::EndOfFile
        };
        assert_eq!(stream.read_end, Some(expected), "after {:?}", heard.ending);
        if heard.ending != Ending::None && stream.has_ample_buffer() {
            assert!(stream.sent.close.is_some(), "a close frame has left");
            assert!(stream.end.is_shut_down(), "the transport is shut down");
        }
        let event = stream.close_event.as_ref().expect("who waited for the end was told");
        self.check_close_event(event, &heard);
    }

    fn check_close_event(&self, event: &CloseEvent, heard: &Heard) {
        let [stream] = &self.ends;
        match &heard.ending {
            Ending::Close { payload } => {
                let code = code(payload);
                let is_replaced = event.code == 1002 && !may_be_sent(code);
                assert!(event.code == code || is_replaced, "{event:?} after {code}");
                let is_answered = stream.sent.close.is_some();
                assert!(is_answered || !event.was_clean, "{event:?} without a close frame");
                let is_lossless = stream.has_ample_buffer() && stream.setup.collects.is_none();
                assert!(event.was_clean || !is_lossless, "{event:?}");
            }
            // it may close yet
            Ending::Text => {}
            Ending::None | Ending::Violation => {
                assert_eq!((event.code, event.was_clean), (1006, false));
            }
        }
    }
}

/// The counters are those of what went over the wire.
fn check_counters(stream: &Endpoint, heard: &Heard) {
    let counters = stream.meta.counters();
    let sent = &stream.sent;
    assert_eq!(counters.messages_sent, sent.messages);
    assert_eq!(counters.bytes_sent, sent.data.len() as u64);
    assert_eq!(counters.pings_sent, sent.pings);
    assert_eq!(counters.pongs_sent, sent.pongs.len() as u64);
    assert_eq!(counters.bytes_received, heard.data.len() as u64);
    let pings = heard.controls.iter().filter(|frame| frame.opcode() == PING).count();
    assert_eq!(counters.pings_received, pings as u64);
    assert_eq!(counters.pongs_received, (heard.controls.len() - pings) as u64);
}

/// The code in the payload of a close frame, or what stands for none.
fn code(payload: &[u8]) -> u16 {
    payload.split_first_chunk().map_or(1005, |(code, _)| u16::from_be_bytes(*code))
}

/// An observer was told of all pings and pongs up to the end, and of that.
fn check_told(observer: &Observer, heard: &Heard, is_cut_off: bool) {
    let mut told = observer.told.iter().filter(|event| !is_about_sending(event));
    for frame in &heard.controls {
        match told.next() {
            Some(WsEvent::Ping(data)) if frame.opcode() == PING => {
                assert_eq!(data[..], frame.payload, "the payload of a ping");
            }
            Some(WsEvent::Pong(data)) if frame.opcode() != PING => {
                assert_eq!(data[..], frame.payload, "the payload of a pong");
            }
            event => return assert!(is_cut_off, "{event:?} instead of {frame:?}"),
        }
    }
    let Some(event) = told.next() else {
        return assert!(heard.ending == Ending::None || is_cut_off, "{:?}", heard.ending);
    };
    let is_right = match &heard.ending {
        Ending::None => is_error(event, |error| matches!(error, WsErr::MissingCloseFrame)),
        Ending::Text => is_error(event, |error| matches!(error, WsErr::ReceivedText)),
        Ending::Violation => {
            is_error(event, |error| matches!(error, WsErr::Protocol | WsErr::Tungstenite { .. }))
        }
        Ending::Close { .. } => matches!(event, WsEvent::CloseFrame(_)),
    };
    assert!(is_right || is_cut_off, "{event:?} after {:?}", heard.ending);
}

fn is_error(event: &WsEvent, is_right: impl Fn(&WsErr) -> bool) -> bool {
    matches!(event, WsEvent::Error(error) if is_right(error))
}

/// Whether something could not be sent, which may be told at any time.
fn is_about_sending(event: &WsEvent) -> bool {
    is_error(event, |error| matches!(error, WsErr::Io { .. } | WsErr::Closed))
}

/// What a stream may hold at most, in bytes. A buffer that grows doubles, and is there twice meanwhile.
fn memory_bound(stream: &Endpoint) -> i64 {
    const GROWTH: usize = 3;
    let limits = &stream.websocket;
    let frame = limits.read_buffer_size + limits.max_frame_size.unwrap_or(MAX_SAID);
    // the message that is being put together; the one that is being read is part of the frames
    let message = limits.max_message_size.unwrap_or(MAX_SAID).min(MAX_SAID);
    let written = stream.setup.message_size();
    let events: usize = stream.observers.iter().map(|observer| observer.told.len()).sum();
    let bound =
        GROWTH * (frame + message + MAX_UNSENT + 2 * written) + LINGER + events * EVENT + REST;
    i64::try_from(bound).unwrap()
}

/// What waits for the transport at most besides a message, in bytes: data and pongs.
const MAX_UNSENT: usize = (128 + 64) * 1024;

/// Where what follows an offending message is discarded, in bytes.
const LINGER: usize = 16 * 1024;

/// An event that was not taken, in bytes, with its payload and its place in the channel.
const EVENT: usize = 512;

/// Pings that wait, who waits, and whatever is small, in bytes.
const REST: usize = 8 * 1024;

/// How much a peer says at most, in bytes.
const MAX_SAID: usize = 1 << 20;
