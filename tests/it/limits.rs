//! The size of what is sent, for every config that tungstenite accepts.

use std::io::{ErrorKind, IoSlice};

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt};
use tungstenite::protocol::{Role, WebSocketConfig};
use ws_stream_tungstenite::{WsErr, tungstenite};

use crate::support::{PING, ROLES, connect, now, pattern};

const KIB: usize = 1024;

/// The lengths of the messages that two writes of so many bytes become.
fn message_lengths(role: Role, config: WebSocketConfig, write: usize) -> Vec<usize> {
    let (mut ws, peer) = connect(role, Some(config));
    let data = pattern(0, 2 * write);
    for part in data.chunks(write) {
        now(ws.write_all(part)).unwrap();
    }
    assert_eq!(peer.sent_data(), data);
    peer.sent().iter().map(|frame| frame.payload.len()).collect()
}

#[test]
fn the_receivers_limits_bound_what_is_sent() {
    let config = WebSocketConfig::default();
    for role in ROLES {
        for config in [config.max_message_size(Some(1000)), config.max_frame_size(Some(1000))] {
            assert_eq!(*message_lengths(role, config, 50 * KIB).iter().max().unwrap(), 1000);
        }
        let unlimited = config.max_message_size(None).max_frame_size(None);
        assert_eq!(*message_lengths(role, unlimited, 50 * KIB).iter().max().unwrap(), 50 * KIB);
    }
}

#[test]
fn the_write_buffer_never_overflows() {
    let rooms = (7..150).chain([1000, 65_535, 65_538, 65_539, 65_540, 65_543, 65_550, 100_000]);
    for room in rooms {
        for (role, write_buffer) in [(Role::Client, 0), (Role::Server, 0), (Role::Server, room - 1)]
        {
            let config = WebSocketConfig::default()
                .write_buffer_size(write_buffer)
                .max_write_buffer_size(room);
            let write = 2 * room;
            let lengths = message_lengths(role, config, write);
            let frame = |length| length + header(role, length);
            let largest = *lengths.iter().max().unwrap();
            assert!(frame(largest) <= room, "{largest} bytes do not fit into {room}");
            let fits_more = largest < write.min(64 * KIB) && frame(largest + 1) <= room;
            assert!(!fits_more, "{} bytes would fit into {room}", largest + 1);
        }
    }
}

fn header(role: Role, length: usize) -> usize {
    let length = match length {
        0..=125 => 2,
        126..=65_535 => 4,
        _ => 10,
    };
    length + if role == Role::Client { 4 } else { 0 }
}

#[test]
fn a_config_without_room_for_one_byte_is_an_invalid_input() {
    let default = WebSocketConfig::default().write_buffer_size(0);
    let configs = [
        (Role::Client, default.max_write_buffer_size(6)),
        (Role::Server, default.max_write_buffer_size(2)),
        (Role::Server, default.max_message_size(Some(0))),
        (Role::Client, default.max_frame_size(Some(0))),
    ];
    for (role, config) in configs {
        let (mut ws, peer) = connect(role, Some(config));
        for _ in 0..2 {
            let error = now(ws.write(b"x")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{role:?}, {config:?}");
            assert!(error.to_string().contains("no room for one byte"));
            assert!(matches!(error.get_ref().unwrap().downcast_ref(), Some(WsErr::NoRoomForData)));
        }
        peer.binary(b"");
        assert!(ws.read(&mut [0; 8]).now_or_never().is_none(), "reading is not affected");
    }
}

#[test]
fn a_config_without_room_for_a_close_frame_is_an_invalid_input() {
    let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(5);
    let (mut ws, peer) = connect(Role::Client, Some(config));
    assert_eq!(now(ws.close()).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(peer.sent().is_empty());
    let (mut ws, peer) = connect(Role::Server, Some(config));
    now(ws.close()).unwrap();
    assert_eq!(peer.sent_closes().len(), 1);
}

#[test]
fn a_server_may_send_one_byte_where_a_client_has_no_room_for_its_mask() {
    for room in 3..7 {
        let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(room);
        assert_eq!(message_lengths(Role::Server, config, KIB)[0], room - 2);
    }
}

#[test]
fn pongs_share_a_tight_write_buffer_with_data() {
    for role in ROLES {
        let config = WebSocketConfig::default().write_buffer_size(0).max_write_buffer_size(40);
        let (mut ws, peer) = connect(role, Some(config));
        peer.block();
        now(ws.write(&[1; 100])).unwrap();
        for _ in 0..10 {
            peer.send(PING, &[2; 20]);
            assert!(ws.read(&mut [0; 8]).now_or_never().is_none());
            assert!(ws.write(&[1; 100]).now_or_never().is_none());
        }
        peer.unblock();
        now(ws.write_all(&[1; 100])).unwrap();
        now(ws.flush()).unwrap();
        assert!(peer.sent_data().len() > 100);
    }
}

#[test]
fn vectored_writes_have_the_same_limit() {
    for role in ROLES {
        let config = WebSocketConfig::default().max_message_size(Some(100));
        let (mut ws, peer) = connect(role, Some(config));
        let part = [3; 60];
        let bufs = [IoSlice::new(&part), IoSlice::new(&part)];
        assert_eq!(now(ws.write_vectored(&bufs)).unwrap(), 100);
        assert_eq!(peer.sent()[0].payload, [3; 100]);
    }
}
