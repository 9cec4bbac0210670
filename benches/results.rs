//! What the files in `results` have in common: when, where and with what something was measured.

use std::{collections::BTreeMap, fs, io, path::Path, process::Command, thread};

use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub(crate) date: String,
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// What built the program.
    pub(crate) rustc: String,
    /// The revision of this repository, with `-dirty` if it was changed since.
    pub(crate) revision: String,
    /// Those crates of the lock file that take part or carry those that do.
    pub(crate) versions: BTreeMap<String, Vec<String>>,
}

impl Setting {
    /// The present one, of a program with this lock file.
    pub(crate) fn now(lock: &str) -> Self {
        Self {
            date: stdout("date", &["--utc", "+%F %R UTC"]),
            processor: processor().unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(0, usize::from),
            kernel: stdout("uname", &["-r"]),
            rustc: env!("RUSTC_VERSION").to_owned(),
            revision: stdout("git", &["describe", "--always", "--dirty"]),
            versions: versions(lock),
        }
    }
}

/// Writes one result a line.
pub(crate) fn write(path: &Path, setting: &Setting, results: &[impl Serialize]) -> io::Result<()> {
    let setting = serde_json::to_string(setting)?;
    let results: Result<Vec<_>, _> = results.iter().map(serde_json::to_string).collect();
    let results = results?.join(",\n");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, format!("{{\"setting\":{setting},\n\"results\":[\n{results}\n]}}\n"))
}

pub(crate) fn unknown() -> String {
    "unknown".to_owned()
}

fn processor() -> Option<String> {
    let info = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
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

/// What a program says, asked in the folder of this package.
fn stdout(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => unknown(),
    }
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
