//! A server under measurement: started, watched, measured with all its children, and ended with all of them.

mod end;
mod launcher;

pub use end::describe;
pub use launcher::{Surroundings, command, own_program};

use super::cgroup::Group;
use super::cpu::Reading;
use super::out_of_memory::OutOfMemory;
use super::output::{Tail, widen};
use super::procfs;
use super::supervise::{End, Report, Started};
use crate::base::child::ended;
use crate::base::limits;
use crate::model::network::Network;
use end::in_words;
use launcher::spawn;
use loadgen::base::address::Address;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

/// How long a foreign server has to end by itself after SIGTERM: what it has started elsewhere, only it can end.
const GRACE: Duration = Duration::from_secs(2);
/// How long the kernel may take to end a killed family, beyond that.
const REAP_LIMIT: Duration = Duration::from_secs(12);
/// How long a program may take to be started: making a network namespace waits for those that are being removed.
const START_LIMIT: Duration = Duration::from_secs(20);
/// How long word of an end may take from the process that waits for it, on a machine that has much else to do.
const WORD_LIMIT: Duration = Duration::from_secs(10);
/// The exit code of a model that cannot run on this host.
const NOT_AVAILABLE: i32 = 4;

/// How a server ended of which nobody could tell.
const UNTOLD: &str =
    "for a reason that the process which started it did not tell, having ended itself";

/// Where a server is before it has said where it listens.
const NOWHERE: Address = Address::Ip(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0));

/// Why a server did not get as far as its ready line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartError {
    /// The model says that this host cannot run it.
    Unavailable(String),
    /// It ended, for the reason it gave.
    Ended(String),
    /// It is running and never said that it was ready.
    Silent(String),
    /// It was not started, for a reason that is not its own.
    NotStarted(String),
}

/// How to start a server.
#[derive(Debug)]
pub struct ServerSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The folder it runs in, if not this program's; its command finds it in [`FOLDER`](crate::base::shell::FOLDER).
    pub folder: Option<PathBuf>,
    /// Whose environment it gets.
    pub surroundings: Surroundings,
    /// How it says that it is ready.
    pub ready: Ready,
    /// How long it may take to be ready.
    pub start_timeout: Duration,
    /// The network to make for it.
    pub network: Network,
    /// The CPUs it may use.
    pub cpus: Vec<usize>,
    /// The name of its control group.
    pub group_name: String,
}

/// How a server says that it is ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// By its first line, `listening ADDR`.
    Line,
    /// By answering at this address.
    Answers(Address),
}

/// A running server. Dropping it ends it and every process that it started, unless it was running before us.
#[derive(Debug)]
pub struct Server {
    supervisor: Option<Supervisor>,
    group: Group,
    output: Tail,
    /// A model never leaves its control group; of anything else nothing is known.
    may_wander: bool,
    /// Its process id; 0 if it is not known.
    pub pid: u32,
    /// Where it listens.
    pub addr: Address,
    /// Where it was started.
    pub started: Started,
    /// How often the kernel had ended a process for want of memory before it was started.
    killed_before: Option<u64>,
}

/// The process that started it, see [`super::supervise`].
#[derive(Debug)]
struct Supervisor {
    child: Child,
    pid: u32,
    /// What it says; closing it ends the family.
    reports: Option<Lines<BufReader<UnixStream>>>,
    end: Option<End>,
}

impl Server {
    /// Starts the server and waits for its ready line, if it is to give one.
    pub async fn start(spec: &ServerSpec) -> Result<Server, StartError> {
        let not_started = |e: io::Error| StartError::NotStarted(e.to_string());
        let group = Group::create(&spec.group_name);
        let (mut child, reports) = spawn(spec, &group).map_err(not_started)?;
        let mut output = Tail::default();
        widen(child.stdout.as_ref());
        widen(child.stderr.as_ref());
        output.follow(child.stderr.take());
        let mut lines = child
            .stdout
            .take()
            .map(|stdout| BufReader::new(stdout).lines());
        let pid = child.id().unwrap_or_default();
        let supervisor = Supervisor {
            child,
            pid,
            reports: Some(reports),
            end: None,
        };
        // From here on the guard ends the family, whatever happens.
        let mut server = Server {
            supervisor: Some(supervisor),
            group,
            output,
            may_wander: spec.ready != Ready::Line,
            pid: 0,
            addr: NOWHERE,
            started: Started::default(),
            killed_before: limits::killed_for_memory(),
        };
        server.await_start().await?;
        let greeting = timeout(
            spec.start_timeout,
            server.read_greeting(lines.as_mut(), &spec.ready),
        );
        match greeting.await {
            Err(_) => Err(StartError::Silent(format!(
                "no ready line within {} (--start-timeout)",
                humantime::format_duration(spec.start_timeout)
            ))),
            Ok(None) => Err(server.why_it_ended().await),
            Ok(Some(addr)) => {
                server.addr = addr;
                // Read on: a server that prints to a full or a closed pipe would fail for a reason of our making.
                server.output.follow(lines.map(Lines::into_inner));
                Ok(server)
            }
        }
    }

    /// A server that somebody else started.
    pub fn running(addr: Address, pid: Option<u32>) -> Server {
        Server {
            supervisor: None,
            group: Group::default(),
            output: Tail::default(),
            may_wander: true,
            pid: pid.unwrap_or(0),
            addr,
            started: Started::default(),
            killed_before: None,
        }
    }

    /// Waits until the supervisor has started the program.
    async fn await_start(&mut self) -> Result<(), StartError> {
        let supervisor = self.supervisor.as_mut();
        let report = match supervisor {
            Some(supervisor) => timeout(START_LIMIT, supervisor.next()).await,
            None => Ok(None),
        };
        let report = report.map_err(|_| {
            let limit = humantime::format_duration(START_LIMIT);
            StartError::NotStarted(format!(
                "the process that starts it has said nothing for {limit}"
            ))
        })?;
        match report {
            Some(Report::Started(started)) => {
                if !started.not_joined.is_empty() {
                    // Half a group counts half the server.
                    self.group = Group::default();
                }
                self.pid = started.pid;
                self.started = started;
                Ok(())
            }
            Some(Report::NotStarted(why)) => Err(StartError::NotStarted(why)),
            Some(Report::Ended(_)) | None => {
                self.output.finish().await;
                let words = self.output.text();
                Err(StartError::NotStarted(
                    words.trim_start_matches("error: ").to_string(),
                ))
            }
        }
    }

    /// Where it listens: the server's `listening ADDR`, or where it was told to; `None` when the line is another.
    async fn read_greeting(
        &mut self,
        lines: Option<&mut Lines<BufReader<ChildStdout>>>,
        ready: &Ready,
    ) -> Option<Address> {
        match ready {
            Ready::Answers(addr) => Some(addr.clone()),
            Ready::Line => {
                let line = lines?.next_line().await.ok()??;
                line.strip_prefix("listening ")?.trim().parse().ok()
            }
        }
    }

    async fn why_it_ended(&mut self) -> StartError {
        let end = match &mut self.supervisor {
            Some(supervisor) => supervisor.word_of_end(WORD_LIMIT).await,
            None => None,
        };
        self.output.finish().await;
        let words = self.output.text();
        match end {
            Some(end) if end.code == Some(NOT_AVAILABLE) => StartError::Unavailable(words),
            Some(end) => StartError::Ended(match self.out_of_memory() {
                Some(why) => format!("{}, by the kernel because {why}: {words}", in_words(&end)),
                None => format!("{}: {words}", in_words(&end)),
            }),
            None => StartError::Silent(format!(
                "printed something other than its ready line; {words}"
            )),
        }
    }

    /// A process that lives in the server's network for as long as the server is not ended by us.
    pub fn network_pid(&self) -> u32 {
        match &self.supervisor {
            Some(supervisor) => supervisor.pid,
            None if self.pid == 0 => std::process::id(),
            None => self.pid,
        }
    }

    /// The processes of the family; none if nothing is known of them.
    pub fn pids(&self) -> Vec<u32> {
        let Some(supervisor) = &self.supervisor else {
            return match self.pid {
                0 => Vec::new(),
                pid => procfs::descendants_but(pid, std::process::id()),
            };
        };
        let grouped = self.group.pids();
        let mut pids = match (grouped, self.may_wander) {
            (Some(grouped), false) => grouped,
            (grouped, _) => {
                let mut all = procfs::descendants(supervisor.pid);
                all.extend(grouped.unwrap_or_default());
                all.sort_unstable();
                all.dedup();
                all
            }
        };
        pids.retain(|&pid| pid != supervisor.pid);
        pids
    }

    /// CPU time used so far by the family.
    pub fn cpu(&self, pids: &[u32]) -> Reading {
        match self.group.cpu() {
            Some(time) if self.all_are_grouped(pids) => Reading::of_group(time),
            _ => {
                let supervisor = self.supervisor.as_ref().map(|supervisor| supervisor.pid);
                let all: Vec<u32> = pids.iter().copied().chain(supervisor).collect();
                Reading::of_processes(&all)
            }
        }
    }

    fn all_are_grouped(&self, pids: &[u32]) -> bool {
        if !self.may_wander {
            return true;
        }
        let grouped = self.group.pids().unwrap_or_default();
        let is_grouped = |pid: &u32| grouped.contains(pid) || procfs::Stat::read(*pid).is_none();
        pids.iter().all(is_grouped)
    }

    /// Memory of the family, KiB: the control group's, kernel memory included, else the sum of PSS.
    pub fn memory_kib(&self, pids: &[u32]) -> u64 {
        match self
            .group
            .memory_bytes()
            .filter(|_| self.all_are_grouped(pids))
        {
            Some(bytes) => bytes / 1024,
            None => procfs::pss_kib(pids),
        }
    }

    /// How [`Server::memory_kib`] is measured: `cgroup` or `pss`.
    pub fn memory_method(&self) -> &'static str {
        match self
            .group
            .memory_bytes()
            .filter(|_| self.all_are_grouped(&self.pids()))
        {
            Some(_) => "cgroup",
            None => "pss",
        }
    }

    /// Whether the kernel ended processes of the family because memory was short. Where no control group counts those
    /// of this family alone, it must be the server itself that SIGKILL ended.
    pub fn out_of_memory(&self) -> Option<OutOfMemory> {
        let killed = match self.group.killed_for_memory() {
            Some(killed) => killed,
            None => {
                let end = self.supervisor.as_ref()?.end.as_ref()?;
                let is_killed = end.signal == Some(Signal::SIGKILL as i32);
                let since = limits::killed_for_memory()?.saturating_sub(self.killed_before?);
                if is_killed { since } else { 0 }
            }
        };
        (killed > 0).then(|| OutOfMemory {
            killed,
            limit: limits::tightest(limits::memory()),
        })
    }

    /// What the server's own process left running when it ended without an error, in words.
    pub fn background(&self) -> Option<String> {
        let end = self.supervisor.as_ref()?.end.as_ref()?;
        end.is_in_background().then(|| in_words(end))
    }

    /// Whether its processes still run although the one that was started has ended.
    fn goes_on_in_background(&self) -> bool {
        let is_alive = |pid: &u32| procfs::Stat::read(*pid).is_some_and(|stat| stat.state != 'Z');
        self.background().is_some() && self.pids().iter().any(is_alive)
    }

    /// Bytes that it has printed.
    pub fn printed_bytes(&self) -> u64 {
        self.output.bytes()
    }

    /// Whether the server is still there, in the foreground or as what its own process left in the background; if not,
    /// how it ended, what it left, and its last words.
    pub async fn ended(&mut self) -> Option<String> {
        let pid = self.pid;
        let supervisor = self.supervisor.as_mut()?;
        if supervisor.end.is_none() {
            let is_alive = procfs::Stat::read(pid).is_some_and(|stat| stat.state != 'Z');
            let patience = if is_alive { Duration::ZERO } else { WORD_LIMIT };
            supervisor.word_of_end(patience).await;
            if supervisor.end.is_none() && is_alive {
                return None;
            }
        }
        let end = supervisor.end.clone();
        if self.goes_on_in_background() {
            return None;
        }
        self.output.finish().await;
        let how = end.map_or(UNTOLD.into(), |end| in_words(&end));
        Some(
            format!("{how} {}", self.output.text())
                .trim_end()
                .to_string(),
        )
    }

    /// Ends the family without blocking the runtime; `Drop` does what is left.
    pub async fn stop(mut self) {
        if let Some(supervisor) = &mut self.supervisor {
            supervisor.reports = None;
            let _ = timeout(GRACE + REAP_LIMIT, ended(&mut supervisor.child)).await;
        }
    }
}

impl Supervisor {
    async fn next(&mut self) -> Option<Report> {
        let line = self.reports.as_mut()?.next_line().await.ok()??;
        serde_json::from_str(&line).ok()
    }

    /// How the server's own process ended, once that is known.
    async fn word_of_end(&mut self, patience: Duration) -> Option<End> {
        if self.end.is_none()
            && let Ok(Some(Report::Ended(end))) = timeout(patience, self.next()).await
        {
            self.end = Some(end);
        }
        self.end.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(supervisor) = &mut self.supervisor else {
            return;
        };
        supervisor.reports = None;
        let own = Pid::from_raw(supervisor.pid as i32);
        if !reaped(own, GRACE + REAP_LIMIT) {
            // It does not answer any more.
            end_group(own);
            reaped(own, REAP_LIMIT);
        }
        // One that was killed has ended nothing; what it left has come to this process, and is our own now.
        self.group.kill();
        let server = Pid::from_raw(self.pid as i32);
        let is_ours = || waitpid(server, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive);
        if self.pid != 0 && is_ours() {
            end_group(server);
            reaped(server, REAP_LIMIT);
        }
    }
}

/// SIGKILL to a process and to the group that it leads.
fn end_group(leader: Pid) {
    let _ = killpg(leader, Signal::SIGKILL);
    let _ = kill(leader, Signal::SIGKILL);
}

/// Waits for one of our children, which tokio may have waited for already; false when it takes too long.
fn reaped(pid: Pid, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        match waitpid(pid, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(2)),
            Ok(_) => {}
            Err(_) => return true,
        }
    }
    false
}
