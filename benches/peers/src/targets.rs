//! What this crate wants to reach beside the others, and whether it does.

use crate::{
    contenders::Who,
    report::{Compared, Report},
    scenarios::{KIB, MIB, Size, Transport, Work},
};

/// Figures of which each should be at least as large as wanted.
struct Target {
    what: String,
    against: &'static str,
    wanted: f64,
    /// Each with where it comes from.
    figures: Vec<(String, f64)>,
}

/// Prints every target with what was measured.
pub fn print(report: &Report) {
    println!(
        "\ntargets: the cost of the other over ours, in each direction; loopback TCP unless said"
    );
    println!("{:<8}{:>6}{:>7}{:>7}  what, against what", "", "wanted", "least", "most");
    for target in all(report) {
        target.print();
    }
}

impl Target {
    fn print(&self) {
        let Self { what, against, wanted, figures } = self;
        let values = || figures.iter().map(|(_, value)| *value);
        let (least, most) = (values().reduce(f64::min), values().reduce(f64::max));
        let (Some(least), Some(most)) = (least, most) else {
            return println!("{:<8}{wanted:>6.2}{:>7}{:>7}  {what} / {against}", "–", "–", "–");
        };
        let verdict = if least >= *wanted { "met" } else { "missed" };
        println!("{verdict:<8}{wanted:>6.2}{least:>7.2}{most:>7.2}  {what} / {against}");
        for (place, value) in figures.iter().filter(|(_, value)| value < wanted) {
            println!("{:>10}{value:.2}  {place}", "");
        }
    }
}

fn all(report: &Report) -> Vec<Target> {
    let mut targets = Vec::new();
    targets.extend(everything(report, Transport::Tcp));
    targets.extend(everything(report, Transport::Pipe));
    targets.extend(exchanges(report));
    targets.extend(collected(report));
    targets.extend(large(report));
    targets.extend(huge(report));
    targets.extend(small_exchanges(report));
    targets
}

fn everything(report: &Report, transport: Transport) -> [Target; 2] {
    let place = if transport == Transport::Tcp { "TCP" } else { "pipe" };
    let each: Vec<_> = (report.results.iter())
        .filter(|compared| compared.scenario.transport == transport)
        .filter_map(|compared| figure(compared, Who::Published, Who::Ours))
        .collect();
    let mean = geometric_mean(&each).map(|mean| ("all".to_owned(), mean));
    [
        Target {
            what: format!("everything, defaults, each, {place}"),
            against: "published",
            wanted: 0.97,
            figures: each,
        },
        Target {
            what: format!("everything, defaults, geometric mean, {place}"),
            against: "published",
            wanted: 1.10,
            figures: mean.into_iter().collect(),
        },
    ]
}

fn exchanges(report: &Report) -> [Target; 2] {
    [64, 4 * KIB].map(|size| Target {
        what: format!("request and response of {}", Size(size)),
        against: "async-tungstenite's messages, same config",
        wanted: 0.97,
        figures: figures(report, Work::Exchange, size, &SAME_CONFIG),
    })
}

fn collected(report: &Report) -> [Target; 4] {
    let target = |size, against, wanted, others: &[Who]| Target {
        what: format!("writes of {}, collected", Size(size)),
        against,
        wanted,
        figures: figures(report, Work::Writes, size, &against_each(others, Who::OursCollected)),
    };
    let peers: Vec<Who> = Who::all().iter().copied().filter(|who| who.is_peer()).collect();
    [
        target(64, "published", 8.0, &[Who::Published]),
        target(64, "async-tungstenite's messages", 3.0, &[Who::Messages, Who::MessagesRecommended]),
        target(KIB, "published", 3.0, &[Who::Published]),
        target(KIB, "the fastest peer", 1.0, &peers),
    ]
}

fn large(report: &Report) -> [Target; 2] {
    [16, 64].map(|kib| Target {
        what: format!("writes of {kib} KiB"),
        against: "async-tungstenite's messages, same config",
        wanted: 0.93,
        figures: figures(report, Work::Writes, kib * KIB, &SAME_CONFIG),
    })
}

fn huge(report: &Report) -> [Target; 2] {
    let published = [(Who::Published, Who::Ours)];
    [
        Target {
            what: "one write of 15 MiB".to_owned(),
            against: "published",
            wanted: 4.0,
            figures: figures(report, Work::HugeWrite, 15 * MIB, &published),
        },
        Target {
            what: "one write of 64 MiB".to_owned(),
            against: "itself at 1 MiB, per byte",
            wanted: 0.9,
            figures: growth(report),
        },
    ]
}

/// The cost per byte of a write of 1 MiB over that of one of 64 MiB.
fn growth(report: &Report) -> Vec<(String, f64)> {
    let of_size =
        |size| report.of(Work::HugeWrite, Transport::Tcp).filter(move |c| c.scenario.size == size);
    let mut figures = Vec::new();
    for (small, large) in of_size(MIB).zip(of_size(64 * MIB)) {
        for who in [Who::Ours, Who::OursRecommended] {
            if let (Some(a), Some(b)) = (small.measured(who), large.measured(who)) {
                let growth = small.per_unit(a.cost.median) / large.per_unit(b.cost.median);
                figures.push((format!("{}: {}", large.scenario, who.label()), growth));
            }
        }
    }
    figures
}

fn small_exchanges(report: &Report) -> [Target; 3] {
    [
        ("tokio-websockets", 1.0, Who::TokioWebsockets),
        ("fastwebsockets", 0.97, Who::Fastwebsockets),
        ("plain TCP", 0.95, Who::Plain),
    ]
    .map(|(against, wanted, other)| Target {
        what: "request and response of 64 B, recommended".to_owned(),
        against,
        wanted,
        figures: figures(report, Work::Exchange, 64, &[(other, Who::OursRecommended)]),
    })
}

/// The figures of some work over TCP, in all directions, for pairs of another and ours.
fn figures(report: &Report, work: Work, size: usize, pairs: &[(Who, Who)]) -> Vec<(String, f64)> {
    let results = report.of(work, Transport::Tcp).filter(|c| c.scenario.size == size);
    results
        .flat_map(|compared| {
            pairs.iter().filter_map(|&(other, ours)| figure(compared, other, ours))
        })
        .collect()
}

fn figure(compared: &Compared, other: Who, ours: Who) -> Option<(String, f64)> {
    let place = format!("{}: {} over {}", compared.scenario, other.label(), ours.label());
    Some((place, compared.ratio(other, ours)?))
}

fn against_each(others: &[Who], ours: Who) -> Vec<(Who, Who)> {
    others.iter().map(|&other| (other, ours)).collect()
}

#[allow(clippy::cast_precision_loss)] // there are some dozens
fn geometric_mean(figures: &[(String, f64)]) -> Option<f64> {
    let sum: f64 = figures.iter().map(|(_, figure)| figure.ln()).sum();
    (!figures.is_empty()).then(|| (sum / figures.len() as f64).exp())
}

/// Ours beside the messages of the socket below, where both are configured alike.
const SAME_CONFIG: [(Who, Who); 2] =
    [(Who::Messages, Who::Ours), (Who::MessagesRecommended, Who::OursRecommended)];
