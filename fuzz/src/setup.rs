//! `Setup`: the choices and limits of a stream.

use ws_stream_tungstenite::{
    TextMessages, UncleanEnd, Writes, WsConfig, byte_stream_config,
    tungstenite::protocol::WebSocketConfig,
};

use crate::frames::{MAX_CONTROL, close_payload, may_be_sent};

/// The choices and limits of a stream. What is not set is as by default.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub passes_text: bool,
    pub unclean_is_error: bool,
    pub collects: Option<Size>,
    pub max_message: Option<Size>,
    /// Code and length of the reason of a plain close.
    pub close_frame: Option<(u16, u8)>,
    pub write_buffer: Option<u8>,
    /// How much the write buffer may have above that, and one byte.
    pub max_write_buffer: Option<u8>,
    pub read_buffer: Option<Size>,
    pub max_message_size: Option<Size>,
    pub max_frame_size: Option<Size>,
}

/// A size in bytes: mostly small, sometimes more than a message may have.
#[derive(Debug, Clone, Copy)]
pub struct Size(pub u8);

impl Size {
    pub const LARGEST: Self = Self(u8::MAX);

    pub fn bytes(self) -> usize {
        match self.0 {
            small @ 0..=199 => small.into(),
            large => usize::from(large - 199) * 1500,
        }
    }
}

impl Setup {
    pub fn websocket(&self) -> WebSocketConfig {
        let mut config = byte_stream_config();
        if let Some(size) = self.write_buffer {
            config.write_buffer_size = size.into();
        }
        if let Some(more) = self.max_write_buffer {
            config.max_write_buffer_size = config.write_buffer_size + 1 + usize::from(more);
        }
        if let Some(size) = self.read_buffer {
            config.read_buffer_size = size.bytes();
        }
        if let Some(size) = self.max_message_size {
            config.max_message_size = Some(size.bytes());
        }
        if let Some(size) = self.max_frame_size {
            config.max_frame_size = Some(size.bytes());
        }
        config
    }

    pub fn collected(&self) -> Option<usize> {
        self.collects.map(Size::bytes)
    }

    /// The largest message that is sent, in bytes, if the websocket has no smaller limit.
    pub fn message_size(&self) -> usize {
        let sizes = [self.max_message, self.collects];
        sizes.into_iter().flatten().map(Size::bytes).min().unwrap_or(64 * 1024)
    }

    /// The payload of the close frame of a plain close.
    pub fn close_payload(&self) -> Vec<u8> {
        match self.close_frame {
            Some((code, reason)) if is_valid(code, reason) => {
                close_payload(code, &"r".repeat(reason.into()))
            }
            _ => Vec::new(),
        }
    }

    pub fn config(&self) -> WsConfig {
        let mut config = WsConfig::new().websocket(self.websocket());
        if self.passes_text {
            config = config.text_messages(TextMessages::PassBytes);
        }
        if self.unclean_is_error {
            config = config.unclean_end(UncleanEnd::Error);
        }
        if let Some(size) = self.collected() {
            config = config.writes(Writes::Collect(size));
        }
        if let Some(size) = self.max_message {
            config = config.max_message(size.bytes());
        }
        if let Some((code, reason)) = self.close_frame {
            let may_be_set = is_valid(code, reason);
            match config.clone().close_frame(code, &"r".repeat(reason.into())) {
                Ok(chosen) => {
                    assert!(may_be_set, "{code} with a reason of {reason} bytes was taken");
                    config = chosen;
                }
                Err(error) => assert!(!may_be_set, "{code}, {reason} bytes of reason: {error}"),
            }
        }
        config
    }
}

fn is_valid(code: u16, reason: u8) -> bool {
    may_be_sent(code) && usize::from(reason) <= MAX_CONTROL - 2
}
