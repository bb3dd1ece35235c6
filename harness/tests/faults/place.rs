//! Where faults are tried: an installed tenk with folders of its own, and what a run leaves in them.

use super::groups::Groups;
use super::mounts::Mounts;
use super::noise::expect_noise;
use super::table::Line;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No run of these may take longer, even on a loaded machine and under a tracer.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How long the children of what was killed may take to end.
const GRACE: Duration = Duration::from_secs(20);

/// How long a tracer may take to see that what it traces was killed.
const UNTRACED: Duration = Duration::from_secs(5);

/// CPU time that no run of these has need for.
const MOST_CPU: Duration = Duration::from_secs(30);

/// A short run of one model.
pub const TINY: &str = "--model epoll --conns 4 --repeat 1 --warmup 20ms --duration 100ms";

/// The installed programs, and everything that they write.
pub struct Place {
    folder: TempDir,
    groups: Groups,
    mounts: Mounts,
    /// A process that goes on from run to run.
    kept: Cell<Option<u32>>,
}

/// How a run ended, and what it left.
#[derive(Debug)]
pub struct Ended {
    /// None: it had to be killed.
    pub status: Option<ExitStatus>,
    pub out: String,
    pub err: String,
    pub cpu: Duration,
    /// Of one that did not end: what each of its processes waited in.
    pub stood: Vec<String>,
    /// Programs that outlived it.
    pub outlived: Vec<String>,
    pub took: Duration,
}

impl Ended {
    pub fn code(&self) -> Option<i32> {
        self.status.and_then(|status| status.code())
    }

    pub fn signal(&self) -> Option<i32> {
        self.status.and_then(|status| status.signal())
    }

    /// Where in a library tenk gave up, or a process of it whose words it passes on: it says so in one sentence and ends as
    /// what has failed. What gives up in our own sources is a panic.
    pub fn gave_up_in_library(&self) -> Option<&str> {
        let mut lines = self.err.lines();
        let sentence = lines.find_map(|line| Some(line.split_once("tenk gave up: ")?.1))?;
        let (words, _) = sentence.split_once("), a fault of tenk or of a library")?;
        let (_, place) = words.rsplit_once('(')?;
        let is_ours = ["harness/", "loadgen/", "servers/", "src/"]
            .iter()
            .any(|own| place.starts_with(own));
        (!is_ours && self.code() == Some(1)).then_some(place)
    }

    /// The end and its words, for whoever looks into it.
    pub fn in_words(&self) -> String {
        let how = match self.status {
            Some(status) => status.to_string(),
            None => format!("did not end ({})", self.stood.join(", ")),
        };
        let words: Vec<&str> = self.err.lines().rev().take(4).collect();
        let words: Vec<&str> = words.into_iter().rev().collect();
        format!("{how}: {}", words.join(" / "))
    }
}

impl Place {
    pub fn new() -> Place {
        // Orphans of what was killed come to this process, which can then tell them from everybody else's.
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
            groups: Groups::enter(),
            mounts: Mounts::enter(),
            kept: Cell::new(None),
        };
        for name in ["programs", "tmp", "cache", "results"] {
            fs::create_dir(place.path(name)).unwrap();
        }
        install(&place.path("programs"));
        // Figures are nobody's concern here.
        expect_noise(&place.path("cache"));
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets a process go on from run to run; none: no longer.
    pub fn keep(&self, process: Option<u32>) {
        self.kept.set(process);
    }

    /// A program of the installation.
    pub fn program(&self, name: &str) -> PathBuf {
        self.path("programs").join(name)
    }

    /// A program with this place's own folders.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env("TMPDIR", self.path("tmp"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("HOME", self.folder.path())
            .env_remove("CARGO")
            .env_remove("TENK_FAULTS")
            .env_remove("TENK_FAULTS_SEED")
            .env_remove("RUST_BACKTRACE")
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// tenk with these words.
    pub fn tenk(&self, words: &str) -> Command {
        let mut command = self.command(self.program("tenk"));
        command.args(words.split_whitespace());
        command
    }

    /// A run whose results go into a folder of this name.
    pub fn tenk_into(&self, words: &str, results: &str) -> Command {
        let mut command = self.tenk(words);
        command.arg("--results").arg(self.path(results));
        command
    }

    /// Runs a command to its end, or for [`LIMIT`]; `meanwhile` is told its process and is called until then.
    pub fn run(&self, command: &mut Command, mut meanwhile: impl FnMut(u32)) -> Ended {
        self.run_under(command, |pid| {
            meanwhile(pid);
            true
        })
    }

    /// The same; `meanwhile` says whether the process may be waited for: of one that is traced every stop would be
    /// taken for its end.
    #[expect(clippy::zombie_processes, reason = "reaped below, with what it left")]
    pub fn run_under(
        &self,
        command: &mut Command,
        mut meanwhile: impl FnMut(u32) -> bool,
    ) -> Ended {
        let (out, err) = (self.path("out"), self.path("err"));
        command.stdout(File::create(&out).unwrap());
        command.stderr(File::create(&err).unwrap());
        let before = children_cpu();
        let started = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut status = None;
        while status.is_none() && started.elapsed() < LIMIT {
            if meanwhile(child.id()) {
                status = child.try_wait().unwrap();
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let mut stood = Vec::new();
        if status.is_none() {
            stood = standing(child.id());
            end_hung(&mut child);
        }
        let took = started.elapsed();
        let outlived = reap(self.kept.get());
        let text = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        Ended {
            status,
            out: text(&out),
            err: text(&err),
            cpu: children_cpu().saturating_sub(before),
            stood,
            outlived,
            took,
        }
    }

    /// Books what every kind of fault has in common: ended in time, without a panic, and nothing goes on. `signal`: the
    /// one that was sent.
    pub fn book(&self, line: &mut Line, what: &str, ended: &Ended, signal: Option<Signal>) {
        line.times += 1;
        let mut fault = |why: String| {
            line.faults
                .push(format!("{what}: {why}: {}", ended.in_words()));
        };
        if ended.status.is_none() || ended.cpu > MOST_CPU {
            fault(format!(
                "hung, {:.1} s of CPU time",
                ended.cpu.as_secs_f64()
            ));
            line.hung += 1;
        }
        let unasked = ended
            .signal()
            .filter(|&got| signal.is_none_or(|sent| sent as i32 != got));
        let library = ended.gave_up_in_library();
        let panicked = ended.code() == Some(101)
            || ended.err.contains("panicked at")
            || (ended.err.contains("tenk gave up") && library.is_none());
        line.gave_up.extend(library.map(str::to_string));
        if panicked || unasked.is_some() {
            fault("panicked or ended by a signal".into());
            line.panicked += 1;
        }
        if !ended.outlived.is_empty() {
            fault(format!("outlived by {}", ended.outlived.join(", ")));
            line.processes += ended.outlived.len();
        }
    }

    /// What is left in shared places once another run has been made.
    pub fn book_leftovers(&self, line: &mut Line, what: &str) {
        if self.leftovers().is_empty() && self.groups.left().is_none_or(|left| left.is_empty()) {
            line.groups = self.groups.left().map(|_| line.groups.unwrap_or(0));
            return;
        }
        let mut next = self.tenk_into(TINY, "swept");
        let ended = self.run(&mut next, |_| ());
        if ended.code() != Some(0) {
            line.faults
                .push(format!("{what}: the next run: {}", ended.in_words()));
        }
        let _ = fs::remove_dir_all(self.path("swept"));
        let groups = self.groups.left();
        for path in groups.iter().flatten().chain(&self.leftovers()) {
            line.faults
                .push(format!("{what}: {} is left", path.display()));
        }
        line.groups = groups.map(|left| line.groups.unwrap_or(0) + left.len());
        line.temporary += self.leftovers().len();
        // What was counted once is not counted again.
        for path in self.leftovers() {
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }

    /// Namespaces that are held by a mount which was not there before, among those that only runs of this place can make.
    pub fn book_namespaces(&self, line: &mut Line) {
        let new = self.mounts.added();
        line.namespaces += new.len();
        line.faults.extend(
            new.iter()
                .map(|mount| format!("a namespace is held by {mount}")),
        );
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("tmp")).unwrap().flatten();
        entries.map(|entry| entry.path()).collect()
    }
}

/// Processes of these programs, by the name of their file, that descend from a process.
pub fn descendants(of: u32, names: &[&str]) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut parents = std::collections::BTreeMap::new();
    for pid in pids {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
            continue;
        };
        let fields = stat.rsplit_once(") ").map(|(_, rest)| rest.split(' '));
        let parent = fields.and_then(|mut fields| fields.nth(1)?.parse::<u32>().ok());
        parents.insert(pid, parent.unwrap_or(0));
    }
    let is_below = |pid: &u32| {
        let mut at = *pid;
        for _ in 0..parents.len() {
            match parents.get(&at) {
                Some(&parent) if parent == of => return true,
                Some(&parent) => at = parent,
                None => return false,
            }
        }
        false
    };
    let is_named = |pid: &u32| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        names.is_empty() || names.iter().any(|name| exe.ends_with(name))
    };
    parents
        .keys()
        .copied()
        .filter(|pid| is_below(pid) && is_named(pid))
        .collect()
}

/// Waits for the orphans that came to this process, all but the kept one; those that stay are named, and ended.
fn reap(kept: Option<u32>) -> Vec<String> {
    let deadline = Instant::now() + GRACE;
    let others = || {
        let all = descendants(std::process::id(), &[]);
        all.into_iter()
            .filter(|pid| Some(*pid) != kept)
            .collect::<Vec<u32>>()
    };
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(_) => return Vec::new(),
            Ok(WaitStatus::StillAlive) if others().is_empty() => return Vec::new(),
            Ok(WaitStatus::StillAlive) if Instant::now() > deadline => break,
            Ok(WaitStatus::StillAlive) => std::thread::sleep(Duration::from_millis(2)),
            Ok(_) => {}
        }
    }
    let left = others();
    let name = |pid: &u32| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        exe.file_name()
            .map_or("?".into(), |name| name.to_string_lossy().into_owned())
    };
    let names = left.iter().map(name).collect();
    for pid in left {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
    }
    while !others().is_empty() {
        let _ = waitpid(None, Some(WaitPidFlag::WNOHANG));
    }
    names
}

/// A process and its descendants: the name, and the kernel's function in which each waits (proc_pid_wchan(5)).
fn standing(of: u32) -> Vec<String> {
    let stands = |pid: u32| {
        let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let name = exe
            .file_name()
            .map_or("?".into(), |name| name.to_string_lossy().into_owned());
        let place = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
        format!("{name} in {place}")
    };
    let below = descendants(of, &[]).into_iter();
    std::iter::once(of).chain(below).map(stands).collect()
}

/// Kills a program that did not end. A tracer would let what it traces go on instead: its child is killed first.
fn end_hung(child: &mut Child) {
    let exe = fs::read_link(format!("/proc/{}/exe", child.id())).unwrap_or_default();
    if exe.ends_with("strace") {
        let of = format!("/proc/{0}/task/{0}/children", child.id());
        let traced = fs::read_to_string(of).unwrap_or_default();
        for pid in traced.split_whitespace().filter_map(|pid| pid.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let deadline = Instant::now() + UNTRACED;
        while Instant::now() < deadline && child.try_wait().is_ok_and(|status| status.is_none()) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    let _ = child.kill();
    let _ = child.wait();
}

fn children_cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let of = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64)
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// tenk beside release builds of the generator and of the models that are used.
fn install(folder: &Path) {
    fs::copy(env!("CARGO_BIN_EXE_tenk"), folder.join("tenk")).unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "build",
            "--release",
            "--quiet",
            "--bins",
            "-p",
            "loadgen",
            "-p",
            "servers",
        ])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    for line in BufReader::new(&output.stdout[..]).lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line.unwrap()) else {
            continue;
        };
        let Some(program) = message["executable"].as_str().map(PathBuf::from) else {
            continue;
        };
        fs::copy(&program, folder.join(program.file_name().unwrap())).unwrap();
    }
}

/// What is not whole of a run's folder: a file that ends early, or a temporary one that was left there. `is_killed`:
/// nobody was there to remove it, and a last line may be torn.
pub fn not_whole(folder: &Path, is_killed: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = entry.file_name().to_string_lossy().into_owned();
            let bytes = fs::read(&path).unwrap_or_default();
            let is_damaged = match name.contains(".tmp") {
                true => !is_killed,
                false => !is_whole(&name, &bytes, is_killed),
            };
            if is_damaged {
                found.push(format!("{} ({} bytes)", path.display(), bytes.len()));
            }
        }
    }
    found
}

/// Whether a file is not cut off, by what its name says that it is.
pub fn is_whole(name: &str, bytes: &[u8], may_be_torn: bool) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let is_json = |text: &str| serde_json::from_str::<Value>(text).is_ok();
    match name.rsplit('.').next().unwrap_or_default() {
        "json" => is_json(&text),
        "jsonl" => {
            let lines = text.split_inclusive('\n');
            lines
                .into_iter()
                .all(|line| is_json(line) || (may_be_torn && !line.ends_with('\n')))
        }
        "svg" => text.trim_end().ends_with("</svg>"),
        "html" => text.trim_end().ends_with("</html>"),
        _ => text.ends_with('\n'),
    }
}
