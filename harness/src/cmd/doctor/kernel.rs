//! What the kernel offers for measuring and for looking into servers, and io_uring for the model of that name.

use super::{Check, Level, read};
use crate::trial::cgroup::Group;
use crate::trial::identity;
use crate::trial::instruments;
use io_uring::IoUring;
use servers::models;
use std::io;

/// Control groups and io_uring, each tried out.
pub fn checks() -> Vec<Check> {
    let group = Group::create(&format!("{}doctor", identity::own_prefix()));
    let probe = IoUring::new(8).map(drop);
    vec![
        cgroups(group.cpu().is_some(), group.memory_bytes().is_some()),
        io_uring(read("/proc/sys/kernel/io_uring_disabled").as_deref(), probe),
        syscalls(instruments::can_count_syscalls()),
        perf(instruments::has_perf()),
    ]
}

/// What `--syscalls` needs.
fn syscalls(tried: Result<(), String>) -> Check {
    match tried {
        Ok(()) => Check::pass("syscalls", "can be counted by name (--syscalls)"),
        Err(why) => Check::short(
            "syscalls",
            Level::Warn,
            "cannot be counted (--syscalls will say n/a)",
            why,
        ),
    }
}

/// What `--profile` needs.
fn perf(is_there: bool) -> Check {
    match is_there {
        true => Check::pass("perf", "is there (--profile)"),
        false => Check::short(
            "perf",
            Level::Warn,
            "is not there (--profile will draw nothing)",
            instruments::INSTALL_PERF,
        ),
    }
}

fn cgroups(cpu: bool, memory: bool) -> Check {
    let remedy =
        "run as root, or in a delegated group: `systemd-run --user --scope -p Delegate=yes tenk …`";
    let short = |found: &str| Check::short("cgroups", Level::Warn, found, remedy);
    match (cpu, memory) {
        (true, true) => Check::pass(
            "cgroups",
            "CPU and memory of a server are counted by the kernel",
        ),
        (true, false) => short(
            "no memory controller: a server's memory will be the sum of PSS, without the kernel's",
        ),
        (false, true) => {
            short("no CPU accounting: a server's CPU time will be summed over its tasks")
        }
        (false, false) => {
            short("none can be made: CPU time and memory will be summed over the server's tasks")
        }
    }
}

/// The sysctl is 0 (allowed), 1 (for the privileged) or 2 (for nobody), since Linux 6.6; a container's seccomp
/// filter may forbid io_uring whatever it says.
fn io_uring(disabled: Option<&str>, probe: io::Result<()>) -> Check {
    let Err(error) = probe else {
        return Check::pass("io_uring", "works");
    };
    let remedy = match disabled {
        Some("1" | "2") => "`sysctl -w kernel.io_uring_disabled=0`",
        _ if error.raw_os_error() == Some(nix::libc::ENOSYS) => {
            "a kernel from 5.6 on, built with CONFIG_IO_URING"
        }
        _ => "a container's seccomp filter is in the way: `--security-opt seccomp=unconfined`",
    };
    let found = match disabled {
        Some(value) => format!("{error}; kernel.io_uring_disabled={value}"),
        None => error.to_string(),
    };
    let skipped: Vec<&str> = models::that_need(models::Facility::IoUring).collect();
    let remedy = format!(
        "the model `{}` will be skipped; {remedy}",
        skipped.join("`, `")
    );
    Check::short("io_uring", Level::Warn, found, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::libc::{ENOSYS, EPERM};

    #[test]
    fn groups_are_whole_partial_or_missing() {
        assert_eq!(cgroups(true, true).level, Level::Pass);
        for (cpu, memory, word) in [
            (true, false, "PSS"),
            (false, true, "CPU"),
            (false, false, "none"),
        ] {
            let check = cgroups(cpu, memory);
            assert!(
                check.level == Level::Warn && check.found.contains(word),
                "{check:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_looked_into_has_its_remedy() {
        let refused = syscalls(Err("run tenk as root".into()));
        assert_eq!(refused.level, Level::Warn);
        assert_eq!(refused.remedy.as_deref(), Some("run tenk as root"));
        assert!(
            perf(false)
                .remedy
                .unwrap()
                .contains("apt-get install linux-perf")
        );
        assert!(syscalls(Ok(())).remedy.is_none() && perf(true).remedy.is_none());
    }

    #[test]
    fn a_refused_ring_names_its_cause() {
        let refused = |code| Err(io::Error::from_raw_os_error(code));
        assert_eq!(io_uring(Some("0"), Ok(())).level, Level::Pass);
        for (disabled, code, word) in [
            (Some("2"), EPERM, "io_uring_disabled=0"),
            (Some("0"), EPERM, "seccomp"),
            (None, EPERM, "seccomp"),
            (None, ENOSYS, "5.6"),
        ] {
            let check = io_uring(disabled, refused(code));
            assert_eq!(check.level, Level::Warn);
            assert!(check.remedy.unwrap().contains(word), "{word}");
        }
    }

    #[test]
    fn this_kernel_answers() {
        assert_eq!(checks().len(), 4);
    }
}
