//! What came out, as a file and as a table.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    contenders::Who,
    measure::{Measured, Outcome, Quartiles},
    results::{self, Setting},
    scenarios::{MIB, Scenario, Transport, Work},
};

#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub setting: Setting,
    pub results: Vec<Compared>,
}

/// One scenario.
#[derive(Debug, Serialize, Deserialize)]
pub struct Compared {
    #[serde(flatten)]
    pub scenario: Scenario,
    pub rounds: usize,
    /// Costs are in nanoseconds of processor time for one operation, both ends together.
    pub contenders: BTreeMap<Who, Outcome>,
}

impl Report {
    pub fn read(path: &Path) -> io::Result<Self> {
        serde_json::from_slice(&fs::read(path)?).map_err(io::Error::from)
    }

    pub fn write(&self, path: &Path) -> io::Result<()> {
        results::write(path, &self.setting, &self.results)
    }

    /// The results over one transport of one kind of work, in any size.
    pub fn of(&self, work: Work, transport: Transport) -> impl Iterator<Item = &Compared> {
        self.results.iter().filter(move |compared| {
            compared.scenario.work == work && compared.scenario.transport == transport
        })
    }

    /// Whether there is something that this crate could not do. Others may fail.
    pub fn ours_fails(&self) -> bool {
        let mut all = self.results.iter().flat_map(|compared| &compared.contenders);
        all.any(|(who, outcome)| who.is_ours() && matches!(outcome, Outcome::Fails(_)))
    }

    pub fn print_head(setting: &Setting) {
        let Setting { date, processor, cores, kernel, rustc, revision, versions } = setting;
        println!(
            "{date}, {processor}, {cores} cores, Linux {kernel}, {rustc}, revision {revision}"
        );
        for (name, versions) in versions {
            println!("  {name} {}", versions.join(", "));
        }
        println!(
            "\nProcessor time of both ends together. The other columns: that of this contender over \
             that of\nours, as it is by default (d), recommended (r) and collecting (c). Above 1, \
             ours is cheaper."
        );
    }
}

impl Compared {
    pub fn measured(&self, who: Who) -> Option<&Measured> {
        match self.contenders.get(&who) {
            Some(Outcome::Measured(measured)) => Some(measured),
            Some(Outcome::Fails(_)) | None => None,
        }
    }

    /// The cost of `other` over that of `ours`.
    pub fn ratio(&self, other: Who, ours: Who) -> Option<f64> {
        Some(self.measured(other)?.over.get(&ours)?.median)
    }

    pub fn print(&self) {
        let unit = match self.scenario.work {
            Work::HugeWrite => "MiB",
            _ => self.scenario.operation(),
        };
        println!("\n{}; {} rounds", self.scenario, self.rounds);
        let cost = format!("ns per {unit}");
        println!("{cost:>56}{:>20}{:>8}{:>8}{:>8}", "quartiles", "x d", "x r", "x c");
        for who in Who::all() {
            println!("  {:<32}{}", who.label(), self.line(*who));
        }
    }

    fn line(&self, who: Who) -> String {
        let measured = match self.contenders.get(&who) {
            Some(Outcome::Measured(measured)) => measured,
            Some(Outcome::Fails(reason)) => return format!("{:>22}: {reason}", "fails"),
            None => return format!("{:>22}", "–"),
        };
        let over = [Who::Ours, Who::OursRecommended, Who::OursCollected].map(|ours| {
            measured.over.get(&ours).map_or("–".to_owned(), |over| format!("{:.2}", over.median))
        });
        let Quartiles { first, median, third } = measured.cost;
        let [first, median, third] = [first, median, third].map(|cost| self.per_unit(cost));
        let spread = format!("{first:.0}–{third:.0}");
        format!("{median:>22.0}{spread:>20}{:>8}{:>8}{:>8}", over[0], over[1], over[2])
    }

    /// A cost per operation as it is shown: per MiB for huge writes.
    #[allow(clippy::cast_precision_loss)] // nothing is that large
    pub fn per_unit(&self, cost: f64) -> f64 {
        match self.scenario.work {
            Work::HugeWrite => cost * MIB as f64 / self.scenario.size as f64,
            _ => cost,
        }
    }
}
