//! How the bytes of the fuzzer become what they stand for. One byte for each choice, so that a small change
//! of an input is a small change of what happens; what is derived takes four.

use arbitrary::{Arbitrary, Result, Unstructured};

use ws_stream_tungstenite::tungstenite::protocol::Role;

use crate::{
    calls::{Read, Write, pattern},
    endpoint::Op,
    frames::{BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, close_payload, raw_frame},
    pipe::{Event, Fault},
    setup::{Setup, Size},
};

/// As many values as there are bytes for.
pub fn all<'a, T: Arbitrary<'a>>(input: &mut Unstructured<'a>) -> Result<Vec<T>> {
    let mut values = Vec::new();
    while !input.is_empty() {
        values.push(input.arbitrary()?);
    }
    Ok(values)
}

/// A value, one time in `times`.
fn rarely<'a, T: Arbitrary<'a>>(input: &mut Unstructured<'a>, times: u8) -> Result<Option<T>> {
    let is_rare = input.ratio(1, times)?;
    is_rare.then(|| input.arbitrary()).transpose()
}

/// A code that may be sent, or any, and a length for the reason.
fn close_frame(input: &mut Unstructured<'_>) -> Result<(u16, u8)> {
    let code = if input.ratio(1, 4_u8)? { input.arbitrary()? } else { 4000 };
    Ok((code, input.arbitrary()?))
}

impl<'a> Arbitrary<'a> for Setup {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            passes_text: input.arbitrary()?,
            unclean_is_error: input.arbitrary()?,
            collects: rarely(input, 2)?,
            max_message: rarely(input, 4)?,
            close_frame: input.ratio(1, 4_u8)?.then(|| close_frame(input)).transpose()?,
            write_buffer: rarely(input, 3)?,
            max_write_buffer: rarely(input, 4)?,
            read_buffer: rarely(input, 4)?,
            max_message_size: rarely(input, 3)?,
            max_frame_size: rarely(input, 3)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Op {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.int_in_range(0..=31)? {
            0..=5 => Self::Read(input.arbitrary()?),
            6..=11 => Self::Write(input.arbitrary()?),
            12 => Self::StopReading,
            13 => Self::StopWriting,
            14 => Self::MoveReader,
            15 => Self::MoveWriter,
            16 => Self::PollReader,
            17 => Self::PollWriter,
            18..=20 => Self::WakeReader,
            21..=23 => Self::WakeWriter,
            24..=25 => Self::Ping(input.arbitrary()?),
            26 => {
                let (code, reason) = close_frame(input)?;
                Self::Close(code, reason)
            }
            27 => Self::WaitForEnd,
            28 => Self::StopWaiting(input.arbitrary()?),
            29 => Self::Observe(input.arbitrary()?),
            30 => Self::Watch(input.arbitrary()?, input.arbitrary()?),
            _ => Self::StopObserving(input.arbitrary()?),
        })
    }
}

/// What is done with handles and observers more often than with the stream.
pub fn handle_op(input: &mut Unstructured<'_>) -> Result<Op> {
    Ok(match input.int_in_range(0..=15)? {
        0..=2 => Op::Ping(input.arbitrary()?),
        3 => Op::PingOften(input.int_in_range(0..=31)?),
        4 => Op::WaitForEnd,
        5 => Op::StopWaiting(input.arbitrary()?),
        6 => Op::Observe(input.arbitrary()?),
        7 => Op::Watch(input.arbitrary()?, input.arbitrary()?),
        8 => {
            let (code, reason) = close_frame(input)?;
            Op::Close(code, reason)
        }
        _ => input.arbitrary()?,
    })
}

impl<'a> Arbitrary<'a> for Read {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.int_in_range(0..=3)? {
            0..=1 => Self::Copy(input.arbitrary()?),
            2 => Self::Scatter(input.arbitrary()?, input.arbitrary()?),
            _ => Self::Borrow(input.arbitrary()?),
        })
    }
}

impl<'a> Arbitrary<'a> for Write {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.int_in_range(0..=15)? {
            0..=9 => Self::Copy(input.arbitrary()?),
            10..=11 => Self::Gather(input.arbitrary()?, input.arbitrary()?),
            12..=14 => Self::Flush,
            _ => Self::Close,
        })
    }
}

impl<'a> Arbitrary<'a> for Size {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        input.arbitrary().map(Self)
    }
}

impl<'a> Arbitrary<'a> for Event {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.int_in_range(0..=63)? {
            0..=19 => Self::Room(input.arbitrary()?),
            20..=23 => Self::Buffer(input.arbitrary()?),
            24..=31 => Self::BlockFlush(input.arbitrary()?),
            32..=34 => Self::BlockClose(input.arbitrary()?),
            35..=43 => Self::HoldWakes(input.arbitrary()?),
            44..=49 => Self::OpenLate,
            50..=60 => Self::Fault(input.arbitrary()?),
            61 => Self::FailWrites,
            62 => Self::FailReads,
            _ => Self::Fault(Fault::None),
        })
    }
}

impl<'a> Arbitrary<'a> for Fault {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match input.int_in_range(0..=3)? {
            0 => Self::None,
            1..=2 => Self::Pending,
            _ => Self::Short(input.arbitrary()?),
        })
    }
}

/// A frame as peers send it, or as they should not.
#[derive(Debug, Clone, Copy)]
pub struct PeerFrame {
    /// `FIN`, the reserved bits and the opcode.
    first: u8,
    is_wrongly_masked: bool,
    payload: Payload,
}

#[derive(Debug, Clone, Copy)]
enum Payload {
    Pattern(Size),
    /// The same byte all over: ASCII, or not UTF-8.
    Byte(u8, u8),
    Close(u16, u8),
}

impl PeerFrame {
    /// What somebody sends to `receiver`.
    pub fn bytes(self, receiver: Role) -> Vec<u8> {
        let payload = match self.payload {
            Payload::Pattern(size) => pattern(0, size.bytes()).to_vec(),
            Payload::Byte(byte, length) => vec![byte; length.into()],
            Payload::Close(code, reason) => close_payload(code, &"p".repeat(reason.into())),
        };
        let is_masked = (receiver == Role::Server) != self.is_wrongly_masked;
        raw_frame(self.first, is_masked, &payload)
    }
}

impl PeerFrame {
    /// One that every stream takes.
    pub fn valid(input: &mut Unstructured<'_>) -> Result<Self> {
        let (opcode, payload) = match input.int_in_range(0..=15)? {
            0..=7 => (BINARY, Payload::Pattern(input.arbitrary()?)),
            8..=10 => (PING, Payload::Byte(b'!', input.int_in_range(0..=125)?)),
            11..=13 => (PONG, Payload::Byte(b'!', input.int_in_range(0..=125)?)),
            14 => (CLOSE, Payload::Close(4001, input.int_in_range(0..=123)?)),
            _ => (CLOSE, Payload::Byte(0, 0)),
        };
        Ok(Self { first: FIN | opcode, is_wrongly_masked: false, payload })
    }
}

impl<'a> Arbitrary<'a> for PeerFrame {
    fn arbitrary(input: &mut Unstructured<'a>) -> Result<Self> {
        let first = match input.int_in_range(0..=31)? {
            0..=9 => FIN | BINARY,
            10..=12 => BINARY,
            13..=15 => CONTINUATION,
            16..=17 => FIN | CONTINUATION,
            18..=23 => FIN | PING,
            24..=25 => FIN | PONG,
            26 => FIN | TEXT,
            27 => TEXT,
            28..=29 => FIN | CLOSE,
            _ => input.arbitrary()?,
        };
        Ok(Self {
            first,
            is_wrongly_masked: input.ratio(1, 32_u8)?,
            payload: payload(first & 0xF, input)?,
        })
    }
}

fn payload(opcode: u8, input: &mut Unstructured<'_>) -> Result<Payload> {
    Ok(match opcode {
        CLOSE if input.ratio(3, 4_u8)? => {
            let (code, reason) = close_frame(input)?;
            Payload::Close(code, reason % 128)
        }
        CLOSE..=PONG => Payload::Byte(b'!', input.arbitrary::<u8>()? % 128),
        _ if input.ratio(1, 2_u8)? => Payload::Byte(input.arbitrary()?, input.arbitrary()?),
        _ => Payload::Pattern(input.arbitrary()?),
    })
}
