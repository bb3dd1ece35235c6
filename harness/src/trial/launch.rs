//! The step between the harness and a process it measures: the harness starts *itself* with the hidden
//! sub-command `launch`, which enters the network namespace, the control groups and the CPUs, and then
//! becomes the generator or the probe, or starts the server and watches over it.
//!
//! A process of its own may allocate and read files, which code between fork and exec may not, and being
//! single-threaded it may create a user namespace, so that the same recipe serves root and everyone else.

use super::launch_error::LaunchError;
use super::probe::Question;
use super::supervise::{self, Report, Service, Started};
use crate::base::settings::network_sysctls;
use crate::base::sys;
use crate::model::network::Network;
use loadgen::base::error::in_a_sentence;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Pid, Uid, getppid};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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
    /// What to become.
    pub action: Action,
}

/// What a launched process becomes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing: whether everything before it can be done is all that is asked.
    Nothing,
    /// Another program.
    Exec {
        /// Its path.
        program: PathBuf,
        /// Its arguments.
        args: Vec<String>,
    },
    /// The process that starts a server and watches over it; standard input is the socket to the harness.
    Serve(Service),
    /// One verified exchange, then the end.
    Probe(Box<Question>),
}

/// Runs the hidden sub-command: never returns on success of `Exec`.
pub fn main(spec: &str) -> Result<(), LaunchError> {
    let not_started = LaunchError::not_started;
    let launch = serde_json::from_str(spec).map_err(io::Error::other);
    let launch: Launch = launch.map_err(not_started)?;
    if let Action::Serve(service) = &launch.action {
        // Not tied to the harness by a signal, which would end this process before it has ended the server's.
        let control = io::stdin().as_fd().try_clone_to_owned();
        let control = UnixStream::from(control.map_err(not_started)?);
        return serve(&launch, service, control).map_err(not_started);
    }
    prepare(&launch).map_err(not_started)?;
    match launch.action {
        Action::Nothing | Action::Serve(_) => Ok(()),
        Action::Exec { program, args } => {
            let error = Command::new(&program).args(args).exec();
            let what = format!("start {}", program.display());
            Err(not_started(context(&what, error)))
        }
        Action::Probe(question) => question.ask(),
    }
}

fn prepare(launch: &Launch) -> io::Result<()> {
    die_with(Pid::from_raw(launch.parent))?;
    for group in &launch.groups {
        fs::write(group, "0").map_err(|e| context(&format!("join {}", group.display()), e))?;
    }
    pin(&launch.cpus)?;
    enter(&launch.network).map(|_| ())
}

/// Prepares everything that the server inherits, and stays with it.
fn serve(launch: &Launch, service: &Service, mut control: UnixStream) -> io::Result<()> {
    let join = |group: &PathBuf| {
        let joined = fs::write(group, "0");
        joined.err().map(|e| format!("{}: {e}", group.display()))
    };
    let not_joined = launch.groups.iter().filter_map(join).collect();
    let prepared = pin(&launch.cpus).and_then(|()| enter(&launch.network));
    match prepared {
        Ok(private_network) => {
            let started = Started {
                not_joined,
                private_network,
                sysctls: network_sysctls(),
                pid: 0,
            };
            supervise::supervise(service, started, control)
        }
        Err(e) => supervise::say(&mut control, &Report::NotStarted(e.to_string())),
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
    match cpus.is_empty() {
        true => Ok(()),
        false => loadgen::base::sys::set_affinity(cpus)
            .map_err(|e| context(&format!("run on CPUs {cpus:?}"), e)),
    }
}

/// Puts this process into a private network of its own, in which it and what it starts may do what root may. It ends with
/// its parent. An error leaves the process in no state to go on.
pub fn become_private(parent: i32, sysctls: &[(String, String)]) -> io::Result<()> {
    die_with(Pid::from_raw(parent))?;
    make_private(sysctls, &[], User::Root)
        .map_err(|e| context("make a private network namespace", e))
}

/// Who a process without privilege is in a user namespace of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    /// Who it was.
    Same,
    /// Root, so that programs that it starts keep their capabilities (capabilities(7)).
    Root,
}

/// Whether the network is a private one now. An error leaves the process in no state to go on.
fn enter(network: &Network) -> io::Result<bool> {
    match network {
        Network::Host => Ok(false),
        Network::Of { pid } => join(*pid).map(|()| false),
        Network::Private {
            sysctls,
            ipv6_addresses,
            ..
        } => make_private(sysctls, ipv6_addresses, User::Same)
            .map(|()| true)
            .map_err(|e| context("make a private network namespace", e)),
    }
}

fn make_private(
    sysctls: &[(String, String)],
    ipv6_addresses: &[Ipv6Addr],
    user: User,
) -> io::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNET) {
        Err(Errno::EPERM) => unshare_with_user(user)?,
        other => other?,
    }
    sys::bring_loopback_up().map_err(|e| context("bring its loopback up", e))?;
    for (key, value) in sysctls {
        // Some of these are read-only in a namespace owned by a user; what is in force is reported anyway.
        let _ = fs::write(Path::new("/proc/sys").join(key), value);
    }
    match ipv6_addresses {
        [] => Ok(()),
        addresses => sys::add_to_loopback(addresses)
            .map_err(|e| context("add IPv6 addresses to its loopback", e)),
    }
}

/// Without privilege a network namespace needs a user namespace around it, with this one user mapped
/// (user_namespaces(7): setgroups must be denied before gid_map may be written).
fn unshare_with_user(user: User) -> io::Result<()> {
    let (uid, gid) = (Uid::effective(), Gid::effective());
    let inside = match user {
        User::Same => (uid, gid),
        User::Root => (Uid::from_raw(0), Gid::from_raw(0)),
    };
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET)?;
    let map = |file: &str, text: &str| {
        fs::write(file, text).map_err(|e| context(&format!("write {file}"), e))
    };
    map("/proc/self/setgroups", "deny")?;
    map("/proc/self/uid_map", &format!("{} {uid} 1", inside.0))?;
    map("/proc/self/gid_map", &format!("{} {gid} 1", inside.1))
}

fn join(pid: u32) -> io::Result<()> {
    let namespace = |kind: &str| PathBuf::from(format!("/proc/{pid}/ns/{kind}"));
    let own = |kind: &str| PathBuf::from(format!("/proc/self/ns/{kind}"));
    for (kind, flag) in [
        ("user", CloneFlags::CLONE_NEWUSER),
        ("net", CloneFlags::CLONE_NEWNET),
    ] {
        // Joining the namespace one is already in is an error for user namespaces.
        let enter = || -> io::Result<()> {
            match fs::read_link(namespace(kind))? == fs::read_link(own(kind))? {
                true => Ok(()),
                false => Ok(setns(fs::File::open(namespace(kind))?, flag)?),
            }
        };
        enter().map_err(|e| context(&format!("join the server's {kind} namespace"), e))?;
    }
    Ok(())
}

fn context(what: &str, error: io::Error) -> io::Error {
    let sentence = format!("cannot {what}: {error}");
    in_a_sentence(error, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_launch_survives_its_own_json() {
        let launch = Launch {
            parent: 7,
            network: Network::Private {
                required: true,
                sysctls: vec![("net/core/somaxconn".into(), "4096".into())],
                ipv6_addresses: vec![Ipv6Addr::LOCALHOST],
            },
            cpus: vec![0],
            groups: vec![],
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
