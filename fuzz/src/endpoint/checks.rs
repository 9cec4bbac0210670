//! What holds of a stream: always, while everybody sleeps, when nothing is in its way, and when it is over.

use std::io::ErrorKind;

use ws_stream_tungstenite::{WsEvent, WsState};

use super::Endpoint;
use crate::calls::{MAX_PATTERN, pattern};

impl Endpoint {
    pub(super) fn update_sent(&mut self) {
        let Self { sent, end, seed, seen, .. } = self;
        let known = sent.data.len();
        end.see_sent(|bytes| sent.update(bytes, seen));
        let new = &sent.data[known..];
        let is_right = new
            .chunks(MAX_PATTERN)
            .scan(*seed + known, |offset, chunk| {
                let is_right = chunk == pattern(*offset, chunk.len());
                *offset += chunk.len();
                Some(is_right)
            })
            .all(|is_right| is_right);
        assert!(is_right, "what was written was sent as it is, behind {known} bytes");
    }

    /// What always holds.
    pub fn check(&mut self) {
        self.update_sent();
        let (sent, written) = (self.sent.data.len(), self.written);
        assert!(sent <= written, "{sent} bytes were sent of {written}");
        assert!(written - sent <= MAX_BACKLOG + self.end.held_back(), "{} wait", written - sent);
        let state = self.meta.ready_state();
        assert!(state >= self.state, "{state:?} after {:?}", self.state);
        self.state = state;
        assert!(self.read_end.is_none() || state == WsState::Closed, "{state:?} at the end");
        assert!(self.sent.close.is_none() || state != WsState::Open, "open behind a close frame");
        self.check_counters();
    }

    fn check_counters(&self) {
        let counters = self.meta.counters();
        assert!(counters.messages_sent >= self.sent.messages, "{counters:?}");
        assert!(counters.bytes_sent >= self.sent.data.len() as u64, "{counters:?}");
        let is_lossless = self.write_errors.is_empty();
        assert!(counters.bytes_sent <= self.written as u64 || !is_lossless, "{counters:?}");
        assert!(counters.bytes_received >= self.read.len() as u64, "{counters:?}");
        assert!(counters.pings_sent >= self.sent.pings, "{counters:?}");
        assert!(counters.pings_sent <= self.pings, "{counters:?}");
        assert!(counters.pongs_sent <= counters.pings_received, "{counters:?}");
        assert!(counters.pongs_sent >= self.sent.pongs.len() as u64, "{counters:?}");
    }

    pub(super) fn check_flushed(&self) {
        let is_lossless = self.write_errors.iter().all(|kind| *kind == ErrorKind::InvalidInput);
        if is_lossless {
            assert_eq!(self.sent.data.len(), self.written, "what was written has left");
        }
    }

    /// Nobody who waits could go on. Holds while everybody sleeps.
    pub fn check_asleep(&mut self) {
        let before = self.end.moved();
        // an answer that has no room is tried again by each poll, which may be the first to meet a failure
        let may_fail = self.end.fails() && !self.has_ample_buffer();
        if let Some(read) = self.reader.waits_for.filter(|_| !may_fail) {
            self.poll_reader();
            let waits = self.reader.waits_for.is_some();
            assert!(waits, "{:?}: nobody woke the reader for {read:?}", self.role);
        }
        if let Some(write) = self.writer.waits_for {
            self.poll_writer();
            let waits = self.writer.waits_for.is_some();
            assert!(waits, "{:?}: nobody woke the writer for {write:?}", self.role);
        }
        // while a flush waits, more may join what leaves with it
        let is_moved = self.end.moved() > before && !self.end.blocks_flush();
        assert!(!is_moved, "{:?}: nobody was woken for what could move", self.role);
        let waiters = self.waiters.len();
        (0..waiters).rev().for_each(|index| self.poll_waiter(index));
        assert_eq!(self.waiters.len(), waiters, "nobody woke who waited for the end");
        self.check();
    }

    /// Nothing holds the stream up. Holds while everybody sleeps, the transport takes everything, and
    /// the observers have taken all events.
    pub fn check_at_rest(&self) {
        let role = self.role;
        let write = self.writer.waits_for;
        assert!(write.is_none(), "{role:?}: {write:?} waits, and nothing is in its way");
        if self.reader.waits_for.is_none() || self.end.fails() {
            return;
        }
        assert_eq!(self.end.unread(), 0, "{role:?}: what has arrived was read");
        if self.meta.ready_state() == WsState::Open {
            assert_eq!(self.sent.data.len(), self.written, "{role:?}: what was written has left");
            let is_ping_lost = self.websocket.max_write_buffer_size < 140;
            assert!(is_ping_lost || self.sent.pings == self.pings, "{role:?}: the pings have left");
        } else if self.has_ample_buffer() && !self.end.is_left() {
            assert!(self.sent.close.is_some(), "{role:?}: a close frame has left");
        }
    }

    /// What is to be when reading has ended, and everybody was told.
    pub fn check_over(&mut self) {
        assert!(self.read_end.is_some(), "{:?}: reading has ended", self.role);
        assert_eq!(self.meta.ready_state(), WsState::Closed);
        for observer in &self.observers {
            let last = observer.told.last();
            assert!(matches!(last, Some(WsEvent::Closed)), "{last:?} is the last event");
            assert!(observer.has_ended, "no event follows");
        }
        assert!(self.waiters.is_empty(), "who waited for the end was told");
    }
}

/// What may wait in the stream at most, in bytes: what the documentation says, and the largest messages
/// that may be collected and on their way besides.
const MAX_BACKLOG: usize = 128 * 1024 + 2 * MAX_PATTERN;
