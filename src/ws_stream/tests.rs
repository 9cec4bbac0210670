//! The engine against a scripted websocket: what no transport below a real one can bring about.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_test::task::{AwokenCount, new_count_waker, noop_context};
use futures_util::{FutureExt, Sink, Stream, StreamExt};
use pharos::ObserveConfig;
use tungstenite::{
    Bytes, Error, Message,
    protocol::{CloseFrame, WebSocketConfig, frame::Frame},
};

use super::{
    config::Choices,
    engine::Engine,
    notifier::Notifier,
    read::ReadState,
    socket::Socket,
    write::{WriteState, message_limit},
};
use crate::WsEvent;

/// A websocket that does what its fields say, and wakes nobody.
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
#[derive(Default)]
struct Scripted {
    /// What comes, in order; then `Pending`.
    incoming: VecDeque<Option<Result<Message, Error>>>,
    is_closed: bool,
    is_not_ready: bool,
    flush_is_blocked: bool,
    transport_flush_is_blocked: bool,
    transport_close_fails: bool,
    sent: Vec<Message>,
    transport_flushes: usize,
    transport_closes: usize,
    config: WebSocketConfig,
}

impl Stream for Scripted {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.incoming.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Sink<Message> for Scripted {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        pending_if(self.is_not_ready)
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        if self.is_closed {
            return Err(Error::AlreadyClosed);
        }
        self.sent.push(message);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.is_closed {
            return Poll::Ready(Err(Error::AlreadyClosed));
        }
        pending_if(self.flush_is_blocked)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        panic!("the engine closes with a message")
    }
}

impl Socket for Scripted {
    fn config(&self) -> &WebSocketConfig {
        &self.config
    }

    fn poll_read_transport(
        &mut self,
        _: &mut Context<'_>,
        _: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    fn poll_flush_transport(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport_flushes += 1;
        pending_if(self.transport_flush_is_blocked)
    }

    fn poll_close_transport(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.transport_closes += 1;
        if self.transport_close_fails {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        Poll::Ready(Ok(()))
    }
}

fn pending_if<E>(blocked: bool) -> Poll<Result<(), E>> {
    if blocked { Poll::Pending } else { Poll::Ready(Ok(())) }
}

fn engine(incoming: impl IntoIterator<Item = Message>) -> Engine<Scripted> {
    let incoming = incoming.into_iter().map(|message| Some(Ok(message))).collect();
    Engine::new(Scripted { incoming, ..Scripted::default() }, Choices::default())
}

fn observe(engine: &mut Engine<Scripted>) -> pharos::Events<WsEvent> {
    engine.notifier.observe(ObserveConfig::default()).now_or_never().unwrap().unwrap()
}

fn told(events: pharos::Events<WsEvent>) -> Vec<String> {
    let events: Vec<_> = events.collect().now_or_never().unwrap();
    events.iter().map(|event| format!("{event:?}")).collect()
}

fn read(engine: &mut Engine<Scripted>) -> Poll<io::Result<Vec<u8>>> {
    let chunk = engine.poll_chunk(&mut noop_context()).map_ok(<[u8]>::to_vec);
    if let Poll::Ready(Ok(bytes)) = &chunk {
        engine.consume_chunk(bytes.len());
    }
    chunk
}

fn assert_at_end_of_file(engine: &mut Engine<Scripted>) {
    assert!(matches!(read(engine), Poll::Ready(Ok(bytes)) if bytes.is_empty()));
}

fn binary(payload: &'static [u8]) -> Message {
    Message::Binary(Bytes::from_static(payload))
}

fn poll_send(engine: &mut Engine<Scripted>, payload: &[u8]) -> (Poll<usize>, AwokenCount) {
    let (waker, wakes) = new_count_waker();
    let sent = engine.poll_send(&mut Context::from_waker(&waker), &[IoSlice::new(payload)]);
    (sent.map(Result::unwrap), wakes)
}

#[test]
fn a_message_that_was_read_to_its_end_is_dropped_at_once() {
    struct Payload {
        _held: Arc<()>,
    }
    impl AsRef<[u8]> for Payload {
        fn as_ref(&self) -> &[u8] {
            b"data"
        }
    }

    let held = Arc::new(());
    let message = Message::Binary(Bytes::from_owner(Payload { _held: Arc::clone(&held) }));
    let mut engine = engine([message]);
    assert_eq!(
        engine.poll_chunk(&mut noop_context()).map(Result::unwrap),
        Poll::Ready(&b"data"[..])
    );
    engine.consume_chunk(3);
    assert_eq!(Arc::strong_count(&held), 2);
    engine.consume_chunk(1);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[test]
fn a_reader_that_completes_a_flush_wakes_the_writer_that_waits_for_it() {
    let mut engine = engine([]);
    engine.socket.flush_is_blocked = true;
    let (sent, wakes) = poll_send(&mut engine, b"data");
    assert!(sent.is_pending());
    engine.socket.flush_is_blocked = false;
    assert!(read(&mut engine).is_pending());
    assert_eq!(wakes.get(), 1);
    assert!(poll_send(&mut engine, b"data").0.is_ready());
}

#[test]
fn a_writer_that_completes_a_flush_wakes_the_reader_that_waits_for_it() {
    let mut engine = engine([Message::Close(None)]);
    engine.socket.flush_is_blocked = true;
    let (waker, wakes) = new_count_waker();
    assert!(engine.poll_chunk(&mut Context::from_waker(&waker)).is_pending());
    engine.socket.flush_is_blocked = false;
    assert!(engine.poll_flush_all(&mut noop_context()).is_ready());
    assert_eq!(wakes.get(), 1);
}

#[test]
fn a_writer_that_completes_a_flush_wakes_the_reader_that_waits_for_pongs_to_leave() {
    let ping = Message::Ping(Bytes::from_static(&[0; 125]));
    let mut engine = engine(std::iter::repeat_n(ping, 1000));
    engine.socket.flush_is_blocked = true;
    let (waker, wakes) = new_count_waker();
    let cx = &mut Context::from_waker(&waker);
    let mut woken = usize::MAX;
    while woken != wakes.get() {
        woken = wakes.get();
        assert!(engine.poll_chunk(cx).is_pending());
    }
    assert!(engine.socket.incoming.len() > 400, "reading waits");
    engine.socket.flush_is_blocked = false;
    assert!(engine.poll_flush_all(&mut noop_context()).is_ready());
    assert_eq!(wakes.get(), woken + 1);
}

#[test]
fn messages_without_data_after_text_come_to_an_end() {
    const MIB: usize = 1024 * 1024;
    const MORE: usize = 64; // as one poll takes
    let mut engine = engine([Message::Text("hi".into())]);
    let mut messages = 0;
    let empty = || std::iter::repeat_with(|| Some(Ok(binary(b"")))).take(MORE);
    engine.socket.incoming.extend(empty());
    while read(&mut engine).is_pending() {
        engine.socket.incoming.extend(empty());
        messages += MORE;
        assert!(messages <= 4 * MIB, "{messages} messages");
    }
    assert!(messages > MIB, "{messages} messages");
}

#[test]
fn an_event_is_made_only_if_somebody_observes() {
    let mut notifier = Notifier::default();
    notifier.push(|| panic!("nobody observes yet"));
    let config = ObserveConfig::default();
    let events = notifier.observe(config).now_or_never().unwrap().unwrap();
    notifier.push(|| WsEvent::Pong(Bytes::new()));
    assert!(!notifier.is_idle());
    notifier.push_closed();
    notifier.push(|| panic!("`Closed` is the last event"));
    assert!(notifier.poll_deliver(&mut noop_context()).is_ready());
    assert_eq!(told(events), ["Pong(b\"\")", "Closed"]);
}

#[test]
fn a_dropped_observer_is_forgotten() {
    let mut notifier = Notifier::default();
    for _ in 0..100 {
        let bounded = pharos::Channel::Bounded(1).into();
        let events = notifier.observe(bounded).now_or_never().unwrap().unwrap();
        for _ in 0..3 {
            notifier.push(|| WsEvent::Pong(Bytes::new()));
        }
        assert!(notifier.poll_deliver(&mut noop_context()).is_pending());
        drop(events);
        assert!(notifier.poll_deliver(&mut noop_context()).is_ready());
    }
    assert_eq!(notifier.observers(), 0);
}

#[test]
fn a_socket_that_is_not_ready_gets_no_message() {
    let mut engine = engine([]);
    engine.socket.is_not_ready = true;
    assert!(poll_send(&mut engine, b"data").0.is_pending());
    assert!(engine.socket.sent.is_empty());
    engine.socket.is_not_ready = false;
    assert_eq!(poll_send(&mut engine, b"data").0, Poll::Ready(4));
    assert_eq!(engine.socket.sent, [binary(b"data")]);
}

#[test]
fn a_close_frame_waits_for_a_socket_that_is_not_ready() {
    let mut engine = engine([]);
    engine.socket.is_not_ready = true;
    assert!(engine.poll_close_frame(&mut noop_context()).is_pending());
    assert!(matches!(engine.write, WriteState::SendClose(None)));
    engine.socket.is_not_ready = false;
    assert!(engine.poll_close_frame(&mut noop_context()).is_ready());
    assert_eq!(engine.socket.sent, [Message::Close(None)]);
}

#[test]
fn the_close_frame_is_flushed_through_the_transport() {
    let mut engine = engine([]);
    engine.socket.transport_flush_is_blocked = true;
    assert!(engine.poll_close_frame(&mut noop_context()).is_pending());
    engine.socket.transport_flush_is_blocked = false;
    assert!(engine.poll_close_frame(&mut noop_context()).is_ready());
    assert_eq!(engine.socket.transport_flushes, 2);
}

#[test]
fn a_raw_frame_is_refused() {
    let mut engine = engine([binary(b"data"), Message::Frame(Frame::ping(Bytes::new()))]);
    let events = observe(&mut engine);
    assert!(matches!(read(&mut engine), Poll::Ready(Ok(bytes)) if bytes == b"data"));
    assert_at_end_of_file(&mut engine);
    assert!(matches!(&engine.socket.sent[..], [Message::Close(Some(CloseFrame { code, .. }))]
        if u16::from(*code) == 1002));
    assert_eq!(told(events), ["Error(Protocol)", "Closed"]);
}

#[test]
fn an_error_that_no_close_code_stands_for_is_refused_with_1011() {
    let mut engine = engine([]);
    engine.socket.incoming.push_back(Some(Err(Error::AttackAttempt)));
    let events = observe(&mut engine);
    assert_at_end_of_file(&mut engine);
    assert!(matches!(&engine.socket.sent[..], [Message::Close(Some(CloseFrame { code, .. }))]
        if u16::from(*code) == 1011));
    assert_eq!(told(events), ["Error(Tungstenite { source: AttackAttempt })", "Closed"]);
}

#[test]
fn a_reason_that_is_too_long_for_a_close_frame_is_left_out() {
    let mut engine = engine([]);
    let url = tungstenite::error::UrlError::UnableToConnect("x".repeat(124));
    engine.socket.incoming.push_back(Some(Err(Error::Url(url))));
    assert_at_end_of_file(&mut engine);
    assert!(matches!(&engine.socket.sent[..], [Message::Close(Some(CloseFrame { reason, .. }))]
        if reason.is_empty()));
}

#[test]
fn a_socket_that_ends_is_at_end_of_file() {
    let mut engine = engine([]);
    engine.socket.incoming.push_back(None);
    let events = observe(&mut engine);
    assert_at_end_of_file(&mut engine);
    assert_eq!(told(events), ["Closed"]);
}

#[test]
fn a_socket_that_was_closed_past_the_engine_fails_writes_and_ends_reading() {
    let mut engine = engine([]);
    engine.socket.is_closed = true;
    engine.socket.incoming.push_back(None);
    let bufs = [IoSlice::new(b"late")];
    let Poll::Ready(Err(error)) = engine.poll_send(&mut noop_context(), &bufs) else {
        panic!("nothing can be sent")
    };
    assert_eq!(error.kind(), io::ErrorKind::NotConnected);
    assert!(matches!(engine.poll_flush_all(&mut noop_context()), Poll::Ready(Ok(()))));
    assert_at_end_of_file(&mut engine);
    assert!(matches!(engine.poll_close_frame(&mut noop_context()), Poll::Ready(Ok(()))));
}

#[test]
fn the_transport_is_shut_down_once() {
    let mut engine = engine([Message::Text("hi".into()), Message::Close(None)]);
    engine.socket.incoming.push_back(None);
    assert_at_end_of_file(&mut engine);
    assert_eq!(engine.socket.transport_closes, 1);
}

#[test]
fn a_transport_that_does_not_shut_down_cleanly_is_at_end_of_file() {
    let mut engine = engine([Message::Close(None)]);
    engine.socket.incoming.push_back(None);
    engine.socket.transport_close_fails = true;
    assert_at_end_of_file(&mut engine);
    assert!(matches!(engine.read, ReadState::Ended(None)));
}

#[test]
fn the_message_limit_is_the_smallest_of_all() {
    const KIB: usize = 1024;
    let config = WebSocketConfig::default();
    let room = |room| config.write_buffer_size(0).max_write_buffer_size(room);
    let table = [
        (config, 64 * KIB, 64 * KIB),
        (config.max_message_size(None).max_frame_size(None), 64 * KIB, 64 * KIB),
        (config.max_message_size(Some(1000)), 1000, 1000),
        (config.max_frame_size(Some(1000)), 1000, 1000),
        (room(1), 0, 0),
        (room(2), 0, 0),
        (room(3), 1, 0),
        (room(7), 5, 1),
        (room(127), 125, 121),
        (room(128), 125, 122),
        (room(130), 126, 124),
        (room(131), 127, 125),
        (room(65_539), 65_535, 65_531),
        (room(65_545), 65_535, 65_535),
        (room(65_546), 65_536, 65_535),
        (room(65_550), 65_536, 65_536),
    ];
    let Choices { max_message, .. } = Choices::default();
    for (config, unmasked, masked) in table {
        let limit = |is_masked| message_limit(&config, is_masked).min(max_message);
        assert_eq!((limit(false), limit(true)), (unmasked, masked), "{config:?}");
    }
}
