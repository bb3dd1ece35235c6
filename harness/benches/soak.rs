//! A long run in short: `cargo bench -p harness --bench soak` (30 minutes; `-- --minutes 4` or `TENK_SOAK_MINUTES=4` for
//! less). `cargo test -p harness --bench soak` is the same without optimisation of tenk itself.
//!
//! Two fifths of the time are trials of many minutes, two fifths are one trial after another in one run, and one fifth is
//! the load generator alone, whose slip is told every second. Time is compressed by what happens in it: 4 000 requests and
//! 400 new connections a second in the long trials, a server and a generator every second or two in the short ones, are
//! more of each than eight hours of ordinary use see. Meanwhile the memory and the descriptors of tenk, of its generator
//! and of its servers, the run's folder and what lies in the temporary one are looked at every second.
//!
//! Memory is what each process has for itself alone (`Anonymous` in smaps_rollup: heap, stack, changed data): what it shares
//! with others, or has mapped of files, depends on what else runs. Printed is how each grows: the slope of Theil and Sen
//! with its 95 % interval (P. K. Sen, JASA 63, 1968), over the last four fifths of a trial. It ends with exit code 1 where
//! the lower end of the interval is more than what is kept by design, which is computed from what the run wrote, and more
//! over the whole time than what is touched once and late ([`Allowed`]): pages are whole, and a first use of one is no
//! leak. Beside it stands how few connections, or trials, there may be to one leaked chunk of 32 bytes, malloc's smallest,
//! for it to be found.

#[path = "../tests/faults/noise.rs"]
mod noise;

use harness::model::histograms::unpacked;
use harness::model::row::Row;
use loadgen::tally::outcome::{Outcome, Second};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// Between looks.
const EVERY: Duration = Duration::from_secs(1);

/// Looks that a slope is fitted to: more are averaged, so that neighbours depend on each other less.
const BATCHES: usize = 40;

/// What the long trials are made with.
const LONG: &str =
    "--model epoll,thread --conns 100 --rate 4k --requests-per-conn 10 --repeat 1 --warmup 2s";

/// What the short trials are made with.
const SHORT: &str = "--model epoll,process,thread,tokio --conns 50 --rate 2k --warmup 100ms --duration 500ms --repeat 2000";

/// What the generator alone is asked for.
const ALONE: &str =
    "--conns 100 --rate 4k --requests-per-conn 10 --warmup 2s --quiet --format json";

/// Connections that the long trials and the generator alone make each second: [`LONG`], [`ALONE`].
const CONNECTIONS_PER_S: f64 = 400.0;

/// What a page holds.
const PAGE: f64 = 4096.0;

/// What may be touched for the first time at any moment: one page each of the heap, of the stack, of the program's data and
/// of what the C library keeps of a thread.
const TOUCHED: f64 = 4.0 * PAGE;

/// The generator's histograms of the whole window: response, service and slip, of 230 KB each, whose pages are touched
/// when a time first falls into them.
const TOTALS: f64 = 3.0 * 230.0 * 1024.0;

/// What 100 threads have of their own, one for each connection of the long trials: 6 pages each of stack, of heap and of what
/// the C library keeps of a thread (2.4 MiB of 100 less the 0.2 MiB of none). How many live, and how many stacks are kept
/// for the next ones, moves from second to second.
const THREADS: f64 = 100.0 * 6.0 * PAGE;

/// The smallest chunk of glibc's malloc.
const CHUNK: f64 = 32.0;

/// A series of looks: seconds since the beginning, and the value.
type Series = Vec<(f64, f64)>;

fn main() -> ExitCode {
    let minutes = minutes();
    let part = |share: f64| Duration::from_secs_f64((minutes * 60.0 * share).max(30.0));
    // Two models share the time of the long trials.
    let window = part(0.4) / 2;
    let alone = format!("{ALONE} --duration {}s", part(0.2).as_secs());
    println!("the generator alone, `tenk load {alone}`");
    let alone = Alone::run(&alone);
    let mut is_flat = report_alone(&alone);
    let long = format!("{LONG} --duration {}s", window.as_secs());
    println!("\ntrials of {:.0} s, `tenk {long}`", window.as_secs_f64());
    is_flat &= report_long(&Soak::run(&long, None), alone.kept_per_s);
    println!(
        "\ntrial after trial, interrupted after {:.0} s, `tenk {SHORT}`",
        part(0.4).as_secs_f64()
    );
    is_flat &= report_short(&Soak::run(SHORT, Some(part(0.4))));
    match is_flat {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// How long all of it takes, about.
fn minutes() -> f64 {
    let args: Vec<String> = std::env::args().collect();
    let at = args.iter().position(|word| word == "--minutes");
    let flag = at.and_then(|at| args.get(at + 1).cloned());
    let asked = flag.or_else(|| std::env::var("TENK_SOAK_MINUTES").ok());
    asked.map_or(30.0, |text| text.parse().expect("a number of minutes"))
}

/// What was seen of a run.
struct Soak {
    /// Of each program: of servers all processes together, of the generator each process apart in long trials, and of
    /// tenk while each of them runs.
    programs: Programs,
    /// Bytes of the run's folder while it is made, but for the file of its trials.
    folder: Series,
    /// Entries of the temporary folder.
    temporary: Series,
    rows: Vec<Value>,
    /// What tenk keeps of all trials, bytes.
    kept: f64,
    timeline: Vec<(f64, f64)>,
    code: Option<i32>,
    /// What is left at the end in the temporary folder.
    left: usize,
}

impl Soak {
    /// Runs tenk; with a time, until then, and without one, to its end.
    fn run(words: &str, until: Option<Duration>) -> Soak {
        let place = tempfile::tempdir().expect("a folder");
        let temporary = place.path().join("tmp");
        fs::create_dir(&temporary).expect("a folder");
        let results = place.path().join("results");
        noise::expect_noise(&place.path().join("cache"));
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenk"))
            .args(words.split_whitespace())
            .args(["--quiet", "--format", "json", "--results"])
            .arg(&results)
            .env("CARGO", env!("CARGO"))
            .env("TMPDIR", &temporary)
            .env("XDG_CACHE_HOME", place.path().join("cache"))
            .stdin(Stdio::null())
            .stdout(fs::File::create(place.path().join("out")).expect("a file"))
            .spawn()
            .expect("tenk");
        let mut soak = Soak {
            programs: Programs::default(),
            folder: Vec::new(),
            temporary: Vec::new(),
            rows: Vec::new(),
            kept: 0.0,
            timeline: Vec::new(),
            code: None,
            left: 0,
        };
        soak.watch(&mut child, &temporary, &results, until);
        soak.left = entries(&temporary).len();
        let text = fs::read_to_string(place.path().join("out")).unwrap_or_default();
        let run: Value = serde_json::from_str(&text).unwrap_or_default();
        soak.rows = run["trials"].as_array().cloned().unwrap_or_default();
        if let Some(folder) = entries(&results).first() {
            soak.timeline = medians(&folder.join("timeline.csv"));
            let trials = fs::read_to_string(folder.join(TRIALS)).unwrap_or_default();
            soak.kept = trials.lines().filter_map(kept_of_trial).sum();
        }
        soak
    }

    fn watch(
        &mut self,
        child: &mut Child,
        temporary: &Path,
        results: &Path,
        until: Option<Duration>,
    ) {
        let started = Instant::now();
        let mut generators: Vec<u32> = Vec::new();
        let mut is_interrupted = false;
        loop {
            std::thread::sleep(EVERY);
            if until.is_some_and(|until| started.elapsed() > until) && !is_interrupted {
                is_interrupted = kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).is_ok();
            }
            if let Ok(Some(status)) = child.try_wait() {
                self.code = status.code();
                return;
            }
            let at = started.elapsed().as_secs_f64();
            let mut now: BTreeMap<String, Look> = BTreeMap::new();
            let family = family(child.id(), temporary);
            let generator = family.iter().find(|(_, program)| program == "loadgen");
            if let Some((pid, _)) = generator.filter(|(pid, _)| !generators.contains(pid)) {
                generators.push(*pid);
            }
            let has_generator = generator.is_some();
            for (pid, mut program) in family {
                if until.is_none() && (program == "loadgen" || program == "tenk") {
                    // Between trials tenk takes in what it then keeps.
                    if !has_generator {
                        continue;
                    }
                    program.push_str(&format!(" in trial {}", generators.len()));
                }
                now.entry(program).or_default().add(pid);
            }
            self.programs.add(at, now);
            self.folder.push((at, bytes_below(results) as f64));
            self.temporary.push((at, entries(temporary).len() as f64));
        }
    }
}

/// Memory and descriptors of some processes.
#[derive(Debug, Clone, Copy, Default)]
struct Look {
    bytes: f64,
    descriptors: f64,
}

impl Look {
    fn add(&mut self, pid: u32) {
        self.bytes += own_bytes(pid);
        self.descriptors += entries(&PathBuf::from(format!("/proc/{pid}/fd"))).len() as f64;
    }
}

/// Looks at programs, by their names.
#[derive(Debug, Default)]
struct Programs {
    memory: BTreeMap<String, Series>,
    descriptors: BTreeMap<String, Series>,
}

impl Programs {
    fn add(&mut self, at: f64, now: BTreeMap<String, Look>) {
        // What is being started, or has just ended, has no memory yet or any longer.
        for (program, look) in now.into_iter().filter(|(_, look)| look.bytes > 0.0) {
            let memory = self.memory.entry(program.clone()).or_default();
            memory.push((at, look.bytes));
            let descriptors = self.descriptors.entry(program).or_default();
            descriptors.push((at, look.descriptors));
        }
    }
}

/// What was seen of the generator alone.
#[derive(Default)]
struct Alone {
    programs: Programs,
    /// By second of the window, ns: nine of ten requests were sent less late than that.
    slip: Series,
    /// What the generator keeps of a second, bytes: the most of any.
    kept_per_s: f64,
    code: Option<i32>,
}

impl Alone {
    fn run(words: &str) -> Alone {
        let place = tempfile::tempdir().expect("a folder");
        let seconds = place.path().join("seconds.jsonl");
        let outcome = place.path().join("outcome.json");
        let tenk = || {
            let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
            command.env("CARGO", env!("CARGO")).stdin(Stdio::null());
            command
        };
        let mut server = tenk()
            .args(["serve", "epoll", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("a server");
        let mut line = String::new();
        let out = server.stdout.take().expect("its output");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("its address");
        let address = line.trim().trim_start_matches("listening ").to_string();
        let mut load = tenk()
            .args(["load", "--target", &address, "--progress-json"])
            .arg(&seconds)
            .args(words.split_whitespace())
            .stdout(fs::File::create(&outcome).expect("a file"))
            .spawn()
            .expect("the generator");
        let mut alone = Alone::default();
        alone.watch(&mut load, &server);
        let _ = (server.kill(), server.wait());
        alone.slip = slips(&seconds);
        alone.kept_per_s = kept_per_second(&outcome);
        alone
    }

    fn watch(&mut self, load: &mut Child, server: &Child) {
        let started = Instant::now();
        loop {
            std::thread::sleep(EVERY);
            if let Ok(Some(status)) = load.try_wait() {
                self.code = status.code();
                return;
            }
            let look = |pid: u32| {
                let mut look = Look::default();
                look.add(pid);
                look
            };
            let now = [
                ("loadgen".to_string(), look(load.id())),
                ("epoll".to_string(), look(server.id())),
            ];
            self.programs
                .add(started.elapsed().as_secs_f64(), now.into());
        }
    }
}

/// The slip of every second that the generator told of.
fn slips(file: &Path) -> Series {
    let text = fs::read_to_string(file).unwrap_or_default();
    let slip = |line: &str| {
        let second: Value = serde_json::from_str(line).ok()?;
        Some((
            second["second"].as_f64()?,
            second["slip_ns"]["p90"].as_f64()?,
        ))
    };
    text.lines().filter_map(slip).collect()
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

/// Its own memory, in RAM or swapped out.
fn own_bytes(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
    };
    (of("Anonymous:").unwrap_or(0.0) + of("Swap:").unwrap_or(0.0)) * 1024.0
}

/// The file of a run to which every trial adds a line.
const TRIALS: &str = "trials.jsonl";

/// What tenk keeps of a trial, bytes: its row, everything else as long as it is written, and its response times unpacked,
/// of which a bucket is two numbers in a list that may have grown to twice what it needs. None of a line that is no trial.
fn kept_of_trial(line: &str) -> Option<f64> {
    let trial: Value = serde_json::from_str(line).ok()?;
    trial.get("row")?;
    let packed = trial["histograms"]["response"].as_str();
    let buckets = packed.and_then(|packed| Some(unpacked(packed).ok()?.iter().count()));
    let unpacked = buckets.unwrap_or(0) * 2 * size_of::<(u64, u64)>();
    Some((size_of::<Row>() + line.len() + unpacked) as f64)
}

/// What the generator keeps of a second, bytes: its record, in a list that may have grown to twice what it needs, and the
/// text of its histogram; the most of any second.
fn kept_per_second(outcome: &Path) -> f64 {
    let text = fs::read_to_string(outcome).unwrap_or_default();
    let outcome: Option<Outcome> = serde_json::from_str(&text).ok();
    let seconds = outcome.map_or_else(Vec::new, |outcome| outcome.series);
    let kept = |second: &Second| 2 * size_of::<Second>() + second.histogram.len() + CHUNK as usize;
    seconds.iter().map(kept).max().unwrap_or(0) as f64
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

fn bytes_below(folder: &Path) -> u64 {
    let of = |path: &PathBuf| match path.is_dir() {
        true => bytes_below(path),
        // It grows by a line with every trial.
        false if path.ends_with(TRIALS) => 0,
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

/// What is no leak.
#[derive(Debug, Clone, Copy)]
struct Allowed {
    /// Kept by design, bytes a second.
    kept_per_s: f64,
    /// Touched or taken once, however late.
    once: f64,
    /// What happens each second that may leak: connections, or trials.
    events_per_s: f64,
}

impl Allowed {
    /// Nothing kept, and so much taken once.
    fn once(once: f64) -> Allowed {
        Allowed {
            kept_per_s: 0.0,
            once,
            events_per_s: 0.0,
        }
    }
}

/// A slope per unit of time with its interval.
struct Slope {
    slope: f64,
    low: f64,
    high: f64,
    level: f64,
    /// The time that it was fitted to.
    span: f64,
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
        span: points[n - 1].0 - points[0].0,
    })
}

/// `generator_keeps_per_s`: what the generator keeps of a second, bytes.
fn report_long(soak: &Soak, generator_keeps_per_s: f64) -> bool {
    println!(
        "kept by design: by the generator {} a second (the most of any second of the generator alone), by tenk nothing \
         while a trial goes on",
        kib(generator_keeps_per_s)
    );
    let mut is_flat = report(soak, &|program| Allowed {
        kept_per_s: match program.starts_with("loadgen") {
            true => generator_keeps_per_s,
            false => 0.0,
        },
        once: once(program),
        events_per_s: CONNECTIONS_PER_S,
    });
    for (model, part) in ["first", "second"].iter().zip(halves(&soak.timeline)) {
        drift(&format!("median response time, {model} model"), &part);
    }
    for row in &soak.rows {
        let slip = row["slip_p99_ns"].as_f64().map_or("n/a".into(), us);
        println!("slip p99 of the whole window of {}: {slip}", row["arm"]);
    }
    // Two models, a trial each, or more where a block was disturbed.
    is_flat &= soak.rows.len() >= 2;
    is_flat
}

/// What is taken once, however late, by a program.
fn once(program: &str) -> f64 {
    match program {
        "thread" => THREADS + TOUCHED,
        _ if program.starts_with("loadgen") => TOTALS + TOUCHED,
        _ => TOUCHED,
    }
}

fn report_short(soak: &Soak) -> bool {
    let time = soak.folder.last().map_or(1.0, |last| last.0);
    let trials_per_s = soak.rows.len() as f64 / time;
    let kept_per_s = soak.kept / time;
    println!(
        "kept by design: by tenk {} a trial (row, line in {TRIALS}, response times unpacked), {:.2} trials a second; \
         generators and servers end with their trial",
        kib(soak.kept / soak.rows.len().max(1) as f64),
        trials_per_s
    );
    let is_flat = report(soak, &|program| Allowed {
        kept_per_s: if program == "tenk" { kept_per_s } else { 0.0 },
        once: once(program),
        events_per_s: trials_per_s,
    });
    let trial = |(at, row): (usize, &Value)| Some((at as f64, row["response_p50_ns"].as_f64()?));
    let medians: Series = soak.rows.iter().enumerate().filter_map(trial).collect();
    drift("median response time by trial", &medians);
    is_flat
}

fn report_alone(alone: &Alone) -> bool {
    println!(
        "exit code {:?}; {} seconds told",
        alone.code,
        alone.slip.len()
    );
    println!(
        "kept by design: by the generator at most {} a second",
        kib(alone.kept_per_s)
    );
    let is_flat = alone.programs.are_flat(&|program| Allowed {
        kept_per_s: match program {
            "loadgen" => alone.kept_per_s,
            _ => 0.0,
        },
        once: once(program),
        events_per_s: CONNECTIONS_PER_S,
    });
    drift("slip p90 by second", &alone.slip);
    is_flat && alone.code == Some(0) && !alone.slip.is_empty()
}

fn report(soak: &Soak, allowed: &dyn Fn(&str) -> Allowed) -> bool {
    let figures = |column: &str| -> f64 {
        let rows = soak.rows.iter();
        rows.filter_map(|row| row[column].as_f64()).sum()
    };
    let conns = soak
        .rows
        .iter()
        .filter_map(|row| Some(row["conns_per_s"].as_f64()? * row["duration_s"].as_f64()?));
    println!(
        "exit code {:?}; {} trials, {:.0} requests, {:.0} connections in their windows",
        soak.code,
        soak.rows.len(),
        figures("requests_completed"),
        conns.sum::<f64>()
    );
    // One is interrupted, as by Ctrl-C.
    let mut is_flat = matches!(soak.code, Some(0 | 130)) && !soak.rows.is_empty() && soak.left == 0;
    is_flat &= soak.programs.are_flat(allowed);
    is_flat &= line(
        &format!("the run's folder but {TRIALS}"),
        slope(&soak.folder),
        &kib,
        Allowed::once(PAGE),
    );
    let temporary = slope(&soak.temporary);
    let one = Allowed::once(1.0);
    is_flat &= line("entries of the temporary folder", temporary, &number, one);
    println!("left in the temporary folder: {}", soak.left);
    is_flat
}

impl Programs {
    /// Prints how the memory and the descriptors of each grow; whether they do not.
    fn are_flat(&self, allowed: &dyn Fn(&str) -> Allowed) -> bool {
        println!(
            "{:<34} {:>12} {:>38}",
            "", "level", "slope per hour (95 % interval)"
        );
        let mut is_flat = self.memory.contains_key("epoll");
        for (program, series) in &self.memory {
            let what = format!("memory of {program}");
            is_flat &= line(&what, slope(series), &kib, allowed(program));
        }
        for (program, series) in &self.descriptors {
            let what = format!("descriptors of {program}");
            is_flat &= line(&what, slope(series), &number, Allowed::once(1.0));
        }
        is_flat
    }
}

fn kib(bytes: f64) -> String {
    format!("{:.0} KiB", bytes / 1024.0)
}

fn number(value: f64) -> String {
    format!("{value:.1}")
}

fn us(ns: f64) -> String {
    format!("{:.1} µs", ns / 1e3)
}

fn halves(series: &Series) -> [Series; 2] {
    let (first, second) = series.split_at(series.len() / 2);
    [first.to_vec(), second.to_vec()]
}

/// A line of what must not grow; whether it does not.
fn line(what: &str, slope: Option<Slope>, words: &dyn Fn(f64) -> String, allowed: Allowed) -> bool {
    let Some(Slope {
        slope,
        low,
        high,
        level,
        span,
    }) = slope
    else {
        println!("{what:<34} too few looks");
        return true;
    };
    let hour = 3600.0;
    let no_leak = allowed.kept_per_s * span + allowed.once;
    let grows = low * span > no_leak;
    let verdict = match (grows, low > 0.0) {
        (true, _) => "GROWS",
        (false, true) => "within",
        (false, false) => "flat",
    };
    let range = format!(
        "{} ({} to {})",
        words(slope * hour),
        words(low * hour),
        words(high * hour)
    );
    // How many events may share one leaked chunk for the slope to pass what is no leak.
    let events = allowed.events_per_s * span;
    let sensitivity = match events > 0.0 {
        true => format!("  1 chunk in {:.1}", CHUNK * events / no_leak),
        false => String::new(),
    };
    println!(
        "{what:<34} {:>12} {range:>38} {verdict:>8}{sensitivity}",
        words(level)
    );
    !grows
}

/// A line of what depends on how busy the machine is: told, and never a failure.
fn drift(what: &str, series: &Series) {
    let Some(Slope {
        slope,
        low,
        high,
        level,
        ..
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
        us(slope * all),
        us(low * all),
        us(high * all)
    );
    println!(
        "{what:<34} {:>12} {range:>38} {verdict:>8}  (over the whole time)",
        us(level)
    );
}
