//! How many descriptors, tasks and bytes there may be.

use super::{Check, Level, Needs, at_least, number, read};
use crate::trial::cgroup;
use loadgen::units::{format_bytes, format_count};
use nix::sys::resource::{Resource, getrlimit};

/// Descriptors of a server beside its connections: standard streams, listener, epoll, ledger, and some to spare.
const SPARE_DESCRIPTORS: u64 = 64;
/// Tasks of a server and a generator beside one per connection.
const SPARE_TASKS: u64 = 64;
/// Mappings of a thread: its stack and the guard below it (pthread_attr_setguardsize(3)).
const MAPPINGS_PER_THREAD: u64 = 2;
/// Memory of a forked server's child with one connection, kernel memory included, as measured on Linux 6.18:
/// 1 161 MiB for 10 000.
const BYTES_PER_PROCESS: u64 = 120 * 1024;

/// All limits that grow with the number of connections.
pub fn checks(needs: Option<Needs>) -> Vec<Check> {
    let conns = needs.map(|needs| needs.conns);
    let running = read("/proc/loadavg").as_deref().and_then(tasks_running);
    vec![
        descriptors(getrlimit(Resource::RLIMIT_NOFILE).ok(), needs),
        tasks(
            "pid_max",
            number(read("/proc/sys/kernel/pid_max").as_deref()),
            running,
            conns,
            "kernel.pid_max",
        ),
        tasks(
            "threads-max",
            number(read("/proc/sys/kernel/threads-max").as_deref()),
            running,
            conns,
            "kernel.threads-max",
        ),
        max_map_count(number(read("/proc/sys/vm/max_map_count").as_deref()), conns),
        pids_group(pids_limit().as_deref(), conns),
        memory(read("/proc/meminfo").as_deref(), conns),
    ]
}

/// Without descriptors no process of a server holds its connections: the one shortage that fails.
fn descriptors(limit: Option<(u64, u64)>, needs: Option<Needs>) -> Check {
    let each = |needs: Needs| {
        needs
            .conns
            .div_ceil(needs.processes)
            .saturating_add(SPARE_DESCRIPTORS)
    };
    let hard = limit.map(|(_, hard)| hard);
    at_least("descriptors", hard, needs.map(each), Level::Fail, |n| {
        let enough = hard.and_then(|hard| hard.checked_sub(SPARE_DESCRIPTORS));
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

/// Tasks are processes and threads together; those already running count.
fn tasks(
    name: &'static str,
    limit: Option<u64>,
    running: Option<u64>,
    conns: Option<u64>,
    sysctl: &str,
) -> Check {
    let needed = conns.map(|n| n.saturating_add(running.unwrap_or(0) + SPARE_TASKS));
    at_least(name, limit, needed, Level::Warn, |n| {
        format!(
            "models with a process or thread per connection will be limited; `sysctl -w {sysctl}={n}`"
        )
    })
}

/// The fourth field of /proc/loadavg, `running/all` tasks (proc_loadavg(5)).
fn tasks_running(loadavg: &str) -> Option<u64> {
    let (_, all) = loadavg.split_whitespace().nth(3)?.split_once('/')?;
    all.parse().ok()
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

/// `pids.max` of the own group, in whichever version of cgroups there is.
fn pids_limit() -> Option<String> {
    ["pids", ""]
        .iter()
        .find_map(|controller| cgroup::own_limit(controller, "pids.max"))
}

/// The text of `pids.max`: a number or `max`; none where no group limits tasks.
fn pids_group(limit: Option<&str>, conns: Option<u64>) -> Check {
    match limit.map(str::trim) {
        None => Check::pass("pids cgroup", "no limit"),
        Some("max") => Check::pass("pids cgroup", "max"),
        Some(limit) => {
            let needed = conns.map(|n| n.saturating_add(SPARE_TASKS));
            at_least(
                "pids cgroup",
                limit.parse().ok(),
                needed,
                Level::Warn,
                |n| {
                    format!(
                        "models with a process or thread per connection will be limited; `systemctl set-property \
                     UNIT TasksMax={n}`, or `--pids-limit {n}` for a container"
                    )
                },
            )
        }
    }
}

fn memory(meminfo: Option<&str>, conns: Option<u64>) -> Check {
    let available = meminfo.and_then(|text| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("MemAvailable:"))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    });
    let Some(available) = available else {
        return Check::unknown("memory available", "cannot be read");
    };
    let needed = conns.map(|n| n.saturating_mul(BYTES_PER_PROCESS));
    let found = format_bytes(available as f64);
    let check = match needed {
        Some(n) if n > available => Check::short(
            "memory available",
            Level::Warn,
            found,
            format!(
                "`process` needs about 120 KiB a connection and may be killed; leave it out, or ask for up to {}",
                format_count(available / BYTES_PER_PROCESS)
            ),
        ),
        _ => Check::pass("memory available", found),
    };
    match needed {
        Some(n) => check.needing(format!("{} for `process`", format_bytes(n as f64))),
        None => check,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_decide() {
        let needs = |conns, processes| Some(Needs { conns, processes });
        let with = |hard, needs| descriptors(Some((1024, hard)), needs);
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

    #[test]
    fn tasks_already_running_count() {
        assert_eq!(tasks_running("0.29 1.80 0.66 2/116 12345"), Some(116));
        assert_eq!(tasks_running("nonsense"), None);
        assert_eq!(
            tasks("pid_max", Some(1000), Some(100), Some(836), "x").level,
            Level::Pass
        );
        let short = tasks(
            "pid_max",
            Some(1000),
            Some(100),
            Some(837),
            "kernel.pid_max",
        );
        assert_eq!(short.level, Level::Warn);
        assert!(
            short
                .remedy
                .unwrap()
                .contains("sysctl -w kernel.pid_max=1001")
        );
    }

    #[test]
    fn a_thread_takes_two_mappings() {
        assert_eq!(max_map_count(Some(65_530), Some(32_733)).level, Level::Pass);
        assert_eq!(max_map_count(Some(65_530), Some(32_734)).level, Level::Warn);
    }

    #[test]
    fn a_group_limits_or_does_not() {
        assert_eq!(pids_group(None, Some(9)).found, "no limit");
        assert_eq!(pids_group(Some("max\n"), Some(9)).level, Level::Pass);
        assert_eq!(pids_group(Some("50\n"), Some(9)).level, Level::Warn);
        assert_eq!(pids_group(Some("50\n"), None).level, Level::Pass);
        assert_eq!(pids_group(Some("many"), Some(9)).level, Level::Unknown);
    }

    #[test]
    fn memory_is_compared_with_the_dearest_model() {
        let meminfo = "MemTotal: 2048000 kB\nMemAvailable:    1048576 kB\n";
        assert_eq!(memory(Some(meminfo), Some(8_000)).level, Level::Pass);
        let short = memory(Some(meminfo), Some(10_000));
        assert_eq!(short.level, Level::Warn);
        assert!(short.remedy.unwrap().ends_with("up to 8 738"));
        assert_eq!(memory(Some(meminfo), None).found, "1.00 GiB");
        assert_eq!(memory(Some(""), Some(1)).level, Level::Unknown);
    }
}
