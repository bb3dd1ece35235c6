//! Which cells belong into one picture: those whose workloads differ in one number only.

use super::canvas::{Axis, Point, Scale, Series, in_full};
use super::look;
use super::table::Table;
use crate::analysis::stats::order_statistic::median_interval;
use crate::analysis::summary::{Cell, Figure, arms, cells};
use crate::base::text::file_name;
use crate::base::text::visible;
use crate::base::unit::{Unit, count};
use crate::model::row::{Row, Status, Verdict};
use crate::model::workload::Workload;
use crate::model::workload::{percent, workload_name};

/// Rates that differ by no more than this can be told apart on a linear axis.
const LINEAR_UP_TO: f64 = 100.0;

/// The number in which the workloads of a panel differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Along {
    /// Active connections.
    Connections,
    /// Idle connections.
    Idle,
    /// Offered requests per second.
    Rate,
    /// None: there is one workload.
    Nothing,
}

/// Cells that are drawn together.
#[derive(Debug, Clone)]
pub struct Panel<'a> {
    /// What the horizontal axis shows.
    pub along: Along,
    /// The cells, workloads in rising order.
    pub cells: Vec<Cell<'a>>,
    /// All arms of the run in the registry's order, which is the order of every legend.
    arms: Vec<&'a str>,
    /// What tells this panel's file from those of the other panels: `-idle100`; empty if there is only one.
    pub suffix: String,
}

/// Sweeps over rates first, of the other cells over connections, then over idle connections, then what is in neither;
/// where both take several values a cell is in a panel of each kind.
pub fn panels(rows: &[Row]) -> Vec<Panel<'_>> {
    let (open, others): (Vec<Cell>, Vec<Cell>) = cells(rows)
        .into_iter()
        .partition(|cell| cell.workload.is_open_loop());
    let (mut panels, single) = sweeps(open, Along::Rate);
    let others: Vec<Cell> = others.into_iter().chain(single).collect();
    let (conns, alone) = sweeps(others.clone(), Along::Connections);
    panels.extend(conns);
    let (idle, rest) = sweeps(others, Along::Idle);
    panels.extend(idle);
    let is_alone = |cell: &Cell| alone.iter().any(|other| same_workload(cell, other));
    let rest = rest.into_iter().filter(is_alone).collect();
    panels.extend(
        sweeps(rest, Along::Nothing)
            .1
            .chunk_by(same_workload)
            .map(|cells| Panel {
                along: Along::Nothing,
                cells: cells.to_vec(),
                arms: Vec::new(),
                suffix: String::new(),
            }),
    );
    for panel in &mut panels {
        panel.arms = arms(rows);
    }
    if panels.len() > 1 {
        for panel in &mut panels {
            panel.suffix = format!("-{}", panel.name());
        }
    }
    panels
}

fn same_workload(a: &Cell, b: &Cell) -> bool {
    a.workload == b.workload
}

/// The panels in which a number takes several values, and the cells that are in none.
fn sweeps(cells: Vec<Cell<'_>>, along: Along) -> (Vec<Panel<'_>>, Vec<Cell<'_>>) {
    let mut groups: Vec<(Workload, Vec<Cell>)> = Vec::new();
    for cell in cells {
        let mut key = cell.workload.clone();
        match along {
            Along::Connections => key.conns = 0,
            Along::Idle => key.idle = 0,
            Along::Rate => {
                key.requests_per_1000_s = key.requests_per_1000_s.map(|_| 0);
                key.capacity_permille = key.capacity_permille.map(|_| 0);
            }
            Along::Nothing => {}
        }
        match groups.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(cell),
            None => groups.push((key, vec![cell])),
        }
    }
    let several =
        |(_, group): &(Workload, Vec<Cell>)| !group.iter().all(|c| same_workload(c, &group[0]));
    let (swept, rest): (Vec<_>, Vec<_>) = groups.into_iter().partition(several);
    let panels = swept.into_iter().map(|(_, cells)| Panel {
        along,
        cells,
        arms: Vec::new(),
        suffix: String::new(),
    });
    (
        panels.collect(),
        rest.into_iter().flat_map(|(_, group)| group).collect(),
    )
}

impl<'a> Panel<'a> {
    /// The panel's first row: its conditions.
    pub fn row(&self) -> &'a Row {
        self.cells[0].rows[0]
    }

    /// The workload without the number along the axis: `echo64-idle100`.
    fn name(&self) -> String {
        let name = workload_name(self.row());
        let parts = name.split('/').filter(|part| match self.along {
            Along::Connections => !is_numbered(part, "c"),
            Along::Idle => !is_numbered(part, "idle"),
            Along::Rate => !part.starts_with(self.row().arrival.as_str()),
            Along::Nothing => true,
        });
        file_name(&parts.collect::<Vec<_>>().join("-"))
    }

    /// Under which conditions the panel's figures were taken.
    pub fn conditions(&self) -> String {
        conditions(self.row(), self.along)
    }

    /// The label of the horizontal axis.
    pub fn label(&self) -> &'static str {
        match self.along {
            Along::Idle => "idle connections",
            Along::Rate => "requests/s offered",
            _ => "connections",
        }
    }

    /// Where a cell lies on the horizontal axis.
    pub fn x(&self, cell: &Cell) -> f64 {
        match self.along {
            Along::Idle => cell.workload.idle as f64,
            Along::Rate => cell.rows[0].rate_per_s.unwrap_or(0.0),
            _ => cell.workload.conns as f64,
        }
    }

    /// The horizontal axis over these places.
    pub fn axis(&self, places: impl Iterator<Item = f64> + Clone) -> Axis {
        let scale = match self.along {
            Along::Rate => scale_of_rates(places.clone()),
            _ => Scale::Log,
        };
        Axis::over(self.label(), scale, places, Unit::Count)
    }

    /// The figures of a panel along rates as a table: each arm has its own, so that their levels head the columns.
    pub fn level_table(&self, unit: Unit, point: impl Fn(&Cell) -> Option<Point>) -> Table {
        let mut levels: Vec<(Workload, String)> = Vec::new();
        for cell in &self.cells {
            if !levels
                .iter()
                .any(|(workload, _)| *workload == cell.workload)
            {
                levels.push((cell.workload.clone(), level_in_words(cell)));
            }
        }
        let mut own: Vec<&str> = self.cells.iter().map(|cell| cell.arm).collect();
        own.sort_by_key(|arm| self.arms.iter().position(|other| other == arm));
        own.dedup();
        let figure = |arm: &str, level: &Workload| {
            let mut cells = self.cells.iter();
            let cell = cells.find(|cell| cell.arm == arm && cell.workload == *level);
            let point = cell.and_then(&point);
            point.map_or("n/a".to_string(), |point| in_full(&point, unit))
        };
        let line = |arm: &&str| {
            let figures = levels.iter().map(|(level, _)| figure(arm, level));
            std::iter::once(visible(arm)).chain(figures).collect()
        };
        let header = levels.iter().map(|(_, words)| words.clone());
        Table {
            header: std::iter::once("arm".to_string()).chain(header).collect(),
            lines: own.iter().map(line).collect(),
        }
    }

    /// The points of every arm that has any; the cells have the arms in the registry's order.
    pub fn series(&self, point: impl Fn(&Cell) -> Option<Point>) -> Vec<Series> {
        let mut series: Vec<Series> = Vec::new();
        for cell in &self.cells {
            let Some(point) = point(cell) else { continue };
            let label = visible(cell.arm);
            match series.iter_mut().find(|s| s.label == label) {
                Some(own) => own.points.push(point),
                None => series.push(Series {
                    label,
                    remark: None,
                    look: look::of_arm(cell.arm, cell.model),
                    points: vec![point],
                }),
            }
        }
        let order = |s: &Series| self.arms.iter().position(|arm| visible(arm) == s.label);
        series.sort_by_cached_key(order);
        series
    }

    /// Some of the panel's cells as a panel of one workload.
    pub fn single(&self, cells: &[Cell<'a>]) -> Panel<'a> {
        let workload = &cells[0].workload;
        let own = match self.along {
            Along::Connections => format!("-c{}", workload.conns),
            Along::Idle => format!("-idle{}", workload.idle),
            Along::Rate => {
                let level = level_in_words(&cells[0]).replace([' ', '/'], "");
                format!("-{}", file_name(&level))
            }
            Along::Nothing => String::new(),
        };
        Panel {
            along: Along::Nothing,
            cells: cells.to_vec(),
            arms: self.arms.clone(),
            suffix: format!("{own}{}", self.suffix),
        }
    }

    /// A cell's point of a column: the median of its believable trials, and its interval.
    pub fn point(&self, cell: &Cell, column: impl Fn(&Row) -> Option<f64>) -> Option<Point> {
        let usable = cell.rows.iter().filter(|row| row.is_usable());
        let values: Vec<f64> = usable
            .filter_map(|row| column(row))
            .filter(|v| v.is_finite())
            .collect();
        self.point_of(cell, &values)
    }

    /// The same of any values.
    pub fn point_of(&self, cell: &Cell, values: &[f64]) -> Option<Point> {
        let figure = Figure::of(values.iter().copied())?;
        let range = || (figure.trials > 1).then_some((figure.min, figure.max));
        Some(Point {
            x: self.x(cell),
            y: figure.median,
            range: median_interval(values)
                .map(|i| (i.low, i.high))
                .or_else(range),
            suspect: cell.verdict() != Verdict::Valid,
            note: status_note(cell),
            ..Point::default()
        })
    }

    /// How the trials are drawn, and which cells are missing, and why.
    pub fn captions(&self, first: &str) -> Vec<String> {
        let mut captions = vec![
            format!("{first} {}", trials_caption(&self.cells))
                .trim()
                .to_string(),
        ];
        captions.extend(left_out(&self.cells, self.along));
        captions
    }
}

/// Rates are read off a linear axis, where a curve has its shape, unless the lowest would all lie at its beginning.
pub fn scale_of_rates(rates: impl Iterator<Item = f64> + Clone) -> Scale {
    let low = rates.clone().fold(f64::INFINITY, f64::min);
    let high = rates.fold(0.0, f64::max);
    match high > LINEAR_UP_TO * low {
        true => Scale::Log,
        false => Scale::Linear,
    }
}

/// `50 %` of the arm's capacity, or a rate.
fn level_in_words(cell: &Cell) -> String {
    let row = cell.rows[0];
    match row.capacity_fraction {
        Some(share) => format!("{} %", percent(share)),
        None => format!("{}/s", count(row.rate_per_s.unwrap_or(0.0))),
    }
}

fn is_numbered(part: &str, prefix: &str) -> bool {
    part.strip_prefix(prefix)
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn status_note(cell: &Cell) -> Option<String> {
    match cell.status().0 {
        Status::Ok | Status::Skipped => None,
        Status::Wrong => Some("wrong bytes".into()),
        status => Some(status.to_string()),
    }
}

/// How figures over trials are drawn.
fn trials_caption(cells: &[Cell]) -> String {
    let trials = || cells.iter().map(|cell| cell.rows.len());
    match (trials().min().unwrap_or(0), trials().max().unwrap_or(0)) {
        (_, 0 | 1) => "One trial each. Hollow: suspect.".into(),
        (6.., n) => {
            format!("Median of {n} trials, line: its 95 % interval. Hollow: some trial suspect.")
        }
        (_, n @ 6..) => {
            format!(
                "Median of up to {n} trials, line: its 95 % interval, of fewer than 6 their range. Hollow: some trial suspect."
            )
        }
        (_, n) => format!("Median of {n} trials, line: their range. Hollow: some trial suspect."),
    }
}

/// Which cells are missing from a chart of figures, and why.
pub fn left_out(cells: &[Cell], along: Along) -> Option<String> {
    let at = |cell: &Cell| match along {
        Along::Idle => format!("{} idle", count(cell.workload.idle as f64)),
        Along::Rate => level_in_words(cell),
        _ => count(cell.workload.conns as f64),
    };
    let missing = |cell: &&Cell| !cell.rows.iter().any(|row| row.is_usable());
    let everywhere = |arm: &str| cells.iter().filter(|c| c.arm == arm).all(|c| missing(&c));
    let mut named: Vec<String> = Vec::new();
    for cell in cells.iter().filter(missing) {
        let why = match cell.status().0 {
            Status::Ok => "invalid".into(),
            status => status.to_string(),
        };
        let words = match everywhere(cell.arm) {
            true => format!("{} everywhere ({why})", visible(cell.arm)),
            false => format!("{} at {} ({why})", visible(cell.arm), at(cell)),
        };
        if !named.contains(&words) {
            named.push(words);
        }
    }
    const MOST: usize = 5;
    let more = named.len().saturating_sub(MOST);
    let tail = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    (!named.is_empty())
        .then(|| format!("Left out: {}{tail}", named[..named.len() - more].join(", ")))
}

/// The course that a load without one rate takes.
fn course_in_words(row: &Row) -> String {
    const MOST: usize = 60;
    let shortened = |stages: &String| match stages.char_indices().nth(MOST) {
        None => stages.clone(),
        Some((end, _)) => format!("{}…", &stages[..end]),
    };
    match (&row.stages, &row.conn_stages) {
        (Some(stages), _) => format!("open loop in stages of {} requests/s", shortened(stages)),
        (None, Some(stages)) => {
            format!("closed loop in stages of {} connections", shortened(stages))
        }
        (None, None) => "closed loop".into(),
    }
}

/// What every chart says about the conditions under its title, but for what its axis shows.
pub fn conditions(row: &Row, along: Along) -> String {
    let mut words = Vec::new();
    if along != Along::Connections {
        words.push(match row.conns {
            1 => "1 connection".into(),
            n => format!("{} connections", count(n as f64)),
        });
    }
    if along != Along::Idle && row.idle > 0 {
        words.push(format!("{} idle beside them", count(row.idle as f64)));
    }
    words.push(match &row.requests {
        Some(requests) => format!("{} {requests}", row.protocol),
        None => format!("{} of {} bytes", row.service, row.payload_bytes),
    });
    words.push(match row.requests_per_conn {
        None => "long-lived".to_string(),
        Some(1) => "one request per connection".to_string(),
        Some(n) => format!("{n} requests per connection"),
    });
    words.push(match (along, row.capacity_fraction, row.rate_per_s) {
        (_, _, None) => course_in_words(row),
        (Along::Rate, _, _) => "open loop".into(),
        (_, Some(share), _) => format!("{} % of each arm's capacity offered", percent(share)),
        (_, None, Some(rate)) => format!("{} requests/s offered", count(rate)),
    });
    for (what, ns) in [("work", row.work_ns), ("blocking", row.block_ns)] {
        if let Some(ns) = ns.filter(|ns| *ns > 0) {
            words.push(format!(
                "{} of {what} each",
                crate::base::unit::duration(ns as f64)
            ));
        }
    }
    let place = format!(
        "server on {}, client on {}",
        cpus_in_words(&row.server_cpus),
        cpus_in_words(&row.client_cpus)
    );
    visible(&format!("{}; {place}", words.join(", ")))
}

/// Of a list of CPUs, or of the hosts whose CPUs were all used.
fn cpus_in_words(cpus: &str) -> String {
    match cpus.strip_prefix("all of ") {
        Some(hosts) => format!("all CPUs of {}", hosts.replace(',', ", ")),
        None => format!("CPU {cpus}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_its_cpus_or_by_its_hosts() {
        assert_eq!(cpus_in_words("0,2-3"), "CPU 0,2-3");
        assert_eq!(
            cpus_in_words("all of load1,load2"),
            "all CPUs of load1, load2"
        );
    }

    fn row(arm: &str, conns: u64, idle: u64) -> Row {
        Row {
            arm: arm.into(),
            model: arm.into(),
            service: "echo".into(),
            payload_bytes: 64,
            conns,
            idle,
            ..Row::blank()
        }
    }

    #[test]
    fn sweeps_are_told_from_what_stands_alone() {
        let mut rows = vec![
            row("epoll", 50, 0),
            row("epoll", 100, 0),
            row("poll", 50, 0),
        ];
        let one = panels(&rows);
        assert_eq!(
            (one.len(), one[0].along, one[0].suffix.as_str()),
            (1, Along::Connections, "")
        );
        rows.extend([row("epoll", 50, 10), row("epoll", 50, 100)]);
        rows[0].payload_bytes = 1;
        rows[2].payload_bytes = 1;
        let all: Vec<(Along, usize, String)> = panels(&rows)
            .into_iter()
            .map(|p| (p.along, p.cells.len(), p.suffix))
            .collect();
        let expected = [
            (Along::Idle, 2, "-c50-echo64".to_string()),
            (Along::Nothing, 2, "-c50-echo1".into()),
            (Along::Nothing, 1, "-c100-echo64".into()),
        ];
        let sorted = |mut v: Vec<(Along, usize, String)>| {
            v.sort_by(|a, b| a.2.cmp(&b.2));
            v
        };
        assert_eq!(sorted(all), sorted(expected.to_vec()));
    }

    #[test]
    fn levels_of_load_are_one_panel_whatever_each_arms_rate() {
        let level = |arm: &str, share: f64, rate: f64| Row {
            rate_per_s: Some(rate),
            capacity_fraction: Some(share),
            arrival: "fixed".into(),
            requests_completed: Some(1),
            requests_per_s: Some(rate),
            ..row(arm, 50, 0)
        };
        let rows = [
            level("epoll", 0.1, 1e4),
            level("epoll", 0.5, 5e4),
            level("poll", 0.1, 5e3),
            level("poll", 0.5, 2.5e4),
            row("epoll", 50, 0),
            row("epoll", 60, 0),
        ];
        let panels = panels(&rows);
        let kinds: Vec<(Along, usize)> = panels.iter().map(|p| (p.along, p.cells.len())).collect();
        assert_eq!(kinds, [(Along::Rate, 4), (Along::Connections, 2)]);
        assert_eq!(panels[0].suffix, "-c50-echo64");
        let point = |cell: &Cell| panels[0].point(cell, |row| row.requests_per_s);
        let series = panels[0].series(point);
        let rates = |n: usize| -> Vec<f64> { series[n].points.iter().map(|p| p.x).collect() };
        let poll = series.iter().position(|s| s.label == "poll").unwrap();
        assert_eq!(rates(poll), [5e3, 2.5e4]);
        assert_eq!(panels[0].axis([5e3, 5e4].into_iter()).scale, Scale::Linear);
        assert_eq!(panels[0].axis([5.0, 5e4].into_iter()).scale, Scale::Log);
        let table = panels[0].level_table(Unit::Count, point);
        assert_eq!(table.header, ["arm", "10 %", "50 %"]);
        assert!(
            table
                .lines
                .contains(&["poll", "5k", "25k"].map(String::from).to_vec())
        );
    }

    #[test]
    fn what_is_missing_is_named_up_to_a_point() {
        let mut rows: Vec<Row> = (1..=9).map(|n| row("epoll\x1b", n, 0)).collect();
        rows[0].status = Status::Skipped;
        rows.push(Row {
            requests_completed: Some(1),
            ..row("epoll\x1b", 10, 0)
        });
        let text = left_out(&cells(&rows), Along::Connections).unwrap();
        assert!(
            text.starts_with("Left out: epoll\\u{1b} at 1 (skipped), "),
            "{text}"
        );
        assert!(text.ends_with(" and 4 more"), "{text}");
    }
}
