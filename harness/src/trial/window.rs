//! The readings at both edges of a window.

use super::cpu::Reading;
use super::evidence::Window;
use super::machine::MachineCpu;
use super::procfs;
use super::server::Server;
use super::syscalls::perf_events_open;
use crate::base::limits::{self, Throttled};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use servers::ledger::{Reader, Tally};
use std::collections::HashMap;
use std::time::Instant;

/// What is read when the window begins.
#[derive(Debug)]
pub struct Opening {
    at: Instant,
    cpu: Reading,
    ctx_switches: HashMap<String, u64>,
    ledger: Option<Tally>,
    machine: Option<MachineCpu>,
    harness_s: f64,
    printed_bytes: u64,
    throttled: Vec<Throttled>,
    perf_events_open: u64,
}

/// Reads what is known when the window begins.
pub fn open(server: &Server, ledger: Option<&Reader>) -> Opening {
    let pids = server.pids();
    let ctx_switches = procfs::context_switches(&pids);
    let perf_events_open = perf_events_open();
    // Of a walk over many processes the middle is taken; a counter is read in an instant.
    let before = Instant::now();
    let cpu = server.cpu(&pids);
    Opening {
        at: before + before.elapsed() / 2,
        cpu,
        ctx_switches,
        ledger: ledger.map(Reader::total),
        machine: MachineCpu::read(&own(&pids)),
        harness_s: own_cpu_s(),
        printed_bytes: server.printed_bytes(),
        throttled: throttled(server),
        perf_events_open,
    }
}

/// Reads the same when it ends, and what came between.
pub fn close(
    opening: &Opening,
    server: &Server,
    ledger: Option<&Reader>,
    ready_memory_kib: u64,
) -> Window {
    let between_s = opening.at.elapsed().as_secs_f64();
    let harness_s = own_cpu_s() - opening.harness_s;
    let pids = server.pids();
    let machine = MachineCpu::read(&own(&pids))
        .zip(opening.machine)
        .map(|(now, then)| now.since(then));
    let counted = ledger.map(Reader::total).zip(opening.ledger);
    Window {
        server_cpu: server.cpu(&pids).since(&opening.cpu),
        between_s,
        memory_kib: server.memory_kib(&pids).saturating_sub(ready_memory_kib),
        threads: pids
            .iter()
            .filter_map(|&pid| procfs::Stat::read(pid))
            .map(|stat| stat.threads)
            .sum(),
        processes: pids.len() as u64,
        ctx_switches: difference(&opening.ctx_switches, &procfs::context_switches(&pids)),
        wakeups: counted.map(|(now, then)| now.wakeups - then.wakeups),
        received_bytes: counted.map(|(now, then)| now.bytes_in - then.bytes_in),
        machine,
        harness_s,
        printed_bytes: server.printed_bytes() - opening.printed_bytes,
        throttled: limits::throttled_between(&opening.throttled, &throttled(server)),
        perf_events_open: opening.perf_events_open,
    }
}

/// What quotas around the generator and the server have done so far. The generator's groups are this process's.
fn throttled(server: &Server) -> Vec<Throttled> {
    let mut all = limits::throttled("self");
    if server.pid != 0 {
        let others = limits::throttled(&server.pid.to_string());
        let is_known = |other: &Throttled| all.iter().any(|one: &Throttled| one.what == other.what);
        let others: Vec<Throttled> = others
            .into_iter()
            .filter(|other| !is_known(other))
            .collect();
        all.extend(others);
    }
    all
}

/// This process, from which all that belongs to the trial descends, but for a server that ran before.
fn own(server: &[u32]) -> Vec<u32> {
    [&[std::process::id()], server].concat()
}

/// The switches between two readings, if both saw the same tasks.
fn difference(before: &HashMap<String, u64>, after: &HashMap<String, u64>) -> Option<u64> {
    let same = before.len() == after.len() && before.keys().all(|task| after.contains_key(task));
    let total = |tasks: &HashMap<String, u64>| tasks.values().sum::<u64>();
    same.then(|| total(after).saturating_sub(total(before)))
}

fn own_cpu_s() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return 0.0;
    };
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_compared_only_between_the_same_tasks() {
        let tasks = |list: &[(&str, u64)]| list.iter().map(|(t, n)| (t.to_string(), *n)).collect();
        let before: HashMap<String, u64> = tasks(&[("1", 10), ("2", 20)]);
        assert_eq!(
            difference(&before, &tasks(&[("1", 15), ("2", 21)])),
            Some(6)
        );
        assert_eq!(difference(&before, &tasks(&[("1", 15)])), None);
        assert_eq!(difference(&before, &tasks(&[("1", 15), ("3", 21)])), None);
    }

    #[test]
    fn this_process_has_used_cpu_time() {
        assert!(own_cpu_s() > 0.0);
    }
}
