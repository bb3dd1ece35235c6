//! How often the gate is wrong, on this machine: `cargo bench -p harness --bench gate`.
//!
//! A pool of blocks is measured in which the same server runs four times in random order: twice as it is, once with
//! 5 % and once with 10 % more CPU time per request (`--work-iters`). Gates are then drawn from the pool, with
//! replacement, and judged by the code of `tenk gate`. A second pool, of a closed loop, runs it twice; comparisons of
//! two equal arms are drawn from both. At the end two real gates are run.
//!
//! Disturbed blocks are in the pools, as they are in gates: the first attempts at blocks that were run again, too. Beside each pool a synthetic one is judged, in which every
//! second trial, at random and for itself alone, costs up to 40 % more: worse than a neighbour, who meets both of a pair.
//!
//! `TENK_BENCH_BLOCKS` (100) sets the pools' size. The trials are kept in results/gate/quiet; with `-- --loaded` in
//! results/gate/loaded, and something burns half a CPU meanwhile, on and off at random. The closed loop's are beside
//! them in `closed-loop`. `-- --from DIR` judges those of an earlier pool again, and measures nothing.

use harness::analysis::decide::{Question, Verdict, answers, is_precise, is_time_to_look};
use harness::analysis::stats::ranking::{Standing, rankings};
use harness::analysis::stats::walsh::hodges_lehmann;
use harness::model::metrics::METRICS;
use harness::model::row::{Row, is_disturbed};
use harness::store::read::load;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Gates drawn from the pool for every figure.
const GATES: usize = 2000;

/// Numbers of blocks tried in the search for the one that finds a change.
const SIZES: [usize; 14] = [6, 8, 10, 12, 16, 20, 24, 32, 40, 50, 64, 80, 120, 160];

/// The job a gate is planned for: three cells in twelve minutes.
const CELLS: usize = 3;
const BUDGET_S: f64 = 720.0;

/// Blocks of a comparison of two arms.
const COMPARED: usize = 12;

/// What the servers are called in the pool, by their order on the command line.
const ARMS: [&str; 4] = ["epoll", "epoll#2", "epoll#3", "epoll#4"];

/// The folder of the closed loop's pool within the other's.
const CLOSED: &str = "closed-loop";

/// What the last two do more than the first two.
const INJECTED: [f64; 2] = [0.05, 0.10];

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let from = args.iter().position(|word| word == "--from");
    let server = built_server()?;
    let folder = match from.and_then(|at| args.get(at + 1)) {
        Some(folder) => workspace().join(folder),
        None if args.iter().any(|word| word == "--loaded") => {
            let _burner = Burner::start();
            measure_pool(&server, &workspace().join("results/gate/loaded"))?
        }
        None => measure_pool(&server, &workspace().join("results/gate/quiet"))?,
    };
    let pool = Pool::read(&folder)?;
    pool.describe();
    judge_pool(&pool);
    println!(
        "\nthe same with a synthetic disturbance: every second trial costs up to 40 % more, each for itself"
    );
    judge_pool(&pool.disturbed());
    judge_comparisons(&pool);
    match from {
        Some(_) => Ok(()),
        None => two_real_gates(&server, &pool),
    }
}

/// The log-ratios of the blocks, more being worse.
struct Pool {
    /// The two equal trials of every block.
    pairs: Vec<[Row; 2]>,
    /// The same of the closed loop.
    closed: Vec<[Row; 2]>,
    same: Vec<f64>,
    more: [Vec<f64>; 2],
    /// Iterations given to the last two.
    iterations: [u64; 2],
    base_us: f64,
    truth: [f64; 2],
    lost: usize,
    rate_per_s: f64,
    trial_s: f64,
}

impl Pool {
    fn read(folder: &Path) -> Result<Pool, Error> {
        let rows = every_attempt(folder)?;
        let text = std::fs::read_to_string(folder.join("run.json"))?;
        let environment = serde_json::from_str::<Value>(&text)?["environment"].take();
        let facts: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join("work.json"))?)?;
        let number = |name: &str| facts[name].as_f64().ok_or(format!("work.json: no {name}"));
        let iterations = [
            number("iterations_5")? as u64,
            number("iterations_10")? as u64,
        ];
        let blocks = blocks_of(&rows);
        let costs: Vec<_> = blocks.iter().filter_map(usable).collect();
        let ratio =
            |arm: usize| -> Vec<f64> { costs.iter().map(|costs| costs[arm] - costs[0]).collect() };
        let mut base: Vec<f64> = costs.iter().map(|costs| costs[0].exp()).collect();
        base.sort_by(f64::total_cmp);
        let base_us = *base
            .get(base.len() / 2)
            .ok_or("the pool has no usable block")?;
        let injected_us =
            iterations.map(|n| n as f64 * number("ns_per_iteration").unwrap_or(0.0) / 1e3);
        Ok(Pool {
            pairs: pairs(&rows),
            closed: match folder.join(CLOSED) {
                closed if closed.exists() => pairs(&every_attempt(&closed)?),
                _ => Vec::new(),
            },
            same: ratio(1),
            more: [ratio(2), ratio(3)],
            iterations,
            base_us,
            truth: injected_us.map(|us| us / base_us),
            lost: blocks.len() - costs.len(),
            rate_per_s: rows[0].rate_per_s.unwrap_or_default(),
            trial_s: environment["took_s"]
                .as_f64()
                .ok_or("run.json: no took_s")?
                / rows.len() as f64,
        })
    }

    /// The same pool, every trial of which something else met or not, by a coin of its own.
    fn disturbed(&self) -> Pool {
        let mut random = fastrand::Rng::with_seed(4);
        let mut trial = || match random.bool() {
            true => (0.4 * random.f64()).ln_1p(),
            false => 0.0,
        };
        let mut met = |ratios: &[f64]| {
            ratios
                .iter()
                .map(|ratio| ratio + trial() - trial())
                .collect()
        };
        Pool {
            same: met(&self.same),
            more: [met(&self.more[0]), met(&self.more[1])],
            pairs: Vec::new(),
            closed: Vec::new(),
            ..*self
        }
    }

    fn describe(&self) {
        if !self.closed.is_empty() {
            println!(
                "closed loop: {} undisturbed blocks, one server's requests/s ÷ the same one's scatter by {:.1} %",
                self.closed.len(),
                standard_deviation(&throughput_ratios(&self.closed)) * 100.0
            );
        }
        println!(
            "pool: {} blocks ({} that gave no figure left out), {:.0} requests/s, {:.2} µs of CPU per request, {:.2} s a trial",
            self.same.len(),
            self.lost,
            self.rate_per_s,
            self.base_us,
            self.trial_s
        );
        let all = [
            (&self.same, 0.0),
            (&self.more[0], self.truth[0]),
            (&self.more[1], self.truth[1]),
        ];
        for (ratios, truth) in all {
            let estimate = hodges_lehmann(ratios).unwrap_or(f64::NAN).exp_m1();
            println!(
                "  injected {:+.2} %: estimated {:+.2} % over the whole pool ({:+.2} points); a block scatters by {:.1} %",
                truth * 100.0,
                estimate * 100.0,
                (estimate - truth) * 100.0,
                standard_deviation(ratios) * 100.0
            );
        }
    }
}

/// The rows of a run with those of the blocks that were disturbed and run again, as blocks of their own.
fn every_attempt(folder: &Path) -> Result<Vec<Row>, Error> {
    let run = load(folder)?.run;
    let last = run.rows.iter().map(|row| row.block).max().unwrap_or(0);
    let renumbered = |row: Row| Row {
        block: row.block + last,
        ..row
    };
    let again = run.set_aside.into_iter().map(renumbered);
    Ok(run.rows.into_iter().chain(again).collect())
}

/// The rows of every block, in the order of [`ARMS`].
fn blocks_of(rows: &[Row]) -> Vec<[Option<&Row>; 4]> {
    let last = rows.iter().map(|row| row.block).max().unwrap_or(0);
    let of = |block, arm| rows.iter().find(|row| row.block == block && row.arm == arm);
    let blocks = (1..=last).map(|block| ARMS.map(|arm| of(block, arm)));
    blocks
        .filter(|rows| rows.iter().any(Option::is_some))
        .collect()
}

/// The first two trials of every block, if neither was disturbed.
fn pairs(rows: &[Row]) -> Vec<[Row; 2]> {
    let sound = |row: Option<&Row>| row.filter(|r| r.is_usable() && !is_disturbed(r)).cloned();
    let blocks = blocks_of(rows);
    let pairs = blocks
        .iter()
        .filter_map(|[a, b, ..]| Some([sound(*a)?, sound(*b)?]));
    pairs.collect()
}

fn throughput_ratios(pairs: &[[Row; 2]]) -> Vec<f64> {
    let ratio = |[a, b]: &[Row; 2]| Some((a.requests_per_s? / b.requests_per_s?).ln());
    pairs.iter().filter_map(ratio).collect()
}

/// The logarithms of a block's CPU times per request, disturbed or not.
fn usable(rows: &[Option<&Row>; 4]) -> Option<[f64; 4]> {
    let mut costs = [0.0; 4];
    for (cost, row) in costs.iter_mut().zip(rows) {
        let row = row.filter(|row| row.is_usable())?;
        *cost = METRICS[0].cost(row)?;
    }
    Some(costs)
}

fn standard_deviation(x: &[f64]) -> f64 {
    harness::analysis::stats::power::standard_deviation(x).unwrap_or(f64::NAN)
}

/// What gates drawn from the pool say.
fn judge_pool(pool: &Pool) {
    let blocks = (BUDGET_S / (CELLS as f64 * 2.0 * pool.trial_s)) as usize;
    println!(
        "\n{GATES} gates of {CELLS} cells each, drawn from the pool; {BUDGET_S:.0} s buy {blocks} blocks"
    );
    let mut random = fastrand::Rng::with_seed(1);
    let half_more: Vec<f64> = pool.same.iter().map(|ratio| ratio + 1.5f64.ln()).collect();
    let mut share = |changed: &[f64], most: usize, early: bool, of: &dyn Fn(&Gate) -> bool| {
        let hits = (0..GATES)
            .filter(|_| of(&draw(&mut random, &pool.same, changed, most, early)))
            .count();
        (hits, words(hits))
    };
    let any = |gate: &Gate| gate.regressed.contains(&true);
    let (_, text) = share(&pool.same, blocks, true, &any);
    println!("  no change: a false REGRESSED in {text}; wanted at most 5 %");
    for (more, injected) in pool.more.iter().zip(INJECTED) {
        let (_, text) = share(more, blocks, true, &|gate| gate.regressed[0]);
        println!("  {:+.0} %: found in {text}", injected * 100.0);
    }
    let (_, text) = share(&pool.more[1], blocks, true, &|gate| gate.equivalent);
    println!("  +10 %: called EQUIVALENT in {text}; wanted at most 5 %");
    let (_, text) = share(&half_more, 12, false, &|gate| gate.regressed[0]);
    println!(
        "  +50 % (equal trials, one called half as dear again): found with 12 blocks in {text}; wanted 99 %"
    );
    for (i, truth) in pool.truth.iter().enumerate() {
        let near = |gate: &Gate| (gate.estimate - truth).abs() <= 0.02;
        let (_, text) = share(&pool.more[i], blocks, true, &near);
        println!(
            "  {:+.0} %: the estimate is within 2 points of the truth in {text}",
            INJECTED[i] * 100.0
        );
    }
    for (more, injected) in pool.more.iter().zip(INJECTED) {
        let is_found = |n: &&usize| {
            let (hits, _) = share(more, **n, false, &|gate| gate.regressed[0]);
            hits * 10 >= GATES * 9
        };
        let found = SIZES.iter().find(is_found);
        let blocks = found.map_or("more than 160 blocks".into(), |n| format!("{n} blocks"));
        println!(
            "  {:+.0} % is found in 90 % of gates with {blocks}",
            injected * 100.0
        );
    }
}

/// Runs of two equal arms, compared as `tenk --model … --repeat 12` compares them: how often one is called worse.
fn judge_comparisons(pool: &Pool) {
    let pools = [
        ("at a fixed rate", &pool.pairs, METRICS[0].column),
        ("in a closed loop", &pool.closed, "requests_per_s"),
        ("in a closed loop", &pool.closed, METRICS[0].column),
    ];
    for (how, pairs, column) in pools.into_iter().filter(|(_, pairs, _)| !pairs.is_empty()) {
        let hits = false_alarms(pairs, column);
        println!(
            "{GATES} comparisons of {COMPARED} blocks of two equal arms {how}, drawn from {}: one called worse by \
             {column} in {}; wanted at most 5 %",
            pairs.len(),
            words(hits)
        );
    }
}

fn false_alarms(pairs: &[[Row; 2]], column: &str) -> usize {
    let mut random = fastrand::Rng::with_seed(2);
    let mut coins = fastrand::Rng::with_seed(3);
    let mut one = || {
        let blocks = (0..COMPARED).map(|_| &pairs[random.usize(..pairs.len())]);
        let rows = blocks.enumerate().flat_map(|(i, [a, b])| {
            let row = |row: &Row, arm: &str| Row {
                block: i as u32 + 1,
                arm: arm.into(),
                ..row.clone()
            };
            let names = if coins.bool() { ["a", "b"] } else { ["b", "a"] };
            [row(a, names[0]), row(b, names[1])]
        });
        let rows: Vec<Row> = rows.collect();
        let rankings = rankings(&rows);
        let asked = rankings.iter().filter(|r| r.column == column);
        asked
            .flat_map(|ranking| &ranking.places)
            .any(|place| place.standing == Standing::Worse)
    };
    (0..GATES).filter(|_| one()).count()
}

/// A gate that was drawn: its cells' verdicts, and the first one's estimate.
struct Gate {
    regressed: Vec<bool>,
    equivalent: bool,
    estimate: f64,
}

/// A gate of [`CELLS`] cells, the first drawn from `changed`, the others from `same`.
fn draw(
    random: &mut fastrand::Rng,
    same: &[f64],
    changed: &[f64],
    most: usize,
    early: bool,
) -> Gate {
    let question = |number: usize| Question {
        cell: number.to_string(),
        metric: &METRICS[0],
        margin: Some(METRICS[0].margin),
        log_ratios: Vec::new(),
        base: Vec::new(),
        head: Vec::new(),
        lost: 0,
        disturbed: 0,
    };
    let mut questions: Vec<Question> = (0..CELLS).map(question).collect();
    for blocks in 1..=most {
        for (i, question) in questions.iter_mut().enumerate() {
            let pool = if i == 0 { changed } else { same };
            let ratio = pool[random.usize(..pool.len())];
            // Which of two equal trials is called head is as good as drawn.
            let turned = std::ptr::eq(pool, same) && random.bool();
            question
                .log_ratios
                .push(if turned { -ratio } else { ratio });
        }
        if early && is_time_to_look(blocks) && is_precise(&questions) {
            break;
        }
    }
    let answers = answers(&questions, false);
    Gate {
        regressed: answers
            .iter()
            .map(|a| a.verdict == Some(Verdict::Regressed))
            .collect(),
        equivalent: answers[0].verdict == Some(Verdict::Equivalent),
        estimate: answers[0].change.unwrap_or(f64::NAN),
    }
}

/// A share of the gates with its 95 % interval (E. B. Wilson, JASA 22, 1927).
fn words(hits: usize) -> String {
    let (n, z2) = (GATES as f64, 1.96f64.powi(2));
    let p = hits as f64 / n;
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt() * z2.sqrt() / (1.0 + z2 / n);
    format!(
        "{:.2} % ({:.2} to {:.2} %)",
        p * 100.0,
        (middle - half).max(0.0) * 100.0,
        (middle + half).min(1.0) * 100.0
    )
}

/// Burns half a CPU in all, on and off at random, until it goes.
struct Burner {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Burner {
    fn start() -> Burner {
        let ends = Arc::new(AtomicBool::new(false));
        let seen = ends.clone();
        let burn = move || {
            let mut random = fastrand::Rng::with_seed(5);
            while !seen.load(Ordering::Relaxed) {
                let length = Duration::from_millis(random.u64(10..400));
                let start = Instant::now();
                match random.bool() {
                    true => while start.elapsed() < length {},
                    false => std::thread::sleep(length),
                }
            }
        };
        let thread = Some(std::thread::spawn(burn));
        Burner { ends, thread }
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Measures the pools into a folder and returns it.
fn measure_pool(server: &str, folder: &Path) -> Result<PathBuf, Error> {
    // What is ordinary on this machine is found out first: W07 begins beyond it.
    let results = tempfile::tempdir()?;
    let mut calibrate = harness(&["calibrate", "--results"]);
    if !calibrate.arg(results.path()).status()?.success() {
        return Err("the calibration failed".into());
    }
    let blocks = std::env::var("TENK_BENCH_BLOCKS").unwrap_or("100".into());
    let rate = closed_loop_rate(server)? / 4.0;
    let rate = format!("{}000", (rate / 1e3) as u64);
    let before = run(&[server.to_string()], &["--rate", &rate, "--repeat", "5"])?;
    let median = before
        .rows
        .iter()
        .filter_map(|row| row.server_cpu_us_per_request);
    let base_us = median.fold((0.0, 0.0), |(sum, n), us| (sum + us, n + 1.0));
    let base_us = base_us.0 / base_us.1;
    let ns = ns_per_iteration(server)?;
    let iterations = INJECTED.map(|more| (more * base_us * 1e3 / ns).round() as u64);
    let works = [0, 0, iterations[0], iterations[1]];
    let servers = works.map(|n| format!("{server} --work-iters {n}"));
    let pool = run(&servers, &["--rate", &rate, "--repeat", &blocks])?;
    pool.keep(folder)?;
    run(&servers[..2], &["--repeat", &blocks])?.keep(&folder.join(CLOSED))?;
    let facts = serde_json::json!({
        "ns_per_iteration": ns,
        "iterations_5": iterations[0],
        "iterations_10": iterations[1],
    });
    std::fs::write(folder.join("work.json"), format!("{facts:#}\n"))?;
    Ok(folder.into())
}

/// What is kept of `run.json`.
const WITHOUT_ROWS: [&str; 4] = ["schema", "run_dir", "complete", "environment"];

/// A run of the harness: its rows, in a folder that goes with it.
struct Run {
    rows: Vec<Row>,
    folder: Folder,
}

impl Run {
    /// Copies what is read again, without the spaces that are there for people.
    fn keep(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder)?;
        std::fs::copy(
            self.folder.path().join("trials.csv"),
            folder.join("trials.csv"),
        )?;
        let again = self.folder.path().join("redone.csv");
        if again.exists() {
            std::fs::copy(again, folder.join("redone.csv"))?;
        }
        let text = std::fs::read_to_string(self.folder.path().join("run.json"))?;
        let mut record: Value = serde_json::from_str(&text)?;
        if let Some(record) = record.as_object_mut() {
            // The rows are in trials.csv, and everything else is made again from them.
            record.retain(|key, _| WITHOUT_ROWS.contains(&key.as_str()));
        }
        std::fs::write(folder.join("run.json"), format!("{record}\n"))?;
        Ok(())
    }
}

struct Folder {
    _parent: tempfile::TempDir,
    path: PathBuf,
}

impl Folder {
    fn path(&self) -> &Path {
        &self.path
    }
}

fn run(servers: &[String], more: &[&str]) -> Result<Run, Error> {
    let parent = tempfile::tempdir()?;
    let mut command = harness(&["--conns", "50", "--warmup", "300ms", "--duration", "1s"]);
    command.args(more).arg("--results").arg(parent.path());
    for server in servers {
        command.args(["--server", server]);
    }
    let status = command.stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("the pool's run ended with {status}").into());
    }
    let path = std::fs::read_dir(parent.path())?
        .next()
        .ok_or("the run left no folder")??
        .path();
    let rows = load(&path)?.run.rows;
    let folder = Folder {
        _parent: parent,
        path,
    };
    Ok(Run { rows, folder })
}

fn closed_loop_rate(server: &str) -> Result<f64, Error> {
    let run = run(&[server.to_string()], &["--repeat", "1"])?;
    run.rows[0]
        .requests_per_s
        .ok_or("the server answered nothing".into())
}

/// What one iteration of a server's work takes, by its own measurement.
fn ns_per_iteration(server: &str) -> Result<f64, Error> {
    let program = server.split(' ').next().unwrap_or_default();
    let output = Command::new(program).arg("--calibrate").output()?;
    let text = String::from_utf8(output.stdout)?;
    let ns = text
        .lines()
        .find_map(|line| line.strip_prefix("ns per iteration ")?.parse().ok());
    ns.ok_or(format!("{program} --calibrate said {text:?}").into())
}

/// One gate without a change and one of 10 %, from end to end.
fn two_real_gates(server: &str, pool: &Pool) -> Result<(), Error> {
    println!();
    for (title, iterations, expected) in [("A/A", 0, 0), ("+10 %", pool.iterations[1], 99)] {
        // Idle work beside what is injected: two equal commands would be no comparison.
        let head = format!("{server} --work-iters {}", iterations + 1);
        let base = format!("{server} --work-iters 0");
        let results = tempfile::tempdir()?;
        let mut command = harness(&[
            "gate",
            "--budget",
            "2m",
            "--base-cmd",
            &base,
            "--head-cmd",
            &head,
        ]);
        let output = command
            .arg("--results")
            .arg(results.path())
            .stdout(Stdio::piped())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        println!(
            "a real gate, {title}: exit code {:?}, expected {expected}\n{text}",
            output.status.code()
        );
    }
    Ok(())
}

/// The harness, with a cache for the benches alone.
fn harness(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
    command.args(words).stderr(Stdio::inherit());
    command.env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `epoll` of this workspace, as a command.
fn built_server() -> Result<String, Error> {
    let args = [
        "build",
        "--release",
        "-p",
        "servers",
        "--bin",
        "epoll",
        "--message-format=json-render-diagnostics",
    ];
    let output = Command::new(env!("CARGO"))
        .args(args)
        .stderr(Stdio::null())
        .output()?;
    let messages = String::from_utf8(output.stdout)?;
    let program = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(str::to_string)
    });
    Ok(format!(
        "{} --listen {{addr}}",
        program.ok_or("cargo built no epoll")?
    ))
}
