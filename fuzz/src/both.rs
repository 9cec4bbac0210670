//! Everything is played over the websocket of async-tungstenite and over that of tokio-tungstenite, and
//! what is seen of it is the same.

use std::{io, task::Poll};

use futures::{AsyncBufRead, AsyncWrite};
use tokio_util::compat::FuturesAsyncReadCompatExt;
use ws_stream_tungstenite::{
    CloseEvent, TokioWsStream, WsCounters, WsErr, WsEvent, WsMeta, WsStream, pharos::Observable,
    tokio_tungstenite::WebSocketStream, tungstenite::protocol::Role,
};

use crate::{frames::Frame, pipe::Wire, setup::Setup};

/// Whose websocket a stream is over.
#[derive(Debug, Clone, Copy)]
pub enum Backend {
    AsyncTungstenite,
    TokioTungstenite,
}

/// A stream over either.
pub trait ByteStream:
    AsyncBufRead + AsyncWrite + Observable<WsEvent, Error = WsErr> + Unpin
{
}

impl<T> ByteStream for T where
    T: AsyncBufRead + AsyncWrite + Observable<WsEvent, Error = WsErr> + Unpin
{
}

impl Backend {
    pub async fn stream(
        self,
        wire: Wire,
        role: Role,
        setup: &Setup,
    ) -> (WsMeta, Box<dyn ByteStream>) {
        match self {
            Self::AsyncTungstenite => {
                let stream = WsStream::from_raw_socket(wire, role, Some(setup.config())).await;
                (stream.meta(), Box::new(stream))
            }
            Self::TokioTungstenite => {
                let limits = Some(setup.websocket());
                let socket = WebSocketStream::from_raw_socket(wire.compat(), role, limits).await;
                let stream = TokioWsStream::with_config(socket, setup.config());
                (stream.meta(), Box::new(stream))
            }
        }
    }
}

/// Something that the user of a stream or its peer sees.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// What a poll of the reading half returned.
    Read(Poll<Result<usize, String>>),
    /// What a poll of the writing half returned.
    Written(Poll<Result<usize, String>>),
    /// A message of so many bytes was sent. What is in it is checked elsewhere.
    Sent(usize),
    SentControl(Frame),
    Told(String),
    Ended(CloseEvent),
    /// In the end.
    Counted(WsCounters),
}

/// The result of a poll, with its error in words.
pub fn in_words(result: &Poll<io::Result<usize>>) -> Poll<Result<usize, String>> {
    match result {
        Poll::Ready(Ok(length)) => Poll::Ready(Ok(*length)),
        Poll::Ready(Err(error)) => Poll::Ready(Err(format!("{error:?}"))),
        Poll::Pending => Poll::Pending,
    }
}

/// Plays something over both.
pub fn compare(play: impl Fn(Backend) -> Vec<Seen>) {
    // in two lines, so that a backtrace tells which it was
    let one = play(Backend::AsyncTungstenite);
    let other = play(Backend::TokioTungstenite);
    let same = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    assert_eq!(
        one.get(same),
        other.get(same),
        "what differs first, behind {same} that are the same"
    );
}
