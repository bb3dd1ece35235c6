//! Samples of a server's stacks by the `perf` program: all processes of the family, and what they start.
//!
//! It is started while the server has no load yet, so that what the server starts inherits its events, and switched on
//! for the window only. Stacks are unwound from copies of their tops (`--call-graph dwarf`): release builds have no frame
//! pointers, and neither have most other people's servers; what is profiled is the very program that is ranked.

use super::output::Tail;
use crate::base::child::{collected, ended};
use crate::base::text::visible;
use crate::model::instrumented::Profile;
use inferno::collapse::Collapse;
use inferno::collapse::perf::{Folder, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Samples per second of CPU time, at most (a kernel without high-resolution timers takes one per tick): no multiple of any usual timer, which it would otherwise keep step with.
const PER_S: &str = "997";
/// How much of a stack is copied with each sample: a request is answered within a few frames.
const STACK: &str = "dwarf,8192";
/// How long perf may take to be ready, or to obey.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the samples may take to be written and to be made into text.
const LONG: Duration = Duration::from_secs(120);
/// How to come by the program.
pub const INSTALL_PERF: &str = "`apt-get install linux-perf` (Debian), `apt-get install linux-tools-generic` (Ubuntu), `dnf install perf` (Fedora)";
/// Stacks beyond so much text are left out, the rarest first.
const MOST_BYTES: usize = 512 * 1024;

/// A running recorder, which goes when this is dropped.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    words: Tail,
    orders: pipe::Sender,
    answers: BufReader<pipe::Receiver>,
    samples: PathBuf,
}

impl Recorder {
    /// Starts a recorder for these processes, which records nothing yet.
    ///
    /// # Errors
    /// Why not, and what mends it.
    pub async fn start(pids: &[u32], scratch: &Path) -> Result<Recorder, String> {
        if pids.is_empty() {
            return Err("no process of the server is known (of a --target, give --pid)".into());
        }
        let place = |name: &str| scratch.join(name);
        let samples = place("perf.data");
        let fifos = [place("perf.orders"), place("perf.answers")];
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        let made = || -> io::Result<_> {
            for fifo in &fifos {
                let _ = fs::remove_file(fifo);
                mkfifo(fifo, Mode::S_IRWXU)?;
            }
            // Both ways, so that neither side waits for the other to open its end.
            let open = |fifo| pipe::OpenOptions::new().read_write(true).open_sender(fifo);
            let orders = open(&fifos[0])?;
            let answers = pipe::OpenOptions::new()
                .read_write(true)
                .open_receiver(&fifos[1])?;
            Ok((orders, BufReader::new(answers)))
        };
        let (orders, answers) = made().map_err(|e| format!("perf cannot be controlled: {e}"))?;
        let mut command = Command::new("perf");
        command
            .args(["record", "--event", "cpu-clock", "--freq", PER_S])
            .args(["--call-graph", STACK, "--no-buildid", "--no-buildid-cache"])
            .args(["--delay", "-1", "--control"])
            .arg(format!(
                "fifo:{},{}",
                fifos[0].display(),
                fifos[1].display()
            ))
            .arg("--output")
            .arg(&samples)
            .args(["--pid", &pids.join(",")]);
        let mut child = started(&mut command)?;
        let mut words = Tail::default();
        words.follow(child.stderr.take());
        words.follow(child.stdout.take());
        let mut recorder = Recorder {
            child,
            words,
            orders,
            answers,
            samples,
        };
        // It is off already; that it answers says that its events are there.
        recorder.order("disable").await?;
        Ok(recorder)
    }

    /// From now on samples are taken.
    pub async fn switch_on(&mut self) -> Result<(), String> {
        self.order("enable").await
    }

    /// From now on none are.
    pub async fn switch_off(&mut self) -> Result<(), String> {
        self.order("disable").await
    }

    async fn order(&mut self, word: &str) -> Result<(), String> {
        let obeyed = async {
            self.orders
                .write_all(format!("{word}\n").as_bytes())
                .await?;
            let mut answer = Vec::new();
            // perf ends its answer with a line's end and a zero.
            self.answers.read_until(b'\n', &mut answer).await
        };
        tokio::select! {
            obeyed = timeout(PATIENCE, obeyed) => match obeyed {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(e)) => Err(format!("perf cannot be controlled: {e}")),
                Err(_) => Err("perf did not obey within 20 s".into()),
            },
            _ = ended(&mut self.child) => {
                self.words.finish().await;
                Err(format!("perf ended by itself: {}", remedy(&self.words.text())))
            }
        }
    }

    /// The samples. While they are read the server's program must still be where it was.
    pub async fn finish(mut self) -> Result<Profile, String> {
        if let Some(pid) = self.child.id() {
            let _ = kill(Pid::from_raw(pid as i32), Signal::SIGINT);
        }
        let ended = timeout(LONG, ended(&mut self.child)).await;
        ended
            .map_err(|_| "perf did not end".to_string())?
            .map_err(|e| e.to_string())?;
        let mut command = Command::new("perf");
        command
            .args([
                "script",
                "--no-inline",
                "--fields",
                "comm,tid,time,event,ip,sym,dso",
            ])
            .arg("--input")
            .arg(&self.samples);
        let mut child = started(&mut command)?;
        let output = timeout(LONG, collected(&mut child)).await;
        let output = output
            .map_err(|_| "perf script took more than two minutes".to_string())?
            .map_err(|e| e.to_string())?;
        let _ = fs::remove_file(&self.samples);
        match output.status.success() {
            true => fold(&output.stdout),
            false => Err(format!(
                "perf script: {}",
                visible(String::from_utf8_lossy(&output.stderr).trim())
            )),
        }
    }
}

fn started(command: &mut Command) -> Result<Child, String> {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn();
    child.map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => format!("there is no program `perf`: {INSTALL_PERF}"),
        _ => format!("cannot start perf: {e}"),
    })
}

/// perf's last words, and what mends the most usual of them.
fn remedy(words: &str) -> String {
    let words = visible(words);
    match words.contains("perf_event_paranoid") || words.contains("ermission") {
        true => format!(
            "it is not allowed to (run tenk as root or with CAP_PERFMON, or `sysctl kernel.perf_event_paranoid=-1`): {words}"
        ),
        false => words,
    }
}

/// What `perf script` printed, folded; the most frequent stacks first.
fn fold(script: &[u8]) -> Result<Profile, String> {
    let mut folded = Vec::new();
    Folder::from(Options::default())
        .collapse(script, &mut folded)
        .map_err(|e| format!("what perf script printed cannot be read: {e}"))?;
    let folded = String::from_utf8_lossy(&folded);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for line in folded.lines() {
        if let Some((stack, count)) = line.rsplit_once(' ')
            && let Ok(count) = count.parse::<u64>()
        {
            *counts.entry(known(stack)).or_default() += count;
        }
    }
    let mut stacks: Vec<(String, u64)> = counts.into_iter().collect();
    stacks.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let mut profile = Profile {
        samples: stacks.iter().map(|(_, count)| count).sum(),
        folded: String::new(),
    };
    for (stack, count) in &stacks {
        if profile.folded.len() + stack.len() < MOST_BYTES {
            profile.folded.push_str(&format!("{stack} {count}\n"));
        }
    }
    Ok(profile)
}

/// A stack without the outermost frames whose function is not known, as where its copy ends.
fn known(stack: &str) -> String {
    let (program, functions) = stack.split_once(';').unwrap_or((stack, ""));
    let functions = functions.split(';').skip_while(|name| *name == "[unknown]");
    let all: Vec<String> = std::iter::once(program)
        .chain(functions)
        .map(readable)
        .collect();
    all.join(";")
}

/// A function's name as it was in its source, in characters that may be shown.
fn readable(symbol: &str) -> String {
    visible(&format!("{:#}", rustc_demangle::demangle(symbol)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "\
epoll  4711   100.000001: cpu-clock:pppH: 
\tffffffff81a3 do_syscall_64 ([kernel.kallsyms])
\t      7f0123 __libc_recv (/usr/lib/libc.so.6)
\t      55a012 _RNvCs1234_5epoll4main (/tmp/tenk/epoll)
\tffffffffffffffff [unknown] ([unknown])

epoll  4711   100.001001: cpu-clock:pppH: 
\tffffffff81a3 do_syscall_64 ([kernel.kallsyms])
\t      7f0123 __libc_recv (/usr/lib/libc.so.6)
\t      55a012 _RNvCs1234_5epoll4main (/tmp/tenk/epoll)

epoll  4712   100.002001: cpu-clock:pppH: 
\t      55a099 _ZN5epoll6answer17h0123456789abcdefE (/tmp/tenk/epoll)

";

    #[test]
    fn samples_are_folded_and_functions_have_their_names() {
        let profile = fold(SCRIPT.as_bytes()).unwrap();
        assert_eq!(profile.samples, 3);
        let lines: Vec<&str> = profile.folded.lines().collect();
        assert_eq!(
            lines,
            [
                "epoll;epoll::main;__libc_recv;do_syscall_64 2",
                "epoll;epoll::answer 1"
            ]
        );
        assert_eq!(fold(b"").unwrap(), Profile::default());
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_is_named_with_what_installs_it() {
        let why = started(&mut Command::new("/no/such/perf")).unwrap_err();
        assert!(why.contains("apt-get install linux-perf"), "{why}");
    }

    #[test]
    fn what_is_not_allowed_comes_with_what_mends_it() {
        let words = "Error: Access to performance monitoring is limited, see perf_event_paranoid";
        assert!(remedy(words).contains("sysctl kernel.perf_event_paranoid=-1"));
        assert_eq!(remedy("no such process"), "no such process");
    }
}
