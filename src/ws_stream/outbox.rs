//! `Outbox`: what waits for the socket, besides a close frame: collected data, and pings.
//!
//! In the order in which they leave:
//!
//! ```text
//! collected data ── full, flushed, closed, or the next message is read ──▶ socket
//! pings of the handles ── there is room ──▶ socket
//! close frame ── nothing else waits ──▶ socket
//! ```

use std::{
    io::{self, IoSlice},
    task::{Context, Poll, ready},
};

use bytes::BytesMut;
use futures_util::SinkExt;
use tungstenite::{Error, Message};

use super::{
    close::MAX_CONTROL_PAYLOAD,
    engine::Engine,
    socket::Socket,
    wakers::Halves,
    write::{Whose, WriteState, is_closed},
};
use crate::{WsErr, error::into_io};

#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Where messages are put together, or collected. Keeps its memory from one to the next.
    pub(super) buffer: BytesMut,
    /// Something was collected, and has to leave.
    is_due: bool,
    /// The socket refused what was collected.
    is_refused: bool,
    /// How many pings the handles have asked for.
    pub(super) pings: usize,
}

impl Outbox {
    pub(super) fn is_collecting(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Whether something of it has to leave.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_due || self.pings > 0
    }

    /// Nothing of it will leave. Says whether that loses what was collected.
    pub(super) fn give_up(&mut self) -> bool {
        let is_lost = self.is_collecting() || self.is_refused;
        self.buffer.clear();
        self.is_due = false;
        self.is_refused = false;
        self.pings = 0;
        is_lost
    }
}

/// What the socket takes next.
#[derive(Clone, Copy)]
pub(super) enum Next {
    Collected,
    Ping,
    CloseFrame,
}

impl<T: Socket> Engine<T> {
    /// Adds what fits of `bufs` to what was collected.
    pub(super) fn poll_collect(&mut self, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let drained = self.poll_drain(Halves::WRITE);
        let WriteState::Open = self.write else {
            return self.poll_write_error(drained);
        };
        if self.message_limit == 0 {
            return Poll::Ready(Err(into_io(WsErr::NoRoomForData)));
        }
        if self.outbox.buffer.len() == self.message_limit {
            return Poll::Pending; // a full message is due, and waits for the socket
        }
        let (length, is_full) = self.collect(bufs);
        if is_full {
            self.drain_again(drained);
            self.take_failure()?;
        }
        let has_rest = self.outbox.is_collecting() && !self.outbox.is_due;
        if has_rest && std::mem::take(&mut self.reader_sleeps) {
            // it lets this leave, with what else this task writes until then
            self.control.tasks.wake_halves(Halves::READ);
        }
        Poll::Ready(Ok(length))
    }

    /// Collects as much of `bufs` as the socket has room for, and at most one message more. Returns how
    /// many bytes that were, and whether they filled a message.
    fn collect(&mut self, bufs: &[IoSlice<'_>]) -> (usize, bool) {
        let mut length = 0;
        loop {
            let room = self.message_limit - self.outbox.buffer.len();
            let part = self.gather(bufs, length, room);
            length += part;
            if part < room {
                return (length, length > part);
            }
            self.release_collected();
            if !self.give_full_message() {
                return (length, true);
            }
        }
    }

    /// Gives the socket a full message, if it has room for it. Says whether it took it.
    fn give_full_message(&mut self) -> bool {
        let is_empty = self.unflushed.is_empty();
        if let Poll::Ready(Err(error)) = self.poll_give_waiting(is_empty) {
            self.on_write_error(error.into());
            return false;
        }
        !self.outbox.is_due
    }

    /// Whether nothing more can be collected before the socket takes what was.
    pub(super) fn is_collection_full(&self) -> bool {
        self.outbox.is_due && self.outbox.buffer.len() == self.message_limit
    }

    /// Lets what was collected leave.
    pub(super) fn release_collected(&mut self) {
        self.outbox.is_due = self.outbox.is_collecting();
    }

    /// What the socket takes next of what waits for it: data first, the close frame last.
    pub(super) fn next_waiting(&self) -> Option<Next> {
        let is_closing = match self.write {
            WriteState::Open => false,
            WriteState::SendClose(_) => true,
            _ => return None,
        };
        if self.outbox.is_due || (is_closing && self.outbox.is_collecting()) {
            Some(Next::Collected)
        } else if self.outbox.pings > 0 {
            Some(Next::Ping)
        } else {
            is_closing.then_some(Next::CloseFrame)
        }
    }

    /// Gives the socket what it has room for, and at least one thing if it is empty.
    pub(super) fn poll_give_waiting(&mut self, mut is_empty: bool) -> Poll<Result<(), Error>> {
        while let Some(next) = self.next_waiting() {
            if !is_empty && !self.has_room_for(next) {
                break;
            }
            ready!(self.poll_give(next))?;
            is_empty = false;
        }
        Poll::Ready(Ok(()))
    }

    fn has_room_for(&self, next: Next) -> bool {
        match next {
            Next::Collected => self.has_room(self.outbox.buffer.len()),
            Next::Ping | Next::CloseFrame => self.has_room(MAX_CONTROL_PAYLOAD),
        }
    }

    fn poll_give(&mut self, next: Next) -> Poll<Result<(), Error>> {
        ready!(self.socket.poll_ready_unpin(&mut Context::from_waker(&self.both)))?;
        Poll::Ready(match next {
            Next::Collected => self.give_collected(),
            Next::Ping => self.give_ping(),
            Next::CloseFrame => self.give_close_frame(),
        })
    }

    fn give_collected(&mut self) -> Result<(), Error> {
        self.outbox.is_due = false;
        let message = self.outbox.buffer.split().freeze();
        let length = message.len();
        self.unflushed.add(Whose::CALLER, length);
        let sent = self.socket.start_send_unpin(Message::Binary(message));
        match sent {
            Ok(()) => self.control.counters.on_message_sent(length),
            Err(_) => self.outbox.is_refused = true,
        }
        sent
    }

    fn give_ping(&mut self) -> Result<(), Error> {
        self.outbox.pings -= 1;
        let Some(payload) = self.control.pop_ping() else { return Ok(()) };
        self.unflushed.add(Whose::OURS, payload.len());
        match self.socket.start_send_unpin(Message::Ping(payload)) {
            Ok(()) => self.control.counters.on_ping_sent(),
            Err(Error::WriteBufferFull(_)) => {
                tracing::warn!("the configuration leaves no room for a ping");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn give_close_frame(&mut self) -> Result<(), Error> {
        let WriteState::SendClose(frame) = std::mem::replace(&mut self.write, WriteState::Flush)
        else {
            return Ok(());
        };
        if self.unflushed.pongs() > 0 {
            // a pong that the socket owes would follow the close frame; here it goes into its buffer
            let both = &mut Context::from_waker(&self.both);
            if let Poll::Ready(flushed) = self.socket.poll_flush_unpin(both) {
                flushed?;
            }
        }
        match self.socket.start_send_unpin(Message::Close(frame.map(|frame| *frame))) {
            // the peer was faster; what the socket has may still leave
            Err(error) if is_closed(&error) => Ok(()),
            sent => sent,
        }
    }
}
