//! What a run stands on, taken away while it goes on: the clock, memory, CPUs, descriptors.

use super::Amount;
use super::place::{Ended, Place, descendants};
use super::table::Line;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

const WORDS: &str = "--conns 20 --repeat 2 --warmup 50ms --duration 200ms --format json";
const MODELS: [&str; 4] = ["epoll", "process", "thread", "tokio"];

pub fn surroundings(place: &Place, amount: Amount, seed: u64) -> Vec<Line> {
    let times = amount.of(1, 10);
    let mut lines = vec![
        clock(place, times),
        memory(place, times),
        cpus(place, times, seed),
        descriptors(place, times),
    ];
    for line in &mut lines {
        let what = line.fault.clone();
        place.book_leftovers(line, &what);
        place.book_namespaces(line);
    }
    lines
}

fn words(i: usize) -> String {
    format!("--model {} {WORDS}", MODELS[i % MODELS.len()])
}

/// Books a run that must have been made, with figures that can be.
fn book_made(place: &Place, line: &mut Line, what: &str, ended: &Ended) {
    place.book(line, what, ended, None);
    let run: Value = serde_json::from_str(&ended.out).unwrap_or_default();
    let rows = run["trials"].as_array().cloned().unwrap_or_default();
    let is_negative = |value: &Value| value.as_f64().is_some_and(|figure| figure < 0.0);
    // A drift has two directions.
    let columns = rows.iter().flat_map(|row| row.as_object().unwrap());
    let negative = columns.filter(|(column, _)| !column.ends_with("_drift"));
    let negative: Vec<&String> = negative
        .filter(|(_, v)| is_negative(v))
        .map(|(k, _)| k)
        .collect();
    if rows.is_empty() || !negative.is_empty() {
        line.damaged += 1;
        let why = format!("{} rows, negative {negative:?}", rows.len());
        line.faults
            .push(format!("{what}: {why}: {}", ended.in_words()));
    }
}

/// Books a run that may be refused, with words that name what is short.
fn book_refused(place: &Place, line: &mut Line, what: &str, ended: &Ended, named: &[&str]) {
    if ended.code() == Some(0) {
        return book_made(place, line, what, ended);
    }
    place.book(line, what, ended, None);
    let all = format!("{}{}", ended.out, ended.err);
    if !named.iter().any(|word| all.contains(word)) {
        line.unsaid += 1;
        line.faults.push(format!(
            "{what}: none of {named:?} is said: {}",
            ended.in_words()
        ));
    }
}

/// A library that comes between a program and its clock: CLOCK_REALTIME jumps every tenth of a second.
const CLOCK: &str = "#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *t) {
    static const long jumps[] = {0, -3600, 3600, -30L * 86400, 365L * 86400};
    int result = (int)syscall(SYS_clock_gettime, id, t);
    if (result == 0 && id == CLOCK_REALTIME) {
        struct timespec m;
        syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &m);
        t->tv_sec += jumps[(m.tv_sec * 10 + m.tv_nsec / 100000000) % 5];
    }
    return result;
}
";

fn clock(place: &Place, times: usize) -> Line {
    let fault = "the clock is set back and forth";
    let (source, library) = (place.path("clock.c"), place.path("clock.so"));
    fs::write(&source, CLOCK).unwrap();
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .output();
    if !built.is_ok_and(|output| output.status.success()) {
        return Line::skipped(fault, "needs a C compiler");
    }
    let how = "CLOCK_REALTIME of all programs jumps by an hour, a month, a year ten times a second (a library comes \
               between: setting the machine's own would disturb others)";
    let mut line = Line::new(fault, how);
    for i in 0..times {
        let mut command = place.tenk_into(&words(i), "clock");
        let ended = place.run(command.env("LD_PRELOAD", &library), |_| ());
        let what = format!("a jumping clock, {}", MODELS[i % MODELS.len()]);
        book_made(place, &mut line, &what, &ended);
        book_report(place, &mut line, &what);
    }
    line
}

/// The run can be read back whatever times it was given.
fn book_report(place: &Place, line: &mut Line, what: &str) {
    for folder in fs::read_dir(place.path("clock"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let mut report = place.tenk("report");
        let read = place.run(report.arg(folder.path()), |_| ());
        if read.code() != Some(0) {
            line.damaged += 1;
            line.faults
                .push(format!("{what}: report: {}", read.in_words()));
        }
    }
    let _ = fs::remove_dir_all(place.path("clock"));
}

/// A memory group with a limit; none where none can be made.
fn limited(bytes: u64) -> Option<PathBuf> {
    for (controller, file) in [("memory", "memory.limit_in_bytes"), ("", "memory.max")] {
        let Some(own) = harness::base::control_group::own(controller) else {
            continue;
        };
        let group = own.join(format!("limit-{bytes}"));
        let made =
            fs::create_dir(&group).and_then(|()| fs::write(group.join(file), bytes.to_string()));
        match made {
            Ok(()) => return Some(group),
            Err(_) => drop(fs::remove_dir(&group)),
        }
    }
    None
}

fn memory(place: &Place, times: usize) -> Line {
    let fault = "64 MiB of memory for everything";
    let Some(group) = limited(64 << 20) else {
        return Line::skipped(fault, "no control group with a memory limit can be made");
    };
    let mut line = Line::new(
        fault,
        "a control group around tenk, the generator and the server",
    );
    let script = format!(
        "echo $$ >{}/cgroup.procs && exec \"$0\" \"$@\"",
        group.display()
    );
    for i in 0..times {
        let mut command = place.command("sh");
        command.args(["-c", &script]).arg(place.program("tenk"));
        command
            .args(words(i).split(' '))
            .arg("--results")
            .arg(place.path("memory"));
        // The kernel may end the generator or the server; tenk then says so.
        let ended = place.run(&mut command, |_| ());
        let what = format!("64 MiB, {}", MODELS[i % MODELS.len()]);
        book_refused(place, &mut line, &what, &ended, &["memory"]);
    }
    for _ in 0..100 {
        if fs::remove_dir(&group).is_ok() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    line
}

fn cpus(place: &Place, times: usize, seed: u64) -> Line {
    let how = "sched_setaffinity of all its processes to one CPU, at a random moment";
    let mut line = Line::new("CPUs are taken away", how);
    let mut random = fastrand::Rng::with_seed(seed);
    for i in 0..times {
        let moment = Duration::from_millis(random.u64(100..1500));
        let started = Instant::now();
        let mut is_done = false;
        let ended = place.run(&mut place.tenk_into(&words(i), "cpus"), |tenk| {
            if !is_done && started.elapsed() > moment {
                is_done = true;
                let mut one = CpuSet::new();
                one.set(i % 2).unwrap();
                for pid in descendants(tenk, &[]).into_iter().chain([tenk]) {
                    // It may have ended by itself.
                    let _ = sched_setaffinity(Pid::from_raw(pid as i32), &one);
                }
            }
        });
        let what = format!("one CPU after {moment:?}, {}", MODELS[i % MODELS.len()]);
        book_refused(place, &mut line, &what, &ended, &["CPU"]);
    }
    line
}

fn descriptors(place: &Place, times: usize) -> Line {
    let mut line = Line::new(
        "64 descriptors for every process",
        "`ulimit -n 64`, 200 connections",
    );
    let script = "ulimit -n 64 && exec \"$0\" \"$@\"";
    for i in 0..times {
        let mut command = place.command("sh");
        command.args(["-c", script]).arg(place.program("tenk"));
        let words = words(i).replace("--conns 20", "--conns 200 --ramp-timeout 2s");
        command
            .args(words.split(' '))
            .arg("--results")
            .arg(place.path("descriptors"));
        let ended = place.run(&mut command, |_| ());
        let what = format!("64 descriptors, {}", MODELS[i % MODELS.len()]);
        book_refused(
            place,
            &mut line,
            &what,
            &ended,
            &["descriptor", "EMFILE", "ulimit -n"],
        );
    }
    line
}
