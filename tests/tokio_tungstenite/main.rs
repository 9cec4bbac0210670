//! The tests of `tests/it`, `tests/costs` and `tests/load` over the websocket of tokio-tungstenite.

mod backend;

#[path = "../it/support.rs"]
mod support;

#[path = "../it/api.rs"]
mod api;
#[path = "../it/choices.rs"]
mod choices;
#[path = "../it/closing.rs"]
mod closing;
#[path = "../it/collecting.rs"]
mod collecting;
#[path = "../it/control_frames.rs"]
mod control_frames;
#[path = "../it/events.rs"]
mod events;
#[cfg(feature = "handshake")]
#[path = "../it/faults.rs"]
mod faults;
#[path = "../it/handles.rs"]
mod handles;
#[path = "../it/limits.rs"]
mod limits;
#[path = "../it/log.rs"]
mod log;
#[path = "../it/messages.rs"]
mod messages;
#[path = "../it/properties.rs"]
mod properties;
#[path = "../it/reading.rs"]
mod reading;
#[path = "../it/simulation.rs"]
mod simulation;
#[path = "../it/tcp.rs"]
mod tcp;
#[path = "../it/timeouts.rs"]
mod timeouts;
#[cfg(feature = "tokio_io")]
#[path = "../it/tokio_io.rs"]
mod tokio_io;
#[path = "../it/two_halves.rs"]
mod two_halves;
#[path = "../it/violations.rs"]
mod violations;
#[path = "../it/writing.rs"]
mod writing;

#[path = "../costs/allocations.rs"]
mod allocations;
#[cfg(feature = "tokio_io")]
#[path = "../costs/tokio_io.rs"]
mod costs_of_tokio_io;
#[path = "../costs/counting.rs"]
mod counting;
#[path = "../costs/rounds.rs"]
mod rounds;
#[path = "../costs/sizes.rs"]
mod sizes;
#[path = "../costs/transport_calls.rs"]
mod transport_calls;
#[path = "../costs/wakes.rs"]
mod wakes;

#[cfg(unix)]
#[path = "../load/connections.rs"]
mod connections;
#[path = "../load/floods.rs"]
mod floods;
#[path = "../load/memory.rs"]
mod memory;
#[path = "../load/soak.rs"]
mod soak;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// What is not about a stream that can be over either websocket.
const ELSEWHERE: [&str; 6] =
    ["browser", "examples", "guarantees", "migrating", "opening", "program"];

#[test]
fn each_module_of_the_behaviour_the_costs_and_the_load_is_here() {
    let here = include_str!("main.rs");
    for (directory, main) in [
        ("it", include_str!("../it/main.rs")),
        ("costs", include_str!("../costs/main.rs")),
        ("load", include_str!("../load/main.rs")),
    ] {
        let modules = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'));
        for module in modules.filter(|module| !ELSEWHERE.contains(module) && !is_shared(module)) {
            let path = format!("\n#[path = \"../{directory}/{module}.rs\"]\n");
            assert!(here.contains(&path), "{directory}::{module} runs over one websocket only");
        }
    }
}

fn is_shared(module: &str) -> bool {
    ["backend", "support"].contains(&module)
}
