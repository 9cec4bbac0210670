//! A browser: the page of the example `browser` in headless Chromium, and other scripts there.

mod chromium;
mod endings;
mod pages;

use std::fmt;

use async_tungstenite::tokio::TokioAdapter;
use fantoccini::{Client, Locator, error::CmdError};
use real_peers::{PATIENCE, Program, Table, example};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use ws_stream_tungstenite::WsStream;

use crate::{
    chromium::{click, close_event, save_screenshot, shows, shows_text, text},
    pages::{Endpoint, Flood, close_with_codes},
};

#[test]
fn it_echoes_sees_how_connections_close_and_leaves_in_the_middle_of_a_transfer() {
    let (server, url) = serve();
    chromium::with_browser(async |client, table| {
        visit(client, &url, &server, table).await?;
        close_with_codes(client, &mut listen().await, table).await?;
        for departure in [Departure::Tab, Departure::Reload] {
            leave(departure, client, &url, &server, table).await?;
        }
        Ok(())
    });
}

// ---- the page of the example ----

async fn visit(
    client: &Client,
    url: &str,
    server: &Program,
    table: &mut Table,
) -> Result<(), CmdError> {
    client.goto(url).await?;
    shows(client, "#state[data-state=open]").await?;

    send_mib(client, "64").await?;
    shows(client, "#verdict:is([data-outcome=good], [data-outcome=bad])").await?;
    let verdict = text(client, "verdict").await?;
    assert!(verdict.starts_with("All 64 MiB came back as they were sent"), "{verdict}");
    table.row("the page sends 64 MiB to the example", verdict);
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
    let seen = close_event(client).await?.join(", ");
    table.row("the example closes amid a transfer", format!("the page sees {seen}"));
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Departure {
    Tab,
    Reload,
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tab => "a tab is closed amid a transfer",
            Self::Reload => "a page is reloaded amid a transfer",
        })
    }
}

/// In a tab of its own, the page talks to the example, and a script to a server here. Both are in the
/// middle of a transfer when the tab is closed, or the page reloaded.
async fn leave(
    departure: Departure,
    client: &Client,
    url: &str,
    server: &Program,
    table: &mut Table,
) -> Result<(), CmdError> {
    let first = client.window().await?;
    client.switch_to_window(client.new_window(true).await?.handle).await?;
    client.goto(url).await?;
    let opened = server.says(": open");
    send_mib(client, "4096").await?;
    shows(client, "#received-rate:not(:empty)").await?;

    let flood = Flood::begin(client, &mut listen().await).await?;
    match departure {
        Departure::Tab => drop(client.close_window().await?),
        Departure::Reload => client.refresh().await?,
    }
    let gone = flood.end().await;
    let said = server.says(opened.trim_end_matches("open"));
    table.row(departure.to_string(), format!("we see {gone:?}; the example says: {said}"));
    if departure == Departure::Reload {
        click(client, "close").await?;
        server.says("closed in the browser");
        client.close_window().await?;
    }
    client.switch_to_window(first).await?;
    // the example serves on, and knows of no other connection
    click(client, "connect").await?;
    shows(client, "#state[data-state=open]").await?;
    click(client, "ask-server").await?;
    shows_text(client, "answer", "closed cleanly with code 1001").await?;
    let answer = text(client, "answer").await?;
    assert_eq!(answer.matches("connection").count(), 1, "{answer}");
    server.says("echoed ");
    Ok(())
}

// ---- a server here ----

impl Endpoint for TcpListener {
    type Transport = TokioAdapter<TcpStream>;

    const END_MAY_SILENCE: bool = false;

    fn url(&self) -> String {
        format!("ws://{}/", self.local_addr().unwrap())
    }

    async fn accept(&mut self) -> WsStream<Self::Transport> {
        let accepted = timeout(PATIENCE, TcpListener::accept(self)).await;
        let (tcp, _) = accepted.expect("it connects").unwrap();
        WsStream::accept(TokioAdapter::new(tcp), None).await.unwrap()
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

// ---- the example ----

/// Starts the example. Returns the address of its page too.
fn serve() -> (Program, String) {
    let server = Program::start(&mut example("browser", &["--port", "0"]));
    let listening = server.says("listening on ");
    (server, listening.rsplit(' ').next().unwrap().to_owned())
}

/// Starts a transfer.
async fn send_mib(client: &Client, mib: &str) -> Result<(), CmdError> {
    let amount = client.find(Locator::Id("amount")).await?;
    amount.clear().await?;
    amount.send_keys(mib).await?;
    click(client, "send").await
}

async fn number(client: &Client, id: &str) -> Result<f64, CmdError> {
    let text = text(client, id).await?;
    Ok(text.parse().unwrap_or_else(|_| panic!("{id} is not a number: {text}")))
}
