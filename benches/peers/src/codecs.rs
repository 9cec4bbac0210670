//! The codecs of tokio-util, as the workloads need them.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder, LengthDelimitedCodec, LinesCodec};

/// A codec, and the items that it is given for some bytes.
pub trait Codec:
    Decoder<Item = Self::Received, Error = io::Error>
    + Encoder<Self::Sent, Error = io::Error>
    + Send
    + Unpin
    + 'static
{
    type Sent: Clone + Send + Sync;
    type Received: Send;

    fn new() -> Self;
    fn item(data: &Bytes) -> Self::Sent;
    fn bytes(item: &Self::Received) -> &[u8];
}

impl Codec for LengthDelimitedCodec {
    type Sent = Bytes;
    type Received = BytesMut;

    fn new() -> Self {
        Self::new()
    }

    fn item(data: &Bytes) -> Bytes {
        data.clone()
    }

    fn bytes(item: &BytesMut) -> &[u8] {
        item
    }
}

/// `LinesCodec` with the errors of a stream.
pub struct Lines(LinesCodec);

impl Codec for Lines {
    type Sent = Arc<str>;
    type Received = String;

    fn new() -> Self {
        Self(LinesCodec::new())
    }

    fn item(data: &Bytes) -> Arc<str> {
        String::from_utf8_lossy(data).into()
    }

    fn bytes(item: &String) -> &[u8] {
        item.as_bytes()
    }
}

impl Decoder for Lines {
    type Item = String;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<String>> {
        self.0.decode(buffer).map_err(io::Error::other)
    }
}

impl Encoder<Arc<str>> for Lines {
    type Error = io::Error;

    fn encode(&mut self, line: Arc<str>, buffer: &mut BytesMut) -> io::Result<()> {
        self.0.encode(line, buffer).map_err(io::Error::other)
    }
}
