//! Each call of the transport in a session fails in turn, at either end. What both ends read, write
//! and are told is what the README says, and nothing that was flushed is lost.

#[path = "faults/network.rs"]
mod network;
#[path = "faults/session.rs"]
mod session;

use std::io::ErrorKind;

use tungstenite::{Error, error::ProtocolError, protocol::Role};
use ws_stream_tungstenite::{CloseEvent, UncleanEnd, tungstenite};

use self::{
    network::{Call, End, Failure, Fault, Network, Position, ReadEnd, index, other},
    session::{Case, Ending, Outcome, RESERVED, Record, STYLES, payload},
};
use crate::support::{BINARY, CLOSE, PING, PONG, ROLES, Sent, TEXT, parse_close};

const CALLS: [Call; 4] = [Call::Read, Call::Write, Call::Flush, Call::Close];

/// The last two mean something behind a close frame, and the last one is that of an unclean end.
const KINDS: [ErrorKind; 3] =
    [ErrorKind::TimedOut, ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof];

/// What one end sees of the peer, and of the end.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    /// How many bytes were read.
    length: usize,
    read_errors: Vec<ErrorKind>,
    told: Vec<String>,
    close_event: CloseEvent,
}

/// What was heard of the peer last.
#[derive(PartialEq, Eq)]
enum Heard {
    Data,
    /// It is refused: all that counts now is whether it closes.
    Text,
    /// Nothing is understood from there on.
    Violation,
    CloseFrame,
}

impl Seen {
    /// What the README says of what the transport delivered. `is_cut_off`: a failure to write was told.
    fn expected(end: &End, is_cut_off: bool, unclean_end: UncleanEnd) -> Self {
        let no_close_frame = CloseEvent { code: 1006, reason: String::new(), was_clean: false };
        let mut seen =
            Self { length: 0, read_errors: vec![], told: vec![], close_event: no_close_frame };
        let mut heard = Heard::Data;
        for frame in end.received().unwrap() {
            let is_discarded = match heard {
                Heard::Data | Heard::CloseFrame => false,
                Heard::Text => frame.opcode != CLOSE,
                Heard::Violation => true,
            };
            if !is_discarded {
                heard = seen.on_frame(&frame);
            }
        }
        seen.close_event.was_clean =
            heard == Heard::CloseFrame && end.has_sent_close() && !is_cut_off;
        let is_unclean = seen.told.iter().any(|event| event.starts_with("error"));
        seen.on_end(&heard, end.last_read);
        let is_whole = heard == Heard::CloseFrame && !is_unclean;
        if !is_whole && seen.read_errors.is_empty() && unclean_end == UncleanEnd::Error {
            seen.read_errors.push(ErrorKind::UnexpectedEof);
        }
        seen.told.push("closed".into());
        seen
    }

    fn on_frame(&mut self, Sent { opcode, payload }: &Sent) -> Heard {
        match *opcode {
            BINARY => self.length += payload.len(),
            PING => self.told.push(format!("ping {}", payload.escape_ascii())),
            PONG => self.told.push(format!("pong {}", payload.escape_ascii())),
            TEXT => {
                self.told.push("error: ReceivedText".into());
                return Heard::Text;
            }
            RESERVED => {
                self.told.push("error: Protocol".into());
                return Heard::Violation;
            }
            CLOSE => {
                self.on_close_frame(payload);
                return Heard::CloseFrame;
            }
            _ => panic!("no end sends a frame with opcode {opcode}"),
        }
        Heard::Data
    }

    fn on_close_frame(&mut self, payload: &[u8]) {
        let (code, reason) = parse_close(payload);
        self.told.push(match code {
            Some(code) => format!("close {code} {reason:?}"),
            None => "close".into(),
        });
        self.close_event.code = code.unwrap_or(1005);
        self.close_event.reason = reason;
    }

    fn on_end(&mut self, heard: &Heard, end: Option<ReadEnd>) {
        match (heard, end) {
            (Heard::CloseFrame, Some(ReadEnd::Failed(failure))) => {
                // a reset, or no goodbye of TLS, is the end that it was about to be
                if !matches!(failure.kind, ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof) {
                    self.on_error(failure.kind);
                }
            }
            (Heard::Data, Some(ReadEnd::Failed(failure))) => self.on_error(failure.kind),
            (Heard::Data, Some(ReadEnd::EndOfFile)) => {
                self.told.push("error: MissingCloseFrame".into());
            }
            // who is refused may end as it likes
            (Heard::Text | Heard::Violation, Some(_)) | (Heard::CloseFrame, _) => {}
            (_, None) => panic!("reading has ended, but the transport has not"),
        }
    }

    fn on_error(&mut self, kind: ErrorKind) {
        self.told.push(format!("error: Io({kind:?})"));
        self.read_errors.push(kind);
    }
}

/// Checks that end of file came when the server had ended the transport, behind both close frames.
fn check_order_of_ends(end: &End, seen: &Seen) {
    let has_server_ended = match end.role {
        Role::Client => end.last_read.is_some(),
        Role::Server => end.is_shut_down,
    };
    assert!(has_server_ended || !seen.close_event.was_clean, "{:?}: too early", end.role);
}

/// Takes the event about a failure to write, which may come at any place. Says whether there is one:
/// behind a close frame that has left, the failure may be no news.
fn take_failure(told: &mut Vec<String>, failure: Option<Failure>) -> bool {
    let Some(failure) = failure else { return false };
    let event = format!("error: Io({:?})", failure.kind);
    let place = told.iter().position(|told| *told == event);
    assert!(place.is_some() || failure.had_sent_close, "{event} is not told: {told:?}");
    place.map(|place| told.remove(place)).is_some()
}

/// Checks that the calls that write return a failure, once, if it concerns the caller: it could still
/// write, or something of it is lost.
fn check_write_errors(end: &End, is_cut_off: bool, errors: &[(Call, ErrorKind)]) {
    let (late, errors): (Vec<_>, Vec<_>) =
        errors.iter().partition(|(_, kind)| *kind == ErrorKind::NotConnected);
    assert!(late.iter().all(|(call, _)| *call == Call::Write), "flush and close are Ok: {late:?}");
    let failure = match (end.write_failure.filter(|_| is_cut_off), end.last_read) {
        (Some(failure), _) => Some((failure.kind, failure.was_open || failure.had_unsent)),
        (None, Some(ReadEnd::Failed(failure))) => Some((failure.kind, failure.had_unsent)),
        (None, Some(ReadEnd::EndOfFile) | None) => None,
    };
    // a write, which fails anyway, may say why
    let is_said = matches!(errors[..], [(Call::Write, _)]);
    let expected = failure.filter(|(_, concerns_caller)| *concerns_caller || is_said);
    let kinds: Vec<_> = errors.iter().map(|(_, kind)| *kind).collect();
    let expected: Vec<_> = expected.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, expected, "what the {:?}'s writes returned: {errors:?}", end.role);
}

/// Checks what one end saw.
fn check_end(case: &Case, end: &End, record: Record) {
    if let Some(error) = &record.not_opened {
        return check_not_opened(end, error);
    }
    let mut told = record.told;
    let is_cut_off = take_failure(&mut told, end.write_failure);
    check_write_errors(end, is_cut_off, &record.write_errors);
    let seen = Seen {
        length: record.read.len(),
        read_errors: record.read_errors,
        told,
        close_event: record.close_event.expect("the handle knows of the end"),
    };
    check_order_of_ends(end, &seen);
    let expected = Seen::expected(end, is_cut_off, case.style.unclean_end);
    assert_eq!(seen, expected, "the {:?}", end.role);
}

fn check_not_opened(end: &End, error: &Error) {
    let role = end.role;
    let kind = match (end.write_failure, end.last_read) {
        (Some(failure), _) | (None, Some(ReadEnd::Failed(failure))) => Some(failure.kind),
        (None, Some(ReadEnd::EndOfFile)) => None,
        (None, None) => panic!("the {role:?}'s transport is fine: {error}"),
    };
    let is_right = match error {
        Error::Io(error) => Some(error.kind()) == kind,
        Error::Protocol(ProtocolError::HandshakeIncomplete) => kind.is_none(),
        _ => false,
    };
    assert!(is_right, "the {role:?}'s handshake, after {kind:?}: {error}");
}

/// Checks that what one end flushed came to the other, and that nothing else did.
fn check_data(sender: Role, network: &mut Network, records: &[Record; 2]) {
    let receiver = other(sender);
    let Record { read, not_opened, .. } = &records[index(receiver)];
    assert!(payload(sender).starts_with(read), "other data came from the {sender:?}");
    if not_opened.is_none() && network.end(receiver).can_read() {
        let (length, flushed) = (read.len(), records[index(sender)].flushed);
        assert!(length >= flushed, "{length} bytes came of the {sender:?}'s {flushed}");
    }
}

/// Tells which case it was, if that panics.
struct Named(Case);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("this was {:#?}", self.0);
        }
    }
}

/// Plays a session and checks what both ends saw.
fn check(case: Case) {
    let _named = Named(case);
    let Outcome { mut network, records } = case.play();
    assert!(!network.has_fault(), "the fault has happened");
    for role in ROLES {
        check_data(role, &mut network, &records);
    }
    for (role, record) in ROLES.into_iter().zip(records) {
        check_end(&case, network.end(role), record);
    }
}

/// Every one of these calls that an end makes in a session without faults.
fn positions(end: &End, calls: &[Call], fault: Fault) -> Vec<Position> {
    let role = end.role;
    let mut positions = Vec::new();
    for call in calls.iter().copied() {
        let first = match (call, fault) {
            // tungstenite panics if a transport takes nothing of the handshake
            (Call::Write, Fault::End) => end.calls_to_open[call as usize],
            _ => 0,
        };
        let numbers = first..end.calls[call as usize];
        positions.extend(numbers.map(|number| Position { role, call, number }));
    }
    positions
}

/// Each kind of session, without a fault.
fn sessions() -> Vec<Case> {
    let mut sessions = Vec::new();
    for style in STYLES {
        for ending in [Ending::Close, Ending::Text, Ending::Violation] {
            let cases = ROLES.map(|ends_first| Case { style, ending, ends_first, fault: None });
            sessions.extend(cases);
        }
    }
    sessions
}

/// Each kind of session, with `fault` happening to each of these calls of either end.
fn cases(calls: &[Call], fault: Fault) -> Vec<Case> {
    let mut cases = Vec::new();
    for session in sessions() {
        let mut network = session.play().network;
        for role in ROLES {
            let positions = positions(network.end(role), calls, fault);
            let faults = positions.into_iter().map(|position| Some((position, fault)));
            cases.extend(faults.map(|fault| Case { fault, ..session }));
        }
    }
    cases
}

/// Checks that all arrived, and that the end is clean if it was to be.
fn check_success(case: Case) {
    let _named = Named(case);
    let Outcome { mut network, records } = case.play();
    for (role, record) in ROLES.into_iter().zip(&records) {
        assert!(record.read == payload(other(role)), "the {role:?} read everything");
        assert_eq!(network.end(role).accepted, payload(role).len());
        let was_clean = record.close_event.as_ref().unwrap().was_clean;
        let is_refused = case.ending == Ending::Violation && role != case.ends_first;
        assert_eq!(was_clean, !is_refused, "whether the {role:?}'s end is clean");
    }
}

#[test]
fn without_one_everything_arrives_and_the_end_is_clean() {
    for case in sessions() {
        check_success(case);
        check(case);
    }
}

#[test]
fn a_call_that_is_late_spoils_nothing() {
    for case in cases(&CALLS, Fault::Pause) {
        check_success(case);
        check(case);
    }
}

#[test]
fn an_error_of_any_call_is_told_as_the_readme_says() {
    for kind in KINDS {
        cases(&CALLS, Fault::Error(kind)).into_iter().for_each(check);
    }
}

#[test]
fn a_call_that_fails_late_is_told_as_the_readme_says() {
    cases(&CALLS, Fault::Stall(ErrorKind::TimedOut)).into_iter().for_each(check);
}

#[test]
fn a_connection_that_breaks_at_any_call_is_told_as_the_readme_says() {
    cases(&CALLS, Fault::Break).into_iter().for_each(check);
}

#[test]
fn an_end_at_any_call_is_told_as_the_readme_says() {
    cases(&[Call::Read, Call::Write], Fault::End).into_iter().for_each(check);
}
