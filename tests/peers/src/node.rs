//! node, with modules of npm.

use std::{fs, process::Command};

use crate::{here, install, installing, run, tools};

/// A script in the directory `node`, with the modules that it needs.
pub fn node(script: &str) -> Command {
    install(&PROGRAMS);
    let tools = tools("node");
    let alone = installing();
    if !MODULES.iter().all(|(name, version)| is_installed(name, version)) {
        let modules = MODULES.map(|(name, version)| format!("{name}@{version}"));
        let options = ["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"];
        run(Command::new("npm").current_dir(&tools).args(options).args(modules));
    }
    drop(alone);
    let mut node = Command::new("node");
    node.env("TOOLS", tools).arg(here().join("node").join(script));
    node
}

/// The name of `ws`, with the versions of it and of node.
pub fn version_of_ws() -> String {
    install(&PROGRAMS);
    let [(name, ws), _] = MODULES;
    let version = run(Command::new("node").arg("--version"));
    format!("{name} {ws} of node {}", version.trim())
}

fn is_installed(name: &str, version: &str) -> bool {
    let package = tools("node").join("node_modules").join(name).join("package.json");
    let package = fs::read_to_string(package).unwrap_or_default();
    package.contains(&format!("\"version\": \"{version}\""))
}

const PROGRAMS: [(&str, &str); 2] = [("node", "nodejs"), ("npm", "npm")];
const MODULES: [(&str, &str); 2] = [("ws", "8.23.0"), ("@noble/hashes", "1.8.0")];
