//! Answers by status, counted by number while the load runs and named once it is over.

use crate::load::Phase;

/// Statuses are below this.
const STATUSES: usize = 1024;

/// How many answers of each phase had which status.
#[derive(Clone, Debug)]
pub struct Answers(Box<[u64; STATUSES * Phase::ALL.len()]>);

impl Default for Answers {
    fn default() -> Self {
        Self(Box::new([0; STATUSES * Phase::ALL.len()]))
    }
}

impl Answers {
    /// Counts an answer; one without a status has status 0.
    #[inline]
    pub fn count(&mut self, phase: Phase, status: u16) {
        self.0[phase as usize * STATUSES + usize::from(status) % STATUSES] += 1;
    }

    /// The statuses that answers of a phase had, with their counts.
    pub fn of(&self, phase: Phase) -> impl Iterator<Item = (u16, u64)> {
        let start = phase as usize * STATUSES;
        let counts = self.0[start..start + STATUSES].iter();
        let counts = (0..).zip(counts).skip(1);
        counts.filter_map(|(status, count)| (*count > 0).then_some((status, *count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_phase_and_status_and_those_without_one_are_not() {
        let mut answers = Answers::default();
        for (phase, status) in [
            (Phase::Window, 200),
            (Phase::Window, 404),
            (Phase::Drain, 200),
            (Phase::Window, 0),
        ] {
            answers.count(phase, status);
            answers.count(phase, status);
        }
        let of = |phase| answers.of(phase).collect::<Vec<_>>();
        assert_eq!(of(Phase::Window), [(200, 2), (404, 2)]);
        assert_eq!(of(Phase::Drain), [(200, 2)]);
        assert_eq!(of(Phase::Ramp), []);
    }
}
