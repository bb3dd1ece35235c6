//! `--export gha`: github-action-benchmark's custom format. The direction is a property of the file there, so there
//! are two: `NAME.bigger.json` (tool `customBiggerIsBetter`) and `NAME.smaller.json` (`customSmallerIsBetter`).
//!
//! Its `range` is read only as `± number` in the value's own unit.

use super::{EXPORTED, Exported, Files, Source, cell_name, measured, rates_held};
use crate::analysis::summary::{Cell, cells};
use crate::base::error::{Failure, OrFail};
use crate::base::text::visible;
use loadgen::load::labels::of_cell;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// One entry; the order of the fields is that of the format's documentation.
#[derive(Debug, Serialize)]
struct Entry {
    name: String,
    value: f64,
    unit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    range: Option<String>,
    extra: String,
}

pub fn render(source: &Source, path: &Path) -> Result<Files, Failure> {
    let cells = cells(source.rows);
    [("bigger", true), ("smaller", false)]
        .into_iter()
        .map(|(word, more_is_better)| {
            let metrics = EXPORTED
                .iter()
                .filter(|m| m.metric.more_is_better == more_is_better);
            let mut entries: Vec<Entry> = metrics
                .flat_map(|exported| cells.iter().filter_map(|cell| entry(cell, exported)))
                .collect();
            if more_is_better {
                entries.extend(rates_held(source).into_iter().map(held));
            }
            let text = serde_json::to_string_pretty(&entries).or_failed("--export gha")?;
            Ok((with_word(path, word), text + "\n"))
        })
        .collect()
}

fn entry(cell: &Cell, exported: &Exported) -> Option<Entry> {
    let (figure, interval) = measured(cell, exported)?;
    let (unit, scale) = exported.gha_unit;
    Some(Entry {
        name: format!("{} {}", cell_name(cell), exported.gha),
        value: figure.median / scale,
        unit,
        range: interval.map(|i| format!("± {}", (i.high - i.low) / 2.0 / scale)),
        extra: extra(cell, figure.trials),
    })
}

/// What stands under the figure: of how many blocks, of which run, and its labels, a line each.
fn extra(cell: &Cell, blocks: usize) -> String {
    let row = cell.rows[0];
    let mut text = format!("n={blocks} blocks\nrun={}", visible(&row.run_id));
    for (key, value) in of_cell(row.labels.as_deref().unwrap_or_default()) {
        text.push_str(&format!("\n{key}={}", visible(value)));
    }
    text
}

/// The rate that an arm holds under a promise.
fn held((name, per_s): (String, f64)) -> Entry {
    Entry {
        name: format!("{name} rate held under SLO"),
        value: per_s,
        unit: "req/s",
        range: None,
        extra: "the highest rate offered at which the median trial kept it".into(),
    }
}

/// `bench.json` → `bench.bigger.json`; a name without extension gets the word and `.json`.
fn with_word(path: &Path, word: &str) -> PathBuf {
    let extension = path
        .extension()
        .map_or("json".into(), |e| e.to_string_lossy());
    path.with_extension(format!("{word}.{extension}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;
    use crate::model::row::Row;

    fn rendered(rows: &[Row], path: &str) -> Files {
        let source = Source {
            rows,
            run_json: "",
            answer: None,
            gate: None,
        };
        render(&source, Path::new(path)).unwrap()
    }

    #[test]
    fn two_files_by_direction() {
        let rows: Vec<Row> = rows().into_iter().take(6).collect();
        let files = rendered(&rows, "out/bench.json");
        let bigger = r#"[
  {
    "name": "epoll-et/c10000/echo64 throughput",
    "value": 81003.5,
    "unit": "req/s",
    "range": "± 2.5",
    "extra": "n=6 blocks\nrun=run-1"
  }
]
"#;
        let smaller = r#"[
  {
    "name": "epoll-et/c10000/echo64 p99",
    "value": 0.9035,
    "unit": "ms",
    "range": "± 0.0025",
    "extra": "n=6 blocks\nrun=run-1"
  },
  {
    "name": "epoll-et/c10000/echo64 server CPU",
    "value": 11.5,
    "unit": "us/req",
    "range": "± 0",
    "extra": "n=6 blocks\nrun=run-1"
  }
]
"#;
        let expected = [
            (PathBuf::from("out/bench.bigger.json"), bigger.to_string()),
            (PathBuf::from("out/bench.smaller.json"), smaller.to_string()),
        ];
        assert_eq!(files, expected);
    }

    #[test]
    fn few_trials_have_no_range_and_odd_names_stay_one_string() {
        let rows = rows();
        let files = rendered(&rows[6..], "bench");
        assert_eq!(files[0].0, PathBuf::from("bench.bigger.json"));
        let entries: serde_json::Value = serde_json::from_str(&files[0].1).unwrap();
        assert_eq!(
            entries[0]["name"],
            r#"=cmd|a b\u{1b}[1m",\u{a}<b>/c10000/echo64 throughput"#
        );
        assert!(entries[0].get("range").is_none());
        assert_eq!(
            entries.as_array().unwrap().len(),
            1,
            "neither invalid nor crashed trials"
        );
    }
}
