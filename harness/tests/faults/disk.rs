//! A disk that is full, broken, over its quota or read-only, at every single call with which a run writes its results:
//! counted first, then failed one by one.

use super::Amount;
use super::place::{Ended, Place, TINY, not_whole};
use super::table::Line;
use super::tracer::{Call, Tracer};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

const ERRORS: [Errno; 4] = [Errno::ENOSPC, Errno::EIO, Errno::EDQUOT, Errno::EROFS];

/// The folder that is written to.
const RESULTS: &str = "disk";

/// Files by their path, with their contents.
type Files = BTreeMap<PathBuf, Vec<u8>>;

pub fn disk(place: &Place, amount: Amount, seed: u64) -> Vec<Line> {
    if !cfg!(target_arch = "x86_64") {
        return vec![Line::skipped(
            "writes",
            "the tracer knows the registers of x86-64 only",
        )];
    }
    // An old run, which no new one may touch.
    let old = place.run(&mut place.tenk_into(TINY, RESULTS), |_| ());
    assert_eq!(old.code(), Some(0), "{}", old.in_words());
    let before = contents(&place.path(RESULTS));
    let (ended, calls) = traced(place, None);
    if calls.is_empty() {
        let why = format!("nothing could be traced: {}", ended.in_words());
        return vec![Line::skipped("writes", why)];
    }
    assert_eq!(ended.code(), Some(0), "{}", ended.in_words());
    let whole = new_files(place, &before);
    forget_new(place, &before);
    let measured = first_trial(&calls);
    let mut random = fastrand::Rng::with_seed(seed);
    let mut lines = Vec::new();
    for errno in ERRORS {
        let how = format!(
            "at each of the {} calls with which a run writes its results",
            calls.len()
        );
        let mut line = Line::new(format!("{errno:?}"), how);
        let all: Vec<usize> = (0..calls.len()).collect();
        let chosen = match amount {
            Amount::Full => all,
            Amount::Shortened => random.choose_multiple(all, 4),
        };
        for at in chosen {
            let case = Case {
                at,
                errno,
                is_measured: at > measured,
            };
            one(place, &mut line, &case, &before, &whole);
        }
        place.book_leftovers(&mut line, &format!("{errno:?}"));
        lines.push(line);
    }
    lines
}

/// One call that fails.
struct Case {
    at: usize,
    errno: Errno,
    /// Whether a trial was over by then: its figures are printed in any case.
    is_measured: bool,
}

/// The first call that saves a trial: all before it are of a run that has not begun.
fn first_trial(calls: &[Call]) -> usize {
    let is_trial = |call: &Call| call.name == "write" && call.path.ends_with("trials.jsonl");
    calls
        .iter()
        .position(is_trial)
        .expect("a run writes its trials")
}

/// A run, of which one call fails; its end and the calls that it made.
fn traced(place: &Place, fail: Option<(usize, Errno)>) -> (Ended, Vec<Call>) {
    let beneath = place.path(RESULTS);
    let fifo = place.path("go");
    let _ = fs::remove_file(&fifo);
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    // Held open at both ends, so that opening it waits for nobody.
    let mut go = File::options().read(true).write(true).open(&fifo).unwrap();
    let mut command = place.command("sh");
    command
        .args(["-c", "read _ <go; exec \"$0\" \"$@\""])
        .arg(place.program("tenk"))
        .args(TINY.split(' '))
        .arg("--results")
        .arg(&beneath);
    let mut tracer: Option<Tracer> = None;
    let mut is_refused = false;
    let ended = place.run_under(&mut command, |pid| {
        if tracer.is_none() && !is_refused {
            tracer = Tracer::seize(pid, &beneath, fail).ok();
            is_refused = tracer.is_none();
            go.write_all(b"\n").unwrap();
        }
        tracer.as_mut().is_none_or(Tracer::pump)
    });
    (ended, tracer.map_or(Vec::new(), Tracer::calls))
}

fn one(place: &Place, line: &mut Line, case: &Case, before: &Files, whole: &BTreeSet<PathBuf>) {
    let (ended, calls) = traced(place, Some((case.at, case.errno)));
    let Some(call) = calls.get(case.at) else {
        line.times += 1;
        line.faults.push(format!(
            "call {} was not made: {}",
            case.at,
            ended.in_words()
        ));
        return;
    };
    let name = call
        .path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let what = format!("{:?} at call {}, {} {name}", case.errno, case.at, call.name);
    place.book(line, &what, &ended, None);
    let mut damaged = not_whole(&place.path(RESULTS), false);
    let after = contents(&place.path(RESULTS));
    let changed = before
        .iter()
        .filter(|(path, bytes)| after.get(*path) != Some(bytes));
    damaged.extend(changed.map(|(path, _)| format!("{} changed", path.display())));
    line.damaged += damaged.len();
    line.faults
        .extend(damaged.iter().map(|file| format!("{what}: {file}")));
    let unsaid = unsaid(case, call, &ended, &new_files(place, before), whole);
    line.unsaid += usize::from(unsaid.is_some());
    line.faults
        .extend(unsaid.map(|why| format!("{what}: {why}: {}", ended.in_words())));
    forget_new(place, before);
}

/// What a run should have said and did not.
fn unsaid(
    case: &Case,
    call: &Call,
    ended: &Ended,
    made: &BTreeSet<PathBuf>,
    whole: &BTreeSet<PathBuf>,
) -> Option<String> {
    if case.is_measured && !(ended.out.contains("epoll") && ended.out.contains("requests/s")) {
        return Some("there is no table".into());
    }
    match ended.code() {
        // It was tried again, or was no loss: then everything is there.
        Some(0) => {
            let missing: Vec<_> = whole.difference(made).collect();
            (!missing.is_empty()).then(|| format!("exit code 0 without {missing:?}"))
        }
        Some(1) => {
            let cause = std::io::Error::from_raw_os_error(case.errno as i32).to_string();
            let cause = cause.split(" (os error").next().unwrap_or_default();
            let name = call.path.file_name().unwrap_or_default().to_string_lossy();
            // A temporary name is nobody's business: the file's own is told, or its folder's.
            let name = name.split(".tmp").next().unwrap_or_default();
            let folder = call
                .path
                .parent()
                .and_then(Path::file_name)
                .unwrap_or_default();
            let names = ended.err.contains(name) || ended.err.contains(&*folder.to_string_lossy());
            (!names || !ended.err.contains(cause))
                .then(|| "the error names no file or no cause".into())
        }
        other => Some(format!("exit code {other:?}")),
    }
}

fn contents(folder: &Path) -> Files {
    let mut files = Files::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.path().is_dir() {
                true => folders.push(entry.path()),
                false => {
                    drop(files.insert(entry.path(), fs::read(entry.path()).unwrap_or_default()))
                }
            }
        }
    }
    files
}

/// The files of the new run, named within its folder.
fn new_files(place: &Place, before: &Files) -> BTreeSet<PathBuf> {
    let after = contents(&place.path(RESULTS));
    let new = after.into_keys().filter(|path| !before.contains_key(path));
    let within = new.filter_map(|path| {
        let path = path.strip_prefix(place.path(RESULTS)).ok()?;
        Some(path.components().skip(1).collect::<PathBuf>())
    });
    within.collect()
}

fn forget_new(place: &Place, before: &Files) {
    let is_old = |folder: &Path| before.keys().any(|path| path.starts_with(folder));
    for entry in fs::read_dir(place.path(RESULTS)).unwrap().flatten() {
        if !is_old(&entry.path()) {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
}
