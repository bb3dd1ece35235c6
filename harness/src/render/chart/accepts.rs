//! Who accepted how many connections, among the workers of the models that have several.

use super::canvas::{Axis, Stack, Texts};
use super::panel::{Along, conditions};
use super::{Chart, Plot, look};
use crate::base::text::visible;
use crate::base::unit::count;
use crate::model::row::Row;
use crate::model::workers::WorkerRow;
use std::collections::BTreeMap;

/// More bars than this are no picture.
const MOST_BARS: usize = 40;

/// One bar per arm, divided among its workers; of several trials the first, since workers are not the same ones twice.
pub fn draw(rows: &[Row], workers: &[WorkerRow]) -> Option<Chart> {
    let mut accepted: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for worker in workers {
        accepted
            .entry(worker.trial)
            .or_default()
            .push(worker.accepted);
    }
    let mut trials: Vec<&Row> = Vec::new();
    for row in rows.iter().filter(|row| accepted.contains_key(&row.trial)) {
        let same = |t: &&Row| t.arm == row.arm && t.conns == row.conns;
        if !trials.iter().any(same) {
            trials.push(row);
        }
    }
    let first = *trials.first()?;
    let left_out = trials.len().saturating_sub(MOST_BARS);
    trials.truncate(MOST_BARS);
    let stacks: Vec<Stack> = trials
        .iter()
        .map(|row| stack(row, &accepted[&row.trial]))
        .collect();
    let mut texts = Texts {
        title: "Connections accepted by each worker".into(),
        subtitle: conditions(first, Along::Connections),
        caption: vec![
            "First trial of each. From the servers' own counters; two probes of the harness are in them.".into(),
        ],
    };
    if left_out > 0 {
        texts.caption.push(format!(
            "The first {MOST_BARS}; {left_out} more are in workers.csv."
        ));
    }
    Some(Chart {
        name: "accepts-per-worker".into(),
        texts,
        plot: Plot::Stacks {
            value: Axis::of_shares("share of the connections accepted"),
            stacks,
        },
        table: None,
    })
}

fn stack(row: &Row, accepted: &[u64]) -> Stack {
    let total = accepted.iter().sum::<u64>().max(1) as f64;
    let shares: Vec<f64> = accepted.iter().map(|&n| n as f64 / total * 100.0).collect();
    let largest = shares.iter().copied().fold(0.0, f64::max);
    Stack {
        arm: visible(&row.arm),
        label: format!("{} at {}", visible(&row.arm), count(row.conns as f64)),
        look: look::of_arm(&row.arm, &row.model),
        note: format!("{} workers, largest share {largest:.0} %", shares.len()),
        shares,
    }
}
