//! Who accepted how many connections, among the workers of the models that have several.

use super::canvas::{self, Axis, Drawn, Stack, Texts};
use super::{Chart, conditions, look};
use crate::row::Row;
use crate::workers::WorkerRow;

/// One bar per arm, divided among its workers; of several trials the first, since workers are not the same ones twice.
pub fn draw(rows: &[Row], workers: &[WorkerRow]) -> Drawn<Option<Chart>> {
    let mut trials: Vec<&Row> = Vec::new();
    for row in rows
        .iter()
        .filter(|row| workers.iter().any(|w| w.trial == row.trial))
    {
        if !trials
            .iter()
            .any(|t| t.arm == row.arm && t.conns == row.conns)
        {
            trials.push(row);
        }
    }
    let Some(first) = trials.first() else {
        return Ok(None);
    };
    let stacks: Vec<Stack> = trials.iter().map(|row| stack(row, workers)).collect();
    let texts = Texts {
        title: "Connections accepted by each worker".into(),
        subtitle: conditions(first, None),
        caption: vec![
            "First trial of each. From the servers' own books; two probes of the harness are in them.".into(),
        ],
    };
    let ticks = [0.0, 25.0, 50.0, 75.0, 100.0].map(|share| (share, format!("{share} %")));
    let axis = Axis {
        label: "share of the connections accepted".into(),
        scale: canvas::Scale::Linear,
        range: (0.0, 100.0),
        ticks: ticks.into(),
    };
    Ok(Some(Chart {
        name: "accepts-per-worker.svg".into(),
        svg: canvas::stacks(&texts, &axis, &stacks)?,
    }))
}

fn stack(row: &Row, workers: &[WorkerRow]) -> Stack {
    let own = workers.iter().filter(|w| w.trial == row.trial);
    let accepted: Vec<u64> = own.map(|w| w.accepted).collect();
    let total = accepted.iter().sum::<u64>().max(1) as f64;
    let shares: Vec<f64> = accepted.iter().map(|&n| n as f64 / total * 100.0).collect();
    let largest = shares.iter().copied().fold(0.0, f64::max);
    Stack {
        label: format!("{} at {}", row.arm, super::count(row.conns as f64)),
        look: look::of(&row.model),
        note: format!("{} workers, largest share {largest:.0} %", shares.len()),
        shares,
    }
}
