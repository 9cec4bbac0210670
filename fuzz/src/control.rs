//! Handles and choices: whoever pings, closes, waits, observes and drops, in any order, beside a peer that
//! is as it should be, is told what is so.

use arbitrary::{Arbitrary, Result, Unstructured};
use ws_stream_tungstenite::tungstenite::protocol::Role;

use crate::{
    both::{self, Backend, Seen},
    decode::{PeerFrame, all, handle_op},
    endpoint::Op,
    pipe::Event,
    session::Session,
    setup::Setup,
};

/// Everything that happens to a stream and its handle.
#[derive(Debug)]
pub struct Program {
    is_client: bool,
    setup: Setup,
    /// The stream is dropped in the end, instead of read to its end.
    is_abandoned: bool,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Use(Op),
    Say(PeerFrame),
    AnswerClose,
    End,
    Happen(Event),
    Settle(bool),
}

impl<'a> Arbitrary<'a> for Program {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let (is_client, setup) = (input.arbitrary()?, input.arbitrary()?);
        // what a peer that is as it should be sends has to pass
        let setup = Setup { max_message_size: None, max_frame_size: None, ..setup };
        let is_abandoned = input.ratio(1, 4_u8)?;
        Ok(Self { is_client, setup, is_abandoned, steps: all(input)? })
    }
}

impl<'a> Arbitrary<'a> for Step {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.int_in_range(0..=31)? {
            0..=13 => Self::Use(handle_op(input)?),
            14..=19 => Self::Say(PeerFrame::valid(input)?),
            20 => Self::AnswerClose,
            21 => {
                if input.ratio(1, 4_u8)? {
                    Self::End
                } else {
                    Self::AnswerClose
                }
            }
            22..=26 => Self::Happen(input.arbitrary()?),
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
            take(&mut session, *step);
        }
        if self.is_abandoned {
            return session.abandon();
        }
        session.come_to_rest();
        session.answer_close();
        session.finish();
        session.into_seen()
    }
}

fn take(session: &mut Session, step: Step) {
    let role = session.stream().role;
    match step {
        Step::Use(op) => session.stream().run(op),
        Step::Say(frame) => {
            session.say(&frame.bytes(role));
            session.send(usize::MAX);
        }
        Step::AnswerClose => session.answer_close(),
        Step::End => session.end(),
        Step::Happen(event) => session.stream().end.happen(event),
        Step::Settle(is_writer_first) => session.settle(is_writer_first),
    }
}
