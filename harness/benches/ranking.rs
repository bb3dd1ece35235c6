//! How often the ranking of few blocks is wrong, and what it finds: `cargo bench -p harness --bench ranking`.
//!
//! Runs are made of residuals of real trials: two equal arms, 100 blocks, in a closed loop in a busy hour and at a
//! fixed rate in a busy and in a quiet one (results/gate). Printed is the share of runs in which any of equal arms
//! was told from the best (the family-wise error rate, planned at 5 %), and how often one slower arm of fourteen was told from
//! the best. `-- [RUNS [SIMULATIONS]] [POOL…]` sets the runs behind a figure (2000), the simulations behind each critical
//! value (as many as in a report) and which pools are drawn from (all): `closed`, `busy`, `quiet`.

use harness::analysis::stats::pooled::Pooled;
use std::error::Error;
use std::path::{Path, PathBuf};

/// Arms and blocks that are tried.
const SIZES: [(usize, usize); 7] = [(14, 3), (14, 6), (14, 12), (4, 3), (4, 6), (2, 3), (2, 6)];

/// How noisy an arm is, of so many.
type Noise = fn(usize, usize) -> f64;

/// How the noise of the arms differs.
const NOISE: [(&str, Noise); 3] = [
    ("equal", |_, _| 1.0),
    (
        "half × 2",
        |arm, arms| if arm < arms / 2 { 2.0 } else { 1.0 },
    ),
    ("one × 4", |arm, _| if arm == 0 { 4.0 } else { 1.0 }),
];

/// Blocks, and how much slower one of fourteen arms is.
const SLOWER: [(usize, f64); 5] = [(3, 0.25), (3, 0.35), (3, 0.50), (6, 0.15), (6, 0.25)];

/// Where noise comes from: its word, what it was, its folder, and the column that is ranked by.
const POOLS: [(&str, &str, &str, &str); 3] = [
    (
        "closed",
        "closed loop, busy hour",
        "busy-hour/closed-loop",
        "requests_per_s",
    ),
    (
        "busy",
        "fixed rate, busy hour",
        "busy-hour",
        "server_cpu_us_per_request",
    ),
    (
        "quiet",
        "fixed rate, quiet",
        "",
        "server_cpu_us_per_request",
    ),
];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let runs = numbers.first().copied().unwrap_or(2000);
    let simulations = numbers.get(1).copied();
    let is_pool = |word: &&String| POOLS.iter().any(|pool| pool.0 == word.as_str());
    let asked: Vec<&String> = words.iter().filter(is_pool).collect();
    for (pool, name, file, column) in POOLS {
        if !asked.is_empty() && !asked.iter().any(|word| *word == pool) {
            continue;
        }
        let pool = residuals(&pools().join(file).join("trials.csv"), column)?;
        println!(
            "\n{name} ({column}): noise {:.1} % a trial",
            100.0 * deviation(&pool)
        );
        false_alarms(&pool, runs, simulations);
        found(&pool, runs / 2, simulations);
    }
    Ok(())
}

fn pools() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/gate")
}

/// What is left of a trial's logarithm beside its block and its arm: of two, the half of their difference stands for
/// noise of √½ of its size.
fn residuals(file: &Path, column: &str) -> Result<Vec<f64>, Box<dyn Error>> {
    let mut reader = csv::Reader::from_path(file)?;
    let header = reader.headers()?.clone();
    let index = |name: &str| {
        header
            .iter()
            .position(|h| h == name)
            .ok_or(format!("no column {name}"))
    };
    let (block, arm, figure) = (index("block")?, index("arm")?, index(column)?);
    let mut logs = std::collections::BTreeMap::<String, [Option<f64>; 2]>::new();
    for record in reader.records() {
        let record = record?;
        let side = ["epoll", "epoll#2"]
            .iter()
            .position(|name| *name == &record[arm]);
        if let (Some(side), Ok(value)) = (side, record[figure].parse::<f64>()) {
            logs.entry(record[block].to_string()).or_default()[side] = Some(value.ln());
        }
    }
    let pairs = logs.values().filter_map(|pair| Some(pair[0]? - pair[1]?));
    let differences: Vec<f64> = pairs.collect();
    let mean = differences.iter().sum::<f64>() / differences.len() as f64;
    let root = 2f64.sqrt();
    Ok(differences.iter().map(|d| (d - mean) / root).collect())
}

fn deviation(values: &[f64]) -> f64 {
    (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt()
}

/// One run of equal arms but the first, which costs so much more.
fn run(
    pool: &[f64],
    (arms, blocks): (usize, usize),
    noise: Noise,
    first: f64,
    random: &mut fastrand::Rng,
) -> Vec<Vec<Option<f64>>> {
    let moods: Vec<f64> = (0..blocks).map(|_| 0.3 * random.f64()).collect();
    let mut trial = |arm: usize, mood: &f64| {
        let sign = if random.bool() { 1.0 } else { -1.0 };
        let effect = if arm == 0 { first } else { 0.0 };
        Some(mood + effect + sign * noise(arm, arms) * pool[random.usize(..pool.len())])
    };
    let mut arm = |arm| moods.iter().map(|mood| trial(arm, mood)).collect();
    (0..arms).map(&mut arm).collect()
}

fn ranked(run: &[Vec<Option<f64>>], simulations: Option<usize>) -> Option<Pooled> {
    match simulations {
        Some(simulations) => Pooled::with_simulations(run, simulations),
        None => Pooled::new(run),
    }
}

fn false_alarms(pool: &[f64], runs: usize, simulations: Option<usize>) {
    println!(
        "any of equal arms told from the best, % of {runs} runs\n{:12}{:>10}{:>10}{:>10}",
        "arms × blocks", NOISE[0].0, NOISE[1].0, NOISE[2].0
    );
    for size in SIZES {
        print!("{:>4} × {:<6}", size.0, size.1);
        for (_, noise) in NOISE {
            let wrong = share(runs, |random| {
                let pooled = ranked(&run(pool, size, noise, 0.0, random), simulations)?;
                let best = pooled.lowest();
                Some((0..size.0).any(|arm| pooled.interval(arm, best).low > 0.0))
            });
            print!("{:10.1}", 100.0 * wrong);
        }
        println!();
    }
}

fn found(pool: &[f64], runs: usize, simulations: Option<usize>) {
    println!("one slower arm of fourteen told from the best, % of {runs} runs");
    for (blocks, slower) in SLOWER {
        let cost = -(1.0 - slower).ln();
        let found = share(runs, |random| {
            let run = run(pool, (14, blocks), |_, _| 1.0, cost, random);
            let pooled = ranked(&run, simulations)?;
            let best = pooled.lowest();
            Some(pooled.interval(0, best).low > 0.0)
        });
        println!(
            "{:>4} blocks, −{:.0} %{:10.1}",
            blocks,
            100.0 * slower,
            100.0 * found
        );
    }
}

fn share(runs: usize, mut is: impl FnMut(&mut fastrand::Rng) -> Option<bool>) -> f64 {
    let seeds = 0..runs as u64;
    let count = seeds.filter(|&seed| is(&mut fastrand::Rng::with_seed(seed)) == Some(true));
    count.count() as f64 / runs as f64
}
