//! A browser: the page of the example `browser` in headless Chromium.

use std::{
    fs,
    io::ErrorKind,
    panic::{AssertUnwindSafe, resume_unwind},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    error::{CmdError, NewSessionError},
    wd::Capabilities,
};
use futures::FutureExt;
use hyper_util::client::legacy::connect::HttpConnector;
use real_peers::{PATIENCE, Program, example, install};
use serde_json::json;
use tokio::time::{sleep, timeout};

#[test]
fn what_it_sends_comes_back_and_it_sees_how_the_connection_closes() {
    install(&[("chromium", "chromium"), ("chromedriver", "chromium-driver")]);
    let (server, url) = serve();
    let driver = Program::start(Command::new("chromedriver").arg("--port=0"));
    let started = driver.says("successfully on port ");
    let port = started.rsplit(' ').next().unwrap().trim_end_matches('.');

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = connect(&format!("http://127.0.0.1:{port}")).await.unwrap();
        let visit = timeout(4 * PATIENCE, visit(&client, &url, &server));
        let visited = AssertUnwindSafe(visit).catch_unwind().await;
        // Chromium tidies up if it is asked to leave; that it leaves is up to its debugging pipe
        let _ = timeout(PATIENCE, client.close()).await;
        match visited {
            Ok(visited) => visited.expect("the test hangs").unwrap(),
            Err(panic) => resume_unwind(panic),
        }
    });
}

async fn visit(client: &Client, url: &str, server: &Program) -> Result<(), CmdError> {
    client.goto(url).await?;
    shows(client, "#state[data-state=open]").await?;

    send_mib(client, "16").await?;
    shows(client, "#verdict:is([data-outcome=good], [data-outcome=bad])").await?;
    assert!(text(client, "verdict").await?.starts_with("All 16 MiB came back as they were sent"));
    for rate in ["sent-rate", "received-rate"] {
        assert!(number(client, rate).await? > 0.0);
    }
    shows(client, "#server-trip:not(:empty)").await?;
    for trip in ["page-trip", "server-trip"] {
        assert!(number(client, trip).await? > 0.0);
    }
    save_screenshot(client, "browser-open.png").await?;

    click(client, "ask-server").await?;
    shows(client, "#state[data-state=closed]").await?;
    assert_eq!(close_event(client).await?, ["1001", "the server is going away", "yes"]);
    let answer = "closed cleanly with code 1001";
    server.says(answer);
    shows_text(client, "answer", answer).await?;
    save_screenshot(client, "browser-closed.png").await?;

    click(client, "connect").await?;
    shows(client, "#state[data-state=open]").await?;
    assert_eq!(close_event(client).await?, ["", "", ""]);
    click(client, "close").await?;
    shows(client, "#state[data-state=closed]").await?;
    assert_eq!(close_event(client).await?, ["4000", "closed in the browser", "yes"]);
    let said = server.says("closed cleanly with code 4000");
    assert!(said.contains("closed in the browser"), "{said}");

    click(client, "connect").await?;
    send_mib(client, "4096").await?;
    shows(client, "#received-rate:not(:empty)").await?;
    click(client, "ask-server").await?;
    shows(client, "#state[data-state=closed]").await?;
    // not clean, says Chromium, as the page had given it more to send
    assert_eq!(close_event(client).await?[..2], ["1001", "the server is going away"]);
    server.says("closed cleanly with code 1001");
    Ok(())
}

/// Starts the example. Returns the address of its page too.
fn serve() -> (Program, String) {
    let server = Program::start(&mut example("browser", &["--port", "0"]));
    let listening = server.says("listening on ");
    (server, listening.rsplit(' ').next().unwrap().to_owned())
}

/// Waits until the page has an element.
async fn shows(client: &Client, selector: &str) -> Result<(), CmdError> {
    let wait = client.wait().at_most(PATIENCE).every(POLL_PAUSE);
    wait.for_element(Locator::Css(selector)).await.map(drop)
}

/// Waits until an element has these words.
async fn shows_text(client: &Client, id: &str, words: &str) -> Result<(), CmdError> {
    let start = Instant::now();
    while !text(client, id).await?.contains(words) {
        if start.elapsed() > PATIENCE {
            return Err(CmdError::WaitTimeout);
        }
        sleep(POLL_PAUSE).await;
    }
    Ok(())
}

/// Clicks a button as soon as it can be clicked.
async fn click(client: &Client, id: &str) -> Result<(), CmdError> {
    shows(client, &format!("#{id}:enabled")).await?;
    client.find(Locator::Id(id)).await?.click().await
}

/// Starts a transfer.
async fn send_mib(client: &Client, mib: &str) -> Result<(), CmdError> {
    let amount = client.find(Locator::Id("amount")).await?;
    amount.clear().await?;
    amount.send_keys(mib).await?;
    click(client, "send").await
}

async fn text(client: &Client, id: &str) -> Result<String, CmdError> {
    client.find(Locator::Id(id)).await?.text().await
}

async fn number(client: &Client, id: &str) -> Result<f64, CmdError> {
    let text = text(client, id).await?;
    Ok(text.parse().unwrap_or_else(|_| panic!("{id} is not a number: {text}")))
}

/// Code, reason, and whether it was clean.
async fn close_event(client: &Client) -> Result<[String; 3], CmdError> {
    Ok([
        text(client, "close-code").await?,
        text(client, "close-reason").await?,
        text(client, "close-clean").await?,
    ])
}

async fn save_screenshot(client: &Client, name: &str) -> Result<(), CmdError> {
    let path = scratch().join(name);
    fs::write(&path, client.screenshot().await?).unwrap();
    println!("screenshot: {}", path.display());
    Ok(())
}

/// Starts Chromium.
async fn connect(driver: &str) -> Result<Client, NewSessionError> {
    let mut capabilities = Capabilities::new();
    capabilities.insert(
        "goog:chromeOptions".into(),
        json!({ "args": [
            format!("--user-data-dir={}", new_profile().display()),
            "--window-size=1000,840", // 140 of it are not the page
            "--remote-debugging-pipe", // when chromedriver ends, it ends too
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]}),
    );
    ClientBuilder::new(HttpConnector::new()).capabilities(capabilities).connect(driver).await
}

/// The path of an empty profile: Chromium makes it.
fn new_profile() -> PathBuf {
    let profile = scratch().join("browser-profile");
    match fs::remove_dir_all(&profile) {
        Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
        _ => profile,
    }
}

fn scratch() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

const POLL_PAUSE: Duration = Duration::from_millis(20);
