//! `Control`: what a stream shares with its handles: requests, counters, and how it ended.
//!
//! A handle leaves its request and wakes both halves; whichever is polled next takes it. The lock is
//! held for a few instructions at a time, never while anything is polled, woken or dropped.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Deref,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use pharos::Pharos;
use tungstenite::{
    Bytes,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    close::{CloseEvent, MAX_CONTROL_PAYLOAD, without_reason},
    meta::{WsCounters, WsState},
    wakers::{Halves, Tasks},
};
use crate::{WsErr, WsEvent};

#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) tasks: Tasks,
    pub(super) counters: Counters,
    /// A `WsState`. It only grows.
    state: AtomicU8,
    /// There are requests that the stream has not seen.
    is_asked: AtomicBool,
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// At most `MAX_PINGS`.
    pings: VecDeque<Bytes>,
    close: Option<CloseFrame>,
    /// Observers that the stream has not taken yet.
    observers: Vec<Pharos<WsEvent>>,
    /// The close frame that came from the peer.
    peer: Option<CloseFrame>,
    /// Everything has left, and with it our close frame.
    is_answered: bool,
    /// Something that was to go before our close frame is lost, or that frame itself.
    is_unclean: bool,
    end: Option<CloseEvent>,
    /// Who waits for the end.
    waiters: BTreeMap<u64, Waker>,
    next_waiter: u64,
}

/// For the handles.
impl Control {
    pub(super) fn ping(&self, payload: &[u8]) -> Result<(), WsErr> {
        let length = payload.len();
        if length > MAX_CONTROL_PAYLOAD {
            return Err(WsErr::PingTooLong { length });
        }
        self.push_ping(Bytes::copy_from_slice(payload))?;
        self.ask();
        Ok(())
    }

    fn push_ping(&self, payload: Bytes) -> Result<(), WsErr> {
        let mut shared = self.shared();
        if self.state() != WsState::Open {
            return Err(WsErr::Closed);
        }
        if shared.pings.len() >= MAX_PINGS {
            return Err(WsErr::TooManyPings);
        }
        shared.pings.push_back(payload);
        Ok(())
    }

    /// Asks for closing, unless it has begun.
    pub(super) fn close(&self, frame: CloseFrame) {
        if self.begin_close(frame) {
            self.ask();
        }
    }

    fn begin_close(&self, frame: CloseFrame) -> bool {
        let mut shared = self.shared();
        let is_first = self.state() == WsState::Open;
        if is_first {
            shared.close = Some(frame);
            self.raise_state(WsState::Closing);
        }
        is_first
    }

    pub(super) fn add_observer(&self, observer: Pharos<WsEvent>) -> Result<(), WsErr> {
        let mut shared = self.shared();
        if shared.end.is_some() {
            return Err(WsErr::Closed);
        }
        shared.observers.push(observer);
        // nobody needs to be woken for that
        self.is_asked.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn state(&self) -> WsState {
        match self.state.load(Ordering::Acquire) {
            OPEN => WsState::Open,
            CLOSING => WsState::Closing,
            _ => WsState::Closed,
        }
    }

    /// Resolves when the connection is over.
    pub(super) fn over(self: &Arc<Self>) -> Over {
        let mut shared = self.shared();
        let key = shared.next_waiter;
        shared.next_waiter += 1;
        Over { control: Arc::clone(self), key }
    }

    fn ask(&self) {
        self.is_asked.store(true, Ordering::Release);
        self.tasks.wake_halves(Halves::all());
    }
}

/// For the stream.
impl Control {
    /// Whether there are requests that the stream has not seen.
    #[inline]
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }

    /// Takes note of the requests: how many pings wait, and the close frame that was asked for.
    pub(super) fn take_requests(&self) -> (usize, Option<CloseFrame>) {
        self.is_asked.store(false, Ordering::Release);
        let mut shared = self.shared();
        (shared.pings.len(), shared.close.take())
    }

    pub(super) fn pop_ping(&self) -> Option<Bytes> {
        self.shared().pings.pop_front()
    }

    pub(super) fn take_observers(&self) -> Vec<Pharos<WsEvent>> {
        std::mem::take(&mut self.shared().observers)
    }

    /// Nothing more can be written.
    pub(super) fn on_closing(&self) {
        self.raise_state(WsState::Closing);
    }

    pub(super) fn on_peer_close(&self, frame: Option<CloseFrame>) {
        let frame = frame.unwrap_or_else(|| without_reason(CloseCode::Status));
        self.shared().peer = Some(frame);
    }

    /// Everything that was to be sent has left.
    pub(super) fn on_all_sent(&self) {
        self.shared().is_answered = true;
    }

    /// What was to be sent before the peer closed is lost.
    pub(super) fn on_loss(&self) {
        self.shared().is_unclean = true;
    }

    /// The connection is over. Returns the observers that may be told so.
    pub(super) fn on_end(&self) -> Vec<Pharos<WsEvent>> {
        self.raise_state(WsState::Closed);
        let (observers, waiters) = self.shared().end();
        waiters.into_values().for_each(Waker::wake);
        observers
    }

    fn raise_state(&self, state: WsState) {
        self.state.fetch_max(state as u8, Ordering::AcqRel);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        // nothing can panic while it is locked
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn end(&mut self) -> (Vec<Pharos<WsEvent>>, BTreeMap<u64, Waker>) {
        if self.end.is_none() {
            let is_complete = self.is_answered && !self.is_unclean;
            self.end = Some(CloseEvent::new(self.peer.take(), is_complete));
        }
        self.pings.clear();
        (std::mem::take(&mut self.observers), std::mem::take(&mut self.waiters))
    }
}

impl Wake for Control {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.tasks.call();
    }
}

/// Resolves when the connection is over.
#[derive(Debug)]
pub(super) struct Over {
    control: Arc<Control>,
    key: u64,
}

impl Future for Over {
    type Output = CloseEvent;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseEvent> {
        let waker = cx.waker().clone();
        let mut shared = self.control.shared();
        if let Some(end) = &shared.end {
            return Poll::Ready(end.clone());
        }
        let former = shared.waiters.insert(self.key, waker);
        drop(shared);
        drop(former);
        Poll::Pending
    }
}

impl Drop for Over {
    fn drop(&mut self) {
        let waker = self.control.shared().waiters.remove(&self.key);
        drop(waker);
    }
}

/// The stream's own reference to its `Control`. When it is dropped, the connection is over.
#[derive(Debug, Default)]
pub(super) struct Owner(Arc<Control>);

impl Deref for Owner {
    type Target = Arc<Control>;

    fn deref(&self) -> &Arc<Control> {
        &self.0
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.on_end();
        self.0.tasks.forget();
    }
}

/// What `WsCounters` shows. Only the stream counts, so adding needs no locked instruction.
#[derive(Debug, Default)]
pub(super) struct Counters {
    bytes_received: AtomicU64,
    bytes_sent: AtomicU64,
    messages_received: AtomicU64,
    messages_sent: AtomicU64,
    pings_received: AtomicU64,
    pings_sent: AtomicU64,
    pongs_received: AtomicU64,
    pongs_sent: AtomicU64,
}

impl Counters {
    #[inline]
    pub(super) fn on_message_received(&self, bytes: usize) {
        add(&self.messages_received, 1);
        add(&self.bytes_received, bytes as u64);
    }

    #[inline]
    pub(super) fn on_message_sent(&self, bytes: usize) {
        add(&self.messages_sent, 1);
        add(&self.bytes_sent, bytes as u64);
    }

    pub(super) fn on_ping_received(&self) {
        add(&self.pings_received, 1);
    }

    pub(super) fn on_ping_sent(&self) {
        add(&self.pings_sent, 1);
    }

    pub(super) fn on_pong_received(&self) {
        add(&self.pongs_received, 1);
    }

    pub(super) fn on_pong_sent(&self) {
        add(&self.pongs_sent, 1);
    }

    pub(super) fn get(&self) -> WsCounters {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WsCounters {
            bytes_received: get(&self.bytes_received),
            bytes_sent: get(&self.bytes_sent),
            messages_received: get(&self.messages_received),
            messages_sent: get(&self.messages_sent),
            pings_received: get(&self.pings_received),
            pings_sent: get(&self.pings_sent),
            pongs_received: get(&self.pongs_received),
            pongs_sent: get(&self.pongs_sent),
        }
    }
}

#[inline]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

const OPEN: u8 = WsState::Open as u8;
const CLOSING: u8 = WsState::Closing as u8;

/// How many pings may wait for the stream to take them: a few of them are at most 2 KiB.
const MAX_PINGS: usize = 16;
