//! How many descriptors, tasks and bytes there may be.

use super::{Check, Level, Needs, at_least, number, read};
use crate::base::limits::{self, Limit};
use crate::cmd::preflight::BYTES_PER_PROCESS;
use loadgen::base::units::{format_bytes, format_count};

/// Descriptors of a server beside its connections: standard streams, listener, epoll, ledger, and some to spare.
const SPARE_DESCRIPTORS: u64 = 64;
/// Tasks of a server and a generator beside one per connection.
const SPARE_TASKS: u64 = 64;
/// Mappings of a thread: its stack and the guard below it (pthread_attr_setguardsize(3)).
const MAPPINGS_PER_THREAD: u64 = 2;
/// All limits that grow with the number of connections.
pub fn checks(needs: Option<Needs>) -> Vec<Check> {
    let conns = needs.map(|needs| needs.conns);
    vec![
        descriptors(limits::descriptors(), needs),
        tasks(limits::tightest(limits::tasks()), conns),
        max_map_count(number(read("/proc/sys/vm/max_map_count").as_deref()), conns),
        memory(limits::tightest(limits::memory()), conns),
    ]
}

/// Without descriptors no process of a server holds its connections: the one shortage that fails.
fn descriptors(limit: Option<u64>, needs: Option<Needs>) -> Check {
    let each = |needs: Needs| {
        needs
            .conns
            .div_ceil(needs.processes)
            .saturating_add(SPARE_DESCRIPTORS)
    };
    at_least("descriptors", limit, needs.map(each), Level::Fail, |n| {
        let enough = limit.and_then(|limit| limit.checked_sub(SPARE_DESCRIPTORS));
        let workers = needs.zip(enough.filter(|enough| *enough > 0));
        let or = workers.map_or(String::new(), |(needs, enough)| {
            format!(
                ", or let several processes share them: `--workers {}` with `reuseport`",
                needs.conns.div_ceil(enough)
            )
        });
        format!(
            "each process of a server will be limited; as root `ulimit -Hn {n} && ulimit -n {n}` in the shell that \
             starts tenk (`nofile` in /etc/security/limits.conf to keep it){or}"
        )
    })
}

/// Tasks are processes and threads together, at the level that leaves the fewest.
fn tasks(limit: Option<Limit>, conns: Option<u64>) -> Check {
    const NAME: &str = "tasks";
    let Some(limit) = limit else {
        return Check::unknown(NAME, "cannot be read");
    };
    let found = format!("{} left by {}", format_count(limit.room()), limit.what);
    let Some(needed) = conns.map(|n| n.saturating_add(SPARE_TASKS)) else {
        return Check::pass(NAME, found);
    };
    let check = match limit.room() >= needed {
        true => Check::pass(NAME, found),
        false => {
            let remedy = raising(&limit, needed.saturating_add(limit.used));
            let what = "models with a process or thread per connection will be limited";
            Check::short(NAME, Level::Warn, found, format!("{what}; {remedy}"))
        }
    };
    check.needing(format_count(needed))
}

/// How the limit is raised where it is set.
fn raising(limit: &Limit, to: u64) -> String {
    if let Some(name) = limit.what.strip_prefix("sysctl ") {
        return format!("`sudo sysctl -w {name}={to}`");
    }
    match limit.what.contains("pids.max") {
        true => format!(
            "`systemctl set-property UNIT TasksMax={to}`, or `--pids-limit {to}` for a container"
        ),
        false => format!(
            "`ulimit -u {to}` in the shell that starts tenk (`nproc` in /etc/security/limits.conf to keep it)"
        ),
    }
}

fn max_map_count(limit: Option<u64>, conns: Option<u64>) -> Check {
    let needed = conns.map(|n| {
        n.saturating_mul(MAPPINGS_PER_THREAD)
            .saturating_add(SPARE_TASKS)
    });
    at_least("max_map_count", limit, needed, Level::Warn, |n| {
        format!("`thread` will be limited: two mappings a thread; `sysctl -w vm.max_map_count={n}`")
    })
}

/// What the machine or the control group that leaves the least has left.
fn memory(limit: Option<Limit>, conns: Option<u64>) -> Check {
    const NAME: &str = "memory available";
    let Some(limit) = limit else {
        return Check::unknown(NAME, "cannot be read");
    };
    let room = limit.room();
    let found = format!("{} left by {}", format_bytes(room as f64), limit.what);
    let Some(needed) = conns.map(|n| n.saturating_mul(BYTES_PER_PROCESS)) else {
        return Check::pass(NAME, found);
    };
    let check = match needed > room {
        false => Check::pass(NAME, found),
        true => Check::short(
            NAME,
            Level::Warn,
            found,
            format!(
                "`process` needs about 120 KiB a connection and will be ended by the kernel; leave it out, or ask for \
                 up to {}",
                format_count(room / BYTES_PER_PROCESS)
            ),
        ),
    };
    check.needing(format!("{} for `process`", format_bytes(needed as f64)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_decide() {
        let needs = |conns, processes| Some(Needs { conns, processes });
        let with = |hard, needs| descriptors(Some(hard), needs);
        assert_eq!(with(20_000, needs(19_936, 1)).level, Level::Pass);
        let short = with(20_000, needs(50_000, 1));
        assert_eq!(short.level, Level::Fail);
        let remedy = short.remedy.unwrap();
        assert!(remedy.contains("ulimit -Hn 50064") && remedy.contains("--workers 3"));
        assert_eq!(with(20_000, needs(50_000, 3)).level, Level::Pass);
        assert_eq!(descriptors(None, needs(1, 1)).level, Level::Unknown);
        assert_eq!(with(u64::MAX, needs(u64::MAX, 1)).level, Level::Pass);
        assert_eq!(with(10, needs(u64::MAX, 1)).level, Level::Fail);
    }

    fn limit(what: &str, most: u64, used: u64) -> Option<Limit> {
        Some(Limit {
            what: what.into(),
            most,
            used,
        })
    }

    #[test]
    fn tasks_that_run_already_count_and_the_remedy_is_that_of_the_level() {
        assert_eq!(
            tasks(limit("sysctl kernel.pid_max", 1000, 100), Some(836)).level,
            Level::Pass
        );
        let remedy = |what| tasks(limit(what, 1000, 100), Some(837)).remedy.unwrap();
        assert!(remedy("sysctl kernel.pid_max").contains("sysctl -w kernel.pid_max=1001"));
        assert!(remedy("pids.max of /jobs").contains("TasksMax=1001"));
        assert!(remedy("`ulimit -u` of this user").contains("ulimit -u 1001"));
        assert_eq!(tasks(limit("x", 1, 0), None).level, Level::Pass);
        assert_eq!(tasks(None, Some(1)).level, Level::Unknown);
    }

    #[test]
    fn a_thread_takes_two_mappings() {
        assert_eq!(max_map_count(Some(65_530), Some(32_733)).level, Level::Pass);
        assert_eq!(max_map_count(Some(65_530), Some(32_734)).level, Level::Warn);
    }

    #[test]
    fn memory_is_compared_with_the_dearest_model() {
        let memory = |conns| memory(limit("memory.max of /jobs", 2 << 30, 1 << 30), conns);
        assert_eq!(memory(Some(8_000)).level, Level::Pass);
        let short = memory(Some(10_000));
        assert_eq!(short.level, Level::Warn);
        assert!(short.remedy.unwrap().ends_with("up to 8 738"));
        assert_eq!(memory(None).found, "1.00 GiB left by memory.max of /jobs");
    }
}
