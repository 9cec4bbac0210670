//! `Notifier`: the queue of events and its delivery to pharos.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures_util::Sink;
use pharos::{Events, Observable, Observe, ObserveConfig, Pharos};

use crate::{WsErr, WsEvent};

#[derive(Debug, Default)]
pub(super) struct Notifier {
    /// Most streams have none. The lock is never taken: it makes the stream `Sync`, which the filters of
    /// observers are not.
    audience: Option<Box<Mutex<Audience>>>,
    /// `Closed` has been queued: the last event.
    closed: bool,
}

/// Who is told, and what they will be told.
#[derive(Debug, Default)]
struct Audience {
    /// Each has one observer.
    observers: Vec<Pharos<WsEvent>>,
    /// Events that a bounded observer has no room for yet. Short: nothing is read meanwhile.
    queue: VecDeque<WsEvent>,
}

impl Notifier {
    pub(super) fn observe(
        &mut self,
        options: ObserveConfig<WsEvent>,
    ) -> Observe<'_, WsEvent, WsErr> {
        Box::pin(async move {
            let (observer, events) = new_observer(options).await?;
            if self.closed && self.is_idle() {
                return Err(WsErr::Closed);
            }
            self.adopt(vec![observer]);
            Ok(events)
        })
    }

    /// Takes observers that were made elsewhere. They are told what is queued too.
    pub(super) fn adopt(&mut self, observers: Vec<Pharos<WsEvent>>) {
        if !observers.is_empty() {
            let audience = in_lock(self.audience.get_or_insert_default());
            audience.forget_the_gone();
            audience.observers.extend(observers);
        }
    }

    /// Queues an event, which is made only if somebody observes.
    pub(super) fn push(&mut self, event: impl FnOnce() -> WsEvent) {
        let Some(audience) = self.audience.as_mut().map(in_lock) else { return };
        audience.forget_the_gone();
        if !self.closed && !audience.observers.is_empty() {
            audience.queue.push_back(event());
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

    /// How many observers there are.
    #[cfg(test)]
    pub(super) fn observers(&mut self) -> usize {
        self.audience.as_mut().map_or(0, |audience| in_lock(audience).observers.len())
    }

    /// Whether every event was delivered.
    #[inline]
    pub(super) fn is_idle(&mut self) -> bool {
        self.audience.as_mut().is_none_or(|audience| in_lock(audience).queue.is_empty())
    }

    /// Delivers what is queued; `Pending` while a bounded observer is full.
    pub(super) fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(audience) = self.audience.as_mut().map(in_lock) {
            ready!(audience.poll_deliver(cx));
        }
        if self.closed {
            self.end();
        }
        Poll::Ready(())
    }

    /// Ends the streams of events.
    fn end(&mut self) {
        self.audience = None;
    }
}

impl Audience {
    fn poll_deliver(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.queue.is_empty() {
            self.forget_the_gone();
            ready!(self.poll_room(cx));
            if let Some(event) = self.queue.pop_front() {
                self.send(&event);
            }
        }
        Poll::Ready(())
    }

    /// Waits until every observer has room for an event.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for observer in &mut self.observers {
            // fails only if the observer is gone
            let _ = ready!(Pin::new(observer).poll_ready(cx));
        }
        Poll::Ready(())
    }

    fn send(&mut self, event: &WsEvent) {
        for observer in &mut self.observers {
            let _ = Pin::new(observer).start_send(event.clone());
        }
    }

    fn forget_the_gone(&mut self) {
        // `Pharos` forgets those who do not wait for events any more
        self.observers.retain_mut(|observer| observer.num_observers() > 0);
    }
}

/// What is in a lock that nobody else can take.
fn in_lock(audience: &mut Box<Mutex<Audience>>) -> &mut Audience {
    audience.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// An observer, and the events that it will be told.
pub(super) async fn new_observer(
    options: ObserveConfig<WsEvent>,
) -> Result<(Pharos<WsEvent>, Events<WsEvent>), WsErr> {
    let mut observer = Pharos::new(1);
    let events = observer.observe(options).await?;
    Ok((observer, events))
}
