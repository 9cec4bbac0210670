//! `Tasks`: the parked reader and the parked writer.
//!
//! Messages are waited for by the reader alone, with its own waker. Everything that both halves drive
//! (the socket's `Sink`, the queue of events, the end of the close handshake) is polled with a waker
//! which wakes both halves. So it does not matter which of the two polled it last.

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
    /// What both halves drive has called since it was polled.
    is_called: AtomicBool,
}

impl Tasks {
    /// Remembers the reader's task. Comes before the poll whose `Pending` it is for.
    pub(super) fn park_reader(&self, waker: &Waker) {
        self.reader.register(waker);
    }

    /// Remembers the writer's task. Comes after the poll whose `Pending` it is for: `is_called` tells
    /// whether the wake-up came in between.
    pub(super) fn park_writer(&self, waker: &Waker) {
        self.writer.register(waker);
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

    /// Wakes both halves, on behalf of what they both drive.
    pub(super) fn call(&self) {
        // before the tasks are: whoever is parked too late for the wake-up sees it
        self.is_called.store(true, Ordering::Release);
        self.wake_halves(Halves::all());
    }

    /// Whether something has called since it was polled.
    #[inline]
    pub(super) fn is_called(&self) -> bool {
        self.is_called.load(Ordering::Acquire)
    }

    /// The same, and forgets it. Comes before the poll.
    #[inline]
    pub(super) fn take_call(&self) -> bool {
        self.is_called() && self.is_called.swap(false, Ordering::AcqRel)
    }

    /// Forgets both tasks.
    pub(super) fn forget(&self) {
        self.reader.take();
        self.writer.take();
    }
}
