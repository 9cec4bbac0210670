//! Compares this crate with other ways to carry bytes over a websocket, and draws what came out.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml               # some six minutes
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- compare --quick
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- draw
//! ```
//!
//! Each contender is driven in the way that suits it best, which the file about it in `contenders`
//! explains. `workloads` has what is done, `scenarios` where and in which sizes, `entrants` connects
//! who does it, `measure` measures, and `targets` has what we want to reach.

mod codecs;
mod contenders;
mod draw;
mod ends;
mod entrants;
#[path = "../../loopback.rs"]
mod loopback;
mod measure;
mod report;
#[path = "../../results.rs"]
mod results;
mod scenarios;
mod targets;
mod workloads;

use std::{
    error::Error,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand};

use self::{
    contenders::Who,
    measure::Effort,
    report::{Compared, Report},
    results::Setting,
    scenarios::{MIB, Scenario},
};

#[derive(Parser)]
#[command(about)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compare: Compare,
}

#[derive(Subcommand)]
enum Command {
    /// Measures, prints a table and writes a file (default)
    Compare(Compare),
    /// Makes pictures of the file
    Draw(Draw),
}

#[derive(Args)]
struct Compare {
    /// Whether everything works, in seconds; the figures mean little
    #[arg(long)]
    quick: bool,
    /// Only scenarios whose heading in the table contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Only these contenders, for instance to profile one
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    contender: Vec<Who>,
    /// Where the file goes [default: benches/results/peers.json, or nowhere unless all is measured]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
struct Draw {
    /// The file to draw [default: benches/results/peers.json]
    #[arg(long = "in", value_name = "FILE", default_value = DEFAULT_FILE, hide_default_value = true)]
    file: PathBuf,
    /// Where the pictures go [default: beside the file]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let cli = Cli::parse();
    match cli.command {
        None => cli.compare.run(),
        Some(Command::Compare(compare)) => compare.run(),
        Some(Command::Draw(draw)) => draw.run(),
    }
}

impl Draw {
    fn run(&self) -> Result<(), Box<dyn Error>> {
        let folder = self.out.as_deref().or(self.file.parent()).unwrap_or(Path::new("."));
        draw::all(&Report::read(&self.file)?, folder)
    }
}

impl Compare {
    fn run(&self) -> Result<(), Box<dyn Error>> {
        let setting = Setting::now(include_str!("../Cargo.lock"));
        Report::print_head(&setting);
        let scenarios = scenarios::all().into_iter().filter(|scenario| self.takes(*scenario));
        let results = scenarios.map(|scenario| self.measure(scenario)).collect();
        let report = Report { setting, results };
        targets::print(&report);
        match &self.out {
            Some(file) => report.write(file)?,
            None if self.is_complete() => report.write(Path::new(DEFAULT_FILE))?,
            None => {}
        }
        if report.ours_fails() {
            return Err("this crate fails in some scenario: see the table".into());
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        !self.quick && self.only.is_empty() && self.contender.is_empty()
    }

    fn takes(&self, scenario: Scenario) -> bool {
        let takes_too_long = self.quick && scenario.size > 15 * MIB;
        scenario.to_string().contains(&self.only) && !takes_too_long
    }

    fn measure(&self, scenario: Scenario) -> Compared {
        let effort = if self.quick { QUICK } else { THOROUGH };
        let wanted = |who: Who| self.contender.is_empty() || self.contender.contains(&who);
        let connect = || entrants::connect(scenario, &wanted);
        let (rounds, contenders) = measure::compare(connect, effort);
        let compared = Compared { scenario, rounds, contenders };
        compared.print();
        compared
    }
}

/// Takes some six minutes for everything.
const THOROUGH: Effort = Effort {
    run: Duration::from_millis(12),
    rounds: 3,
    least_sittings: 2,
    most_sittings: 12,
    budget: Duration::from_millis(3700),
};

/// Takes some seconds.
const QUICK: Effort = Effort {
    run: Duration::from_micros(300),
    rounds: 2,
    least_sittings: 1,
    most_sittings: 1,
    budget: Duration::ZERO,
};

const DEFAULT_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../results/peers.json");
