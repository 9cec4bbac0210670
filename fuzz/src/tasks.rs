//! Tasks that are polled by hand, and that know whether they were woken.

use std::task::{Context, Poll, Waker};

use futures_test::task::{AwokenCount, new_count_waker};

/// A task, and what it waits for.
pub struct Task<W> {
    waker: Waker,
    count: AwokenCount,
    /// How many wakes its polls have followed.
    answered: usize,
    pub waits_for: Option<W>,
}

impl<W> Task<W> {
    pub fn new() -> Self {
        let (waker, count) = new_count_waker();
        Self { waker, count, answered: 0, waits_for: None }
    }

    /// Another task goes on with what this one does: it has to poll next.
    pub fn replace_waker(&mut self) {
        let waits_for = self.waits_for.take();
        *self = Self { waits_for, ..Self::new() };
    }

    /// Whether it waits for something, and was told that it may be there.
    pub fn is_woken(&self) -> bool {
        self.waits_for.is_some() && self.count.get() > self.answered
    }

    /// Polls for `wish`, and goes on waiting for it if that is in vain.
    pub fn poll<R>(
        &mut self,
        wish: W,
        poll: impl FnOnce(&W, &mut Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        self.answered = self.count.get();
        let result = poll(&wish, &mut Context::from_waker(&self.waker));
        self.waits_for = result.is_pending().then_some(wish);
        result
    }
}

impl<W> Default for Task<W> {
    fn default() -> Self {
        Self::new()
    }
}
