//! Pictures of a report.

use std::{error::Error, fs, ops::Range, path::Path};

use plotters::{
    coord::{CoordTranslate, Shift, combinators::BindKeyPoints},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

use crate::{
    contenders::Who,
    measure::Outcome,
    report::{Compared, Report},
    results::{Setting, unknown},
    scenarios::{Direction, KIB, MIB, Size, Transport, Work},
};

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn<T = ()> = Result<T, Box<dyn Error>>;

/// Draws all pictures into a folder.
pub fn all(report: &Report, folder: &Path) -> Drawn {
    fs::create_dir_all(folder)?;
    throughput(report, &folder.join("throughput.svg"))?;
    small_writes(report, &folder.join("small_writes.svg"))?;
    huge_writes(report, &folder.join("huge_writes.svg"))
}

fn throughput(report: &Report, file: &Path) -> Drawn {
    let picture = Picture {
        title: "How much one second of processor time carries, by the size of a write",
        notes: "Many writes over loopback TCP, flushed at the end; sending and receiving together. \
                Higher is better.",
        setting: &report.setting,
    };
    let speed = |compared: &Compared, who| {
        #[allow(clippy::cast_precision_loss)] // nothing is that large
        let mib = compared.scenario.size as f64 / MIB as f64;
        Some(mib * 1e9 / compared.measured(who)?.cost.median)
    };
    let axes = Axes {
        sizes: &[64, KIB, 16 * KIB, 64 * KIB, MIB],
        x: "size of a write",
        y: "MiB per second of processor time",
        ticks: &[10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0],
    };
    picture.curves(report, file, Work::Writes, &axes, speed)
}

fn huge_writes(report: &Report, file: &Path) -> Drawn {
    let picture = Picture {
        title: "What one MiB costs, by the size of the one write that it is part of",
        notes: "One write over loopback TCP, flushed and waited for; sending and receiving \
                together. Lower is better, and flat is best.",
        setting: &report.setting,
    };
    let cost = |compared: &Compared, who| {
        Some(compared.per_unit(compared.measured(who)?.cost.median) / 1e3)
    };
    let axes = Axes {
        sizes: &[MIB, 4 * MIB, 8 * MIB, 15 * MIB, 64 * MIB],
        x: "size of the write",
        y: "µs of processor time per MiB",
        ticks: &[100.0, 200.0, 300.0, 500.0, 700.0, 1000.0, 1500.0, 2000.0, 3000.0, 5000.0],
    };
    picture.curves(report, file, Work::HugeWrite, &axes, cost)
}

fn small_writes(report: &Report, file: &Path) -> Drawn {
    let picture = Picture {
        title: "What a small write costs",
        notes: "Client to server over loopback TCP; sending and receiving together. \
                Shorter is better.",
        setting: &report.setting,
    };
    let root = SVGBackend::new(file, (WIDTH, HEIGHT)).into_drawing_area();
    let body = picture.frame(&root)?;
    let (names, panels) = body.split_vertically(24);
    bar_legend(&names)?;
    for (panel, size) in panels.split_evenly((1, 2)).iter().zip([64, KIB]) {
        bars(panel, report, size)?;
    }
    Ok(root.present()?)
}

/// What all pictures have around what they show.
struct Picture<'a> {
    title: &'a str,
    notes: &'a str,
    setting: &'a Setting,
}

struct Axes<'a> {
    sizes: &'a [usize],
    x: &'a str,
    y: &'a str,
    ticks: &'a [f64],
}

impl Picture<'_> {
    /// Draws title and caption, and returns the area between them.
    fn frame<'a>(&self, root: &Area<'a>) -> Drawn<Area<'a>> {
        root.fill(&WHITE)?;
        root.draw(&Text::new(self.title, (MARGIN, 16), font(28)))?;
        root.draw(&Text::new(self.notes, (MARGIN, 52), font(17)))?;
        let Setting { date, processor, cores, kernel, rustc, .. } = self.setting;
        let machine = format!("{date}. {processor}, {cores} cores, Linux {kernel}, {rustc}.");
        let bottom = i32::try_from(HEIGHT)?;
        root.draw(&Text::new(machine, (MARGIN, bottom - 46), font(14)))?;
        root.draw(&Text::new(self.crates(), (MARGIN, bottom - 26), font(14)))?;
        Ok(root.margin(78, 56, MARGIN, MARGIN))
    }

    fn crates(&self) -> String {
        let version = |name| {
            let versions = self.setting.versions.get(name);
            format!("{name} {}", versions.map_or_else(unknown, |all| all.join(" and ")))
        };
        let names = [
            "ws_stream_tungstenite",
            "async-tungstenite",
            "tokio-tungstenite",
            "tokio-util",
            "tokio-websockets",
            "fastwebsockets",
            "tokio",
        ];
        format!("{}; revision {}", names.map(version).join(", "), self.setting.revision)
    }

    /// One panel per direction, a curve per contender, and who is who beside them.
    fn curves(
        &self,
        report: &Report,
        file: &Path,
        work: Work,
        axes: &Axes<'_>,
        value: impl Fn(&Compared, Who) -> Option<f64>,
    ) -> Drawn {
        let panels = DIRECTIONS.map(|(direction, title)| {
            let results: Vec<&Compared> = (report.of(work, Transport::Tcp))
                .filter(|compared| compared.scenario.direction == direction)
                .collect();
            let everybody = Who::all().iter().rev(); // ours on top
            (title, everybody.map(|who| Curve::new(*who, &results, &value)).collect::<Vec<_>>())
        });
        let Some(values) = range(panels.iter().flat_map(|(_, curves)| curves)) else {
            return Ok(()); // this work was left out
        };
        let root = SVGBackend::new(file, (WIDTH, HEIGHT)).into_drawing_area();
        let (left, names) = self.frame(&root)?.split_horizontally(WIDTH - 320);
        for (area, (title, curves)) in left.split_evenly((1, 2)).iter().zip(&panels) {
            axes.draw(area, title, curves, &values)?;
        }
        let takes_part =
            |who: &Who| report.of(work, Transport::Tcp).any(|c| c.measured(*who).is_some());
        legend(&names, Who::all().iter().copied().filter(takes_part))?;
        Ok(root.present()?)
    }
}

struct Curve {
    who: Who,
    points: Vec<(f64, f64)>,
    /// At which sizes the contender fails.
    failures: Vec<f64>,
}

impl Curve {
    fn new(who: Who, results: &[&Compared], value: impl Fn(&Compared, Who) -> Option<f64>) -> Self {
        let size = |compared: &Compared| as_f64(compared.scenario.size);
        let point = |c: &&Compared| Some((size(c), value(c, who)?));
        let fails = |c: &&&Compared| matches!(c.contenders.get(&who), Some(Outcome::Fails(_)));
        Self {
            who,
            points: results.iter().filter_map(point).collect(),
            failures: results.iter().filter(fails).map(|c| size(c)).collect(),
        }
    }
}

/// From the least to the largest value, with a margin.
fn range<'a>(curves: impl Iterator<Item = &'a Curve>) -> Option<Range<f64>> {
    let values: Vec<f64> = curves.flat_map(|curve| &curve.points).map(|point| point.1).collect();
    let low = values.iter().copied().reduce(f64::min)?;
    let high = values.iter().copied().reduce(f64::max)?;
    Some(low / 1.2..high * 1.2)
}

impl Axes<'_> {
    fn draw(&self, area: &Area<'_>, title: &str, curves: &[Curve], values: &Range<f64>) -> Drawn {
        let sizes: Vec<f64> = self.sizes.iter().map(|size| as_f64(*size)).collect();
        let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
        let ticks = self.ticks.iter().copied().filter(|tick| values.contains(tick)).collect();
        let x = (first / 1.15..last * 1.15).log_scale().with_key_points(sizes);
        let y = values.clone().log_scale().with_key_points(ticks);
        let mut chart = ChartBuilder::on(area)
            .caption(title, font(19))
            .margin(8)
            .x_label_area_size(48)
            .y_label_area_size(72)
            .build_cartesian_2d(x, y)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .label_style(font(15))
            .axis_desc_style(font(16))
            .x_desc(self.x)
            .y_desc(self.y)
            .x_label_formatter(&|size| size_label(*size))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .draw()?;
        for curve in curves {
            draw_curve(&mut chart, curve, values.start * 1.08)?;
        }
        Ok(())
    }
}

/// The curve, its marks, and crosses at the foot where its contender fails.
fn draw_curve<C>(chart: &mut ChartContext<'_, SVGBackend<'_>, C>, curve: &Curve, foot: f64) -> Drawn
where
    C: CoordTranslate<From = (f64, f64)>,
{
    let look = Look::of(curve.who);
    let points = curve.points.iter().copied();
    if look.dashed {
        chart.draw_series(DashedLineSeries::new(points.clone(), 7, 5, look.line()))?;
    } else {
        chart.draw_series(LineSeries::new(points.clone(), look.line()))?;
    }
    chart.draw_series(points.map(|point| EmptyElement::at(point) + look.mark_at_origin()))?;
    let crosses = curve.failures.iter().map(|size| {
        let style = font(15).pos(Pos::new(HPos::Right, VPos::Center));
        EmptyElement::at((*size, foot))
            + Cross::new((0, 0), 6, look.line())
            + Text::new(format!("{} fails", curve.who.label()), (-12, 0), style)
    });
    chart.draw_series(crosses)?;
    Ok(())
}

fn legend(area: &Area<'_>, names: impl Iterator<Item = Who>) -> Drawn {
    let mut y = 50;
    for who in names {
        let look = Look::of(who);
        for dash in look.dashes() {
            area.draw(&PathElement::new([(16 + dash.0, y), (16 + dash.1, y)], look.line()))?;
        }
        area.draw(&(EmptyElement::at((33, y)) + look.mark_at_origin()))?;
        area.draw(&Text::new(who.label(), (60, y - 7), font(16)))?;
        y += 27;
    }
    Ok(())
}

/// Two bars per contender: with one flush at the end, and with a flush after each write.
fn bars(area: &Area<'_>, report: &Report, size: usize) -> Drawn {
    let cost = |work, who| {
        let suits =
            |c: &&Compared| c.scenario.size == size && c.scenario.direction == Direction::ToServer;
        let compared = report.of(work, Transport::Tcp).find(suits)?;
        Some(compared.measured(who)?.cost.median)
    };
    let costs = BARS.iter().flat_map(|bar| Who::all().iter().filter_map(|who| cost(bar.0, *who)));
    let longest = costs.fold(0.0, f64::max);
    let count = as_f64(Who::all().len());
    let mut chart = ChartBuilder::on(area)
        .caption(format!("writes of {}", Size(size)), font(19))
        .margin(8)
        .x_label_area_size(48)
        .y_label_area_size(240)
        .build_cartesian_2d(0.0..longest * 1.12, 0.0..count)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .y_labels(0)
        .label_style(font(15))
        .axis_desc_style(font(16))
        .x_desc("ns of processor time per write")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    for (row, who) in Who::all().iter().enumerate() {
        let costs = BARS.map(|(work, color, _)| (cost(work, *who), color));
        draw_bars(&mut chart, *who, costs, count - as_f64(row))?;
    }
    Ok(())
}

/// A contender's name and bars, in the row below `top`.
fn draw_bars<C>(
    chart: &mut ChartContext<'_, SVGBackend<'_>, C>,
    who: Who,
    costs: [(Option<f64>, RGBColor); 2],
    top: f64,
) -> Drawn
where
    C: CoordTranslate<From = (f64, f64)>,
{
    let name = Text::new(who.label(), (-10, 0), font(16).pos(Pos::new(HPos::Right, VPos::Center)));
    chart.draw_series([EmptyElement::at((0.0, top - 0.5)) + name])?;
    for (at, (cost, color)) in costs.into_iter().enumerate() {
        let middle = top - 0.31 - 0.38 * as_f64(at);
        let Some(cost) = cost else { continue };
        let bar = [(0.0, middle + 0.17), (cost, middle - 0.17)];
        chart.draw_series([Rectangle::new(bar, color.filled())])?;
        let style = font(12).pos(Pos::new(HPos::Left, VPos::Center));
        let figure = Text::new(format!("{cost:.0}"), (5, 0), style);
        chart.draw_series([EmptyElement::at((cost, middle)) + figure])?;
    }
    Ok(())
}

/// What the two colours of the bars mean.
fn bar_legend(area: &Area<'_>) -> Drawn {
    let mut x = 250;
    for (_, color, meaning) in BARS {
        area.draw(&Rectangle::new([(x, 6), (x + 22, 20)], color.filled()))?;
        area.draw(&Text::new(meaning, (x + 30, 5), font(16)))?;
        x += 280;
    }
    Ok(())
}

/// How a contender's curve looks: a colour that the colour-blind can tell from the others, and a mark.
struct Look {
    color: RGBColor,
    mark: &'static [(i32, i32)],
    dashed: bool,
    width: u32,
}

impl Look {
    fn of(who: Who) -> Self {
        let (color, mark) = match who {
            Who::Ours | Who::OursRecommended | Who::OursCollected => (BLUE_DARK, ROUND),
            Who::Published => (ORANGE, SQUARE),
            Who::Messages | Who::MessagesRecommended => (GREEN_DARK, DIAMOND),
            Who::ByteIo => (SKY, SQUARE),
            Who::TokioTungstenite => (PURPLE, DIAMOND),
            Who::TokioWebsockets => (VERMILION, UP),
            Who::Fastwebsockets | Who::FastwebsocketsBuffered => (BLACK, DOWN),
            Who::Plain => (GREY, ROUND),
        };
        let dashed = matches!(
            who,
            Who::OursRecommended | Who::MessagesRecommended | Who::FastwebsocketsBuffered
        );
        let mark = if who == Who::OursCollected { STAR } else { mark };
        let width = if who.is_ours() { 3 } else { 2 };
        Self { color, mark, dashed, width }
    }

    fn line(&self) -> ShapeStyle {
        self.color.stroke_width(self.width)
    }

    /// Around the place where it is put.
    fn mark_at_origin(&self) -> Polygon<(i32, i32)> {
        Polygon::new(self.mark, self.color.filled())
    }

    /// From where to where a sample of the line is drawn, in pixels.
    fn dashes(&self) -> &'static [(i32, i32)] {
        if self.dashed { &[(0, 9), (13, 22), (26, 35)] } else { &[(0, 35)] }
    }
}

fn font(size: i32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&BLACK)
}

#[allow(clippy::cast_precision_loss)] // nothing is that large
fn as_f64(count: usize) -> f64 {
    count as f64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is the size of a write
fn size_label(size: f64) -> String {
    Size(size.round() as usize).to_string()
}

const DIRECTIONS: [(Direction, &str); 2] =
    [(Direction::ToServer, "client to server (masked)"), (Direction::ToClient, "server to client")];

const BARS: [(Work, RGBColor, &str); 2] = [
    (Work::Writes, BLUE_DARK, "many writes, then one flush"),
    (Work::FlushedWrites, ORANGE, "each write flushed"),
];

const WIDTH: u32 = 1500;
const HEIGHT: u32 = 760;
const MARGIN: i32 = 24;

// of the palette of Okabe and Ito
const BLUE_DARK: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(230, 159, 0);
const GREEN_DARK: RGBColor = RGBColor(0, 158, 115);
const SKY: RGBColor = RGBColor(86, 180, 233);
const PURPLE: RGBColor = RGBColor(204, 121, 167);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(140, 140, 140);

const ROUND: &[(i32, i32)] =
    &[(-4, -2), (-2, -4), (2, -4), (4, -2), (4, 2), (2, 4), (-2, 4), (-4, 2)];
const SQUARE: &[(i32, i32)] = &[(-4, -4), (4, -4), (4, 4), (-4, 4)];
const DIAMOND: &[(i32, i32)] = &[(0, -6), (6, 0), (0, 6), (-6, 0)];
const UP: &[(i32, i32)] = &[(0, -6), (6, 5), (-6, 5)];
const DOWN: &[(i32, i32)] = &[(0, 6), (6, -5), (-6, -5)];
const STAR: &[(i32, i32)] = &[(0, -8), (2, -2), (8, 0), (2, 2), (0, 8), (-2, 2), (-8, 0), (-2, -2)];
