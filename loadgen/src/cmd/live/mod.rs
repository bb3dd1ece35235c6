//! What is told while a run lasts: on the terminal, as lines of JSON, and as a file of metrics.

pub mod lines;
pub mod metrics;

use std::path::Path;

use super::Failure;
use super::cli::OutputFlags;
use super::output::Stderr;
use crate::fleet::run::Listener;
use crate::load::Load;
use crate::tally::live::{Live, SecondRecord};
use crate::worker::control::Sum;
use lines::Lines;
use metrics::Metrics;

/// Everything that is told of a run, to whoever asked for it.
pub(super) struct Told {
    stderr: Stderr,
    load: Load,
    lines: Option<Lines>,
    metrics: Option<Metrics>,
    /// The first thing that could not be written.
    trouble: Option<String>,
}

impl Told {
    /// Opens what the flags ask for.
    pub(super) fn new(load: &Load, output: &OutputFlags) -> Result<Self, Failure> {
        let lines = output.progress_json.as_ref();
        let lines = lines.map(Lines::open).transpose().map_err(Failure::usage)?;
        let metrics = output.metrics_file.as_deref();
        let mut metrics = metrics.map(|path: &Path| Metrics::new(path, load));
        if let Some(metrics) = &mut metrics {
            metrics.write().map_err(Failure::usage)?;
        }
        Ok(Self {
            stderr: Stderr::new(output.quiet),
            load: load.clone(),
            lines,
            metrics,
            trouble: None,
        })
    }

    /// Says that the run is over, and what of it could not be told.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        if let Some(metrics) = &mut self.metrics {
            metrics.is_running = false;
            let written = metrics.write();
            self.note(written);
        }
        let late = self.lines.as_ref().map_or(0, Lines::left_out);
        if late > 0 {
            self.stderr.notice(&format!(
                "{late} seconds are missing from --progress-json: whoever reads it was too slow"
            ));
        }
        self.trouble
            .map_or(Ok(()), |words| Err(Failure::run(words)))
    }

    fn note(&mut self, result: std::io::Result<()>) {
        if let Err(error) = result
            && self.trouble.is_none()
        {
            self.stderr.notice(&error.to_string());
            self.trouble = Some(error.to_string());
        }
    }
}

impl Listener for Told {
    fn notice(&mut self, text: &str) {
        self.stderr.notice(text);
    }

    fn wants_seconds(&self) -> bool {
        self.lines.is_some() || self.metrics.is_some() || self.stderr.wants_seconds()
    }

    fn second(&mut self, live: &Live, sum: Sum) {
        self.stderr.second(live, sum);
        if self.lines.is_none() && self.metrics.is_none() {
            return;
        }
        let record = SecondRecord::of(live, &self.load, sum.open);
        if let Some(lines) = &mut self.lines {
            let written = lines.write(&record);
            self.note(written);
        }
        if let Some(metrics) = &mut self.metrics {
            metrics.add(&record);
            let written = metrics.write();
            self.note(written);
        }
    }
}
