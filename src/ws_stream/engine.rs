//! `Engine`: the two directions of a websocket as a byte stream, and what they share.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;

use super::{
    notifier::Notifier,
    read::ReadState,
    socket::Socket,
    wakers::Tasks,
    write::{Unflushed, WriteState, message_limit},
};
use crate::{WsErr, WsEvent};

#[derive(Debug)]
pub(super) struct Engine<T> {
    pub(super) socket: T,
    pub(super) read: ReadState,
    pub(super) write: WriteState,
    pub(super) unflushed: Unflushed,
    /// The largest message that is sent, in bytes.
    pub(super) message_limit: usize,
    /// Where messages are put together. Keeps its memory from one message to the next.
    pub(super) buffer: BytesMut,
    pub(super) notifier: Notifier,
    pub(super) tasks: Arc<Tasks>,
    /// Wakes both of `tasks`.
    pub(super) both: Waker,
}

impl<T: Socket> Engine<T> {
    pub(super) fn new(socket: T) -> Self {
        let tasks = Arc::new(Tasks::default());
        // whoever had the socket before may have left something in it
        let mut unflushed = Unflushed::default();
        unflushed.add_unknown();
        Self {
            read: ReadState::Idle,
            write: WriteState::Open,
            unflushed,
            // unless the socket turns out to mask what it sends
            message_limit: message_limit(socket.config(), false),
            buffer: BytesMut::new(),
            notifier: Notifier::new(),
            both: Waker::from(Arc::clone(&tasks)),
            tasks,
            socket,
        }
    }

    /// Delivers the events that wait for room at an observer. Room wakes both halves.
    pub(super) fn poll_events(&mut self) -> Poll<()> {
        if self.notifier.is_idle() {
            return Poll::Ready(());
        }
        self.notifier.poll_deliver(&mut Context::from_waker(&self.both))
    }

    /// Tells the observers what went wrong.
    pub(super) fn push_error(&mut self, error: impl FnOnce() -> WsErr) {
        self.notifier.push(|| WsEvent::Error(Arc::new(error())));
    }
}

/// `error` as the event about it carries it.
pub(super) fn io_event(error: &io::Error) -> WsErr {
    WsErr::Io { source: crate::error::copy_io(error) }
}
