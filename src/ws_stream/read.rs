//! `ReadState`: messages in, bytes out.
//!
//! ```text
//! Idle ── a binary message came ──▶ Chunk ── it was read to its end ──▶ Idle
//! Idle ── the peer closed ──▶ PeerClosed ── our close frame is out, the socket ended ──▶ Finishing
//! Idle ── the peer sent text ──▶ Discard ── it closed ──▶ PeerClosed
//! Idle, Discard ── the peer broke the protocol ──▶ Linger
//! Discard, Linger ── the transport ended ──▶ Finishing
//! Discard, Linger ── enough was discarded ──▶ Ended
//! Finishing ── the transport's sending side is shut down ──▶ Ended
//! any but Chunk ── the transport failed, or ended without a close frame ──▶ Ended
//! ```
//!
//! Events are delivered whenever reading is polled. But only `Idle` and `Ended` wait for observers:
//! the former so that events stay few, the latter so that they are not lost. In between, closing goes
//! on without them.

use std::{
    fmt, io,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use futures_util::StreamExt;
use tungstenite::{
    Bytes, Error, Message, Utf8Bytes,
    error::ProtocolError,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    close::{MAX_CONTROL_HEADER, as_told},
    config::{TextMessages, UncleanEnd},
    engine::{Engine, io_event},
    socket::Socket,
    wakers::Halves,
    write::{Whose, WriteState},
};
use crate::{WsErr, WsEvent};

pub(super) enum ReadState {
    /// The next message has to be waited for.
    Idle,
    /// What is left of the current message: at least one byte.
    Chunk(Bytes),
    /// The peer's close frame came. Ours has to leave, then the socket is polled to its end, which
    /// for a client is when the server closes the transport (RFC 6455, section 7.1.1).
    PeerClosed,
    /// The peer sent text. Its messages are discarded until it answers our close frame.
    Discard { left: usize },
    /// The socket lost track of the frames. Bytes are discarded into `scratch` until the transport
    /// ends, so that no reset destroys our close frame before the peer sees it.
    Linger { left: usize, scratch: Box<[u8]> },
    /// Both close frames are through, or the peer is gone. The transport is shut down.
    Finishing,
    /// End of file, behind the events and the error, if they have not been told yet.
    Ended(Option<io::Error>),
}

impl<T: Socket> Engine<T> {
    /// The bytes of the current message, waiting for the next one where there is none. Empty at end
    /// of file only. Nothing goes beyond the current message before it is consumed: what follows may
    /// be a close frame, after which what these bytes ask for can't be answered any more.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        self.is_read_up &= !self.control.tasks.take_read_call();
        let filled = self.poll_fill(cx);
        self.reader_sleeps = filled.is_pending();
        if self.reader_sleeps {
            // the writer or a handle may leave something behind for the reader to move on
            self.control.tasks.park_reader(cx.waker());
            self.wake_if_asked(cx);
        }
        ready!(filled)?;
        Poll::Ready(Ok(match &self.read {
            ReadState::Chunk(bytes) => bytes,
            _ => &[],
        }))
    }

    /// Takes `amount` bytes off what `poll_chunk` returned.
    ///
    /// # Panics
    ///
    /// If that was less.
    pub(super) fn consume_chunk(&mut self, amount: usize) {
        let available = match &mut self.read {
            ReadState::Chunk(bytes) if amount < bytes.len() => return bytes.advance(amount),
            ReadState::Chunk(bytes) => bytes.len(),
            _ => 0,
        };
        assert!(amount <= available, "consumed {amount} bytes of {available}");
        if amount > 0 {
            // the message goes at once, so that tungstenite can use its memory again
            self.read = ReadState::Idle;
        }
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        for _ in 0..STEPS_PER_POLL {
            self.see_requests();
            if let ReadState::Ended(_) = self.read {
                return self.poll_ended(cx);
            }
            if let ReadState::Idle = self.read {
                // what comes next may be the answer to it
                self.release_collected();
            }
            let drained = self.poll_drain_as_reader(cx);
            let told = self.poll_events_as_reader(cx);
            match self.read {
                ReadState::Chunk(_) => return Poll::Ready(Ok(())),
                ReadState::Idle => {
                    ready!(told);
                    ready!(self.poll_incoming(drained));
                    if let ReadState::Chunk(_) = self.read {
                        return Poll::Ready(Ok(()));
                    }
                }
                ReadState::PeerClosed | ReadState::Finishing => {
                    self.control.tasks.park_reader(cx.waker());
                    ready!(self.poll_finish());
                }
                ReadState::Discard { .. } => {
                    self.shut_down_early(cx);
                    ready!(self.poll_discarded(drained));
                }
                ReadState::Linger { .. } => {
                    self.shut_down_early(cx);
                    ready!(self.poll_linger(cx));
                }
                ReadState::Ended(_) => {}
            }
        }
        // a peer that sends much and says little must not starve other tasks
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_events_as_reader(cx));
        match std::mem::replace(&mut self.read, ReadState::Ended(None)) {
            ReadState::Ended(Some(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_drain_as_reader(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_drained() {
            self.control.tasks.park_reader(cx.waker());
        }
        self.poll_drain(Halves::READ)
    }

    fn poll_events_as_reader(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.notifier.is_idle() {
            self.control.tasks.park_reader(cx.waker());
        }
        self.poll_events()
    }

    /// Waits for the next message, and first for room for the pong that it may need.
    fn poll_incoming(&mut self, drained: Poll<()>) -> Poll<()> {
        if self.owes_many_pongs() {
            ready!(drained);
        }
        if self.owes_many_pongs() {
            self.on_unanswerable_pings();
            return Poll::Ready(());
        }
        let incoming = self.poll_message().map(|message| match self.read {
            ReadState::Discard { .. } => self.on_discarded_message(message),
            _ => self.on_message(message),
        });
        if !self.has_room_for_control_frames() {
            // for a pong without room, the socket calls the transport, which then need not call those
            // who wait for it
            let _ = self.poll_drain(Halves::READ);
        }
        incoming
    }

    /// Waits for the next message that is discarded. Waits count too: the socket does not tell of the
    /// fragments of a message that never ends.
    fn poll_discarded(&mut self, drained: Poll<()>) -> Poll<()> {
        let was_read_up = self.is_read_up;
        let incoming = self.poll_incoming(drained);
        if self.is_read_up && !was_read_up {
            self.count_discarded(LINGER_BUFFER);
        }
        match self.read {
            ReadState::Ended(_) => Poll::Ready(()),
            _ => incoming,
        }
    }

    fn poll_message(&mut self) -> Poll<Option<Result<Message, Error>>> {
        if self.is_read_up {
            return Poll::Pending;
        }
        let message = self.socket.poll_next_unpin(&mut Context::from_waker(&self.both));
        self.is_read_up = message.is_pending();
        message
    }

    fn owes_many_pongs(&self) -> bool {
        self.unflushed.pongs() > MAX_UNFLUSHED_PONGS
    }

    /// Reacts to a peer that goes on to send pings although sending has failed.
    fn on_unanswerable_pings(&mut self) {
        let error = match self.read {
            ReadState::Discard { .. } => None,
            _ => self.write_failure(),
        };
        self.on_ended(error);
    }

    /// Whether all that is left to do is to end the transport.
    pub(super) fn is_finishing(&self) -> bool {
        matches!(self.read, ReadState::PeerClosed | ReadState::Finishing)
    }

    /// Takes the close handshake to its end, on behalf of either half.
    pub(super) fn poll_finish(&mut self) -> Poll<()> {
        if !self.is_drained() {
            return Poll::Pending;
        }
        if let ReadState::PeerClosed = self.read {
            let message = self.socket.poll_next_unpin(&mut Context::from_waker(&self.both));
            self.on_message_after_close(ready!(message));
        }
        if let ReadState::Finishing = self.read {
            ready!(self.poll_shut_down());
            self.on_ended(None);
        }
        Poll::Ready(())
    }

    fn on_message(&mut self, message: Option<Result<Message, Error>>) {
        match message {
            Some(Ok(Message::Binary(bytes))) => self.on_data(bytes),
            Some(Ok(Message::Text(text))) => self.on_text(text),
            Some(Ok(Message::Ping(data))) => {
                self.on_ping(&data);
                self.push_event(|| WsEvent::Ping(copied(&data)));
            }
            Some(Ok(Message::Pong(data))) => {
                self.control.counters.on_pong_received();
                self.push_event(|| WsEvent::Pong(copied(&data)));
            }
            Some(Ok(Message::Close(frame))) => self.on_close(frame),
            Some(Ok(Message::Frame(_))) => self.on_violation(
                WsErr::Protocol,
                CloseCode::Protocol,
                Utf8Bytes::from_static("Unexpected raw frame"),
            ),
            Some(Err(error)) => self.on_read_error(error),
            None => self.on_closed_before(),
        }
    }

    fn on_data(&mut self, bytes: Bytes) {
        self.control.counters.on_message_received(bytes.len());
        if !bytes.is_empty() {
            self.read = ReadState::Chunk(bytes);
        }
    }

    fn on_read_error(&mut self, error: Error) {
        match error {
            Error::ConnectionClosed | Error::AlreadyClosed => self.on_closed_before(),
            Error::Io(error) => self.on_transport_error(error),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                tracing::debug!("the transport ended without a close frame from the peer");
                self.on_unclean(WsErr::MissingCloseFrame);
                self.on_ended(None);
            }
            error => {
                let (code, reason) = close_reason(&error);
                self.on_violation(error.into(), code, reason);
            }
        }
    }

    fn on_text(&mut self, text: Utf8Bytes) {
        match self.text_messages {
            TextMessages::PassBytes => self.on_data(text.into()),
            TextMessages::Refuse => self.on_refused_text(),
        }
    }

    /// Text is no violation of the protocol, but of what a byte stream can carry.
    fn on_refused_text(&mut self) {
        let reason = Utf8Bytes::from_static("Text messages are not supported.");
        self.break_off(WsErr::ReceivedText, CloseCode::Unsupported, reason);
        self.read = ReadState::Discard { left: MAX_DISCARDED };
    }

    fn on_violation(&mut self, error: WsErr, code: CloseCode, reason: Utf8Bytes) {
        self.break_off(error, code, reason);
        self.begin_linger(MAX_DISCARDED);
    }

    fn break_off(&mut self, error: WsErr, code: CloseCode, reason: Utf8Bytes) {
        self.refuse(&error, code, reason);
        self.on_unclean(error);
    }

    fn refuse(&mut self, error: &WsErr, code: CloseCode, reason: Utf8Bytes) {
        tracing::warn!(%error, %code, %reason, "refusing what the peer sent");
        self.begin_close(Some(Box::new(CloseFrame { code, reason })), Whose::OURS);
        self.control.tasks.wake_halves(Halves::WRITE);
    }

    /// Tells what broke the stream off: the observers, and perhaps the reader when it gets there.
    fn on_unclean(&mut self, error: WsErr) {
        let error = Arc::new(error);
        if let UncleanEnd::Error = self.unclean_end {
            self.unclean = Some(Arc::clone(&error));
        }
        self.push_event(|| WsEvent::Error(error));
    }

    fn on_close(&mut self, frame: Option<CloseFrame>) {
        let frame = frame.map(as_told);
        let code = frame.as_ref().map(|frame| u16::from(frame.code));
        tracing::debug!(code, "the peer sent a close frame");
        self.control.on_peer_close(frame.clone());
        self.check_answer(frame.as_ref());
        self.push_event(|| WsEvent::CloseFrame(frame));
        self.on_peer_closed();
        self.read = ReadState::PeerClosed;
    }

    fn on_message_after_close(&mut self, message: Option<Result<Message, Error>>) {
        match message {
            None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => {
                self.read = ReadState::Finishing;
            }
            // how TLS says that the server closed its transport without saying so
            Some(Err(Error::Io(error))) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.read = ReadState::Finishing;
            }
            // our answer could not be sent, which was told
            Some(Err(Error::Io(_))) if self.write_failure().is_some() => {
                self.read = ReadState::Finishing;
            }
            Some(Err(Error::Io(error))) => self.on_transport_error(error),
            Some(Err(error)) => {
                // the stream itself is whole
                let (code, reason) = close_reason(&error);
                let error = error.into();
                self.refuse(&error, code, reason);
                self.push_error(|| error);
                self.read = ReadState::Finishing;
            }
            Some(Ok(_)) => {} // no socket lets anything follow a close frame
        }
    }

    fn on_discarded_message(&mut self, message: Option<Result<Message, Error>>) {
        let ReadState::Discard { left } = self.read else { return };
        match message {
            Some(Ok(Message::Close(frame))) => self.on_close(frame),
            Some(Ok(message)) => {
                if let Message::Ping(data) = &message {
                    self.on_ping(data);
                }
                // an empty one counts too
                self.count_discarded(message.len() + MAX_CONTROL_HEADER);
            }
            Some(Err(_)) => self.begin_linger(left),
            None => self.read = ReadState::Finishing,
        }
    }

    /// Counts what was discarded, in bytes, and ends reading when that is enough.
    fn count_discarded(&mut self, amount: usize) {
        let ReadState::Discard { left } = &mut self.read else { return };
        *left = left.saturating_sub(amount);
        if *left == 0 {
            self.on_ended(None);
        }
    }

    /// The socket answers pings by itself. It would flush the answer when it is read next, and fail
    /// as a whole if that fails: so the engine flushes first, also when sending has failed before.
    fn on_ping(&mut self, data: &Bytes) {
        self.control.counters.on_ping_received();
        match self.write {
            WriteState::Open | WriteState::SendClose(_) => {
                self.control.counters.on_pong_sent();
                self.unflushed.add_pong(data.len());
            }
            WriteState::Failed { .. } => self.unflushed.add_pong(data.len()),
            // behind a close frame the socket answers none
            WriteState::Flush | WriteState::Closed | WriteState::ShutDown => {}
        }
    }

    fn begin_linger(&mut self, left: usize) {
        self.read = ReadState::Linger { left, scratch: vec![0; LINGER_BUFFER].into() };
    }

    /// Discards one read of the transport. Goes on while our close frame is stuck: the peer may
    /// take it only after we took what it is sending.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let ReadState::Linger { left, scratch } = &mut self.read else { return Poll::Ready(()) };
        match ready!(self.socket.poll_read_transport(cx, scratch)) {
            Ok(0) => self.read = ReadState::Finishing,
            Ok(length) if length < *left => *left -= length,
            Ok(_) | Err(_) => self.on_ended(None),
        }
        Poll::Ready(())
    }

    /// Shuts down the sending side of the transport behind a close frame that refuses the peer: it
    /// may wait for that before it ends its own side.
    fn shut_down_early(&mut self, cx: &mut Context<'_>) {
        if let WriteState::Closed = self.write {
            self.control.tasks.park_reader(cx.waker());
            let _ = self.poll_shut_down();
        }
    }

    /// Shuts down the sending side of the transport. The server does this first, so that it has the
    /// connection in `TIME_WAIT` (RFC 6455, section 7.1.1); a client gets here after the server.
    fn poll_shut_down(&mut self) -> Poll<()> {
        if let WriteState::ShutDown = self.write {
            return Poll::Ready(());
        }
        let mut both = Context::from_waker(&self.both);
        if let Err(error) = ready!(self.socket.poll_close_transport(&mut both)) {
            // our close frame is out: nothing is lost
            tracing::debug!(%error, "the transport did not shut down cleanly");
        }
        self.on_shut_down();
        Poll::Ready(())
    }

    fn on_transport_error(&mut self, error: io::Error) {
        tracing::debug!(%error, "the transport failed");
        self.push_error(|| io_event(&error));
        self.on_broken_transport(&error);
        self.on_ended(Some(error));
    }

    /// The close handshake was done by whoever had the socket before, but for what is left in it.
    fn on_closed_before(&mut self) {
        self.on_peer_closed();
        self.read = ReadState::Finishing;
    }

    fn on_ended(&mut self, error: Option<io::Error>) {
        tracing::debug!("the websocket is closed for reading");
        self.notifier.adopt(self.control.on_end());
        self.notifier.push_closed();
        self.on_read_end();
        self.read = ReadState::Ended(error.or_else(|| self.unclean.take().map(unclean_end)));
    }
}

impl fmt::Debug for ReadState {
    /// The state's name, no data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Idle => "Idle",
            Self::Chunk(_) => "Chunk",
            Self::PeerClosed => "PeerClosed",
            Self::Discard { .. } => "Discard",
            Self::Linger { .. } => "Linger",
            Self::Finishing => "Finishing",
            Self::Ended(_) => "Ended",
        })
    }
}

/// The payload of a control frame, without the rest of the read buffer that it came in: whoever is told
/// may keep it.
fn copied(payload: &Bytes) -> Bytes {
    Bytes::copy_from_slice(payload)
}

/// What a reader gets to see of an end that came too early.
fn unclean_end(source: Arc<WsErr>) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, WsErr::UncleanEnd { source })
}

/// The close code (RFC 6455, section 7.4.1) for what the peer did, and what to tell it.
fn close_reason(error: &Error) -> (CloseCode, Utf8Bytes) {
    match error {
        Error::Protocol(violation) => (CloseCode::Protocol, violation.to_string().into()),
        Error::Utf8(_) => (CloseCode::Invalid, Utf8Bytes::from_static("Invalid UTF-8")),
        Error::Capacity(limit) => (CloseCode::Size, limit.to_string().into()),
        error => (CloseCode::Error, error.to_string().into()),
    }
}

/// How many messages without data, or reads of discarded bytes, one poll handles.
const STEPS_PER_POLL: usize = 64;

/// How much may wait to answer pings, in bytes. A peer that sends more pings than these without
/// reading what it is sent is not read from until it does.
const MAX_UNFLUSHED_PONGS: usize = 64 * 1024;

/// How much is discarded behind an offending message, in bytes: one frame of the largest size that
/// tungstenite accepts by default, which the peer may have been sending at that moment.
const MAX_DISCARDED: usize = 16 * 1024 * 1024;

/// How many bytes are discarded in one read, and what a wait counts where the socket reads.
const LINGER_BUFFER: usize = 16 * 1024;
