//! Serves a page that talks to a TCP service through a websocket, in axum, and shuts down gracefully.
//!
//! `cargo run --features axum,tokio_io --example axum` prints the address to open; it serves until
//! Ctrl-C. The service is one in this process that answers lines in upper case, or, with `-- --to ADDR`,
//! any other.
//!
//! TCP can end one direction and keep the other, a websocket can't. So a connection ends as a whole:
//!
//! | what happens | the client gets | the service gets |
//! | --- | --- | --- |
//! | the client closes | the answer to its close frame | all that was sent before, and end of file |
//! | the service ends | all that was sent before, and close code 1000 | the same |
//! | the service breaks off, or does not read | close code 1011 | a reset |
//! | the client breaks off, or does not read | – | a reset |
//! | the server shuts down | close code 1001 | a reset |

use std::{
    io::{
        self,
        ErrorKind::{BrokenPipe, NotConnected},
    },
    net::{Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use axum::{
    Router,
    extract::{ConnectInfo, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, Response},
    routing::{any, get},
    serve::{Listener, ListenerExt},
};
use clap::Parser;
use futures::{SinkExt, StreamExt, future};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, sink, split},
    join,
    net::{TcpListener, TcpStream},
    select,
    signal::ctrl_c,
    time::timeout,
};
use tokio_util::{
    codec::{Framed, LinesCodec},
    sync::CancellationToken,
    task::TaskTracker,
};
use ws_stream_tungstenite::{CloseEvent, UncleanEnd, Upgraded, WsConfig, WsStream, WsUpgrade};

/// Serves a page that talks to a TCP service through a websocket, until Ctrl-C.
#[derive(Parser)]
struct Cli {
    /// Where to listen, on 127.0.0.1; with 0, the system chooses
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Address of the TCP service [default: one in this process, which answers in upper case]
    #[arg(long, value_name = "ADDR")]
    to: Option<String>,
    /// How long to wait, at the end, for those who are still connected
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    patience: u64,
}

/// What the requests share.
struct Server {
    /// Address of the TCP service.
    service: String,
    /// The origins of our page.
    origins: [String; 2],
    config: WsConfig,
    websockets: TaskTracker,
    shutdown: CancellationToken,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, cli.port));
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let service = match cli.to {
        Some(service) => service,
        None => start_service().await?.to_string(),
    };
    println!("connecting pages to {service}, listening on http://{address}");

    let server = Arc::new(Server {
        service,
        origins: ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{}", address.port())),
        config: WsConfig::new()
            // what broke off is not to be taken for the end of what the client had to say
            .unclean_end(UncleanEnd::Error)
            .close_frame(1000, "the service has ended")?,
        websockets: TaskTracker::new(),
        shutdown: CancellationToken::new(),
    });
    let app = Router::new()
        .route("/", get(Html(HTML)))
        .route("/style.css", get(([(CONTENT_TYPE, "text/css")], CSS)))
        .route("/page.js", get(([(CONTENT_TYPE, "text/javascript")], SCRIPT)))
        .route("/service", any(connect))
        .with_state(server.clone())
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|tcp| drop(tcp.set_nodelay(true)));
    let serving = axum::serve(listener, app)
        .with_graceful_shutdown(server.shutdown.clone().cancelled_owned());
    let serving = tokio::spawn(serving.into_future());

    stop_signal().await?;
    println!("shutting down");
    server.shutdown.cancel();
    let all_served = async {
        serving.await??;
        // axum has waited for requests, but not for what has become a websocket
        server.websockets.close();
        server.websockets.wait().await;
        anyhow::Ok(())
    };
    match timeout(Duration::from_secs(cli.patience), all_served).await {
        Ok(served) => served?,
        Err(_) => println!("websockets that did not close in time: {}", server.websockets.len()),
    }
    Ok(())
}

/// Waits for Ctrl-C, or for what asks a service to end.
async fn stop_signal() -> io::Result<()> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    #[cfg(unix)]
    let terminated = terminate.recv();
    #[cfg(not(unix))]
    let terminated = future::pending::<()>();
    select! {
        interrupted = ctrl_c() => interrupted,
        _ = terminated => Ok(()),
    }
}

// ---- websockets ----

/// Makes the connection of a request a websocket to the service.
async fn connect(
    State(server): State<Arc<Server>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    upgrade: WsUpgrade,
) -> axum::response::Result<Response> {
    // not `same_origin`: without TLS, any name can be made to point here
    let upgrade = upgrade.allowed_origins(&server.origins)?.protocols(["bytes"]);
    // as long as it is a request, it can be refused with a status
    let tcp = connect_to_service(&server.service).await.map_err(|error| {
        println!("{client}: {error:#}");
        (StatusCode::BAD_GATEWAY, "the service can't be reached")
    })?;
    let tracked = server.websockets.token();
    Ok(upgrade.config(server.config.clone()).on_upgrade(move |stream| async move {
        println!("{client}: open");
        // a connection that fails is worth a line, not the end of the server
        match proxy(stream, tcp, &server.shutdown).await {
            Ok(end) => println!("{client}: {end}"),
            Err(error) => println!("{client}: {error:#}"),
        }
        drop(tracked);
    }))
}

async fn connect_to_service(address: &str) -> Result<TcpStream> {
    let tcp = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let tcp = tcp
        .with_context(|| format!("no answer from {address}"))?
        .with_context(|| format!("cannot connect to {address}"))?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// Connects the two until one of them, or the server, ends that. Returns how it ended.
async fn proxy(
    mut stream: WsStream<Upgraded>,
    mut tcp: TcpStream,
    shutdown: &CancellationToken,
) -> Result<String> {
    let meta = stream.meta();
    let (outcome, code, reason) = select! {
        exchanged = exchange(&mut stream, &mut tcp) => match exchanged {
            Ok(()) => return Ok(describe(&meta.closed().await)),
            Err(error) => (format!("{error:#}; "), 1011, "the connection to the service failed"),
        },
        () = shutdown.cancelled() => (String::new(), 1001, "the server is going away"),
    };
    // a reset, as end of file would say that this was everything
    tcp.set_zero_linger()?;
    drop(tcp);
    // the close frame needs somebody who reads, to the end: what is in the way is discarded
    let reading = async { tokio::io::copy(&mut stream, &mut sink()).await };
    let closing = timeout(STALL_TIMEOUT, async { join!(meta.close(code, reason), reading).0 });
    let end = closing.await.with_context(|| format!("{outcome}the client does not close"))??;
    Ok(format!("{outcome}{}", describe(&end)))
}

/// Copies both ways until both have ended.
async fn exchange(stream: &mut WsStream<Upgraded>, tcp: &mut TcpStream) -> Result<()> {
    let (from_client, to_client) = split(stream);
    let (from_service, to_service) = tcp.split();
    let there = pin!(copy(from_client, to_service));
    let back = pin!(copy(from_service, to_client));
    let (first, other) = future::select(there, back).await.factor_first();
    first?;
    timeout(STALL_TIMEOUT, other).await.context("one side ended, the other does not")?
}

/// Copies to end of file, and passes that on.
async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut is_open = true;
    loop {
        let length = from.read(&mut buffer).await?;
        if is_open {
            let passed_on = timeout(STALL_TIMEOUT, pass_on(&buffer[..length], &mut to)).await;
            match passed_on.context("one side does not read")? {
                // A websocket that is closed, a service that has ended: nothing is wrong. What it said
                // before may still be on its way, and the other direction reads it. So go on.
                Err(error) if [NotConnected, BrokenPipe].contains(&error.kind()) => is_open = false,
                passed_on => passed_on?,
            }
        }
        if length == 0 {
            return Ok(());
        }
    }
}

/// Nothing stands for end of file.
async fn pass_on(bytes: &[u8], to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    match bytes {
        [] => to.shutdown().await,
        _ => to.write_all(bytes).await,
    }
}

fn describe(CloseEvent { code, reason, was_clean }: &CloseEvent) -> String {
    let how = if *was_clean { "cleanly" } else { "uncleanly" };
    format!("closed {how} with code {code} and reason {reason:?}")
}

// ---- a service to try it with ----

async fn start_service() -> Result<SocketAddr> {
    let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        loop {
            // axum's, which waits when there are too many connections
            let (tcp, _) = Listener::accept(&mut listener).await;
            tokio::spawn(answer(tcp));
        }
    });
    Ok(address)
}

/// Answers each line in upper case, until `quit`.
async fn answer(tcp: TcpStream) -> Result<()> {
    let mut lines = Framed::new(tcp, LinesCodec::new_with_max_length(MAX_LINE));
    while let Some(line) = lines.next().await {
        match line?.as_str() {
            "quit" => break,
            line => lines.send(line.to_uppercase()).await?,
        }
    }
    Ok(())
}

const HTML: &str = include_str!("axum/index.html");
const CSS: &str = concat!(include_str!("page.css"), include_str!("axum/style.css"));
const SCRIPT: &str = include_str!("axum/page.js");

/// How long the service may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long one side may take nothing of what it is sent, or go on after the other has ended. Being
/// silent is not limited.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// How much is read at once, in bytes. As much as [`WsStream`] puts into one message.
const BUFFER: usize = 64 * 1024;

/// The longest line that the service takes, in bytes.
const MAX_LINE: usize = 8 * 1024;
