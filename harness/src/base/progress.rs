//! The progress bar on stderr, only on a terminal and only when wanted.

use super::text::about;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use loadgen::base::units::format_count;
use std::io::IsTerminal;
use std::time::Duration;

/// A bar over the trials, or nothing at all.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar for so many trials; hidden when `quiet` or when stderr is no terminal.
    pub fn new(trials: usize, quiet: bool) -> Progress {
        let shown = !quiet && std::io::stderr().is_terminal();
        let target = match shown {
            // Five redraws a second: the harness shares a CPU with the generator.
            true => ProgressDrawTarget::stderr_with_hz(5),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(trials as u64), target);
        let template = "{bar:24} {pos}/{len} trials, {prefix} left  {wide_msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Progress(bar)
    }

    /// Says what is being done in which trial.
    pub fn phase(&self, arm: &str, conns: u64, phase: &str) {
        let conns = format_count(conns);
        self.0.set_message(format!("{arm} at {conns}: {phase}"));
    }

    /// Says how long the rest takes.
    pub fn left(&self, left: Duration) {
        self.0.set_prefix(about(left));
    }

    /// One trial is over.
    pub fn trial_done(&self) {
        self.0.inc(1);
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}
