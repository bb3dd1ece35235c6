//! The step between the harness and a process it measures: the harness starts *itself* with the hidden
//! sub-command `launch`, which enters the network namespace, the control groups and the CPUs, and then
//! becomes the server, the generator or the probe.
//!
//! A process of its own may allocate and read files, which code between fork and exec may not, and being
//! single-threaded it may create a user namespace, so that the same recipe serves root and everyone else.

use super::probe;
use crate::base::machine::read_sysctls;
use crate::base::sys;
use crate::model::network::Network;
use loadgen::flags::ProtocolName;
use nix::errno::Errno;
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Pid, Uid, getppid};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Everything the launched process needs to know, passed as one JSON argument.
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    /// The harness's process id: if it is no longer the parent, nobody waits for the result.
    pub parent: i32,
    /// Which network the process lives in.
    pub network: Network,
    /// The CPUs it may run on; empty leaves the inherited mask.
    pub cpus: Vec<usize>,
    /// `cgroup.procs` files to join.
    pub groups: Vec<PathBuf>,
    /// Say on the first line of output which network it is ([`Launched`]).
    pub announce: bool,
    /// What to become.
    pub action: Action,
}

/// What a launched process becomes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Another program.
    Exec {
        /// Its path.
        program: PathBuf,
        /// Its arguments.
        args: Vec<String>,
    },
    /// One verified exchange, then the end.
    Probe {
        /// The server.
        addr: SocketAddr,
        /// What the server speaks.
        protocol: ProtocolName,
        /// What HTTP asks for.
        path: Option<String>,
        /// How long it may take.
        timeout_ms: u64,
    },
}

/// What the launcher says on its first line of output about a network it made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launched {
    /// Whether the namespace is private.
    pub private_network: bool,
    /// Why it is not, when it was asked for.
    pub fallback: Option<String>,
    /// The sysctls in force: (path below /proc/sys, value).
    pub sysctls: Vec<(String, String)>,
}

/// Runs the hidden sub-command: never returns on success, unless the action was the probe.
pub fn main(spec: &str) -> io::Result<()> {
    let launch: Launch = serde_json::from_str(spec).map_err(io::Error::other)?;
    die_with(Pid::from_raw(launch.parent))?;
    for group in &launch.groups {
        fs::write(group, "0").map_err(|e| context(&format!("join {}", group.display()), e))?;
    }
    pin(&launch.cpus)?;
    let launched = enter(&launch.network)?;
    if launch.announce {
        report(launched)?;
    }
    match launch.action {
        Action::Exec { program, args } => {
            let error = Command::new(&program).args(args).exec();
            Err(context(&format!("start {}", program.display()), error))
        }
        Action::Probe {
            addr,
            protocol,
            path,
            timeout_ms,
        } => probe::exchange(
            addr,
            protocol,
            path.as_deref(),
            Duration::from_millis(timeout_ms),
        ),
    }
}

/// Asks for SIGKILL when the parent ends (PR_SET_PDEATHSIG, kept across exec), and leaves if it already has.
fn die_with(parent: Pid) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(io::Error::other("the harness has ended"));
    }
    Ok(())
}

/// Lets the calling thread, and what it starts, run on these CPUs only; none named: no change.
pub fn pin(cpus: &[usize]) -> io::Result<()> {
    if cpus.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for &cpu in cpus {
        set.set(cpu)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
        .map_err(|e| context(&format!("run on CPUs {cpus:?}"), e.into()))
}

fn enter(network: &Network) -> io::Result<Launched> {
    match network {
        Network::Host => Ok(Launched::default()),
        Network::Of { pid } => join(*pid).map(|()| Launched::default()),
        Network::Private { required, sysctls } => match make_private(sysctls) {
            Ok(()) => Ok(Launched {
                private_network: true,
                ..Launched::default()
            }),
            Err(e) if *required => Err(context("make a private network namespace", e)),
            Err(e) => Ok(Launched {
                fallback: Some(e.to_string()),
                ..Launched::default()
            }),
        },
    }
}

fn report(mut launched: Launched) -> io::Result<()> {
    launched.sysctls = read_sysctls();
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(&launched)?)?;
    out.flush()
}

fn make_private(sysctls: &[(String, String)]) -> io::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => unshare_as_user()?,
        other => other?,
    }
    sys::bring_loopback_up()?;
    for (key, value) in sysctls {
        // Some of these are read-only in a namespace owned by a user; what is in force is reported anyway.
        let _ = fs::write(Path::new("/proc/sys").join(key), value);
    }
    Ok(())
}

/// Without privilege a network namespace needs a user namespace around it, with this user mapped to itself
/// (user_namespaces(7): setgroups must be denied before gid_map may be written).
fn unshare_as_user() -> io::Result<()> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

fn join(pid: u32) -> io::Result<()> {
    let namespace = |kind: &str| PathBuf::from(format!("/proc/{pid}/ns/{kind}"));
    let own = |kind: &str| PathBuf::from(format!("/proc/self/ns/{kind}"));
    for (kind, flag) in [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("net", CloneFlags::CLONE_NEWNET),
    ] {
        // Joining the namespace one is already in is an error for user namespaces.
        if fs::read_link(namespace(kind))? != fs::read_link(own(kind))? {
            setns(fs::File::open(namespace(kind))?, flag)
                .map_err(|e| context(&format!("join the server's {kind} namespace"), e.into()))?;
        }
    }
    Ok(())
}

fn context(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_values_are_read() {
        let sysctls = read_sysctls();
        let somaxconn = sysctls.iter().find(|(key, _)| key == "net/core/somaxconn");
        assert!(somaxconn.unwrap().1.parse::<u32>().unwrap() > 0);
    }

    #[test]
    fn a_launch_survives_its_own_json() {
        let launch = Launch {
            parent: 7,
            network: Network::Private {
                required: true,
                sysctls: vec![("net/core/somaxconn".into(), "4096".into())],
            },
            cpus: vec![0],
            groups: vec![],
            announce: true,
            action: Action::Exec {
                program: "/bin/true".into(),
                args: vec!["a b".into()],
            },
        };
        let text = serde_json::to_string(&launch).unwrap();
        let again: Launch = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }
}
