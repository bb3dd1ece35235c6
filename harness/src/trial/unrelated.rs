//! The processes that have nothing to do with a trial, and the CPU time they used.

use super::procfs::{Stat, processes, ticks_per_second};
use std::collections::{HashMap, HashSet};
use std::fs;

/// The initial PID namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h): whoever lives in it sees every process.
const INITIAL: &str = "pid:[4026531836]";

/// User and system time of every process that is neither a thread of the kernel's nor one of `own` or of their
/// descendants, s. The children that a process has waited for count with it, so that what a build's compilers used is
/// not lost with them. `None` where not every process can be seen.
pub fn cpu_s(own: &[u32]) -> Option<f64> {
    if !all_are_seen() {
        return None;
    }
    let own: HashSet<u32> = own.iter().copied().collect();
    // Ten thousand servers of one's own need not be looked at.
    let all: HashMap<u32, Stat> = processes()
        .filter(|pid| !own.contains(pid))
        .filter_map(|pid| Some((pid, Stat::read(pid)?)))
        .collect();
    let unrelated = all
        .iter()
        .filter(|(pid, stat)| !stat.is_kernel_thread() && !is_kin(**pid, &own, &all));
    let ticks: u64 = unrelated.map(|(_, stat)| stat.ticks()).sum();
    Some(ticks as f64 / ticks_per_second())
}

/// Not in a PID namespace of a container, and not behind `hidepid` (proc(5)).
fn all_are_seen() -> bool {
    let namespace = fs::read_link("/proc/self/ns/pid");
    namespace.is_ok_and(|name| name.as_os_str() == INITIAL) && Stat::read(1).is_some()
}

fn is_kin(pid: u32, own: &HashSet<u32>, all: &HashMap<u32, Stat>) -> bool {
    let mut ancestors = std::iter::successors(Some(pid), |pid| Some(all.get(pid)?.ppid));
    // Ids that are given to new processes meanwhile could make a ring.
    ancestors
        .by_ref()
        .take(all.len() + 1)
        .any(|pid| own.contains(&pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descendants_are_kin_and_others_are_not() {
        let stat = |pid: u32, ppid: u32| {
            let line = format!("{pid} (x) S {ppid} 1 1 0 -1 0 0 0 0 0 7 3 0 0 20 0 1 0 34 0");
            (pid, Stat::parse(&line).unwrap())
        };
        let all = [
            stat(1, 0),
            stat(5, 1),
            stat(6, 5),
            stat(7, 6),
            stat(8, 9),
            stat(9, 8),
        ];
        let (all, own) = (HashMap::from(all), HashSet::from([5]));
        assert!([5, 6, 7].iter().all(|&pid| is_kin(pid, &own, &all)));
        assert!([1, 8, 9, 77].iter().all(|&pid| !is_kin(pid, &own, &all)));
    }

    #[test]
    fn what_a_process_used_counts_unless_it_is_ones_own() {
        let me = std::process::id();
        let (Some(with), Some(without)) = (cpu_s(&[]), cpu_s(&[me])) else {
            return eprintln!("skipped: not every process can be seen here");
        };
        assert!(with >= without, "{with} {without}");
    }
}
