//! How long charts and reports of a run of 2 145 rows take to make again: `cargo bench -p harness --bench report`.
//! The figure to hold is 3 s; exit code 1 if the median of five is above it.

#[path = "../tests/saved_run/mod.rs"]
mod saved_run;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let folder = tempfile::tempdir().unwrap();
    let rows = saved_run::write(
        folder.path(),
        &saved_run::models(),
        &saved_run::MANY_WORKLOADS,
        13,
    );
    let mut times: Vec<Duration> = (0..5).map(|_| report(folder.path())).collect();
    times.sort();
    let charts = std::fs::read_dir(folder.path().join("charts"))
        .unwrap()
        .count();
    println!(
        "{rows} rows, {charts} charts: median {:.2} s, {:.2} to {:.2} s of 5",
        times[2].as_secs_f64(),
        times[0].as_secs_f64(),
        times[4].as_secs_f64()
    );
    ExitCode::from(u8::from(times[2] > LIMIT))
}

fn report(folder: &std::path::Path) -> Duration {
    let started = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_tenk"))
        .args(["report", "--write"])
        .arg(folder)
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    started.elapsed()
}
