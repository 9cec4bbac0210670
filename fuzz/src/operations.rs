//! Two connected streams, whose users and transports do anything in any order: bytes arrive once and
//! in order, and nobody sleeps who could go on.

use arbitrary::{Arbitrary, Result, Unstructured};
use ws_stream_tungstenite::tungstenite::protocol::Role;

use crate::{
    both::{self, Backend, Seen},
    calls::Write,
    decode::all,
    endpoint::{self, Endpoint, Op, ReadEnd},
    pipe::{self, Event},
    setup::Setup,
};

/// Everything that happens on a connection.
#[derive(Debug)]
pub struct Program {
    setups: [Setup; 2],
    /// Who closes: the client, the server.
    closes: [bool; 2],
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Use(Side, Op),
    Happen(Side, Event),
    /// Everybody who is woken is polled, until nobody is.
    Settle(bool),
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Client,
    Server,
}

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            setups: [mend(input.arbitrary()?), mend(input.arbitrary()?)],
            closes: input.arbitrary()?,
            steps: all(input)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let side = *input.choose(&[Side::Client, Side::Server])?;
        Ok(match input.int_in_range(0..=31)? {
            0..=17 => Self::Use(side, input.arbitrary()?),
            18..=27 => Self::Happen(side, input.arbitrary()?),
            _ => Self::Settle(input.arbitrary()?),
        })
    }
}

impl Program {
    pub fn run(&self) {
        both::compare(|backend| self.play(backend));
    }

    fn play(&self, backend: Backend) -> Vec<Seen> {
        let mut connection = Connection::new(backend, self);
        for step in &self.steps {
            connection.take(*step);
        }
        connection.finish(self.closes);
        connection.ends.into_iter().flat_map(Endpoint::into_seen).collect()
    }
}

struct Connection {
    ends: [Endpoint; 2],
}

impl Connection {
    fn new(backend: Backend, program: &Program) -> Self {
        let [client, server] = pipe::connection();
        let [client_setup, server_setup] = program.setups;
        Self {
            ends: [
                Endpoint::new(backend, Role::Client, client_setup, client),
                Endpoint::new(backend, Role::Server, server_setup, server),
            ],
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Use(side, op) => self.ends[side as usize].run(op),
            Step::Happen(side, event) => self.ends[side as usize].end.happen(event),
            Step::Settle(is_writer_first) => self.settle(is_writer_first),
        }
    }

    fn settle(&mut self, is_writer_first: bool) {
        endpoint::settle(&mut self.ends, is_writer_first);
    }

    fn finish(&mut self, closes: [bool; 2]) {
        endpoint::unblock(&mut self.ends);
        self.close(closes);
        self.read_to_end();
        self.ends.iter_mut().for_each(Endpoint::check_over);
        self.check_arrived();
    }

    fn close(&mut self, closes: [bool; 2]) {
        for (end, closes) in self.ends.iter_mut().zip(closes) {
            if closes && !end.has_closed {
                end.run(Op::Write(Write::Close));
            }
        }
        let is_anybody_closing = self.ends.iter().any(|end| end.closes);
        if !is_anybody_closing {
            self.ends[0].run(Op::Write(Write::Close));
        }
        self.settle(false);
    }

    fn read_to_end(&mut self) {
        for _ in 0..MAX_ROUNDS {
            if self.ends.iter().all(|end| end.read_end.is_some()) {
                break;
            }
            if self.ends.iter().any(|end| end.end.fails()) {
                self.ends.iter().for_each(|end| end.end.end());
            }
            for end in &mut self.ends {
                end.watch_all();
                end.read_on();
            }
            self.settle(false);
        }
        self.ends.iter_mut().for_each(Endpoint::watch_all);
        self.settle(false);
    }

    /// What one has written is what the other has read.
    fn check_arrived(&self) {
        let [client, server] = &self.ends;
        for (from, to) in [(client, server), (server, client)] {
            let is_arrived = to.read == from.sent.data;
            let is_part = from.sent.data.starts_with(&to.read);
            let fails = from.end.fails() || to.end.fails();
            assert!(is_part, "{:?}: what was sent is what is read", to.role);
            assert!(is_arrived || fails, "{:?}: all that was sent was read", to.role);
            if from.write_errors.is_empty() && from.setup.collects.is_none() && !fails {
                assert_eq!(to.read.len(), from.written, "what was written has arrived");
            }
            if !fails {
                assert_eq!(to.read_end, Some(ReadEnd::EndOfFile), "{:?}", to.role);
            }
        }
    }
}

/// `setup` without what makes the other end refuse what is sent, or a close frame not fit.
fn mend(setup: Setup) -> Setup {
    Setup {
        max_write_buffer: setup.max_write_buffer.map(|more| more.max(150)),
        max_message_size: None,
        max_frame_size: None,
        ..setup
    }
}

/// How often all that can be done is done until it is over.
const MAX_ROUNDS: usize = 10_000;
