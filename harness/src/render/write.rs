//! Every file that is made from a run's trials. At the end of a run and from a saved one the same code makes them; a
//! file that cannot be written is said, and the others are made all the same.

use super::{flame, page, pull_request};
use crate::analysis::answer::Answer;
use crate::base::parallel::{both, in_parallel};
use crate::base::text::file_name;
use crate::model::histograms::Recorded;
use crate::model::row::{csv_of, to_csv};
use crate::model::{load_hosts, stages, timeline, workers};
use crate::render::chart::{self, Chart, Evidence};
use crate::render::report::{Drawings, Made, Report};
use crate::store::folder::RunFolder;
use crate::store::interval_log::{self, trial_name};
use crate::store::run::Run;
use loadgen::tally::files::hgrm;
use loadgen::tally::outcome::Floor;
use serde::Deserialize;

/// The folder of every trial's percentiles.
const PERCENTILES: &str = "hgrm/";

/// Which files are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them, whatever is there.
    All,
    /// Those that are not there.
    Missing,
}

/// Where the files of a run go.
pub struct Target<'a> {
    /// The folder.
    pub folder: &'a RunFolder,
    /// Files that the run was read from: they stay as they are.
    pub kept: &'a [&'static str],
    /// Which of the others are made.
    pub which: Which,
}

impl Target<'_> {
    fn wants(&self, name: &str) -> bool {
        let is_there = || self.folder.path().join(name).exists();
        !self.kept.contains(&name) && (self.which == Which::All || !is_there())
    }
}

/// Makes the files, `run_json` being the text of the first of them; returns what could not be made, a sentence each.
pub fn write(target: &Target, run: &Run, answer: &Answer, run_json: &str) -> Vec<String> {
    let figures = || {
        let mut files = Files::new(target);
        files.figures(run, run_json);
        files.save()
    };
    let pages = || {
        let mut files = Files::new(target);
        files.reports(run, answer);
        files.save()
    };
    let (mut faults, more) = both(figures, pages);
    faults.extend(more);
    faults
}

/// Files that are made, and saved together.
struct Files<'a> {
    target: &'a Target<'a>,
    made: Vec<(String, Vec<u8>)>,
    faults: Vec<String>,
}

impl<'a> Files<'a> {
    fn new(target: &'a Target<'a>) -> Files<'a> {
        Files {
            target,
            made: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn make(&mut self, name: &str, text: impl FnOnce() -> Result<Vec<u8>, String>) {
        if self.target.wants(name) {
            match text() {
                Ok(text) => self.made.push((name.into(), text)),
                Err(why) => self.faults.push(format!("{name}: {why}")),
            }
        }
    }

    fn csv(&mut self, name: &str, text: impl FnOnce() -> Result<Vec<u8>, csv::Error>) {
        self.make(name, || text().map_err(|e| e.to_string()));
    }

    /// Every table of what was measured.
    fn figures(&mut self, run: &Run, run_json: &str) {
        self.make("run.json", || Ok(run_json.into()));
        self.csv("trials.csv", || to_csv(&run.rows));
        self.csv("timeline.csv", || csv_of(&timeline::COLUMNS, &run.timeline));
        self.csv("workers.csv", || csv_of(&workers::COLUMNS, &run.workers));
        if !run.stages.is_empty() {
            self.csv("stages.csv", || csv_of(&stages::COLUMNS, &run.stages));
        }
        if !run.hosts.is_empty() {
            self.csv("hosts.csv", || csv_of(&load_hosts::COLUMNS, &run.hosts));
        }
        if !run.set_aside.is_empty() {
            self.csv("redone.csv", || to_csv(&run.set_aside));
        }
        self.make("latency.hlog", || Ok(interval_log::text(run).into()));
        self.percentiles(run);
    }

    /// Every trial's response times as percentiles. Older runs do not say from where on they are lower bounds; their
    /// files do, and stay.
    fn percentiles(&mut self, run: &Run) {
        if run.is_older {
            return;
        }
        let wanted = run.rows.iter().filter_map(|row| {
            let name = format!("{PERCENTILES}{}.hgrm", file_name(&trial_name(row)));
            let recorded = run.histograms.recorded(row.trial)?;
            self.target.wants(&name).then_some((name, recorded))
        });
        let wanted: Vec<(String, &Recorded)> = wanted.collect();
        let texts = in_parallel(&wanted, |(_, recorded)| {
            hgrm(&recorded.buckets, recorded.censored_from_ns).into()
        });
        let names = wanted.into_iter().map(|(name, _)| name);
        self.made.extend(names.zip(texts));
    }

    /// Charts, `report.html` and `report.md`.
    fn reports(&mut self, run: &Run, answer: &Answer) {
        let floor = Floor::deserialize(&run.environment["generator_floor"]).ok();
        let report = Report {
            evidence: Evidence {
                rows: &run.rows,
                histograms: &run.histograms,
                timeline: &run.timeline,
                stages: &run.stages,
                latency_seconds: &run.latency_seconds,
                workers: &run.workers,
                curves: &answer.load_curves,
                instrumented: &run.instrumented,
                floor: floor.as_ref(),
            },
            environment: &run.environment,
            answer,
            notes: run.notes.clone(),
            hosts: &run.hosts,
            gate: run.gate.as_ref(),
        };
        let mut charts = Vec::new();
        for (chart, drawn) in self.drawn(chart::all(&report.evidence)) {
            match drawn {
                Ok(Drawn { file, page }) => {
                    self.made.extend(file);
                    charts.push((chart, page));
                }
                Err(e) => self.faults.push(format!("cannot draw {}: {e}", chart.name)),
            }
        }
        let mut flames = Vec::new();
        for flame in flame::all(&run.instrumented) {
            match flame {
                Ok(flame) => {
                    let svg = || Ok(flame.svg.clone().into());
                    self.make(&format!("charts/{}.svg", flame.name), svg);
                    flames.push(flame);
                }
                Err(fault) => self.faults.push(fault),
            }
        }
        let made = Made {
            report: &report,
            charts,
            flames,
        };
        self.make("report.html", || Ok(page::render(&made)?.into()));
        self.make("report.md", || Ok(pull_request::render(&made).into()));
    }

    /// Draws charts.
    fn drawn(&self, charts: Vec<Chart>) -> Vec<(Chart, Result<Drawn, String>)> {
        let (target, has_page) = (self.target, self.target.wants("report.html"));
        let drawn = in_parallel(&charts, |chart| {
            let name = format!("charts/{}.svg", chart.name);
            Ok(Drawn {
                file: match target.wants(&name) {
                    true => Some((name, chart.svg()?.into())),
                    false => None,
                },
                page: match has_page {
                    true => chart.for_page()?,
                    false => Drawings::new(),
                },
            })
        });
        charts.into_iter().zip(drawn).collect()
    }

    /// Saves them; returns what could not be made or saved.
    fn save(mut self) -> Vec<String> {
        let folder = self.target.folder;
        if folder.write_many(&self.made).is_ok() {
            return self.faults;
        }
        // One after the other, so that all but those that cannot be saved are, and each of these is named. Percentiles
        // are thousands, and what keeps one of them off the disk keeps off the others.
        let is_one_of_many = |(name, _): &(String, Vec<u8>)| name.starts_with(PERCENTILES);
        let (many, few): (Vec<_>, Vec<_>) = self.made.into_iter().partition(is_one_of_many);
        let saved = few.iter().map(|(name, bytes)| folder.write(name, bytes));
        let saved = saved.chain(std::iter::once(folder.write_many(&many)));
        self.faults
            .extend(saved.filter_map(|saved| Some(saved.err()?.to_string())));
        self.faults
    }
}

/// A chart's file and its drawings for the page, where they are wanted.
struct Drawn {
    file: Option<(String, Vec<u8>)>,
    page: Drawings,
}

/// The faults of [`write`] in one sentence; none where there are none.
pub fn in_one_sentence(faults: &[String]) -> Option<String> {
    let (first, more) = faults.split_first()?;
    let others = match more.len() {
        0 => String::new(),
        1 => ", nor another file".into(),
        n => format!(", nor {n} other files"),
    };
    Some(format!("cannot save {first}{others}"))
}
