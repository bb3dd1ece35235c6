//! Every file that is made from a run's trials. At the end of a run and from a saved one the same code makes them; a
//! file that cannot be written is said, and the others are made all the same.

use super::{flame, page, pull_request};
use crate::analysis::answer::Answer;
use crate::base::text::file_name;
use crate::model::histograms::Recorded;
use crate::model::row::{csv_of, to_csv};
use crate::model::{stages, timeline, workers};
use crate::render::chart::{self, Evidence};
use crate::render::report::{Made, Report};
use crate::render::run_json::run_json;
use crate::store::folder::RunFolder;
use crate::store::interval_log::{self, trial_name};
use crate::store::run::Run;
use loadgen::tally::files::hgrm;
use loadgen::tally::outcome::Floor;
use serde::Deserialize;
use std::path::Path;

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
    /// The run's own folder, which the files name.
    pub run_dir: &'a Path,
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

/// Makes the files; returns what could not be made, a sentence each.
pub fn write(target: &Target, run: &Run, answer: &Answer) -> Vec<String> {
    let mut files = Files {
        target,
        faults: Vec::new(),
    };
    files.make("run.json", || {
        run_json(run, answer, target.run_dir).map_err(|failure| failure.message)
    });
    files.csv("trials.csv", || to_csv(&run.rows));
    files.csv("timeline.csv", || csv_of(&timeline::COLUMNS, &run.timeline));
    files.csv("workers.csv", || csv_of(&workers::COLUMNS, &run.workers));
    if !run.stages.is_empty() {
        files.csv("stages.csv", || csv_of(&stages::COLUMNS, &run.stages));
    }
    if !run.set_aside.is_empty() {
        files.csv("redone.csv", || to_csv(&run.set_aside));
    }
    files.make("latency.hlog", || Ok(interval_log::text(run)));
    files.percentiles(run);
    files.reports(run, answer);
    files.faults
}

/// The making of files, one after the other.
struct Files<'a> {
    target: &'a Target<'a>,
    faults: Vec<String>,
}

impl Files<'_> {
    fn make<T: AsRef<[u8]>>(&mut self, name: &str, text: impl FnOnce() -> Result<T, String>) {
        if !self.target.wants(name) {
            return;
        }
        let made = text()
            .map_err(|why| format!("{name}: {why}"))
            .and_then(|text| {
                let written = self.target.folder.write(name, text.as_ref());
                written.map_err(|e| e.to_string())
            });
        self.faults.extend(made.err());
    }

    fn csv(&mut self, name: &str, text: impl FnOnce() -> Result<Vec<u8>, csv::Error>) {
        self.make(name, || text().map_err(|e| e.to_string()));
    }

    /// Every trial's response times as percentiles. Older runs do not say from where on they are lower bounds; their
    /// files do, and stay.
    fn percentiles(&mut self, run: &Run) {
        if run.is_older {
            return;
        }
        let wanted = run.rows.iter().filter_map(|row| {
            let name = format!("{}.hgrm", file_name(&trial_name(row)));
            let recorded = run.histograms.recorded(row.trial)?;
            let is_wanted = self.target.wants(&format!("hgrm/{name}"));
            is_wanted.then_some((name, recorded))
        });
        let wanted: Vec<(String, &Recorded)> = wanted.collect();
        let files = in_halves(&wanted, |(name, recorded)| {
            let text = hgrm(&recorded.buckets, recorded.censored_from_ns);
            (name.clone(), text)
        });
        if !files.is_empty() {
            let written = self.target.folder.write_many("hgrm", &files);
            self.faults.extend(written.err().map(|e| e.to_string()));
        }
    }

    /// Charts, `report.html` and `report.md`.
    fn reports(&mut self, run: &Run, answer: &Answer) {
        let floor = Floor::deserialize(&run.environment["generator_floor"]).ok();
        let report = Report {
            evidence: Evidence {
                rows: &run.rows,
                histograms: &run.histograms,
                timeline: &run.timeline,
                latency_seconds: &run.latency_seconds,
                workers: &run.workers,
                curves: &answer.load_curves,
                instrumented: &run.instrumented,
                floor: floor.as_ref(),
            },
            environment: &run.environment,
            answer,
            notes: run.notes.clone(),
            gate: run.gate.as_ref(),
        };
        let mut charts = Vec::new();
        for chart in chart::all(&report.evidence) {
            match chart.svg() {
                Ok(svg) => {
                    self.make(&format!("charts/{}.svg", chart.name), || Ok(&svg));
                    charts.push((chart, svg));
                }
                Err(e) => self.faults.push(format!("cannot draw {}: {e}", chart.name)),
            }
        }
        let mut flames = Vec::new();
        for flame in flame::all(&run.instrumented) {
            match flame {
                Ok(flame) => {
                    self.make(&format!("charts/{}.svg", flame.name), || Ok(&flame.svg));
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
        self.make("report.html", || {
            page::render(&made).map_err(|e| e.to_string())
        });
        self.make("report.md", || Ok(pull_request::render(&made)));
    }
}

/// Does this for every item, the second half of them in a thread of its own; the order stays.
fn in_halves<T: Sync, R: Send>(items: &[T], make: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (first, second) = items.split_at(items.len() / 2);
    let all = |items: &[T]| -> Vec<R> { items.iter().map(&make).collect() };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| all(second));
        let mut made = all(first);
        match second.join() {
            Ok(others) => made.extend(others),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        made
    })
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
