//! Results in the formats that other tools read, one file per format.
//!
//! All of them are made of rows; figures are medians over the trials that may be believed, with the interval of the
//! median where there are at least six.

mod benchfmt;
mod bmf;
mod csv;
mod gha;
mod json;
pub mod md;

use super::gate_words::GateWords;
use crate::analysis::answer::Answer;
use crate::analysis::stats::Interval;
use crate::analysis::stats::order_statistic::median_interval;
use crate::analysis::summary::{Cell, Figure};
use crate::base::error::Failure;
use crate::base::text::visible;
use crate::cli::export::{Export, ExportFormat};
use crate::model::metrics::{CPU_PER_REQUEST, MEMORY, Metric, RESPONSE_P99, THROUGHPUT};
use crate::model::row::Row;
use crate::model::workload::workload_name;
use loadgen::base::file::write_atomically;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What can be exported: a run's rows, and its `run.json` for what the rows do not say.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The rows.
    pub rows: &'a [Row],
    /// The text of `run.json`.
    pub run_json: &'a str,
    /// What the run says; none where somebody else says it, as a gate does.
    pub answer: Option<&'a Answer>,
    /// What a gate says of it.
    pub gate: Option<&'a GateWords>,
}

impl Source<'_> {
    /// The `environment` of `run.json`; null if there is none.
    pub fn environment(&self) -> Value {
        let run: Value = serde_json::from_str(self.run_json).unwrap_or_default();
        run.get("environment").cloned().unwrap_or_default()
    }
}

/// A file to make: its path, its text.
type Files = Vec<(PathBuf, String)>;

fn files(format: ExportFormat, source: &Source, path: &Path) -> Result<Files, Failure> {
    let text = match format {
        ExportFormat::Gha => return gha::render(source, path),
        ExportFormat::Json => json::render(source),
        ExportFormat::Csv => csv::render(source.rows)?,
        ExportFormat::Md => md::of(source),
        ExportFormat::Bmf => bmf::render(source)?,
        ExportFormat::Benchfmt => benchfmt::render(source),
    };
    Ok(vec![(path.to_path_buf(), text)])
}

/// Writes every export and returns the files made. Errors: a file that cannot be written; those before it are.
pub fn write_all(exports: &[Export], source: &Source) -> Result<Vec<PathBuf>, Failure> {
    let mut made = Vec::new();
    for export in exports {
        for (path, text) in files(export.format, source, &export.path)? {
            write_atomically(&path, text.as_bytes()).map_err(|e| {
                let path = path.display();
                Failure::failed(format!(
                    "--export {export:?}: cannot write {path}: {e} (does its folder exist?)"
                ))
                .caused_by(e)
            })?;
            made.push(path);
        }
    }
    Ok(made)
}

/// What a figure is called in the formats of other tools.
struct Exported {
    /// The figure.
    metric: Metric,
    /// The measure's name in Bencher: `latency` (ns) and `throughput` (per second) are built in.
    bmf: &'static str,
    /// Its name in github-action-benchmark.
    gha: &'static str,
    /// What github-action-benchmark's unit is, and how many of the row's unit make one.
    gha_unit: (&'static str, f64),
    /// Its unit in benchfmt, which is its name there.
    benchfmt: &'static str,
}

const EXPORTED: [Exported; 4] = [
    Exported {
        metric: THROUGHPUT,
        bmf: "throughput",
        gha: "throughput",
        gha_unit: ("req/s", 1.0),
        benchfmt: "req/s",
    },
    Exported {
        metric: RESPONSE_P99,
        bmf: "latency",
        gha: "p99",
        gha_unit: ("ms", 1e6),
        benchfmt: "p99-ns",
    },
    Exported {
        metric: CPU_PER_REQUEST,
        bmf: "server-cpu-us-per-request",
        gha: "server CPU",
        gha_unit: ("us/req", 1.0),
        benchfmt: "cpu-us/req",
    },
    Exported {
        metric: MEMORY,
        bmf: "server-memory-bytes-per-conn",
        gha: "server memory",
        gha_unit: ("B/conn", 1.0),
        benchfmt: "mem-B/conn",
    },
];

/// A metric over the believable trials of a cell, with the interval of its median.
fn measured(cell: &Cell, exported: &Exported) -> Option<(Figure, Option<Interval>)> {
    let usable = cell.rows.iter().filter(|row| row.is_usable());
    let values: Vec<f64> = usable.filter_map(|row| (exported.metric.of)(row)).collect();
    let values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
    Some((
        Figure::of(values.iter().copied())?,
        median_interval(&values),
    ))
}

/// The rate that each arm holds under the run's promises, by `epoll/c50/echo64`.
fn rates_held(source: &Source) -> Vec<(String, f64)> {
    let curves = source.answer.map_or(&[][..], |answer| &answer.load_curves);
    let held = curves.iter().flat_map(|curve| {
        let arms = curve.arms.iter();
        arms.filter_map(|arm| {
            let name = visible(&format!("{}/{}", arm.arm, curve.workload));
            Some((name, arm.slo_held_per_s?))
        })
    });
    held.collect()
}

/// `epoll-et/c10000/echo64`: what a cell is called in Bencher and github-action-benchmark.
fn cell_name(cell: &Cell) -> String {
    visible(&format!("{}/{}", cell.arm, workload_name(cell.rows[0])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::{Status, Verdict};

    /// Two arms, six blocks each; the second has a name that every format must survive.
    pub(super) fn rows() -> Vec<Row> {
        let row = |arm: &str, block: u32| Row {
            run_id: "run-1".into(),
            block,
            trial: block,
            seed: 42,
            arm: arm.into(),
            model: arm.into(),
            service: "echo".into(),
            protocol: "echo".into(),
            conns: 10_000,
            payload_bytes: 64,
            duration_s: 3.0,
            requests_completed: Some(1),
            requests_per_s: Some(81_000.0 + f64::from(block)),
            response_p99_ns: Some(900_000 + u64::from(block) * 1000),
            server_cpu_us_per_request: Some(11.5),
            ..Row::blank()
        };
        let mut rows: Vec<Row> = (1..=6).map(|block| row("epoll-et", block)).collect();
        rows.push(row("=cmd|a b\x1b[1m\",\n<b>", 1));
        let mut invalid = row("poll", 1);
        invalid.verdict = Verdict::Invalid;
        let mut crashed = row("select", 1);
        crashed.status = Status::Crashed;
        rows.extend([invalid, crashed]);
        rows
    }

    pub(super) const RUN_JSON: &str = r#"{"schema":"tenk.run/1","environment":{"seed":42,"cpus":2,"kernel":"Linux 6.18 x86_64"}}"#;

    #[test]
    fn formats_are_understood_and_others_answered() {
        for name in ExportFormat::names() {
            let export: Export = format!("{name}=./a=b").parse().unwrap();
            assert_eq!(format!("{export:?}"), format!("{name}=./a=b"));
        }
        for bad in ["json", "xml=a", "json=", "=a", ""] {
            let error = bad.parse::<Export>().unwrap_err();
            assert!(error.contains('`'), "{error}");
        }
    }

    #[test]
    fn every_format_is_written_even_of_no_rows() {
        let folder = tempfile::tempdir().unwrap();
        for rows in [&[][..], &rows()] {
            let exports: Vec<Export> = ExportFormat::names()
                .iter()
                .map(|name| {
                    format!("{name}={}", folder.path().join(name).display())
                        .parse()
                        .unwrap()
                })
                .collect();
            let source = Source {
                rows,
                run_json: RUN_JSON,
                answer: None,
                gate: None,
            };
            let made = write_all(&exports, &source).unwrap();
            assert_eq!(made.len(), ExportFormat::names().len() + 1, "gha makes two");
            assert!(made.iter().all(|path| path.exists()));
        }
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let early = "csv=/no/such/folder/rows.csv".parse::<Export>();
        let why = early.unwrap_err();
        assert!(why.ends_with("there is no folder /no/such/folder"), "{why}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let export: Export = format!("csv={}", path.display()).parse().unwrap();
        drop(folder);
        let source = Source {
            rows: &[],
            run_json: "",
            answer: None,
            gate: None,
        };
        let failure = write_all(&[export], &source).unwrap_err();
        assert!(
            failure.message.contains(&path.display().to_string()),
            "{failure}"
        );
    }
}
