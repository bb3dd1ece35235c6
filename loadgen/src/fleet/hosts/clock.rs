//! How far another host's clocks are ahead of this one's, from questions and answers: of several the one that took
//! least, whose error is at most half of what it took.

/// One question and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// When it was asked, CLOCK_MONOTONIC here.
    pub asked_ns: u64,
    /// When the answer was there, the same clock.
    pub answered_ns: u64,
    /// CLOCK_REALTIME here then.
    pub unix_ns: u64,
    /// CLOCK_MONOTONIC there in between.
    pub theirs_ns: u64,
    /// CLOCK_REALTIME there in between.
    pub their_unix_ns: u64,
}

/// What exchanges tell of a host's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// What the exchange took.
    pub round_trip_ns: u64,
    /// Their CLOCK_MONOTONIC less ours.
    pub monotonic_ahead_ns: i64,
    /// Their CLOCK_REALTIME less ours.
    pub unix_ahead_ns: i64,
}

impl Exchange {
    /// What it tells, supposing that both ways took the same.
    #[must_use]
    pub fn clocks(self) -> Clocks {
        let round_trip_ns = self.answered_ns.saturating_sub(self.asked_ns);
        let half = i128::from(round_trip_ns / 2);
        let ahead = |theirs: u64, ours: u64| {
            let ahead = i128::from(theirs) - (i128::from(ours) - half);
            ahead.clamp(i64::MIN.into(), i64::MAX.into()) as i64
        };
        Clocks {
            round_trip_ns,
            monotonic_ahead_ns: ahead(self.theirs_ns, self.answered_ns),
            unix_ahead_ns: ahead(self.their_unix_ns, self.unix_ns),
        }
    }
}

impl Clocks {
    /// The better of two.
    #[must_use]
    pub fn or(self, other: Option<Self>) -> Self {
        match other {
            Some(other) if other.round_trip_ns < self.round_trip_ns => other,
            _ => self,
        }
    }

    /// An instant of this host's CLOCK_MONOTONIC on theirs.
    #[must_use]
    pub fn theirs(self, ours_ns: u64) -> u64 {
        let theirs = i128::from(ours_ns) + i128::from(self.monotonic_ahead_ns);
        theirs.clamp(0, u64::MAX.into()) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the ways took and however far apart the clocks are, the error is at most half the round trip.
        #[test]
        fn the_error_is_at_most_half_of_what_the_exchange_took(
            asked_ns in 0u64..1 << 50, there in 0u64..1 << 30, back in 0u64..1 << 30, ahead in -(1i64 << 49)..1 << 49,
        ) {
            let on_theirs = |ns: u64| (ns as i64 + ahead).max(0) as u64;
            prop_assume!(asked_ns as i64 + ahead >= 0);
            let exchange = Exchange {
                asked_ns,
                answered_ns: asked_ns + there + back,
                unix_ns: asked_ns + there + back,
                theirs_ns: on_theirs(asked_ns + there),
                their_unix_ns: on_theirs(asked_ns + there),
            };
            let clocks = exchange.clocks();
            prop_assert!(clocks.monotonic_ahead_ns.abs_diff(ahead) <= clocks.round_trip_ns / 2 + 1);
            prop_assert_eq!(clocks.monotonic_ahead_ns, clocks.unix_ahead_ns);
            prop_assert!(clocks.theirs(asked_ns).abs_diff(on_theirs(asked_ns)) <= clocks.round_trip_ns / 2 + 1);
        }

        #[test]
        fn no_answer_overflows(fields in proptest::array::uniform5(any::<u64>()), at in any::<u64>()) {
            let [asked_ns, answered_ns, unix_ns, theirs_ns, their_unix_ns] = fields;
            let exchange = Exchange { asked_ns, answered_ns, unix_ns, theirs_ns, their_unix_ns };
            let _ = exchange.clocks().theirs(at);
        }
    }

    #[test]
    fn the_quickest_exchange_counts() {
        let of = |round_trip_ns| Clocks {
            round_trip_ns,
            monotonic_ahead_ns: 0,
            unix_ahead_ns: 0,
        };
        assert_eq!(of(5).or(Some(of(3))), of(3));
        assert_eq!(of(5).or(Some(of(9))), of(5));
        assert_eq!(of(5).or(None), of(5));
    }
}
