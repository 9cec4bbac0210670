//! Rounds in which every contender runs once, and what comes out of them.
//!
//! A machine is not as fast now as it is a second later. So what is compared are runs of the same
//! round, next to each other; the order changes from round to round; and of all the rounds, the
//! median counts. What is measured is processor time of the process, which other processes disturb
//! less than time on the clock.
//!
//! A connection has habits of its own, too: how the kernel sizes its buffers and when it
//! acknowledges, where its memory lies. So everybody connects anew every few rounds.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    contenders::Who,
    entrants::{Entrant, Run},
};

/// How thorough to be.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// How much processor time a run should take.
    pub run: Duration,
    /// How many rounds are run on the same connections.
    pub rounds: usize,
    /// How often all connect, at least and at most.
    pub least_sittings: usize,
    pub most_sittings: usize,
    /// When to connect no more.
    pub budget: Duration,
}

/// What became of a contender in a scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Measured(Measured),
    /// It can't do that, for this reason.
    Fails(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// Nanoseconds for one operation.
    pub cost: Quartiles,
    /// This contender's cost over that of one of ours, in the same round. Above 1, ours is cheaper.
    pub over: BTreeMap<Who, Quartiles>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Quartiles {
    pub first: f64,
    pub median: f64,
    pub third: f64,
}

/// Lets all run until the effort is spent. Returns the number of rounds, too.
pub fn compare(
    connect: impl Fn() -> Vec<Entrant>,
    effort: Effort,
) -> (usize, BTreeMap<Who, Outcome>) {
    let begin = Instant::now();
    let calibrate = |entrant| Lane::calibrate(entrant, effort.run);
    let mut lanes: Vec<Lane> = connect().into_iter().map(calibrate).collect();
    let mut sittings = 0;
    while sittings < effort.least_sittings
        || (sittings < effort.most_sittings && begin.elapsed() < effort.budget)
    {
        let mut runs: Vec<_> = connect().into_iter().map(|(_, run)| run).collect();
        for (lane, run) in lanes.iter_mut().zip(&mut runs) {
            lane.run(run.as_mut(), Purpose::WarmUp);
        }
        for round in 0..effort.rounds {
            for at in order(lanes.len(), sittings * effort.rounds + round) {
                lanes[at].run(runs[at].as_mut(), Purpose::Measure);
            }
        }
        sittings += 1;
    }
    (sittings * effort.rounds, outcomes(&lanes))
}

/// A contender, and what its runs cost so far.
struct Lane {
    who: Who,
    operations: usize,
    /// Nanoseconds for one operation, by round.
    costs: Vec<f64>,
    failure: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    WarmUp,
    Measure,
}

impl Lane {
    /// Checks the bytes that arrive, and finds out how many operations fill a run.
    fn calibrate((who, mut run): Entrant, wanted: Duration) -> Self {
        let (operations, failure) = match fitting_operations(run.as_mut(), wanted) {
            Ok(operations) => (operations, None),
            Err(reason) => (0, Some(reason)),
        };
        Self { who, operations, costs: Vec::new(), failure }
    }

    fn run(&mut self, run: &mut dyn Run, purpose: Purpose) {
        if self.failure.is_none() {
            match run.run(self.operations, false) {
                Ok(_) if purpose == Purpose::WarmUp => {}
                Ok(cost) => self.costs.push(per_operation(cost, self.operations)),
                Err(reason) => self.failure = Some(reason),
            }
        }
    }

    fn outcome(&self, ours: &[&Self]) -> Outcome {
        if let Some(reason) = &self.failure {
            return Outcome::Fails(reason.clone());
        }
        let over = |ours: &&Self| {
            let pairs = self.costs.iter().zip(&ours.costs);
            (ours.who, Quartiles::of(pairs.map(|(this, ours)| this / ours).collect()))
        };
        let cost = Quartiles::of(self.costs.clone());
        Outcome::Measured(Measured { cost, over: ours.iter().map(over).collect() })
    }
}

fn outcomes(lanes: &[Lane]) -> BTreeMap<Who, Outcome> {
    let is_ours = |lane: &&Lane| lane.who.is_ours() && lane.failure.is_none();
    let ours: Vec<&Lane> = lanes.iter().filter(is_ours).collect();
    lanes.iter().map(|lane| (lane.who, lane.outcome(&ours))).collect()
}

fn fitting_operations(run: &mut dyn Run, wanted: Duration) -> Result<usize, String> {
    let mut operations = 1;
    run.run(2, true)?;
    loop {
        let cost = run.run(operations, false)?.max(Duration::from_nanos(1));
        let factor = wanted.as_secs_f64() / cost.as_secs_f64();
        operations = scaled(operations, factor.min(10.0));
        if factor < 2.0 {
            return Ok(operations);
        }
    }
}

/// The order within a round. It turns, and turns round: nobody always runs after the same other.
fn order(count: usize, round: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.rotate_left(round / 2 % count.max(1));
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

impl Quartiles {
    /// Those of `values`, of which there is at least one.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| {
            let (below, rest) =
                (quarter * (values.len() - 1) / 4, quarter * (values.len() - 1) % 4);
            let above = values[(below + 1).min(values.len() - 1)];
            rounded(values[below] + (above - values[below]) * [0.0, 0.25, 0.5, 0.75][rest])
        };
        Self { first: at(1), median: at(2), third: at(3) }
    }
}

/// To five digits: there are not more that mean something.
fn rounded(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

#[allow(clippy::cast_precision_loss)] // there are no 2^52 operations
fn per_operation(cost: Duration, operations: usize) -> f64 {
    cost.as_secs_f64() * 1e9 / operations as f64
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn scaled(operations: usize, factor: f64) -> usize {
    ((operations as f64 * factor) as usize).max(1)
}

#[cfg(test)]
mod tests {
    use super::{Quartiles, order};

    #[test]
    fn quartiles_lie_between_the_values_next_to_them() {
        assert_eq!(quartiles(vec![4.0, 1.0, 3.0, 2.0]), ["1.75", "2.5", "3.25"]);
    }

    #[test]
    fn one_value_is_all_its_quartiles() {
        assert_eq!(quartiles(vec![7.0]), ["7"; 3]);
    }

    fn quartiles(values: Vec<f64>) -> [String; 3] {
        let Quartiles { first, median, third } = Quartiles::of(values);
        [first, median, third].map(|value| value.to_string())
    }

    #[test]
    fn everybody_is_first_in_some_round_and_runs_once_in_each() {
        let mut first = Vec::new();
        for round in 0..6 {
            let mut order = order(3, round);
            first.push(order[0]);
            order.sort_unstable();
            assert_eq!(order, [0, 1, 2]);
        }
        first.sort_unstable();
        assert_eq!(first, [0, 0, 1, 1, 2, 2]);
    }
}
