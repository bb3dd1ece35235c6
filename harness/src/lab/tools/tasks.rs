//! What the tasks of a server are doing, as /proc says.

use super::sockets::wait_until;
use crate::lab::trouble::{During, Trouble};
use crate::trial::procfs::Stat;
use std::fs;
use std::time::Duration;

/// How long a server may take to fall asleep.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until every thread of these processes sleeps.
pub fn wait_for_sleep(pids: &[u32]) -> Result<(), Trouble> {
    match wait_until(PATIENCE, || pids.iter().all(|pid| sleeps(*pid))) {
        true => Ok(()),
        false => Err(Trouble::failed("the server's workers do not fall asleep")),
    }
}

fn sleeps(pid: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    stats
        .filter_map(|line| Stat::parse(&line))
        .all(|stat| stat.state == 'S')
}

/// How long the main thread of a process has run, and how long it waited for a CPU, s (/proc/PID/schedstat).
pub fn ran_and_waited_s(pid: u32) -> Result<(f64, f64), Trouble> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat"));
    let text = text.during("read how long a server waited for a CPU")?;
    let mut ns = text
        .split_whitespace()
        .map_while(|word| word.parse::<f64>().ok());
    match (ns.next(), ns.next()) {
        (Some(ran_ns), Some(waited_ns)) => Ok((ran_ns / 1e9, waited_ns / 1e9)),
        _ => Err(Trouble::denied(
            "this kernel does not say how long a process waited for a CPU",
            "use a kernel with CONFIG_SCHED_INFO",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_does_not_sleep_and_has_run() {
        assert!(!sleeps(std::process::id()));
        assert!(ran_and_waited_s(std::process::id()).unwrap().0 > 0.0);
        assert!(ran_and_waited_s(u32::MAX).is_err());
    }
}
