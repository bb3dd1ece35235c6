//! What /proc says about a family of processes and a network namespace.

use crate::base::text::visible;
use loadgen::base::address::Address;
use nix::libc;
use nix::time::ClockId;
use nix::unistd::{Pid, SysconfVar, sysconf};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};

/// The kernel's USER_HZ: the unit of the tick counters in /proc (sysconf(3), _SC_CLK_TCK).
pub fn ticks_per_second() -> f64 {
    match sysconf(SysconfVar::CLK_TCK) {
        Ok(Some(ticks)) => ticks as f64,
        _ => 100.0,
    }
}

/// CPU time used since a control group was made, or since a process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct CpuTime {
    /// User and system together, in seconds; the only exact one of the three.
    pub total_s: f64,
    /// User time in seconds; sampled at the kernel's ticks.
    pub user_s: f64,
    /// System time in seconds; sampled at the kernel's ticks.
    pub system_s: f64,
}

impl CpuTime {
    /// What was used between `earlier` and `self`.
    pub fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            total_s: self.total_s - earlier.total_s,
            user_s: self.user_s - earlier.user_s,
            system_s: self.system_s - earlier.system_s,
        }
    }
}

/// The ids of all processes that can be seen.
pub fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A process, its children, and theirs; those ending meanwhile are left out.
pub fn descendants(pid: u32) -> Vec<u32> {
    let mut family = vec![pid];
    let mut next = 0;
    let mut of_all = None;
    while let Some(parent) = family.get(next).copied() {
        match children(parent) {
            Some(children) => family.extend(children),
            // A kernel without these files: everybody is asked for their parent, once.
            None => family.extend(
                of_all
                    .get_or_insert_with(by_parent)
                    .remove(&parent)
                    .unwrap_or_default(),
            ),
        }
        next += 1;
    }
    family.retain(|&pid| Stat::read(pid).is_some());
    family
}

/// One file per task lists the children it has started (proc_tid_children(5), CONFIG_PROC_CHILDREN).
pub fn children(pid: u32) -> Option<Vec<u32>> {
    let mut children = Vec::new();
    for task in tasks(pid) {
        match fs::read_to_string(format!("{task}/children")) {
            Ok(list) => children.extend(
                list.split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            ),
            // The task has ended, unless it has other files.
            Err(_) if fs::metadata(format!("{task}/stat")).is_ok() => return None,
            Err(_) => {}
        }
    }
    Some(children)
}

fn by_parent() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for pid in processes() {
        if let Some(stat) = Stat::read(pid) {
            children.entry(stat.ppid).or_default().push(pid);
        }
    }
    children
}

/// The same without another process and all that it started: the harness may descend from what it looks at.
pub fn descendants_but(pid: u32, other: u32) -> Vec<u32> {
    let others = descendants(other);
    let mut family = descendants(pid);
    family.retain(|pid| !others.contains(pid));
    family
}

/// The fields of /proc/PID/stat in use here (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// One letter: `R`, `S`, `Z`, `T`…
    pub state: char,
    /// Parent.
    pub ppid: u32,
    /// Process group.
    pub pgrp: i32,
    /// User ticks of waited-for children.
    pub cutime: u64,
    /// System ticks of waited-for children.
    pub cstime: u64,
    /// Threads in the process.
    pub threads: u64,
    /// When it started, in ticks since the machine did: with its id, what no other process has.
    pub start_ticks: u64,
    utime: u64,
    stime: u64,
    flags: u64,
}

impl Stat {
    /// Reads the process's line; `None` once it is gone.
    pub fn read(pid: u32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The command name may hold anything, spaces and parentheses too, so fields are counted from its last `)`.
    pub fn parse(line: &str) -> Option<Stat> {
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
        Some(Stat {
            state: fields.first()?.chars().next()?,
            ppid: fields.get(1)?.parse().ok()?,
            pgrp: fields.get(2)?.parse().ok()?,
            flags: number(9)?,
            utime: number(14)?,
            stime: number(15)?,
            cutime: number(16)?,
            cstime: number(17)?,
            threads: number(20)?,
            start_ticks: number(22)?,
        })
    }

    /// Whether it is a thread of the kernel's: PF_KTHREAD (include/linux/sched.h).
    pub fn is_kernel_thread(&self) -> bool {
        const PF_KTHREAD: u64 = 0x0020_0000;
        self.flags & PF_KTHREAD != 0
    }

    /// CPU time of the process and of the children it has waited for.
    pub fn ticks(&self) -> u64 {
        self.utime + self.stime + self.cutime + self.cstime
    }
}

/// CPU time of living processes, of the threads that they had, and of the children they have waited for.
///
/// A process's own clock counts the threads that have ended, and in nanoseconds, where utime and stime would lose up to
/// 10 ms in every process; of children that have ended only what their parents waited for is known, in ticks.
pub fn cpu_of(pids: &[u32]) -> CpuTime {
    let ticks = ticks_per_second();
    let mut sum = CpuTime::default();
    for &pid in pids {
        let (Some(stat), Some(own_s)) = (Stat::read(pid), clock_of(pid)) else {
            continue;
        };
        sum.total_s += own_s + (stat.cutime + stat.cstime) as f64 / ticks;
        sum.user_s += (stat.utime + stat.cutime) as f64 / ticks;
        sum.system_s += (stat.stime + stat.cstime) as f64 / ticks;
    }
    sum
}

/// What a process itself has used, s (clock_getcpuclockid(3)); `None` once it is gone.
pub fn clock_of(pid: u32) -> Option<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid as i32)).ok()?;
    let time = clock.now().ok()?;
    Some(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

/// CPU time of the children that a process has waited for, s.
pub fn waited_for_s(pid: u32) -> f64 {
    let stat = Stat::read(pid);
    stat.map_or(0, |stat| stat.cutime + stat.cstime) as f64 / ticks_per_second()
}

/// Whether a process lets its children go unseen: one that ignores SIGCHLD never learns what they used (wait(2)).
pub fn forgets_children(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (libc::SIGCHLD - 1)) != 0)
}

/// The name of a process, as people know it; `?` once it is gone.
pub fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm"));
    name.map_or("?".into(), |name| visible(name.trim_end()))
}

/// Context switches, voluntary and not, of every thread alive, by thread id.
pub fn context_switches(pids: &[u32]) -> HashMap<String, u64> {
    let mut switches = HashMap::new();
    for task in pids.iter().flat_map(|&pid| tasks(pid)) {
        if let Ok(status) = fs::read_to_string(format!("{task}/status")) {
            let count = ["voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:"]
                .iter()
                .filter_map(|key| value_after(&status, key))
                .sum();
            switches.insert(task, count);
        }
    }
    switches
}

/// Proportional set size of the processes together, in KiB: shared pages are counted once among their users.
pub fn pss_kib(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .filter_map(|text| value_after(&text, "Pss:"))
        .sum()
}

/// The threads of a process, by their ids.
pub fn task_ids(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"));
    let entries = entries.into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn tasks(pid: u32) -> impl Iterator<Item = String> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().display().to_string())
}

fn value_after(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        line.strip_prefix(key)?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    })
}

/// Open files of one network namespace's counters: they outlive the process they were opened through
/// for as long as it is no zombie, and are read again and again.
#[derive(Debug)]
pub struct NetFiles {
    netstat: File,
    snmp: File,
}

/// A namespace's counters of trouble.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetCounters {
    /// TcpExt ListenOverflows: events in which a full accept queue turned something away.
    pub listen_overflows: u64,
    /// TcpExt ListenDrops: every SYN or last ACK dropped at a listener, overflows included.
    pub listen_drops: u64,
    /// Tcp RetransSegs.
    pub retransmits: u64,
    /// Of those, TcpExt TCPSynRetrans: SYNs and their answers.
    pub syn_retransmits: u64,
}

impl NetCounters {
    /// What was counted between `earlier` and `self`.
    pub fn since(self, earlier: NetCounters) -> NetCounters {
        NetCounters {
            listen_overflows: self.listen_overflows - earlier.listen_overflows,
            listen_drops: self.listen_drops - earlier.listen_drops,
            retransmits: self.retransmits - earlier.retransmits,
            syn_retransmits: self.syn_retransmits - earlier.syn_retransmits,
        }
    }
}

impl NetFiles {
    /// Opens the counters of the namespace that `pid` lives in.
    pub fn open(pid: u32) -> io::Result<NetFiles> {
        Ok(NetFiles {
            netstat: File::open(format!("/proc/{pid}/net/netstat"))?,
            snmp: File::open(format!("/proc/{pid}/net/snmp"))?,
        })
    }

    /// The counters now; `None` once the namespace cannot be read any more.
    pub fn read(&mut self) -> Option<NetCounters> {
        let netstat = reread(&mut self.netstat).ok()?;
        let snmp = reread(&mut self.snmp).ok()?;
        Some(NetCounters {
            listen_overflows: counter(&netstat, "TcpExt:", "ListenOverflows")?,
            listen_drops: counter(&netstat, "TcpExt:", "ListenDrops")?,
            retransmits: counter(&snmp, "Tcp:", "RetransSegs")?,
            syn_retransmits: counter(&netstat, "TcpExt:", "TCPSynRetrans").unwrap_or(0),
        })
    }
}

fn reread(file: &mut File) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// /proc/net/netstat and snmp hold pairs of lines: names, then values, both after the same prefix.
fn counter(text: &str, prefix: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(prefix));
    let (names, values) = (lines.next()?, lines.next()?);
    let position = names.split_whitespace().position(|n| n == name)?;
    values.split_whitespace().nth(position)?.parse().ok()
}

/// Connections waiting in the accept queue of the listener at `addr`, in the namespace of `pid`
/// (proc_net(5): a listener's receive queue).
/// None of a Unix socket, whose queue is not told there.
pub fn accept_queue(pid: u32, addr: &Address) -> Option<u64> {
    let addr = addr.socket_addr()?;
    let table = if addr.is_ipv4() { "tcp" } else { "tcp6" };
    let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).ok()?;
    queue_of_listener(&text, addr.port())
}

fn queue_of_listener(text: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    let queues = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&port) && *fields.get(3)? == LISTEN;
        let (_, queue) = fields.get(4)?.split_once(':')?;
        listens
            .then(|| u64::from_str_radix(queue, 16).ok())
            .flatten()
    });
    queues.reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_name_with_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) b (c) S 1 77 42 0 -1 0 1 2 3 4 11 12 13 14 20 0 5 0 9 1";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(
            (stat.state, stat.ppid, stat.pgrp, stat.threads),
            ('S', 1, 77, 5)
        );
        assert_eq!(
            (stat.utime, stat.stime, stat.cutime, stat.cstime),
            (11, 12, 13, 14)
        );
        assert_eq!(stat.ticks(), 50);
        assert_eq!(Stat::parse("42 (x"), None);
        assert_eq!(Stat::parse("42 (x) S 1 2"), None);
    }

    #[test]
    fn this_process_is_found_and_has_used_time() {
        let pid = std::process::id();
        assert_eq!(descendants(pid).first(), Some(&pid));
        assert!(descendants(u32::MAX).is_empty());
        assert!(cpu_of(&[pid]).total_s > 0.0);
        assert!(!context_switches(&[pid]).is_empty());
        assert!(pss_kib(&[pid]) > 0);
        assert_eq!(cpu_of(&[u32::MAX]), CpuTime::default());
    }

    #[test]
    fn kernel_threads_are_told_from_others() {
        let stat = |flags: u64| {
            let line =
                format!("15 (odd ) name) S 2 0 0 0 -1 {flags} 0 0 0 0 7 3 0 0 20 0 1 0 34 0");
            Stat::parse(&line).unwrap()
        };
        assert!(stat(0x0020_8040).is_kernel_thread());
        assert!(!stat(0x0040_0000).is_kernel_thread());
    }

    #[test]
    fn counters_are_found_by_name() {
        let text = "TcpExt: A ListenOverflows B\nTcpExt: 1 15 2\nIpExt: A\nIpExt: 4\n";
        assert_eq!(counter(text, "TcpExt:", "ListenOverflows"), Some(15));
        assert_eq!(counter(text, "TcpExt:", "Missing"), None);
        assert!(NetFiles::open(std::process::id()).unwrap().read().is_some());
    }

    #[test]
    fn the_accept_queue_is_the_listeners_receive_queue() {
        let text = "  sl  local_address rem_address st tx_queue rx_queue\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:0000000C 00:0 0 0 0 1\n\
            1: 0100007F:1F90 0100007F:C350 01 00000000:00000005 00:0 0 0 0 2\n";
        assert_eq!(queue_of_listener(text, 8080), Some(12));
        assert_eq!(queue_of_listener(text, 8081), None);
    }
}
