//! Nothing to do: what each model uses of a CPU while its clients are silent.

mod watched;

use super::finding::Finding;
use super::tools::draw;
use super::tools::table::Table;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::Unit;
use servers::models::MODELS;
use std::time::Duration;
use watched::{ALL, Idle, sweeps, watched};

/// What is still nothing, percent of a CPU; and what a loop that never sleeps is busy or waiting for a CPU, at least.
const NOTHING: f64 = 1.0;
const ALWAYS: f64 = 90.0;

/// The lab.
pub struct IdleCpu;

impl Lab for IdleCpu {
    type Evidence = Vec<Idle>;
    const ABOUT: About = About {
        name: "idle-cpu",
        question: "What does a server use of a CPU while nobody says anything?",
        claim: "A server that asks nonblocking sockets in turn uses a whole CPU when there is nothing to do; one that \
                waits in the kernel uses none.",
        sources: &[
            "UNP 1, 6.2 (polling) and 16.2",
            "the tutorial, nonblocking sockets",
        ],
        prediction: "Fifteen servers with twenty silent clients each. How many of them use any CPU, and how much?",
        done: "Twenty clients connect to each server and say nothing for a second. Counted is the CPU time of the whole \
               family; of the one that never sleeps also the time it had to wait for a CPU that others used.",
        answer: "A blocking read, select, poll, epoll_wait and io_uring_enter put the thread to sleep in the kernel, and \
                 what arrives wakes it: no CPU is used however many are silent. The sweep makes a recv(2) per client and \
                 round and gets EAGAIN each time; it never sleeps, so it takes whatever the machine gives it.",
        next: &[
            "tenk lab idle-scaling",
            "tenk --model nonblocking,epoll --conns 10 --idle 1k",
        ],
        settings: &[],
        programs: ALL,
        limit: Duration::from_secs(60),
    };

    fn measure(place: &Place) -> Result<Vec<Idle>, Trouble> {
        let mut idle = Vec::new();
        for model in MODELS {
            match watched(place, model.name) {
                // This kernel does not let io_uring be used.
                Err(Trouble::Denied { .. }) => {}
                other => idle.push(other?),
            }
        }
        Ok(idle)
    }

    fn judge(_: &Settings, idle: &Vec<Idle>) -> Finding {
        let mut table = Table::of(Unit::Percent);
        for own in idle {
            if sweeps(&own.model) {
                let what = format!("{}: busy, or kept from a CPU by others", own.model);
                table.at_least(&what, ALWAYS, own.used() + own.waited());
                table.shown(&format!("{}: busy", own.model), own.used());
            } else {
                table.at_most(&own.model, NOTHING, own.used());
            }
        }
        let bars = idle
            .iter()
            .map(|own| (own.model.clone(), own.used()))
            .collect();
        let texts = draw::texts("CPU used with nothing to do", "20 silent clients each", "");
        let chart = draw::bars("idle-cpu", texts, "share of a CPU", Unit::Percent, bars);
        let why = "Something wakes a server although nobody says anything.";
        Finding::of(table.lines, why).with_chart(chart)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_expected, not_as_expected, not_judged, settings};
    use super::*;

    fn judged(epoll_s: f64, sweep_s: f64, waited_s: f64) -> Finding {
        let idle = |model: &str, cpu_s, waited_s| Idle {
            model: model.into(),
            watched_s: 1.0,
            cpu_s,
            waited_s,
            wakeups: 0,
        };
        IdleCpu::judge(
            &settings(&[]),
            &vec![
                idle("epoll", epoll_s, 0.0),
                idle("nonblocking", sweep_s, waited_s),
            ],
        )
    }

    #[test]
    fn a_sweep_that_others_keep_from_the_cpu_is_as_busy() {
        as_expected(&judged(0.0005, 0.99, 0.0));
        as_expected(&judged(0.0005, 0.3, 0.69));
    }

    #[test]
    fn a_loop_that_wakes_up_and_a_sweep_that_sleeps_contradict() {
        assert!(not_as_expected(&judged(0.05, 0.99, 0.0)).contains("epoll"));
        assert!(not_as_expected(&judged(0.0, 0.3, 0.1)).contains("nonblocking"));
    }

    #[test]
    fn no_server_no_judgement() {
        not_judged(&IdleCpu::judge(&settings(&[]), &Vec::new()));
    }
}
