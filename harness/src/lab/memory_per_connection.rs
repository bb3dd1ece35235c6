//! What a silent connection takes of the server's memory, by what serves it.

use super::finding::Finding;
use super::tools::draw;
use super::tools::rows::{Missing, figure, trials};
use super::tools::table::Table;
use super::trouble::Trouble;
use super::{About, Lab, Place, Settings};
use crate::base::unit::Unit;
use crate::model::row::Row;
use std::time::Duration;

/// Silent connections, twice: what a server takes beside them is then in neither figure.
const SILENT: [u64; 2] = [100, 600];
const ARMS: [&str; 4] = ["epoll", "tokio", "thread", "process"];

/// The lab.
pub struct MemoryPerConnection;

impl Lab for MemoryPerConnection {
    type Evidence = Vec<Row>;
    const ABOUT: About = About {
        name: "memory-per-connection",
        question: "How much memory does a silent client take of the server?",
        claim: "A process for each client takes many times the memory of a thread, and a thread many times that of a \
                connection in an event loop.",
        sources: &[
            "Kegel, The C10K problem",
            "TLPI 29.1 and 63",
            "clone(2), pthread_attr_setstacksize(3)",
        ],
        prediction: "Which of epoll, tokio, a thread and a process for each client take less than 10 KiB for a silent \
                     client, and what do the others take? A thread's stack is 2 MiB.",
        done: "Each server gets 100 silent clients and then 600; what the 500 added, divided by 500, is what one takes. \
               Counted is the memory of the control group with what the kernel keeps for it, or the processes' own share \
               where there is no control group.",
        answer: "A loop keeps a few hundred bytes for a connection, and the kernel its socket. A thread needs a stack in \
                 the kernel and the pages of its own that it has touched: of the 2 MiB only those. A process needs page \
                 tables and copies of all pages that it has written to besides.",
        next: &[
            "tenk lab process-cost",
            "tenk --model thread:stack-size=64KiB,thread --conns 1k",
        ],
        settings: &[],
        programs: &["loadgen", "epoll", "tokio", "thread", "process"],
        limit: Duration::from_secs(60),
    };

    fn measure(place: &Place) -> Result<Vec<Row>, Trouble> {
        let [few, many] = SILENT;
        let flags = format!("--model {} --conns 1 --idle {few},{many}", ARMS.join(","));
        trials(place, &flags, "--warmup 100ms --duration 300ms")
    }

    fn judge(settings: &Settings, rows: &Vec<Row>) -> Finding {
        compared(settings, rows).unwrap_or_else(Finding::from)
    }
}

fn compared(settings: &Settings, rows: &[Row]) -> Result<Finding, Missing> {
    let [few, many] = SILENT;
    let kib = |row: &Row| row.server_memory_kib.map(|kib| kib as f64);
    let each = |arm| {
        let more = figure(rows, arm, (1, many), kib)? - figure(rows, arm, (1, few), kib)?;
        Ok((more * 1024.0 / (many - few) as f64).max(0.0))
    };
    let taken = ARMS.map(|arm| Ok((arm.to_string(), each(arm)?)));
    let taken = taken.into_iter().collect::<Result<Vec<_>, Missing>>()?;
    let [epoll, tokio, thread, process] = [0, 1, 2, 3].map(|at| taken[at].1);
    let page = settings.page_bytes as f64;
    let mut table = Table::of(Unit::Bytes);
    table.at_most("epoll: a socket and a few words", 2.0 * page, epoll);
    table.at_most("tokio: a task is no thread", 3.0 * page, tokio);
    // Of its stack one page at least, and one of what a C library keeps for each thread.
    table.at_least(
        "thread: the pages that it has written to",
        epoll + 2.0 * page,
        thread,
    );
    table.at_least(
        "process: more than a thread by half at least",
        1.5 * thread,
        process,
    );
    let texts = draw::texts(
        "Memory of a silent connection",
        "what 500 more take, divided by 500",
        "",
    );
    let chart = draw::bars("memory", texts, "memory per connection", Unit::Bytes, taken);
    let why = "A connection takes other memory here than what serves it explains.";
    Ok(Finding::of(table.lines, why).with_chart(chart))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{as_expected, not_as_expected, not_judged, settings};
    use super::super::tools::rows::row;
    use super::*;

    /// Servers that take so many KiB for a connection, beside 3 MiB of their own.
    fn judged(each_kib: [u64; 4]) -> Finding {
        let of = |(arm, kib): (&str, u64)| {
            SILENT.map(|idle| Row {
                server_memory_kib: Some(3072 + kib * idle),
                ..row(arm, (1, idle), 4.0)
            })
        };
        let rows = ARMS.into_iter().zip(each_kib).flat_map(of).collect();
        MemoryPerConnection::judge(&settings(&[]), &rows)
    }

    #[test]
    fn a_process_above_a_thread_above_a_loop_is_expected() {
        as_expected(&judged([3, 4, 28, 110]));
        as_expected(&judged([0, 1, 9, 27]));
    }

    #[test]
    fn a_thread_as_cheap_as_a_socket_or_as_dear_as_a_process_contradicts() {
        assert!(not_as_expected(&judged([3, 4, 4, 110])).contains("thread"));
        assert!(not_as_expected(&judged([3, 4, 100, 110])).contains("process"));
        not_as_expected(&judged([30, 4, 100, 300]));
    }

    #[test]
    fn without_memory_nothing_is_judged() {
        not_judged(&MemoryPerConnection::judge(&settings(&[]), &Vec::new()));
    }
}
