//! Driving headless Chromium.

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
use real_peers::{PATIENCE, Program, Table, install};
use serde_json::json;
use tokio::time::{sleep, timeout};

/// Starts Chromium, has `visits` use it, and ends it whatever comes of that.
pub fn with_browser(visits: impl AsyncFnOnce(&Client, &mut Table) -> Result<(), CmdError>) {
    install(&[("chromium", "chromium"), ("chromedriver", "chromium-driver")]);
    let driver = Program::start(Command::new("chromedriver").arg("--port=0"));
    let started = driver.says("successfully on port ");
    let port = started.rsplit(' ').next().unwrap().trim_end_matches('.');

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = connect(&format!("http://127.0.0.1:{port}")).await.unwrap();
        let mut table = Table::new(name_of(&client));
        let visits = timeout(4 * PATIENCE, visits(&client, &mut table));
        let visited = AssertUnwindSafe(visits).catch_unwind().await;
        // Chromium tidies up if it is asked to leave; that it leaves is up to its debugging pipe
        let _ = timeout(PATIENCE, client.close()).await;
        println!("{table}");
        match visited {
            Ok(visited) => visited.expect("the test hangs").unwrap(),
            Err(panic) => resume_unwind(panic),
        }
    });
}

/// Waits until the page has an element.
pub async fn shows(client: &Client, selector: &str) -> Result<(), CmdError> {
    let wait = client.wait().at_most(PATIENCE).every(POLL_PAUSE);
    wait.for_element(Locator::Css(selector)).await.map(drop)
}

/// Waits until an element has these words.
pub async fn shows_text(client: &Client, id: &str, words: &str) -> Result<(), CmdError> {
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
pub async fn click(client: &Client, id: &str) -> Result<(), CmdError> {
    shows(client, &format!("#{id}:enabled")).await?;
    client.find(Locator::Id(id)).await?.click().await
}

pub async fn text(client: &Client, id: &str) -> Result<String, CmdError> {
    client.find(Locator::Id(id)).await?.text().await
}

/// Code, reason, and whether it was clean.
pub async fn close_event(client: &Client) -> Result<[String; 3], CmdError> {
    Ok([
        text(client, "close-code").await?,
        text(client, "close-reason").await?,
        text(client, "close-clean").await?,
    ])
}

pub async fn save_screenshot(client: &Client, name: &str) -> Result<(), CmdError> {
    let path = scratch().join(name);
    fs::write(&path, client.screenshot().await?).unwrap();
    println!("screenshot: {}", path.display());
    Ok(())
}

fn name_of(client: &Client) -> String {
    let capabilities = client.capabilities();
    let word = |name: &str| capabilities.and_then(|all| all.get(name)?.as_str()).unwrap_or("?");
    format!("{} {}", word("browserName"), word("browserVersion"))
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
            "--ignore-certificate-errors", // those that a test makes
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

pub const POLL_PAUSE: Duration = Duration::from_millis(20);
