//! When, where and with what something was measured.

use std::{collections::BTreeMap, fs, io, process::Command};

use serde_json::{Value, json};

pub(crate) fn date() -> io::Result<String> {
    stdout("date", &["--utc", "+%F"])
}

pub(crate) fn description() -> io::Result<Value> {
    Ok(json!({
        "processor": field("/proc/cpuinfo", "model name")?,
        "cores": std::thread::available_parallelism()?,
        "memory": field("/proc/meminfo", "MemTotal")?,
        "kernel": stdout("uname", &["-sr"])?,
    }))
}

pub(crate) fn versions() -> io::Result<Value> {
    let lock = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"))?;
    let crates: BTreeMap<_, _> =
        CRATES.into_iter().map(|name| (name, locked(&lock, name))).collect();
    Ok(json!({
        "commit": stdout("git", &["describe", "--always", "--dirty"])?,
        "rustc": stdout("rustc", &["--version"])?,
        "crates": crates,
    }))
}

/// The versions of a crate that a lock file has.
fn locked<'a>(lock: &'a str, name: &str) -> Vec<&'a str> {
    let package = format!("name = \"{name}\"\nversion = \"");
    lock.split(&package).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

/// What follows the first such name in a file of names and values.
fn field(path: &str, name: &str) -> io::Result<Option<String>> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    Ok(line.map(|value| value.trim_matches([' ', '\t', ':']).to_owned()))
}

fn stdout(program: &str, args: &[&str]) -> io::Result<String> {
    let output =
        Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Those with a part in the figures.
const CRATES: [&str; 4] = ["ws_stream_tungstenite", "async-tungstenite", "tungstenite", "tokio"];
