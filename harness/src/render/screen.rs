//! The result of a run on a terminal: the answer first, then a table per workload that fits into 80 columns, then what
//! must be known when reading it.

use super::comparison::growths;
use super::load_table;
use super::table::{caveats, notes};
use crate::analysis::answer::{Answer, WorkloadAnswer, words};
use crate::analysis::load_curve::LoadCurve;
use crate::analysis::stats::ranking::{Place, Ranking, Standing};
use crate::analysis::summary::{Cell, cells};
use crate::base::text::{visible, wrapped};
use crate::model::metrics::{METRICS, Metric, RESPONSE_P50, RESPONSE_P99};
use crate::model::row::{Row, Status, Verdict};
use loadgen::tally::code::Code;
use std::collections::BTreeMap;
use std::path::Path;

/// What every terminal has.
const WIDTH: usize = 80;
/// Widths of the table's parts: the mark with its space, the arm, the first figure, the bar, every other figure.
const MARK: usize = 2;
const ARM: usize = 15;
const FIRST: usize = 10;
const BAR: usize = 17;
const OTHER: usize = 11;
/// Figures beside the first.
const MOST_OTHERS: usize = 3;

/// How to write.
#[derive(Debug, Clone, Copy, Default)]
pub struct Look {
    /// Whether the reader is a terminal that shows colours.
    pub colour: bool,
    /// Whether every reason is said in full.
    pub verbose: bool,
}

impl Look {
    fn paint(self, code: &str, text: &str) -> String {
        match self.colour && !text.trim().is_empty() {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_string(),
        }
    }
}

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";

/// The whole result of a run for people.
pub fn for_people(rows: &[Row], answer: &Answer, folder: &Path, look: Look) -> String {
    let cells = cells(rows);
    let mut text = String::new();
    for (i, sentence) in answer.sentences.iter().enumerate() {
        let lines = wrapped(&visible(sentence), WIDTH);
        text.push_str(&match i {
            0 => lines
                .lines()
                .map(|line| look.paint(BOLD, line) + "\n")
                .collect(),
            _ => lines,
        });
    }
    for curve in &answer.load_curves {
        text.push_str(&load_curve(curve, look));
    }
    let workloads = cells.chunk_by(|a, b| a.workload == b.workload);
    let is_level = |arms: &[Cell]| {
        let mut curves = answer.load_curves.iter();
        curves.any(|curve| curve.has_levels() && curve.holds(&arms[0].workload))
    };
    for (arms, told) in workloads.zip(&answer.workloads) {
        if !is_level(arms) || look.verbose {
            text.push_str(&workload(arms, told, answer, look));
        }
    }
    if !cells.is_empty() {
        text.push_str(
            "\n* best  = equal within the margin  ~ not told apart from it  ! did not serve all\n",
        );
        text.push_str(
            "? suspect or invalid trials  ░ where the figure may lie, against the best\n",
        );
        if !answer.rankings.iter().all(is_in_order_of_medians) {
            text.push_str(
                "Listed by what each did beside the others of its blocks; figures are medians.\n",
            );
        }
    }
    text.push_str(&growths(rows));
    text.push_str(&doubts(rows, look));
    if look.verbose {
        text.push_str(&notes(&cells));
    }
    for line in caveats(rows).lines() {
        text.push_str(&wrapped(line, WIDTH));
    }
    text + &format!("\nResults: {}\n", folder.display())
}

fn load_curve(curve: &LoadCurve, look: Look) -> String {
    if !curve.has_levels() {
        return String::new();
    }
    let title = wrapped(&visible(&curve.title), WIDTH);
    let mut text = format!("\n{}\n", look.paint(BOLD, title.trim_end()));
    text.push_str(&load_table::of(curve));
    for sentence in &curve.sentences {
        text.push_str(&wrapped(&visible(sentence), WIDTH));
    }
    text
}

fn workload(arms: &[Cell], told: &WorkloadAnswer, answer: &Answer, look: Look) -> String {
    let mut text = wrapped(&visible(&told.title), WIDTH);
    text = format!("\n{}", look.paint(BOLD, text.trim_end()) + "\n");
    let rankings: Vec<&Ranking> = answer
        .rankings
        .iter()
        .filter(|r| r.name == told.name)
        .collect();
    text.push_str(&table(arms, &rankings, look));
    for sentence in &told.sentences {
        text.push_str(&wrapped(&visible(sentence), WIDTH));
    }
    text
}

/// A figure that a table shows.
struct Column {
    column: &'static str,
    title: &'static str,
    short: &'static str,
    of: fn(&Row) -> Option<f64>,
    more_is_better: bool,
}

impl Column {
    fn of(criterion: &Metric) -> Column {
        let Metric {
            column,
            title,
            short,
            of,
            more_is_better,
            ..
        } = *criterion;
        Column {
            column,
            title,
            short,
            of,
            more_is_better,
        }
    }

    fn words(&self, cell: &Cell) -> String {
        let figure = cell.figure(self.of);
        figure.map_or("n/a".into(), |f| words::figure(self.column, f.median))
    }
}

/// What counts under this load, the figure with the bar first: p99 or p50 at a fixed rate.
fn columns(arms: &[Cell]) -> Vec<Column> {
    let workload = &arms[0].workload;
    let has = |criterion: &&Metric| arms.iter().any(|cell| cell.figure(criterion.of).is_some());
    let criteria = crate::analysis::stats::ranking::criteria(workload);
    let mut chosen: Vec<&Metric> = criteria.iter().filter(has).collect();
    let latencies = [&RESPONSE_P50, &RESPONSE_P99];
    for latency in latencies.into_iter().filter(|l| has(l)) {
        if !chosen.iter().any(|c| c.column == latency.column) {
            chosen.push(latency);
        }
    }
    if workload.is_open_loop() {
        let slowest = ["response_p99_ns", "response_p50_ns"];
        let at = slowest
            .iter()
            .find_map(|name| chosen.iter().position(|c| c.column == *name));
        if let Some(at) = at {
            chosen[..=at].rotate_right(1);
        }
    }
    if chosen.is_empty() {
        chosen.push(&METRICS[1]);
    }
    if chosen.len() > MOST_OTHERS + 1 {
        chosen.retain(|c| c.column != RESPONSE_P50.column);
    }
    chosen
        .into_iter()
        .take(MOST_OTHERS + 1)
        .map(Column::of)
        .collect()
}

fn table(arms: &[Cell], rankings: &[&Ranking], look: Look) -> String {
    let columns = columns(arms);
    let Some((first, others)) = columns.split_first() else {
        return String::new();
    };
    let ranking = rankings.iter().find(|ranking| ranking.title == first.title);
    let places = ranking.map_or(&[][..], |ranking| &ranking.places);
    let longest = arms
        .iter()
        .filter_map(|cell| Some(cell.figure(first.of)?.median));
    let ends = places
        .iter()
        .filter_map(|place| Some(span(place, places.first()?)?.1));
    let scale = longest.chain(ends).fold(0.0, f64::max);
    let mut text = " ".repeat(MARK + ARM);
    text.push_str(&format!("{:>FIRST$}  {:<BAR$}", first.title, ""));
    text.extend(
        others
            .iter()
            .map(|column| format!("{:>OTHER$}", column.short)),
    );
    let mut text = text.trim_end().to_string() + "\n";
    for cell in in_order(arms, places, first) {
        let place = places.iter().find(|place| place.arm == cell.arm);
        let (low, high) = place
            .and_then(|p| span(p, places.first()?))
            .unwrap_or_else(|| {
                let median = cell.figure(first.of).map_or(0.0, |f| f.median);
                (median, median)
            });
        text.push_str(&line(
            cell,
            place,
            first,
            &bar(low, high, scale),
            others,
            look,
        ));
    }
    text
}

/// Those that are ranked as they are, then the others by their figure.
fn in_order<'a, 'b>(arms: &'a [Cell<'b>], places: &[Place], by: &Column) -> Vec<&'a Cell<'b>> {
    let place = |cell: &&Cell| places.iter().position(|place| place.arm == cell.arm);
    let mut cells: Vec<&Cell> = arms.iter().collect();
    let sign = if by.more_is_better { -1.0 } else { 1.0 };
    let figure = |cell: &&Cell| {
        cell.figure(by.of)
            .map_or(f64::INFINITY, |f| sign * f.median)
    };
    cells.sort_by(|a, b| {
        let key = |cell: &&Cell| place(cell).unwrap_or(usize::MAX);
        key(a).cmp(&key(b)).then(figure(a).total_cmp(&figure(b)))
    });
    cells
}

/// Where a place's figure may lie, as what is known against the best says.
fn span(place: &Place, best: &Place) -> Option<(f64, f64)> {
    match place.difference {
        None => Some((place.figure.median, place.figure.median)),
        Some(difference) => {
            let interval = difference.interval?;
            let at = |change: f64| best.figure.median * (1.0 + change);
            Some((at(interval.low), at(interval.high)))
        }
    }
}

/// Whether the places would be the same by the figures that are shown: a median does not know who else ran in a slow
/// block.
fn is_in_order_of_medians(ranking: &Ranking) -> bool {
    let medians = ranking.places.iter().map(|place| place.figure.median);
    match ranking.more_is_better {
        true => medians.is_sorted_by(|a, b| a >= b),
        false => medians.is_sorted(),
    }
}

/// Full up to the lower end, shaded up to the higher.
fn bar(low: f64, high: f64, scale: f64) -> String {
    if scale <= 0.0 || scale.is_nan() {
        return String::new();
    }
    let cells = |value: f64| ((value / scale * BAR as f64).round() as usize).min(BAR);
    let (full, all) = (cells(low), cells(high));
    let full = if high > 0.0 { full.max(1) } else { full };
    format!(
        "{}{}",
        "█".repeat(full),
        "░".repeat(all.saturating_sub(full))
    )
}

fn line(
    cell: &Cell,
    place: Option<&Place>,
    first: &Column,
    bar: &str,
    others: &[Column],
    look: Look,
) -> String {
    let status = cell.status().0;
    let (mark, colour) = match (place.map(|p| p.standing), status) {
        (_, status) if status != Status::Ok => ("!", RED),
        (Some(Standing::Best), _) => ("*", GREEN),
        (Some(Standing::Tied), _) => ("=", GREEN),
        (Some(Standing::NotToldApart), _) => ("~", GREEN),
        _ => (" ", ""),
    };
    let arm = visible(cell.arm);
    let mut text = look.paint(colour, &format!("{mark:<MARK$}{arm:<ARM$}"));
    if arm.chars().count() > ARM {
        text.push_str(&format!("\n{}", " ".repeat(MARK + ARM)));
    }
    let doubt = if cell.verdict() == Verdict::Valid {
        " "
    } else {
        "?"
    };
    text.push_str(&format!(
        "{:>FIRST$}{} ",
        first.words(cell),
        look.paint(YELLOW, doubt)
    ));
    if status != Status::Ok && status != Status::Limited {
        let word = status.to_string();
        text.push_str(&look.paint(RED, &format!("{word:<BAR$}")));
    } else {
        text.push_str(&look.paint(colour, &format!("{bar:<BAR$}")));
    }
    text.extend(
        others
            .iter()
            .map(|column| format!("{:>OTHER$}", column.words(cell))),
    );
    text.trim_end().to_string() + "\n"
}

/// How many trials are in doubt, a line per code.
fn doubts(rows: &[Row], look: Look) -> String {
    let of = |verdict: Verdict| rows.iter().filter(|row| row.verdict == verdict).count();
    let (suspect, invalid) = (of(Verdict::Suspect), of(Verdict::Invalid));
    if suspect + invalid == 0 {
        return String::new();
    }
    let mut codes: BTreeMap<&str, usize> = BTreeMap::new();
    for row in rows {
        let mut own: Vec<&str> = row.reasons.0.iter().map(|r| r.code.as_str()).collect();
        own.sort_unstable();
        own.dedup();
        for code in own.into_iter().filter(|code| !code.is_empty()) {
            *codes.entry(code).or_default() += 1;
        }
    }
    let counted = [(suspect, "suspect"), (invalid, "invalid")];
    let counted = counted.iter().filter(|(n, _)| *n > 0);
    let counted: Vec<String> = counted.map(|(n, what)| format!("{n} {what}")).collect();
    let verbose = match look.verbose {
        true => "",
        false => " (--verbose: in full)",
    };
    let counted = match rows.len() {
        1 => format!("The only trial is {}", counted[0].trim_start_matches("1 ")),
        trials => format!("Of {trials} trials {}", counted.join(", ")),
    };
    let mut text = format!("\n{counted}{verbose}:\n");
    for (code, n) in codes {
        let says = Code::parse(code).map_or("", Code::text);
        text.push_str(&wrapped(&format!("  {n:>4} {code} {says}"), WIDTH));
    }
    for (why, n) in without_figures(rows) {
        text.push_str(&wrapped(&format!("  {n:>4} {why}"), WIDTH));
    }
    text
}

/// Why trials have no figures although nothing is said of their server, and how many.
fn without_figures(rows: &[Row]) -> BTreeMap<String, usize> {
    let is_untold = |row: &&Row| row.verdict == Verdict::Invalid && row.status == Status::Ok;
    let mut counted = BTreeMap::new();
    for row in rows.iter().filter(is_untold) {
        let reasons = row.reasons.0.iter().filter(|reason| reason.code.is_empty());
        for reason in reasons {
            *counted.entry(visible(&reason.text)).or_default() += 1;
        }
    }
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::{Reason, Reasons};

    fn rows(blocks: u32) -> Vec<Row> {
        let row = |arm: &str, block: u32, per_s: f64| Row {
            arm: arm.into(),
            model: arm.into(),
            service: "echo".into(),
            conns: 50,
            payload_bytes: 64,
            block,
            conns_served: Some(50),
            requests_completed: Some(1),
            requests_per_s: Some(per_s * (1.0 + f64::from(block % 3) / 500.0)),
            server_cpu_us_per_request: Some(1e6 / per_s),
            response_p50_ns: Some(470_000),
            response_p99_ns: Some(1_290_000),
            server_memory_kib: Some(4096),
            server_memory_per_conn_bytes: Some(83_886.0),
            ..Row::blank()
        };
        let arms = [
            ("epoll", 174_000.0),
            ("prefork:accept=mutex,workers=64", 90_000.0),
            ("thread", 50_000.0),
        ];
        (1..=blocks)
            .flat_map(|b| arms.map(|(arm, per_s)| row(arm, b, per_s)))
            .collect()
    }

    fn screen(rows: &[Row], complete: bool, look: Look) -> String {
        for_people(
            rows,
            &Answer::of(rows, complete),
            Path::new("results/x"),
            look,
        )
    }

    #[test]
    fn the_answer_comes_first_and_everything_fits() {
        let text = screen(&rows(3), true, Look::default());
        assert!(
            text.starts_with("Take `epoll`: none was shown to be better"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert!(
            text.contains("50 connections, closed loop, echo 64 B\n"),
            "{text}"
        );
        assert!(text.contains("\n* epoll                174k"), "{text}");
        assert!(
            text.contains("mem/conn") && text.contains("81.9 KiB"),
            "{text}"
        );
        assert!(
            text.ends_with("Results: results/x\n") && !text.contains('\x1b'),
            "{text}"
        );
        let longest = text.lines().find(|line| line.contains('█')).unwrap();
        assert_eq!(longest.matches('█').count(), BAR, "{text}");
    }

    #[test]
    fn an_order_that_is_not_that_of_the_medians_is_explained() {
        let explained = |rows: &[Row]| {
            let text = screen(rows, true, Look::default());
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH));
            text.contains("Listed by what each did beside the others of its blocks")
        };
        assert!(!explained(&rows(3)));
        // Faster than the other in the blocks that both have, but only in the slow ones.
        let row = |arm: &str, block: u32, per_s: f64| Row {
            requests_per_s: Some(per_s),
            server_cpu_us_per_request: None,
            server_memory_kib: None,
            server_memory_per_conn_bytes: None,
            arm: arm.into(),
            model: arm.into(),
            block,
            ..rows(1).remove(0)
        };
        let speeds = [50.0, 51.0, 100.0, 101.0, 102.0];
        let blocks = (1..).zip(speeds);
        let mut all: Vec<Row> = blocks.clone().map(|(b, v)| row("poll", b, v)).collect();
        all.extend(blocks.take(2).map(|(b, v)| row("epoll", b, 1.05 * v)));
        assert!(explained(&all));
    }

    #[test]
    fn colours_are_only_for_those_who_see_them() {
        let look = Look {
            colour: true,
            verbose: false,
        };
        let text = screen(&rows(3), true, look);
        assert!(
            text.starts_with("\x1b[1mTake") && text.contains("\x1b[32m* epoll"),
            "{text}"
        );
    }

    #[test]
    fn an_interrupted_run_says_so_before_anything_else() {
        let text = screen(&rows(1), false, Look::default());
        assert!(
            text.starts_with("Interrupted after 3 trials: this is what they say.\nProvisionally"),
            "{text}"
        );
        let nothing = screen(&[], false, Look::default());
        assert!(
            nothing.starts_with("Interrupted after 0 trials"),
            "{nothing}"
        );
    }

    #[test]
    fn failures_are_marked_and_doubts_are_counted_by_code() {
        let mut rows = rows(3);
        for row in rows.iter_mut().filter(|row| row.arm == "thread") {
            row.status = Status::Starved;
            row.reasons = Reasons(vec![Reason {
                code: String::new(),
                text: "served 1 of 50\x1b[31m".into(),
            }]);
        }
        rows[0].verdict = Verdict::Suspect;
        rows[0].reasons = Reasons(vec![Reason {
            code: "W06".into(),
            text: "throughput fell by 12 %".into(),
        }]);
        let text = screen(&rows, true, Look::default());
        assert!(
            text.contains("\n! thread") && text.contains("starved"),
            "{text}"
        );
        assert!(
            text.contains("`thread` starved connections (served 1 of 50"),
            "{text}"
        );
        assert!(
            text.contains(
                "Of 9 trials 1 suspect (--verbose: in full):\n     1 W06 the figures were not steady\n"
            ),
            "{text}"
        );
        assert!(text.contains("174k?") && !text.contains('\x1b'), "{text}");
        let look = Look {
            colour: false,
            verbose: true,
        };
        assert!(screen(&rows, true, look).contains("throughput fell by 12 %"));
        rows[1].verdict = Verdict::Invalid;
        rows[1].reasons = Reasons(vec![Reason {
            code: String::new(),
            text: "no outcome: it could not be told to go on".into(),
        }]);
        let text = screen(&rows, true, Look::default());
        assert!(
            text.contains("     1 no outcome: it could not be told to go on\n"),
            "{text}"
        );
    }
}
