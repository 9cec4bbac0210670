//! A session over a transport on which one call goes wrong: what its two ends do and see.

use std::{
    io::{self, ErrorKind, IoSlice},
    sync::{Arc, Mutex},
};

use futures::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, FutureExt, SinkExt};
use pharos::Events;
use tungstenite::{
    Error, Message,
    protocol::{
        Role,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};
use ws_stream_tungstenite::{
    CloseEvent, UncleanEnd, Writes, WsConfig, WsEvent, WsMeta, WsState, pharos, tungstenite,
};

use super::network::{Call, End, Fault, Network, Position, Transport, index};
use crate::{
    backend::{
        WsStream,
        handshake::{accept, connect},
    },
    support::{ROLES, Task, observe, pattern, told},
};

/// How the ends use their streams.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct Style {
    collects: bool,
    vectored: bool,
    /// Reads through `AsyncBufRead`.
    borrows: bool,
    pub unclean_end: UncleanEnd,
    /// A handle closes.
    closes_from_outside: bool,
    /// The transport keeps what is written until it is flushed, as TLS does.
    buffers: bool,
}

const PLAIN: Style = Style {
    collects: false,
    vectored: false,
    borrows: false,
    unclean_end: UncleanEnd::EndOfFile,
    closes_from_outside: false,
    buffers: false,
};

pub const STYLES: [Style; 4] = [
    PLAIN,
    Style { vectored: true, borrows: true, unclean_end: UncleanEnd::Error, buffers: true, ..PLAIN },
    Style { collects: true, unclean_end: UncleanEnd::Error, ..PLAIN },
    Style { collects: true, borrows: true, closes_from_outside: true, buffers: true, ..PLAIN },
];

impl Style {
    fn config(self) -> WsConfig {
        let writes = if self.collects { Writes::Collect(48) } else { Writes::AtOnce };
        WsConfig::new().writes(writes).unclean_end(self.unclean_end)
    }
}

/// What ends a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Close,
    /// A text message, which is refused.
    Text,
    /// A frame that the protocol does not have, which is refused too.
    Violation,
}

/// The opcode of such a frame.
pub const RESERVED: u8 = 0x3;

/// A session, and what goes wrong in it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    pub style: Style,
    pub ending: Ending,
    /// Who does that.
    pub ends_first: Role,
    pub fault: Option<(Position, Fault)>,
}

/// What one end saw.
#[derive(Default)]
pub struct Record {
    /// Why there is no stream.
    pub not_opened: Option<Error>,
    pub read: Vec<u8>,
    pub read_errors: Vec<ErrorKind>,
    /// Each error of a call that writes.
    pub write_errors: Vec<(Call, ErrorKind)>,
    pub told: Vec<String>,
    pub close_event: Option<CloseEvent>,
    /// How many bytes have left, as a flush or a close said.
    pub flushed: usize,
}

/// A session that is over: each end, and what the transport saw of it.
pub struct Outcome {
    pub network: Network,
    pub records: [Record; 2],
}

impl Case {
    /// Plays the session until both ends are done.
    pub fn play(self) -> Outcome {
        let network = Arc::new(Mutex::new(Network::new(self.style.buffers, self.fault)));
        let records = ROLES.map(|_| Arc::new(Mutex::new(None)));
        let mut tasks = ROLES.map(|role| {
            let (network, record) = (Arc::clone(&network), Arc::clone(&records[index(role)]));
            Task::new(async move {
                let seen = take_part(self, role, network).await;
                *record.lock().unwrap() = Some(seen);
            })
        });
        settle(&mut tasks);
        network.lock().unwrap().end_stall();
        settle(&mut tasks);
        give_up(&mut network.lock().unwrap(), &tasks);
        settle(&mut tasks);
        assert!(tasks.iter().all(Task::is_done), "an end sleeps for ever");
        drop(tasks);
        let records = records.map(|record| record.lock().unwrap().take().unwrap());
        let network = Arc::into_inner(network).expect("nothing holds the transport");
        Outcome { network: network.into_inner().unwrap(), records }
    }
}

/// An end that can't write any more may read on, and its peer still wait for what it wrote, until the
/// network gives the connection up.
fn give_up(network: &mut Network, tasks: &[Task; 2]) {
    for role in ROLES {
        if !tasks[index(role)].is_done() && !network.end(role).can_write() {
            network.cut_behind(role);
        }
    }
}

/// Lets the ends do what they can.
fn settle(tasks: &mut [Task; 2]) {
    let mut polls = 0;
    while tasks.iter().any(Task::is_woken) {
        tasks.iter_mut().for_each(Task::poll_if_woken);
        polls += 1;
        assert!(polls <= MAX_POLLS, "the ends do not come to rest");
    }
}

/// How often the ends are polled until they sleep. None of these sessions takes more than a dozen.
const MAX_POLLS: usize = 40;

/// What each end writes: this much, and then as much again.
const PART: usize = 130;

pub fn payload(role: Role) -> Vec<u8> {
    pattern(100 * index(role), 2 * PART)
}

/// One end of the session.
struct Party {
    case: Case,
    role: Role,
    network: Arc<Mutex<Network>>,
    ws: WsStream<Transport>,
    meta: WsMeta,
    events: Events<WsEvent>,
    record: Record,
}

/// A call has failed, which is on record, or reading has ended.
struct Failed;

/// Plays the part of one end, whatever happens.
async fn take_part(case: Case, role: Role, network: Arc<Mutex<Network>>) -> Record {
    let transport = Transport::new(role, Arc::clone(&network));
    let mut ws = match open(role, transport, case.style).await {
        Ok(ws) => ws,
        Err(error) => return Record { not_opened: Some(error), ..Record::default() },
    };
    let (meta, events) = (ws.meta(), observe(&mut ws));
    network.lock().unwrap().end(role).on_open(meta.clone());
    let record = Record::default();
    let mut party = Party { case, role, network, ws, meta, events, record };
    let _ = party.talk().await;
    party.read_to_end().await;
    party.see_that_it_is_over().await;
    party.record.told = told(&mut party.events);
    party.record.close_event = party.meta.closed().now_or_never();
    party.record
}

async fn open(
    role: Role,
    transport: Transport,
    style: Style,
) -> Result<WsStream<Transport>, Error> {
    match role {
        Role::Client => connect(transport, style.config()).await,
        Role::Server => accept(transport, style.config()).await,
    }
}

impl Party {
    /// A question and an answer, then more in both directions, and the end.
    async fn talk(&mut self) -> Result<(), Failed> {
        if self.role == Role::Server {
            self.read_up_to(PART).await?;
        }
        self.write_up_to(PART).await?;
        self.flush().await?;
        let _ = self.meta.ping(b"?"); // the call that follows tells why, if it is too late
        if self.role == Role::Client {
            self.read_up_to(PART).await?;
        }
        self.write_up_to(2 * PART).await?;
        if self.role != self.case.ends_first {
            return Ok(());
        }
        if self.case.style.collects || self.case.ending != Ending::Close {
            // what the other end has collected, and not sent by then, would be lost
            self.read_up_to(2 * PART).await?;
        }
        match self.case.ending {
            Ending::Close => self.close().await?,
            Ending::Text => self.send(Message::text("text")).await?,
            Ending::Violation => {
                let opcode = OpCode::Data(Data::Reserved(RESERVED));
                self.send(Message::Frame(Frame::message("", opcode, true))).await?;
            }
        }
        Ok(())
    }

    async fn read_up_to(&mut self, length: usize) -> Result<(), Failed> {
        while self.record.read.len() < length {
            self.read().await?;
        }
        Ok(())
    }

    async fn read_to_end(&mut self) {
        while self.read().await.is_ok() {}
    }

    async fn read(&mut self) -> Result<(), Failed> {
        match self.read_some().await {
            Ok(0) => Err(Failed),
            Ok(_) => Ok(()),
            Err(error) => {
                self.record.read_errors.push(error.kind());
                Err(Failed)
            }
        }
    }

    async fn read_some(&mut self) -> io::Result<usize> {
        let read = &mut self.record.read;
        if self.case.style.borrows {
            let bytes = self.ws.fill_buf().await?;
            let length = bytes.len();
            read.extend(bytes);
            self.ws.consume_unpin(length);
            Ok(length)
        } else {
            let mut buf = [0; 70];
            let length = self.ws.read(&mut buf).await?;
            read.extend(&buf[..length]);
            Ok(length)
        }
    }

    /// Writes until so much was taken, in several messages.
    async fn write_up_to(&mut self, target: usize) -> Result<(), Failed> {
        let payload = payload(self.role);
        while self.end(|end| end.accepted) < target {
            let left = &payload[self.end(|end| end.accepted)..target];
            self.write(&left[..left.len().min(60)]).await?;
        }
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Failed> {
        let result = if self.case.style.vectored {
            let (one, two) = bytes.split_at(bytes.len() / 3);
            self.ws.write_vectored(&[IoSlice::new(one), IoSlice::new(two)]).await
        } else {
            self.ws.write(bytes).await
        };
        let length = self.note(Call::Write, result)?;
        self.end(|end| end.accepted += length);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Failed> {
        let result = self.ws.flush().await;
        self.note(Call::Flush, result)?;
        self.on_flushed();
        Ok(())
    }

    /// Sends it past the stream. It leaves when the stream is polled, as nothing waits before it.
    async fn send(&mut self, message: Message) -> Result<(), Failed> {
        self.flush().await?;
        if self.meta.ready_state() != WsState::Open {
            return Err(Failed);
        }
        self.ws.get_mut().feed(message).await.map_err(|_| Failed)
    }

    async fn close(&mut self) -> Result<(), Failed> {
        if self.case.style.closes_from_outside {
            // done when it is read to the end
            assert!(self.meta.close(4000, "bye").now_or_never().is_none());
            return Ok(());
        }
        self.end(|end| end.is_closing = true);
        let result = self.ws.close().await;
        self.end(|end| end.is_closing = false);
        self.note(Call::Close, result)?;
        self.on_flushed();
        Ok(())
    }

    fn note<R>(&mut self, call: Call, result: io::Result<R>) -> Result<R, Failed> {
        result.map_err(|error| {
            self.record.write_errors.push((call, error.kind()));
            Failed
        })
    }

    /// Unless an error has said that it was lost, all that was written has left.
    fn on_flushed(&mut self) {
        if self.record.write_errors.is_empty() {
            let (accepted, sent) = self.end(|end| (end.accepted, end.sent_data()));
            assert_eq!(sent, accepted, "the {:?} flushed, and has sent so many bytes", self.role);
            self.record.flushed = accepted;
        }
    }

    fn end<R>(&self, see: impl FnOnce(&mut End) -> R) -> R {
        see(self.network.lock().unwrap().end(self.role))
    }

    /// The first call that writes tells of a failure that was not told before. Then all is said.
    async fn see_that_it_is_over(&mut self) {
        let _ =
            if self.case.style.vectored { self.flush().await } else { self.write(b"more").await };
        for _ in 0..2 {
            let error = self.ws.write(b"more").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotConnected, "the {:?} writes", self.role);
            self.ws.flush().await.unwrap();
            self.ws.close().await.unwrap();
            assert_eq!(self.ws.read(&mut [0; 8]).await.unwrap(), 0);
        }
    }
}
