//! Rounds, medians, ratios, and the server that everybody is measured against.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use loadgen::base::limits::{own_cpus, pin};
use loadgen::base::null_server::NullServer;

/// What one contestant reached in one round.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// In the contest's unit.
    pub figure: f64,
    /// CPU time of the client per operation, in microseconds, where it is known.
    pub cpu_us: Option<f64>,
}

impl Score {
    /// A figure without CPU time.
    pub fn of(figure: f64) -> Self {
        Self {
            figure,
            cpu_us: None,
        }
    }
}

/// One contestant's turn; the error says why it cannot take part.
type Turn = Box<dyn Fn(&Setup) -> Result<Score, String>>;

/// One question.
pub struct Contest {
    /// What is compared.
    pub title: String,
    unit: &'static str,
    /// The figure of ours that must not be exceeded, where it is absolute.
    limit: Option<f64>,
    /// How many rounds it may take, where one takes minutes.
    rounds_at_most: usize,
    ours: Option<Turn>,
    peers: Vec<(&'static str, Option<f64>, Turn)>,
}

impl Contest {
    pub fn new(title: String, unit: &'static str) -> Self {
        Self {
            title,
            unit,
            limit: None,
            rounds_at_most: usize::MAX,
            ours: None,
            peers: Vec::new(),
        }
    }

    pub fn ours(mut self, turn: impl Fn(&Setup) -> Result<Score, String> + 'static) -> Self {
        self.ours = Some(Box::new(turn));
        self
    }

    /// What our figure must not exceed.
    pub fn at_most(mut self, limit: f64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// For turns that take minutes.
    pub fn rounds_at_most(mut self, rounds: usize) -> Self {
        self.rounds_at_most = rounds;
        self
    }

    /// A peer, and the ratio ours ÷ peer that is to be reached.
    pub fn peer(
        mut self,
        name: &'static str,
        wanted: Option<f64>,
        turn: impl Fn(&Setup) -> Result<Score, String> + 'static,
    ) -> Self {
        self.peers.push((name, wanted, Box::new(turn)));
        self
    }

    /// Runs the rounds and prints what came of them.
    pub fn run(&self, setup: &Setup) {
        println!("\n{} [{}]", self.title, self.unit);
        let Some(ours) = &self.ours else { return };
        let mut own = Vec::new();
        let mut theirs: Vec<Vec<Score>> = self.peers.iter().map(|_| Vec::new()).collect();
        let mut absent: Vec<Option<String>> = self.peers.iter().map(|_| None).collect();
        for _ in 0..setup.rounds.min(self.rounds_at_most) {
            match ours(setup) {
                Ok(score) => own.push(score),
                Err(reason) => return println!("  loadgen FAILED: {reason}"),
            }
            for (index, (_, _, turn)) in self.peers.iter().enumerate() {
                if absent[index].is_none() {
                    match turn(setup) {
                        Ok(score) => theirs[index].push(score),
                        Err(reason) => absent[index] = Some(reason),
                    }
                }
            }
        }
        println!("  {:<38} {}{}", "loadgen", spread(&own), self.judge(&own));
        for (index, (name, wanted, _)) in self.peers.iter().enumerate() {
            match &absent[index] {
                Some(reason) => println!("  {name:<38} skipped: {reason}"),
                None => println!(
                    "  {name:<38} {}{}",
                    spread(&theirs[index]),
                    ratios(&own, &theirs[index], *wanted)
                ),
            }
        }
    }
}

impl Contest {
    fn judge(&self, own: &[Score]) -> String {
        let figures: Vec<f64> = own.iter().map(|score| score.figure).collect();
        match self.limit {
            Some(limit) if median(&figures) <= limit => {
                format!("; wanted at most {limit:.0}: reached")
            }
            Some(limit) => format!("; wanted at most {limit:.0}: MISSED"),
            None => String::new(),
        }
    }
}

fn spread(scores: &[Score]) -> String {
    let figures: Vec<f64> = scores.iter().map(|score| score.figure).collect();
    let cpu: Vec<f64> = scores.iter().filter_map(|score| score.cpu_us).collect();
    let cpu = if cpu.is_empty() {
        String::new()
    } else {
        format!(", CPU {:.2} µs each", median(&cpu))
    };
    format!(
        "{:>9.0} ({:.0} to {:.0}){cpu}",
        median(&figures),
        least(&figures),
        most(&figures)
    )
}

fn ratios(own: &[Score], theirs: &[Score], wanted: Option<f64>) -> String {
    let ratios: Vec<f64> = own
        .iter()
        .zip(theirs)
        .map(|(a, b)| a.figure / b.figure)
        .collect();
    let middle = median(&ratios);
    let verdict = match wanted {
        Some(wanted) if middle >= wanted => format!(", wanted {wanted:.2}: reached"),
        Some(wanted) => format!(", wanted {wanted:.2}: MISSED"),
        None => String::new(),
    };
    format!(
        "; ours ÷ theirs {middle:.3} ({:.3} to {:.3}){verdict}{}",
        least(&ratios),
        most(&ratios),
        cpu_ratio(own, theirs)
    )
}

/// Client CPU per operation beside the peer's, where both are known.
fn cpu_ratio(own: &[Score], theirs: &[Score]) -> String {
    let pairs = own.iter().zip(theirs);
    let ratios: Vec<f64> = pairs
        .filter_map(|(a, b)| Some(a.cpu_us? / b.cpu_us?))
        .collect();
    match ratios.is_empty() {
        true => String::new(),
        false => format!(
            "; CPU each {:.3} × ({:.3} to {:.3})",
            median(&ratios),
            least(&ratios),
            most(&ratios)
        ),
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// Where and how long.
pub struct Setup {
    pub rounds: usize,
    pub window: Duration,
    pub client_cpu: usize,
    pub server_cpu: usize,
    server: Option<String>,
}

impl Setup {
    pub fn from_env() -> Self {
        let number = |name: &str, default: f64| {
            std::env::var(name)
                .ok()
                .and_then(|text| text.parse().ok())
                .filter(|n: &f64| *n > 0.0)
                .unwrap_or(default)
        };
        let cpus = own_cpus();
        Self {
            rounds: number("TENK_BENCH_ROUNDS", 5.0) as usize,
            window: Duration::from_secs_f64(number("TENK_BENCH_SECONDS", 2.0)),
            client_cpu: cpus.last().copied().unwrap_or(0),
            server_cpu: cpus.first().copied().unwrap_or(0),
            server: std::env::var("TENK_SERVER")
                .ok()
                .or_else(|| built_server("epoll")),
        }
    }

    pub fn describe(&self) -> String {
        let server = self
            .server
            .as_deref()
            .unwrap_or("loadgen's null server (no `epoll` server could be built)");
        let shared = if self.client_cpu == self.server_cpu {
            " SHARED BY BOTH SIDES"
        } else {
            ""
        };
        format!(
            "server {server} on CPU {}, clients on CPU {}{shared}; {} rounds of {:?}",
            self.server_cpu, self.client_cpu, self.rounds, self.window
        )
    }

    /// A fresh echo server on its CPU.
    pub fn start_server(&self) -> Result<Server, String> {
        match &self.server {
            Some(program) => self.start_program(program, &["--service", "echo"]),
            None => NullServer::start(Some(self.server_cpu))
                .map(Server::Null)
                .map_err(|error| error.to_string()),
        }
    }

    /// A fresh HTTP responder on its CPU: the same server, or nginx where there is none.
    pub fn start_http(&self) -> Result<Server, String> {
        match &self.server {
            Some(program) => self.start_program(program, &["--service", "http"]),
            None => crate::tools::Nginx::start(self).map(Server::Nginx),
        }
    }

    /// A server of so many processes that a million connections find descriptors, on the server's CPU.
    pub fn start_many_processes(&self) -> Result<Server, String> {
        let program = built_server("reuseport").ok_or("no `reuseport` server could be built")?;
        self.start_program(&program, &["--workers", "60"])
    }

    fn start_program(&self, program: &str, args: &[&str]) -> Result<Server, String> {
        let mut command = Command::new(program);
        command.args(["--listen", "127.0.0.1:0"]).args(args);
        let child = self
            .spawn_on(self.server_cpu, &mut command)
            .map_err(|error| format!("{program}: {error}"))?;
        Server::wait_ready(child)
    }

    /// Starts a program on one CPU: children inherit the affinity of the thread that forks.
    pub fn spawn_on(&self, cpu: usize, command: &mut Command) -> std::io::Result<Child> {
        let before = own_cpus();
        // Where it is not allowed, results are only noisier.
        pin(&[cpu]);
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        pin(&before);
        child
    }
}

/// A server of this workspace, built through the cargo that runs the bench.
fn built_server(name: &str) -> Option<String> {
    let cargo = std::env::var("CARGO").ok()?;
    let args = [
        "build",
        "--release",
        "-p",
        "servers",
        "--bin",
        name,
        "--message-format=json-render-diagnostics",
    ];
    let output = Command::new(cargo)
        .args(args)
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let executables = messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    executables
        .filter_map(|message| message["executable"].as_str().map(str::to_owned))
        .next_back()
}

/// A server under test; it ends when dropped.
pub enum Server {
    Null(NullServer),
    Program(Child, SocketAddr),
    Nginx(crate::tools::Nginx),
}

impl Server {
    /// Reads the ready line `listening ADDRESS`.
    fn wait_ready(mut child: Child) -> Result<Self, String> {
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout)
                .read_line(&mut line)
                .map_err(|error| error.to_string())?;
        }
        match line
            .trim()
            .strip_prefix("listening ")
            .and_then(|address| address.parse().ok())
        {
            Some(address) => Ok(Self::Program(child, address)),
            None => {
                end(&mut child);
                Err(format!("the server said {line:?} instead of its address"))
            }
        }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Null(server) => server.address(),
            Self::Program(_, address) => *address,
            Self::Nginx(server) => server.address,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Program(child, _) = self {
            end(child);
        }
    }
}

/// Ends a program.
pub fn end(child: &mut Child) {
    // Already gone is as good as killed.
    let _ = child.kill();
    let _ = child.wait();
}
