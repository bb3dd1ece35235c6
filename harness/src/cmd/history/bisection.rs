//! A range of commits halved until one is left; those that cannot be measured are gone around.

use std::collections::BTreeSet;

/// What was found of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It is as the first one.
    Good,
    /// It is as the last one.
    Bad,
    /// It cannot be told.
    Skipped,
}

/// The commits between a good one, at 0, and a bad one, at the end.
#[derive(Debug)]
pub struct Bisection {
    good: usize,
    bad: usize,
    skipped: BTreeSet<usize>,
}

impl Bisection {
    /// Of so many commits, both ends included; at least two.
    pub fn of(commits: usize) -> Bisection {
        Bisection {
            good: 0,
            bad: commits - 1,
            skipped: BTreeSet::new(),
        }
    }

    /// The commit to look at next: the one nearest to the middle; none where no other would narrow the range.
    pub fn next(&self) -> Option<usize> {
        let middle = self.good + (self.bad - self.good) / 2;
        let open = (self.good + 1..self.bad).filter(|at| !self.skipped.contains(at));
        open.min_by_key(|at| (at.abs_diff(middle), *at))
    }

    /// Keeps what was found of a commit.
    pub fn told(&mut self, at: usize, found: Found) {
        match found {
            Found::Good => self.good = self.good.max(at),
            Found::Bad => self.bad = self.bad.min(at),
            Found::Skipped => drop(self.skipped.insert(at)),
        }
    }

    /// The last one known to be good and the first one known to be bad.
    pub fn range(&self) -> (usize, usize) {
        (self.good, self.bad)
    }

    /// How many more are to be looked at, at most, if none is skipped.
    pub fn steps_left(&self) -> u32 {
        (self.bad - self.good).next_power_of_two().trailing_zeros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_built_leaves_a_range() {
        let mut bisection = Bisection::of(5);
        for at in [1, 2, 3] {
            bisection.told(at, Found::Skipped);
        }
        assert_eq!((bisection.next(), bisection.range()), (None, (0, 4)));
        assert_eq!(Bisection::of(2).next(), None);
    }

    proptest! {
        #[test]
        fn the_first_bad_one_is_found_in_as_many_steps_as_were_told(commits in 2usize..500, place in 0.0f64..1.0) {
            let first_bad = 1 + (place * (commits - 1) as f64) as usize;
            let mut bisection = Bisection::of(commits);
            let told = bisection.steps_left();
            let mut steps = 0;
            while let Some(at) = bisection.next() {
                bisection.told(at, if at < first_bad { Found::Good } else { Found::Bad });
                steps += 1;
            }
            prop_assert_eq!(bisection.range(), (first_bad - 1, first_bad));
            prop_assert!(steps <= told, "{} of {}", steps, told);
        }

        #[test]
        fn around_skipped_ones_the_range_still_holds_it(commits in 2usize..60, first in 1usize..60, skip in prop::collection::btree_set(1usize..60, 0..30)) {
            let first_bad = first.min(commits - 1);
            let mut bisection = Bisection::of(commits);
            while let Some(at) = bisection.next() {
                let found = match at {
                    at if skip.contains(&at) => Found::Skipped,
                    at if at < first_bad => Found::Good,
                    _ => Found::Bad,
                };
                bisection.told(at, found);
            }
            let (good, bad) = bisection.range();
            prop_assert!(good < first_bad && first_bad <= bad);
        }
    }
}
