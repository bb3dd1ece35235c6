//! Whoever follows a trial while it is made.

use crate::model::took::Stopwatch;
use loadgen::tally::live::SecondRecord;

/// Whoever follows a trial while it is made.
pub trait Follow {
    /// It has come to this phase.
    fn phase(&self, name: &str);

    /// Whether the seconds of its window are wanted.
    fn wants_seconds(&self) -> bool {
        false
    }

    /// A second of its window, as the generator tells it.
    fn second(&self, _second: SecondRecord) {}
}

/// Who only wants to know the phase.
impl<F: Fn(&str)> Follow for F {
    fn phase(&self, name: &str) {
        self(name);
    }
}

/// A trial that is timed and followed.
pub struct Timed<'a> {
    /// What times its phases.
    pub watch: &'a Stopwatch,
    /// Who follows it besides.
    pub follower: &'a dyn Follow,
}

impl Follow for Timed<'_> {
    fn phase(&self, name: &str) {
        self.watch.enter(name);
        self.follower.phase(name);
    }

    fn wants_seconds(&self) -> bool {
        self.follower.wants_seconds()
    }

    fn second(&self, second: SecondRecord) {
        self.follower.second(second);
    }
}
