//! What the tests with real peers share: programs that are installed and run, and tables of what passed.

use std::{
    env, fmt, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::{Mutex, MutexGuard, PoisonError},
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

mod data;
mod node;
#[path = "../../it/program.rs"]
mod program;

pub use data::{assert_same, message, noise};
pub use node::{node, version_of_ws};
pub use program::{PATIENCE, Program};

/// Installs the Debian packages whose programs are not there.
pub fn install(programs_and_packages: &[(&str, &str)]) {
    let _alone = installing();
    let mut missing = programs_and_packages.iter().filter(|(program, _)| !is_there(program));
    let Some(first) = missing.next() else { return };
    let packages = [first].into_iter().chain(missing).map(|(_, package)| package);
    run(Command::new("apt-get").args(["update", "-qq"]));
    run(Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(["install", "-qq", "--yes", "--no-install-recommends"])
        .args(packages));
}

/// Tests run side by side, what installs does not.
fn installing() -> MutexGuard<'static, ()> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    INSTALLING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_there(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // where Debian has what only administrators run
    env::split_paths(&path).chain(["/usr/sbin".into()]).any(|place| place.join(program).is_file())
}

/// Runs a program to its end and returns what it wrote to its standard output.
/// If it fails, the panic has all that it wrote.
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}{complained}", output.status);
    said.into_owned()
}

/// A directory for what is installed by `name`. What is in it may be there from the last time.
pub fn tools(name: &str) -> PathBuf {
    let path = here().join("target/tools").join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

/// Where this package is: the programs of peers are in its directories.
pub fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The version of a library that these tests use.
pub fn version(library: &str) -> String {
    let lock = fs::read_to_string(here().join("Cargo.lock")).unwrap();
    let name = format!("name = \"{library}\"\nversion = \"");
    let (_, rest) = lock.split_once(&name).unwrap_or_else(|| panic!("{library} is not used"));
    rest.split('"').next().unwrap().to_owned()
}

/// An example of the crate, built. In the profile of the tests, as a release takes minutes to build.
pub fn example(name: &str, arguments: &[&str]) -> Command {
    let messages = run(Command::new(env!("CARGO")).current_dir(here().join("../..")).args([
        "build",
        "--quiet",
        "--all-features",
        "--message-format=json",
        "--example",
        name,
    ]));
    // not by `cargo run`, which may wait for another cargo once more
    let mut example =
        Command::new(executable(&messages).expect("cargo names the program it built"));
    example.args(arguments);
    example
}

/// The last program among those that cargo says it built.
fn executable(messages: &str) -> Option<String> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut programs = messages.filter_map(|message| Some(message["executable"].as_str()?.into()));
    programs.next_back()
}

impl Program {
    /// Sends it a signal, `TERM` for instance.
    pub fn signal(&self, signal: &str) {
        let kill = ["-c", "kill -s $0 $1", signal, &self.child.id().to_string()];
        run(Command::new("sh").args(kill));
    }

    /// Waits until it ends by itself.
    pub fn end(&mut self) -> ExitStatus {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            sleep(Duration::from_millis(20));
        }
        panic!("it does not end");
    }
}

/// What was tried with a peer, and how it went.
pub struct Table {
    title: String,
    rows: Vec<(String, String)>,
}

impl Table {
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    pub fn row(&mut self, what: impl Into<String>, how: impl Into<String>) {
        self.rows.push((what.into(), how.into()));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
        writeln!(f, "{}", self.title)?;
        for (what, how) in &self.rows {
            writeln!(f, "    {what:<width$}  {how}")?;
        }
        Ok(())
    }
}
