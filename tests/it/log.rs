//! What is logged, at which level, and what never is.

use std::{
    io,
    sync::{Arc, Mutex},
};

use futures::{AsyncReadExt, AsyncWriteExt};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    backend::WsStream,
    support::{BINARY, PING, Peer, Step, TEXT, Wire, now, read_all, server},
};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// The lines that a conversation logs, of every level.
fn logged(conversation: impl FnOnce(&mut WsStream<Wire>, &Peer)) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .without_time()
        .with_writer(log.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let (mut ws, peer) = server(None);
        conversation(&mut ws, &peer);
    });
    let bytes = log.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn has_line(log: &str, level: &str, words: &str) -> bool {
    log.lines().any(|line| line.trim_start().starts_with(level) && line.contains(words))
}

#[test]
fn closing_is_logged_at_debug() {
    let log = logged(|ws, peer| {
        now(ws.close()).unwrap();
        peer.close_frame(1000, "the reason");
        read_all(ws).1.unwrap();
    });
    for words in ["closing", "closed for writing", "code=1000", "closed for reading"] {
        assert!(has_line(&log, "DEBUG", words), "{words:?} is missing:\n{log}");
    }
    assert!(!log.contains("WARN"), "{log}");
}

#[test]
fn a_violation_is_logged_at_warn_with_its_close_code() {
    for (opcode, code) in [(TEXT, "code=1003"), (0x3, "code=1002")] {
        let log = logged(|ws, peer| {
            peer.send(opcode, b"x");
            peer.end();
            read_all(ws).1.unwrap();
        });
        assert!(has_line(&log, "WARN", code), "{log}");
    }
}

#[test]
fn a_transport_that_fails_or_ends_too_early_is_logged_at_debug() {
    let log = logged(|ws, peer| {
        peer.steps([Step::Error(io::ErrorKind::ConnectionReset)]);
        read_all(ws).1.unwrap_err();
    });
    assert!(has_line(&log, "DEBUG", "failed"), "{log}");
    let log = logged(|ws, peer| {
        peer.end();
        read_all(ws).1.unwrap();
    });
    assert!(has_line(&log, "DEBUG", "without a close frame"), "{log}");
}

#[test]
fn data_is_not_logged() {
    let log = logged(|ws, peer| {
        now(ws.write(b"SECRET")).unwrap();
        for opcode in [BINARY, PING] {
            peer.send(opcode, b"SECRET");
        }
        now(ws.read(&mut [0; 3])).unwrap();
        peer.send(TEXT, b"SECRET");
        peer.close_frame(1000, "SECRET");
        read_all(ws).1.unwrap();
    });
    assert!(!log.contains("SECRET"), "{log}");
    assert!(!log.contains("83, 69, 67, 82, 69, 84"), "{log}");
    assert!(!log.is_empty());
}
