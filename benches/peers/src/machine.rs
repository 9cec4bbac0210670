//! When, where and with what a comparison was made.

use std::{collections::BTreeMap, fs, process::Command, thread};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setting {
    pub date: String,
    pub processor: String,
    pub cores: usize,
    pub kernel: String,
    pub rustc: String,
    /// The revision of this repository, with `-dirty` if it was changed since.
    pub revision: String,
    /// Those crates of `Cargo.lock` that take part or carry those that do.
    pub versions: BTreeMap<String, Vec<String>>,
}

impl Setting {
    /// The present one.
    pub fn now() -> Self {
        Self {
            date: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            processor: processor().unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| unknown(), |release| release.trim().to_owned()),
            rustc: env!("RUSTC_VERSION").to_owned(),
            revision: revision().unwrap_or_else(unknown),
            versions: versions(include_str!("../Cargo.lock")),
        }
    }

    /// All versions of a crate, for a caption.
    pub fn version(&self, name: &str) -> String {
        self.versions.get(name).map_or_else(unknown, |versions| versions.join(" and "))
    }
}

fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn revision() -> Option<String> {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn versions(lock: &str) -> BTreeMap<String, Vec<String>> {
    let mut versions = BTreeMap::<String, Vec<String>>::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| {
            let line = package.lines().find_map(|line| line.strip_prefix(key))?;
            Some(line.trim_matches([' ', '=', '"']).to_owned())
        };
        if let (Some(name), Some(version)) = (value("name"), value("version")) {
            if CRATES.contains(&name.as_str()) {
                versions.entry(name).or_default().push(version);
            }
        }
    }
    versions
}

fn unknown() -> String {
    "unknown".to_owned()
}

const CRATES: [&str; 8] = [
    "async-tungstenite",
    "fastwebsockets",
    "tokio",
    "tokio-tungstenite",
    "tokio-util",
    "tokio-websockets",
    "tungstenite",
    "ws_stream_tungstenite",
];
