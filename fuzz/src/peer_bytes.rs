//! A peer that sends any bytes, cut anywhere, to a stream with any limits: nothing panics, hangs, grows
//! without bound, or lets through what follows an offending message.

use arbitrary::{Arbitrary, Result, Unstructured};
use ws_stream_tungstenite::tungstenite::protocol::Role;

use crate::{
    both::{self, Backend, Seen},
    decode::{PeerFrame, all},
    endpoint::Op,
    pipe::Event,
    session::Session,
    setup::Setup,
};

/// Everything that happens to a stream.
#[derive(Debug)]
pub struct Program {
    is_client: bool,
    setup: Setup,
    steps: Vec<Step>,
}

#[derive(Debug, Clone)]
enum Step {
    Say(Vec<u8>),
    SayFrame(PeerFrame),
    /// The same frame many times.
    Repeat(u8, PeerFrame),
    /// So many bytes of what the peer says arrive.
    Send(u8),
    SendAll,
    Receive(u8),
    End,
    Use(Op),
    Happen(Event),
    Settle(bool),
}

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let (is_client, setup) = (input.arbitrary()?, input.arbitrary()?);
        Ok(Self { is_client, setup, steps: all(input)? })
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.int_in_range(0..=31)? {
            0..=1 => {
                let length = input.int_in_range(1..=16)?;
                Self::Say(input.bytes(length.min(input.len()))?.to_vec())
            }
            2..=7 => Self::SayFrame(input.arbitrary()?),
            8 => Self::Repeat(input.arbitrary()?, input.arbitrary()?),
            9..=11 => Self::Send(input.arbitrary()?),
            12..=13 => Self::SendAll,
            14 => Self::Receive(input.arbitrary()?),
            15 => {
                if input.ratio(1, 4_u8)? {
                    Self::End
                } else {
                    Self::SendAll
                }
            }
            16..=23 => Self::Use(input.arbitrary()?),
            24..=28 => Self::Happen(input.arbitrary()?),
            _ => Self::Settle(input.arbitrary()?),
        })
    }
}

impl Program {
    pub fn run(&self) {
        both::compare(|backend| self.play(backend));
    }

    fn play(&self, backend: Backend) -> Vec<Seen> {
        let role = if self.is_client { Role::Client } else { Role::Server };
        let mut session = Session::new(backend, role, self.setup);
        for step in &self.steps {
            take(&mut session, step);
        }
        session.come_to_rest();
        session.finish();
        session.check_memory();
        session.into_seen()
    }
}

fn take(session: &mut Session, step: &Step) {
    let role = session.stream().role;
    match step {
        Step::Say(bytes) => session.say(bytes),
        Step::SayFrame(frame) => session.say(&frame.bytes(role)),
        Step::Repeat(times, frame) => session.say(&frame.bytes(role).repeat((*times).into())),
        Step::Send(amount) => session.send((*amount).into()),
        Step::SendAll => session.send(usize::MAX),
        Step::Receive(amount) => session.receive((*amount).into()),
        Step::End => session.end(),
        Step::Use(op) => session.stream().run(*op),
        Step::Happen(event) => session.stream().end.happen(*event),
        Step::Settle(is_writer_first) => session.settle(*is_writer_first),
    }
}
