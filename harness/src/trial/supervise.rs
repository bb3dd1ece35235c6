//! The process between the harness and a server: it starts the server, adopts whatever the server leaves behind, says
//! how it ended, and ends all of it when the harness asks for that or is gone.
//!
//! It is the subreaper of everything below it (PR_SET_CHILD_SUBREAPER), so that no process of a server can leave the
//! family by going to the background, and what is waited for adds up in its own count of its children's CPU time. It
//! learns of the harness's end by the end of their socket, which even SIGKILL brings about.

use super::procfs;
use crate::base::limits::descriptors;
use loadgen::base::sys::die_with_parent;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long the kernel may take to end what was killed.
const REAP_LIMIT: Duration = Duration::from_secs(10);
/// How often a family that ends is looked at.
const STEP: Duration = Duration::from_millis(5);
/// How long what was left behind may take to become another program than the one that started it.
const EXEC_LIMIT: Duration = Duration::from_millis(100);
/// How likely the kernel is to end a server, of all processes, when memory is short (proc_pid_oom_score_adj(5)).
const FIRST_TO_GO: &str = "1000";

/// What the supervisor says, a line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The server was started.
    Started(Started),
    /// It could not be, for a reason that is not the server's.
    NotStarted(String),
    /// The server's own process ended.
    Ended(End),
}

/// A server that was started, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The server's own process.
    pub pid: u32,
    /// Control groups that could not be joined, and why.
    pub not_joined: Vec<String>,
    /// Whether its network namespace is private.
    pub private_network: bool,
    /// The sysctls in force: (path below /proc/sys, value).
    pub sysctls: Vec<(String, String)>,
}

/// How a server's own process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Its exit code.
    pub code: Option<i32>,
    /// Or the signal that ended it.
    pub signal: Option<i32>,
    /// Processes that it left behind: id and name.
    pub left: Vec<(u32, String)>,
}

impl End {
    /// Whether it ended as a server does that goes to the background: without an error, and with something left.
    pub fn is_in_background(&self) -> bool {
        self.code == Some(0) && !self.left.is_empty()
    }
}

/// What to start, and how much time it gets to end by itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Service {
    /// The program.
    pub program: std::path::PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// How long after SIGTERM the rest is killed, ms; 0: at once, without SIGTERM.
    pub grace_ms: u64,
}

/// Starts the server and stays until the harness closes its end of `control`. `started` is completed and said.
pub fn supervise(service: &Service, started: Started, mut control: UnixStream) -> io::Result<()> {
    prctl::set_child_subreaper(true)?;
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    let signals = SignalFd::with_flags(&children, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let pid = match start(service) {
        Ok(pid) => pid,
        Err(why) => return say(&mut control, &Report::NotStarted(why)),
    };
    // Only now: a server inherits what is blocked, and may wait for children of its own.
    let blocked = children.thread_block();
    let report = Report::Started(Started {
        pid: pid.as_raw() as u32,
        ..started
    });
    // A harness that cannot be told would wait for it: the end of the socket tells it that nothing came of this.
    let watched = blocked
        .map_err(io::Error::from)
        .and_then(|()| say(&mut control, &report))
        .and_then(|()| watch(pid, &service.program, &mut control, &signals));
    end(pid, Duration::from_millis(service.grace_ms));
    watched
}

/// Says something to the harness.
pub fn say(control: &mut UnixStream, report: &Report) -> io::Result<()> {
    writeln!(control, "{}", serde_json::to_string(report)?)
}

/// The server, in a process group of its own, with every descriptor that it may have, and the first to go when memory
/// is short; why not, in a sentence.
fn start(service: &Service) -> Result<Pid, String> {
    raise_descriptors();
    const SCORE: &str = "/proc/self/oom_score_adj";
    let own = fs::read_to_string(SCORE).unwrap_or_default();
    // Not being allowed to is no reason not to measure.
    let _ = fs::write(SCORE, FIRST_TO_GO);
    let mut command = Command::new(&service.program);
    command
        .args(&service.args)
        .stdin(Stdio::null())
        .process_group(0);
    // Where this process is killed, nobody is left who would end it.
    die_with_parent(&mut command, Signal::SIGKILL);
    // Nothing is heard of the harness's end meanwhile, and the standard library waits for as long as it takes.
    let _ = prctl::set_pdeathsig(Signal::SIGKILL);
    let child = command.spawn();
    let _ = prctl::set_pdeathsig(None);
    // Its output ends when it ends: a copy of ours would keep the harness waiting for a ready line.
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(&null);
    }
    let _ = fs::write(SCORE, own.trim());
    match child {
        Ok(child) => Ok(Pid::from_raw(child.id() as i32)),
        Err(e) => Err(format!("cannot start {}: {e}", service.program.display())),
    }
}

/// RLIMIT_NOFILE: every distribution's soft limit is 1024, far below its hard one.
pub fn raise_descriptors() {
    if let (Ok((_, hard)), Some(most)) = (getrlimit(Resource::RLIMIT_NOFILE), descriptors()) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, hard);
    }
}

/// Waits for whatever ends, and says so of the server's own process, until the harness has nothing more to say.
fn watch(pid: Pid, program: &Path, control: &mut UnixStream, signals: &SignalFd) -> io::Result<()> {
    loop {
        // What ended before SIGCHLD was blocked sent it to nobody.
        if let Some(end) = reap(pid) {
            let left = left_behind(program);
            say(control, &Report::Ended(End { left, ..end }))?;
        }
        let mut ready = [
            PollFd::new(control.as_fd(), PollFlags::POLLIN),
            PollFd::new(signals.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut ready, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        let heard = |at: usize| ready[at].revents().is_some_and(|events| !events.is_empty());
        let (from_harness, from_children) = (heard(0), heard(1));
        if from_children {
            while let Ok(Some(_)) = signals.read_signal() {}
        }
        // Whatever comes, it is the end of the socket: the harness says nothing.
        if from_harness && matches!(control.read(&mut [0; 64]), Ok(0) | Err(_)) {
            return Ok(());
        }
    }
}

/// Waits for all that has ended; how the server's own process did, if it was among them.
fn reap(server: Pid) -> Option<End> {
    let mut end = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == server => {
                end = Some(End {
                    code: Some(code),
                    ..End::default()
                });
            }
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == server => {
                end = Some(End {
                    signal: Some(signal as i32),
                    ..End::default()
                });
            }
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => break,
            Err(Errno::EINTR) | Ok(_) => {}
            Err(_) => break,
        }
    }
    end
}

/// What goes on without the server's own process. A shell may have ended before its child became the program that it is
/// to run, whose name is the one that tells people something.
fn left_behind(program: &Path) -> Vec<(u32, String)> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    let deadline = Instant::now() + EXEC_LIMIT;
    loop {
        let pids = below(std::process::id()).into_iter();
        let left: Vec<(u32, String)> = pids.map(|pid| (pid, procfs::name_of(pid))).collect();
        if left.iter().all(|(_, of)| *of != *name) || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(STEP);
    }
}

fn below(own: u32) -> Vec<u32> {
    let family = procfs::descendants(own);
    family
        .into_iter()
        .filter(|&pid| pid != own && is_running(pid))
        .collect()
}

fn is_running(pid: u32) -> bool {
    procfs::Stat::read(pid).is_some_and(|stat| stat.state != 'Z')
}

/// Asks the server's group to end, waits as long as it was given, and kills what is left, however it detached itself.
fn end(server: Pid, grace: Duration) {
    if !grace.is_zero() {
        let _ = killpg(server, Signal::SIGTERM);
        // What went to the background has left the group, and is asked as well.
        let in_background = match is_there(server) {
            true => Vec::new(),
            false => below(std::process::id()),
        };
        for pid in &in_background {
            let _ = kill(Pid::from_raw(*pid as i32), Signal::SIGTERM);
        }
        let remains = || is_there(server) || in_background.iter().any(|pid| is_running(*pid));
        let deadline = Instant::now() + grace;
        while remains() && Instant::now() < deadline {
            let _ = reap(server);
            std::thread::sleep(STEP);
        }
    }
    let deadline = Instant::now() + REAP_LIMIT;
    while Instant::now() < deadline {
        let _ = killpg(server, Signal::SIGKILL);
        for pid in below(std::process::id()) {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
        let _ = reap(server);
        if waitpid(None, Some(WaitPidFlag::WNOHANG)) == Err(Errno::ECHILD) {
            return;
        }
        std::thread::sleep(STEP);
    }
}

fn is_there(pid: Pid) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}
