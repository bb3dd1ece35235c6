//! Commands for Redis: loadgen, redis-benchmark and memtier_benchmark.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use crate::contest::{Score, Server, Setup, end};
use crate::tools::{loadgen_against, output_of, redis_benchmark_said};

/// Who answers.
#[derive(Clone, Copy)]
pub enum Against {
    /// A server that returns what it is sent.
    Echo,
    /// Redis.
    Redis,
}

const KEYS: &str = "100000";
const BYTES: &str = "64";
const CONNS: &str = "50";

/// Loadgen with one command.
pub fn ours(setup: &Setup, against: Against, command: &str) -> Result<Score, String> {
    let server = start(setup, against)?;
    let args = ["--protocol", "resp", "--conns", CONNS, "--command", command];
    let more = ["--keys", KEYS, "--value-sizes", BYTES];
    let outcome = loadgen_against(setup, server.address(), &[&args[..], &more].concat())?;
    Ok(Score {
        figure: outcome.requests.per_s,
        cpu_us: outcome.generator.cpu_us_per_request,
    })
}

/// `redis-benchmark -r` with the same.
pub fn redis_benchmark(setup: &Setup, against: Against, name: &str) -> Result<Score, String> {
    let server = start(setup, against)?;
    let requests = (60_000.0 * setup.window.as_secs_f64()) as u64;
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &server.address().port().to_string(), "-q", "-r", KEYS]);
    command.args([
        "-c",
        CONNS,
        "-n",
        &requests.to_string(),
        name,
        "key:__rand_int__",
    ]);
    if name == "SET" {
        command.arg("x".repeat(64));
    }
    redis_benchmark_said(&output_of(setup, &mut command)?).map(Score::of)
}

/// `memtier_benchmark`, one thread, with the same.
pub fn memtier(setup: &Setup, name: &str) -> Result<Score, String> {
    let server = start(setup, Against::Redis)?;
    let ratio = if name == "SET" { "1:0" } else { "0:1" };
    let mut command = Command::new("memtier_benchmark");
    command.args([
        "--server",
        "127.0.0.1",
        "--port",
        &server.address().port().to_string(),
    ]);
    command.args(["--threads", "1", "--clients", CONNS, "--hide-histogram"]);
    command.args([
        "--key-maximum",
        KEYS,
        "--data-size",
        BYTES,
        "--ratio",
        ratio,
    ]);
    command.args(["--test-time", &setup.window.as_secs().max(1).to_string()]);
    let text = output_of(setup, &mut command)?;
    let totals = text.lines().find_map(|line| line.strip_prefix("Totals"));
    let per_s = totals.and_then(|totals| totals.split_whitespace().next()?.parse().ok());
    per_s
        .map(Score::of)
        .ok_or_else(|| format!("memtier_benchmark said {text:?}"))
}

enum Answering {
    Echo(Server),
    Redis(Redis),
}

impl Answering {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Echo(server) => server.address(),
            Self::Redis(server) => server.address,
        }
    }
}

fn start(setup: &Setup, against: Against) -> Result<Answering, String> {
    match against {
        Against::Echo => setup.start_server().map(Answering::Echo),
        Against::Redis => Redis::start(setup).map(Answering::Redis),
    }
}

/// Redis on the server's CPU, keeping nothing on disk.
struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Redis {
    fn start(setup: &Setup) -> Result<Self, String> {
        let said = |error: std::io::Error| format!("redis-server: {error}");
        let listener = TcpListener::bind("127.0.0.1:0").map_err(said)?;
        let address = listener.local_addr().map_err(said)?;
        drop(listener);
        let mut command = Command::new("redis-server");
        command.args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--protected-mode", "no"]);
        command.args(["--logfile", "/dev/null"]);
        let child = setup
            .spawn_on(setup.server_cpu, &mut command)
            .map_err(said)?;
        let server = Self { child, address };
        for _ in 0..500 {
            if TcpStream::connect(address).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("redis-server does not listen".into())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}
