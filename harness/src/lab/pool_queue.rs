//! More clients than workers: throughput stays, and the response time grows with the queue (Little's law).

mod load;

use super::finding::Finding;
use super::tools::rows::Missing;
use super::tools::table::Table;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::{Unit, duration};
use load::{BLOCK, CLIENTS, Served, WORKERS, chart, serve, served};
use std::time::Duration;

/// How far figures may be from the law: clients take a moment to come back.
const BAND: (f64, f64) = (0.8, 1.25);
/// A sleep this much longer than asked is the machine's doing.
const LATE: f64 = 1.5;

/// The lab.
pub struct PoolQueue;

impl Lab for PoolQueue {
    type Evidence = Vec<Served>;
    const ABOUT: About = About {
        name: "pool-queue",
        question: "What do more clients than workers get from a pool?",
        claim: "W workers that take S for a request serve W / S requests a second and no more. With N clients each then \
                waits R = N / X: every further client makes all of them wait longer.",
        sources: &[
            "Little, A Proof for the Queuing Formula L = λW, 1961",
            "UNP 1, 30.12",
            "CS:APP 12.5.5",
        ],
        prediction: "Four workers sleep 20 ms for each request. How many requests a second do 1, 4 and 32 clients get, and \
                     how long does each wait?",
        done: "Clients connect, ask once, get their answer, leave and come again, to a pool of four threads that sleep \
               20 ms for each request. S is taken from the clients that never wait: those up to four.",
        answer: "Up to four clients each has a worker, and throughput grows with them. From then on the workers are always \
                 busy: throughput stays at W / S, and the others wait in the queue. As many are in the system as there \
                 are clients, so R = N / X. Only a shorter S or more workers help; a longer queue does not.",
        next: &[
            "tenk --model thread-pool:workers=4 --block 20ms --conns 1,4,32 --requests-per-conn 1",
            "tenk lab head-of-line",
        ],
        settings: &[],
        programs: &["loadgen", "thread-pool"],
        limit: Duration::from_secs(60),
    };

    fn measure(place: &Place) -> Result<Vec<Served>, Trouble> {
        let server = serve(place)?;
        let all = CLIENTS.map(|clients| served(place, &server, clients));
        all.into_iter().collect()
    }

    fn judge(_: &Settings, all: &Vec<Served>) -> Finding {
        let unhindered = all.iter().filter(|served| served.clients <= WORKERS);
        let mut times: Vec<f64> = unhindered.map(|served| served.mean_response_ns).collect();
        times.sort_by(f64::total_cmp);
        let Some(&s_ns) = times.get(times.len() / 2) else {
            return Missing::of("no request was answered").into();
        };
        let asked_ns = BLOCK.as_nanos() as f64;
        if s_ns > asked_ns * LATE {
            let (asked, took) = (duration(asked_ns), duration(s_ns));
            return Missing::of(format!("a sleep of {asked} took {took}")).into();
        }
        let (mut rates, mut waits) = (Table::of(Unit::Count), Table::of(Unit::Duration));
        let law_ns = |clients: u64| clients.max(WORKERS) as f64 / WORKERS as f64 * s_ns;
        for served in all {
            let (n, ns) = (served.clients, law_ns(served.clients));
            let rate = n as f64 / ns * 1e9;
            let what = format!("{n} clients: requests per second");
            rates.about(&what, rate, served.requests_per_s, BAND);
            let what = format!("{n} clients: response time, mean");
            waits.about(&what, ns, served.mean_response_ns, BAND);
        }
        let lines = rates.lines.into_iter().chain(waits.lines).collect();
        let why = "The pool does not keep to Little's law.";
        Finding::of(lines, why).with_chart(chart(all, law_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_expected, not_as_expected, not_judged, settings};
    use super::*;

    /// A pool of `workers` with a service time of `s_ms`.
    fn judged(workers: f64, s_ms: f64) -> Finding {
        let served = |clients: u64| {
            let response_ms = (clients as f64 / workers).max(1.0) * s_ms;
            Served {
                clients,
                requests_per_s: clients as f64 / (response_ms / 1e3),
                mean_response_ns: response_ms * 1e6,
            }
        };
        PoolQueue::judge(&settings(&[]), &CLIENTS.map(served).to_vec())
    }

    #[test]
    fn a_queue_before_four_workers_is_expected() {
        as_expected(&judged(4.0, 20.1));
        as_expected(&judged(4.0, 24.0));
    }

    #[test]
    fn a_pool_of_more_or_fewer_workers_contradicts() {
        assert!(not_as_expected(&judged(8.0, 20.1)).contains("32 clients"));
        not_as_expected(&judged(2.0, 20.1));
    }

    #[test]
    fn late_sleeps_are_not_judged() {
        assert!(not_judged(&judged(4.0, 35.0)).contains("35 ms"));
        not_judged(&PoolQueue::judge(&settings(&[]), &Vec::new()));
    }
}
