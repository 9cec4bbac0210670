//! Conversations with a script, whatever library it uses: as our client, and as our server.

use std::{
    io::{ErrorKind, Read},
    net::SocketAddr,
    panic::AssertUnwindSafe,
    process::Command,
    thread,
};

use async_tungstenite::tokio::TokioAdapter;
use blake3::Hasher;
use futures::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, FutureExt, StreamExt, channel::oneshot,
    future::LocalBoxFuture, join,
};
use real_peers::{PATIENCE, Program, Table};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use ws_stream_tungstenite::{
    CloseEvent, WsConfig, WsEvent, WsMeta, WsStream,
    async_tungstenite::tungstenite::handshake::server::{Request, Response},
    byte_stream_config,
    pharos::{Events, Observable, ObserveConfig},
};

use crate::endings::{CODES, broken, clean, named};

/// A library with a script that uses it.
pub struct Peer {
    pub name: String,
    /// What runs the script, as far as its arguments.
    pub script: fn() -> Command,
    /// The largest message that it takes, in bytes, unless it is told otherwise.
    pub limit: usize,
    /// The code that its way to close sends, unless it is told otherwise.
    pub usual_close_code: u16,
}

impl Peer {
    /// Has all conversations with it, in both roles, and prints how they went.
    pub fn meet(&self) {
        let mut table = Table::new(format!("{}, as our client and as our server", self.name));
        let mut failed = Vec::new();
        for (what, scene) in SCENES {
            for role in [Role::Client, Role::Server] {
                let how = self.play(scene, role).unwrap_or_else(|_panic| {
                    failed.push((what, role));
                    "FAILED".into()
                });
                table.row(format!("{what} ({role:?})"), how);
            }
        }
        println!("{table}");
        // how they failed is above the table
        assert!(failed.is_empty(), "{failed:?}");
    }

    fn play(&self, scene: Scene, role: Role) -> thread::Result<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let play = async { timeout(PATIENCE, scene(self, role)).await.expect("it hangs") };
        runtime.block_on(AssertUnwindSafe(play).catch_unwind())
    }
}

/// What the script is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Client,
    Server,
}

type Scene = fn(&Peer, Role) -> LocalBoxFuture<'_, String>;

const SCENES: [(&str, Scene); 20] = [
    ("compression", |peer, role| compression_is_declined(peer, role).boxed_local()),
    ("64 MiB each way at once", |peer, role| exchange(peer, role).boxed_local()),
    ("pings meanwhile", |peer, role| exchange_with_pings(peer, role).boxed_local()),
    ("its pings while idle", |peer, role| its_pings(peer, role).boxed_local()),
    ("our pings while idle", |peer, role| our_pings(peer, role).boxed_local()),
    ("its largest message", |peer, role| its_largest_message(peer, role, "message").boxed_local()),
    ("the same in fragments", |peer, role| {
        its_largest_message(peer, role, "fragments").boxed_local()
    }),
    ("a larger one", |peer, role| its_too_large_message(peer, role, "message").boxed_local()),
    ("a larger one in fragments", |peer, role| {
        its_too_large_message(peer, role, "fragments").boxed_local()
    }),
    ("our messages and its limit", |peer, role| our_too_large_message(peer, role).boxed_local()),
    ("a text message", |peer, role| its_text_message(peer, role).boxed_local()),
    ("it closes", |peer, role| it_closes(peer, role).boxed_local()),
    ("it closes with codes", |peer, role| it_closes_with_codes(peer, role).boxed_local()),
    ("we close with codes", |peer, role| we_close_with_codes(peer, role).boxed_local()),
    ("we close without a code", |peer, role| we_close_without_a_code(peer, role).boxed_local()),
    ("we close while it sends", |peer, role| we_close_while_it_sends(peer, role).boxed_local()),
    ("it closes while both send", |peer, role| it_closes_while_both_send(peer, role).boxed_local()),
    ("it is killed", |peer, role| it_is_killed(peer, role).boxed_local()),
    ("it is killed while both send", |peer, role| {
        it_is_killed_while_both_send(peer, role).boxed_local()
    }),
    ("we drop the stream", |peer, role| we_drop_the_stream(peer, role).boxed_local()),
];

// ---- scenes; each returns what is worth a place in the table ----

async fn compression_is_declined(peer: &Peer, role: Role) -> String {
    let talk = peer.talk(role, &["listen"]).await;
    let offered = talk.offered.clone();
    assert_eq!(talk.script.says("extensions "), "extensions none");
    talk.close(1000, "").await;
    match offered {
        Some(offer) if offer.contains("permessage-deflate") => "offered, and declined".into(),
        Some(other) => panic!("{other:?} was offered instead"),
        None => "not used".into(),
    }
}

async fn exchange(peer: &Peer, role: Role) -> String {
    let total = 64 * MIB;
    let talk = peer.talk(role, &["exchange", &total.to_string()]).await;
    exchange_bytes(talk.stream, &talk.meta, &talk.script, total).await;
    "the hashes are the same".into()
}

/// As many pings as it wants to send, and one of ours after the other.
async fn exchange_with_pings(peer: &Peer, role: Role) -> String {
    let total = 32 * MIB;
    let Talk { stream, meta, mut events, script, .. } =
        peer.talk(role, &["--pings", "exchange", &total.to_string()]).await;
    let mut round_trips = 0;
    let pinging = async {
        while round_trip(&meta, &mut events).await {
            round_trips += 1;
        }
    };
    join!(exchange_bytes(stream, &meta, &script, total), pinging);
    script.says("pings were answered");
    let pings = meta.counters().pings_received;
    assert!(
        pings > 0 && round_trips > 0,
        "{pings} of its pings, {round_trips} round trips of ours"
    );
    format!("{pings} of its pings and {round_trips} of ours were answered")
}

/// Compares hashes in both directions, and closes.
async fn exchange_bytes(stream: Stream, meta: &WsMeta, script: &Program, total: usize) {
    let (mut read, mut write) = stream.split();
    let (done, all_received) = oneshot::channel();
    let reading = async {
        assert_eq!(receive(&mut read, total).await, hash(THEIRS, total), "what it sent");
        done.send(()).unwrap();
        read_to_end(&mut read).await;
    };
    let writing = async {
        send(&mut write, total).await;
        all_received.await.unwrap();
        meta.close(1000, "").await.unwrap()
    };
    let ((), end) = join!(reading, writing);
    assert_eq!(end, clean(1000, ""));
    script.says(&format!("received {}", hash(OURS, total)));
}

async fn its_pings(peer: &Peer, role: Role) -> String {
    let Talk { mut stream, meta, mut events, script, .. } =
        peer.talk(role, &["--pings", "listen"]).await;
    let idle = async {
        for _ in 0..5 {
            let event = events.next().await.expect("the connection lives");
            assert!(matches!(event, WsEvent::Ping(_)), "{event:?}");
        }
        meta.close(4001, "enough").await.unwrap()
    };
    let (end, ()) = join!(idle, read_to_end(&mut stream));
    assert_eq!(end, clean(4001, "enough"));
    script.says("pings were answered");
    assert_eq!(seen(&script), "closed 4001 enough");
    "answered".into()
}

async fn our_pings(peer: &Peer, role: Role) -> String {
    let Talk { mut stream, meta, mut events, script, .. } = peer.talk(role, &["listen"]).await;
    let idle = async {
        for _ in 0..5 {
            assert!(round_trip(&meta, &mut events).await, "closed before the pong came");
        }
        meta.close(1000, "").await.unwrap()
    };
    let (end, ()) = join!(idle, read_to_end(&mut stream));
    assert_eq!(end, clean(1000, ""));
    assert_eq!(seen(&script), "closed 1000");
    "answered".into()
}

async fn its_largest_message(peer: &Peer, role: Role, how: &str) -> String {
    let mut talk = peer.talk(role, &[how, &OUR_LIMIT.to_string()]).await;
    assert_eq!(receive(&mut talk.stream, OUR_LIMIT).await, hash(THEIRS, OUR_LIMIT));
    assert_eq!(talk.meta.counters().messages_received, 1);
    talk.close(1000, "").await;
    format!("{} MiB arrive", OUR_LIMIT / MIB)
}

async fn its_too_large_message(peer: &Peer, role: Role, how: &str) -> String {
    let talk = peer.talk(role, &[how, &(OUR_LIMIT + 1).to_string()]).await;
    let end = talk.end().await;
    assert_eq!(end.events, ["Error(Tungstenite { Capacity })", "Closed"], "{end:?}");
    assert_eq!(end.close, broken()); // its answer is among what is discarded
    assert!(end.seen.starts_with("closed 1009 "), "{end:?}");
    format!("it sees: {}", end.seen)
}

/// At its limit, and one byte more.
async fn our_too_large_message(peer: &Peer, role: Role) -> String {
    let frame = Some(peer.limit + 1);
    let websocket = byte_stream_config().max_frame_size(frame).max_message_size(frame);
    let config = WsConfig::new().websocket(websocket).max_message(peer.limit + 1);
    let talk = peer.talk_with(role, &["listen"], Some(config)).await;
    let (mut read, mut write) = talk.stream.split();
    let writing = async {
        write.write_all(&vec![7; peer.limit]).await.unwrap();
        write.write_all(&vec![7; peer.limit + 1]).await.unwrap();
        write.flush().await.unwrap();
    };
    join!(writing, read_to_end(&mut read));
    talk.script.says(&format!("largest {}", peer.limit));
    let end = talk.meta.closed().await;
    assert_eq!((end.code, end.was_clean), (1009, true), "{end:?}");
    format!("{} MiB arrive; one byte more: {end:?}", peer.limit / MIB)
}

async fn its_text_message(peer: &Peer, role: Role) -> String {
    let end = peer.talk(role, &["text", "hello"]).await.end().await;
    assert_eq!(end.events, ["Error(ReceivedText)", "CloseFrame(1003)", "Closed"], "{end:?}");
    assert!(end.seen.starts_with("closed 1003"), "{end:?}");
    assert_eq!((end.close.code, end.close.was_clean), (1003, true));
    format!("it sees: {}", end.seen)
}

async fn it_closes(peer: &Peer, role: Role) -> String {
    let end = peer.talk(role, &["close"]).await.end().await;
    assert_eq!(end.close, clean(peer.usual_close_code, ""));
    assert_eq!(end.seen, format!("closed {}", peer.usual_close_code));
    format!("we see {}; it sees: {}", end.close.code, end.seen)
}

async fn it_closes_with_codes(peer: &Peer, role: Role) -> String {
    for (code, reason) in CODES {
        let end = peer.talk(role, &["close", &code.to_string(), reason]).await.end().await;
        assert_eq!(end.close, clean(code, reason));
        assert_eq!(end.events, [format!("CloseFrame({code})"), "Closed".into()]);
        assert!(end.seen.starts_with(&format!("closed {code}")), "{end:?}");
    }
    format!("we see {}", listed(&CODES))
}

async fn we_close_with_codes(peer: &Peer, role: Role) -> String {
    for (code, reason) in CODES {
        let end = peer.talk(role, &["listen"]).await.close(code, reason).await;
        assert_eq!((end.close.code, end.close.was_clean), (code, true));
        assert_eq!(end.seen, format!("closed {code} {reason}").trim_end());
    }
    format!("it sees {}", listed(&CODES))
}

async fn we_close_without_a_code(peer: &Peer, role: Role) -> String {
    let mut talk = peer.talk(role, &["listen"]).await;
    talk.stream.close().await.unwrap();
    let end = talk.end().await;
    assert!(end.close.was_clean, "{end:?}");
    assert!(end.seen.starts_with("closed 1005"), "{end:?}");
    format!("it sees: {}; it answers {}", end.seen, end.close.code)
}

async fn we_close_while_it_sends(peer: &Peer, role: Role) -> String {
    let mut talk = peer.talk(role, &["flood"]).await;
    receive(&mut talk.stream, 8 * MIB).await;
    let end = talk.close(4001, "enough").await;
    assert_eq!(end.close, clean(4001, "enough"));
    assert_eq!(end.seen, "closed 4001 enough");
    format!("it sees: {}", end.seen)
}

async fn it_closes_while_both_send(peer: &Peer, role: Role) -> String {
    let talk = peer.talk(role, &["close_amid", "4002", "enough"]).await;
    let (mut read, mut write) = talk.stream.split();
    let (error, ()) = join!(send_for_ever(&mut write), read_to_end(&mut read));
    assert_eq!(error, ErrorKind::NotConnected);
    assert_eq!(talk.meta.closed().await, clean(4002, "enough"));
    let seen = seen(&talk.script);
    assert!(seen.starts_with("closed 4002"), "{seen}");
    format!("we see 4002; it sees: {seen}")
}

async fn it_is_killed(peer: &Peer, role: Role) -> String {
    let Talk { mut stream, meta, events, script, .. } = peer.talk(role, &["listen"]).await;
    script.says("extensions "); // has read all that we sent
    drop(script);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0);
    assert_eq!(named(events).await, ["Error(MissingCloseFrame)", "Closed"]);
    let end = meta.closed().await;
    assert_eq!(end, broken());
    "we see 1006, MissingCloseFrame".into()
}

/// With bytes of ours that it did not read, its system resets the connection.
async fn it_is_killed_while_both_send(peer: &Peer, role: Role) -> String {
    let talk = peer.talk(role, &["flood"]).await;
    let (mut read, mut write) = talk.stream.split();
    let script = talk.script;
    let reading = async {
        receive(&mut read, 8 * MIB).await;
        drop(script);
        read.read_to_end(&mut Vec::new()).await.map_err(|error| error.kind())
    };
    let (read, written) = join!(reading, send_for_ever(&mut write));
    let end = talk.meta.closed().await;
    assert_eq!(end, broken());
    let events = named(talk.events).await;
    let told = ["Error(MissingCloseFrame)", "Error(Io)"].contains(&events[0].as_str());
    assert!(told && events.last().is_some_and(|last| last == "Closed"), "{events:?}");
    format!("we see 1006, {}; reads: {}; writes: {written:?}", events[0], outcome(read))
}

async fn we_drop_the_stream(peer: &Peer, role: Role) -> String {
    let Talk { stream, script, .. } = peer.talk(role, &["listen"]).await;
    drop(stream);
    let seen = seen(&script);
    assert_eq!(seen, "closed 1006");
    format!("it sees: {seen}")
}

// ---- what scenes are made of ----

/// A conversation that has begun.
struct Talk {
    script: Program,
    stream: Stream,
    meta: WsMeta,
    events: Events<WsEvent>,
    /// The extensions that it asked for as a client.
    offered: Option<String>,
}

type Stream = WsStream<TokioAdapter<TcpStream>>;

/// How a conversation ended.
#[derive(Debug)]
struct End {
    close: CloseEvent,
    events: Vec<String>,
    /// What the script said of it.
    seen: String,
}

impl Peer {
    async fn talk(&self, role: Role, scene: &[&str]) -> Talk {
        self.talk_with(role, scene, None).await
    }

    async fn talk_with(&self, role: Role, scene: &[&str], config: Option<WsConfig>) -> Talk {
        let (script, mut stream, offered) = match role {
            Role::Client => self.accept(scene, config).await,
            Role::Server => self.connect(scene, config).await,
        };
        let events = stream.observe(ObserveConfig::default()).await.unwrap();
        Talk { script, meta: stream.meta(), stream, events, offered }
    }

    async fn accept(
        &self,
        scene: &[&str],
        config: Option<WsConfig>,
    ) -> (Program, Stream, Option<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let script = Program::start((self.script)().args(arguments(&["connect", &url], scene)));
        let (tcp, _) = timeout(PATIENCE, listener.accept()).await.expect("it connects").unwrap();
        let mut offered = None;
        #[expect(clippy::result_large_err, reason = "tungstenite says what a callback returns")]
        let callback = |request: &Request, response: Response| {
            let header = request.headers().get("Sec-WebSocket-Extensions");
            offered = header.map(|offer| offer.to_str().unwrap().to_owned());
            Ok(response)
        };
        let stream = WsStream::accept_hdr(TokioAdapter::new(tcp), callback, config).await.unwrap();
        (script, stream, offered)
    }

    async fn connect(
        &self,
        scene: &[&str],
        config: Option<WsConfig>,
    ) -> (Program, Stream, Option<String>) {
        let script = Program::start((self.script)().args(arguments(&["serve"], scene)));
        let listening = script.says("listening on ");
        let port = listening.rsplit(' ').next().unwrap().parse().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let tcp = TokioAdapter::new(TcpStream::connect(address).await.unwrap());
        let (stream, _) = WsStream::connect(format!("ws://{address}/"), tcp, config).await.unwrap();
        (script, stream, None)
    }
}

/// Options of the script come before its role.
fn arguments(role: &[&str], scene: &[&str]) -> Vec<String> {
    let (options, scene) = match scene.split_first() {
        Some((&"--pings", rest)) => (&scene[..1], rest),
        _ => (&[][..], scene),
    };
    [options, role, scene].concat().into_iter().map(str::to_owned).collect()
}

impl Talk {
    /// Closes, and reads to end of file.
    async fn close(mut self, code: u16, reason: &str) -> End {
        let (close, ()) = join!(self.meta.close(code, reason), read_to_end(&mut self.stream));
        close.unwrap();
        self.end().await
    }

    /// Reads to end of file.
    async fn end(mut self) -> End {
        read_to_end(&mut self.stream).await;
        let close = self.meta.closed().await;
        End { close, events: named(self.events).await, seen: seen(&self.script) }
    }
}

/// What the script says of how the connection closed: the code and the reason.
fn seen(script: &Program) -> String {
    script.says("closed ").trim_end().to_owned()
}

async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) {
    futures::io::copy(stream, &mut futures::io::sink()).await.unwrap();
}

/// Reads some bytes, and not one more. Returns their hash.
async fn receive(stream: &mut (impl AsyncRead + Unpin), total: usize) -> String {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut rest = total;
    while rest > 0 {
        let room = rest.min(buffer.len());
        let length = stream.read(&mut buffer[..room]).await.unwrap();
        assert_ne!(length, 0, "end of file, {rest} bytes too early");
        hasher.update(&buffer[..length]);
        rest -= length;
    }
    hasher.finalize().to_string()
}

/// Writes some bytes.
async fn send(stream: &mut (impl AsyncWrite + Unpin), total: usize) {
    let mut source = Hasher::new().update(OURS).finalize_xof();
    let mut piece = vec![0; 256 * 1024];
    assert_eq!(total % piece.len(), 0);
    for _ in 0..total / piece.len() {
        source.fill(&mut piece);
        stream.write_all(&piece).await.unwrap();
    }
    stream.flush().await.unwrap();
}

/// Writes until that fails. Returns how.
async fn send_for_ever(stream: &mut (impl AsyncWrite + Unpin)) -> ErrorKind {
    let piece = vec![7; MIB];
    loop {
        if let Err(error) = stream.write_all(&piece).await {
            return error.kind();
        }
    }
}

/// Sends a ping and waits for its answer. Returns whether one came.
async fn round_trip(meta: &WsMeta, events: &mut Events<WsEvent>) -> bool {
    let payload = meta.counters().pings_sent.to_be_bytes();
    if meta.ping(&payload).is_err() {
        return false; // it is being closed
    }
    while let Some(event) = events.next().await {
        if let WsEvent::Pong(answer) = event {
            assert_eq!(answer[..], payload);
            return true;
        }
    }
    false
}

/// The hash of the bytes that a sender makes of its name.
fn hash(sender: &[u8], total: usize) -> String {
    let mut bytes = Hasher::new().update(sender).finalize_xof().take(total as u64);
    let mut hasher = Hasher::new();
    hasher.update_reader(&mut bytes).unwrap();
    hasher.finalize().to_string()
}

fn outcome(read: Result<usize, ErrorKind>) -> String {
    read.map_or_else(|error| format!("{error:?}"), |_| "end of file".into())
}

fn listed(codes: &[(u16, &str)]) -> String {
    codes.iter().map(|(code, _)| code.to_string()).collect::<Vec<_>>().join(", ")
}

const MIB: usize = 1024 * 1024;

/// The largest message that a stream takes with `byte_stream_config()`, in bytes.
const OUR_LIMIT: usize = 16 * MIB;

/// Of what the bytes of a sender are made.
const OURS: &[u8] = b"ours";
const THEIRS: &[u8] = b"theirs";
