//! From rows to questions: a block's base and head trial of one cell make a pair, or the block is lost to that cell.

use super::side::{BASE, HEAD};
use crate::analysis::decide::Question;
use crate::analysis::stats::{ALPHA, signed_rank};
use crate::model::metrics::Metric;
use crate::model::metrics::{Gated, METRICS};
use crate::model::row::{Row, Status, Verdict, is_disturbed};
use crate::model::workload::workload_name;

/// One model, or the command, under one workload: its base and head trials by block.
pub struct Cell<'a> {
    /// In words: `epoll c50/echo64/fixed40000`.
    pub name: String,
    pairs: Vec<(&'a Row, &'a Row)>,
}

impl Cell<'_> {
    /// The numbers of its trials.
    pub fn trials(&self) -> Vec<u32> {
        let both = self
            .pairs
            .iter()
            .flat_map(|(base, head)| [base.trial, head.trial]);
        both.collect()
    }
}

/// The cells in the order of their first trials; a block that was not finished has no pair.
pub fn cells(rows: &[Row]) -> Vec<Cell<'_>> {
    let mut cells: Vec<Cell> = Vec::new();
    for base in rows.iter().filter(|row| side_of(row) == Some(BASE)) {
        let partner = rows.iter().find(|head| {
            head.block == base.block
                && side_of(head) == Some(HEAD)
                && subject_of(head) == subject_of(base)
        });
        let Some(head) = partner else { continue };
        let name = format!("{} {}", subject_of(base), workload_name(base));
        let name = name.trim().to_string();
        match cells.iter_mut().find(|cell| cell.name == name) {
            Some(cell) => cell.pairs.push((base, head)),
            None => cells.push(Cell {
                name,
                pairs: vec![(base, head)],
            }),
        }
    }
    cells
}

/// The side an arm's label names: `epoll@base`, or `base` where commands are compared.
pub fn side_of(row: &Row) -> Option<&str> {
    row.arm.rsplit('@').next()
}

fn subject_of(row: &Row) -> &str {
    row.arm.rsplit_once('@').map_or("", |(subject, _)| subject)
}

/// What is asked of every cell: the gated figures first, then those that are only shown.
pub fn questions(rows: &[Row], gated: &[Gated]) -> Vec<Question> {
    let mut questions = Vec::new();
    for cell in cells(rows) {
        for one in gated {
            questions.push(question(&cell, one.metric, Some(one)));
        }
        let is_gated = |metric: &Metric| gated.iter().any(|g| g.metric.column == metric.column);
        let shown = METRICS.iter().filter(|metric| !is_gated(metric));
        questions.extend(
            shown
                .map(|metric| question(&cell, metric, None))
                .filter(|question| !question.log_ratios.is_empty()),
        );
    }
    questions
}

/// How far apart one and the same program came out in this run: each side in two neighbouring blocks, as many pairs as
/// there are blocks. The farther end of their 95 % interval around none, relative.
fn own_floor(cell: &Cell, metric: &Metric) -> Option<f64> {
    let difference = |a: &Row, b: &Row| Some(cost(b, metric)? - cost(a, metric)?);
    let neighbours = cell.pairs.chunks_exact(2).flat_map(|two| {
        let [(base, head), (next_base, next_head)] = [two[0], two[1]];
        [difference(base, next_base), difference(head, next_head)]
    });
    let ratios: Vec<f64> = neighbours.flatten().collect();
    let interval = signed_rank::interval(&ratios, ALPHA / 2.0)?;
    Some(interval.low.abs().max(interval.high.abs()).exp_m1())
}

/// The margin that was asked for, raised to the calibration's floor as far as this run's own equal pairs bear it out.
fn margin_in_force(cell: &Cell, gated: &Gated) -> f64 {
    let own = own_floor(cell, gated.metric).unwrap_or(0.0);
    let floor = gated.floor.unwrap_or(0.0).min(own);
    gated.margin.max(floor)
}

fn question(cell: &Cell, metric: &'static Metric, gated: Option<&Gated>) -> Question {
    let mut question = Question {
        cell: cell.name.clone(),
        metric,
        margin: gated.map(|gated| margin_in_force(cell, gated)),
        log_ratios: Vec::new(),
        base: Vec::new(),
        head: Vec::new(),
        lost: 0,
        disturbed: 0,
    };
    for &(base, head) in &cell.pairs {
        question.disturbed += usize::from(is_disturbed(base) || is_disturbed(head));
        if let (Some(x), Some(y)) = (cost(base, metric), cost(head, metric)) {
            question.log_ratios.push(y - x);
            question.base.extend((metric.of)(base));
            question.head.extend((metric.of)(head));
        }
    }
    question.lost = cell.pairs.len() - question.log_ratios.len();
    question
}

/// The figure's logarithm, turned so that more is worse; none of a trial that may not be compared.
fn cost(row: &Row, metric: &Metric) -> Option<f64> {
    let may_be_compared = row.status == Status::Ok && row.verdict != Verdict::Invalid;
    may_be_compared.then(|| metric.cost(row)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use loadgen::tally::outcome::Reason;

    fn row(block: u32, arm: &str, cpu_us: f64) -> Row {
        Row {
            block,
            arm: arm.into(),
            conns: 50,
            service: "echo".into(),
            payload_bytes: 64,
            requests_completed: Some(1),
            server_cpu_us_per_request: Some(cpu_us),
            ..Row::blank()
        }
    }

    fn asked(rows: &[Row]) -> Vec<Question> {
        questions(rows, &[Gated::default_one()])
    }

    #[test]
    fn pairs_are_made_within_blocks_and_subjects() {
        let rows = [
            row(1, "poll@head", 3.0),
            row(1, "epoll@base", 1.0),
            row(1, "epoll@head", 2.0),
            row(1, "poll@base", 6.0),
            row(2, "epoll@head", 4.0),
            row(2, "epoll@base", 1.0),
            row(3, "epoll@base", 1.0),
        ];
        let questions = asked(&rows);
        let found: Vec<_> = questions
            .iter()
            .map(|q| (q.cell.as_str(), q.log_ratios.clone(), q.lost))
            .collect();
        let (two, four, half) = (2f64.ln(), 4f64.ln(), 3f64.ln() - 6f64.ln());
        assert_eq!(
            found,
            [
                ("epoll c50/echo64", vec![two, four], 0),
                ("poll c50/echo64", vec![half], 0)
            ]
        );
    }

    #[test]
    fn commands_have_no_subject() {
        let questions = asked(&[row(1, "base", 1.0), row(1, "head", 2.0)]);
        assert_eq!(questions[0].cell, "c50/echo64");
        assert_eq!(questions[0].log_ratios, [2f64.ln()]);
    }

    #[test]
    fn a_floor_raises_the_margin_only_as_far_as_the_runs_own_equal_pairs_do() {
        let gated = Gated {
            floor: Some(0.05),
            ..Gated::default_one()
        };
        let margin = |scatter: f64| {
            let rows: Vec<Row> = (0..16)
                .flat_map(|block| {
                    let noise = 1.0 + scatter * f64::from((block * 7) % 5 - 2);
                    let late = 1.0 + scatter * f64::from((block * 3) % 5 - 2);
                    [
                        row(block as u32, "base", noise),
                        row(block as u32, "head", late),
                    ]
                })
                .collect();
            questions(&rows, &[gated])[0].margin.unwrap()
        };
        assert_eq!(margin(0.001), 0.03);
        assert_eq!(margin(0.2), 0.05);
        let between = margin(0.03);
        assert!((0.03..=0.05).contains(&between), "{between}");
    }

    #[test]
    fn what_may_not_be_compared_is_lost_and_what_was_disturbed_is_counted() {
        let mut rows = vec![
            row(1, "base", 1.0),
            row(1, "head", 2.0),
            row(2, "base", 1.0),
            row(2, "head", 2.0),
            row(3, "base", 1.0),
            row(3, "head", 0.0),
            row(4, "base", 1.0),
            row(4, "head", 2.0),
        ];
        rows[1].verdict = Verdict::Invalid;
        rows[2].reasons.0.push(Reason {
            code: "W07".into(),
            text: "a neighbour".into(),
        });
        rows[7].status = Status::Limited;
        let question = &asked(&rows)[0];
        assert_eq!((question.log_ratios.len(), question.lost), (1, 3));
        assert_eq!(question.disturbed, 1);
    }
}
