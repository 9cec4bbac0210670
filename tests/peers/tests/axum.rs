//! The example `axum`, with Chromium and with `ws` of node.

mod chromium;

use std::io::{ErrorKind, Read};

use blake3::{Hash, Hasher};
use fantoccini::{Client, Locator, error::CmdError};
use real_peers::{PATIENCE, Program, example, node, noise};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    join,
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf},
    select,
    time::timeout,
};

use crate::chromium::{click, close_event, save_screenshot, shows, shows_text, text};

// ---- Chromium ----

#[test]
fn a_page_talks_to_the_service_and_sees_the_server_go_away() {
    let (mut server, url) = serve(&[]);
    chromium::with_browser(async |client, table| {
        refuse_other_pages(client, &url).await?;
        table.row("the page of another server connects", "is refused");

        client.goto(&url).await?;
        shows(client, "#state[data-state=open]").await?;
        say(client, "good morning, Jürgen").await?;
        shows_text(client, "received", "GOOD MORNING, JÜRGEN").await?;
        assert_eq!(text(client, "sent-bytes").await?, "22");
        shows_text(client, "received-bytes", "22").await?;
        let received = text(client, "received").await?;
        table.row("the page talks to the service", format!("it shows {received:?}"));
        save_screenshot(client, "axum-open.png").await?;

        say(client, "quit").await?;
        let seen = closed(client).await?;
        assert_eq!(seen, ["1000", "the service has ended", "yes"]);
        table.row("the service ends", format!("the page sees {seen:?}"));
        server.says("closed cleanly with code 1000");

        click(client, "connect").await?;
        click(client, "close").await?;
        let seen = closed(client).await?;
        assert_eq!(seen, ["4000", "closed in the browser", "yes"]);
        table.row("the page closes", format!("it sees {seen:?}"));
        server.says("closed cleanly with code 4000");

        let said = leave(client, &url, &server).await?;
        table.row("a tab is closed amid a transfer", format!("the example says {said:?}"));

        click(client, "connect").await?;
        say(client, "still there?").await?;
        shows_text(client, "received", "STILL THERE?").await?;
        server.signal("INT");
        let seen = closed(client).await?;
        assert_eq!(seen, ["1001", "the server is going away", "yes"]);
        table.row("the example gets Ctrl-C", format!("the page sees {seen:?}"));
        save_screenshot(client, "axum-closed.png").await?;
        server.says("closed cleanly with code 1001");
        assert!(server.end().success());
        Ok(())
    });
}

/// What our own page may do, that of another server may not.
async fn refuse_other_pages(client: &Client, url: &str) -> Result<(), CmdError> {
    let (_other, other_url) = serve(&[]);
    for (page, opens) in [(url, true), (&other_url, false)] {
        client.goto(page).await?;
        let opened = client.execute_async(OPENS, vec![json!(websocket(url))]).await?;
        assert_eq!(opened, json!(opens), "from {page} to {url}");
    }
    Ok(())
}

/// In a tab of its own, the page is in the middle of a transfer when the tab is closed. Returns what the
/// example says of that.
async fn leave(client: &Client, url: &str, server: &Program) -> Result<String, CmdError> {
    let first = client.window().await?;
    client.switch_to_window(client.new_window(true).await?.handle).await?;
    client.goto(url).await?;
    click(client, "close").await?;
    server.says("closed in the browser");
    client.execute_async(FLOOD, vec![json!(websocket(url))]).await?;
    let open = server.says(": open");
    client.close_window().await?;
    let said = server.says(open.trim_end_matches("open"));
    client.switch_to_window(first).await?;
    Ok(said)
}

async fn say(client: &Client, words: &str) -> Result<(), CmdError> {
    client.find(Locator::Id("text")).await?.send_keys(words).await?;
    click(client, "send").await
}

/// Waits until the page is not connected any more. Returns how that ended.
async fn closed(client: &Client) -> Result<[String; 3], CmdError> {
    shows(client, "#state[data-state=closed]").await?;
    close_event(client).await
}

/// Whether this page gets a websocket.
const OPENS: &str = "
    const [url, done] = arguments;
    const socket = new WebSocket(url);
    socket.onopen = () => { socket.onclose = () => done(true); socket.close(); };
    socket.onclose = () => done(false);
";

/// Sends lines for ever. Done when it has got many of them back.
const FLOOD: &str = "
    const [url, done] = arguments;
    const socket = new WebSocket(url);
    const lines = new TextEncoder().encode(('x'.repeat(1000) + '\\n').repeat(32));
    const send = () => {
        while (socket.bufferedAmount < 1024 * 1024) socket.send(lines);
        setTimeout(send, 1);
    };
    let received = 0;
    socket.onopen = send;
    socket.onmessage = ({ data }) => {
        received += data.size;
        if (received > 1024 * 1024) done();
    };
";

// ---- node ----

#[tokio::test]
async fn bytes_go_both_ways_at_once() {
    let (listener, server, url) = serve_ours(&[]).await;
    let script = connect(
        &url,
        &json!({ "protocols": ["soap", "bytes"] }),
        &["exchange", &TOTAL.to_string()],
    );
    let service = accept(&listener).await;
    assert_eq!(script.says("protocol "), "protocol bytes");
    let (mut read, mut write) = service.into_split();
    let ours = noise(1, TOTAL);
    let (received, sent) = join!(receive(&mut read), within(write.write_all(&ours)));
    sent.unwrap();
    assert_eq!(received, theirs());
    script.says(&format!("received {}", blake3::hash(&ours)));
    // the service ends
    drop((read, write));
    assert_eq!(closed_at(&script), "closed 1000 the service has ended");
    server.says("closed cleanly with code 1000");
}

#[tokio::test]
async fn all_that_a_client_sent_before_it_closed_reaches_a_service_that_is_sending() {
    let (listener, server, url) = serve_ours(&[]).await;
    let script = connect(&url, &json!({}), &["upload", &TOTAL.to_string()]);
    let (mut read, mut write) = accept(&listener).await.into_split();
    let sending = async { while write.write_all(&[7; 1024]).await.is_ok() {} };
    let receiving = async {
        assert_eq!(receive(&mut read).await, theirs());
        assert_eq!(read.read(&mut [0]).await.unwrap(), 0, "end of file");
    };
    select! {
        () = sending => panic!("the service can't send to the end"),
        () = within(receiving) => {}
    }
    drop((read, write));
    assert_eq!(closed_at(&script), "closed 1000 that was all");
    server.says("closed cleanly with code 1000");
}

#[tokio::test]
async fn a_client_that_breaks_off_is_a_reset_to_the_service() {
    let (listener, server, url) = serve_ours(&[]).await;
    let script = connect(&url, &json!({}), &["listen"]);
    let mut service = accept(&listener).await;
    script.says("protocol ");
    drop(script);
    let error = within(service.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    server.says("without a close frame");
}

#[tokio::test]
async fn a_service_that_breaks_off_is_code_1011_to_the_client() {
    let (listener, server, url) = serve_ours(&[]).await;
    let script = connect(&url, &json!({}), &["flood"]);
    let mut service = accept(&listener).await;
    service.read_exact(&mut vec![0; 1024 * 1024]).await.unwrap();
    service.set_zero_linger().unwrap();
    drop(service);
    assert_eq!(closed_at(&script), "closed 1011 the connection to the service failed");
    server.says("reset");
}

#[tokio::test]
async fn requests_are_refused_with_the_status_that_fits() {
    let (listener, server, url) = serve_ours(&[]).await;
    let refused = async |options: Value| {
        let script = connect(&url, &options, &["listen"]);
        script.says("refused ").trim_end().to_owned()
    };
    assert_eq!(refused(json!({ "origin": "http://elsewhere.example" })).await, "refused 403");
    assert_eq!(refused(json!({ "protocolVersion": 8 })).await, "refused 426 13");
    // the service is down
    drop(listener);
    assert_eq!(refused(json!({})).await, "refused 502");
    server.says("Connection refused");
}

#[tokio::test]
async fn the_end_of_the_server_waits_for_who_answers_and_not_for_who_does_not() {
    let (listener, mut server, url) = serve_ours(&["--patience", "3"]).await;
    let idle = connect(&url, &json!({}), &["listen"]);
    let _idle_service = accept(&listener).await;
    let stuck = connect(&url, &json!({}), &["flood"]);
    let _service_that_does_not_read = accept(&listener).await;
    let asleep = connect(&url, &json!({}), &["sleep"]);
    let _service = accept(&listener).await;
    for script in [&idle, &stuck, &asleep] {
        script.says("protocol ");
    }
    server.signal("TERM");
    for script in [&idle, &stuck] {
        assert_eq!(closed_at(script), "closed 1001 the server is going away");
    }
    server.says("did not close in time: 1");
    assert!(server.end().success());
    assert!(TcpStream::connect(url.trim_start_matches("http://")).await.is_err());
}

/// Starts the example with a service that is here.
async fn serve_ours(options: &[&str]) -> (TcpListener, Program, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (server, url) = serve(&[options, &["--to", &address]].concat());
    (listener, server, url)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    within(listener.accept()).await.unwrap().0
}

/// Starts a client, with options of `ws`.
fn connect(url: &str, options: &Value, scene: &[&str]) -> Program {
    let mut script = node("peer.mjs");
    script.env("OPTIONS", options.to_string()).args(["connect", &websocket(url)]).args(scene);
    Program::start(&mut script)
}

/// What a client says of how its connection closed.
fn closed_at(script: &Program) -> String {
    script.says("closed ").trim_end().to_owned()
}

/// Reads some bytes. Returns their hash.
async fn receive(read: &mut OwnedReadHalf) -> Hash {
    let mut bytes = vec![0; TOTAL];
    within(read.read_exact(&mut bytes)).await.unwrap();
    blake3::hash(&bytes)
}

/// The hash of what the script sends.
fn theirs() -> Hash {
    let mut hasher = Hasher::new();
    let bytes = Hasher::new().update(b"theirs").finalize_xof().take(TOTAL as u64);
    hasher.update_reader(bytes).unwrap();
    hasher.finalize()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("it hangs")
}

// ---- the example ----

/// Starts the example. Returns the address of its page too.
fn serve(options: &[&str]) -> (Program, String) {
    let options = [&["--port", "0"], options].concat();
    let server = Program::start(&mut example("axum", &options));
    let listening = server.says("listening on ");
    (server, listening.rsplit(' ').next().unwrap().to_owned())
}

fn websocket(url: &str) -> String {
    format!("{}/service", url.replace("http", "ws"))
}

/// How much goes in one direction, in bytes. More than fits in all buffers between.
const TOTAL: usize = 16 * 1024 * 1024;
