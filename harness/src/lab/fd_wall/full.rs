//! A server that may have few descriptors, and clients enough to use them all.

use super::{CLIENTS, NOFILE};
use crate::base::unit::Unit;
use crate::lab::finding::Line;
use crate::lab::tools::client::{Client, answered};
use crate::lab::tools::draw;
use crate::lab::trouble::During;
use crate::lab::{Place, Trouble};
use crate::render::chart::Chart;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Who is inside is answered in less.
const SOON: Duration = Duration::from_secs(1);
/// Long enough for a server to have finished starting, if nothing changes meanwhile.
const SETTLING: Duration = Duration::from_millis(200);
/// For so long failures are counted.
const WATCHED: Duration = Duration::from_secs(2);
/// Who was outside gets in when the longest pause is over.
const LATER: Duration = Duration::from_secs(5);

/// What a server did that had no descriptor left.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Full {
    /// Descriptors below the limit that it had before the first client came.
    pub own_descriptors: usize,
    /// Clients that were served.
    pub served: usize,
    /// Clients that were served when the first had left.
    pub served_later: usize,
    /// How often accept failed.
    pub failures: u64,
    /// From the first client on, s.
    pub failing_s: f64,
    /// What that cost, s.
    pub cpu_s: f64,
}

impl Full {
    /// Who was served.
    pub fn lines(&self, which: &str) -> Vec<Line> {
        let room = NOFILE.saturating_sub(self.own_descriptors);
        let inside = Line::judged(
            format!("{which}: clients served, of {CLIENTS}"),
            format!("{room} ({NOFILE} less its own {})", self.own_descriptors),
            self.served.to_string(),
            self.served == room,
        );
        let later = Line::equal(
            format!("{which}: the others, once those have left"),
            &(CLIENTS - self.served),
            &self.served_later,
        );
        vec![inside, later]
    }

    /// Failures of accept per second.
    pub fn per_s(&self) -> f64 {
        self.failures as f64 / self.failing_s.max(0.001)
    }

    /// Failures of accept, in words.
    pub fn often(&self) -> String {
        format!(
            "{} times in {:.1} s",
            Unit::Count.words(self.failures as f64),
            self.failing_s
        )
    }

    /// Of one CPU.
    pub fn cpu_percent(&self) -> f64 {
        100.0 * self.cpu_s / self.failing_s.max(0.001)
    }
}

/// The bars.
pub fn chart(backs_off: &Full, naive: &Full) -> Option<Chart> {
    let texts = draw::texts(
        "Without a pause, accept fails as fast as the CPU allows",
        "64 descriptors are in use, and clients wait in the listen queue",
        "Each failure is a system call, and a turn of the loop, that cannot do anything.",
    );
    let bars = [("backing off", backs_off), ("naive", naive)];
    let bars = bars
        .map(|(label, full)| (label.to_string(), full.per_s()))
        .into();
    draw::bars(
        "fd-wall",
        texts,
        "failures of accept(2) per second",
        Unit::Count,
        bars,
    )
}

/// Measures one.
pub fn of(place: &Place, flags: &[&str]) -> Result<Full, Trouble> {
    let nofile = NOFILE.to_string();
    let server = place.serve("epoll", &[&["--nofile", &nofile], flags].concat())?;
    let own_descriptors = settled_descriptors(server.pid)?;
    let (began, cpu_before) = (Instant::now(), server.cpu_s()?);
    let mut clients = Client::several(CLIENTS, server.addr)?;
    for client in &mut clients {
        client.send(b"?")?;
    }
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for mut client in clients {
        // Accepting goes on in order: after the first who waits, all wait.
        match outside.is_empty() && client.is_answered(1, Instant::now() + SOON) {
            true => inside.push(client),
            false => outside.push(client),
        }
    }
    std::thread::sleep(WATCHED);
    let (failures, failing_s) = (server.tally().accept_errors, began.elapsed().as_secs_f64());
    let cpu_s = server.cpu_s()? - cpu_before;
    let served = inside.len();
    drop(inside);
    let served_later = answered(&mut outside, Instant::now() + LATER);
    Ok(Full {
        own_descriptors,
        served,
        served_later,
        failures,
        failing_s,
        cpu_s,
    })
}

/// How many descriptors below the limit a server has that has finished starting: it says that it listens a moment
/// earlier. The limit is one on their numbers: what it has inherited above takes up no room.
fn settled_descriptors(pid: u32) -> Result<usize, Trouble> {
    let folder = format!("/proc/{pid}/fd");
    let count = || -> Result<usize, Trouble> {
        let open = std::fs::read_dir(&folder).during("count the server's descriptors")?;
        let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse::<usize>().ok();
        let numbers = open.flatten().filter_map(number);
        Ok(numbers.filter(|number| *number < NOFILE).count())
    };
    let mut before = count()?;
    loop {
        std::thread::sleep(SETTLING);
        let now = count()?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

/// How often a loop fails in so many seconds that pauses 1 ms, twice as long after each failure, and a second at most.
pub fn most_failures(seconds: f64) -> u64 {
    let (mut failures, mut at_s, mut pause_s) = (0, 0.0, 0.001);
    while at_s <= seconds {
        failures += 1;
        at_s += pause_s;
        pause_s = f64::min(pause_s * 2.0, 1.0);
    }
    failures
}
