//! `WsConfig`: what a stream does where the I/O traits leave a choice.

use tungstenite::protocol::{CloseFrame, WebSocketConfig};

use super::close::close_frame;
use crate::WsErr;

/// What a [`WsStream`](crate::WsStream) does where there is a choice. The default is what
/// [`WsStream::new`](crate::WsStream::new) does.
///
/// For [`WsStream::with_config`](crate::WsStream::with_config). The limits on what the peer may send
/// are in tungstenite's [`WebSocketConfig`](tungstenite::protocol::WebSocketConfig).
///
/// ```
/// use ws_stream_tungstenite::{UncleanEnd, WsConfig, WsErr, Writes};
///
/// # fn main() -> Result<(), WsErr> {
/// let config = WsConfig::new()
///     .unclean_end(UncleanEnd::Error)
///     .writes(Writes::Collect(8 * 1024))
///     .close_frame(1000, "done")?;
/// # let _ = config;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default)]
pub struct WsConfig {
    pub(super) choices: Choices,
    websocket: Option<WebSocketConfig>,
}

/// What the stream itself needs to know.
#[derive(Debug, Clone)]
pub(super) struct Choices {
    pub(super) text_messages: TextMessages,
    pub(super) unclean_end: UncleanEnd,
    pub(super) writes: Writes,
    pub(super) max_message: usize,
    pub(super) close_frame: Option<Box<CloseFrame>>,
}

impl WsConfig {
    /// The default of every setting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is done with text messages of the peer. Default: [`TextMessages::Refuse`].
    #[must_use]
    pub fn text_messages(self, text_messages: TextMessages) -> Self {
        Self { choices: Choices { text_messages, ..self.choices }, ..self }
    }

    /// What reads return where the peer broke the stream off. Default: [`UncleanEnd::EndOfFile`].
    #[must_use]
    pub fn unclean_end(self, unclean_end: UncleanEnd) -> Self {
        Self { choices: Choices { unclean_end, ..self.choices }, ..self }
    }

    /// When written data leaves. Default: [`Writes::AtOnce`].
    #[must_use]
    pub fn writes(self, writes: Writes) -> Self {
        Self { choices: Choices { writes, ..self.choices }, ..self }
    }

    /// The largest message that is sent, in bytes of payload. Default: 65 536.
    ///
    /// The limits of the [`WebSocketConfig`](tungstenite::protocol::WebSocketConfig) apply too. Not
    /// every peer takes large messages, and a partial write to the transport costs more the larger
    /// the message is. With 0, every write fails with
    /// [`InvalidInput`](std::io::ErrorKind::InvalidInput).
    #[must_use]
    pub fn max_message(self, bytes: usize) -> Self {
        Self { choices: Choices { max_message: bytes, ..self.choices }, ..self }
    }

    /// The code and reason in the close frame that `poll_close` (tokio: `poll_shutdown`) sends.
    /// Default: neither.
    ///
    /// [`WsMeta::close`](crate::WsMeta::close) has its own.
    ///
    /// # Errors
    ///
    /// - [`WsErr::InvalidCloseCode`]: a code that must not be sent, as for `WsMeta::close`.
    /// - [`WsErr::ReasonTooLong`]: a reason of more than 123 bytes.
    pub fn close_frame(self, code: u16, reason: &str) -> Result<Self, WsErr> {
        let close_frame = Some(Box::new(close_frame(code, reason)?));
        Ok(Self { choices: Choices { close_frame, ..self.choices }, ..self })
    }

    /// The buffers and limits of a websocket that the stream makes. Default: [`byte_stream_config`].
    ///
    /// For [`WsStream::from_raw_socket`](crate::WsStream::from_raw_socket) and the other constructors
    /// that are given a transport. [`WsStream::with_config`](crate::WsStream::with_config) is given a
    /// websocket, which has its own.
    #[must_use]
    pub fn websocket(self, websocket: WebSocketConfig) -> Self {
        Self { websocket: Some(websocket), ..self }
    }
}

impl From<WebSocketConfig> for WsConfig {
    /// Every default, and this config for a websocket that the stream makes.
    fn from(websocket: WebSocketConfig) -> Self {
        Self::new().websocket(websocket)
    }
}

impl WsConfig {
    /// The buffers and limits of a websocket that the stream makes, changed.
    #[cfg(feature = "axum")]
    pub(crate) fn map_websocket(
        mut self,
        change: impl FnOnce(WebSocketConfig) -> WebSocketConfig,
    ) -> Self {
        let websocket = self.websocket.unwrap_or_else(byte_stream_config);
        self.websocket = Some(change(websocket));
        self
    }

    /// What the stream makes of a transport itself, and the rest.
    pub(super) fn split(self) -> (WebSocketConfig, Choices) {
        (self.websocket.unwrap_or_else(byte_stream_config), self.choices)
    }
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            text_messages: TextMessages::default(),
            unclean_end: UncleanEnd::default(),
            writes: Writes::default(),
            max_message: MAX_MESSAGE,
            close_frame: None,
        }
    }
}

/// What is done with text messages of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum TextMessages {
    /// The peer is refused with close code 1003, observers are told
    /// [`WsErr::ReceivedText`](crate::WsErr::ReceivedText), and reads are at the end.
    #[default]
    Refuse,

    /// Their bytes, which are valid UTF-8, are read like those of a binary message. What is written
    /// still leaves as binary messages.
    PassBytes,
}

/// What reads return where the peer broke the stream off: the transport ended without a close frame,
/// or the peer sent what it must not.
///
/// Errors of the transport itself are returned as they are, with either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum UncleanEnd {
    /// End of file. Only observers are told that it came too early.
    #[default]
    EndOfFile,

    /// An error of kind [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof), once, then end of
    /// file. Its inner error is a [`WsErr::UncleanEnd`](crate::WsErr::UncleanEnd), with what
    /// observers are told as source. So no codec takes a stream that was cut off for a whole one.
    Error,
}

/// When written data leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Writes {
    /// Each write that is accepted becomes a message, which leaves at once if the transport takes
    /// it.
    #[default]
    AtOnce,

    /// Writes are collected until they fill a message of this many bytes (or of
    /// [`max_message`](WsConfig::max_message), if that is less), or until the stream is flushed,
    /// closed, or read for the next message.
    ///
    /// A reader that sleeps in another task is woken for that: while somebody reads, nothing waits
    /// for ever. Who only writes has to flush, as with a `BufWriter`.
    ///
    /// The size is also that of the largest message. One of 8 to 16 KiB suits most; with 0, every
    /// write fails with [`InvalidInput`](std::io::ErrorKind::InvalidInput).
    ///
    /// When the peer closes, or the transport ends or fails, while collected data waits for the
    /// transport to take it, the next write, flush or close fails; and observers are told
    /// [`WsErr::Closed`](crate::WsErr::Closed) if it was the peer that closed.
    Collect(usize),
}

/// The [`WebSocketConfig`] that suits streams of bytes: the default of the constructors that are given a
/// transport, and good for those of async-tungstenite too.
///
/// | setting, in bytes | this | tungstenite's default |
/// | --- | --- | --- |
/// | `read_buffer_size` | 20 KiB | 128 KiB |
/// | `max_message_size` | 16 MiB | 64 MiB |
///
/// - tungstenite holds a read buffer for each connection, and fills it with zeros whenever it tries to
///   read, also in vain. With this one, a message of 16 KiB arrives in one read, many small ones too,
///   and one of any size does not need more processor time than with a larger buffer, or hardly.
///   tungstenite doubles it at the first message of more than some 10 KiB. Smaller buffers suit very
///   many connections that carry little at a time.
/// - A message, which is in memory as a whole before its first byte is read, may be as large as
///   tungstenite lets a single frame be, which is the default `max_frame_size`. Senders that make
///   streams of bytes into messages use far smaller ones.
///
/// The write buffer is tungstenite's default. It takes memory only when data waits for the transport,
/// and the stream itself bounds how much that is.
#[must_use]
pub fn byte_stream_config() -> WebSocketConfig {
    let config = WebSocketConfig::default();
    config.read_buffer_size(READ_BUFFER).max_message_size(config.max_frame_size)
}

/// How much of what arrived is taken from the transport in one read, in bytes: a frame of 16 KiB with
/// its header, and the header of the next.
const READ_BUFFER: usize = 20 * 1024;

/// The largest message that is sent unless configured otherwise, in bytes. The cost of a partial write
/// to the transport grows with the message, and every receiver takes one of this size.
const MAX_MESSAGE: usize = 64 * 1024;
