//! `ws` for node.

mod endings;
mod scripts;

use std::process::Command;

use real_peers::{node, version_of_ws};
use scripts::Peer;

#[test]
fn ws_talks_to_us_as_client_and_as_server() {
    let peer =
        Peer { name: version_of_ws(), script, limit: 100 * 1024 * 1024, usual_close_code: 1005 };
    peer.meet();
}

fn script() -> Command {
    node("peer.mjs")
}
