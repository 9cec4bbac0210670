//! `ws` for node.

mod endings;
mod scripts;

use std::process::Command;

use real_peers::{here, install, run, tools};
use scripts::Peer;

#[test]
fn ws_talks_to_us_as_client_and_as_server() {
    install(&[("node", "nodejs"), ("npm", "npm")]);
    let tools = tools("node");
    if !MODULES.iter().all(|(name, version)| is_installed(name, version)) {
        let modules = MODULES.map(|(name, version)| format!("{name}@{version}"));
        let options = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"];
        run(Command::new("npm").current_dir(&tools).args(options).args(modules));
    }
    let version = run(Command::new("node").arg("--version"));
    let [(name, ws), _] = MODULES;
    let peer = Peer {
        name: format!("{name} {ws} of node {}", version.trim()),
        script,
        limit: 100 * 1024 * 1024,
        usual_close_code: 1005,
    };
    peer.meet();
}

fn script() -> Command {
    let mut node = Command::new("node");
    node.env("TOOLS", tools("node")).arg(here().join("node/peer.mjs"));
    node
}

fn is_installed(name: &str, version: &str) -> bool {
    let package = tools("node").join("node_modules").join(name).join("package.json");
    let package = std::fs::read_to_string(package).unwrap_or_default();
    package.contains(&format!("\"version\": \"{version}\""))
}

const MODULES: [(&str, &str); 2] = [("ws", "8.23.0"), ("@noble/hashes", "1.8.0")];
