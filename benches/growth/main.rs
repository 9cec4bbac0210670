//! What a connection costs, by how many there are: memory while it is idle, processor time for a
//! message.
//!
//! Prints tables in Markdown and writes `results/growth.json`. With `--test`, it runs a small part
//! and writes nothing. Each figure comes from a process of its own.

mod connections;
#[path = "../results.rs"]
mod results;

use std::{
    env,
    error::Error,
    path::Path,
    process::{Command, Stdio},
};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use connections::{Figures, Kind};
use results::Setting;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<std::alloc::System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = env::args().skip(1).collect();
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    if let [CHILD, kind, connections] = args[..] {
        let figures = connections::measure(Kind::named(kind)?, connections.parse()?);
        println!("{}", serde_json::to_string(&figures)?);
    } else if args.contains(&"--test") {
        print(&FEW, &measure(&FEW)?);
    } else {
        let figures = measure(&MANY)?;
        print(&MANY, &figures);
        let setting = Setting::now(include_str!("../Cargo.lock"));
        results::write(Path::new(RESULTS), &setting, &figures)?;
    }
    Ok(())
}

/// Measures every kind, for each of these numbers of connections.
fn measure(counts: &[usize]) -> Result<Vec<Figures>, Box<dyn Error>> {
    let mut all = Vec::new();
    for &connections in counts {
        for kind in Kind::ALL {
            all.push(measure_in_child(kind, connections)?);
        }
    }
    Ok(all)
}

/// Memory that one measurement freed would be there for the next.
fn measure_in_child(kind: Kind, connections: usize) -> Result<Figures, Box<dyn Error>> {
    let output = Command::new(env::current_exe()?)
        .args([CHILD, kind.name(), &connections.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("{} with {connections} connections failed", kind.name()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn print(counts: &[usize], all: &[Figures]) {
    for (title, cell) in TABLES {
        println!("{}", table(title, counts, all, *cell));
    }
}

fn table(title: &str, counts: &[usize], all: &[Figures], cell: Cell) -> String {
    let counts: Vec<_> = counts.iter().map(usize::to_string).collect();
    let mut lines = vec![
        format!("| {title} | {} |", counts.join(" | ")),
        format!("| --- |{}", " ---: |".repeat(counts.len())),
    ];
    for kind in Kind::ALL {
        let cells = all.iter().filter(|figures| figures.kind == kind.name());
        let cells: Vec<_> = cells.map(cell).collect();
        lines.push(format!("| {} | {} |", kind.name(), cells.join(" | ")));
    }
    lines.join("\n") + "\n"
}

fn kibibytes(bytes: usize) -> String {
    format!("{}.{}", bytes / 1024, bytes % 1024 * 10 / 1024)
}

type Cell = fn(&Figures) -> String;

/// Titles, and what is in the cells.
const TABLES: &[(&str, Cell)] = &[
    ("heap per idle connection, KiB", |figures| kibibytes(figures.heap_bytes)),
    ("resident per idle connection, KiB", |figures| kibibytes(figures.resident_bytes)),
    ("processor time per message, ns", |figures| figures.message_ns.to_string()),
];

/// How many connections there are, for figures and for a test.
const MANY: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const FEW: [usize; 2] = [1, 10];

/// The argument of a process that measures.
const CHILD: &str = "--measure";

const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results/growth.json");
