//! Frames: made, checked, and read in a way of our own that owes nothing to tungstenite.

use ws_stream_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::both::Seen;

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// `FIN`, the reserved bits and the opcode.
    pub first: u8,
    pub is_masked: bool,
    /// Unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    pub fn opcode(&self) -> u8 {
        self.first & 0x0F
    }

    pub fn is_final(&self) -> bool {
        self.first & FIN != 0
    }

    fn is_control(&self) -> bool {
        self.opcode() >= CLOSE
    }
}

/// A frame with these bits, allowed or not.
pub fn raw_frame(first: u8, is_masked: bool, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let mask_bit = if is_masked { MASK_BIT } else { 0 };
    match payload.len() {
        length @ 0..=125 => frame.push(mask_bit | u8::try_from(length).unwrap()),
        length @ 126..=0xFFFF => {
            frame.push(mask_bit | LENGTH_16);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(mask_bit | LENGTH_64);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    if is_masked {
        frame.extend(MASK);
        frame.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        frame.extend(payload);
    }
    frame
}

/// The payload of a close frame.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

/// The header of a frame, and how long it is.
struct Header {
    first: u8,
    mask: Option<[u8; 4]>,
    /// Of the payload, in bytes.
    length: u64,
    size: usize,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (length, rest) = match second & !MASK_BIT {
            LENGTH_16 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u16::from_be_bytes(*length).into(), rest)
            }
            LENGTH_64 => {
                let (length, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*length), rest)
            }
            length => (length.into(), rest),
        };
        let (mask, rest) = if second & MASK_BIT == 0 {
            (None, rest)
        } else {
            let (mask, rest) = rest.split_first_chunk()?;
            (Some(*mask), rest)
        };
        Some(Self { first, mask, length, size: bytes.len() - rest.len() })
    }
}

/// The first frame in `bytes`, and how many of them it takes.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let header = Header::parse(bytes)?;
    let end = header.size.checked_add(usize::try_from(header.length).ok()?)?;
    let mut payload = bytes.get(header.size..end)?.to_vec();
    if let Some(mask) = header.mask {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    Some((Frame { first: header.first, is_masked: header.mask.is_some(), payload }, end))
}

/// What a stream has sent so far. Each frame is checked as it comes.
#[derive(Debug)]
pub struct Sent {
    sender: Role,
    /// How many bytes were parsed.
    parsed: usize,
    pub data: Vec<u8>,
    pub messages: u64,
    pub pings: u64,
    pub pongs: Vec<Vec<u8>>,
    /// The payload of the close frame.
    pub close: Option<Vec<u8>>,
}

impl Sent {
    pub fn new(sender: Role) -> Self {
        Self {
            sender,
            parsed: 0,
            data: Vec::new(),
            messages: 0,
            pings: 0,
            pongs: Vec::new(),
            close: None,
        }
    }

    /// Takes note of what is new in all that was sent.
    pub fn update(&mut self, bytes: &[u8], seen: &mut Vec<Seen>) {
        while let Some((frame, length)) = parse(&bytes[self.parsed..]) {
            self.check(&frame, length);
            self.parsed += length;
            seen.push(if frame.is_control() {
                Seen::SentControl(frame.clone())
            } else {
                Seen::Sent(frame.payload.len())
            });
            self.add(frame);
        }
    }

    fn check(&self, frame: &Frame, length: usize) {
        assert_eq!(frame.first & 0x70, 0, "no reserved bit is set");
        assert!(frame.is_final(), "nothing is fragmented");
        assert_eq!(frame.is_masked, self.sender == Role::Client, "clients mask, servers do not");
        let shortest = raw_frame(0, frame.is_masked, &frame.payload).len();
        assert_eq!(length, shortest, "the length of a frame is said in as few bytes as possible");
        assert!(
            !frame.is_control() || frame.payload.len() <= MAX_CONTROL,
            "control frames are short"
        );
        assert!(self.close.is_none(), "nothing follows a close frame");
    }

    fn add(&mut self, frame: Frame) {
        match frame.opcode() {
            BINARY => {
                assert!(!frame.payload.is_empty(), "no empty message is sent");
                self.data.extend(frame.payload);
                self.messages += 1;
            }
            PING => self.pings += 1,
            PONG => self.pongs.push(frame.payload),
            CLOSE => {
                check_close(&frame.payload);
                self.close = Some(frame.payload);
            }
            opcode => panic!("a frame with opcode {opcode:#x} was sent"),
        }
    }
}

fn check_close(payload: &[u8]) {
    if let Some((code, reason)) = payload.split_first_chunk() {
        let code = u16::from_be_bytes(*code);
        assert!(may_be_sent(code), "the close code {code} was sent");
        assert!(std::str::from_utf8(reason).is_ok(), "a close reason is UTF-8");
    } else {
        assert!(payload.is_empty(), "a close frame has a whole code, or none");
    }
}

/// Whether a close frame may have this code (RFC 6455, section 7.4).
pub fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1013 | 3000..=4999)
}

/// What a peer said, up to what ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    pub data: Vec<u8>,
    pub messages: u64,
    /// Pings and pongs, as observers are told.
    pub controls: Vec<Frame>,
    pub ending: Ending,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Nothing so far.
    None,
    /// A text message, which is refused.
    Text,
    /// Something that breaks the protocol or a limit, or will when it is complete.
    Violation,
    Close {
        payload: Vec<u8>,
    },
}

/// A peer as its receiver has to understand it.
#[derive(Debug, Clone, Copy)]
pub struct Listener {
    pub receiver: Role,
    pub websocket: WebSocketConfig,
    pub passes_text: bool,
}

impl Listener {
    pub fn hear(&self, mut bytes: &[u8]) -> Heard {
        let mut heard =
            Heard { data: Vec::new(), messages: 0, controls: Vec::new(), ending: Ending::None };
        let mut partial = None;
        while heard.ending == Ending::None {
            let Some(header) = Header::parse(bytes) else { break };
            let is_reserved = matches!(header.first & 0x0F, 0x3..=0x7 | 0xB..=0xF);
            if is_reserved || header.length > limit(self.websocket.max_frame_size) {
                heard.ending = Ending::Violation;
                break;
            }
            let Some((frame, length)) = parse(bytes) else { break };
            bytes = &bytes[length..];
            self.hear_frame(frame, &mut heard, &mut partial);
        }
        heard
    }

    fn hear_frame(&self, frame: Frame, heard: &mut Heard, partial: &mut Option<Partial>) {
        if frame.first & 0x70 != 0 || !self.is_mask_right(&frame) {
            heard.ending = Ending::Violation;
        } else if frame.is_control() {
            hear_control(frame, heard);
        } else {
            self.hear_data(frame, heard, partial);
        }
    }

    fn is_mask_right(&self, frame: &Frame) -> bool {
        match self.receiver {
            Role::Server => frame.is_masked || self.websocket.accept_unmasked_frames,
            Role::Client => !frame.is_masked,
        }
    }

    fn hear_data(&self, frame: Frame, heard: &mut Heard, partial: &mut Option<Partial>) {
        let is_final = frame.is_final();
        let message = match (frame.opcode(), partial.take()) {
            (CONTINUATION, Some(mut message)) => {
                message.payload.extend(frame.payload);
                message
            }
            (opcode @ (TEXT | BINARY), None) => {
                Partial { is_text: opcode == TEXT, payload: frame.payload }
            }
            _ => return heard.ending = Ending::Violation,
        };
        if message.payload.len() as u64 > limit(self.websocket.max_message_size)
            || !message.may_be_utf8(is_final)
        {
            heard.ending = Ending::Violation;
        } else if !is_final {
            *partial = Some(message);
        } else if message.is_text && !self.passes_text {
            heard.ending = Ending::Text;
        } else {
            heard.data.extend(message.payload);
            heard.messages += 1;
        }
    }
}

/// The fragments of a message so far.
struct Partial {
    is_text: bool,
    payload: Vec<u8>,
}

impl Partial {
    fn may_be_utf8(&self, is_complete: bool) -> bool {
        !self.is_text
            || match std::str::from_utf8(&self.payload) {
                Ok(_) => true,
                Err(error) => !is_complete && error.error_len().is_none(),
            }
    }
}

fn hear_control(frame: Frame, heard: &mut Heard) {
    if !frame.is_final() || frame.payload.len() > MAX_CONTROL {
        heard.ending = Ending::Violation;
        return;
    }
    match frame.opcode() {
        PING | PONG => heard.controls.push(frame),
        CLOSE => heard.ending = close_ending(frame.payload),
        _ => heard.ending = Ending::Violation,
    }
}

fn close_ending(payload: Vec<u8>) -> Ending {
    let is_valid = match payload.split_at_checked(2) {
        Some((_, reason)) => std::str::from_utf8(reason).is_ok(),
        None => payload.is_empty(),
    };
    if is_valid { Ending::Close { payload } } else { Ending::Violation }
}

fn limit(limit: Option<usize>) -> u64 {
    limit.map_or(u64::MAX, |limit| limit as u64)
}

/// The bit of the last frame of a message.
pub const FIN: u8 = 0x80;

const MASK_BIT: u8 = 0x80;

/// Says that the length is in the next two bytes.
const LENGTH_16: u8 = 0x7E;

/// Says that the length is in the next eight bytes.
const LENGTH_64: u8 = 0x7F;

/// The mask of the frames that we make. That it is not zero shows who forgets to unmask.
const MASK: [u8; 4] = [0x5A, 0xC3, 0x0F, 0x96];

/// The largest payload of a control frame, in bytes (RFC 6455, section 5.5).
pub const MAX_CONTROL: usize = 125;
