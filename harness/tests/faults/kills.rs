//! SIGKILL of tenk, of its generator, of its server, of the process that starts the server, at moments spread over a whole run.

use super::Amount;
use super::place::{Ended, Place, descendants, not_whole};
use super::table::Line;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::time::{Duration, Instant};

/// Models of every kind: one process, many, threads, and those that are started by a launcher.
const MODELS: [&str; 5] = ["epoll", "process", "prefork", "thread", "reuseport"];

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Tenk,
    Generator,
    Server,
    Supervisor,
}

pub fn kills(place: &Place, amount: Amount, seed: u64) -> Vec<Line> {
    let times = amount.of(4, 34);
    let mut random = fastrand::Rng::with_seed(seed);
    let victims = [
        Victim::Tenk,
        Victim::Generator,
        Victim::Server,
        Victim::Supervisor,
    ];
    let mut lines = Vec::new();
    for victim in victims {
        let what = match victim {
            Victim::Tenk => "SIGKILL of tenk",
            Victim::Generator => "SIGKILL of the load generator",
            Victim::Server => "SIGKILL of the server",
            Victim::Supervisor => "SIGKILL of the server's supervisor",
        };
        let how = format!("at a random moment of a run; {}", MODELS.join(", "));
        let mut line = Line::new(what, how);
        let mut length = [Duration::ZERO; MODELS.len()];
        for i in 0..times {
            let at = i % MODELS.len();
            if length[at].is_zero() {
                length[at] = undisturbed(place, MODELS[at], &mut line);
            }
            let moment = length[at].mul_f64(random.f64());
            one(place, &mut line, victim, MODELS[at], moment);
        }
        place.book_namespaces(&mut line);
        lines.push(line);
    }
    lines
}

fn words(model: &str) -> String {
    format!("--model {model} --conns 20 --repeat 2 --warmup 50ms --duration 200ms")
}

/// How long a run takes that nobody kills.
fn undisturbed(place: &Place, model: &str, line: &mut Line) -> Duration {
    let ended = place.run(&mut place.tenk_into(&words(model), "results"), |_| ());
    if ended.status.is_none() {
        line.faults
            .push(format!("undisturbed {model}: {}", ended.in_words()));
    }
    ended.took
}

fn one(place: &Place, line: &mut Line, victim: Victim, model: &str, moment: Duration) {
    let results = place.path("killed");
    let _ = fs::remove_dir_all(&results);
    let started = Instant::now();
    let mut is_killed = false;
    let ended = place.run(&mut place.tenk_into(&words(model), "killed"), |tenk| {
        if is_killed || started.elapsed() < moment {
            return;
        }
        // It may not have been started yet; then it is killed as it starts.
        let pid = match victim {
            Victim::Tenk => Some(tenk),
            Victim::Generator => descendants(tenk, &["loadgen"]).first().copied(),
            Victim::Server => descendants(tenk, &[model]).first().copied(),
            Victim::Supervisor => supervisor(tenk, model),
        };
        if let Some(pid) = pid {
            is_killed = kill(Pid::from_raw(pid as i32), Signal::SIGKILL).is_ok();
        }
    });
    let what = format!("{victim:?} of {model} after {:.3} s", moment.as_secs_f64());
    let sent = (victim == Victim::Tenk).then_some(Signal::SIGKILL);
    place.book(line, &what, &ended, sent);
    book_results(place, line, &what, victim, &ended);
    place.book_leftovers(line, &what);
}

/// The process of tenk between tenk and a server, once that runs.
fn supervisor(tenk: u32, model: &str) -> Option<u32> {
    let has_server = |pid: &u32| !descendants(*pid, &[model]).is_empty();
    descendants(tenk, &["tenk"]).into_iter().find(has_server)
}

/// What had been measured is whole, readable, and not taken for a whole run.
fn book_results(place: &Place, line: &mut Line, what: &str, victim: Victim, ended: &Ended) {
    let results = place.path("killed");
    let is_killed = victim == Victim::Tenk;
    let damaged = not_whole(&results, is_killed);
    line.damaged += damaged.len();
    let named = damaged
        .iter()
        .map(|file| format!("{what}: {file} is not whole"));
    line.faults.extend(named);
    // A server that was killed has crashed; the words of the run say so.
    if !is_killed && !matches!(ended.code(), Some(0 | 1)) {
        line.unsaid += 1;
        line.faults.push(format!("{what}: {}", ended.in_words()));
    }
    let Some(folder) = fs::read_dir(&results).ok().and_then(|mut d| d.next()?.ok()) else {
        return;
    };
    let mut report = place.tenk("report");
    report.arg(folder.path());
    let read = place.run(&mut report, |_| ());
    // Nothing to read is said; everything else is read.
    let is_read = match folder.path().join("trials.jsonl").exists() {
        true => read.code() == Some(0) || read.err.contains("trials.jsonl"),
        false => matches!(read.code(), Some(1 | 2)),
    };
    if !is_read {
        line.damaged += 1;
        line.faults
            .push(format!("{what}: report: {}", read.in_words()));
    }
}
