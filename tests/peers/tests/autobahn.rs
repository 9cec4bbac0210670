//! Autobahn|Testsuite: its fuzzing client against the server of the example `echo`, and its fuzzing
//! server against a client that echoes.

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs::{self, File},
    io::ErrorKind,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use async_tungstenite::tokio::TokioAdapter;
use futures::{AsyncReadExt, AsyncWriteExt};
use real_peers::{PATIENCE, Program, Table, example, here, install, run, tools};
use serde::Deserialize;
use tokio::{net::TcpStream, time::timeout};
use ws_stream_tungstenite::{TextMessages, WsConfig, WsStream};

#[test]
fn its_fuzzing_client_finds_no_fault_with_a_server() {
    let server = Program::start(&mut example("echo", &["serve", "127.0.0.1:0"]));
    let url = address(&server);
    judge("server", |kind, report| {
        run(suite(kind, report, "client").arg(&url));
    });
}

#[test]
fn its_fuzzing_server_finds_no_fault_with_a_client() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    judge("client", |kind, report| {
        let server = Program::start(&mut suite(kind, report, "server"));
        let cases = run_cases(address(&server));
        runtime.block_on(async { timeout(20 * PATIENCE, cases).await }).expect("the client hangs");
    });
}

// ---- the suite ----

fn suite(kind: &str, report: &Path, role: &str) -> Command {
    let mut suite = Command::new("python3");
    suite
        .env("PYTHONPATH", INSTALLED.join("site"))
        .args(["-W", "ignore"])
        .arg(here().join("autobahn/fuzz.py"))
        .args([role, kind])
        .arg(report);
    suite
}

/// Where it is installed. Both tests do this, and one waits for the other.
static INSTALLED: LazyLock<PathBuf> = LazyLock::new(|| {
    install(&[("python3", "python3"), ("pip3", "python3-pip")]);
    let place = tools("autobahn");
    run(Command::new("python3").arg(here().join("autobahn/install.py")).arg(&place));
    place
});

fn address(server: &Program) -> String {
    server.says("listening on ").rsplit(' ').next().unwrap().to_owned()
}

// ---- our client ----

async fn run_cases(server: String) {
    let count: u32 = ask(&format!("{server}/getCaseCount")).await.parse().unwrap();
    for case in 1..=count {
        echo(&format!("{server}/runCase?case={case}&agent=us")).await;
    }
    ask(&format!("{server}/updateReports?agent=us")).await;
}

/// Asks the fuzzing server something that is not a case: it answers with text.
async fn ask(url: &str) -> String {
    let mut answer = String::new();
    let mut stream = connect(url, TextMessages::PassBytes).await;
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Sends back what comes, as the server of the example does. How that ends, the suite judges.
async fn echo(url: &str) {
    let mut stream = connect(url, TextMessages::Refuse).await;
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        // a write may come too late, but reading has to go on until the end
        let _ = stream.write_all(&buffer[..length]).await;
    }
}

async fn connect(url: &str, text_messages: TextMessages) -> WsStream<TokioAdapter<TcpStream>> {
    let address = url.split('/').nth(2).unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let config = WsConfig::new().text_messages(text_messages);
    let connected = WsStream::connect(url, TokioAdapter::new(tcp), Some(config)).await;
    connected.unwrap_or_else(|error| panic!("{url}: {error}")).0
}

// ---- what came of it ----

/// Runs all cases, prints tables, and fails if a case went wrong for no reason that is known.
fn judge(who: &str, run_suite: impl Fn(&str, &Path)) {
    let mut faults = String::new();
    for kind in ["binary", "text"] {
        let report = report_of(who, kind);
        run_suite(kind, &report);
        let cases = serde_json::from_reader(File::open(&report).unwrap()).unwrap();
        println!("{}", table(&format!("Autobahn and our {who}, text sent as {kind}"), &cases));
        for (name, case) in cases {
            if let Verdict::Wrong = case.verdict(&name) {
                writeln!(faults, "{name}, text sent as {kind}: {case:#?}").unwrap();
            }
        }
    }
    assert!(faults.is_empty(), "our {who} and Autobahn's\n{faults}");
}

/// Where the suite will write. What it wrote the last time is gone.
fn report_of(who: &str, kind: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("autobahn-{who}-{kind}.json"));
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
        _ => path,
    }
}

fn table(title: &str, cases: &BTreeMap<String, Case>) -> Table {
    let mut table = Table::new(title);
    for (group, meaning) in GROUPS {
        let verdicts = cases.iter().filter(|(name, _)| name.starts_with(group));
        let verdicts: Vec<_> = verdicts.map(|(name, case)| case.verdict(name)).collect();
        let count = |verdict| verdicts.iter().filter(|other| **other == verdict).count();
        let mut how = format!("{} of {} passed", count(Verdict::Passed), verdicts.len());
        for (verdict, word) in [(Verdict::Refused, "refused"), (Verdict::Wrong, "WRONG")] {
            if count(verdict) > 0 {
                write!(how, ", {} {word}", count(verdict)).unwrap();
            }
        }
        for (index, reason) in REASONS.iter().enumerate() {
            let count = count(Verdict::Known(index));
            if count > 0 {
                write!(how, ", {count} {}: {}", reason.outcome, reason.why).unwrap();
            }
        }
        table.row(format!("{group} {meaning}"), how);
    }
    table
}

/// What came of a case, in the words of the suite.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Case {
    outcome: String,
    close_outcome: String,
    close_code: Option<u16>,
    expected_close_codes: Vec<u16>,
    sent_text: bool,
    story: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Verdict {
    Passed,
    /// The case wants its text back, and a byte stream refuses text.
    Refused,
    /// Not passed, for one of [`REASONS`].
    Known(usize),
    Wrong,
}

impl Case {
    fn verdict(&self, name: &str) -> Verdict {
        let is_reason = |reason: &Reason| {
            reason.outcome == self.outcome && reason.cases.iter().any(|case| name.starts_with(case))
        };
        if self.outcome == "OK" && self.close_outcome == "OK" {
            Verdict::Passed
        } else if self.sent_text
            && self.close_code == Some(UNSUPPORTED)
            && !self.expected_close_codes.contains(&INVALID_UTF8)
        {
            Verdict::Refused
        } else if ["OK", "INFORMATIONAL", ""].contains(&&*self.close_outcome) {
            REASONS.iter().position(is_reason).map_or(Verdict::Wrong, Verdict::Known)
        } else {
            Verdict::Wrong
        }
    }
}

/// Why some cases end otherwise than the suite would like best.
struct Reason {
    /// What their names begin with.
    cases: &'static [&'static str],
    outcome: &'static str,
    why: &'static str,
}

const REASONS: &[Reason] = &[
    Reason {
        cases: &["6.3.", "6.4."],
        outcome: "LEFT OUT",
        why: "invalid UTF-8 is as good as any other data in binary",
    },
    Reason {
        cases: &["6.4.3", "6.4.4"],
        outcome: "NON-STRICT",
        why: "tungstenite checks UTF-8 when it has a whole frame",
    },
    Reason {
        cases: &["7.1.6", "7.13."],
        outcome: "INFORMATIONAL",
        why: "the RFC does not say what has to happen",
    },
    Reason {
        cases: &["9.7.1", "9.8.1"],
        outcome: "LEFT OUT",
        why: "nothing comes back of an empty message",
    },
    Reason {
        cases: &["12.", "13."],
        outcome: "UNIMPLEMENTED",
        why: "tungstenite has no permessage-deflate",
    },
];

const GROUPS: [(&str, &str); 11] = [
    ("1.", "Framing"),
    ("2.", "Pings and pongs"),
    ("3.", "Reserved bits"),
    ("4.", "Opcodes"),
    ("5.", "Fragmentation"),
    ("6.", "UTF-8"),
    ("7.", "Close handling"),
    ("9.", "Limits and performance"),
    ("10.", "Automatic fragmentation"),
    ("12.", "Compression, by payload"),
    ("13.", "Compression, by parameters"),
];

/// The close code of a text message that is refused.
const UNSUPPORTED: u16 = 1003;

const INVALID_UTF8: u16 = 1007;
