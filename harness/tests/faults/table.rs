//! What was tried and what was left: one line per kind of fault.

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
        let how = [self.how.as_str(), self.note.as_str()];
        let how: Vec<&str> = how.into_iter().filter(|text| !text.is_empty()).collect();
        let cells = [self.fault.clone(), how.join("; "), self.times.to_string()];
        let cells: Vec<String> = cells.into_iter().chain(self.left()).collect();
        format!("| {} |", cells.join(" | "))
    }

    pub fn in_words(&self) -> String {
        let mut text = format!(
            "{}: tried {} times; hung, panicked, processes, groups, namespaces, temporary, damaged, unsaid: {} {}",
            self.fault,
            self.times,
            self.left().join(" "),
            self.note
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

    UPDATE_DOCS=1 cargo test -p harness --test faults -- --ignored --nocapture full    # writes this page

*hung*: not over after a minute, or busy for longer than any run has need for. *panicked*: ended by a panic, or by a
signal that nobody sent. *processes*: outlived their run. *groups*, *temporary*: control groups, temporary folders and
half-written files that neither the run nor the next one removed. *namespaces*: held by anything. *damaged*: a result
that is neither whole nor absent, or an old one that changed. *unsaid*: ended with an error that does not name what
failed and why, or without the table of what had been measured.
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

    /// Writes docs/FAULTS.md; rows of faults that were not tried this time stay.
    pub fn write_document(&self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/FAULTS.md");
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
        let text = format!(
            "{OPENING}\n{HEADER}{}\n\n{all} faults, seed {}. {CLOSING}",
            rows.join("\n"),
            self.seed
        );
        std::fs::write(path, text).unwrap();
    }
}

const CLOSING: &str = "\
Calls with which results are written are counted and failed by a tracer (x86-64) that knows them by their path; all
others by strace. Failed nowhere: memory calls (`mmap`, `brk`, …), which the language's runtime answers by ending the
program, its own start-up calls, and `close`, which no kernel leaves undone. Hostile files are mutations at random,
without a look at which code they reach; what is parsed of servers and outcomes has fuzz targets beside
(`loadgen/fuzz`).
";
