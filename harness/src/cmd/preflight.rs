//! What a run will lack here, said before it starts: parts of it will meet a wall that is not the server's own.

use crate::base::limits::{self, Limit};
use crate::model::arm::{Arm, Subject};
use crate::plan::Plan;
use loadgen::base::units::{format_bytes, format_count};
use servers::models::{Cost, Model};

/// Descriptors of a server beside its connections.
const SPARE_DESCRIPTORS: u64 = 64;
/// Memory of a forked server's child with one connection, kernel memory included, as measured on Linux 6.18:
/// 1 161 MiB for 10 000.
pub const BYTES_PER_PROCESS: u64 = 120 * 1024;

/// A sentence for each shortage.
pub fn preflight(plan: &Plan) -> Vec<String> {
    let most = |needed: &dyn Fn(&Arm, u64) -> u64| {
        let cells = plan.cells();
        let needs = cells.map(|(arm, s)| needed(arm, s.load.population()));
        needs.max().unwrap_or(0)
    };
    let started = |arm: &Arm| !matches!(arm.subject, Subject::Running { .. });
    let of_started = |arm: &Arm, population| match started(arm) {
        true => descriptors_needed(plan, arm, population),
        false => 0,
    };
    let of_running = |arm: &Arm, population| if started(arm) { 0 } else { population };
    let notes = [
        descriptors(most(&of_started), limits::descriptors(), "`ulimit -Hn`"),
        descriptors(
            most(&of_running),
            running_limit(plan),
            "its own soft limit, /proc/PID/limits",
        ),
        tasks(most(&tasks_needed), limits::tightest(limits::tasks())),
        memory(most(&processes_needed), limits::tightest(limits::memory())),
        quota(plan, limits::cpu_quota()),
    ];
    notes.into_iter().flatten().collect()
}

fn running_limit(plan: &Plan) -> Option<u64> {
    let pids = plan.arms.iter().filter_map(|arm| match arm.subject {
        Subject::Running { pid, .. } => pid,
        _ => None,
    });
    pids.filter_map(limits::descriptors_of).min()
}

fn descriptors(needed: u64, limit: Option<u64>, whose: &str) -> Option<String> {
    let limit =
        limit.filter(|&limit| needed > 1 && needed.saturating_add(SPARE_DESCRIPTORS) > limit)?;
    Some(format!(
        "note: {} connections in one server process asked for; one process may open {} descriptors ({whose}), so it \
         will be limited",
        format_count(needed),
        format_count(limit)
    ))
}

fn tasks(needed: u64, limit: Option<Limit>) -> Option<String> {
    // The harness and the generator need some, too.
    let limit = limit.filter(|limit| needed > limit.room() / 10 * 9)?;
    Some(format!(
        "note: {} connections asked for; {} more processes or threads may be started here ({} is {}), so models with \
         one per connection will be limited",
        format_count(needed),
        format_count(limit.room()),
        limit.what,
        format_count(limit.most)
    ))
}

fn memory(processes: u64, limit: Option<Limit>) -> Option<String> {
    let needed = processes.saturating_mul(BYTES_PER_PROCESS);
    let limit = limit.filter(|limit| needed > limit.room())?;
    Some(format!(
        "note: a process for each of {} connections needs about {}; {} leaves {}, and the kernel will end the server",
        format_count(processes),
        format_bytes(needed as f64),
        limit.what,
        format_bytes(limit.room() as f64)
    ))
}

fn quota(plan: &Plan, quota: Option<(String, f64)>) -> Option<String> {
    let mut cpus = [&plan.server_cpus[..], &plan.client_cpus].concat();
    cpus.sort_unstable();
    cpus.dedup();
    let (what, allowed) = quota.filter(|(_, allowed)| *allowed < cpus.len() as f64)?;
    Some(format!(
        "note: {what} allows the time of {allowed:.1} CPUs, and {} are to be used: server and generator will be stopped \
         in turn, and latencies are those of the stops; raise it, or give fewer with --server-cpus and --client-cpus",
        cpus.len()
    ))
}

/// Connections that one process of this arm's server holds at the same time; of another's program or server
/// nothing is known, and it is taken for one process.
fn descriptors_needed(plan: &Plan, arm: &Arm, population: u64) -> u64 {
    let Some(model) = arm.subject.model() else {
        return population;
    };
    // A loop for each CPU unless the number is given, as the model itself decides.
    model.connections_per_process(population, plan.workers_in_force(arm))
}

/// Processes or threads that exist because of connections.
fn tasks_needed(arm: &Arm, population: u64) -> u64 {
    match arm.subject.model().map(Model::cost) {
        Some(Cost::Process | Cost::Thread) => population,
        _ => 0,
    }
}

/// Processes that exist because of connections.
fn processes_needed(arm: &Arm, population: u64) -> u64 {
    match arm.subject.model().map(Model::cost) {
        Some(Cost::Process) => population,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    fn limit(most: u64, used: u64) -> Option<Limit> {
        Some(Limit {
            what: "pids.max of /jobs".into(),
            most,
            used,
        })
    }

    #[test]
    fn the_tightest_limit_is_named() {
        let note = tasks(300, limit(100, 20)).unwrap();
        assert!(
            note.contains("80 more processes") && note.contains("pids.max of /jobs is 100"),
            "{note}"
        );
        assert_eq!(tasks(300, limit(1000, 20)), None);
        assert_eq!(tasks(0, None), None);
        let note = memory(1000, limit(64 << 20, 0)).unwrap();
        assert!(
            note.contains("117 MiB") && note.contains("leaves 64.0 MiB"),
            "{note}"
        );
        assert!(
            descriptors(2000, Some(1024), "x").is_some()
                && descriptors(900, Some(1024), "x").is_none()
        );
    }

    #[test]
    fn less_time_than_cpus_is_said() {
        let words = "tenk --model epoll --server-cpus 0 --client-cpus 0";
        let plan = Plan::new(&Cli::try_parse_from(words.split(' ')).unwrap().run).unwrap();
        let of = |allowed| quota(&plan, Some(("cpu.max of /jobs".into(), allowed)));
        assert!(
            of(0.5)
                .unwrap()
                .contains("cpu.max of /jobs allows the time of 0.5 CPUs, and 1 are")
        );
        assert_eq!(of(1.0), None);
    }

    #[test]
    fn only_what_one_process_holds_needs_its_descriptors() {
        let needed = |words: &str| {
            let words = format!("tenk --conns 10k --server-cpus 0 {words}");
            let plan = Plan::new(&Cli::try_parse_from(words.split(' ')).unwrap().run).unwrap();
            let arm = &plan.arms[0];
            (
                descriptors_needed(&plan, arm, 10_000),
                tasks_needed(arm, 10_000),
            )
        };
        for (words, expected) in [
            ("--model epoll", (10_000, 0)),
            ("--model thread", (10_000, 10_000)),
            ("--model process", (1, 10_000)),
            ("--model prefork", (1, 0)),
            ("--model thread-pool", (64, 0)),
            ("--model reuseport", (10_000, 0)),
            ("--model reuseport --workers 3", (3334, 0)),
            ("--model reuseport:workers=4 --workers 3", (2500, 0)),
            ("--server {port}", (10_000, 0)),
        ] {
            assert_eq!(needed(words), expected, "{words}");
        }
    }
}
