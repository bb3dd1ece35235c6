//! Response times over time: a map of every arm's seconds, each column a second, each row a class of times, the colour
//! how many requests. What stalls stands high above the rest, and leaves a gap where nothing was answered.

use super::canvas::Texts;
use super::panel::{Along, conditions, left_out};
use super::table::Table;
use super::{Chart, Plot};
use crate::analysis::summary::{Cell, cells};
use crate::base::text::{file_name, visible};
use crate::base::unit::{Unit, count};
use crate::model::latency_seconds::{LAST_CLASS, LatencySecond, LatencySeconds, begin_ns};
use crate::model::row::Row;
use crate::model::workload::workload_name;
use serde::Serialize;

/// Columns of an arm at most; of more seconds several are one.
const MOST_COLUMNS: usize = 60;

/// A map of every arm under one workload, on the same axes.
#[derive(Debug, Clone, Serialize)]
pub struct OverTime {
    /// The maps.
    pub arms: Vec<ArmOverTime>,
    /// The lowest and the highest class of all.
    pub classes: (u16, u16),
    /// The most requests of any class in a second.
    pub most: u64,
}

/// One arm's seconds.
#[derive(Debug, Clone, Serialize)]
pub struct ArmOverTime {
    /// The arm, in words that can be shown.
    pub label: String,
    /// Its trials one after the other.
    pub columns: Vec<Column>,
    /// The columns at which trials begin.
    pub trials: Vec<usize>,
    /// When they begin, as if one followed the other at once, s.
    pub begin_s: Vec<f64>,
    /// Seconds that are one column.
    pub seconds_per_column: usize,
    /// The windows together, s.
    pub length_s: f64,
}

/// A second, or of several in one the most of each class.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Column {
    /// Class and number of requests.
    pub counts: Vec<(u16, u64)>,
    /// Whether nothing was answered in some second of it.
    pub is_silent: bool,
}

/// One chart per workload whose trials have seconds.
pub fn draw(rows: &[Row], seconds: &LatencySeconds) -> Vec<Chart> {
    let cells = cells(rows);
    let workloads: Vec<&[Cell]> = cells.chunk_by(|a, b| a.workload == b.workload).collect();
    let charts = workloads
        .iter()
        .filter_map(|cells| draw_workload(cells, seconds));
    charts.collect()
}

fn draw_workload(cells: &[Cell], seconds: &LatencySeconds) -> Option<Chart> {
    let arms: Vec<ArmOverTime> = cells.iter().filter_map(|cell| arm(cell, seconds)).collect();
    let counts = || {
        arms.iter()
            .flat_map(|arm| &arm.columns)
            .flat_map(|c| &c.counts)
    };
    let classes = (
        counts().map(|(class, _)| *class).min()?,
        counts().map(|(class, _)| *class).max()?,
    );
    let most = counts().map(|(_, n)| *n).max()?;
    let row = cells[0].rows[0];
    let mut caption = vec![format!(
        "Every second of every trial, one trial after the other; a class of times is 26 % wide. Red: a second in which \
         nothing was answered.{}",
        match arms.iter().map(|arm| arm.seconds_per_column).max() {
            Some(n @ 2..) => format!(" Up to {n} seconds are one column: of each class the most."),
            _ => String::new(),
        }
    )];
    caption.extend(left_out(cells, Along::Nothing));
    let plot = OverTime {
        arms,
        classes,
        most,
    };
    Some(Chart {
        name: format!("latency-over-time-{}", file_name(&workload_name(row))),
        texts: Texts {
            title: "Response time over time".into(),
            subtitle: conditions(row, Along::Nothing),
            caption,
        },
        table: Some(table(&plot)),
        plot: Plot::OverTime(plot),
    })
}

fn arm(cell: &Cell, seconds: &LatencySeconds) -> Option<ArmOverTime> {
    let rows = cell.rows.iter().filter(|row| row.is_usable());
    let rows = rows.filter(|row| seconds.contains_key(&row.trial));
    let mut length_s = 0.0;
    let mut begin = |row: &&Row| {
        let begin_s = length_s;
        length_s += row.duration_s;
        begin_s
    };
    let begin_s: Vec<f64> = rows.clone().map(&mut begin).collect();
    let trials: Vec<&Vec<LatencySecond>> = rows.filter_map(|row| seconds.get(&row.trial)).collect();
    let all: usize = trials.iter().map(|trial| trial.len()).sum();
    let answered = trials
        .iter()
        .flat_map(|trial| trial.iter())
        .any(|s| !s.counts.is_empty());
    if !answered {
        return None;
    }
    let seconds_per_column = all.div_ceil(MOST_COLUMNS).max(1);
    let (mut columns, mut starts) = (Vec::new(), Vec::new());
    for trial in trials {
        starts.push(columns.len());
        columns.extend(trial.chunks(seconds_per_column).map(column));
    }
    Some(ArmOverTime {
        label: visible(cell.arm),
        columns,
        trials: starts,
        begin_s,
        seconds_per_column,
        length_s,
    })
}

fn column(seconds: &[LatencySecond]) -> Column {
    let mut counts = std::collections::BTreeMap::<u16, u64>::new();
    for second in seconds {
        let known = second
            .counts
            .iter()
            .filter(|(class, n)| *class <= LAST_CLASS && *n > 0);
        for (class, n) in known {
            let most = counts.entry(*class).or_default();
            *most = (*most).max(n.div_ceil(second.length_s.max(1)));
        }
    }
    Column {
        counts: counts.into_iter().collect(),
        is_silent: seconds.iter().any(|second| second.counts.is_empty()),
    }
}

impl ArmOverTime {
    /// What there is to see, in words.
    pub fn in_words(&self) -> String {
        let silent = self
            .columns
            .iter()
            .filter(|column| column.is_silent)
            .count();
        let silent = match silent {
            0 => String::new(),
            n => format!(", nothing answered in {n}"),
        };
        let columns = self.columns.len();
        format!(
            "{}: {columns} columns of {} s{silent}; the longest below {}",
            self.label,
            self.seconds_per_column,
            Unit::Duration.words(self.longest_ns())
        )
    }

    /// The end of the highest class.
    fn longest_ns(&self) -> f64 {
        let classes = self.columns.iter().flat_map(|column| &column.counts);
        classes
            .map(|(class, _)| begin_ns(class + 1))
            .fold(0.0, f64::max)
    }
}

fn table(plot: &OverTime) -> Table {
    let line = |arm: &ArmOverTime| {
        let silent = arm.columns.iter().filter(|column| column.is_silent).count();
        let highest = |column: &Column| column.counts.last().map_or(0, |(class, _)| *class);
        let mut highest: Vec<u16> = arm.columns.iter().map(highest).collect();
        highest.sort_unstable();
        let usual = highest.get(highest.len() / 2).copied().unwrap_or(0);
        vec![
            arm.label.clone(),
            arm.columns.len().to_string(),
            silent.to_string(),
            Unit::Duration.words(begin_ns(usual + 1)),
            Unit::Duration.words(arm.longest_ns()),
            count(
                arm.columns
                    .iter()
                    .flat_map(|c| &c.counts)
                    .map(|(_, n)| *n)
                    .max()
                    .unwrap_or(0) as f64,
            ),
        ]
    };
    let header = [
        "arm",
        "columns",
        "nothing answered in",
        "longest of the median column, below",
        "longest, below",
        "most of a class in a second",
    ];
    Table {
        header: header.map(String::from).into(),
        lines: plot.arms.iter().map(line).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(trial: u32) -> Row {
        Row {
            arm: "epoll".into(),
            model: "epoll".into(),
            service: "echo".into(),
            conns: 50,
            trial,
            requests_completed: Some(1),
            duration_s: 2.5,
            ..Row::blank()
        }
    }

    fn second(second: u64, counts: &[(u16, u64)]) -> LatencySecond {
        LatencySecond {
            second,
            length_s: 1,
            counts: counts.into(),
        }
    }

    #[test]
    fn a_stall_is_a_gap_and_what_comes_after_it_stands_high() {
        let seconds: LatencySeconds = [
            (
                1,
                vec![
                    second(0, &[(50, 900)]),
                    second(1, &[]),
                    second(2, &[(50, 800), (91, 40)]),
                ],
            ),
            (2, vec![second(0, &[(50, 1000)])]),
        ]
        .into();
        let charts = draw(&[row(1), row(2), row(3)], &seconds);
        let chart = &charts[0];
        let Plot::OverTime(plot) = &chart.plot else {
            panic!()
        };
        let arm = &plot.arms[0];
        assert_eq!(
            (plot.classes, plot.most, &arm.trials[..]),
            ((50, 91), 1000, &[0, 3][..])
        );
        let silent: Vec<bool> = arm.columns.iter().map(|c| c.is_silent).collect();
        assert_eq!(silent, [false, true, false, false]);
        let svg = chart.svg().unwrap();
        assert!(svg.contains("#c80000") && svg.contains("epoll"), "{svg}");
        assert_eq!(chart.table().lines[0][2], "1");
        assert!(svg.contains(">0 s<") && svg.contains(">2.5 s<"), "{svg}");
        assert!(draw(&[row(3)], &seconds).is_empty(), "it has no seconds");
    }

    #[test]
    fn an_hour_is_no_larger_than_a_minute() {
        let hour = |width: u64| {
            let all = (0..3600).map(|s| second(s, &[(40, 5 + s % 7), (40 + (s % 50) as u16, 1)]));
            let all: Vec<LatencySecond> = all.take(3600 / width as usize).collect();
            let charts = draw(&[row(1)], &[(1, all)].into());
            charts[0].svg().unwrap().len()
        };
        assert!(hour(1) < 2 * hour(60) && hour(1) < 60_000, "{}", hour(1));
    }

    #[test]
    fn what_no_class_holds_is_not_drawn() {
        let seconds = [(1, vec![second(0, &[(40, 5), (u16::MAX, 9)])])].into();
        let Plot::OverTime(plot) = draw(&[row(1)], &seconds).remove(0).plot else {
            panic!()
        };
        assert_eq!(plot.classes, (40, 40));
    }
}
