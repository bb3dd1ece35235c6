//! Time for the repeats of a run or the blocks of a gate: whether one more has room.

use std::time::{Duration, Instant};

/// What was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The time.
    pub time: Duration,
    /// Repeats that are made however long they take.
    pub at_least: u64,
}

/// A budget that is being used up.
#[derive(Debug, Clone, Copy)]
pub struct Spending {
    budget: Budget,
    started: Instant,
    made: u64,
}

impl Budget {
    /// Begins to count the time.
    pub fn start(self) -> Spending {
        Spending {
            budget: self,
            started: Instant::now(),
            made: 0,
        }
    }

    /// Whether one more repeat has room, if it takes as long as the others did on average.
    fn has_room(&self, made: u64, spent: Duration) -> bool {
        self.has_room_for(
            spent / made.clamp(1, u64::from(u32::MAX)) as u32,
            made,
            spent,
        )
    }

    /// The same if it takes so long.
    fn has_room_for(&self, next: Duration, made: u64, spent: Duration) -> bool {
        made < self.at_least.max(1) || spent.saturating_add(next) <= self.time
    }
}

impl Spending {
    /// Whether one more repeat has room.
    pub fn has_room(&self) -> bool {
        self.budget.has_room(self.made, self.started.elapsed())
    }

    /// Whether one has that takes so long.
    pub fn has_room_for(&self, next: Duration) -> bool {
        let spent = self.started.elapsed();
        self.budget.has_room_for(next, self.made, spent)
    }

    /// The time that was used.
    pub fn spent(&self) -> Duration {
        self.started.elapsed()
    }

    /// One more repeat is over.
    pub fn made_one(&mut self) {
        self.made += 1;
    }

    /// Repeats that are over.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// Whether those that are made in any case are over.
    pub fn may_end(&self) -> bool {
        self.made >= self.budget.at_least
    }

    /// The time that is left.
    pub fn left(&self) -> Duration {
        self.budget.time.saturating_sub(self.started.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_is_made_only_where_it_has_room() {
        let budget = |at_least| Budget {
            time: Duration::from_secs(100),
            at_least,
        };
        let room =
            |at_least, made, spent_s| budget(at_least).has_room(made, Duration::from_secs(spent_s));
        // The first is always made: without it there is no answer at all.
        assert!(room(0, 0, 0) && room(1, 0, 500));
        assert!(room(1, 1, 50) && !room(1, 1, 51));
        assert!(room(1, 4, 80) && !room(1, 4, 81));
        // What was asked for explicitly is made however long it takes.
        assert!(room(3, 2, 500) && !room(3, 3, 500));
    }
}
