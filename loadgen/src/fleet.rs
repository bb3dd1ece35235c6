//! Beyond one process's descriptors: the program runs itself once per share of
//! the connections, leads all of them through the phases together, and merges
//! their outcomes.
//!
//! Each child is an ordinary run of one segment; its `--phase-fd` is held by this
//! process, which gives the word when all have reached a phase, and with it the
//! instant at which the load starts or the window opens.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::flags::{CpuList, Poll, Processes, Segment};
use crate::limits::{connections_possible, worker_cpus};
use crate::link::{Interruption, Link};
use crate::load::Load;
use crate::merge::{derive, merge};
use crate::outcome::Outcome;
use crate::run::{Listener, Report, planned_start_ns, run};
use crate::sys::{inherit_and_die_with_parent, now_ns};
use crate::units::format_count;

/// The descriptor number under which a child finds its end of the pair.
const PHASE_FD: i32 = 3;

/// How far ahead the instant is that all processes share.
const SHARED_LEAD_NS: u64 = 100_000_000;

/// Runs a load in as many processes as it needs; most need one, this one.
///
/// # Errors
/// When a process cannot be started or ends without an outcome.
pub fn run_everywhere(
    load: Load,
    link: &mut Link,
    listener: &mut dyn Listener,
) -> io::Result<Report> {
    let processes = processes_for(&load);
    if processes <= 1 {
        return run(load, link, listener);
    }
    let connections = load.segment.share_of(load.population());
    listener.notice(&format!(
        "{} connections in {processes} processes",
        format_count(connections)
    ));
    let mut fleet = Fleet::launch(&load, processes)?;
    let interruption = fleet.go_through_phases(&load, link).err();
    fleet.collect(&load, interruption, link.is_supervised())
}

/// How many processes a load takes: those asked for, or as many as its
/// connections need descriptors, and never more than there are connections.
fn processes_for(load: &Load) -> u64 {
    let connections = load.segment.share_of(load.population());
    match load.processes {
        Processes::Count(count) => u64::from(count).min(connections),
        // Each costs this process two descriptors and one while it starts.
        Processes::Auto => {
            let possible = connections_possible(1).max(1);
            connections.div_ceil(possible).min((possible / 3).max(1))
        }
    }
}

struct Fleet {
    members: Vec<Member>,
}

/// One process and the other end of its pair.
struct Member {
    child: Child,
    link: OwnedFd,
    segment: Segment,
    received: Vec<u8>,
}

impl Fleet {
    fn launch(load: &Load, processes: u64) -> io::Result<Self> {
        let pins = worker_cpus(load);
        let mut members = Vec::new();
        for index in 0..processes {
            let share = share_of(load, index, processes, &pins);
            members.push(Member::start(&share)?);
        }
        Ok(Self { members })
    }

    fn go_through_phases(&mut self, load: &Load, link: &mut Link) -> Result<(), Interruption> {
        for phase in ["ramp", "warmup", "window", "drain", "done"] {
            self.await_all(phase, link)?;
            let mut agreed_ns = link.announce(phase)?;
            if phase == "warmup" {
                agreed_ns = agreed_ns.or(planned_start_ns(load)?);
            }
            let agreed_ns = agreed_ns.unwrap_or_else(|| now_ns() + SHARED_LEAD_NS);
            let word = match phase {
                "warmup" | "window" => format!("go {agreed_ns}\n"),
                _ => "go\n".into(),
            };
            for member in &self.members {
                // A member that is gone is found when its next phase is awaited.
                let _ = nix::unistd::write(&member.link, word.as_bytes());
            }
        }
        Ok(())
    }

    /// Waits until every member has reached a phase. One that is gone ends the run.
    fn await_all(&mut self, phase: &str, link: &mut Link) -> Result<(), Interruption> {
        let expected = format!("phase {phase}\n");
        let start_ns = now_ns();
        for member in &mut self.members {
            while !member.received.starts_with(expected.as_bytes()) {
                if !member.hear() {
                    return Err(Interruption::SupervisorGone);
                }
                link.rest_in_proportion(start_ns)?;
            }
            member.received.drain(..expected.len());
        }
        Ok(())
    }

    /// Reads and merges the outcomes. Members whose link is closed stop at once
    /// and report what they have.
    fn collect(
        self,
        load: &Load,
        interruption: Option<Interruption>,
        supervised: bool,
    ) -> io::Result<Report> {
        let (mut outcomes, mut broken_laws) = (Vec::new(), Vec::new());
        let readers: Vec<_> = self.members.into_iter().map(Member::read_outcome).collect();
        for reader in readers {
            let (outcome, complaint) = reader
                .join()
                .map_err(|_| io::Error::other("a reader panicked"))??;
            broken_laws.extend(complaint);
            outcomes.push(outcome);
        }
        let mut outcome = merge(&outcomes, supervised).map_err(io::Error::other)?;
        outcome.generator.cpus = distinct_cpus(load);
        outcome.load.processes = load.processes;
        outcome.load.threads = load.threads;
        outcome.load.poll = load.poll;
        outcome.load.cpus.clone_from(&load.cpus);
        derive(&mut outcome);
        outcome.reasons = crate::verdict::judge(&outcome, supervised);
        outcome.verdict = crate::verdict::of_reasons(&outcome.reasons);
        let lost = !outcome.complete && interruption.is_none();
        let interruption = interruption.or(lost.then_some(Interruption::SupervisorGone));
        Ok(Report {
            outcome,
            interruption,
            broken_laws,
        })
    }
}

fn distinct_cpus(load: &Load) -> u64 {
    let mut cpus = worker_cpus(load);
    cpus.sort_unstable();
    cpus.dedup();
    cpus.len() as u64
}

/// One process's part: its segment of the segment, its part of the threads.
fn share_of(load: &Load, index: u64, processes: u64, pins: &[Option<usize>]) -> Load {
    let outer = load.segment;
    let segment = Segment {
        index: outer.index + outer.count * index as u32,
        count: outer.count * processes as u32,
    };
    let own: Vec<u32> = pins
        .iter()
        .skip(index as usize % pins.len())
        .step_by(processes as usize)
        .flatten()
        .map(|cpu| *cpu as u32)
        .collect();
    let threads = own.len().max(1) as u64;
    let cpus = if own.is_empty() {
        load.cpus.clone()
    } else {
        Some(CpuList(own))
    };
    // Processes that share a CPU would only keep each other from it by polling.
    let crowded = load.poll == Poll::Auto && processes > distinct_cpus(load);
    let poll = if crowded { Poll::Sleep } else { load.poll };
    Load {
        segment,
        threads,
        cpus,
        poll,
        processes: Processes::Count(1),
        ..load.clone()
    }
}

impl Member {
    fn start(load: &Load) -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = Command::new("/proc/self/exe");
        command.args(load.to_args()).args([
            "--format=json",
            "--quiet",
            &format!("--phase-fd={PHASE_FD}"),
        ]);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        inherit_and_die_with_parent(&mut command, theirs, PHASE_FD);
        let child = command.spawn()?;
        Ok(Self {
            child,
            link: ours,
            segment: load.segment,
            received: Vec::new(),
        })
    }

    /// Takes in what the member says; false if it is gone.
    fn hear(&mut self) -> bool {
        let mut buffer = [0; 256];
        match nix::unistd::read(&self.link, &mut buffer) {
            Ok(0) => false,
            Ok(length) => {
                self.received.extend_from_slice(&buffer[..length]);
                true
            }
            Err(errno) => matches!(errno, Errno::EAGAIN | Errno::EINTR),
        }
    }

    /// Reads its outcome to the end, and a complaint if it ended with a broken law.
    fn read_outcome(mut self) -> std::thread::JoinHandle<io::Result<(Outcome, Option<String>)>> {
        std::thread::spawn(move || {
            drop(self.link);
            let (mut text, mut said) = (String::new(), String::new());
            if let Some(stdout) = &mut self.child.stdout {
                stdout.read_to_string(&mut text)?;
            }
            if let Some(stderr) = &mut self.child.stderr {
                stderr.read_to_string(&mut said)?;
            }
            let status = self.child.wait()?;
            let outcome = serde_json::from_str(&text).map_err(|_| {
                io::Error::other(format!("process {}: {status}: {said}", self.segment))
            })?;
            let broken = said
                .contains("conservation law")
                .then(|| format!("process {}: {said}", self.segment));
            Ok((outcome, broken))
        })
    }
}
