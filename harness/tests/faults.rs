//! When the ground gives way: tenk, its generator and its servers are killed, their disks fill up, their system calls
//! fail, the clock jumps, memory, CPUs and descriptors run short, and what is read back is not what was written. After
//! every fault it is counted what was left behind.
//!
//! `cargo test -p harness --test faults -- --ignored full` tries everything and, with `UPDATE_DOCS=1`, writes the table
//! in docs/FAULTS.md (rows of what is not tried stay), part by part; `… shortened` tries a part of each, for CI.
//! `TENK_FAULTS_SEED` moves the moments and the choices; `TENK_FAULTS=kill,disk,calls,surroundings,hostile` names the
//! parts, `disk.ENOSPC` or `calls.tenk` a piece of one, so that several programs can share the work.

#[path = "faults/calls.rs"]
mod calls;
#[path = "faults/disk.rs"]
mod disk;
#[path = "faults/groups.rs"]
mod groups;
#[path = "faults/hostile.rs"]
mod hostile;
#[path = "faults/kills.rs"]
mod kills;
#[path = "faults/mounts.rs"]
mod mounts;
#[path = "faults/noise.rs"]
mod noise;
#[path = "faults/place.rs"]
mod place;
#[path = "faults/surroundings.rs"]
mod surroundings;
#[path = "faults/table.rs"]
mod table;
#[path = "faults/tracer.rs"]
mod tracer;

use place::Place;
use std::time::Instant;
use table::{Line, Table};

/// How much of everything is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// A part of each kind.
    Shortened,
    /// All of it.
    Full,
}

impl Amount {
    /// The number for one or the other.
    fn of(self, shortened: usize, full: usize) -> usize {
        match self {
            Amount::Shortened => shortened,
            Amount::Full => full,
        }
    }
}

#[test]
#[ignore = "up to seven minutes; .ci/run runs it"]
fn shortened() {
    assert_nothing_left(&tried(Amount::Shortened));
}

#[test]
#[ignore = "a quarter of an hour on an idle machine; with UPDATE_DOCS=1 it writes docs/FAULTS.md"]
fn full() {
    assert_nothing_left(&tried(Amount::Full));
}

/// Whether a piece of a part is to be tried: `part` and `part.piece` ask for it, and so does nothing.
fn is_asked(part: &str, piece: &str) -> bool {
    let asked = std::env::var("TENK_FAULTS").unwrap_or_default();
    let piece = format!("{part}.{piece}");
    asked.is_empty() || asked.split(',').any(|word| word == part || word == piece)
}

/// Whether anything of a part is to be tried.
fn is_any_asked(part: &str) -> bool {
    let asked = std::env::var("TENK_FAULTS").unwrap_or_default();
    let mut words = asked.split(',').map(|word| word.split('.').next());
    asked.is_empty() || words.any(|word| word == Some(part))
}

/// Tries the parts that were asked for, each in a place of its own.
fn tried(amount: Amount) -> Table {
    type Part = fn(&Place, Amount, u64) -> Vec<Line>;
    const PARTS: [(&str, Part); 5] = [
        ("kill", kills::kills),
        ("disk", disk::disk),
        ("calls", calls::calls),
        ("surroundings", surroundings::surroundings),
        ("hostile", hostile::hostile),
    ];
    let seed = std::env::var("TENK_FAULTS_SEED").map_or(1, |text| text.parse().expect("a number"));
    let mut table = Table::new(seed);
    let place = Place::new();
    for (name, part) in PARTS.into_iter().filter(|(name, _)| is_any_asked(name)) {
        eprintln!("== {name} (seed {seed})");
        let began = Instant::now();
        for line in part(&place, amount, seed) {
            eprintln!("{}", line.in_words());
            table.lines.push(line);
        }
        eprintln!("{name} took {:.0} s", began.elapsed().as_secs_f64());
        if amount == Amount::Full && std::env::var_os("UPDATE_DOCS").is_some() {
            table.write_document();
        }
    }
    println!("{}", table.markdown());
    table
}

fn assert_nothing_left(table: &Table) {
    let faults: Vec<&String> = table.lines.iter().flat_map(|line| &line.faults).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
