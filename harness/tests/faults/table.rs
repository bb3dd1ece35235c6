//! What was tried and what was left: one line per kind of fault.

use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeSet;
use std::path::Path;

/// One kind of fault.
#[derive(Debug, Clone, Default)]
pub struct Line {
    /// What failed.
    pub fault: String,
    /// How it was made to fail.
    pub how: String,
    /// How often.
    pub times: usize,
    /// Runs that had not ended after the limit, or used more CPU time than any run has need for.
    pub hung: usize,
    /// Runs that ended with a panic or by a signal that nobody sent.
    pub panicked: usize,
    /// Processes that outlived a run.
    pub processes: usize,
    /// Control groups that the next run did not find and remove; none where none can be made here.
    pub groups: Option<usize>,
    /// Namespaces that something still holds.
    pub namespaces: usize,
    /// Temporary folders and files that the next run did not find and remove.
    pub temporary: usize,
    /// Results that were neither whole nor absent, or old ones that changed.
    pub damaged: usize,
    /// Runs that failed without a word on what failed and why, or without the table of what they had measured.
    pub unsaid: usize,
    /// Where a library gave up, which tenk said in one sentence, once per time.
    pub gave_up: Vec<String>,
    /// Why less was tried than asked for.
    pub note: String,
    /// Everything that went wrong, a sentence each.
    pub faults: Vec<String>,
}

impl Line {
    pub fn new(fault: impl Into<String>, how: impl Into<String>) -> Line {
        Line {
            fault: fault.into(),
            how: how.into(),
            ..Line::default()
        }
    }

    /// A part that cannot be tried here.
    pub fn skipped(fault: &str, why: impl Into<String>) -> Line {
        let why = why.into();
        eprintln!("skipped: {fault}: {why}");
        Line {
            note: format!("not tried: {why}"),
            ..Line::new(fault, "")
        }
    }

    fn left(&self) -> [String; 8] {
        let groups = self.groups.map_or("n/a".to_string(), |n| n.to_string());
        [
            self.hung.to_string(),
            self.panicked.to_string(),
            self.processes.to_string(),
            groups,
            self.namespaces.to_string(),
            self.temporary.to_string(),
            self.damaged.to_string(),
            self.unsaid.to_string(),
        ]
    }

    fn row(&self) -> String {
        let gave_up = self.gave_up_in_words();
        let how = [self.how.as_str(), self.note.as_str(), gave_up.as_str()];
        let how: Vec<&str> = how.into_iter().filter(|text| !text.is_empty()).collect();
        let cells = [self.fault.clone(), how.join("; "), self.times.to_string()];
        let cells: Vec<String> = cells.into_iter().chain(self.left()).collect();
        format!("| {} |", cells.join(" | "))
    }

    fn gave_up_in_words(&self) -> String {
        if self.gave_up.is_empty() {
            return String::new();
        }
        let places: BTreeSet<&String> = self.gave_up.iter().collect();
        let places: Vec<String> = places.iter().map(|place| format!("`{place}`")).collect();
        format!(
            "{} ended by a library that gave up, said in one sentence ({})",
            self.gave_up.len(),
            places.join(", ")
        )
    }

    pub fn in_words(&self) -> String {
        let mut text = format!(
            "{}: tried {} times; hung, panicked, processes, groups, namespaces, temporary, damaged, unsaid: {} {} {}",
            self.fault,
            self.times,
            self.left().join(" "),
            self.note,
            self.gave_up_in_words()
        );
        for fault in &self.faults {
            text.push_str(&format!("\n  {fault}"));
        }
        text
    }
}

/// All of them.
pub struct Table {
    seed: u64,
    pub lines: Vec<Line>,
}

const OPENING: &str = "\
# When the ground gives way

What tenk, its load generator and its servers leave behind when they are killed, when their disks fill up, when their
system calls fail and when what they read back is not what they wrote. Expected is 0 in every column behind *times*.

    UPDATE_DOCS=1 cargo test -p harness --test faults -- --ignored --nocapture full    # writes this page, or, with
    TENK_FAULTS=disk,calls.tenk in front (kill, disk, calls, surroundings, hostile), the rows of these parts

*hung*: not over after a minute, or busy for longer than any run has need for. *panicked*: ended by a panic of ours, or
by a signal that nobody sent; where a library below panics, tenk says so in one sentence with its cause, ends its
children, keeps what was measured, and ends with exit code 1: that is told beside, as a library that gave up.
*processes*: outlived their run. *groups*, *temporary*: control groups, temporary folders and half-written files that
neither the run nor the next one removed. *namespaces*: held by anything. *damaged*: a result that is neither whole nor
absent, or an old one that changed. *unsaid*: ended with an error that does not name what failed and why, or without the
table of what had been measured.
";

const HEADER: &str = "\
| fault | how | times | hung | panicked | processes | groups | namespaces | temporary | damaged | unsaid |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
";

impl Table {
    pub fn new(seed: u64) -> Table {
        Table {
            seed,
            lines: Vec::new(),
        }
    }

    pub fn markdown(&self) -> String {
        let rows: Vec<String> = self.lines.iter().map(Line::row).collect();
        format!("{HEADER}{}\n", rows.join("\n"))
    }

    /// Writes docs/FAULTS.md; rows of faults that were not tried this time stay, and so do the sections behind the table.
    pub fn write_document(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/FAULTS.md");
        // Others may try other parts at the same time.
        let file = std::fs::File::open(&path).unwrap();
        let _locked = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let (_, rest) = before.split_once(HEADER).unwrap_or_default();
        let rows = rest.lines().take_while(|line| line.starts_with('|'));
        let mut rows: Vec<String> = rows.map(str::to_string).collect();
        for line in &self.lines {
            let is_same = |row: &&mut String| row.starts_with(&format!("| {} |", line.fault));
            match rows.iter_mut().find(is_same) {
                Some(row) => *row = line.row(),
                None => rows.push(line.row()),
            }
        }
        let times = |row: &String| row.split(" | ").nth(2)?.parse::<usize>().ok();
        let all: usize = rows.iter().filter_map(times).sum();
        let sections = before.find("\n## ").map_or("", |at| &before[at..]);
        let text = format!(
            "{OPENING}\n{HEADER}{}\n\n{all} faults, seed {}. {CLOSING}{sections}",
            rows.join("\n"),
            self.seed
        );
        std::fs::write(path, text).unwrap();
    }
}

const CLOSING: &str = "\
Calls with which results are written are counted and failed by a tracer (x86-64) that knows them by their path; all
others by strace, which counts the calls of each process and thread apart, so that a fault in every process of a run strikes
each that makes so many calls. Failed nowhere: memory calls (`mmap`, `brk`, …), which the language's runtime answers by ending the
program, its own start-up calls, and `close`, which no kernel leaves undone. tokio has no error for a waker that cannot
write to its eventfd and panics, which no real kernel brings about; the pair of sockets that it needs is tried before it
asks for one, so that a shortage of descriptors is an error like any other. Hostile files are mutations at random,
without a look at which code they reach; what is parsed of servers and outcomes has fuzz targets beside
(`loadgen/fuzz`).
";
