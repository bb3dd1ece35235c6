//! How often a server makes which system call: counted by the kernel at the tracepoints where calls are entered, read at
//! the window's edges. Nothing is sampled and nothing is written while the load runs.
//!
//! The counters are attached to the tasks of a server that is ready and has no load yet; whatever it starts from then on
//! inherits them.

use super::procfs;
use super::supervise::raise_descriptors;
use super::tracefs::Tracefs;
use crate::base::sys;
use crate::model::instrumented::Syscalls;
use nix::errno::Errno;
use std::fs::{self, File};
use std::io::{self, Read};
use std::time::Instant;

/// The system calls that network servers make for their clients. Each more costs every task of a server memory and a
/// little time at every switch, so those that are only made at the start are not here: they are in the total.
const NAMES: [&str; 54] = [
    "accept",
    "accept4",
    "brk",
    "clock_nanosleep",
    "clone",
    "clone3",
    "close",
    "connect",
    "dup",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "exit",
    "exit_group",
    "fcntl",
    "fork",
    "futex",
    "getpeername",
    "getsockname",
    "getsockopt",
    "io_uring_enter",
    "ioctl",
    "kill",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "openat",
    "poll",
    "ppoll",
    "pselect6",
    "read",
    "readv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "select",
    "sendfile64",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    "splice",
    "timerfd_settime",
    "wait4",
    "waitid",
    "write",
    "writev",
];

/// The name under which all calls together are counted.
const TOTAL: &str = "";

/// Open counters of one server.
#[derive(Debug)]
pub struct Counters {
    /// What each counts, and of one task with all that it has started since.
    counters: Vec<(&'static str, File)>,
}

/// The counts at one time, by name.
#[derive(Debug)]
pub struct Counts {
    at: Instant,
    by_name: Vec<(&'static str, u64)>,
}

impl Counters {
    /// Attaches counters to all tasks of these processes.
    ///
    /// # Errors
    /// Why not, and what mends it.
    pub fn attach(pids: &[u32]) -> Result<Counters, String> {
        let tracefs = Tracefs::open()?;
        let all = tracefs.id("raw_syscalls", "sys_enter");
        let all = all.ok_or(
            "this kernel has no tracepoints at system calls (CONFIG_FTRACE_SYSCALLS): it cannot be mended here",
        )?;
        let id = |name: &&'static str| {
            Some((*name, tracefs.id("syscalls", &format!("sys_enter_{name}"))?))
        };
        let tracepoints: Vec<(&'static str, u64)> =
            NAMES.iter().filter_map(id).chain([(TOTAL, all)]).collect();
        let tasks: Vec<u32> = pids.iter().flat_map(|&pid| procfs::task_ids(pid)).collect();
        if tasks.is_empty() {
            return Err("no process of the server is known (of a --target, give --pid)".into());
        }
        raise_descriptors();
        let mut counters = Vec::new();
        for &task in &tasks {
            for &(name, id) in &tracepoints {
                match sys::count_tracepoint(id, task) {
                    Ok(counter) => counters.push((name, File::from(counter))),
                    // The task has ended since.
                    Err(e) if e.raw_os_error() == Some(Errno::ESRCH as i32) => break,
                    Err(e) => return Err(why_not(&e, tasks.len() * tracepoints.len())),
                }
            }
        }
        Ok(Counters { counters })
    }

    /// What they count now.
    pub fn read(&self) -> io::Result<Counts> {
        let before = Instant::now();
        let mut by_name: Vec<(&'static str, u64)> = Vec::new();
        for (name, counter) in &self.counters {
            let mut bytes = [0; 8];
            (&*counter).read_exact(&mut bytes)?;
            let count = u64::from_ne_bytes(bytes);
            match by_name.iter_mut().find(|(other, _)| other == name) {
                Some((_, sum)) => *sum += count,
                None => by_name.push((name, count)),
            }
        }
        Ok(Counts {
            at: before + before.elapsed() / 2,
            by_name,
        })
    }
}

impl Counts {
    /// What was counted between `earlier` and `self`.
    pub fn since(&self, earlier: &Counts) -> Syscalls {
        let mut made = Syscalls {
            between_s: (self.at - earlier.at).as_secs_f64(),
            ..Syscalls::default()
        };
        for ((name, now), (_, then)) in self.by_name.iter().zip(&earlier.by_name) {
            let count = now.saturating_sub(*then);
            match *name {
                TOTAL => made.total = count,
                _ if count == 0 => {}
                name => drop(made.by_name.insert(name.into(), count)),
            }
        }
        made
    }
}

/// Perf events that this program holds open now, and whether a recorder of its own runs.
pub fn perf_events_open() -> u64 {
    let links = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten();
    let is_event = |link: &fs::DirEntry| {
        fs::read_link(link.path()).is_ok_and(|to| to.as_os_str() == "anon_inode:[perf_event]")
    };
    let own = links.filter(is_event).count() as u64;
    let children = procfs::children(std::process::id()).unwrap_or_default();
    let is_recorder = |pid: &u32| procfs::name_of(*pid) == "perf";
    own + children.into_iter().filter(is_recorder).count() as u64
}

/// Why a counter could not be opened, and what mends it.
fn why_not(error: &io::Error, needed: usize) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => {
            let level = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid");
            let level = level.unwrap_or_default().trim().to_string();
            format!(
                "perf events are not allowed here (kernel.perf_event_paranoid is {level}): run tenk as root or with \
                 CAP_PERFMON, or `sysctl kernel.perf_event_paranoid=-1`"
            )
        }
        Some(Errno::EMFILE) => format!(
            "{needed} counters need as many descriptors, and this program may not have them: `ulimit -n {}`",
            needed + 256
        ),
        Some(Errno::ENOSYS) => "this kernel has no perf events: it cannot be mended here".into(),
        _ => format!("a perf event could not be opened: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_told_once() {
        assert!(NAMES.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn counts_are_differences_and_what_was_never_made_is_left_out() {
        let counts = |at: Instant, counts: [u64; 3]| Counts {
            at,
            by_name: ["read", "write", TOTAL].into_iter().zip(counts).collect(),
        };
        let now = Instant::now();
        let later = counts(now + std::time::Duration::from_secs(2), [10, 5, 40]);
        let made = later.since(&counts(now, [4, 5, 10]));
        assert_eq!((made.total, made.between_s), (30, 2.0));
        assert_eq!(made.by_name, [("read".to_string(), 6)].into());
    }

    #[test]
    fn what_is_refused_comes_with_what_mends_it() {
        let why = |errno: Errno| why_not(&io::Error::from_raw_os_error(errno as i32), 1000);
        assert!(why(Errno::EACCES).contains("perf_event_paranoid=-1"));
        assert!(why(Errno::EMFILE).contains("ulimit -n 1256"));
        assert!(why(Errno::ENOSYS).contains("no perf events"));
    }

    /// Two threads: one that is there when the counters are attached, and one that it starts afterwards.
    #[test]
    fn calls_of_a_task_and_of_what_it_starts_are_counted_by_name() {
        let own = std::process::id();
        let counters = match Counters::attach(&[own]) {
            Ok(counters) => counters,
            Err(why) => return eprintln!("skipped: {why}"),
        };
        assert!(perf_events_open() > 0);
        let before = counters.read().unwrap();
        let read_often = || {
            let mut zeros = File::open("/dev/zero").unwrap();
            for _ in 0..500 {
                zeros.read_exact(&mut [0; 8]).unwrap();
            }
        };
        read_often();
        std::thread::spawn(read_often).join().unwrap();
        let made = counters.read().unwrap().since(&before);
        assert!(made.by_name["read"] >= 1000, "{made:?}");
        assert!(made.total > made.by_name["read"], "{made:?}");
        drop(counters);
    }
}
