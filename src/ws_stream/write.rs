//! `WriteState`: bytes in, messages out, flushing, the close frame.
//!
//! ```text
//! Open ── poll_close, a handle closes, or the peer broke a rule ──▶ SendClose
//! Open, SendClose ── the peer closed ──▶ Flush
//! Open ── reading ended ──▶ Flush
//! SendClose ── the socket took the close frame ──▶ Flush
//! Flush ── the transport has everything ──▶ Closed
//! any of these ── the transport failed ──▶ Failed
//! Closed ── the transport's sending side is shut down ──▶ ShutDown
//! ```
//!
//! What waits for the socket (`Outbox`, and the close frame behind it), and what is in the socket and
//! not yet in the transport (`Unflushed`), is moved on by whichever half is polled next
//! (`poll_drain`). Small messages may join what is in the socket while the transport is not writable,
//! and then leave together.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use bitflags::bitflags;
use futures_util::SinkExt;
use tungstenite::{
    Error, Message, Utf8Bytes,
    error::ProtocolError,
    protocol::{CloseFrame, WebSocketConfig},
};

use super::{
    close::{MAX_CONTROL_HEADER, MAX_CONTROL_PAYLOAD},
    engine::{Engine, io_event},
    read::ReadState,
    socket::Socket,
    wakers::Halves,
};
use crate::{
    WsErr,
    error::{copy_io, into_io},
};

#[derive(Debug)]
pub(super) enum WriteState {
    /// Messages may be sent.
    Open,
    /// A close frame waits for room in the socket.
    SendClose(Option<Box<CloseFrame>>),
    /// The socket takes nothing more; the transport does not have all of it yet.
    Flush,
    /// The transport failed. The caller was told, or need not be.
    Failed { error: io::Error, told: bool },
    /// Nothing may be sent, and nothing is left to be flushed.
    Closed,
    /// The same, and the peer sees the end of the transport.
    ShutDown,
}

bitflags! {
    /// Whose bytes are unflushed.
    #[derive(Debug, Default, Clone, Copy, PartialEq)]
    pub(super) struct Whose: u8 {
        /// What the caller wrote, and the close frame of its `poll_close`.
        const CALLER = 1 << 0;
        /// Pongs, pings, and the close frames that the caller did not ask for.
        const OURS = 1 << 1;
        /// The close frame of a handle.
        const HANDLE = 1 << 2;
    }
}

/// What the socket took and the transport may not have.
#[derive(Debug, Default)]
pub(super) struct Unflushed {
    whose: Whose,
    /// How many bytes that may be, with their frame headers.
    bytes: usize,
    /// How many of them may be pongs.
    pongs: usize,
    /// The transport did not take them, and will call when it may.
    is_stuck: bool,
}

impl Unflushed {
    /// Adds what somebody else gave to the socket. It leaves no room for more.
    pub(super) fn add_unknown(&mut self) {
        self.add(Whose::OURS, usize::MAX - MAX_HEADER);
    }

    pub(super) fn add(&mut self, whose: Whose, payload: usize) {
        self.whose |= whose;
        self.bytes = self.bytes.saturating_add(payload + MAX_HEADER);
    }

    pub(super) fn add_pong(&mut self, payload: usize) {
        self.add(Whose::OURS, payload);
        self.pongs += payload + MAX_HEADER;
    }

    pub(super) fn pongs(&self) -> usize {
        self.pongs
    }

    pub(super) fn is_empty(&self) -> bool {
        self.whose.is_empty()
    }

    /// Nothing of it will leave. The pongs are remembered, as more of them may come.
    fn give_up(&mut self) {
        *self = Self { pongs: self.pongs, ..Self::default() };
    }
}

impl<T: Socket> Engine<T> {
    /// Sends as much of `bufs` as fits into one message; says how many bytes of it were taken.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        self.poll_as_writer(cx, |engine| {
            if engine.collects { engine.poll_collect(bufs) } else { engine.poll_send_message(bufs) }
        })
    }

    /// Resolves when the transport has everything that was written.
    pub(super) fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_as_writer(cx, |engine| {
            engine.release_collected();
            engine.poll_all_sent()
        })
    }

    /// Resolves when the transport has everything that was written, and a close frame.
    pub(super) fn poll_close_frame(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_as_writer(cx, |engine| {
            if let WriteState::Open = engine.write {
                tracing::debug!("closing the websocket");
                engine.begin_close(engine.close_frame.clone(), Whose::CALLER);
            }
            engine.poll_all_sent()
        })
    }

    fn poll_all_sent(&mut self) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(Halves::WRITE));
        Poll::Ready(self.take_failure())
    }

    /// Closes the sending direction, behind everything written before.
    pub(super) fn begin_close(&mut self, frame: Option<Box<CloseFrame>>, whose: Whose) {
        if let WriteState::Open = self.write {
            let frame = frame.and_then(|frame| fit_close_frame(frame, self.socket.config()));
            self.write = WriteState::SendClose(frame);
            self.unflushed.add(whose, MAX_CONTROL_PAYLOAD);
            self.control.on_closing();
        }
    }

    /// Sees whether the socket, which answers the peer's close frame with the same, can do so: else it
    /// keeps the answer to itself.
    pub(super) fn check_answer(&mut self, frame: Option<&CloseFrame>) {
        let payload = frame.map_or(0, |frame| size_of::<u16>() + frame.reason.len());
        let is_answer_needed = matches!(self.write, WriteState::Open | WriteState::SendClose(_));
        // masked or not is not known
        if is_answer_needed
            && MAX_CONTROL_HEADER + payload > self.socket.config().max_write_buffer_size
        {
            tracing::warn!("the configuration leaves no room for a close frame");
            self.control.on_loss();
        }
    }

    /// Reacts to the peer's close frame. The socket takes nothing more, and answers it.
    pub(super) fn on_peer_closed(&mut self) {
        if let WriteState::Open | WriteState::SendClose(_) = self.write {
            self.write = WriteState::Flush;
            self.check_outbox();
        }
        self.unflushed.add(Whose::OURS, MAX_CONTROL_PAYLOAD);
        self.control.on_closing();
        self.control.tasks.wake_halves(Halves::WRITE);
    }

    /// Tells of what was collected and can't leave any more.
    fn check_outbox(&mut self) {
        if self.outbox.is_collecting() {
            self.control.on_loss();
            self.push_error(|| WsErr::Closed);
        }
    }

    /// Reacts to the end of reading: what the socket has may leave, nothing can follow it.
    pub(super) fn on_read_end(&mut self) {
        if let WriteState::Open = self.write {
            self.write = WriteState::Flush;
        }
        self.control.tasks.wake_halves(Halves::WRITE);
    }

    /// Reacts to the end of the transport's sending side, which the reader makes.
    pub(super) fn on_shut_down(&mut self) {
        if let WriteState::Closed = self.write {
            self.write = WriteState::ShutDown;
        }
    }

    /// Reacts to a failure of the transport that the reader met.
    pub(super) fn on_broken_transport(&mut self, error: &io::Error) {
        if !matches!(self.write, WriteState::Failed { .. } | WriteState::ShutDown) {
            self.fail(copy_io(error), self.has_data_of_caller());
        }
    }

    /// A copy of the error with which sending failed.
    pub(super) fn write_failure(&self) -> Option<io::Error> {
        match &self.write {
            WriteState::Failed { error, .. } => Some(copy_io(error)),
            _ => None,
        }
    }

    /// Moves on what still has to leave, on behalf of one half. `Ready` says that nothing is left,
    /// or nothing can be done any more: the state tells which.
    pub(super) fn poll_drain(&mut self, by: Halves) -> Poll<()> {
        if self.is_drained() {
            return Poll::Ready(());
        }
        let was_full = self.is_collection_full();
        let drained = self.poll_drain_socket();
        if drained.is_ready() || (was_full && !self.is_collection_full()) {
            // the other half may have waited for this; its wake-up may have been ours
            self.control.tasks.wake_halves(!by);
        }
        drained
    }

    /// Moves on what the socket was given by this poll, after what `drained` says of the rest. What
    /// does not leave now is moved on by the next poll of either half.
    pub(super) fn drain_again(&mut self, drained: Poll<()>) {
        let _ = match drained {
            Poll::Ready(()) => self.poll_drain_socket(),
            // the reader may wait for the rest too
            Poll::Pending => self.poll_drain(Halves::WRITE),
        };
    }

    pub(super) fn is_drained(&self) -> bool {
        match self.write {
            WriteState::Open => self.unflushed.is_empty() && !self.outbox.is_waiting(),
            WriteState::Failed { .. } | WriteState::Closed | WriteState::ShutDown => {
                self.unflushed.is_empty()
            }
            WriteState::SendClose(_) | WriteState::Flush => false,
        }
    }

    fn poll_drain_socket(&mut self) -> Poll<()> {
        if self.control.tasks.take_write_call() {
            self.unflushed.is_stuck = false;
        }
        while let Err(error) = ready!(self.try_poll_drain_socket()) {
            self.on_write_error(error.into());
            if self.is_drained() {
                return Poll::Ready(());
            }
            // a socket that takes nothing more may still have something to flush
        }
        self.unflushed = Unflushed::default();
        Poll::Ready(())
    }

    fn try_poll_drain_socket(&mut self) -> Poll<Result<(), Error>> {
        match self.next_waiting() {
            None => ready!(self.poll_flush_socket())?,
            Some(_) => ready!(self.poll_drain_outbox())?,
        }
        if let WriteState::Flush = self.write {
            // tungstenite as a server takes leave without flushing its last frame
            ready!(self.socket.poll_flush_transport(&mut Context::from_waker(&self.both)))?;
            self.write = WriteState::Closed;
            self.control.on_all_sent();
            tracing::debug!("the websocket is closed for writing");
        }
        Poll::Ready(Ok(()))
    }

    // most of the time, nothing waits
    #[inline(never)]
    fn poll_drain_outbox(&mut self) -> Poll<Result<(), Error>> {
        let mut is_empty = false;
        while self.next_waiting().is_some() {
            ready!(self.poll_give_waiting(is_empty))?;
            ready!(self.poll_flush_socket())?;
            self.unflushed.bytes = 0;
            is_empty = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Flushes the socket, unless that is known to be in vain.
    fn poll_flush_socket(&mut self) -> Poll<Result<(), Error>> {
        if self.is_stuck() {
            return Poll::Pending;
        }
        let flushed = self.poll_flush_all_of_socket();
        self.unflushed.is_stuck = flushed.is_pending();
        flushed
    }

    /// Whether nothing can leave before the transport calls. If somebody else polls it meanwhile, that
    /// call may never come: the socket does so when it is read and owes an answer, when it is given a
    /// close frame, or more than its threshold.
    fn is_stuck(&self) -> bool {
        self.unflushed.is_stuck
            && self.unflushed.whose == Whose::CALLER
            && self.unflushed.bytes <= self.socket.config().write_buffer_size
            && matches!(self.write, WriteState::Open)
    }

    fn poll_flush_all_of_socket(&mut self) -> Poll<Result<(), Error>> {
        let cx = &mut Context::from_waker(&self.both);
        ready!(self.socket.poll_flush_unpin(cx))?;
        if self.has_room_for_control_frames() {
            return Poll::Ready(Ok(()));
        }
        // tungstenite kept back a pong or close frame that did not fit; now it does
        self.socket.poll_flush_unpin(cx)
    }

    /// Whether all of `unflushed` fits into the socket's buffer.
    pub(super) fn has_room_for_control_frames(&self) -> bool {
        self.unflushed.bytes <= self.socket.config().max_write_buffer_size
    }

    /// Runs a poll of the writing half. Its task is woken for as long as something is unflushed.
    #[inline]
    fn poll_as_writer<R>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Self) -> Poll<R>,
    ) -> Poll<R> {
        self.see_requests();
        let result = poll(self);
        if self.is_finishing() && self.poll_finish().is_ready() {
            self.control.tasks.wake_halves(Halves::READ);
        }
        // never waited for: observers do not hold up writing
        let _ = self.poll_events();
        if result.is_pending() || !self.is_drained() {
            self.is_writer_parked = true;
            self.control.tasks.park_writer(cx.waker());
            self.wake_if_asked(cx);
        } else if std::mem::take(&mut self.is_writer_parked) {
            self.control.tasks.unpark_writer();
        }
        result
    }

    fn poll_send_message(&mut self, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let drained = self.poll_drain(Halves::WRITE);
        let WriteState::Open = self.write else {
            return self.poll_write_error(drained);
        };
        if drained.is_pending() && !self.has_room(self.message_length(bufs)) {
            return Poll::Pending;
        }
        let cx = &mut Context::from_waker(&self.both);
        let sent = match ready!(self.socket.poll_ready_unpin(cx)) {
            Ok(()) => self.send_message(bufs),
            Err(error) => Err(error.into()),
        };
        let length = match sent {
            Ok(length) => length,
            // nothing was sent, and nothing is broken
            Err(WsErr::NoRoomForData) => return Poll::Ready(Err(into_io(WsErr::NoRoomForData))),
            Err(error) => {
                self.on_write_error(error);
                return Poll::Ready(Err(self.take_write_error()));
            }
        };
        self.unflushed.add(Whose::CALLER, length);
        self.control.counters.on_message_sent(length);
        // a message that joins others leaves with them, unless the socket called the transport for
        // it, which then need not know our waker any more
        if drained.is_ready() || self.unflushed.bytes > self.socket.config().write_buffer_size {
            self.drain_again(drained);
        }
        self.take_failure()?;
        Poll::Ready(Ok(length))
    }

    /// Whether a message with this many bytes of payload may join what is unflushed.
    pub(super) fn has_room(&self, payload: usize) -> bool {
        let backlog = match self.write {
            WriteState::Open => MAX_BACKLOG,
            // little follows, and the peer may go before there is room
            _ => usize::MAX,
        };
        let limit = backlog.min(self.socket.config().max_write_buffer_size);
        let length = payload.saturating_add(MAX_HEADER);
        self.unflushed.bytes.saturating_add(length) <= limit
    }

    /// How much of `bufs` the next message takes, in bytes.
    fn message_length(&self, bufs: &[IoSlice<'_>]) -> usize {
        total_length(bufs).min(self.message_limit)
    }

    /// Puts one message into the socket, which is ready, and empty or has room for it.
    fn send_message(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize, WsErr> {
        loop {
            let length = self.gather(bufs, 0, self.message_limit);
            if length == 0 {
                return Err(WsErr::NoRoomForData);
            }
            let message = Message::Binary(self.outbox.buffer.split().freeze());
            match self.socket.start_send_unpin(message) {
                Ok(()) => return Ok(length),
                // it would have fitted into an empty socket, if it were not for the mask
                Err(Error::WriteBufferFull(_)) if self.message_limit > self.masked_limit() => {
                    self.message_limit = self.masked_limit();
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn masked_limit(&self) -> usize {
        self.message_limit.min(message_limit(self.socket.config(), true))
    }

    #[inline]
    /// Copies up to `room` bytes behind the first `skip` into the buffer; returns how many.
    pub(super) fn gather(&mut self, bufs: &[IoSlice<'_>], mut skip: usize, room: usize) -> usize {
        let length = total_length(bufs).saturating_sub(skip).min(room);
        self.outbox.buffer.reserve(length);
        let mut left = length;
        for buf in bufs {
            let rest = &buf[skip.min(buf.len())..];
            let part = &rest[..left.min(rest.len())];
            self.outbox.buffer.extend_from_slice(part);
            skip = skip.saturating_sub(buf.len());
            left -= part.len();
        }
        length
    }

    /// Whether something that the caller wrote has not left, or its close frame.
    fn has_data_of_caller(&self) -> bool {
        self.outbox.is_collecting() || self.unflushed.whose.contains(Whose::CALLER)
    }

    /// Reacts to a failure of the socket's sending side. Reading goes on.
    pub(super) fn on_write_error(&mut self, error: WsErr) {
        if let WriteState::Failed { .. } | WriteState::Closed | WriteState::ShutDown = self.write {
            return self.unflushed.give_up(); // a pong to a peer that can't be reached is no news
        }
        if let WsErr::Closed = error {
            return self.on_socket_closed();
        }
        let error = into_io(error);
        tracing::debug!(%error, "the websocket failed while sending");
        self.push_error(|| io_event(&error));
        // what it gave is lost, or what it would still give
        let concerns_caller = self.has_data_of_caller() || matches!(self.write, WriteState::Open);
        self.fail(error, concerns_caller);
    }

    /// Reacts to a socket that was closed past the engine: its last frame may still have to leave.
    fn on_socket_closed(&mut self) {
        if let WriteState::Flush = self.write {
            self.unflushed.give_up();
            self.write = WriteState::Closed;
        } else {
            self.write = WriteState::Flush;
            self.control.on_closing();
        }
    }

    fn fail(&mut self, error: io::Error, concerns_caller: bool) {
        self.outbox.give_up();
        self.unflushed.give_up();
        self.write = WriteState::Failed { error, told: !concerns_caller };
        self.control.on_closing();
    }

    /// The failure that the caller has not been told of.
    pub(super) fn take_failure(&mut self) -> io::Result<()> {
        match &mut self.write {
            WriteState::Failed { error, told } if !*told => {
                *told = true;
                let copy = copy_io(error);
                Err(std::mem::replace(error, copy))
            }
            WriteState::Flush | WriteState::Closed | WriteState::ShutDown => self.take_loss(),
            _ => Ok(()),
        }
    }

    /// Tells of what was collected when the peer closed or the transport ended.
    fn take_loss(&mut self) -> io::Result<()> {
        if self.outbox.give_up() { Err(into_io(WsErr::Closed)) } else { Ok(()) }
    }

    /// Why nothing can be written any more. First the close frame of a handle leaves, as whoever is
    /// told may drop the stream.
    pub(super) fn poll_write_error(&mut self, drained: Poll<()>) -> Poll<io::Result<usize>> {
        let is_peer_heard = matches!(self.read, ReadState::Idle | ReadState::Chunk(_));
        if is_peer_heard && self.unflushed.whose.contains(Whose::HANDLE) {
            ready!(drained);
        }
        Poll::Ready(Err(self.take_write_error()))
    }

    /// Why nothing can be written any more.
    fn take_write_error(&mut self) -> io::Error {
        match self.take_failure() {
            Err(error) => error,
            Ok(()) => into_io(WsErr::Closed),
        }
    }
}

pub(super) fn is_closed(error: &Error) -> bool {
    use Error::{AlreadyClosed, ConnectionClosed, Protocol};
    matches!(error, AlreadyClosed | ConnectionClosed | Protocol(ProtocolError::SendAfterClosing))
}

#[inline]
fn total_length(bufs: &[IoSlice<'_>]) -> usize {
    bufs.iter().fold(0, |sum, buf| sum.saturating_add(buf.len()))
}

/// The payload of the largest message that the websocket takes, in bytes.
pub(super) fn message_limit(config: &WebSocketConfig, masked: bool) -> usize {
    max_payload(config.max_write_buffer_size, masked)
        .min(config.max_message_size.unwrap_or(usize::MAX))
        .min(config.max_frame_size.unwrap_or(usize::MAX))
}

/// The largest payload that fits into `room` bytes together with its frame header.
fn max_payload(room: usize, masked: bool) -> usize {
    let room = room.saturating_sub(if masked { MASK } else { 0 });
    FRAME_HEADERS
        .map(|(header, largest)| room.saturating_sub(header).min(largest))
        .into_iter()
        .fold(0, usize::max)
}

/// `frame` without its reason, or nothing, if the socket has no room for it.
fn fit_close_frame(
    mut frame: Box<CloseFrame>,
    config: &WebSocketConfig,
) -> Option<Box<CloseFrame>> {
    // masked or not is not known
    let room = max_payload(config.max_write_buffer_size, true).min(MAX_CONTROL_PAYLOAD);
    if room.checked_sub(size_of::<u16>())? < frame.reason.len() {
        frame.reason = Utf8Bytes::default();
    }
    Some(frame)
}

/// How much may be in the socket for another message to join it, in bytes.
const MAX_BACKLOG: usize = 128 * 1024;

/// The largest frame header, in bytes: of a masked frame with an eight-byte length.
const MAX_HEADER: usize = 14;

/// The masking key in the header of a client's frame, in bytes (RFC 6455, section 5.2).
const MASK: usize = 4;

/// Sizes of frame headers without mask, each with the largest payload it can announce, in bytes
/// (RFC 6455, section 5.2).
const FRAME_HEADERS: [(usize, usize); 3] = [(2, 125), (4, u16::MAX as usize), (10, usize::MAX)];
