//! `websockets` for Python.

mod endings;
mod scripts;

use std::process::Command;

use real_peers::{here, install, run, tools};
use scripts::Peer;

#[test]
fn websockets_talks_to_us_as_client_and_as_server() {
    install(&[("virtualenv", "virtualenv")]);
    let tools = tools("python");
    let pip = tools.join("bin/pip");
    if !pip.exists() {
        run(Command::new("virtualenv").arg(&tools));
    }
    let installed = run(Command::new(&pip).arg("freeze"));
    if !PACKAGES.iter().all(|package| installed.lines().any(|line| line == *package)) {
        run(Command::new(&pip).args(["install", "--quiet"]).args(PACKAGES));
    }
    let version = run(script_less().arg("--version"));
    let peer = Peer {
        name: format!("{} of {}", PACKAGES[0], version.trim()),
        script,
        limit: 1024 * 1024,
        usual_close_code: 1000,
    };
    peer.meet();
}

fn script() -> Command {
    let mut python = script_less();
    python.arg(here().join("python/peer.py"));
    python
}

fn script_less() -> Command {
    Command::new(tools("python").join("bin/python"))
}

const PACKAGES: [&str; 2] = ["websockets==17.4", "blake3==1.0.11"];
