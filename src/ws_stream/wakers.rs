//! `Tasks`: the parked reader and the parked writer.
//!
//! Everything (the socket's `Stream` and its `Sink`, the queue of events, the end of the close
//! handshake) is polled with a waker which wakes both halves. So it does not matter which of the two
//! polled it last.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    task::Waker,
};

use bitflags::bitflags;
use futures_util::task::AtomicWaker;

bitflags! {
    /// Halves of the stream, which may be polled in different tasks.
    #[derive(Clone, Copy)]
    pub(super) struct Halves: u8 {
        const READ = 1 << 0;
        const WRITE = 1 << 1;
    }
}

#[derive(Debug, Default)]
pub(super) struct Tasks {
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// The waker of both halves was called since messages were polled for.
    is_read_called: AtomicBool,
    /// The waker of both halves was called since something was to be sent.
    is_write_called: AtomicBool,
}

impl Tasks {
    /// Remembers the reader's task, or wakes it if that was due after the poll for messages began.
    pub(super) fn park_reader(&self, waker: &Waker) {
        self.reader.register(waker);
        if self.is_read_called.load(Ordering::Acquire) {
            waker.wake_by_ref();
        }
    }

    /// Remembers the writer's task, or wakes it if that was due after the poll for sending began.
    pub(super) fn park_writer(&self, waker: &Waker) {
        self.writer.register(waker);
        if self.is_write_called.load(Ordering::Acquire) {
            waker.wake_by_ref();
        }
    }

    /// Forgets the writer's task, which waits for nothing: else every message that arrives would
    /// wake it, because transports tell both halves of either direction.
    pub(super) fn unpark_writer(&self) {
        self.writer.take();
    }

    pub(super) fn wake_halves(&self, halves: Halves) {
        if halves.contains(Halves::READ) {
            self.reader.wake();
        }
        if halves.contains(Halves::WRITE) {
            self.writer.wake();
        }
    }

    /// Wakes both halves, on behalf of what is polled with the waker of both.
    pub(super) fn call(&self) {
        // Whoever is parked too late for the wake-up sees that it was due. So who was called before,
        // and did not come yet, need not be woken again.
        if !self.is_read_called.swap(true, Ordering::AcqRel) {
            self.reader.wake();
        }
        if !self.is_write_called.swap(true, Ordering::AcqRel) {
            self.writer.wake();
        }
    }

    /// Whether polling for messages may make a difference. Comes before the poll.
    #[inline]
    pub(super) fn take_read_call(&self) -> bool {
        take(&self.is_read_called)
    }

    /// Whether polling for sending may make a difference. Comes before the poll.
    #[inline]
    pub(super) fn take_write_call(&self) -> bool {
        take(&self.is_write_called)
    }

    /// Forgets both tasks.
    pub(super) fn forget(&self) {
        self.reader.take();
        self.writer.take();
    }
}

#[inline]
fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Acquire) && flag.swap(false, Ordering::AcqRel)
}
