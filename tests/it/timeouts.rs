//! Slow and silent peers, and the timeouts that the README says bound them. No time passes: tokio's
//! clock goes on when everybody sleeps.

use std::{io, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use pharos::{Observable, ObserveConfig};
use tokio::{
    io::DuplexStream,
    time::{Instant, sleep, timeout},
};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use tungstenite::protocol::Role;
use ws_stream_tungstenite::{
    Writes, WsConfig, WsEvent, WsMeta, WsState, byte_stream_config, pharos, tungstenite,
};

use crate::{
    backend::{WsStream, websocket},
    support::{BINARY, CLOSE, PING, PONG, ROLES, Sent, TEXT, close_payload, frame, parse, pattern},
};

const KIB: usize = 1024;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// How much the transport buffers in each direction, in bytes.
const CAPACITY: usize = 4 * KIB;

type Transport = Compat<DuplexStream>;
type Stream = WsStream<Transport>;

/// Both ends of a transport.
fn duplex(capacity: usize) -> (Transport, Transport) {
    let (ours, theirs) = tokio::io::duplex(capacity);
    (ours.compat(), theirs.compat())
}

/// A stream, and the transport of its peer, who says and reads what the test does.
async fn open(role: Role, config: WsConfig) -> (Stream, Transport) {
    let (ours, theirs) = duplex(CAPACITY);
    let socket = websocket(ours, role, Some(byte_stream_config())).await;
    (WsStream::with_config(socket, config), theirs)
}

/// Says it one byte per second, as long as somebody listens.
async fn trickle(peer: &mut Transport, bytes: &[u8]) -> io::Result<()> {
    for byte in bytes {
        sleep(SECOND).await;
        peer.write_all(&[*byte]).await?;
    }
    Ok(())
}

/// A peer that sends one byte per second, each as a message.
async fn send_single_bytes(role: Role, mut peer: Transport) {
    for byte in 0..=u8::MAX {
        sleep(SECOND).await;
        if peer.write_all(&frame(role, true, BINARY, &[byte])).await.is_err() {
            return;
        }
    }
}

/// Reads to the end of the transport. Returns the frames that came.
async fn read_frames(role: Role, mut peer: Transport) -> Vec<Sent> {
    let mut bytes = Vec::new();
    let end = timeout(MINUTE, peer.read_to_end(&mut bytes)).await;
    end.expect("the transport was dropped").unwrap();
    parse(&bytes, role)
}

/// Reads a frame with so many bytes of payload.
async fn read_control_frame(role: Role, peer: &mut Transport, length: usize) -> Sent {
    let mask = if role == Role::Client { 4 } else { 0 };
    let mut bytes = vec![0; 2 + mask + length];
    timeout(MINUTE, peer.read_exact(&mut bytes)).await.expect("a frame comes").unwrap();
    parse(&bytes, role).remove(0)
}

fn data(frames: &[Sent]) -> Vec<u8> {
    let binary = frames.iter().filter(|frame| frame.opcode == BINARY);
    binary.flat_map(|frame| frame.payload.clone()).collect()
}

/// Writes until that takes a minute. Returns how many bytes were taken.
async fn write_until_stuck(ws: &mut Stream) -> usize {
    let mut taken = 0;
    while let Ok(length) = timeout(MINUTE, ws.write(&pattern(taken, 1000))).await {
        taken += length.unwrap();
    }
    taken
}

const WRITES: [Writes; 2] = [Writes::AtOnce, Writes::Collect(16 * KIB)];

#[tokio::test(start_paused = true)]
async fn a_read_that_is_given_up_loses_nothing() {
    for role in ROLES {
        let (mut ws, mut peer) = open(role, WsConfig::new()).await;
        let mut buf = [0; 8];
        assert!(timeout(MINUTE, ws.read(&mut buf)).await.is_err());
        peer.write_all(&frame(role, true, BINARY, b"at last")).await.unwrap();
        let length = timeout(MINUTE, ws.read(&mut buf)).await.unwrap().unwrap();
        assert_eq!(&buf[..length], b"at last");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_waits_for_a_whole_message_and_can_be_given_up_meanwhile() {
    for role in ROLES {
        let (mut ws, mut peer) = open(role, WsConfig::new()).await;
        let peer = tokio::spawn(async move {
            trickle(&mut peer, &frame(role, true, BINARY, b"slowly")).await?;
            Ok::<_, io::Error>(peer)
        });
        let mut buf = [0; 8];
        let given_up = timeout(3 * SECOND, ws.read(&mut buf)).await;
        assert!(given_up.is_err(), "a part of a message is not read");
        let length = timeout(MINUTE, ws.read(&mut buf)).await.unwrap().unwrap();
        assert_eq!(&buf[..length], b"slowly");
        peer.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_a_byte_per_second_is_bounded_only_by_a_timeout_of_the_whole() {
    for role in ROLES {
        let (mut ws, peer) = open(role, WsConfig::new()).await;
        let peer = tokio::spawn(send_single_bytes(role, peer));
        for byte in 0..10 {
            let mut buf = [0; 8];
            let length = timeout(2 * SECOND, ws.read(&mut buf)).await.unwrap().unwrap();
            assert_eq!(buf[..length], [byte], "the timeout of each read never runs out");
        }
        let mut request = [0; 100];
        assert!(timeout(10 * SECOND, ws.read_exact(&mut request)).await.is_err());
        drop(ws);
        timeout(MINUTE, peer).await.expect("the peer has noticed").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_or_flush_that_is_given_up_has_taken_and_lost_nothing() {
    for role in ROLES {
        for writes in WRITES {
            let (mut ws, peer) = open(role, WsConfig::new().writes(writes)).await;
            let taken = write_until_stuck(&mut ws).await;
            assert!(timeout(MINUTE, ws.flush()).await.is_err(), "the peer does not read");

            let peer = tokio::spawn(read_frames(role, peer));
            timeout(MINUTE, ws.write_all(&pattern(taken, 1000))).await.unwrap().unwrap();
            timeout(MINUTE, ws.flush()).await.unwrap().unwrap();
            drop(ws);
            assert!(data(&peer.await.unwrap()) == pattern(0, taken + 1000));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_reads_fills_no_more_than_the_bounded_buffer() {
    for role in ROLES {
        for writes in WRITES {
            let (mut ws, _peer) = open(role, WsConfig::new().writes(writes)).await;
            let taken = write_until_stuck(&mut ws).await;
            assert!(taken <= 128 * KIB + CAPACITY, "{taken} bytes were taken");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_given_up_goes_on_when_it_is_called_again() {
    for role in ROLES {
        let (mut ws, peer) = open(role, WsConfig::new()).await;
        let taken = write_until_stuck(&mut ws).await;
        assert!(timeout(MINUTE, ws.close()).await.is_err(), "the peer does not read");

        let peer = tokio::spawn(read_frames(role, peer));
        timeout(MINUTE, ws.close()).await.unwrap().unwrap();
        drop(ws);
        let frames = peer.await.unwrap();
        assert!(data(&frames) == pattern(0, taken));
        assert_eq!(frames.last().unwrap().opcode, CLOSE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_stuck_can_be_dropped() {
    for role in ROLES {
        let (mut ws, peer) = open(role, WsConfig::new()).await;
        let meta = ws.meta();
        write_until_stuck(&mut ws).await;
        assert!(timeout(MINUTE, ws.close()).await.is_err(), "the peer does not read");
        drop(ws);
        assert!(!timeout(MINUTE, meta.closed()).await.unwrap().was_clean);
        let frames = read_frames(role, peer).await; // what had left, and then the end
        assert!(frames.iter().all(|frame| frame.opcode == BINARY));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_a_close_is_bounded_by_a_timeout_round_close_and_end_of_file() {
    for role in ROLES {
        let (mut ws, mut peer) = open(role, WsConfig::new()).await;
        let mut rest = Vec::new();
        peer.write_all(&frame(role, true, BINARY, b"last words")).await.unwrap();
        let closing = async {
            ws.close().await?;
            ws.read_to_end(&mut rest).await
        };
        assert!(timeout(MINUTE, closing).await.is_err(), "the peer does not answer");
        assert_eq!(rest, b"last words");
        drop(ws);
        assert_eq!(read_frames(role, peer).await.last().unwrap().opcode, CLOSE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_on_for_ever_instead_of_closing_is_bounded_likewise() {
    for role in ROLES {
        let (mut ws, peer) = open(role, WsConfig::new()).await;
        let peer = tokio::spawn(send_single_bytes(role, peer));
        let closing = async {
            ws.close().await?;
            ws.read_to_end(&mut Vec::new()).await
        };
        assert!(timeout(MINUTE, closing).await.is_err(), "the peer sends on");
        drop(ws);
        timeout(MINUTE, peer).await.expect("the peer has noticed").unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_peer_that_stays_is_bounded_by_a_timeout_of_reading() {
    for role in ROLES {
        let (mut ws, mut peer) = open(role, WsConfig::new()).await;
        peer.write_all(&frame(role, true, TEXT, b"text")).await.unwrap();
        assert!(timeout(MINUTE, ws.read(&mut [0; 8])).await.is_err(), "the peer does not close");
        drop(ws);
        assert_eq!(read_frames(role, peer).await.last().unwrap().opcode, CLOSE);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_of_a_handle_that_is_given_up_goes_on_until_the_stream_is_dropped() {
    for role in ROLES {
        let (mut ws, mut peer) = open(role, WsConfig::new()).await;
        let meta = ws.meta();
        let work = tokio::spawn(async move { ws.read_to_end(&mut Vec::new()).await });
        assert!(timeout(MINUTE, meta.close(1001, "restarting")).await.is_err());
        assert_eq!(meta.ready_state(), WsState::Closing);

        let close = close_payload(1001, "restarting");
        assert_eq!(read_control_frame(role, &mut peer, close.len()).await.payload, close);
        peer.write_all(&frame(role, true, CLOSE, &close_payload(1001, ""))).await.unwrap();
        drop(peer);
        timeout(MINUTE, work).await.unwrap().unwrap().unwrap();
        assert_eq!(timeout(MINUTE, meta.closed()).await.unwrap().code, 1001);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_of_a_handle_resolves_when_the_stream_is_dropped_instead() {
    for role in ROLES {
        let (mut ws, _peer) = open(role, WsConfig::new()).await;
        let meta = ws.meta();
        let work = tokio::spawn(async move { ws.read_to_end(&mut Vec::new()).await });
        assert!(timeout(MINUTE, meta.close(1001, "restarting")).await.is_err());
        work.abort();
        let closed = timeout(MINUTE, meta.closed()).await.expect("the stream is dropped");
        assert_eq!((closed.code, closed.was_clean), (1006, false));
    }
}

/// Answers so many pings.
async fn answer_pings(role: Role, peer: &mut Transport, count: usize) {
    for _ in 0..count {
        let ping = read_control_frame(role, peer, 1).await;
        assert_eq!(ping.opcode, PING);
        sleep(SECOND).await;
        peer.write_all(&frame(role, true, PONG, &ping.payload)).await.unwrap();
    }
}

/// Sends a ping every ten seconds for as long as the one before was answered. Returns how many were.
async fn ping_while_answered(mut meta: WsMeta) -> usize {
    let is_pong = ObserveConfig::default().filter(|event| matches!(event, WsEvent::Pong(_)));
    let mut pongs = meta.observe(is_pong).await.unwrap();
    for answered in 0.. {
        meta.ping(b"?").unwrap();
        if timeout(10 * SECOND, pongs.next()).await.is_err() {
            return answered;
        }
    }
    unreachable!()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_falls_silent_is_noticed_by_the_pings_that_it_does_not_answer() {
    for role in ROLES {
        let (mut ws, mut peer) = open(role, WsConfig::new()).await;
        let meta = ws.meta();
        let work = tokio::spawn(async move { ws.read_to_end(&mut Vec::new()).await });
        let peer = tokio::spawn(async move {
            answer_pings(role, &mut peer, 3).await;
            peer // it stays connected
        });
        let start = Instant::now();
        assert_eq!(ping_while_answered(meta).await, 3);
        assert_eq!(start.elapsed().as_secs(), 3 + 10);
        assert!(!work.is_finished(), "nothing else tells of it");
        drop(peer.await.unwrap());
    }
}

#[cfg(feature = "handshake")]
mod handshakes {
    use super::*;
    use crate::backend::handshake::{accept, connect};

    /// What the peer of this role says, or most of it.
    fn head(receiver: Role) -> &'static [u8] {
        match receiver {
            Role::Server => {
                b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
                Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            }
            Role::Client => b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n",
        }
    }

    /// A handshake that is given up after ten seconds.
    async fn open_in_vain(role: Role, transport: Transport) {
        let opening = async {
            match role {
                Role::Server => accept(transport, WsConfig::new()).await.map(drop),
                Role::Client => connect(transport, WsConfig::new()).await.map(drop),
            }
        };
        let opened = timeout(10 * SECOND, opening).await;
        assert!(opened.is_err(), "the handshake took less than ten seconds: {opened:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_silent_peer_are_bounded_by_a_timeout() {
        for role in ROLES {
            let (ours, mut theirs) = duplex(CAPACITY);
            open_in_vain(role, ours).await;
            let end = timeout(MINUTE, theirs.read_to_end(&mut Vec::new())).await;
            end.expect("the transport was dropped").unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn that_trickle_are_bounded_by_a_timeout_round_the_whole() {
        for role in ROLES {
            let (ours, mut theirs) = duplex(CAPACITY);
            let peer = tokio::spawn(async move { trickle(&mut theirs, head(role)).await });
            open_in_vain(role, ours).await;
            let end = timeout(MINUTE, peer).await.unwrap().unwrap();
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn with_a_peer_that_never_reads_are_bounded_by_a_timeout() {
        for role in ROLES {
            let (ours, mut theirs) = duplex(10); // less than a head
            let peer = tokio::spawn(async move {
                let _ = theirs.write_all(head(role)).await;
                theirs // it stays connected
            });
            open_in_vain(role, ours).await;
            drop(timeout(MINUTE, peer).await.expect("the transport was dropped").unwrap());
        }
    }
}
