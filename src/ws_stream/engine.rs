//! `Engine`: the two directions of a websocket as a byte stream, and what they share.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tungstenite::protocol::CloseFrame;

use super::{
    config::{Choices, TextMessages, UncleanEnd, Writes},
    control::Owner,
    notifier::Notifier,
    outbox::Outbox,
    read::ReadState,
    socket::Socket,
    write::{Unflushed, Whose, WriteState, message_limit},
};
use crate::{WsErr, WsEvent};

#[derive(Debug)]
pub(super) struct Engine<T> {
    pub(super) socket: T,
    pub(super) read: ReadState,
    pub(super) write: WriteState,
    pub(super) outbox: Outbox,
    pub(super) unflushed: Unflushed,
    pub(super) text_messages: TextMessages,
    pub(super) unclean_end: UncleanEnd,
    pub(super) close_frame: Option<Box<CloseFrame>>,
    /// Small writes become one message.
    pub(super) collects: bool,
    /// The largest message that is sent, in bytes.
    pub(super) message_limit: usize,
    /// Why the end of the stream is an error, if it will be one.
    pub(super) unclean: Option<Arc<WsErr>>,
    // before the observers: when their events end, the state is `Closed`
    pub(super) control: Owner,
    pub(super) notifier: Notifier,
    /// Wakes both halves.
    pub(super) both: Waker,
    /// The last poll for reading was `Pending`.
    pub(super) reader_sleeps: bool,
    /// The writer's task may be woken.
    pub(super) is_writer_parked: bool,
}

impl<T: Socket> Engine<T> {
    pub(super) fn new(socket: T, choices: Choices) -> Self {
        let control = Owner::default();
        let Choices { text_messages, unclean_end, writes, max_message, close_frame } = choices;
        let (collects, max_message) = match writes {
            Writes::AtOnce => (false, max_message),
            Writes::Collect(size) => (true, max_message.min(size)),
        };
        // what is collected has to fit, masked or not; else the socket tells whether it masks
        let message_limit = max_message.min(message_limit(socket.config(), collects));
        // whoever had the socket before may have left something in it
        let mut unflushed = Unflushed::default();
        unflushed.add_unknown();
        Self {
            read: ReadState::Idle,
            write: WriteState::Open,
            outbox: Outbox::default(),
            unflushed,
            message_limit,
            text_messages,
            unclean_end,
            close_frame,
            collects,
            unclean: None,
            notifier: Notifier::default(),
            both: Waker::from(Arc::clone(&control)),
            control,
            reader_sleeps: false,
            is_writer_parked: false,
            socket,
        }
    }

    /// Takes note of what the handles ask for.
    #[inline]
    pub(super) fn see_requests(&mut self) {
        if self.control.is_asked() {
            self.take_requests();
        }
    }

    #[cold]
    fn take_requests(&mut self) {
        let (pings, close) = self.control.take_requests();
        self.notifier.adopt(self.control.take_observers());
        self.outbox.pings = pings;
        if let Some(frame) = close {
            tracing::debug!(code = %frame.code, "a handle closes the websocket");
            self.begin_close(Some(Box::new(frame)), Whose::CALLER | Whose::HANDLE);
        }
    }

    /// Has a task that was parked after it took note of the requests look at them again.
    pub(super) fn wake_if_asked(&self, cx: &Context<'_>) {
        if self.control.is_asked() {
            cx.waker().wake_by_ref();
        }
    }

    /// Delivers the events that wait for room at an observer. Room wakes both halves.
    pub(super) fn poll_events(&mut self) -> Poll<()> {
        if self.notifier.is_idle() {
            return Poll::Ready(());
        }
        self.notifier.poll_deliver(&mut Context::from_waker(&self.both))
    }

    /// Tells the observers of an event, which is made only if there are any.
    pub(super) fn push_event(&mut self, event: impl FnOnce() -> WsEvent) {
        self.notifier.adopt(self.control.take_observers());
        self.notifier.push(event);
    }

    /// Tells the observers what went wrong.
    pub(super) fn push_error(&mut self, error: impl FnOnce() -> WsErr) {
        self.push_event(|| WsEvent::Error(Arc::new(error())));
    }
}

/// `error` as the event about it carries it.
pub(super) fn io_event(error: &io::Error) -> WsErr {
    WsErr::Io { source: crate::error::copy_io(error) }
}
