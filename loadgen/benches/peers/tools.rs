//! Programs: loadgen itself and the tools people use.

use std::io::Read;
use std::process::Command;

use loadgen::outcome::Outcome;

use crate::contest::{Score, Setup};

/// Loadgen in a closed loop over long-lived connections.
pub fn closed_loop(setup: &Setup, conns: usize) -> Result<Score, String> {
    let outcome = loadgen(setup, &["--conns", &conns.to_string()])?;
    Ok(Score {
        figure: outcome.requests.per_s,
        cpu_us: outcome.generator.cpu_us_per_request,
    })
}

/// Loadgen with one request per connection.
pub fn short_lived(setup: &Setup, in_flight: usize) -> Result<Score, String> {
    let outcome = loadgen(
        setup,
        &[
            "--conns",
            &in_flight.to_string(),
            "--requests-per-conn",
            "1",
        ],
    )?;
    Ok(Score {
        figure: outcome.connections.per_s,
        cpu_us: outcome.generator.cpu_us_per_request,
    })
}

/// How fast loadgen's ramp goes.
pub fn ramp(setup: &Setup, conns: usize) -> Result<Score, String> {
    let outcome = loadgen(
        setup,
        &[
            "--conns",
            &conns.to_string(),
            "--duration",
            "100ms",
            "--warmup",
            "0",
        ],
    )?;
    Ok(Score::of(conns as f64 / outcome.ramp_s))
}

/// What loadgen's resident memory grows by with every connection.
pub fn memory(setup: &Setup, conns: usize) -> Result<Score, String> {
    let rss_bytes = |conns: usize| -> Result<f64, String> {
        let outcome = loadgen(
            setup,
            &[
                "--conns",
                &conns.to_string(),
                "--duration",
                "500ms",
                "--warmup",
                "100ms",
            ],
        )?;
        Ok(outcome.generator.max_rss_kib as f64 * 1024.0)
    };
    Ok(Score::of(
        (rss_bytes(conns)? - rss_bytes(10)?) / (conns - 10) as f64,
    ))
}

fn loadgen(setup: &Setup, args: &[&str]) -> Result<Outcome, String> {
    let server = setup.start_server()?;
    let target = server.address().to_string();
    let cpu = setup.client_cpu.to_string();
    let window = format!("{}ms", setup.window.as_millis());
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["--target", &target, "--cpus", &cpu, "--format", "json"]);
    if !args.contains(&"--duration") {
        command.args(["--warmup", "500ms", "--duration", &window]);
    }
    command.args(args);
    let text = output_of(setup, &mut command)?;
    let outcome: Outcome =
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let c = &outcome.connections;
    if c.served_at_barrier < c.requested || !outcome.failures.is_empty() {
        return Err(format!(
            "{} of {} served, {:?}",
            c.served_at_barrier, c.requested, outcome.failures
        ));
    }
    Ok(outcome)
}

/// `redis-benchmark -q PING`: an echo server returns the command, which is a valid answer.
pub fn redis_benchmark(setup: &Setup, conns: usize) -> Result<Score, String> {
    let server = setup.start_server()?;
    let requests = (80_000.0 * setup.window.as_secs_f64()) as usize;
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &server.address().port().to_string(), "-q"]);
    command.args([
        "-c",
        &conns.to_string(),
        "-n",
        &requests.max(conns * 4).to_string(),
        "PING",
    ]);
    let text = output_of(setup, &mut command)?;
    let figure = text
        .rsplit(['\r', '\n'])
        .find_map(|line| line.split_once(" requests per second"))
        .and_then(|(head, _)| head.rsplit(' ').next()?.parse().ok());
    figure
        .map(Score::of)
        .ok_or_else(|| format!("redis-benchmark said {text:?}"))
}

/// Runs a program on the client's CPU to its end and returns what it printed.
fn output_of(setup: &Setup, command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child =
        setup
            .spawn_on(setup.client_cpu, command)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => format!("{name} is not installed"),
                _ => format!("{name}: {error}"),
            })?;
    let mut text = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() {
        let mut complaint = String::new();
        if let Some(stderr) = &mut child.stderr {
            stderr
                .read_to_string(&mut complaint)
                .map_err(|error| error.to_string())?;
        }
        return Err(format!("{name}: {status}: {complaint}"));
    }
    Ok(text)
}
