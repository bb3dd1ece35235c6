//! `docs/MODELS.md` shows, for each model, the system calls of its start and of
//! one connection, as strace sees them. This keeps it true.
//!
//! `UPDATE_DOCS=1 cargo test -p servers --test models_md` writes it anew.

#[allow(dead_code)]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use servers::models::{MODELS, Model, Readiness, Unit};
use support::*;

/// What is shown. futex(2), by which threads wait for each other, is not: how
/// often it is called depends on who was faster.
const CALLS: &str = "trace=socket,bind,listen,accept4,recvfrom,sendto,shutdown,close,\
    fcntl,epoll_create1,epoll_ctl,epoll_wait,epoll_pwait,?poll,ppoll,?select,pselect6,\
    clone,clone3,?fork,?vfork,wait4,io_uring_setup,io_uring_enter,exit,exit_group";

const INTRODUCTION: &str = "# The models, as strace sees them

Made by `UPDATE_DOCS=1 cargo test -p servers --test models_md`, which runs every model under strace(1), has one
client connect, send `hello` and leave, and writes down the system calls. The same test fails when this page is no
longer true.

Calls are shown once they have returned, with descriptors called by what they are. A C library makes `recvfrom` of
recv(3) and `sendto` of send(3). Not shown: calls on other descriptors, futex(2) by which threads wait for each other,
and what starts every program. The pools run with one worker. `…` is a call, or are two in turn, made over and over.
";

#[test]
fn the_page_shows_what_each_model_calls() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = here.join("../docs/MODELS.md");
    if !has("strace") {
        return eprintln!("skipped: strace is not installed");
    }
    if std::env::consts::ARCH != "x86_64" {
        return eprintln!("skipped: docs/MODELS.md shows the calls of x86_64");
    }
    let update = std::env::var_os("UPDATE_DOCS").is_some();
    let Ok(page) =
        std::fs::read_to_string(&path).or_else(|e| if update { Ok(String::new()) } else { Err(e) })
    else {
        return eprintln!("skipped: there is no docs/MODELS.md here");
    };
    let mut made = INTRODUCTION.to_owned();
    for model in MODELS {
        match calls_of(model) {
            Ok(calls) => made += &section(model, &calls),
            // What cannot run here keeps its section.
            Err(said) => {
                eprintln!("skipped: {}: {}", model.name, said.trim_end());
                made += section_in(&page, model);
            }
        }
    }
    if update {
        return std::fs::write(path, made).unwrap();
    }
    for (made, written) in made.lines().zip(page.lines()) {
        assert_eq!(
            made, written,
            "docs/MODELS.md: `UPDATE_DOCS=1 cargo test -p servers --test models_md`"
        );
    }
    assert_eq!(made.lines().count(), page.lines().count());
}

#[test]
fn unfinished_calls_are_joined_and_repeats_are_told_once() {
    let log = "7 socket(AF_INET, SOCK_STREAM) = 3\n7 accept4(3, <unfinished ...>\n8 close(9) = 0\n7 <... accept4 resumed>NULL, NULL) = 4\n\
        7 recvfrom(4, 0x1, 65536) = -1 EAGAIN (Resource temporarily unavailable)\n7 accept4(3, NULL) = -1 EAGAIN (x)\n\
        7 recvfrom(4, 0x1, 65536) = -1 EAGAIN (x)\n7 accept4(3, NULL) = -1 EAGAIN (x)\n7 recvfrom(4, \"a) = 9\", 65536) = 5\n";
    let Parts { start, connection } = Parts::read(log, 40, &MODELS[0]);
    assert_eq!(start["main"], ["socket() = listener"]);
    let lines = collapsed(&connection["main"]);
    assert_eq!(
        lines,
        [
            "accept4(listener) = connection",
            "recvfrom(connection) = EAGAIN",
            "accept4(listener) = EAGAIN …",
            "recvfrom(connection) = 5"
        ]
    );
    assert!(!connection.contains_key("worker"), "close of nothing known");
}

fn has(tool: &str) -> bool {
    let mut command = Command::new("sh");
    let found = command
        .args(["-c", &format!("command -v {tool}")])
        .stdout(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}

/// The completed calls of each task, in the order of their completion.
type Calls = BTreeMap<&'static str, Vec<String>>;

/// Before and after the client came.
struct Parts {
    start: Calls,
    connection: Calls,
}

fn calls_of(model: &Model) -> Result<Parts, String> {
    let dir = tempfile::tempdir().unwrap();
    let log: PathBuf = dir.path().join("log");
    let words = [
        "strace",
        "-f",
        "-qq",
        "-o",
        log.to_str().unwrap(),
        "-e",
        CALLS,
    ];
    let mut spawn = spawn(model.name).under(&words);
    if model.takes("workers") {
        spawn = spawn.arg("--workers").arg(1);
    }
    let mut server = spawn.try_start()?;
    server.settle();
    let rest = || std::thread::sleep(Duration::from_millis(100));
    let before = std::fs::metadata(&log).unwrap().len();
    let mut client = server.connect();
    server.wait_for("it is accepted", |tally| tally.accepted == 1);
    rest();
    client.write_all(b"hello").unwrap();
    assert_received(&mut client, b"hello");
    rest();
    drop(client);
    server.wait_for("it is closed", |tally| tally.closed == 1);
    rest();
    rest();
    let text = std::fs::read_to_string(&log).unwrap();
    server.end();
    Ok(Parts::read(&text, before as usize, model))
}

impl Parts {
    /// What completed after so many bytes of the log belongs to the connection.
    fn read(log: &str, before: usize, model: &Model) -> Parts {
        let (mut start, mut connection) = (Calls::new(), Calls::new());
        let mut names = Names::new(model);
        let (mut main, mut unfinished) = (None, BTreeMap::new());
        let mut started = false;
        let mut end = 0;
        // A line that is not whole yet is a call that has not returned.
        for line in log
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
        {
            end += line.len();
            let Some((task, text)) = line.trim_end().split_once(' ') else {
                continue;
            };
            let is_main = *main.get_or_insert(task) == task;
            let text = text.trim_start();
            if let Some(begun) = text.strip_suffix("<unfinished ...>") {
                unfinished.insert(task, begun.to_owned());
                continue;
            }
            let whole = match text.split_once(" resumed>") {
                Some((_, rest)) => unfinished.remove(task).unwrap_or_default() + rest,
                None => text.to_owned(),
            };
            // Before it makes something to wait at, every program does the same.
            started |= ["socket(", "epoll_create1(", "io_uring_setup("]
                .iter()
                .any(|call| whole.starts_with(call));
            if !started {
                continue;
            }
            let part = match end > before {
                true => &mut connection,
                false => &mut start,
            };
            if let Some(call) = names.told(&whole) {
                let task = if is_main { "main" } else { "worker" };
                let calls = part.entry(task).or_default();
                // A sweep that found nobody yet is no part of the connection.
                if end <= before || !(calls.is_empty() && call.ends_with("= EAGAIN")) {
                    calls.push(call);
                }
            }
        }
        Parts { start, connection }
    }
}

/// What descriptors are called.
struct Names<'m> {
    model: &'m Model,
    by_fd: BTreeMap<String, &'static str>,
}

impl Names<'_> {
    fn new(model: &Model) -> Names<'_> {
        Names {
            model,
            by_fd: BTreeMap::new(),
        }
    }

    /// A completed call as the page shows it; none if it is not shown.
    fn told(&mut self, call: &str) -> Option<String> {
        let (name, rest) = call.split_once('(')?;
        let (arguments, result) = rest.rsplit_once(" = ")?;
        let mut words = result.split_whitespace();
        let value = words.next()?;
        let result = match value {
            "-1" | "?" => words.next().unwrap_or(value),
            value => value,
        };
        let argument = |at: usize| {
            arguments
                .split(", ")
                .nth(at)
                .map_or("", |word| word.trim_end_matches([')', ' ']))
        };
        let named = match name {
            "socket" => Some("listener"),
            "accept4" => Some("connection"),
            "epoll_create1" => Some("epoll"),
            "io_uring_setup" => Some("ring"),
            _ => None,
        };
        if let Some(named) = named.filter(|_| value.parse::<u32>().is_ok()) {
            self.by_fd.insert(value.to_owned(), named);
        }
        if name == "fcntl" && argument(1).starts_with("F_DUPFD") {
            let original = self.by_fd.get(argument(0)).copied();
            self.by_fd
                .extend(original.map(|name| (value.to_owned(), name)));
        }
        let fd = |at: usize| self.by_fd.get(argument(at)).copied();
        // What makes the descriptor never block.
        let flag = |before: &str| match arguments.contains("SOCK_NONBLOCK") {
            true => format!("{before}SOCK_NONBLOCK"),
            false => String::new(),
        };
        let rings = self.model.readiness == Readiness::Completion;
        Some(match name {
            "socket" => format!("socket({}) = listener", flag("")),
            "epoll_create1" | "io_uring_setup" => format!("{name}() = {}", named?),
            "accept4" => {
                let result = named
                    .filter(|_| value.parse::<u32>().is_ok())
                    .unwrap_or(result);
                format!("accept4({}{}) = {result}", fd(0)?, flag(", "))
            }
            "recvfrom" | "sendto" => format!("{name}({}) = {result}", fd(0)?),
            "bind" | "listen" | "shutdown" => format!("{name}({})", fd(0)?),
            // It came through the ring, where strace does not see it.
            "close" if rings && fd(0).is_none() => "close(connection)".to_owned(),
            "close" => format!("close({})", fd(0)?),
            "epoll_ctl" => format!("epoll_ctl({}, {}, {})", fd(0)?, argument(1), fd(2)?),
            // Which of its threads waits depends on who was faster.
            "epoll_wait" | "epoll_pwait" if self.model.unit == Unit::SpreadTask => return None,
            "epoll_wait" | "epoll_pwait" => format!("epoll_wait({}) = {result}", fd(0)?),
            "io_uring_enter" => "io_uring_enter(ring)".to_owned(),
            "poll" | "ppoll" => format!("poll() = {result}"),
            "select" | "pselect6" => format!("select() = {result}"),
            "clone" | "clone3" | "fork" | "vfork" => "clone() = worker".to_owned(),
            "wait4" if value.parse::<u32>().is_ok_and(|pid| pid > 0) => {
                "wait4() = worker".to_owned()
            }
            "wait4" => format!("wait4() = {result}"),
            "exit" | "exit_group" => format!("{name}()"),
            _ => return None,
        })
    }
}

/// One line, or two in turn, that come again and again are told once.
fn collapsed(lines: &[String]) -> Vec<String> {
    let (mut told, mut rest): (Vec<String>, _) = (Vec::new(), lines);
    while !rest.is_empty() {
        let repeats = |size: usize| {
            let group = rest.get(..size)?;
            let more = rest.chunks(size).skip(1).take_while(|next| *next == group);
            Some(more.count()).filter(|more| *more > 0)
        };
        let (size, more) = match (repeats(1), repeats(2)) {
            (Some(more), _) => (1, more),
            (None, Some(more)) => (2, more),
            (None, None) => (1, 0),
        };
        told.extend(rest[..size].iter().cloned());
        if let (Some(last), true) = (told.last_mut(), more > 0) {
            last.push_str(" …");
        }
        rest = &rest[size * (1 + more)..];
    }
    told
}

fn heading(model: &Model) -> String {
    format!("\n## `{}`\n", model.name)
}

fn section(model: &Model, calls: &Parts) -> String {
    let mut text = heading(model);
    let man: BTreeSet<&str> = model.man.iter().copied().collect();
    let man: Vec<&str> = man.into_iter().collect();
    let _ = writeln!(
        text,
        "\n{}: {}.\nReadiness: {} · unit: {} · {} · placement: {}.\nIts wall: {}. See {}.",
        model.family,
        model.summary,
        model.readiness,
        model.unit,
        model.accept,
        model.placement,
        model.wall,
        man.join(", ")
    );
    if model.readiness == Readiness::Completion {
        text += "\nThe ring carries IORING_OP_ACCEPT, IORING_OP_RECV and IORING_OP_SEND, which are no system calls.\n";
    }
    for (title, part) in [
        ("Start", &calls.start),
        ("One connection", &calls.connection),
    ] {
        let _ = writeln!(text, "\n{title}:\n\n```text");
        for (task, lines) in part {
            for line in collapsed(lines) {
                let _ = writeln!(text, "{task:<7} {line}");
            }
        }
        text += "```\n";
    }
    text
}

/// The section of a model in a page that has one.
fn section_in<'p>(page: &'p str, model: &Model) -> &'p str {
    let Some(start) = page.find(&heading(model)) else {
        return "";
    };
    let rest = &page[start..];
    let end = rest[1..].find("\n## ").map_or(rest.len(), |end| end + 1);
    &rest[..end]
}
