//! Where the time of a trial went.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::time::Instant;

/// How long each part of a trial took, s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Took {
    /// The server's start, until it listened and had answered once.
    pub start_s: f64,
    /// Until all connections were served, or no more were waited for.
    pub ramp_s: f64,
    /// Load that is not reported.
    pub warmup_s: f64,
    /// The measured window.
    pub window_s: f64,
    /// Until what was sent was answered.
    pub drain_s: f64,
    /// Until the server had closed every connection and answered once more.
    pub settle_s: f64,
    /// The end of everything that was started.
    pub end_s: f64,
}

impl Took {
    /// All parts together, s.
    pub fn whole_s(&self) -> f64 {
        self.around_s() + self.warmup_s + self.window_s
    }

    /// Everything but the load, s: what a shorter window does not save.
    pub fn around_s(&self) -> f64 {
        self.start_s + self.ramp_s + self.drain_s + self.settle_s + self.end_s
    }

    fn of(&mut self, phase: &str) -> Option<&mut f64> {
        Some(match phase {
            "start" => &mut self.start_s,
            "ramp" => &mut self.ramp_s,
            "warmup" => &mut self.warmup_s,
            "window" => &mut self.window_s,
            "drain" => &mut self.drain_s,
            "done" => &mut self.settle_s,
            "clean up" => &mut self.end_s,
            _ => return None,
        })
    }
}

/// Takes the time of a trial's parts by their names, as they are said while it lasts.
#[derive(Debug)]
pub struct Stopwatch(RefCell<(Took, String, Instant)>);

impl Stopwatch {
    /// Begins with the server's start.
    pub fn start() -> Stopwatch {
        Stopwatch(RefCell::new((
            Took::default(),
            "start".into(),
            Instant::now(),
        )))
    }

    /// The next part begins; one of an unknown name belongs to the one before.
    pub fn enter(&self, phase: &str) {
        let (took, current, since) = &mut *self.0.borrow_mut();
        let now = Instant::now();
        if let Some(part) = took.of(current) {
            *part += (now - *since).as_secs_f64();
        }
        *since = now;
        if took.of(phase).is_some() {
            phase.clone_into(current);
        }
    }

    /// All parts, the current one until now.
    pub fn read(&self) -> Took {
        self.enter("");
        self.0.borrow().0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_instant_belongs_to_one_part() {
        let began = Instant::now();
        let watch = Stopwatch::start();
        for phase in [
            "start", "ramp", "warmup", "window", "drain", "done", "clean up",
        ] {
            watch.enter(phase);
            std::thread::sleep(Duration::from_millis(2));
        }
        let (took, whole_s) = (watch.read(), began.elapsed().as_secs_f64());
        for part_s in [took.start_s, took.ramp_s, took.window_s, took.end_s] {
            assert!(part_s >= 0.002, "{took:?}");
        }
        assert!(
            took.whole_s() <= whole_s && took.whole_s() >= 0.014,
            "{took:?}"
        );
        assert!((took.whole_s() - took.around_s() - took.warmup_s - took.window_s).abs() < 1e-9);
    }
}
