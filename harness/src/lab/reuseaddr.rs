//! A server that is started again: its port is held by connections that it closed first, unless it says SO_REUSEADDR.

mod restart;

use super::tools::counters;
use super::{About, Finding, Lab, Line, Place, Settings, Trouble};
use restart::{IN_USE, STARTED, served_once, start, timer_left_s};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// How often a restart without SO_REUSEADDR is tried, and how far apart.
const TRIES: usize = 4;
const PAUSE: Duration = Duration::from_secs(1);
/// How long TIME_WAIT lasts: TCP_TIMEWAIT_LEN, include/net/tcp.h; no setting changes it.
const TIME_WAIT_S: f64 = 60.0;

/// The lab.
pub struct Reuseaddr;

/// What bind(2) and listen(2) said to a server that was started again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    /// Without the option, one try a second.
    without: Vec<String>,
    /// What the kernel's timer of the TIME_WAIT had left, and how long after the close it was read, s.
    timer: Option<(f64, f64)>,
    /// With the option, while the TIME_WAIT of a server without it is there.
    only_the_second: String,
    /// Both with the option.
    both: String,
    /// With the option, while the old server is still listening.
    with_a_listener: String,
    /// Without the option, where no TIME_WAIT was left; none where that could not be had.
    without_time_wait: Option<String>,
}

impl Lab for Reuseaddr {
    type Evidence = Evidence;

    const ABOUT: About = About {
        name: "reuseaddr",
        question: "Why can a server that has just ended not be started again?",
        claim: "A connection that the server closed first stays in TIME_WAIT for a minute and holds the server's port: bind(2) \
                fails with EADDRINUSE, unless servers set SO_REUSEADDR. The option does not let two servers listen on \
                one port.",
        sources: &[
            "Stevens, UNIX Network Programming 1, 7.5",
            "Kerrisk, The Linux Programming Interface, 61.10",
            "socket(7): SO_REUSEADDR",
        ],
        prediction: "A server closes its only connection, ends, and is started again at once, without SO_REUSEADDR. For how long \
                     does bind(2) fail? And if the client had closed first?",
        done: "A server accepts one connection, closes it first, and closes its listener. Then another binds the same port: \
               without SO_REUSEADDR once a second, with it, where both had it, and while the old one still listens. The time left is read \
               from the kernel's own timer in /proc/net/tcp. Last, the same without any TIME_WAIT (tcp_max_tw_buckets at 0).",
        answer: "bind(2) without the option wants a port that nothing uses, and a TIME_WAIT uses it: who closes first has it, for 60 s. \
                 With the option only a listener is in the way, since the kernel can tell connections apart by both addresses; \
                 on Linux the TIME_WAIT must have had it too. So a server sets it from the first start on, and before bind(2), \
                 as each of the tutorial's servers does.",
        next: &[
            "tenk lab time-wait",
            "tenk lab accept-balance",
            "socket(7), about SO_REUSEPORT",
        ],
        settings: &["net/ipv4/tcp_max_tw_buckets", "net/ipv4/tcp_fin_timeout"],
        programs: &[],
        limit: Duration::from_secs(30),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let (listener, addr) = served_once(true)?;
        let with_a_listener = start(addr, true);
        drop(listener);
        let both = start(addr, true);
        let (listener, addr) = served_once(false)?;
        let closed = Instant::now();
        drop(listener);
        let mut without = Vec::new();
        for _ in 0..TRIES {
            without.push(start(addr, false));
            place.say(&format!(
                "starting again without SO_REUSEADDR: {}",
                without[without.len() - 1]
            ));
            std::thread::sleep(PAUSE);
        }
        let left_s = timer_left_s(addr.port())?;
        let timer = left_s.map(|left_s| (left_s, closed.elapsed().as_secs_f64()));
        let only_the_second = start(addr, true);
        place.say("the same without any TIME_WAIT");
        let without_time_wait = match place.set("net/ipv4/tcp_max_tw_buckets", "0") {
            Ok(()) => {
                let before = counters::Counters::read()?;
                let (listener, addr) = served_once(false)?;
                drop(listener);
                let made = counters::Counters::read()?
                    .since(&before)
                    .get("TcpExt", "TCPTimeWaitOverflow");
                (made > 0).then(|| start(addr, false))
            }
            Err(_) => None,
        };
        Ok(Evidence {
            without,
            timer,
            only_the_second,
            both,
            with_a_listener,
            without_time_wait,
        })
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        let tries = format!(
            "{} tries, a second apart, without SO_REUSEADDR",
            evidence.without.len()
        );
        let mut distinct = evidence.without.clone();
        distinct.dedup();
        let mut lines = vec![Line::equal(tries, IN_USE, &distinct.join(", then "))];
        lines.extend(evidence.timer.map(|(left_s, after_s)| {
            let all_s = left_s + after_s;
            Line::judged(
                "how long the port is held, by the kernel's timer",
                format!("{TIME_WAIT_S:.0} s"),
                format!("{all_s:.0} s ({left_s:.1} s left after {after_s:.1} s)"),
                (TIME_WAIT_S - 1.0..=TIME_WAIT_S * 1.125).contains(&all_s),
            )
        }));
        for (what, expected, found) in [
            (
                "only the new server has SO_REUSEADDR",
                IN_USE,
                &evidence.only_the_second,
            ),
            ("both servers have it", STARTED, &evidence.both),
            (
                "the same, and the old one still listens",
                IN_USE,
                &evidence.with_a_listener,
            ),
        ] {
            lines.push(Line::equal(what, expected, found.as_str()));
        }
        let control = evidence.without_time_wait.as_deref();
        lines.extend(
            control
                .map(|found| Line::equal("without it, and no TIME_WAIT was left", STARTED, found)),
        );
        if evidence.timer.is_none() {
            let why = "the closed connection left no TIME_WAIT, so there was nothing to be seen";
            return Finding::not_judged(
                lines,
                why,
                "run the lab where net.ipv4.tcp_max_tw_buckets is not 0",
            );
        }
        Finding::of(
            lines,
            "Something else may have used the port in the meantime.",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::restart::timer;
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    fn evidence() -> Evidence {
        Evidence {
            without: vec![IN_USE.into(); TRIES],
            timer: Some((55.9, 4.1)),
            only_the_second: IN_USE.into(),
            both: STARTED.into(),
            with_a_listener: IN_USE.into(),
            without_time_wait: Some(STARTED.into()),
        }
    }

    fn judged(evidence: &Evidence) -> Finding {
        Reuseaddr::judge(&settings(&[]), evidence)
    }

    #[test]
    fn only_the_option_lets_it_start_again() {
        as_expected(&judged(&evidence()));
        as_expected(&judged(&Evidence {
            without_time_wait: None,
            ..evidence()
        }));
    }

    #[test]
    fn a_port_that_is_free_at_once_contradicts() {
        let free = Evidence {
            without: vec![IN_USE.into(), STARTED.into()],
            ..evidence()
        };
        assert!(not_as_expected(&judged(&free)).contains("EADDRINUSE, then started"));
        let two = Evidence {
            with_a_listener: STARTED.into(),
            ..evidence()
        };
        assert!(not_as_expected(&judged(&two)).contains("still listens"));
        let short = Evidence {
            timer: Some((10.0, 4.0)),
            ..evidence()
        };
        assert!(not_as_expected(&judged(&short)).contains("14 s"));
    }

    #[test]
    fn without_a_time_wait_nothing_is_judged() {
        let none = Evidence {
            timer: None,
            ..evidence()
        };
        assert!(not_judged(&judged(&none)).contains("no TIME_WAIT"));
    }

    #[test]
    fn the_kernels_timer_is_read() {
        let line = "   1: 0100007F:1F90 0100007F:C350 06 00000000:00000000 03:00000F9C 00000000 0";
        assert_eq!(timer(line, 8080), Some(39.96));
        assert_eq!(timer(line, 8081), None);
        assert_eq!(timer("  sl  local_address", 1), None);
    }
}
