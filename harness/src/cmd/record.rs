//! Everything that is kept of a run: saved again after every trial, so that nothing is lost to what comes later.
//!
//! Every save replaces whole files, so that none is ever found half written; but a trial is put into words only
//! once, and what is made of all trials together is made at the end, so that saving does not grow into the run.

use crate::analysis::stats::ranking::rankings;
use crate::analysis::summary::summarise;
use crate::base::error::Failure;
use crate::base::terminal::say;
use crate::cli::RunFlags;
use crate::cli::export::Export;
use crate::cmd::hand_over::{hand_over, text};
use crate::judge::judge;
use crate::model::histograms::Histograms;
use crate::model::row::{COLUMNS, Row, csv_lines, csv_of, to_csv};
use crate::model::timeline::{self, TimelineRow};
use crate::model::workers::{self, WorkerRow};
use crate::plan::{Plan, TrialPlan};
use crate::render::chart;
use crate::render::export::{Source, write_all};
use crate::render::report::Report;
use crate::render::write::write;
use crate::store::folder::{RunFolder, cannot_save};
use crate::store::load_rows;
use crate::trial::Evidence;
use crate::trial::environment::Environment;
use hdrhistogram::Histogram;
use loadgen::blob;
use loadgen::files::{self, Interval};
use loadgen::outcome::Outcome;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// The files that grow with the trials, as they are written.
struct Texts {
    trials_csv: Vec<u8>,
    timeline_csv: Vec<u8>,
    workers_csv: Vec<u8>,
    interval_log: Vec<u8>,
    /// When the first window was: the interval log counts from there.
    log_start: Option<Duration>,
    /// The items of `trials` in run.json.
    trials_json: Vec<String>,
}

impl Texts {
    /// No trials yet: headers.
    fn new() -> Result<Texts, Failure> {
        Ok(Texts {
            trials_csv: csv_of(COLUMNS, &[] as &[Row]).map_err(not_in_words)?,
            timeline_csv: csv_of(&timeline::COLUMNS, &[] as &[TimelineRow])
                .map_err(not_in_words)?,
            workers_csv: csv_of(&workers::COLUMNS, &[] as &[WorkerRow]).map_err(not_in_words)?,
            interval_log: files::interval_log(&[]).map_err(not_in_words)?,
            log_start: None,
            trials_json: Vec::new(),
        })
    }

    /// Nothing but the interval log's lines of these trials.
    fn without_all_but(&self, trials: &BTreeSet<u32>) -> Result<Texts, Failure> {
        let log = String::from_utf8_lossy(&self.interval_log);
        let is_kept = |line: &&str| {
            // Tag=epoll-c50-t7,… : the trial's number ends the tag.
            let tag = line
                .strip_prefix("Tag=")
                .and_then(|rest| rest.split(',').next());
            let trial = tag.and_then(|tag| tag.rsplit("-t").next()?.parse().ok());
            trial.is_none_or(|trial| trials.contains(&trial))
        };
        let lines: String = log.split_inclusive('\n').filter(is_kept).collect();
        Ok(Texts {
            interval_log: lines.into_bytes(),
            log_start: self.log_start,
            ..Texts::new()?
        })
    }

    fn add_row(&mut self, row: &Row) -> Result<(), Failure> {
        let csv = csv_lines(std::slice::from_ref(row)).map_err(not_in_words)?;
        self.trials_csv.extend(csv);
        let json = serde_json::to_string_pretty(row).map_err(not_in_words)?;
        // A JSON text has line feeds between its parts only.
        self.trials_json.push(json.replace('\n', "\n    "));
        Ok(())
    }

    fn add_timeline(&mut self, lines: &[TimelineRow]) -> Result<(), Failure> {
        self.timeline_csv
            .extend(csv_lines(lines).map_err(not_in_words)?);
        Ok(())
    }

    fn add_workers(&mut self, lines: &[WorkerRow]) -> Result<(), Failure> {
        self.workers_csv
            .extend(csv_lines(lines).map_err(not_in_words)?);
        Ok(())
    }

    fn add_interval(&mut self, interval: Interval) -> Result<(), Failure> {
        let Some(start) = self.log_start else {
            self.log_start = Some(interval.start);
            self.interval_log = files::interval_log(&[interval]).map_err(not_in_words)?;
            return Ok(());
        };
        // An interval at the first one's start, so that this one is counted from there; its own line is the last.
        let base = Interval {
            start,
            length: Duration::ZERO,
            tag: "",
            histogram: Histogram::new_from(&interval.histogram),
        };
        let log = files::interval_log(&[base, interval]).map_err(not_in_words)?;
        let line = log.split_inclusive(|byte| *byte == b'\n').next_back();
        self.interval_log.extend(line.unwrap_or_default());
        Ok(())
    }

    /// `run.json` of a run that goes on: what is made of all its trials is not in it yet.
    fn unfinished_json(
        &self,
        run_dir: &str,
        environment: &impl Serialize,
    ) -> Result<String, Failure> {
        let head = serde_json::json!({
            "schema": load_rows::SCHEMA,
            "run_dir": run_dir,
            "complete": false,
            "environment": environment,
            "summary": [],
            "ranking": [],
        });
        let head = serde_json::to_string_pretty(&head).map_err(not_in_words)?;
        let head = head.trim_end_matches("\n}");
        let trials = self.trials_json.join(",\n    ");
        Ok(format!("{head},\n  \"trials\": [\n    {trials}\n  ]\n}}\n"))
    }
}

fn not_in_words(error: impl std::fmt::Display) -> Failure {
    Failure::failed(format!("a trial's result cannot be written down: {error}"))
}

/// A run's rows and what goes with them.
pub struct Record {
    run_id: String,
    folder: RunFolder,
    environment: Environment,
    started: Instant,
    /// One per trial that is over.
    pub rows: Vec<Row>,
    /// Trials of blocks that were run again.
    redone: Vec<Row>,
    histograms: Histograms,
    timeline: Vec<TimelineRow>,
    workers: Vec<WorkerRow>,
    texts: Texts,
}

impl Record {
    /// Nothing yet.
    pub fn new(folder: RunFolder, environment: Environment) -> Result<Record, Failure> {
        Ok(Record {
            run_id: folder.run_id(),
            folder,
            environment,
            started: Instant::now(),
            rows: Vec::new(),
            redone: Vec::new(),
            histograms: Histograms::new(),
            timeline: Vec::new(),
            workers: Vec::new(),
            texts: Texts::new()?,
        })
    }

    /// Where everything is saved.
    pub fn run_dir(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// Judges a trial and saves what it left, at once; returns its row.
    pub fn add(
        &mut self,
        plan: &Plan,
        trial: &TrialPlan,
        evidence: &Evidence,
    ) -> Result<&Row, Failure> {
        let row = judge(&self.run_id, plan, trial, evidence);
        self.remember_environment(evidence);
        let workers = workers::of(&row, &evidence.workers);
        self.texts.add_workers(&workers)?;
        self.workers.extend(workers);
        if let Some(outcome) = &evidence.outcome {
            let timeline = timeline::of(&row, outcome);
            self.texts.add_timeline(&timeline)?;
            self.timeline.extend(timeline);
            self.add_histogram(&row, outcome)?;
        }
        self.texts.add_row(&row)?;
        let index = self.rows.len();
        self.rows.push(row);
        let run_dir = self.run_dir();
        let json = self.texts.unfinished_json(&run_dir, &self.environment)?;
        self.save(&json)?;
        Ok(&self.rows[index])
    }

    /// Remembers the digests of what a command ran.
    pub fn add_programs(&mut self, side: &str, sha256: &BTreeMap<String, String>) {
        let named = sha256
            .iter()
            .map(|(file, digest)| (format!("{side}/{file}"), digest.clone()));
        self.environment.sha256.extend(named);
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
            files::hgrm(&histogram, outcome.latency_ns.response.censored_from).as_bytes(),
        )?;
        self.texts.add_interval(Interval {
            start: Duration::from_nanos(outcome.window_start_unix_ns.unwrap_or(0)),
            length: Duration::from_secs_f64(outcome.window_s),
            tag: &name,
            histogram: histogram.clone(),
        })?;
        self.histograms.insert(row.trial, histogram);
        Ok(())
    }

    /// Takes a disturbed block's trials out of the result, to be run again; they stay in redone.csv.
    pub fn set_aside(&mut self, block: u32, again: Duration) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.rows);
        let (aside, kept): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.block == block);
        self.rows = kept;
        self.redone.extend(aside);
        let redone = to_csv(&self.redone).map_err(not_in_words)?;
        self.write("redone.csv", &redone)?;
        let kept: BTreeSet<u32> = self.rows.iter().map(|row| row.trial).collect();
        self.timeline.retain(|line| kept.contains(&line.trial));
        self.workers.retain(|line| kept.contains(&line.trial));
        self.histograms.retain(|trial, _| kept.contains(trial));
        self.texts = self.texts.without_all_but(&kept)?;
        for row in &self.rows {
            self.texts.add_row(row)?;
        }
        self.texts.add_timeline(&self.timeline)?;
        self.texts.add_workers(&self.workers)?;
        self.environment.blocks_redone += 1;
        self.environment.estimated_s += again.as_secs_f64();
        Ok(())
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

    fn save(&self, json: &str) -> Result<(), Failure> {
        let texts = &self.texts;
        self.write("trials.csv", &texts.trials_csv)?;
        self.write("timeline.csv", &texts.timeline_csv)?;
        self.write("workers.csv", &texts.workers_csv)?;
        self.write("latency.hlog", &texts.interval_log)?;
        self.write("run.json", json.as_bytes())
    }

    /// Saves one more file beside the others.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.folder.write(name, bytes).map_err(cannot_save)
    }

    fn json(&self, complete: bool) -> Result<String, Failure> {
        let value = serde_json::json!({
            "schema": load_rows::SCHEMA,
            "run_dir": self.run_dir(),
            "complete": complete,
            "environment": self.environment,
            "trials": self.rows,
            "beside": load_rows::Beside {
                seconds: self.timeline.len(),
                workers: self.workers.len(),
                histograms: self.histograms.len(),
            },
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
                floor: self.environment.generator_floor.as_ref(),
            },
            environment: &environment,
            complete,
            notes: Vec::new(),
        };
        write(&self.folder, &report)?;
        self.save(&self.json(complete)?)
    }

    /// The rows as CSV.
    pub fn csv(&self) -> Result<String, Failure> {
        let csv = to_csv(&self.rows).map_err(not_in_words)?;
        Ok(String::from_utf8_lossy(&csv).into_owned())
    }

    /// Writes the exports.
    pub fn export(&self, exports: &[Export]) -> Result<(), Failure> {
        let source = Source {
            rows: &self.rows,
            run_json: &self.json(true)?,
        };
        write_all(exports, &source).map(|_| ())
    }

    /// Prints the result, writes the exports and checks the thresholds; returns whether any was missed.
    pub fn hand_over(&self, flags: &RunFlags, complete: bool) -> Result<bool, Failure> {
        let source = Source {
            rows: &self.rows,
            run_json: &self.json(complete)?,
        };
        say(&text(
            &source,
            self.folder.path(),
            complete,
            flags.output.format,
        )?)?;
        hand_over(&source, &flags.output.export, &flags.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::load_rows::{load, tests as saved};

    #[test]
    fn what_is_saved_while_a_run_goes_on_is_read_back() {
        let mut texts = Texts::new().unwrap();
        for count in 0..3 {
            let json = texts.unfinished_json("results/x", &"here").unwrap();
            let folder = saved::folder(&texts.trials_csv, json.as_bytes());
            let run = load(folder.path()).unwrap();
            assert_eq!(run.rows, saved::rows(count));
            assert_eq!((run.complete, run.note), (false, None));
            texts
                .add_row(&saved::rows(count + 1)[count as usize])
                .unwrap();
        }
    }

    #[test]
    fn a_log_without_some_trials_keeps_the_others_lines() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        histogram.saturating_record(5_000_000);
        let mut texts = Texts::new().unwrap();
        for (second, tag) in [
            (100, "a-t2-c1-t1"),
            (200, "a-t2-c1-t2"),
            (300, "b-t1-c1-t12"),
        ] {
            let interval = Interval {
                start: Duration::from_secs(second),
                length: Duration::from_secs(1),
                tag,
                histogram: histogram.clone(),
            };
            texts.add_interval(interval).unwrap();
        }
        let kept = texts.without_all_but(&BTreeSet::from([2, 12])).unwrap();
        let log = String::from_utf8(kept.interval_log).unwrap();
        let tags: Vec<&str> = log
            .lines()
            .filter_map(|line| line.strip_prefix("Tag=")?.split(',').next())
            .collect();
        assert_eq!(tags, ["a-t2-c1-t2", "b-t1-c1-t12"]);
        assert!(log.starts_with('#'), "the head stays: {log}");
    }

    #[test]
    fn a_log_that_grew_is_the_log_of_all() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000_000, 3).unwrap();
        histogram.saturating_record(5_000_000);
        let interval = |start_ms, tag| Interval {
            start: Duration::from_millis(start_ms),
            length: Duration::from_secs(3),
            tag,
            histogram: histogram.clone(),
        };
        let all = [
            interval(1_234_567, "epoll"),
            interval(1_239_001, "poll"),
            interval(1_250_000, "a b"),
        ];
        let mut texts = Texts::new().unwrap();
        assert_eq!(texts.interval_log, files::interval_log(&[]).unwrap());
        for n in 0..all.len() {
            texts.add_interval(all[n].clone()).unwrap();
            assert_eq!(texts.interval_log, files::interval_log(&all[..=n]).unwrap());
        }
    }
}
