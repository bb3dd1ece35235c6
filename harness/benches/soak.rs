//! A long run in short: `cargo bench -p harness --bench soak` (30 minutes; `-- --minutes 4` for less).
//!
//! Half of the time is one trial without an end in sight, half is one trial after another in one run. Time is compressed
//! by what happens in it: 4 000 requests and 400 new connections a second in the long trial, a server and a generator
//! every second or two in the short ones, are more of each than eight hours of ordinary use see. Meanwhile the memory of
//! tenk, of its generator and of its servers, their descriptors, the run's folder and what lies in the temporary one are
//! looked at every second.
//!
//! Printed is how each grows: the slope of Theil and Sen with its 95 % interval (P. K. Sen, JASA 63, 1968), over the last
//! four fifths of the time. A slope whose interval lies above nothing, by more than what is said to be kept by design,
//! ends with exit code 1.

use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Between looks.
const EVERY: Duration = Duration::from_secs(1);

/// Looks that a slope is fitted to: more are averaged, so that neighbours depend on each other less.
const BATCHES: usize = 40;

/// What the soak is made with.
const LONG: &str =
    "--model epoll,thread --conns 100 --rate 4k --requests-per-conn 10 --repeat 1 --warmup 2s";
const SHORT: &str =
    "--model epoll,process,thread,tokio --conns 50 --rate 2k --warmup 100ms --duration 500ms";

/// A series of looks: seconds since the beginning, and the value.
type Series = Vec<(f64, f64)>;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|word| word == "--minutes");
    let minutes = at
        .and_then(|at| args.get(at + 1)?.parse::<f64>().ok())
        .unwrap_or(30.0);
    let half = Duration::from_secs_f64(minutes * 30.0);
    let mut is_flat = true;
    // Two models share the time of the long trials.
    let window = half / 2;
    let long = format!("{LONG} --duration {}s", window.as_secs().max(10));
    println!(
        "one trial of {:.0} s for each model, `tenk {long}`",
        window.as_secs_f64()
    );
    is_flat &= report(&Soak::run(&long, half * 3), true);
    let short = format!("{SHORT} --budget {}s --repeat 2", half.as_secs().max(20));
    println!(
        "\ntrial after trial for {:.0} s, `tenk {short}`",
        half.as_secs_f64()
    );
    is_flat &= report(&Soak::run(&short, half * 3), false);
    match is_flat {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What was seen of a run.
struct Soak {
    /// Memory by program, bytes; of servers all processes together.
    memory: BTreeMap<String, Series>,
    descriptors: Series,
    /// Bytes of the run's folder while it is made.
    folder: Series,
    /// Entries of the temporary folder.
    temporary: Series,
    rows: Vec<Value>,
    timeline: Vec<(f64, f64)>,
    code: Option<i32>,
    /// What is left at the end in the temporary folder.
    left: usize,
}

impl Soak {
    fn run(words: &str, limit: Duration) -> Soak {
        let place = tempfile::tempdir().expect("a folder");
        let temporary = place.path().join("tmp");
        fs::create_dir(&temporary).expect("a folder");
        let results = place.path().join("results");
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenk"))
            .args(words.split_whitespace())
            .args(["--quiet", "--format", "json", "--results"])
            .arg(&results)
            .env("CARGO", env!("CARGO"))
            .env("TMPDIR", &temporary)
            .stdin(Stdio::null())
            .stdout(fs::File::create(place.path().join("out")).expect("a file"))
            .spawn()
            .expect("tenk");
        let mut soak = Soak {
            memory: BTreeMap::new(),
            descriptors: Vec::new(),
            folder: Vec::new(),
            temporary: Vec::new(),
            rows: Vec::new(),
            timeline: Vec::new(),
            code: None,
            left: 0,
        };
        soak.watch(&mut child, &temporary, &results, limit);
        soak.left = entries(&temporary).len();
        let text = fs::read_to_string(place.path().join("out")).unwrap_or_default();
        let run: Value = serde_json::from_str(&text).unwrap_or_default();
        soak.rows = run["trials"].as_array().cloned().unwrap_or_default();
        if let Some(folder) = entries(&results).first() {
            soak.timeline = medians(&folder.join("timeline.csv"));
        }
        soak
    }

    fn watch(&mut self, child: &mut Child, temporary: &Path, results: &Path, limit: Duration) {
        let started = Instant::now();
        while started.elapsed() < limit {
            std::thread::sleep(EVERY);
            if let Ok(Some(status)) = child.try_wait() {
                self.code = status.code();
                return;
            }
            let at = started.elapsed().as_secs_f64();
            let mut now: BTreeMap<String, f64> = BTreeMap::new();
            for (pid, program) in family(child.id(), temporary) {
                *now.entry(program).or_default() += proportional_bytes(pid);
            }
            for (program, bytes) in now {
                self.memory.entry(program).or_default().push((at, bytes));
            }
            let descriptors = entries(&PathBuf::from(format!("/proc/{}/fd", child.id())));
            self.descriptors.push((at, descriptors.len() as f64));
            self.folder.push((at, bytes_below(results) as f64));
            self.temporary.push((at, entries(temporary).len() as f64));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// tenk, and what runs out of its temporary folder: process and name.
fn family(tenk: u32, temporary: &Path) -> Vec<(u32, String)> {
    let pids = entries(Path::new("/proc")).into_iter();
    let pids = pids.filter_map(|path| path.file_name()?.to_str()?.parse::<u32>().ok());
    let named = pids.filter_map(|pid| {
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        let name = program.file_name()?.to_string_lossy().into_owned();
        match pid == tenk {
            true => Some((pid, "tenk".to_string())),
            false => program.starts_with(temporary).then_some((pid, name)),
        }
    });
    named.collect()
}

/// Its memory, shared pages divided among those that share them.
fn proportional_bytes(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) * 1024.0
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn bytes_below(folder: &Path) -> u64 {
    let of = |path: &PathBuf| match path.is_dir() {
        true => bytes_below(path),
        false => fs::metadata(path).map_or(0, |file| file.len()),
    };
    entries(folder).iter().map(of).sum()
}

/// The median response time of every second, in the order of trials.
fn medians(file: &Path) -> Series {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let Some(column) = header.iter().position(|name| *name == "response_p50_ns") else {
        return Vec::new();
    };
    let figure = |line: &str| line.split(',').nth(column)?.parse::<f64>().ok();
    lines
        .filter_map(figure)
        .enumerate()
        .map(|(at, ns)| (at as f64, ns))
        .collect()
}

/// A slope per unit of time with its interval.
struct Slope {
    slope: f64,
    low: f64,
    high: f64,
    level: f64,
}

/// The median of all slopes between batches of a series, without its first fifth; none of fewer than eight batches.
fn slope(series: &Series) -> Option<Slope> {
    let series = &series[series.len() / 5..];
    let size = series.len().div_ceil(BATCHES).max(1);
    let mean = |part: &[(f64, f64)]| {
        let n = part.len() as f64;
        let sum = part.iter().fold((0.0, 0.0), |(x, y), p| (x + p.0, y + p.1));
        (sum.0 / n, sum.1 / n)
    };
    let points: Series = series.chunks_exact(size).map(mean).collect();
    let n = points.len();
    if n < 8 {
        return None;
    }
    let mut slopes = Vec::new();
    for (i, a) in points.iter().enumerate() {
        slopes.extend(points[i + 1..].iter().map(|b| (b.1 - a.1) / (b.0 - a.0)));
    }
    slopes.sort_by(f64::total_cmp);
    let all = n as f64;
    // Kendall's S under no trend (normal approximation).
    let spread = 1.96 * (all * (all - 1.0) * (2.0 * all + 5.0) / 18.0).sqrt();
    let count = slopes.len() as f64;
    let place = |at: f64| slopes[(at.round().max(0.0) as usize).min(slopes.len() - 1)];
    let mut levels: Vec<f64> = points.iter().map(|point| point.1).collect();
    levels.sort_by(f64::total_cmp);
    Some(Slope {
        slope: slopes[slopes.len() / 2],
        low: place((count - spread) / 2.0),
        high: place((count + spread) / 2.0),
        level: levels[n / 2],
    })
}

/// What a trial or a second of a trial leaves in memory and on the disk by design, bytes: its rows and its histograms.
const KEPT_PER_SECOND: f64 = 48.0 * 1024.0;

/// Growth of a level in an hour that nobody would notice.
const UNNOTICED: f64 = 0.02;

fn report(soak: &Soak, is_long: bool) -> bool {
    let requests: u64 = soak
        .rows
        .iter()
        .filter_map(|row| row["requests_completed"].as_u64())
        .sum();
    let conns: f64 = soak
        .rows
        .iter()
        .filter_map(|row| Some(row["conns_per_s"].as_f64()? * row["duration_s"].as_f64()?))
        .sum();
    println!(
        "exit code {:?}; {} trials, {requests} requests, {conns:.0} connections in their windows",
        soak.code,
        soak.rows.len()
    );
    println!(
        "{:<34} {:>12} {:>38} {:>8}",
        "", "level", "slope per hour (95 % interval)", ""
    );
    let mut is_flat = soak.code == Some(0) && !soak.rows.is_empty() && soak.left == 0;
    let kib = |bytes: f64| format!("{:.0} KiB", bytes / 1024.0);
    for (program, series) in &soak.memory {
        // What a run has measured it keeps, in memory and in its folder.
        let kept = if program == "tenk" || program == "loadgen" {
            KEPT_PER_SECOND
        } else {
            0.0
        };
        is_flat &= line(&format!("memory of {program}"), slope(series), &kib, kept);
    }
    let number = |value: f64| format!("{value:.1}");
    is_flat &= line(
        "descriptors of tenk",
        slope(&soak.descriptors),
        &number,
        0.0,
    );
    is_flat &= line(
        "the run's folder",
        slope(&soak.folder),
        &kib,
        KEPT_PER_SECOND,
    );
    is_flat &= line(
        "entries of the temporary folder",
        slope(&soak.temporary),
        &number,
        0.0,
    );
    let us = |ns: f64| format!("{:.1} µs", ns / 1e3);
    if is_long {
        for (arm, part) in ["first model", "second model"]
            .iter()
            .zip(halves(&soak.timeline))
        {
            drift(&format!("median response time, {arm}"), &part, &us);
        }
    } else {
        let trial = |(at, row): (usize, &Value)| Some((at as f64, row["slip_p99_ns"].as_f64()?));
        let slip: Series = soak.rows.iter().enumerate().filter_map(trial).collect();
        drift("slip p99 from trial to trial", &slip, &us);
    }
    println!("left in the temporary folder: {}", soak.left);
    is_flat
}

fn halves(series: &Series) -> [Series; 2] {
    let (first, second) = series.split_at(series.len() / 2);
    [first.to_vec(), second.to_vec()]
}

/// A line of what must not grow; whether it does not.
fn line(what: &str, slope: Option<Slope>, words: &dyn Fn(f64) -> String, kept_per_s: f64) -> bool {
    let Some(Slope {
        slope,
        low,
        high,
        level,
    }) = slope
    else {
        println!("{what:<34} too few looks");
        return true;
    };
    let hour = 3600.0;
    let grows = low > kept_per_s && low * hour > UNNOTICED * level;
    let verdict = match (grows, kept_per_s > 0.0 && low > 0.0) {
        (true, _) => "GROWS",
        (false, true) => "kept",
        (false, false) => "flat",
    };
    let range = format!(
        "{} ({} to {})",
        words(slope * hour),
        words(low * hour),
        words(high * hour)
    );
    println!("{what:<34} {:>12} {range:>38} {verdict:>8}", words(level));
    !grows
}

/// A line of what depends on how busy the machine is: told, and never a failure.
fn drift(what: &str, series: &Series, words: &dyn Fn(f64) -> String) {
    let Some(Slope {
        slope,
        low,
        high,
        level,
    }) = slope(series)
    else {
        println!("{what:<34} too few looks");
        return;
    };
    let all = series.len() as f64;
    let verdict = if low > 0.0 || high < 0.0 {
        "DRIFTS"
    } else {
        "steady"
    };
    let range = format!(
        "{} ({} to {})",
        words(slope * all),
        words(low * all),
        words(high * all)
    );
    println!(
        "{what:<34} {:>12} {range:>38} {verdict:>8}  (over the whole run)",
        words(level)
    );
}
