//! When descriptors have run out: an accept loop that tries again at once, and one that backs off.

mod full;

use super::finding::{Finding, Line};
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use full::Full;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Descriptors that the server may have.
const NOFILE: usize = 64;
/// Clients, of whom not all get in.
const CLIENTS: usize = 100;
/// How many times as often the naive loop fails, at least.
const FAR_MORE: f64 = 50.0;

/// The lab.
pub struct FdWall;

/// Two servers at the wall.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    backs_off: Full,
    naive: Full,
}

impl Lab for FdWall {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "fd-wall",
        question: "What does a server do when it may open no more descriptors?",
        claim: "accept(2) fails with EMFILE and leaves the connection in the queue, so a level-triggered loop is told of it \
                again at once: it spins. A loop that pauses does not, and both serve again when clients leave.",
        sources: &[
            "accept(2): EMFILE",
            "getrlimit(2): RLIMIT_NOFILE",
            "libev: The special problem of accept()ing when you can't",
        ],
        prediction: "A server may have 64 descriptors, and 100 clients come. How many are served, what do the others see, \
                     and how busy is the server while nothing can be done?",
        done: "100 clients come to epoll, which may have 64 descriptors, once as it is and once with an accept loop that \
               tries again at once. Failures of accept and CPU are counted for two seconds; then those inside leave.",
        answer: "The limit counts all descriptors, so its own leave less for clients. Those outside are connected, for the \
                 kernel does that, and wait in the listen queue. accept says EMFILE without taking the connection out, and \
                 the event that announced it stays true: the naive loop asks as fast as the CPU allows. A pause, doubled \
                 with each failure, costs a latecomer a second at most. Closing the connections of those outside with a \
                 descriptor kept for that is another way: they are told at once.",
        next: &[
            "tenk serve epoll --nofile 64 --broken naive-accept",
            "servers/src/accept.rs",
            "tenk lab idle-policy",
        ],
        settings: &[],
        programs: &["epoll"],
        limit: Duration::from_secs(40),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        place.say("100 clients for 64 descriptors, an accept loop that backs off");
        let backs_off = full::of(place, &[])?;
        place.say("the same, an accept loop that does not");
        let naive = full::of(place, &["--broken", "naive-accept"])?;
        Ok(Evidence { backs_off, naive })
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        let Evidence { backs_off, naive } = evidence;
        let mut lines = backs_off.lines("backing off");
        lines.extend(naive.lines("naive"));
        let most = full::most_failures(backs_off.failing_s);
        let far_more = naive.per_s() > FAR_MORE * backs_off.per_s();
        let costly = naive.cpu_percent() > 5.0 * backs_off.cpu_percent().max(1.0);
        let cpu = format!(
            "{:.0} % against {:.1} %",
            naive.cpu_percent(),
            backs_off.cpu_percent()
        );
        let often = format!("over {FAR_MORE} times as often");
        lines.extend([
            Line::judged(
                "backing off: accept failed",
                format!("at most {most} times"),
                backs_off.often(),
                backs_off.failures <= most,
            ),
            Line::judged("naive: accept failed", often, naive.often(), far_more),
            Line::judged(
                "CPU meanwhile, naive against backing off",
                "all it can get, next to none",
                cpu,
                costly,
            ),
        ]);
        if backs_off.failures == 0 || naive.failures == 0 {
            let why = "no server ran out of descriptors";
            return Finding::not_judged(lines, why, "run it when the machine has less else to do");
        }
        Finding::of(
            lines,
            "The naive loop gets less CPU where others want it too.",
        )
        .with_chart(full::chart(backs_off, naive))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    fn full(failures: u64, cpu_s: f64) -> Full {
        let (own_descriptors, served, served_later, failing_s) = (5, 59, 41, 3.1);
        Full {
            own_descriptors,
            served,
            served_later,
            failures,
            failing_s,
            cpu_s,
        }
    }

    fn judged(backs_off: Full, naive: Full) -> Finding {
        FdWall::judge(&settings(&[]), &Evidence { backs_off, naive })
    }

    #[test]
    fn a_pause_makes_the_difference() {
        let finding = judged(full(12, 0.002), full(2_000_000, 2.9));
        as_expected(&finding);
        assert!(finding.chart.is_some());
        assert_eq!(full::most_failures(1.0), 10);
        assert_eq!(full::most_failures(3.1), 13);
    }

    #[test]
    fn pauses_that_are_not_kept_contradict() {
        let finding = judged(full(500, 0.002), full(2_000_000, 2.9));
        assert!(not_as_expected(&finding).contains("at most 13 times"));
        let lazy = judged(full(12, 0.002), full(40, 0.002));
        assert!(not_as_expected(&lazy).contains("naive: accept failed"));
        let crowded = Full {
            served: 64,
            served_later: 36,
            ..full(12, 0.002)
        };
        assert!(
            not_as_expected(&judged(crowded, full(2_000_000, 2.9)))
                .contains("59 (64 less its own 5)")
        );
        let stuck = Full {
            served_later: 0,
            ..full(2_000_000, 2.9)
        };
        not_as_expected(&judged(full(12, 0.002), stuck));
    }

    #[test]
    fn without_a_shortage_nothing_is_judged() {
        not_judged(&judged(full(0, 0.0), full(2_000_000, 2.9)));
    }
}
