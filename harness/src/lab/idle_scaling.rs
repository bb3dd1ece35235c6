//! Silent connections: what watching them costs select(2) and poll(2), and what it costs epoll(7).

use super::finding::Finding;
use super::tools::asking::Asking;
use super::tools::rows::{Missing, cpu_chart, cpu_ns, figure, trials};
use super::tools::table::Table;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::Unit;
use crate::model::row::Row;
use serde::{Deserialize, Serialize};
use std::fs;
use std::time::Duration;

/// Silent connections that select(2) can watch too, and more, as far as there are descriptors.
const SILENT: [u64; 4] = [100, 900, 2_500, 8_000];
/// More than select(2) can watch.
const TOO_MANY: u64 = 1_300;
const FD_SETSIZE: u64 = 1_024;

/// The lab.
pub struct IdleScaling;

/// What asking one connection costs, descriptors of a select server without clients, and trials with one active connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    asking: Asking,
    own_descriptors: u64,
    rows: Vec<Row>,
}

impl Lab for IdleScaling {
    type Evidence = Evidence;
    const ABOUT: About = About {
        name: "idle-scaling",
        question: "What does a server pay for clients that say nothing?",
        claim: "Each call of select and poll looks at every connection, epoll only at those that have something; select \
                watches no descriptor above 1023.",
        sources: &["TLPI 63.4.5 and table 63-9", "select(2): FD_SETSIZE"],
        prediction: "One client talks; the silent ones become eighty times as many. How many times does the CPU time of a \
                     request grow with poll, and with epoll? And how many clients does select serve?",
        done: "One client sends its next request as soon as it has the answer, beside 100 to 8000 silent ones. Before \
               that, poll(2) is timed here where it has to wait: that, times the number of connections, is expected.",
        answer: "select and poll hand the kernel the whole list at every call, and the kernel asks each socket in turn. \
                 epoll keeps the list in the kernel, where a socket that gets data joins the list of the ready: a turn \
                 costs what is ready. The list of select is a bitmap for 1024 descriptors, of which the server needs a few itself.",
        next: &[
            "tenk lab active-ratio",
            "tenk --model poll,epoll --conns 10 --idle 100,1k,8k",
        ],
        settings: &[],
        programs: &["loadgen", "select", "poll", "epoll"],
        limit: Duration::from_secs(60),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let asking = Asking::timed()?;
        let select = place.serve("select", &[])?;
        let own_descriptors = fs::read_dir(format!("/proc/{}/fd", select.pid))?.count() as u64;
        drop(select);
        let room = place.settings().descriptors * 4 / 5;
        let [a, b, c, d] = SILENT.map(|n| n.min(room));
        let mut rows = Vec::new();
        for (models, idle) in [
            ("select,poll,epoll", format!("{a},{b}")),
            ("poll,epoll", format!("{c},{d}")),
            ("select", TOO_MANY.to_string()),
        ] {
            let flags = format!("--model {models} --idle {idle} --conns 1");
            rows.extend(trials(place, &flags, "--warmup 100ms --duration 700ms")?);
        }
        Ok(Evidence {
            asking,
            own_descriptors,
            rows,
        })
    }

    fn judge(_: &Settings, evidence: &Evidence) -> Finding {
        compared(evidence).unwrap_or_else(Finding::from)
    }
}

fn compared(evidence: &Evidence) -> Result<Finding, Missing> {
    let rows = &evidence.rows;
    let most = rows.iter().filter(|row| row.arm == "poll").map(|r| r.idle);
    let most = most.max().unwrap_or(SILENT[3]);
    let more = |arm, to| -> Result<f64, Missing> {
        let at = |idle| figure(rows, arm, (1, idle), cpu_ns);
        Ok((at(to)? - at(SILENT[0])?).max(0.0))
    };
    let mut table = Table::of(Unit::Duration);
    for (arm, to) in [("select", SILENT[1]), ("poll", most)] {
        let silent = to - SILENT[0];
        let what = format!("{arm}: what {silent} silent connections add to a request");
        // A turn that finds a request at once is cheaper; sockets among thousands are not cached.
        let expected_ns = silent as f64 * evidence.asking.waiting_ns;
        table.about(&what, expected_ns, more(arm, to)?, (0.15, 6.0));
    }
    let what = format!("epoll: what {} add, against poll", most - SILENT[0]);
    table.at_most(&what, more("poll", most)? / 10.0, more("epoll", most)?);
    let served = |row: &Row| row.conns_served.map(|n| n as f64);
    let served = figure(rows, "select", (1, TOO_MANY), served)? as u64;
    let room = FD_SETSIZE - evidence.own_descriptors;
    table.exactly("select: connections served", room, served);
    let arms = ["select", "poll", "epoll"];
    let chart = cpu_chart(rows, &arms, "silent connections", |row| row.idle);
    let why = "A turn did not cost what the number of its connections leads one to expect.";
    Ok(Finding::of(table.lines, why).with_chart(chart))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_expected, not_as_expected, not_judged, settings};
    use super::super::tools::rows::row;
    use super::*;

    fn evidence(poll_ns: f64, epoll_ns: f64, served: u64) -> Evidence {
        let mut rows = Vec::new();
        for idle in SILENT {
            for (arm, ns) in [("select", poll_ns), ("poll", poll_ns), ("epoll", epoll_ns)] {
                rows.push(row(arm, (1, idle), 4.0 + idle as f64 * ns / 1e3));
            }
        }
        rows.push(Row {
            conns_served: Some(served),
            ..row("select", (1, TOO_MANY), 50.0)
        });
        Evidence {
            asking: Asking {
                at_once_ns: 20.0,
                waiting_ns: 80.0,
            },
            own_descriptors: 4,
            rows,
        }
    }

    #[test]
    fn a_step_for_every_silent_connection_is_expected_of_poll_and_none_of_epoll() {
        as_expected(&IdleScaling::judge(
            &settings(&[]),
            &evidence(60.0, 0.1, 1020),
        ));
    }

    #[test]
    fn an_epoll_that_looks_at_everyone_contradicts() {
        let finding = IdleScaling::judge(&settings(&[]), &evidence(60.0, 30.0, 1020));
        assert!(not_as_expected(&finding).contains("epoll"));
    }

    #[test]
    fn a_poll_that_does_not_grow_and_a_select_without_a_wall_contradict() {
        not_as_expected(&IdleScaling::judge(
            &settings(&[]),
            &evidence(0.1, 0.0, 1020),
        ));
        not_as_expected(&IdleScaling::judge(
            &settings(&[]),
            &evidence(60.0, 0.1, 1301),
        ));
    }

    #[test]
    fn without_a_trial_of_poll_nothing_is_judged() {
        let mut evidence = evidence(60.0, 0.1, 1020);
        evidence.rows.retain(|row| row.arm != "poll");
        assert!(not_judged(&IdleScaling::judge(&settings(&[]), &evidence)).contains("poll"));
    }
}
