//! `WsMeta`: a handle to a stream that is inside something else.

use std::{fmt, sync::Arc};

use pharos::{Observable, Observe, ObserveConfig};

use super::{
    close::{CloseEvent, close_frame},
    control::Control,
    notifier::new_observer,
};
use crate::{WsErr, WsEvent};

/// A handle to a [`WsStream`](crate::WsStream), to reach the websocket when the stream is inside
/// something else: from [`WsStream::meta`](crate::WsStream::meta).
///
/// It can be cloned and used in any thread. It holds neither the transport nor the stream: when that
/// is dropped, the connection is closed for the handle too.
///
/// What is asked of a handle is done by the tasks that read from or write to the stream. One that
/// sleeps in a read, write, flush or close is woken for it; while none polls the stream at all,
/// nothing happens.
#[derive(Clone)]
pub struct WsMeta {
    pub(super) control: Arc<Control>,
}

impl WsMeta {
    /// Asks for a ping to be sent, with this payload of at most 125 bytes (RFC 6455, section 5.5.2).
    ///
    /// Returns at once. The ping leaves when the transport takes it, behind what was written before,
    /// also while a write waits for room. It may overtake data that is still
    /// [collected](crate::Writes::Collect). The peer's answer comes to observers as
    /// [`WsEvent::Pong`] with the same payload, as far as the stream is read from; when pings follow
    /// one another quickly, the peer may answer only the last one (section 5.5.3). A ping that has not left when closing begins may not
    /// be sent, nor one for which the `max_write_buffer_size` of the
    /// [`WebSocketConfig`](tungstenite::protocol::WebSocketConfig) has no room.
    ///
    /// # Errors
    ///
    /// - [`WsErr::PingTooLong`]: the payload has more than 125 bytes.
    /// - [`WsErr::TooManyPings`]: 16 pings wait for the stream to take them. Nothing polls it, or the
    ///   transport is not writable and 128 KiB of messages and pings wait for that already.
    /// - [`WsErr::Closed`]: the state is not [`WsState::Open`].
    pub fn ping(&self, payload: &[u8]) -> Result<(), WsErr> {
        self.control.ping(payload)
    }

    /// Closes the connection and resolves when that is done.
    ///
    /// What was written before is sent first, then a close frame with this code and reason, as if
    /// the stream had closed itself: writes fail with
    /// [`NotConnected`](std::io::ErrorKind::NotConnected), and reads go on to end of file. A write
    /// does not fail before the close frame has left, unless the peer closes, breaks a rule or is gone
    /// before. Do read on after that, up to end of file: dropping the stream while the peer is still
    /// sending can reset the connection, and destroy the close frame before the peer sees it. If a
    /// close frame was asked for, sent or received before, this only waits.
    ///
    /// It waits until reading is at its end, or the stream is dropped (both halves, if it was split),
    /// and says how the connection closed, whoever was first. So it waits for ever while nobody reads:
    /// if it is the same task that does, join both. A peer that never answers keeps it waiting too, and
    /// so does a bounded observer that is full, since it holds up reading. Put a timeout of your runtime
    /// around it, and then drop the stream.
    ///
    /// # Errors
    ///
    /// Nothing is sent, and the connection stays as it is, with:
    ///
    /// - [`WsErr::InvalidCloseCode`]: not one of 1000–1003, 1007–1013 and 3000–4999. The others must
    ///   not be sent, or are not defined (RFC 6455, section 7.4).
    /// - [`WsErr::ReasonTooLong`]: the reason has more than 123 bytes.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. The first poll asks for the closing, which then goes on also if this future is
    /// dropped; calling it again waits for the same end.
    pub async fn close(&self, code: u16, reason: &str) -> Result<CloseEvent, WsErr> {
        self.control.close(close_frame(code, reason)?);
        Ok(self.closed().await)
    }

    /// Resolves when the connection is closed, as [`close`](Self::close) does, without asking for
    /// it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn closed(&self) -> CloseEvent {
        self.control.over().await
    }

    /// How far the connection is on its way from open to closed.
    #[must_use]
    pub fn ready_state(&self) -> WsState {
        self.control.state()
    }

    /// What went over the connection so far.
    #[must_use]
    pub fn counters(&self) -> WsCounters {
        self.control.counters.get()
    }
}

impl Observable<WsEvent> for WsMeta {
    type Error = WsErr;

    /// Lets an observer be told of [events](WsEvent), as [`WsStream`](crate::WsStream) does: from now
    /// on, and those before that still wait for room at another observer.
    ///
    /// # Errors
    ///
    /// - [`WsErr::Closed`]: the connection is over, or the stream is dropped.
    /// - [`WsErr::Observe`]: a bounded channel of capacity 0.
    fn observe(&mut self, options: ObserveConfig<WsEvent>) -> Observe<'_, WsEvent, WsErr> {
        Box::pin(async move {
            let (observer, events) = new_observer(options).await?;
            self.control.add_observer(observer)?;
            Ok(events)
        })
    }
}

impl fmt::Debug for WsMeta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsMeta").field("ready_state", &self.ready_state()).finish_non_exhaustive()
    }
}

/// How far a connection is on its way from open to closed. Named as in browsers and in
/// `ws_stream_wasm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WsState {
    /// Data can be read and written.
    Open,
    /// Nothing can be written any more: a close frame was asked for, sent or received, or sending
    /// failed.
    Closing,
    /// The connection is over: reads are at their end, or the stream is dropped.
    Closed,
}

/// What went over a connection, as far as the stream has it: what was received counts when the stream
/// takes it from the websocket, what was sent when it gives it to the websocket. Data and pongs that a
/// peer sends after it was refused do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct WsCounters {
    /// Bytes in the payloads of the data messages that were received.
    pub bytes_received: u64,
    /// Bytes in the payloads of the data messages that were sent.
    pub bytes_sent: u64,
    /// Data messages that were received, empty ones too.
    pub messages_received: u64,
    /// Data messages that were sent.
    pub messages_sent: u64,
    /// Pings of the peer.
    pub pings_received: u64,
    /// Pings that [`WsMeta::ping`] asked for and the websocket took.
    pub pings_sent: u64,
    /// Pongs of the peer, asked for or not.
    pub pongs_received: u64,
    /// Pongs that answer the pings of the peer. Where the `max_write_buffer_size` leaves no room, a
    /// later one takes the place of an earlier one (RFC 6455, section 5.5.3), and both count.
    pub pongs_sent: u64,
}
