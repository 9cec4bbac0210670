//! MQTT: the broker mosquitto, and two clients over our stream. Each publishes messages of 0 to
//! 256 KiB, at least once, and gets them back as a subscriber, in order, over the same connection.

use std::{
    fs,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, Once},
    thread,
};

use async_tungstenite::{
    tokio::TokioAdapter,
    tungstenite::{client::IntoClientRequest, http::HeaderValue},
};
use futures::{StreamExt, join, stream};
use gneiss_mqtt::{
    client::{
        AsyncClient, AsyncClientHandle, ClientEvent,
        config::{ConnectOptions, MqttClientOptions, TokioOptions},
        new_tokio_client,
    },
    error::GneissError,
    mqtt::{PublishPacket, QualityOfService, SubscribePacket},
};
use real_peers::{
    PATIENCE, Program, Table, assert_same, here, install, message, run, tools, version,
};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::timeout,
};
use ws_stream_tungstenite::{Writes, WsConfig, WsStream};

type Ours = WsStream<TokioAdapter<TcpStream>>;

// of one thread, on which gneiss tells of messages in order
#[tokio::test]
async fn gneiss_gets_1000_messages_back() {
    through_gneiss(1000).await;
}

#[tokio::test]
#[ignore = "takes minutes"]
async fn gneiss_gets_10_000_messages_back() {
    through_gneiss(10_000).await;
}

#[test]
fn rumqttc_gets_1000_messages_back() {
    through_rumqttc(1000);
}

#[test]
#[ignore = "takes minutes"]
fn rumqttc_gets_10_000_messages_back() {
    through_rumqttc(10_000);
}

async fn through_gneiss(count: u64) {
    let broker = Broker::start();
    let mut table =
        Table::new(format!("gneiss-mqtt {}, mosquitto {}", version("gneiss-mqtt"), broker.version));
    for (name, writes) in [
        ("Writes::AtOnce", Writes::AtOnce),
        ("Writes::Collect(16 KiB)", Writes::Collect(16 * 1024)),
    ] {
        let stream = broker.connect(writes).await;
        let bytes = timeout(20 * PATIENCE, exchange(stream, count)).await.expect("it hangs");
        table.row(name, report(count, bytes));
    }
    println!("{table}");
}

/// Returns how many bytes came back.
async fn exchange(stream: Ours, count: u64) -> usize {
    let (sender, mut received) = unbounded_channel();
    let client = gneiss(stream);
    client.start(Some(Arc::new(move |event| tell(&sender, &event)))).unwrap();
    let subscribe = SubscribePacket::builder()
        .with_subscription_simple(TOPIC.to_owned(), QualityOfService::AtLeastOnce);
    client.subscribe(subscribe.build(), None).await.unwrap();

    let acknowledged = stream::iter(0..count).map(|index| client.publish(numbered(index), None));
    let publish = acknowledged.buffered(32).for_each(async |result| drop(result.unwrap()));
    let receive = async {
        let mut bytes = 0;
        for index in 0..count {
            let payload = received.recv().await.unwrap().unwrap();
            assert_same(&payload, &message(index));
            bytes += payload.len();
        }
        bytes
    };
    let ((), bytes) = join!(publish, receive);
    client.close().unwrap();
    bytes
}

/// A client that has this one connection.
fn gneiss(stream: Ours) -> AsyncClientHandle {
    let stream = Mutex::new(Some(stream));
    new_tokio_client(
        MqttClientOptions::builder().build(),
        ConnectOptions::builder().with_client_id("gneiss").build(),
        TokioOptions::builder(Handle::current()).build(),
        Box::new(move || {
            let stream = stream.lock().unwrap().take();
            let gone = || GneissError::new_other_error("the connection was lost");
            Box::pin(async move { stream.ok_or_else(gone) })
        }),
    )
}

/// Passes on what arrives: payloads, and why the connection ended.
fn tell(sender: &UnboundedSender<Result<Vec<u8>, String>>, event: &ClientEvent) {
    let news = match event {
        ClientEvent::PublishReceived(event) => Ok(event.publish.payload().unwrap_or(&[]).to_vec()),
        ClientEvent::ConnectionFailure(_) | ClientEvent::Disconnection(_) => Err(event.to_string()),
        _ => return,
    };
    // nobody listens any more when it closes at the end
    let _ = sender.send(news);
}

fn numbered(index: u64) -> PublishPacket {
    PublishPacket::builder(TOPIC.to_owned(), QualityOfService::AtLeastOnce)
        .with_payload(message(index))
        .build()
}

fn through_rumqttc(count: u64) {
    let rumqttc = renewed_rumqttc();
    let broker = Broker::start();
    let bytes = run(mqtt_package("run")
        .args(["--config", &patch("rumqttc", &rumqttc)])
        .args(["--config", &patch("ws_stream_tungstenite", &here().join("../.."))])
        .args(["--", &broker.url(), &count.to_string()]));

    let mut table = Table::new(format!("rumqttc {RUMQTTC}, mosquitto {}", broker.version));
    for (library, old, new) in RENEWED {
        table.row(library, format!("{new} instead of {old}"));
    }
    table.row("nothing else changed", report(count, bytes.trim_end().parse().unwrap()));
    println!("{table}");
}

/// The source of rumqttc as it was published, but for the versions of what it depends on.
fn renewed_rumqttc() -> PathBuf {
    let (renewed, unfinished) =
        (tools("rumqttc").join(RUMQTTC), tools("rumqttc").join("unfinished"));
    if renewed.exists() {
        return renewed;
    }
    run(Command::new("rm").arg("-rf").arg(&unfinished));
    run(Command::new("cp").arg("-r").args([&published_rumqttc(), &unfinished]));
    let manifest = unfinished.join("Cargo.toml");
    let mut text = fs::read_to_string(&manifest).unwrap();
    for (library, old, new) in RENEWED {
        let dependency = |version| format!("[dependencies.{library}]\nversion = \"{version}\"\n");
        assert_eq!(text.matches(&dependency(old)).count(), 1, "{library} {old} in {text}");
        text = text.replace(&dependency(old), &dependency(new));
    }
    fs::write(&manifest, text).unwrap();
    fs::rename(&unfinished, &renewed).unwrap();
    renewed
}

/// Where cargo has put the source of rumqttc.
fn published_rumqttc() -> PathBuf {
    let metadata = run(mqtt_package("metadata").args(["--format-version", "1"]));
    let metadata: serde_json::Value = serde_json::from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let rumqttc = packages.iter().find(|package| package["name"] == "rumqttc").unwrap();
    Path::new(rumqttc["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned()
}

/// A command of cargo for the program that uses rumqttc.
fn mqtt_package(command: &str) -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(here().join("mqtt")).args([command, "--quiet"]);
    cargo
}

/// Lets cargo take a crate from elsewhere.
fn patch(library: &str, source: &Path) -> String {
    format!("patch.crates-io.{library}.path = {:?}", source.to_str().unwrap())
}

fn report(count: u64, bytes: usize) -> String {
    format!("{count} messages, {} MiB, unchanged and in order", bytes / 1024 / 1024)
}

/// mosquitto, which takes websockets only.
struct Broker {
    address: SocketAddr,
    version: String,
    // ends when this is dropped
    _program: Program,
}

impl Broker {
    fn start() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| install(&[("mosquitto", "mosquitto")]));
        // mosquitto 2.0.11 does not start without one that is not for websockets
        let (address, plain) = (free_address(), free_address());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("mosquitto-{address}"));
        fs::write(&file, configuration(address, plain)).unwrap();
        // its standard output would reach a pipe late
        let command = r#"exec /usr/sbin/mosquitto -c "$0" 2>&1"#;
        let program = Program::start(Command::new("sh").args(["-c", command]).arg(file));
        let started = program.says(" running");
        thread::spawn(move || keep_awake(plain));
        // before its last word
        let version = started.split(' ').rev().nth(1).unwrap().to_owned();
        Self { address, version, _program: program }
    }

    fn url(&self) -> String {
        format!("ws://{}/mqtt", self.address)
    }

    async fn connect(&self, writes: Writes) -> Ours {
        let mut request = self.url().into_client_request().unwrap();
        request.headers_mut().insert(PROTOCOL, HeaderValue::from_static("mqtt"));
        let tcp = TokioAdapter::new(TcpStream::connect(self.address).await.unwrap());
        let config = WsConfig::new().writes(writes);
        let (stream, response) = WsStream::connect(request, tcp, Some(config)).await.unwrap();
        assert_eq!(response.headers()[PROTOCOL], "mqtt");
        stream
    }
}

/// Pings until the broker ends. While its other sockets are silent, mosquitto 2.0.11 looks after its
/// websockets ten times a second only, and writes at most a few KiB each time.
fn keep_awake(broker: SocketAddr) -> io::Result<()> {
    let mut tcp = std::net::TcpStream::connect(broker)?;
    tcp.write_all(b"\x10\x11\0\x04MQTT\x04\x02\0\0\0\x05awake")?;
    tcp.read_exact(&mut [0; 4])?;
    loop {
        tcp.write_all(&[0xc0, 0])?;
        tcp.read_exact(&mut [0; 2])?;
    }
}

/// One where nobody listens yet.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Without limits on how many messages wait: what does not fit would be dropped.
fn configuration(address: SocketAddr, plain: SocketAddr) -> String {
    format!(
        "listener {} {}
listener {} {}
protocol websockets
allow_anonymous true
set_tcp_nodelay true
max_queued_messages 0
max_packet_size 1048576
",
        plain.port(),
        plain.ip(),
        address.port(),
        address.ip(),
    )
}

const PROTOCOL: &str = "sec-websocket-protocol";

const TOPIC: &str = "numbered";

const RUMQTTC: &str = "0.25.1";

/// What rumqttc depends on, the version that it asks for, and the one that it gets.
const RENEWED: [(&str, &str, &str); 2] =
    [("async-tungstenite", "0.29.0", "0.35.0"), ("ws_stream_tungstenite", "0.15.0", "0.16.0")];
