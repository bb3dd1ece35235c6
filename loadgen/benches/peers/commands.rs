//! Commands for Redis: loadgen, redis-benchmark and memtier_benchmark.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::Duration;

use crate::contest::{Score, Server, Setup, end};
use crate::tools::{self, Done, redis_benchmark_did};

/// Who answers.
#[derive(Clone, Copy)]
pub enum Against {
    /// A server that returns what it is sent.
    Echo,
    /// Redis.
    Redis,
}

/// What is asked.
#[derive(Clone, Copy)]
pub struct Asked {
    pub against: Against,
    /// Of Redis: SET or GET.
    pub name: &'static str,
    /// Requests in flight on each connection.
    pub pipeline: usize,
}

const KEYS: &str = "100000";
const BYTES: &str = "64";
const CONNS: &str = "50";

/// Loadgen with one command.
pub fn ours(setup: &Setup, asked: Asked) -> Result<Score, String> {
    let server = start(setup, asked.against)?;
    let command = match asked.name {
        "SET" => "SET __key__ __value__",
        _ => "GET __key__",
    };
    let pipeline = asked.pipeline.to_string();
    let args = ["--protocol", "resp", "--conns", CONNS, "--command", command];
    let more = [
        "--keys",
        KEYS,
        "--value-sizes",
        BYTES,
        "--pipeline",
        &pipeline,
    ];
    tools::ours(setup, server.address(), &[&args[..], &more].concat())
}

/// `redis-benchmark -r` with the same.
pub fn redis_benchmark(setup: &Setup, asked: Asked) -> Result<Score, String> {
    let server = start(setup, asked.against)?;
    let pace = if asked.pipeline > 1 {
        400_000.0
    } else {
        60_000.0
    };
    let requests = (pace * setup.window.as_secs_f64()) as usize;
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &server.address().port().to_string(), "-q", "-r", KEYS]);
    command.args(["-c", CONNS, "-P", &asked.pipeline.to_string()]);
    command.args(["-n", &requests.to_string(), asked.name, "key:__rand_int__"]);
    if asked.name == "SET" {
        command.arg("x".repeat(64));
    }
    tools::theirs(setup, &mut command, |text| {
        redis_benchmark_did(text, requests)
    })
    .map(Done::score)
}

/// `memtier_benchmark`, one thread, with the same.
pub fn memtier(setup: &Setup, asked: Asked) -> Result<Score, String> {
    let server = start(setup, asked.against)?;
    let ratio = if asked.name == "SET" { "1:0" } else { "0:1" };
    let (port, seconds) = (server.address().port(), setup.window.as_secs().max(1));
    let mut command = Command::new("memtier_benchmark");
    command.args(["--server", "127.0.0.1", "--port", &port.to_string()]);
    command.args(["--threads", "1", "--clients", CONNS, "--hide-histogram"]);
    command.args([
        "--key-maximum",
        KEYS,
        "--data-size",
        BYTES,
        "--ratio",
        ratio,
    ]);
    command.args(["--pipeline", &asked.pipeline.to_string()]);
    command.args(["--test-time", &seconds.to_string()]);
    let did = |text: &str| {
        let totals = text.lines().find_map(|line| line.strip_prefix("Totals"));
        let per_s = totals.and_then(|totals| totals.split_whitespace().next()?.parse().ok());
        per_s
            .map(|per_s: f64| (per_s * seconds as f64, seconds as f64))
            .ok_or_else(|| format!("memtier_benchmark said {text:?}"))
    };
    tools::theirs(setup, &mut command, did).map(Done::score)
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
