//! `WsStream::from_messages`: a websocket behind adapters, and messages of whatever library.

use std::{
    collections::VecDeque,
    io::{self, ErrorKind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, Sink, SinkExt, Stream,
    StreamExt, future::ready,
};
use pharos::{Events, Observable, ObserveConfig};
use tungstenite::{
    Bytes, Error, Message,
    protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
};
use ws_stream_tungstenite::{
    Messages, UncleanEnd, Writes, WsConfig, WsErr, WsEvent, WsMeta, WsState, WsStream, pharos,
    tungstenite,
};

use crate::support::{
    BINARY, PING, PONG, Peer, RESERVED, ROLES, Random, TEXT, Task, is_flinching, now, pattern,
    read_all, settle, socket, told,
};

type OverMessages<M> = WsStream<M, Messages<M>>;

fn observe(mut meta: WsMeta) -> Events<WsEvent> {
    now(meta.observe(ObserveConfig::default())).unwrap()
}

mod behind_adapters {
    use super::*;

    /// A websocket of which only the messages can be reached.
    fn adapted(
        role: Role,
        config: Option<WebSocketConfig>,
    ) -> (impl Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin, Peer)
    {
        let (socket, peer) = socket(role, config);
        let messages = socket.map(|message| message).with(|message: Message| ready(Ok(message)));
        (messages, peer)
    }

    fn connect(
        role: Role,
        config: WsConfig,
    ) -> (
        OverMessages<
            impl Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + Unpin,
        >,
        Peer,
    ) {
        let (messages, peer) = adapted(role, None);
        (WsStream::from_messages(messages, Some(config)), peer)
    }

    #[test]
    fn bytes_go_both_ways() {
        for role in ROLES {
            let (mut ws, peer) = connect(role, WsConfig::new());
            now(ws.write_all(b"question")).unwrap();
            assert_eq!(peer.sent_data(), b"question", "a write leaves at once");
            peer.binary(b"ans");
            peer.binary(b"wer");
            let mut answer = [0; 6];
            now(ws.read_exact(&mut answer)).unwrap();
            assert_eq!(&answer, b"answer");
        }
    }

    #[test]
    fn the_peers_close_frame_is_answered_and_told() {
        for role in ROLES {
            let (mut ws, peer) = connect(role, WsConfig::new());
            let (meta, mut events) = (ws.meta(), observe(ws.meta()));
            peer.binary(b"last");
            peer.close_frame(1000, "bye");
            peer.end();
            let (data, result) = read_all(&mut ws);
            assert_eq!(data, b"last");
            assert!(result.is_ok());
            assert_eq!(peer.sent_closes(), [(Some(1000), "bye".into())]);
            assert_eq!(told(&mut events), ["close 1000 \"bye\"", "closed"]);
            assert!(now(meta.closed()).was_clean);
        }
    }

    #[test]
    fn closing_is_complete_when_the_peer_has_answered() {
        for role in ROLES {
            let (mut ws, peer) = connect(role, WsConfig::new());
            let (meta, mut events) = (ws.meta(), observe(ws.meta()));
            now(ws.write_all(b"last")).unwrap();
            assert!(meta.close(4000, "enough").now_or_never().is_none());
            now(ws.flush()).unwrap();
            assert_eq!(peer.sent_data(), b"last");
            assert_eq!(peer.sent_closes(), [(Some(4000), "enough".into())]);
            assert_eq!(now(ws.write(b"x")).unwrap_err().kind(), ErrorKind::NotConnected);
            peer.binary(b"more");
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 4);
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            peer.close_frame(4000, "");
            peer.end();
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
            assert_eq!(told(&mut events), ["close 4000 \"\"", "closed"]);
            assert!(now(meta.closed()).was_clean);
        }
    }

    #[test]
    fn the_close_frame_of_whoever_closes_first_leaves_a_transport_that_buffers() {
        for role in ROLES {
            let (mut ws, peer) = connect(role, WsConfig::new());
            peer.buffer();
            now(ws.close()).unwrap();
            assert_eq!(peer.sent_closes().len(), 1, "{role:?}");
        }
    }

    #[test]
    fn pings_go_both_ways() {
        let (mut ws, peer) = connect(Role::Server, WsConfig::new());
        let (meta, mut events) = (ws.meta(), observe(ws.meta()));
        peer.send(PING, b"theirs");
        meta.ping(b"ours").unwrap();
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        peer.send(PONG, b"ours");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        assert_eq!(told(&mut events), ["ping theirs", "pong ours"]);
        let mut sent = peer.sent();
        sent.sort_by_key(|frame| frame.opcode);
        let sent: Vec<_> = sent.iter().map(|frame| (frame.opcode, &frame.payload[..])).collect();
        assert_eq!(sent, [(PING, &b"ours"[..]), (PONG, b"theirs")]);
    }

    #[test]
    fn text_is_refused_or_passed_as_chosen() {
        use ws_stream_tungstenite::TextMessages;

        for role in ROLES {
            let (mut ws, peer) = connect(role, WsConfig::new());
            let mut events = observe(ws.meta());
            peer.send(TEXT, b"text");
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none(), "the peer has to answer");
            assert_eq!(peer.sent_closes()[0].0, Some(1003));
            peer.close_frame(1003, "");
            peer.end();
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
            assert_eq!(told(&mut events), ["error: ReceivedText", "close 1003 \"\"", "closed"]);

            let passing = WsConfig::new().text_messages(TextMessages::PassBytes);
            let (mut ws, peer) = connect(role, passing);
            peer.send(TEXT, b"text");
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 4);
        }
    }

    #[test]
    fn a_peer_that_breaks_a_rule_is_refused_and_not_waited_for() {
        for role in ROLES {
            let (mut ws, peer) = connect(role, WsConfig::new());
            let mut events = observe(ws.meta());
            peer.binary(b"data");
            peer.send(RESERVED, b"");
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 4);
            peer.block();
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none(), "the close frame has to leave");
            peer.unblock();
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
            assert_eq!(peer.sent_closes()[0].0, Some(1002));
            assert_eq!(told(&mut events), ["error: Protocol", "closed"]);
            assert_eq!(now(ws.write(b"x")).unwrap_err().kind(), ErrorKind::NotConnected);
        }
    }

    #[test]
    fn a_transport_that_ends_without_a_close_frame_is_told() {
        for role in ROLES {
            let strict = WsConfig::new().unclean_end(UncleanEnd::Error);
            let (mut ws, peer) = connect(role, strict);
            let mut events = observe(ws.meta());
            peer.end();
            let error = now(ws.read(&mut [0; 8])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
            assert_eq!(told(&mut events), ["error: MissingCloseFrame", "closed"]);
        }
    }

    #[test]
    fn a_transport_that_fails_is_an_error_of_reads_and_writes() {
        for role in ROLES {
            let (mut ws, peer) = connect(role, WsConfig::new());
            let mut events = observe(ws.meta());
            peer.fail_writes(ErrorKind::BrokenPipe);
            let _ = ws.write(b"data").now_or_never();
            assert_eq!(told(&mut events), ["error: Io(BrokenPipe)"]);
            peer.binary(b"whole");
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 5);

            let (mut ws, peer) = connect(role, WsConfig::new());
            peer.steps([crate::support::Step::Error(ErrorKind::TimedOut)]);
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap_err().kind(), ErrorKind::TimedOut);
            assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        }
    }

    /// The lengths of the messages that a write of 200 bytes becomes.
    fn lengths(role: Role, websocket: Option<WebSocketConfig>, config: WsConfig) -> Vec<usize> {
        let (messages, peer) = adapted(role, websocket);
        let mut ws = WsStream::from_messages(messages, Some(config));
        now(ws.write_all(&[1; 200])).unwrap();
        now(ws.flush()).unwrap();
        assert_eq!(peer.sent_data(), [1; 200]);
        peer.sent().iter().map(|frame| frame.payload.len()).collect()
    }

    #[test]
    fn the_limits_of_the_config_apply_to_what_is_written() {
        let limits = WebSocketConfig::default();
        for role in ROLES {
            let config = WsConfig::new().max_message(80);
            assert_eq!(lengths(role, None, config), [80, 80, 40]);
            for limits in [limits.max_message_size(Some(100)), limits.max_frame_size(Some(100))] {
                let config = WsConfig::new().websocket(limits);
                assert_eq!(lengths(role, None, config), [100, 100]);
            }
        }
    }

    #[test]
    fn a_write_buffer_that_is_small_for_masks_does_not_overflow() {
        for role in ROLES {
            for room in 60..70 {
                let tight =
                    WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(room);
                let config = WsConfig::new().websocket(tight);
                let lengths = lengths(role, Some(tight), config);
                assert!(lengths[0] >= room - 6, "{role:?}, {room}: {lengths:?}");
            }
        }
    }

    #[test]
    fn small_writes_are_collected_as_chosen() {
        for role in ROLES {
            let (mut ws, peer) = connect(role, WsConfig::new().writes(Writes::Collect(10)));
            for byte in b"0123456789ab" {
                now(ws.write_all(&[*byte])).unwrap();
            }
            assert_eq!(peer.sent_data(), b"0123456789");
            now(ws.flush()).unwrap();
            assert_eq!(peer.sent().last().unwrap().opcode, BINARY);
            assert_eq!(peer.sent_data(), b"0123456789ab");
        }
    }
}

/// What comes of messages next.
#[derive(Debug)]
enum Incoming {
    Message(Message),
    Error(Error),
    End,
}

/// Where the sink fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    Send,
    Flush,
    Close,
}

/// Messages of another library, with little room. Panics where it is not polled as `Stream` and
/// `Sink` demand. Remembers the last waker only, for each of the two.
#[derive(Debug, Clone, Default)]
struct Strict(Arc<Mutex<State>>);

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct State {
    incoming: VecDeque<Incoming>,
    /// What was accepted, and has not left.
    accepted: Vec<Message>,
    sent: Vec<Message>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// How many messages may leave, if not all.
    room: Option<usize>,
    blocks_close: bool,
    flinches: usize,
    fails: Option<Place>,
    has_failed: bool,
    is_ready: bool,
    has_ended: bool,
    /// A close frame was sent.
    is_closing: bool,
    is_closed: bool,
}

impl State {
    fn fail_at(&mut self, place: Place) -> Result<(), Error> {
        assert!(!self.has_failed, "polled at {place:?} behind an error");
        match self.fails {
            Some(failing) if failing == place => {
                self.has_failed = true;
                Err(Error::Io(io::Error::new(ErrorKind::BrokenPipe, "the sink is broken")))
            }
            _ => Ok(()),
        }
    }

    fn poll_send_accepted(&mut self, cx: &Context<'_>) -> Poll<()> {
        let length = self.accepted.len().min(self.room.unwrap_or(usize::MAX));
        self.sent.extend(self.accepted.drain(..length));
        self.room = self.room.map(|room| room - length);
        if self.accepted.is_empty() {
            return Poll::Ready(());
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Answers as websockets do by themselves.
    fn on_message(&mut self, message: &Message) {
        match message {
            Message::Ping(data) if !self.is_closing => {
                self.accepted.push(Message::Pong(data.clone()));
            }
            Message::Close(frame) if !self.is_closing => {
                self.accepted.push(Message::Close(frame.clone()));
                self.is_closing = true;
            }
            _ => {}
        }
    }
}

impl Strict {
    fn connect(config: WsConfig) -> (OverMessages<Self>, Self) {
        let messages = Self::default();
        (WsStream::from_messages(messages.clone(), Some(config)), messages)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn feed(&self, incoming: impl IntoIterator<Item = Incoming>) {
        let mut state = self.state();
        state.incoming.extend(incoming);
        state.reader.take().into_iter().for_each(Waker::wake);
    }

    fn say(&self, message: Message) {
        self.feed([Incoming::Message(message)]);
    }

    fn close_frame(&self, code: u16) {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "".into() };
        self.feed([Incoming::Message(Message::Close(Some(frame))), Incoming::End]);
    }

    /// Changes what the sink does.
    fn set(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        state.writer.take().into_iter().for_each(Waker::wake);
    }

    fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    fn sent_data(&self) -> Vec<u8> {
        let state = self.state();
        let data = state.sent.iter().filter(|message| message.is_binary());
        data.flat_map(|message| message.clone().into_data().to_vec()).collect()
    }

    fn sent_closes(&self) -> usize {
        self.state().sent.iter().filter(|message| message.is_close()).count()
    }
}

impl Stream for Strict {
    type Item = Result<Message, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut state = self.state();
        assert!(!state.has_ended, "polled for messages behind the end");
        if is_flinching(&mut state.flinches, cx) {
            return Poll::Pending;
        }
        match state.incoming.pop_front() {
            Some(Incoming::Message(message)) => {
                state.on_message(&message);
                Poll::Ready(Some(Ok(message)))
            }
            Some(Incoming::Error(error)) => {
                state.has_ended = true;
                Poll::Ready(Some(Err(error)))
            }
            Some(Incoming::End) => {
                state.has_ended = true;
                Poll::Ready(None)
            }
            None => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// How many messages wait in it.
const CAPACITY: usize = 2;

impl Sink<Message> for Strict {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.state();
        assert!(!state.is_closed, "polled for room behind the end");
        state.fail_at(Place::Ready)?;
        if is_flinching(&mut state.flinches, cx) {
            return Poll::Pending;
        }
        if state.accepted.len() >= CAPACITY {
            let _ = state.poll_send_accepted(cx);
        }
        state.is_ready = state.accepted.len() < CAPACITY;
        if state.is_ready { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        let mut state = self.state();
        assert!(!state.is_closed, "sent behind the end");
        assert!(std::mem::take(&mut state.is_ready), "sent {message:?} without asking for room");
        state.fail_at(Place::Send)?;
        if state.is_closing {
            return Err(Error::AlreadyClosed);
        }
        state.is_closing = message.is_close();
        state.accepted.push(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.state();
        assert!(!state.is_closed, "flushed behind the end");
        state.fail_at(Place::Flush)?;
        if is_flinching(&mut state.flinches, cx) {
            return Poll::Pending;
        }
        state.poll_send_accepted(cx).map(Ok)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut state = self.state();
        assert!(!state.is_closed, "closed twice");
        if is_flinching(&mut state.flinches, cx) {
            return Poll::Pending;
        }
        if state.blocks_close || state.poll_send_accepted(cx).is_pending() {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.is_closed = true;
        Poll::Ready(state.fail_at(Place::Close))
    }
}

fn binary(payload: &'static [u8]) -> Message {
    Message::Binary(Bytes::from_static(payload))
}

#[test]
fn the_sink_is_closed_behind_both_close_frames_and_not_before() {
    for peer_is_first in [true, false] {
        let (mut ws, peer) = Strict::connect(WsConfig::new());
        if !peer_is_first {
            now(ws.close()).unwrap();
            assert_eq!(peer.sent_closes(), 1);
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
        }
        assert!(!peer.is_closed());
        peer.set(|state| state.room = Some(0));
        peer.close_frame(1000);
        if peer_is_first {
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none(), "the answer has to leave");
            assert!(!peer.is_closed());
        }
        peer.set(|state| state.room = None);
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        assert!(peer.is_closed());
        assert_eq!(peer.sent_closes(), 1);
    }
}

#[test]
fn end_of_file_waits_until_the_sink_is_closed() {
    let (ws, peer) = Strict::connect(WsConfig::new());
    peer.set(|state| state.blocks_close = true);
    let (mut reader, _) = reader(ws);
    peer.close_frame(1000);
    reader.poll_if_woken();
    assert!(!reader.is_done() && !reader.is_woken());
    peer.set(|state| state.blocks_close = false);
    reader.poll_if_woken();
    assert!(reader.is_done() && peer.is_closed());
}

/// A task that reads to the end, and what it has read.
fn reader(mut half: impl AsyncRead + Send + Unpin + 'static) -> (Task, Arc<Mutex<Vec<u8>>>) {
    let data = Arc::new(Mutex::new(Vec::new()));
    let read = Arc::clone(&data);
    let mut task = Task::new(async move {
        let mut buf = [0; 7];
        while let Ok(length @ 1..) = half.read(&mut buf).await {
            read.lock().unwrap().extend_from_slice(&buf[..length]);
        }
    });
    task.poll_if_woken();
    (task, data)
}

/// A task that writes pieces of a pattern, flushes, and closes.
fn writer(mut half: impl AsyncWrite + Send + Unpin + 'static, pieces: Vec<usize>) -> Task {
    let mut task = Task::new(async move {
        let mut start = 0;
        for length in pieces {
            half.write_all(&pattern(start, length)).await.unwrap();
            start += length;
        }
        half.flush().await.unwrap();
        half.close().await.unwrap();
    });
    task.poll_if_woken();
    task
}

#[test]
fn a_writer_is_woken_when_the_sink_has_room_although_a_reader_waits_too() {
    for collects in [false, true] {
        let writes = if collects { Writes::Collect(10) } else { Writes::AtOnce };
        let (ws, peer) = Strict::connect(WsConfig::new().writes(writes));
        let (reading, writing) = ws.split();
        peer.set(|state| state.room = Some(0));
        let mut writer = writer(writing, vec![10; 50]);
        let (mut reader, _) = reader(reading);
        settle(&mut [&mut reader, &mut writer]);
        assert!(!writer.is_done());
        assert!(peer.sent_data().is_empty());
        peer.set(|state| state.room = None);
        assert!(writer.is_woken());
        settle(&mut [&mut reader, &mut writer]);
        assert!(writer.is_done());
        assert_eq!(peer.sent_data(), pattern(0, 500));
        assert_eq!(peer.sent_closes(), 1);
        peer.close_frame(1000);
        settle(&mut [&mut reader, &mut writer]);
        assert!(reader.is_done());
    }
}

#[test]
fn a_sink_that_fails_is_an_error_of_writing_once_and_reading_goes_on() {
    for place in [Place::Ready, Place::Send, Place::Flush] {
        let (mut ws, peer) = Strict::connect(WsConfig::new());
        let mut events = observe(ws.meta());
        now(ws.flush()).unwrap();
        peer.set(|state| state.fails = Some(place));
        let error = now(ws.write(b"data")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{place:?}");
        assert!(error.to_string().contains("the sink is broken"), "{error}");
        assert_eq!(told(&mut events), ["error: Io(BrokenPipe)"]);
        assert_eq!(now(ws.write(b"data")).unwrap_err().kind(), ErrorKind::NotConnected);
        now(ws.flush()).unwrap();
        peer.say(binary(b"whole"));
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 5);
        // what asks for an answer: that of futures which maps errors panics behind its first
        peer.say(Message::Ping(Bytes::new()));
        peer.close_frame(1000);
        assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
        now(ws.close()).unwrap();
        assert_eq!(told(&mut events), ["ping ", "close 1000 \"\"", "closed"]);
        assert!(!now(ws.meta().closed()).was_clean);
    }
}

#[test]
fn a_sink_that_fails_when_it_is_closed_loses_nothing() {
    let (mut ws, peer) = Strict::connect(WsConfig::new());
    let (meta, mut events) = (ws.meta(), observe(ws.meta()));
    peer.set(|state| state.fails = Some(Place::Close));
    peer.close_frame(1000);
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
    assert_eq!(told(&mut events), ["close 1000 \"\"", "closed"]);
    assert!(now(meta.closed()).was_clean);
}

#[test]
fn a_stream_that_ends_without_a_close_frame_is_cut_off() {
    for unclean_end in [UncleanEnd::EndOfFile, UncleanEnd::Error] {
        let (mut ws, peer) = Strict::connect(WsConfig::new().unclean_end(unclean_end));
        let (meta, mut events) = (ws.meta(), observe(ws.meta()));
        peer.say(binary(b"half of"));
        peer.feed([Incoming::End]);
        let (data, result) = read_all(&mut ws);
        assert_eq!(data, b"half of");
        assert_eq!(told(&mut events), ["error: MissingCloseFrame", "closed"]);
        assert_eq!(result.is_err(), unclean_end == UncleanEnd::Error, "{result:?}");
        assert!(!now(meta.closed()).was_clean);
    }
}

#[test]
fn a_stream_that_ends_where_the_answer_to_our_close_frame_should_come_is_cut_off() {
    let (mut ws, peer) = Strict::connect(WsConfig::new());
    let (meta, mut events) = (ws.meta(), observe(ws.meta()));
    now(ws.close()).unwrap();
    peer.feed([Incoming::End]);
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
    assert_eq!(told(&mut events), ["error: MissingCloseFrame", "closed"]);
    assert_eq!(now(meta.closed()).code, 1006);
}

#[test]
fn a_stream_that_fails_is_an_error_of_reading_once() {
    let (mut ws, peer) = Strict::connect(WsConfig::new());
    let mut events = observe(ws.meta());
    peer.feed([Incoming::Error(Error::Io(ErrorKind::TimedOut.into()))]);
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(now(ws.read(&mut [0; 8])).unwrap(), 0);
    assert_eq!(told(&mut events), ["error: Io(TimedOut)", "closed"]);
}

#[test]
fn messages_can_be_got_back() {
    let (mut ws, peer) = Strict::connect(WsConfig::new());
    now(ws.write(b"data")).unwrap();
    assert_eq!(ws.get_ref().get_ref().sent_data(), b"data");
    ws.get_mut().get_mut().say(binary(b"more"));
    assert_eq!(now(ws.read(&mut [0; 2])).unwrap(), 2);
    let meta = ws.meta();
    let messages = ws.into_inner().into_inner();
    assert!(Arc::ptr_eq(&messages.0, &peer.0));
    assert_eq!(meta.ready_state(), WsState::Closed);
    assert!(matches!(meta.ping(b"?"), Err(WsErr::Closed)));
}

/// A conversation over a sink that is `Pending`, short of room and late at random.
fn converse(seed: u64) {
    let mut random = Random::new(seed);
    let writes = if random.one_in(2) { Writes::Collect(20) } else { Writes::AtOnce };
    let (ws, peer) = Strict::connect(WsConfig::new().writes(writes));
    peer.set(|state| state.room = Some(0));
    let meta = ws.meta();
    let mut events = observe(meta.clone());
    let (reading, writing) = ws.split();
    let pieces: Vec<_> = (0..random.below(20)).map(|_| random.below(60)).collect();
    let written = pieces.iter().sum();
    let (mut reader, data) = reader(reading);
    let mut writer = writer(writing, pieces);
    let mut sent = 0;
    for _ in 0..random.below(60) {
        match random.below(8) {
            0 | 1 => peer.set(|state| state.room = Some(random.below(3))),
            2 => peer.set(|state| state.flinches = 3),
            3 => peer.say(Message::Ping(Bytes::from_static(b"?"))),
            4 => {
                let length = random.below(30);
                peer.say(Message::Binary(pattern(sent, length).into()));
                sent += length;
            }
            5 => drop(meta.ping(b"!")),
            6 => reader.poll_if_woken(),
            _ => writer.poll_if_woken(),
        }
    }
    settle(&mut [&mut reader, &mut writer]);
    peer.set(|state| state.room = None);
    settle(&mut [&mut reader, &mut writer]);
    assert!(writer.is_done(), "the writer sleeps for ever");
    assert_eq!(peer.sent_data(), pattern(0, written), "what was written");
    assert_eq!(peer.sent_closes(), 1);
    assert!(!peer.is_closed(), "closed before the peer has");
    peer.close_frame(1000);
    settle(&mut [&mut reader, &mut writer]);
    assert!(reader.is_done(), "the reader sleeps for ever");
    assert!(peer.is_closed());
    assert_eq!(*data.lock().unwrap(), pattern(0, sent), "what was read");
    assert_eq!(told(&mut events).last().unwrap(), "closed");
    assert!(now(meta.closed()).was_clean);
}

#[test]
fn a_sink_is_asked_for_room_before_each_message_and_nobody_sleeps_for_ever() {
    for seed in 0..3000 {
        let result = std::panic::catch_unwind(|| converse(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}
