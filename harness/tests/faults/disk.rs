//! A disk that is full, broken, over its quota or read-only, at every single call with which a run writes its results:
//! counted first, then failed one by one.

use super::Amount;
use super::calls::words_of;
use super::place::{Ended, Place, TINY, not_whole};
use super::table::Line;
use super::tracer::{Call, Fault, Made, Tracer};
use nix::errno::Errno;
use nix::sys::stat::Mode;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a disk answers; `TENK_FAULTS` may ask for one of them.
const ERRORS: [Errno; 4] = [Errno::ENOSPC, Errno::EIO, Errno::EDQUOT, Errno::EROFS];

/// The folder that is written to.
const RESULTS: &str = "disk-results";

/// How many runs are looked at for the calls that they make: what is drawn depends on what was measured.
const LOOKED_AT: usize = 2;

/// How many calls are failed with each error when not all are.
const FEW: usize = 4;

/// Files by their path, with their contents.
type Files = BTreeMap<PathBuf, Vec<u8>>;

/// What a run that nothing happens to does.
struct Undisturbed {
    /// The calls with which it writes: each with the number of those before it that are alike.
    calls: BTreeSet<(Call, usize)>,
    /// The files that it makes.
    files: BTreeSet<PathBuf>,
}

pub fn disk(place: &Place, amount: Amount, seed: u64) -> Vec<Line> {
    if !cfg!(target_arch = "x86_64") {
        let why = "the tracer knows the registers of x86-64 only";
        return vec![Line::skipped("writes", why)];
    }
    // An old run, which no new one may touch.
    let old = place.run(&mut place.tenk_into(TINY, RESULTS), |_| ());
    assert_eq!(old.code(), Some(0), "{}", old.in_words());
    let before = contents(&place.path(RESULTS));
    let undisturbed = match undisturbed(place, &before) {
        Ok(undisturbed) => undisturbed,
        Err(why) => return vec![Line::skipped("writes", why)],
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let is_asked = |errno: &Errno| super::is_asked("disk", &format!("{errno:?}"));
    let mut lines = Vec::new();
    for errno in ERRORS.into_iter().filter(is_asked) {
        lines.push(one_error(
            place,
            amount,
            errno,
            &before,
            &undisturbed,
            &mut random,
        ));
    }
    lines
}

/// Looks at runs; why nothing can be said of them.
fn undisturbed(place: &Place, before: &Files) -> Result<Undisturbed, String> {
    let (mut calls, mut files) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..LOOKED_AT {
        let (ended, made) = traced(place, None);
        if made.calls.is_empty() {
            return Err(format!("nothing could be traced: {}", ended.in_words()));
        }
        assert_eq!(ended.code(), Some(0), "{}\n{}", ended.in_words(), ended.out);
        assert!(
            first_trial(&made.calls).is_some(),
            "a run writes its trials"
        );
        let mut alike: BTreeMap<Call, usize> = BTreeMap::new();
        for call in made.calls {
            let nth = alike.entry(call.clone()).or_default();
            calls.insert((call, *nth));
            *nth += 1;
        }
        files.extend(new_files(place, before));
        forget_new(place, before);
    }
    Ok(Undisturbed { calls, files })
}

/// Fails the calls with one error, one by one.
fn one_error(
    place: &Place,
    amount: Amount,
    errno: Errno,
    before: &Files,
    undisturbed: &Undisturbed,
    random: &mut fastrand::Rng,
) -> Line {
    let how = format!(
        "at each of the {} calls with which a run writes its results",
        undisturbed.calls.len()
    );
    let mut line = Line::new(format!("{errno:?}"), how);
    let calls = undisturbed.calls.iter();
    let chosen: Vec<&(Call, usize)> = match amount {
        Amount::Full => calls.collect(),
        Amount::Shortened => random.choose_multiple(calls, FEW),
    };
    let mut not_met = 0;
    for (call, nth) in chosen {
        let fault = Fault {
            call: call.clone(),
            nth: *nth,
            errno,
        };
        not_met += usize::from(!one(place, &mut line, &fault, before, undisturbed));
    }
    if not_met > 0 {
        line.note =
            format!("{not_met} of them came to no call, as what was measured made no such file");
    }
    place.book_leftovers(&mut line, &format!("{errno:?}"));
    line
}

/// The first call that saves a trial: all before it are of a run that has not begun.
fn first_trial(calls: &[Call]) -> Option<usize> {
    let is_trial = |call: &Call| call.name == "write" && call.file.ends_with("trials.jsonl");
    calls.iter().position(is_trial)
}

/// A run, of which one call fails; its end and the calls that it made.
fn traced(place: &Place, fault: Option<&Fault>) -> (Ended, Made) {
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
            tracer = Tracer::seize(pid, &beneath, fault).ok();
            is_refused = tracer.is_none();
            go.write_all(b"\n").unwrap();
        }
        tracer.as_mut().is_none_or(Tracer::pump)
    });
    (ended, tracer.map(Tracer::made).unwrap_or_default())
}

/// Fails one call; whether there was one.
fn one(
    place: &Place,
    line: &mut Line,
    fault: &Fault,
    before: &Files,
    undisturbed: &Undisturbed,
) -> bool {
    let (ended, made) = traced(place, Some(fault));
    let Fault { call, nth, errno } = fault;
    let what = format!("{errno:?} at {} {} of {:?}", call.name, nth + 1, call.file);
    let Some(at) = made.failed else {
        // Nothing was to go wrong, and nothing may have.
        if code_of_saving(&ended) != Some(0) {
            place.book(line, &what, &ended, None);
            line.unsaid += 1;
            line.faults
                .push(format!("{what}: not met, and yet: {}", ended.in_words()));
        }
        forget_new(place, before);
        return false;
    };
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
    let is_measured = first_trial(&made.calls).is_some_and(|first| at >= first);
    let unsaid = no_table(is_measured, &ended).or_else(|| match code_of_saving(&ended) {
        // It was tried again, or was no loss: then everything is there.
        Some(0) => missing(place, before, undisturbed),
        Some(1) => nameless(fault, &ended),
        other => Some(format!("exit code {other:?}")),
    });
    line.unsaid += usize::from(unsaid.is_some());
    line.faults
        .extend(unsaid.map(|why| format!("{what}: {why}: {}", ended.in_words())));
    forget_new(place, before);
    true
}

/// How a run ended, as far as saving goes: that no figure of a busy machine is to be believed is none of the disk's doing.
fn code_of_saving(ended: &Ended) -> Option<i32> {
    let is_unbelievable = ended
        .out
        .contains("No trial has figures that may be believed");
    match ended.code() {
        Some(1) if is_unbelievable && !ended.err.contains("error: ") => Some(0),
        code => code,
    }
}

/// Whether the table of what was measured is not there.
fn no_table(is_measured: bool, ended: &Ended) -> Option<String> {
    let is_there = ended.out.contains("epoll") && ended.out.contains("requests/s");
    (is_measured && !is_there).then(|| "there is no table".into())
}

/// Whether the error names no file or no cause.
fn nameless(fault: &Fault, ended: &Ended) -> Option<String> {
    // A temporary name is nobody's business: the file's own is told, or its folder's.
    let name = |path: Option<&Path>| {
        let name = path
            .and_then(Path::file_name)
            .map(|name| name.to_string_lossy());
        name.map_or(RESULTS.to_string(), |name| name.into_owned())
    };
    let names = [
        name(Some(fault.call.file.as_path())),
        name(fault.call.file.parent()),
    ];
    let is_named = names.iter().any(|name| ended.err.contains(name.as_str()));
    let is_explained = ended.err.contains(&words_of(fault.errno));
    (!is_named || !is_explained).then(|| "the error names no file or no cause".into())
}

/// What a run that ended well has not made, of what can be made of its trials: a chart that they have no ground for is
/// not missing.
fn missing(place: &Place, before: &Files, undisturbed: &Undisturbed) -> Option<String> {
    let made = new_files(place, before);
    if undisturbed.files.is_subset(&made) {
        return None;
    }
    let run = new_folders(place, before).into_iter().next()?;
    let again = place.path("again");
    let _ = fs::remove_dir_all(&again);
    let mut report = place.tenk("report");
    let read = place.run(report.arg(&run).arg("--into").arg(&again), |_| ());
    if read.code() != Some(0) {
        return Some(format!("its trials cannot be read: {}", read.in_words()));
    }
    let wanted = contents(&again).into_keys();
    let wanted = wanted.filter_map(|path| Some(path.strip_prefix(&again).ok()?.to_path_buf()));
    let missing: Vec<PathBuf> = wanted.filter(|file| !made.contains(file)).collect();
    (!missing.is_empty()).then(|| format!("exit code 0 without {missing:?}"))
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

/// The folders of new runs.
fn new_folders(place: &Place, before: &Files) -> Vec<PathBuf> {
    let is_old = |folder: &PathBuf| before.keys().any(|path| path.starts_with(folder));
    let entries = fs::read_dir(place.path(RESULTS)).unwrap().flatten();
    let folders = entries.map(|entry| entry.path());
    folders.filter(|folder| !is_old(folder)).collect()
}

fn forget_new(place: &Place, before: &Files) {
    for folder in new_folders(place, before) {
        fs::remove_dir_all(folder).unwrap();
    }
}
