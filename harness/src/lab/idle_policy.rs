//! Clients that only take up room: an idle time-out and a limit per address give it back.

mod hostile;

use super::finding::{Finding, Line};
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use hostile::Beside;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Threads, each of which serves one client at a time.
const WORKERS: usize = 4;
/// Clients that ask for nothing, half of them silent, half of them sending a byte now and then.
const HOSTILE: usize = 8;
/// The server's patience with a client.
const IDLE: Duration = Duration::from_secs(1);
/// Connections of one address.
const PER_ADDRESS: usize = 2;

/// The lab.
pub struct IdlePolicy;

/// What an honest client got beside the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    alone: Beside,
    no_policy: Beside,
    idle_timeout: Beside,
    per_address: Beside,
}

impl Lab for IdlePolicy {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "idle-policy",
        question: "How do clients that say nothing stop a server, and what helps?",
        claim: "Idle connections add up until a server can take no more. It should close those that have long not made a \
                request, and limit how many one client address may have, so that one client cannot harm the others.",
        sources: &[
            "the tutorial, on long-lived connections",
            "RFC 9112 9.5",
            "Slowloris (R. Hansen, 2009)",
        ],
        prediction: "Eight clients of one address hold a pool of four threads: some silent, some sending a byte of an endless \
                     request now and then. When is an honest client served: without a policy, with an idle time-out of 1 s, \
                     and with at most 2 connections for each address?",
        done: "An HTTP pool of four threads is filled by eight hostile clients from 127.0.0.2; then a client from 127.0.0.1 \
               asks for a page. That is done without a policy, with --idle-timeout 1s, and with --max-conns-per-ip 2.",
        answer: "A worker belongs to a client until that one leaves, and a hostile client does not leave. The time-out counts \
                 from the last answered request, not from the last byte: otherwise a byte a second would keep a worker for \
                 ever. It frees four workers each second, so the honest client waits two rounds. The limit per address turns \
                 six of the eight away at once, and the honest client waits for nobody; it does not help against many \
                 addresses, nor is it fair to people behind one (NAT). Servers have both.",
        next: &[
            "tenk serve thread-pool --idle-timeout 30s --max-conns-per-ip 100",
            "servers/src/limits.rs",
            "tenk lab dead-peer",
        ],
        settings: &[],
        programs: &["thread-pool"],
        limit: Duration::from_secs(40),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let beside = |what: &str, hostile, flags: &[&str]| {
            place.say(what);
            hostile::beside(place, hostile, flags)
        };
        let (idle, most) = (format!("{}s", IDLE.as_secs()), PER_ADDRESS.to_string());
        Ok(Evidence {
            alone: beside("nobody else", 0, &[])?,
            no_policy: beside("eight hostile clients, no policy", HOSTILE, &[])?,
            idle_timeout: beside("an idle time-out", HOSTILE, &["--idle-timeout", &idle])?,
            per_address: beside(
                "a limit per address",
                HOSTILE,
                &["--max-conns-per-ip", &most],
            )?,
        })
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        let Evidence {
            alone,
            no_policy,
            idle_timeout,
            per_address,
        } = evidence;
        let at_once = |beside: &Beside| beside.waited().is_some_and(|waited| waited < IDLE);
        // Each round of the pool waits for the time-out; a byte now and then puts it off by as much as lies between two.
        let rounds = HOSTILE.div_ceil(WORKERS) as u32;
        let (first, last) = (
            IDLE * rounds,
            (IDLE + 2 * hostile::EVERY) * rounds + hostile::SOON,
        );
        let in_turn = idle_timeout
            .waited()
            .is_some_and(|waited| (first..last).contains(&waited));
        let away = (HOSTILE - PER_ADDRESS) as u64;
        let never = format!("not within {} s", hostile::PATIENCE.as_secs());
        let rounds_s = format!("{} s and a little", first.as_secs());
        let turned_away = per_address.turned_away;
        let lines = vec![
            Line::judged(
                "no policy",
                never,
                no_policy.told(),
                no_policy.waited().is_none(),
            ),
            Line::judged("--idle-timeout 1s", rounds_s, idle_timeout.told(), in_turn),
            Line::judged(
                "--max-conns-per-ip 2",
                "at once",
                per_address.told(),
                at_once(per_address),
            ),
            Line::equal("hostile clients turned away then", &away, &turned_away),
            Line::shown("nobody else", "", alone.told()),
        ];
        if alone.waited().is_none() {
            let why = "a client alone with the server was not served";
            return Finding::not_judged(lines, why, "run it when the machine has less else to do");
        }
        Finding::of(
            lines,
            "A very busy machine delays answers; run the lab again.",
        )
        .with_chart(hostile::chart([no_policy, idle_timeout, per_address]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, not_judged, settings};

    fn beside(ms: Option<u64>, turned_away: u64) -> Beside {
        Beside {
            served_after_ns: ms.map(|ms| ms * 1_000_000),
            turned_away,
        }
    }

    fn evidence() -> Evidence {
        Evidence {
            alone: beside(Some(1), 0),
            no_policy: beside(None, 0),
            idle_timeout: beside(Some(2230), 0),
            per_address: beside(Some(2), 6),
        }
    }

    fn judged(evidence: Evidence) -> Finding {
        IdlePolicy::judge(&settings(&[]), &evidence)
    }

    #[test]
    fn each_policy_saves_the_honest_client() {
        as_expected(&judged(evidence()));
        assert!(judged(evidence()).chart.is_some());
    }

    #[test]
    fn a_policy_that_does_not_help_contradicts() {
        let never = judged(Evidence {
            idle_timeout: beside(None, 0),
            ..evidence()
        });
        assert!(not_as_expected(&never).contains("--idle-timeout 1s: not served"));
        let too_early = judged(Evidence {
            idle_timeout: beside(Some(1100), 0),
            ..evidence()
        });
        not_as_expected(&too_early);
        let none_turned_away = judged(Evidence {
            per_address: beside(Some(2), 0),
            ..evidence()
        });
        assert!(not_as_expected(&none_turned_away).contains("turned away"));
        let harmless = judged(Evidence {
            no_policy: beside(Some(2), 0),
            ..evidence()
        });
        assert!(not_as_expected(&harmless).contains("no policy: 2 ms"));
    }

    #[test]
    fn a_server_that_serves_nobody_is_not_judged() {
        not_judged(&judged(Evidence {
            alone: beside(None, 0),
            ..evidence()
        }));
    }
}
