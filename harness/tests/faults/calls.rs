//! Every system call of the generator and of tenk that can fail, failed: the first of its name, and others of it; and the
//! same in every process and thread of a run at once, the server's and its supervisor's included.

use super::Amount;
use super::place::{Ended, Place, TINY, not_whole};
use super::table::Line;
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Calls that are not failed: memory, which the language's runtime answers by ending the program; what the runtime and
/// the loader do before `main`; ends; and `close`, after which a descriptor would still be open, as no kernel leaves it.
const NOT_FAILED: [&str; 28] = [
    "execve",
    "exit",
    "exit_group",
    "brk",
    "mmap",
    "munmap",
    "mremap",
    "mprotect",
    "madvise",
    "arch_prctl",
    "set_tid_address",
    "set_robust_list",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigaltstack",
    "futex",
    "restart_syscall",
    "close",
    "access",
    "getrandom",
    "gettid",
    "getpid",
    "getppid",
    "sched_yield",
    "membarrier",
    "vfork",
];

/// The error that a call meets in real life; EIO for all others.
fn error_of(call: &str) -> Errno {
    match call {
        "socket" | "accept4" | "openat" | "open" | "epoll_create1" | "eventfd2"
        | "timerfd_create" | "pipe2" | "signalfd4" | "pidfd_open" | "dup" => Errno::EMFILE,
        "connect" => Errno::EADDRNOTAVAIL,
        "bind" => Errno::EADDRINUSE,
        "clone" | "clone3" | "poll" => Errno::EAGAIN,
        "sendto" | "sendmsg" | "setsockopt" => Errno::ENOBUFS,
        "recvfrom" | "recvmsg" => Errno::ECONNRESET,
        "epoll_ctl" | "mkdir" => Errno::ENOSPC,
        "epoll_wait" | "epoll_pwait" | "epoll_pwait2" | "wait4" | "waitid" | "clock_nanosleep" => {
            Errno::EINTR
        }
        "unshare" | "setns" | "kill" | "prctl" | "prlimit64" | "sched_setaffinity" => Errno::EPERM,
        _ => Errno::EIO,
    }
}

/// The folder that everything is written to.
const WRITTEN: &str = "written";

/// What people are told of an error.
pub fn words_of(error: Errno) -> String {
    let words = std::io::Error::from_raw_os_error(error as i32).to_string();
    words.split(" (os error").next().unwrap_or_default().into()
}

pub fn calls(place: &Place, amount: Amount, seed: u64) -> Vec<Line> {
    if Command::new("strace").arg("-V").output().is_err() {
        return vec![Line::skipped("system calls", "needs strace")];
    }
    let mut random = fastrand::Rng::with_seed(seed);
    type Piece = fn(&Place, Amount, &mut fastrand::Rng) -> Line;
    const PIECES: [(&str, Piece); 4] = [
        ("loadgen", of_generator),
        ("tenk", of_tenk),
        ("wakeups", of_wakeups),
        ("every", of_every_process),
    ];
    let asked = PIECES
        .into_iter()
        .filter(|(name, _)| super::is_asked("calls", name));
    asked
        .map(|(_, piece)| piece(place, amount, &mut random))
        .collect()
}

fn of_generator(place: &Place, amount: Amount, random: &mut fastrand::Rng) -> Line {
    let Some(server) = Server::start(place) else {
        return Line::skipped("system calls", "the server did not start");
    };
    let words = format!(
        "--target {} --conns 6 --threads 2 --warmup 20ms --duration 80ms --rate 2000 --request-timeout 1s \
         --ramp-timeout 2s --format json --save {}",
        server.address,
        place.path(WRITTEN).join("saved.json").display()
    );
    let generator = Subject {
        name: "the load generator",
        program: "loadgen",
        words,
        options: &["-f"],
        more: &[],
        most: amount.of(1, 6),
    };
    let line = generator.torture(place, amount.of(12, usize::MAX), random);
    drop(server);
    place.keep(None);
    line
}

/// Its children are not failed here.
fn of_tenk(place: &Place, amount: Amount, random: &mut fastrand::Rng) -> Line {
    let tenk = Subject {
        name: "tenk",
        program: "tenk",
        words: a_run(place),
        options: &[],
        more: &[],
        most: amount.of(1, 3),
    };
    tenk.torture(place, amount.of(12, usize::MAX), random)
}

/// Without pidfds tokio learns of the end of a child by SIGCHLD, whose handler writes to a socket: each of the messages of
/// tenk is lost once, be it that byte or a word to another process.
fn of_wakeups(place: &Place, amount: Amount, random: &mut fastrand::Rng) -> Line {
    let fault = "a message of tenk where there are no pidfds";
    let tenk = Subject {
        name: "tenk without pidfds",
        program: "tenk",
        words: a_run(place),
        options: &[],
        more: &["-e", "inject=pidfd_open:error=ENOSYS"],
        most: amount.of(2, usize::MAX),
    };
    let counted = match tenk.counts(place) {
        Ok(counted) => counted,
        Err(why) => return Line::skipped(fault, why),
    };
    let count = counted.get("sendto").copied().unwrap_or(0);
    let mut line = Line::new(fault, format!("strace, `sendto` of {count}, one by one"));
    let mut not_met = 0;
    for when in numbers(count, tenk.most, random) {
        not_met += usize::from(!tenk.one(place, &mut line, "sendto", when));
    }
    line.note = not_met_in_words(not_met);
    place.book_leftovers(&mut line, tenk.name);
    place.book_namespaces(&mut line);
    line
}

/// How many of the faults that were meant came to nothing.
fn not_met_in_words(not_met: usize) -> String {
    match not_met {
        0 => String::new(),
        _ => format!("{not_met} more came to no call, as there were fewer of them"),
    }
}

/// strace counts the calls of each process and thread apart.
fn of_every_process(place: &Place, amount: Amount, random: &mut fastrand::Rng) -> Line {
    let every = Subject {
        name: "every process and thread of a run at once",
        program: "tenk",
        words: a_run(place),
        options: &["-f"],
        more: &[],
        most: 1,
    };
    every.torture(place, amount.of(6, usize::MAX), random)
}

fn a_run(place: &Place) -> String {
    format!("{TINY} --results {}", place.path(WRITTEN).display())
}

/// A server that no fault is meant for.
struct Server {
    child: std::process::Child,
    address: String,
}

impl Server {
    fn start(place: &Place) -> Option<Server> {
        let mut command = place.command(place.program("epoll"));
        command
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped());
        let mut child = command.spawn().ok()?;
        place.keep(Some(child.id()));
        let mut line = String::new();
        BufReader::new(child.stdout.take()?)
            .read_line(&mut line)
            .ok()?;
        let address = line.trim().strip_prefix("listening ")?.to_string();
        Some(Server { child, address })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program whose calls fail.
struct Subject<'a> {
    name: &'a str,
    program: &'a str,
    words: String,
    options: &'a [&'a str],
    /// Faults that are there whenever one is tried.
    more: &'a [&'a str],
    /// How many calls of one name.
    most: usize,
}

impl Subject<'_> {
    fn torture(&self, place: &Place, most_names: usize, random: &mut fastrand::Rng) -> Line {
        let fault = format!("a system call of {}", self.name);
        let counted = match self.counts(place) {
            Ok(counted) => counted,
            Err(why) => return Line::skipped(&fault, why),
        };
        let names = counted.len();
        let how = format!("strace, the first and others of each of {names} names");
        let mut line = Line::new(fault, how);
        let mut chosen: Vec<(String, u64)> = counted.into_iter().collect();
        random.shuffle(&mut chosen);
        let mut not_met = 0;
        for (call, count) in chosen.into_iter().take(most_names) {
            for when in numbers(count, self.most, random) {
                not_met += usize::from(!self.one(place, &mut line, &call, when));
            }
        }
        line.note = not_met_in_words(not_met);
        place.book_leftovers(&mut line, self.name);
        place.book_namespaces(&mut line);
        line
    }

    fn under_strace(&self, place: &Place, more: &[&str]) -> Ended {
        let _ = fs::remove_dir_all(place.path(WRITTEN));
        fs::create_dir_all(place.path(WRITTEN)).unwrap();
        let mut command = place.command("strace");
        command
            .args(self.options)
            .args(more)
            .arg("-qq")
            .arg("-o")
            .arg(place.path("strace"))
            .arg(place.program(self.program))
            .args(self.words.split(' '));
        place.run(&mut command, |_| ())
    }

    /// How often each call is made in a run without a fault.
    fn counts(&self, place: &Place) -> Result<BTreeMap<String, u64>, String> {
        let counting = [&["-c"], self.more].concat();
        let ended = self.under_strace(place, &counting);
        if ended.code() != Some(0) {
            return Err(ended.in_words());
        }
        let text = fs::read_to_string(place.path("strace")).unwrap_or_default();
        let rows = text.lines().filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let name = fields.last()?.to_string();
            Some((name, fields.get(3)?.parse().ok()?))
        });
        let is_failed = |name: &String| name != "total" && !NOT_FAILED.contains(&name.as_str());
        Ok(rows.filter(|(name, _)| is_failed(name)).collect())
    }

    /// Fails one call; whether there was one.
    fn one(&self, place: &Place, line: &mut Line, call: &str, when: u64) -> bool {
        let error = error_of(call);
        let inject = format!("inject={call}:error={error:?}:when={when}");
        let trace = format!("trace={call}");
        let failing = [&["-e", &trace, "-e", &inject], self.more].concat();
        let ended = self.under_strace(place, &failing);
        let log = fs::read_to_string(place.path("strace")).unwrap_or_default();
        let is_failed =
            |line: &str| line.contains("(INJECTED)") && line.contains(&format!("{call}("));
        if ended.status.is_some() && !log.lines().any(is_failed) {
            return false;
        }
        let what = format!("{} with {error:?} at {call} {when}", self.name);
        place.book(line, &what, &ended, None);
        // What fails says so; what does not, had another way.
        if ended.code() != Some(0) && ended.err.trim().is_empty() && ended.out.trim().is_empty() {
            line.unsaid += 1;
            line.faults
                .push(format!("{what}: not a word: {}", ended.in_words()));
        }
        // A library that gives up names what it met.
        if ended.gave_up_in_library().is_some() && !ended.err.contains(&words_of(error)) {
            line.unsaid += 1;
            line.faults
                .push(format!("{what}: no cause: {}", ended.in_words()));
        }
        let damaged = not_whole(&place.path(WRITTEN), false);
        line.damaged += damaged.len();
        line.faults
            .extend(damaged.iter().map(|file| format!("{what}: {file}")));
        true
    }
}

/// The first, and others in between.
fn numbers(count: u64, most: usize, random: &mut fastrand::Rng) -> Vec<u64> {
    let mut numbers = std::collections::BTreeSet::from([1]);
    while numbers.len() < most.min(count as usize) {
        numbers.insert(random.u64(1..=count));
    }
    numbers.into_iter().collect()
}
