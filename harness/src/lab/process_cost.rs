//! What a process costs that is started for each client, beside threads and pools; and how many can be had.

use super::finding::Finding;
use super::tools::draw;
use super::tools::rows::{Missing, cpu_ns, figure, trials};
use super::tools::table::Table;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::Unit;
use crate::model::row::Row;
use std::time::Duration;

/// Servers that are given a connection for every request.
const ARMS: [&str; 4] = ["prefork", "thread-pool", "thread", "process"];
const PROGRAMS: &[&str] = &["loadgen", ARMS[0], ARMS[1], ARMS[2], ARMS[3], "epoll"];
/// Processes whose parent has memory: with four times as much there are four times the page tables to copy.
const BALLAST: [&str; 2] = ["process:ballast=128MiB", "process:ballast=512MiB"];
/// Clients at once: "a few hundred" are said to be too many.
const CLIENTS: u64 = 500;

/// The lab.
pub struct ProcessCost;

impl Lab for ProcessCost {
    type Evidence = Vec<Row>;
    const ABOUT: About = About {
        name: "process-cost",
        question: "What does a process for every client cost?",
        claim: "Starting a process for each client is many times as dear as starting a thread, grows with the memory of \
                the parent, and is out of the question for a few hundred clients.",
        sources: &["UNP 1, 30.13 and figure 30.1", "TLPI 28.3", "fork(2)"],
        prediction: "How many times the CPU time of a thread does a process take for a client that asks once? What if the \
                     parent holds 512 MiB? And can 500 clients have a process each?",
        done: "Clients connect, ask once and leave; the server's CPU time per client is counted, with all its children. \
               Then 500 clients stay, with a process each.",
        answer: "fork copies the page tables of the parent, not its memory, and the end of the child takes them down \
                 again: work in proportion to the pages that the parent has. A thread shares them, a pool has paid before. \
                 Hundreds of processes are no obstacle to a kernel of today; starting them for each request is.",
        next: &[
            "tenk lab memory-per-connection",
            "tenk --model process,thread --conns 100 --requests-per-conn 1",
        ],
        settings: &["kernel/pid_max"],
        programs: PROGRAMS,
        limit: Duration::from_secs(60),
    };

    fn measure(place: &Place) -> Result<Vec<Row>, Trouble> {
        let time = "--warmup 200ms --duration 1s";
        let arms = [&ARMS[..], &BALLAST].concat().join(",");
        let short = format!("--model {arms} --conns 4 --requests-per-conn 1");
        let mut rows = trials(place, &short, time)?;
        let many = format!("--model process,epoll --conns {CLIENTS}");
        rows.extend(trials(place, &many, time)?);
        Ok(rows)
    }

    fn judge(settings: &Settings, rows: &Vec<Row>) -> Finding {
        compared(settings, rows).unwrap_or_else(Finding::from)
    }
}

fn compared(settings: &Settings, rows: &[Row]) -> Result<Finding, Missing> {
    let cost = |arm: &str| Ok((arm.to_string(), figure(rows, arm, (4, 0), cpu_ns)?));
    let costs = ARMS.into_iter().chain(BALLAST).map(cost);
    let costs = costs.collect::<Result<Vec<_>, Missing>>()?;
    let [pool, thread, process, light, heavy] = [0, 2, 3, 4, 5].map(|at| costs[at].1);
    let mut table = Table::of(Unit::Ratio);
    table.at_least("process against thread", 2.0, process / thread);
    table.at_least("process against prefork", 3.0, process / pool);
    let ratio = (heavy - process) / (light - process);
    table.about("what 512 MiB add against 128 MiB", 4.0, ratio, (0.4, 2.5));
    let at = |arm, of: fn(&Row) -> Option<f64>| figure(rows, arm, (CLIENTS, 0), of);
    let ratio = at("process", cpu_ns)? / at("epoll", cpu_ns)?;
    table.shown("clients that stay: process against epoll", ratio);
    let served = at("process", |row| row.conns_served.map(|n| n as f64))?;
    let most = CLIENTS.min(settings.number("kernel/pid_max").unwrap_or(u64::MAX));
    table.exactly("clients with a process each", most, served as u64);
    let texts = draw::texts("CPU per client", "who connects, asks once, and leaves", "");
    let chart = draw::bars("process-cost", texts, "CPU", Unit::Duration, costs);
    let why = "Copying the parent's page tables does not explain what a process costs here.";
    Ok(Finding::of(table.lines, why).with_chart(chart))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_expected, not_as_expected, not_judged, settings};
    use super::super::tools::rows::row;
    use super::*;

    /// CPU per client of a process, of one whose parent holds 128 and 512 MiB; and clients that had one each.
    fn judged(process: [f64; 3], served: u64) -> Finding {
        let mut rows: Vec<Row> = ["prefork", "thread-pool", "thread"]
            .map(|arm| row(arm, (4, 0), 30.0))
            .into();
        let arms = ["process", BALLAST[0], BALLAST[1]];
        rows.extend(
            arms.into_iter()
                .zip(process)
                .map(|(arm, us)| row(arm, (4, 0), us)),
        );
        let many = row("process", (CLIENTS, 0), 9.0);
        rows.push(Row {
            conns_served: Some(served),
            ..many
        });
        rows.push(row("epoll", (CLIENTS, 0), 4.0));
        ProcessCost::judge(&settings(&[("kernel/pid_max", "32768")]), &rows)
    }

    #[test]
    fn page_tables_that_grow_with_the_parent_are_expected() {
        as_expected(&judged([250.0, 1250.0, 4250.0], CLIENTS));
    }

    #[test]
    fn a_process_as_cheap_as_a_thread_contradicts() {
        assert!(
            not_as_expected(&judged([40.0, 1040.0, 4040.0], CLIENTS)).contains("against thread")
        );
    }

    #[test]
    fn memory_that_costs_nothing_and_clients_without_a_process_contradict() {
        assert!(not_as_expected(&judged([250.0, 251.0, 251.2], CLIENTS)).contains("512 MiB"));
        assert!(not_as_expected(&judged([250.0, 1250.0, 4250.0], 300)).contains("a process each"));
    }

    #[test]
    fn without_a_trial_of_threads_nothing_is_judged() {
        not_judged(&ProcessCost::judge(
            &settings(&[]),
            &vec![row("process", (4, 0), 250.0)],
        ));
    }
}
