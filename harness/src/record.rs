//! Everything that is kept of a run: saved again after every trial, so that nothing is lost to what comes later.

use crate::chart::{self, Histograms};
use crate::cli::RunFlags;
use crate::environment::Environment;
use crate::error::Failure;
use crate::export::Source;
use crate::judge::judge;
use crate::load_rows;
use crate::plan::{Plan, TrialPlan};
use crate::report::hand_over::{hand_over, text};
use crate::report::write::{Report, write};
use crate::row::{COLUMNS, Row, csv_of};
use crate::run::say;
use crate::stats::ranking::rankings;
use crate::store::RunFolder;
use crate::summary::summarise;
use crate::timeline::{self, TimelineRow};
use crate::trial::Evidence;
use crate::workers::{self, WorkerRow};
use loadgen::blob;
use loadgen::files::{self, Interval};
use loadgen::outcome::Outcome;
use serde::Serialize;
use std::io;
use std::time::{Duration, Instant};

/// When a trial's window was, for the interval log.
struct TrialWindow {
    trial: u32,
    tag: String,
    start: Duration,
    length: Duration,
}

/// A run's rows and what goes with them.
pub struct Record {
    run_id: String,
    folder: RunFolder,
    environment: Environment,
    started: Instant,
    /// One per trial that is over.
    pub rows: Vec<Row>,
    histograms: Histograms,
    windows: Vec<TrialWindow>,
    timeline: Vec<TimelineRow>,
    workers: Vec<WorkerRow>,
}

impl Record {
    /// Nothing yet.
    pub fn new(run_id: String, folder: RunFolder, environment: Environment) -> Record {
        Record {
            run_id,
            folder,
            environment,
            started: Instant::now(),
            rows: Vec::new(),
            histograms: Histograms::new(),
            windows: Vec::new(),
            timeline: Vec::new(),
            workers: Vec::new(),
        }
    }

    /// Judges a trial and saves what it left, at once.
    pub fn add(
        &mut self,
        plan: &Plan,
        trial: &TrialPlan,
        evidence: &Evidence,
    ) -> Result<(), Failure> {
        let row = judge(&self.run_id, plan, trial, evidence);
        self.remember_environment(evidence);
        self.workers.extend(workers::of(&row, &evidence.workers));
        if let Some(outcome) = &evidence.outcome {
            self.timeline.extend(timeline::of(&row, outcome));
            self.add_histogram(&row, outcome)?;
        }
        self.rows.push(row);
        self.save(false)
    }

    /// The response times of the window, as percentiles at once and in the interval log of all trials.
    fn add_histogram(&mut self, row: &Row, outcome: &Outcome) -> Result<(), Failure> {
        let Some(blob) = outcome.histograms.get("response") else {
            return Ok(());
        };
        let histogram = blob::decode(blob)
            .map_err(|e| Failure::failed(format!("the generator's histogram: {e}")))?;
        if histogram.is_empty() {
            return Ok(());
        }
        let name = format!("{}-c{}-t{}", row.arm, row.conns, row.trial);
        let file: String = name
            .chars()
            .map(|c| {
                if c.is_ascii_alphanumeric() || "-._=".contains(c) {
                    c
                } else {
                    '_'
                }
            })
            .collect();
        self.write(
            &format!("hgrm/{file}.hgrm"),
            files::hgrm(&histogram).as_bytes(),
        )?;
        self.windows.push(TrialWindow {
            trial: row.trial,
            tag: name,
            start: Duration::from_nanos(outcome.window_start_unix_ns.unwrap_or(0)),
            length: Duration::from_secs_f64(outcome.window_s),
        });
        self.histograms.insert(row.trial, histogram);
        Ok(())
    }

    fn interval_log(&self) -> io::Result<Vec<u8>> {
        let intervals = self.windows.iter().map(|window| Interval {
            start: window.start,
            length: window.length,
            tag: &window.tag,
            histogram: self.histograms[&window.trial].clone(),
        });
        files::interval_log(&intervals.collect::<Vec<_>>())
    }

    fn remember_environment(&mut self, evidence: &Evidence) {
        let environment = &mut self.environment;
        if environment.trial_network.is_none() && !evidence.launched.sysctls.is_empty() {
            environment.trial_network = Some(evidence.launched.clone().into());
            environment.memory_method = Some(evidence.memory_method.to_string());
        }
        if let Some(window) = evidence.window.as_ref().filter(|w| w.between_s > 0.0) {
            let share = window.harness_s / window.between_s;
            let highest = environment.harness_cpu_fraction.unwrap_or(0.0).max(share);
            environment.harness_cpu_fraction = Some(highest);
        }
    }

    fn save(&self, complete: bool) -> Result<(), Failure> {
        self.write_csv("trials.csv", COLUMNS, &self.rows)?;
        self.write_csv("timeline.csv", &timeline::COLUMNS, &self.timeline)?;
        self.write_csv("workers.csv", &workers::COLUMNS, &self.workers)?;
        let log = self.interval_log();
        let log = log.map_err(|e| Failure::failed(format!("latency.hlog: {e}")))?;
        self.write("latency.hlog", &log)?;
        let json = self.json(complete)?;
        self.write("run.json", json.as_bytes())
    }

    fn write_csv<T: Serialize>(
        &self,
        name: &str,
        columns: &[&str],
        lines: &[T],
    ) -> Result<(), Failure> {
        let csv = csv_of(columns, lines).map_err(|e| Failure::failed(format!("{name}: {e}")))?;
        self.write(name, &csv)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.folder.write(name, bytes).map_err(cannot_save)
    }

    fn json(&self, complete: bool) -> Result<String, Failure> {
        let value = serde_json::json!({
            "schema": load_rows::SCHEMA,
            "run_dir": self.folder.path().display().to_string(),
            "complete": complete,
            "environment": self.environment,
            "trials": self.rows,
            "summary": summarise(&self.rows),
            "ranking": rankings(&self.rows),
        });
        let text = serde_json::to_string_pretty(&value);
        text.map(|text| text + "\n")
            .map_err(|e| Failure::failed(format!("run.json: {e}")))
    }

    /// The charts, the reports and the final state of the files.
    pub fn finish(&mut self, complete: bool) -> Result<(), Failure> {
        self.environment.took_s = Some(self.started.elapsed().as_secs_f64());
        let environment = serde_json::to_value(&self.environment)
            .map_err(|e| Failure::failed(format!("run.json: {e}")))?;
        let report = Report {
            evidence: chart::Evidence {
                rows: &self.rows,
                histograms: &self.histograms,
                timeline: &self.timeline,
                workers: &self.workers,
            },
            environment: &environment,
            complete,
            notes: Vec::new(),
        };
        write(&self.folder, &report)?;
        self.save(complete)
    }

    /// Prints the result, writes the exports and checks the thresholds; returns whether any was missed.
    pub fn hand_over(&self, flags: &RunFlags, complete: bool) -> Result<bool, Failure> {
        let source = Source {
            rows: &self.rows,
            run_json: &self.json(complete)?,
        };
        say(&text(&source, self.folder.path(), complete, flags.format)?)?;
        hand_over(&source, &flags.export, &flags.threshold)
    }
}

/// A failed write, named by its path, with what mends it.
pub fn cannot_save(what: impl std::fmt::Display) -> Failure {
    Failure::failed(format!(
        "cannot save {what}; what was saved before is untouched (choose another place with --results DIR)"
    ))
}
