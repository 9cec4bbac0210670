//! `Notifier`: the queue of events and its delivery to pharos.

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, Waker, ready},
};

use futures_util::Sink;
use pharos::{Observable, Observe, ObserveConfig, Pharos};

use crate::{WsErr, WsEvent};

#[derive(Debug)]
pub(super) struct Notifier {
    pharos: Pharos<WsEvent>,
    /// Events that a bounded observer has no room for yet. Short: nothing is read meanwhile.
    queue: VecDeque<WsEvent>,
    /// `Closed` has been queued: the last event.
    closed: bool,
}

impl Notifier {
    pub(super) fn new() -> Self {
        Self { pharos: Pharos::new(0), queue: VecDeque::new(), closed: false }
    }

    pub(super) fn observe(
        &mut self,
        options: ObserveConfig<WsEvent>,
    ) -> Observe<'_, WsEvent, WsErr> {
        Box::pin(async move { Ok(self.pharos.observe(options).await?) })
    }

    /// Queues an event, which is made only if somebody observes.
    pub(super) fn push(&mut self, event: impl FnOnce() -> WsEvent) {
        // counting also makes pharos forget dropped observers and use their places again
        if !self.closed && self.pharos.num_observers() > 0 {
            self.queue.push_back(event());
        }
    }

    /// Queues the last event.
    pub(super) fn push_closed(&mut self) {
        self.push(|| WsEvent::Closed);
        self.closed = true;
        if self.is_idle() {
            self.end();
        }
    }

    /// How many observers there is room for without allocating.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.pharos.storage_len()
    }

    /// Whether every event was delivered.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Delivers what is queued; `Pending` while a bounded observer is full.
    pub(super) fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.is_idle() {
            // pharos would forget the observer too, but not use its place again
            self.pharos.num_observers();
            // pharos fails only once it is closed, which is after the last event
            let _ = ready!(Pin::new(&mut self.pharos).poll_ready(cx));
            if let Some(event) = self.queue.pop_front() {
                let _ = Pin::new(&mut self.pharos).start_send(event);
            }
        }
        if self.closed {
            self.end();
        }
        Poll::Ready(())
    }

    /// Ends the streams of events. Closing a channel never waits.
    fn end(&mut self) {
        let _ = Pin::new(&mut self.pharos).poll_close(&mut Context::from_waker(Waker::noop()));
    }
}
