//! A server under measurement: started, watched, measured with all its children, and ended with all of them.

use super::cgroup::{CpuTime, Group};
use super::launch::{Action, Launch, Launched};
use super::procfs;
use crate::base::shell::FOLDER;
use crate::model::network::Network;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a server may take from its start to its ready line.
const READY_LIMIT: Duration = Duration::from_secs(10);
/// How long the kernel may take to end a killed family.
const REAP_LIMIT: Duration = Duration::from_secs(10);
/// How much of a server's last words is kept.
const STDERR_TAIL_BYTES: usize = 2048;
/// The exit code of a model that cannot run on this host (DESIGN §2).
const NOT_AVAILABLE: i32 = 4;

/// Why a server did not get as far as its ready line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StartError {
    /// The model says that this host cannot run it.
    Unavailable(String),
    /// It ended, for the reason it gave.
    Ended(String),
    /// It is running and never said that it was ready.
    Silent(String),
}

/// How to start a server.
#[derive(Debug)]
pub struct ServerSpec {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// The folder it runs in, if not this program's; its command finds it in [`FOLDER`].
    pub folder: Option<PathBuf>,
    /// How it says that it is ready.
    pub ready: Ready,
    /// The network to make for it.
    pub network: Network,
    /// The CPUs it may use.
    pub cpus: Vec<usize>,
    /// The name of its control group.
    pub group_name: String,
}

/// How a server says that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ready {
    /// By its first line, `listening ADDR`.
    Line,
    /// By answering at this address.
    Answers(SocketAddr),
}

/// A running server. Dropping it ends it and every process that it started, unless it was running before us.
#[derive(Debug)]
pub struct Server {
    child: Option<Child>,
    group: Group,
    words: Tail,
    /// Its process id, which is also its process group's if it is our child; 0 if it is not known.
    pub pid: u32,
    /// Where it listens.
    pub addr: SocketAddr,
    /// The network it got.
    pub launched: Launched,
}

impl Server {
    /// Starts the server and waits for its ready line, if it is to give one.
    pub async fn start(spec: &ServerSpec) -> Result<Server, StartError> {
        let group = Group::create(&spec.group_name);
        let launch = Launch {
            parent: std::process::id() as i32,
            network: spec.network.clone(),
            cpus: spec.cpus.clone(),
            groups: group.procs_files(),
            announce: true,
            action: Action::Exec {
                program: spec.program.clone(),
                args: spec.args.clone(),
            },
        };
        let mut child = command(&launch)
            .and_then(|mut c| {
                if let Some(folder) = &spec.folder {
                    c.current_dir(folder).env(FOLDER, folder);
                }
                c.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
            })
            .map_err(|e| StartError::Ended(e.to_string()))?;
        let words = Tail::default();
        words.follow(child.stderr.take());
        let stdout = child.stdout.take();
        // From here on the guard ends the family, whatever happens.
        let mut server = Server {
            pid: child.id().unwrap_or_default(),
            child: Some(child),
            group,
            words,
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            launched: Launched::default(),
        };
        let mut lines = stdout.map(|stdout| BufReader::new(stdout).lines());
        match timeout(
            READY_LIMIT,
            server.read_greetings(lines.as_mut(), spec.ready),
        )
        .await
        {
            Err(_) => Err(StartError::Silent(format!(
                "no ready line within {} s",
                READY_LIMIT.as_secs()
            ))),
            Ok(None) => Err(server.why_it_ended().await),
            Ok(Some(())) => {
                // Read on: a server that prints to a full or a closed pipe would fail for a reason of our making.
                server.words.follow(lines.map(Lines::into_inner));
                Ok(server)
            }
        }
    }

    /// A server that somebody else started.
    pub fn running(addr: SocketAddr, pid: Option<u32>) -> Server {
        Server {
            child: None,
            group: Group::default(),
            words: Tail::default(),
            pid: pid.unwrap_or(0),
            addr,
            launched: Launched::default(),
        }
    }

    /// The launcher's line about the network, then the server's `listening ADDR`; `None` when either is missing.
    async fn read_greetings(
        &mut self,
        lines: Option<&mut Lines<BufReader<ChildStdout>>>,
        ready: Ready,
    ) -> Option<()> {
        let lines = lines?;
        let launched = lines.next_line().await.ok()??;
        self.launched = serde_json::from_str(&launched).ok()?;
        self.addr = match ready {
            Ready::Answers(addr) => addr,
            Ready::Line => {
                let line = lines.next_line().await.ok()??;
                line.strip_prefix("listening ")?.trim().parse().ok()?
            }
        };
        Some(())
    }

    async fn why_it_ended(&mut self) -> StartError {
        let status = match &mut self.child {
            Some(child) => timeout(REAP_LIMIT, child.wait())
                .await
                .ok()
                .and_then(Result::ok),
            None => None,
        };
        // The pipe's last bytes may still be on their way to the task that reads them.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let words = self.words.text();
        match status {
            Some(status) if status.code() == Some(NOT_AVAILABLE) => StartError::Unavailable(words),
            Some(status) => StartError::Ended(format!("{}: {words}", describe(status))),
            None => StartError::Silent(format!(
                "printed something other than its ready line; {words}"
            )),
        }
    }

    /// The processes of the family; none if nothing is known of them.
    pub fn pids(&self) -> Vec<u32> {
        match (&self.child, self.pid) {
            (None, 0) => Vec::new(),
            (None, pid) => procfs::descendants(pid),
            (Some(_), pid) => {
                let in_group = self.group.pids();
                in_group.unwrap_or_else(|| procfs::members_of_group(pid as i32))
            }
        }
    }

    /// CPU time used so far by the family.
    pub fn cpu(&self, pids: &[u32]) -> CpuTime {
        self.group.cpu().unwrap_or_else(|| procfs::cpu_of(pids))
    }

    /// Memory of the family, KiB: the control group's, kernel memory included, else the sum of PSS.
    pub fn memory_kib(&self, pids: &[u32]) -> u64 {
        match self.group.memory_bytes() {
            Some(bytes) => bytes / 1024,
            None => procfs::pss_kib(pids),
        }
    }

    /// How [`Server::memory_kib`] is measured: `cgroup` or `pss`.
    pub fn memory_method(&self) -> &'static str {
        match self.group.memory_bytes() {
            Some(_) => "cgroup",
            None => "pss",
        }
    }

    /// Whether the server's own process is still there; if not, how it ended and its last words.
    pub fn ended(&mut self) -> Option<String> {
        match self.child.as_mut()?.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(format!("{} {}", describe(status), self.words.text())),
            Err(e) => Some(format!("cannot be waited for: {e}")),
        }
    }

    /// Ends the family without blocking the runtime; `Drop` does what is left.
    pub async fn stop(mut self) {
        if let Some(mut child) = self.child.take() {
            self.kill();
            let _ = timeout(REAP_LIMIT, child.wait()).await;
            self.child = Some(child);
        }
    }

    fn kill(&self) {
        self.group.kill();
        let _ = killpg(Pid::from_raw(self.pid as i32), Signal::SIGKILL);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() && self.pid != 0 {
            self.kill();
            reap_group(self.pid as i32);
        }
    }
}

/// Waits for every process of the group: its own child, and the orphans that the kernel gives to the harness,
/// which is their subreaper (PR_SET_CHILD_SUBREAPER).
fn reap_group(pgid: i32) {
    let deadline = Instant::now() + REAP_LIMIT;
    while Instant::now() < deadline {
        match waitpid(Pid::from_raw(-pgid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(2)),
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

/// The harness's own program as a launcher: a clean environment, a process group of its own, killed when dropped.
pub fn command(launch: &Launch) -> io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("launch")
        .arg(serde_json::to_string(launch)?)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .process_group(0)
        .kill_on_drop(true);
    Ok(command)
}

/// "exit code 1" or "signal 9 (SIGKILL)".
pub fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (_, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("signal {number} ({signal})"),
            Err(_) => format!("signal {number}"),
        },
        _ => "an unknown end".into(),
    }
}

/// The last bytes of one or several streams, collected in the background.
#[derive(Debug, Clone, Default)]
pub struct Tail(Arc<Mutex<Vec<u8>>>);

impl Tail {
    /// Reads the stream to its end in the background.
    pub fn follow(&self, stream: Option<impl AsyncReadExt + Unpin + Send + 'static>) {
        let kept = self.clone();
        if let Some(mut stream) = stream {
            tokio::spawn(async move {
                let mut chunk = [0; 1024];
                while let Ok(n @ 1..) = stream.read(&mut chunk).await {
                    kept.push(&chunk[..n]);
                }
            });
        }
    }

    fn push(&self, bytes: &[u8]) {
        if let Ok(mut kept) = self.0.lock() {
            kept.extend_from_slice(bytes);
            let excess = kept.len().saturating_sub(STDERR_TAIL_BYTES);
            kept.drain(..excess);
        }
    }

    /// What was kept, as one line of printable text.
    pub fn text(&self) -> String {
        let bytes = self.0.lock().map(|kept| kept.clone()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let words: Vec<&str> = text.split(|c: char| c.is_control()).collect();
        words.join(" ").trim().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn ends_are_described_in_words() {
        assert_eq!(describe(ExitStatus::from_raw(3 << 8)), "exit code 3");
        assert_eq!(describe(ExitStatus::from_raw(9)), "signal 9 (SIGKILL)");
    }

    #[test]
    fn a_tail_keeps_the_end_and_no_control_characters() {
        let tail = Tail::default();
        tail.push(&[b'x'; 4000]);
        tail.push(b"\x1b[31mthe end\n");
        let text = tail.text();
        assert!(text.ends_with("[31mthe end"), "{text}");
        assert!(text.len() <= STDERR_TAIL_BYTES && !text.contains('\x1b'));
    }
}
