//! A run folder made up for tests and benches: rows with every column that results/README.md names, their
//! histograms, seconds and workers. Same arguments, same files.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use loadgen::tally::files::{Interval, interval_log};
use loadgen::tally::latency::{DIGITS, LATENCY_MAX_NS};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Connections and idle connections of a large run: with 15 models and 13 blocks over 2 000 rows.
pub const MANY_WORKLOADS: [(u64, u64); 11] = [
    (50, 0),
    (200, 0),
    (1000, 0),
    (5000, 0),
    (10_000, 0),
    (50, 100),
    (50, 1000),
    (50, 10_000),
    (100, 10),
    (100, 100),
    (100, 1000),
];

/// Names of all models.
pub fn models() -> Vec<&'static str> {
    servers::models::MODELS.iter().map(|m| m.name).collect()
}

/// Writes a run of these arms under these (connections, idle) workloads, so many times each; returns its rows.
pub fn write(folder: &Path, arms: &[&str], workloads: &[(u64, u64)], blocks: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(7);
    let rows = rows(arms, workloads, blocks, &mut random);
    write_lines(folder, &rows, &mut random);
    rows.len()
}

/// Writes a run of these arms at these shares of what each can do, so many times each; returns its rows. The times are
/// those of a queue: they grow as 1 ÷ (1 − share), and at 100 % the rate is not held.
#[allow(
    dead_code,
    reason = "not every test that makes up a run needs one under several loads"
)]
pub fn write_levels(folder: &Path, arms: &[&str], shares: &[f64], blocks: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(7);
    let mut rows = Vec::new();
    for block in 1..=blocks {
        for share in shares {
            for arm in arms {
                let trial = rows.len() as u64 + 1;
                let row = row(trial, block, arm, (50, 0), &mut random);
                rows.push(at_level(row, *share));
            }
        }
    }
    write_lines(folder, &rows, &mut random);
    rows.len()
}

fn at_level(mut row: Map<String, Value>, share: f64) -> Map<String, Value> {
    let capacity = row["requests_per_s"].as_f64().unwrap();
    let rate = (capacity * share).floor();
    let held = share < 0.99;
    let grown = 1.0 + share / (1.0 - share.min(0.97));
    let at = |column: &str| row[column].as_f64().map(|ns| (ns * grown) as u64);
    let few = rate * 3.0 * 0.01 < 100.0;
    let changed = json!({
        "rate_per_s": rate, "capacity_fraction": share, "arrival": "fixed",
        "requests_offered": (rate * 3.0) as u64,
        "requests_completed": (rate * 3.0 * if held { 1.0 } else { 0.95 }) as u64,
        "requests_per_s": rate * if held { 1.0 } else { 0.95 },
        "response_p50_ns": at("response_p50_ns"),
        "response_p99_ns": at("response_p99_ns").filter(|_| held && !few),
        "response_p999_ns": at("response_p999_ns").filter(|_| held && rate > 35_000.0),
        "verdict": "valid",
    });
    for (key, value) in changed.as_object().unwrap() {
        row.insert(key.clone(), value.clone());
    }
    row
}

fn write_lines(folder: &Path, rows: &[Map<String, Value>], random: &mut fastrand::Rng) {
    let without = |row: Map<String, Value>| -> Map<String, Value> {
        let of_the_row = ["run_id", "trial", "arm", "conns"];
        row.into_iter()
            .filter(|(name, _)| !of_the_row.contains(&name.as_str()))
            .collect()
    };
    let histograms = packed(random);
    let mut lines = String::new();
    for (i, row) in rows.iter().enumerate() {
        let line = json!({
            "row": row,
            "window": { "start_unix_ns": 1_700_000_000_000_000_000 + 5_000_000_000 * i as u64, "length_s": 3.0 },
            "response_censored_from_ns": null,
            "histograms": { "response": histograms[i % histograms.len()] },
            "timeline": seconds(row).into_iter().map(without).collect::<Vec<_>>(),
            "latency_seconds": latency_seconds(row),
            "workers": workers(row).into_iter().map(without).collect::<Vec<_>>(),
        });
        lines += &format!("{line}\n");
    }
    lines += "{\"end\":{\"complete\":true}}\n";
    fs::write(folder.join("trials.jsonl"), lines).unwrap();
    let environment = serde_json::to_vec_pretty(&environment()).unwrap();
    fs::write(folder.join("environment.json"), environment).unwrap();
}

/// The same as versions before `trials.jsonl` kept it.
#[allow(
    dead_code,
    reason = "not every test that makes up a run needs an older one"
)]
pub fn write_older(folder: &Path, arms: &[&str], workloads: &[(u64, u64)], blocks: u64) -> usize {
    let mut random = fastrand::Rng::with_seed(7);
    let rows = rows(arms, workloads, blocks, &mut random);
    let run = json!({
        "schema": "tenk.run/1", "run_dir": "results/made-up", "complete": true, "trials": rows, "summary": [],
        "environment": environment(),
    });
    let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    put(
        "run.json",
        (serde_json::to_string_pretty(&run).unwrap() + "\n").as_bytes(),
    );
    put("trials.csv", &csv(&columns(), &rows));
    let seconds: Vec<Map<String, Value>> = rows.iter().flat_map(seconds).collect();
    let names = "run_id trial arm conns second requests_completed errors response_p50_ns response_p99_ns response_max_ns";
    put("timeline.csv", &csv(&words(names), &seconds));
    let workers: Vec<Map<String, Value>> = rows.iter().flat_map(workers).collect();
    put(
        "workers.csv",
        &csv(
            &words("run_id trial arm conns worker accepted shed closed bytes_in bytes_out wakeups"),
            &workers,
        ),
    );
    put("latency.hlog", &histograms(&rows, &mut random));
    rows.len()
}

fn environment() -> Value {
    json!({
        "version": "0.1.0", "command": ["tenk", "--model", "all", "--server", "a 'server' {port}"],
        "kernel": "Linux 6.18 x86_64", "cpus": 2, "seed": 7, "host_sysctls": {"net.core.somaxconn": "4096"},
    })
}

fn rows(
    arms: &[&str],
    workloads: &[(u64, u64)],
    blocks: u64,
    random: &mut fastrand::Rng,
) -> Vec<Map<String, Value>> {
    let mut rows = Vec::new();
    for block in 1..=blocks {
        for workload in workloads {
            for arm in arms {
                let trial = rows.len() as u64 + 1;
                rows.push(row(trial, block, arm, *workload, random));
            }
        }
    }
    rows
}

/// Twenty different histograms, packed as a line has them.
fn packed(random: &mut fastrand::Rng) -> Vec<String> {
    let pack = |histogram: Histogram<u64>| {
        let mut bytes = Vec::new();
        let mut serializer = V2DeflateSerializer::new();
        serializer.serialize(&histogram, &mut bytes).unwrap();
        STANDARD.encode(bytes)
    };
    (0..20).map(|_| pack(histogram(random))).collect()
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(String::from).collect()
}

/// The columns of a row, as the README of the results lists them.
fn columns() -> Vec<String> {
    let readme = include_str!("../../../results/README.md");
    let names = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    names
        .map(|(name, _)| name.to_string())
        .skip_while(|name| name != "run_id")
        .collect()
}

fn row(
    trial: u64,
    block: u64,
    arm: &str,
    (conns, idle): (u64, u64),
    random: &mut fastrand::Rng,
) -> Map<String, Value> {
    let model = arm.split(':').next().unwrap_or(arm);
    let rank = models().iter().position(|m| *m == model).unwrap_or(0) as f64;
    let noise = 1.0 + 0.02 * random.f64();
    let asked = conns + idle;
    let limited = model == "select" && asked > 1020;
    let crosses = if ["poll", "select"].contains(&model) {
        1.0 + idle as f64 / 100.0
    } else {
        1.0
    };
    let p50 = (90_000.0 + 2_000.0 * rank) * crosses * noise;
    let mut row: Map<String, Value> = columns()
        .into_iter()
        .map(|name| (name, Value::Null))
        .collect();
    let filled = json!({
        "run_id": "made-up", "block": block, "trial": trial, "seed": trial, "arm": arm, "model": model,
        "service": "echo", "protocol": "echo", "conns": conns, "idle": idle, "payload_bytes": 64, "arrival": "closed",
        "think_ns": 0, "pipeline": 1, "server_cpus": "0", "client_cpus": "1", "duration_s": 3.0,
        "status": if limited { "limited" } else { "ok" },
        "verdict": if model == "process" && block == 1 { "suspect" } else if model == "iterative" { "invalid" } else { "valid" },
        "reasons": if limited { format!("FD_SETSIZE at 1020 of {asked}") } else { String::new() },
        "conns_established": asked, "conns_served": if limited { 1020 } else { asked }, "conns_per_s": 20_000.0 * noise,
        "requests_offered": 300_000, "requests_completed": 300_000, "errors": 0,
        "requests_per_s": 1e5 * (0.4 + rank / 20.0) * noise / crosses,
        "response_p50_ns": p50 as u64, "response_p99_ns": (p50 * 4.0) as u64, "response_p999_ns": (p50 * 9.0) as u64,
        "server_cpu_us_per_request": 20.0 / (1.0 + rank) * noise, "server_user_s": 0.5, "server_system_s": 1.5 + rank / 20.0,
        "server_memory_per_conn_bytes": 150_000.0 / (1.0 + rank).powi(2) * noise,
        "server_memory_kib": 8192,
    });
    for (key, value) in filled.as_object().unwrap() {
        *row.get_mut(key).unwrap() = value.clone();
    }
    row
}

fn seconds(row: &Map<String, Value>) -> Vec<Map<String, Value>> {
    let second = |n: u64| {
        let errors = u64::from(row["model"] == "poll" && n == 1);
        let line = json!({
            "run_id": row["run_id"], "trial": row["trial"], "arm": row["arm"], "conns": row["conns"], "second": n,
            "requests_completed": row["requests_per_s"].as_f64().unwrap() as u64 + n * 1000, "errors": errors,
            "response_p50_ns": 90_000, "response_p99_ns": null, "response_max_ns": 900_000,
        });
        line.as_object().unwrap().clone()
    };
    (0..3).map(second).collect()
}

/// Response times in classes, spread around the row's own; `poll` answers nothing for a second, then much too late.
fn latency_seconds(row: &Map<String, Value>) -> Vec<Value> {
    let middle = row["response_p50_ns"].as_f64().unwrap().log10() * 10.0;
    let per_s = row["requests_per_s"].as_f64().unwrap();
    let trial = row["trial"].as_u64().unwrap();
    let stalls = row["model"] == "poll";
    let counts = |second: u64| -> Vec<(u64, u64)> {
        let (low, high) = (middle as u64 - 3, middle as u64 + 12 + (trial + second) % 3);
        let of = |class: u64| {
            let away = class as f64 - middle;
            let away = if away > 0.0 { away * 0.5 } else { away };
            (
                class,
                (per_s / 4.0 * (-away * away / 2.0).exp()).ceil() as u64,
            )
        };
        let mut counts: Vec<(u64, u64)> = (low..=high).map(of).collect();
        if stalls && second == 2 {
            counts.push((89, 50));
        }
        counts
    };
    let second = |n: u64| {
        let silent = stalls && n == 1;
        json!({
            "second": n, "length_s": 1, "counts": if silent { Vec::new() } else { counts(n) },
        })
    };
    (0..3).map(second).collect()
}

fn workers(row: &Map<String, Value>) -> Vec<Map<String, Value>> {
    if row["model"] != "prefork" {
        return Vec::new();
    }
    let worker = |n: u64| {
        let line = json!({
            "run_id": row["run_id"], "trial": row["trial"], "arm": row["arm"], "conns": row["conns"], "worker": n,
            "accepted": 10 + n, "shed": 0, "closed": 10, "bytes_in": 1, "bytes_out": 1, "wakeups": 2,
        });
        line.as_object().unwrap().clone()
    };
    (0..8).map(worker).collect()
}

fn csv(columns: &[String], lines: &[Map<String, Value>]) -> Vec<u8> {
    let cell = |line: &Map<String, Value>, name: &String| match &line[name] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(columns).unwrap();
    for line in lines {
        writer
            .write_record(columns.iter().map(|name| cell(line, name)))
            .unwrap();
    }
    writer.into_inner().unwrap()
}

/// Twenty different histograms in turn: encoding takes longer than reading back.
fn histograms(rows: &[Map<String, Value>], random: &mut fastrand::Rng) -> Vec<u8> {
    let made: Vec<Histogram<u64>> = (0..20).map(|_| histogram(random)).collect();
    let name = |row: &Map<String, Value>| {
        format!(
            "{}-c{}-t{}",
            row["arm"].as_str().unwrap(),
            row["conns"],
            row["trial"]
        )
    };
    let tags: Vec<String> = rows.iter().map(name).collect();
    let intervals: Vec<Interval> = tags
        .iter()
        .enumerate()
        .map(|(i, tag)| Interval {
            start: Duration::from_secs(1_700_000_000 + 5 * i as u64),
            length: Duration::from_secs(3),
            tag,
            histogram: made[i % made.len()].clone(),
        })
        .collect();
    interval_log(&intervals).unwrap()
}

fn histogram(random: &mut fastrand::Rng) -> Histogram<u64> {
    let mut histogram = Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS).unwrap();
    for _ in 0..30_000 {
        let tail = 1.0 / (1.0 - random.f64()).powf(0.7);
        histogram.record((90_000.0 * tail) as u64).unwrap();
    }
    histogram
}
