//! Rounds, medians, ratios, and the server that everybody is measured against.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
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
    peers: Vec<Peer>,
}

/// Somebody to be compared with.
struct Peer {
    name: &'static str,
    wanted: Wanted,
    turn: Turn,
}

/// What is to be reached.
#[derive(Clone, Copy)]
enum Wanted {
    Nothing,
    /// Our figure, of theirs.
    Figure(f64),
    /// Our operations for each second of the client's CPU time, of theirs: what is left where the server is what is full.
    PerCpu(f64),
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
        self.peers.push(Peer {
            name,
            wanted: wanted.map_or(Wanted::Nothing, Wanted::Figure),
            turn: Box::new(turn),
        });
        self
    }

    /// A peer, and how many times its operations per second of the client's CPU time are to be reached.
    pub fn peer_by_cpu(
        mut self,
        name: &'static str,
        wanted: f64,
        turn: impl Fn(&Setup) -> Result<Score, String> + 'static,
    ) -> Self {
        self.peers.push(Peer {
            name,
            wanted: Wanted::PerCpu(wanted),
            turn: Box::new(turn),
        });
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
            for (index, peer) in self.peers.iter().enumerate() {
                if absent[index].is_none() {
                    match (peer.turn)(setup) {
                        Ok(score) => theirs[index].push(score),
                        Err(reason) => absent[index] = Some(reason),
                    }
                }
            }
        }
        println!("  {:<38} {}{}", "loadgen", spread(&own), self.judge(&own));
        for (index, Peer { name, wanted, .. }) in self.peers.iter().enumerate() {
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

fn ratios(own: &[Score], theirs: &[Score], wanted: Wanted) -> String {
    let figures = ratios_of(own, theirs, |a, b| Some(a.figure / b.figure));
    let per_cpu = ratios_of(own, theirs, |a, b| Some(b.cpu_us? / a.cpu_us?));
    let (figure_wanted, cpu_wanted) = match wanted {
        Wanted::Nothing => (None, None),
        Wanted::Figure(ratio) => (Some(ratio), None),
        Wanted::PerCpu(ratio) => (None, Some(ratio)),
    };
    let mut words = format!("; ours ÷ theirs {}", with_verdict(&figures, figure_wanted));
    if !per_cpu.is_empty() || cpu_wanted.is_some() {
        words += &format!("; per CPU second {}", with_verdict(&per_cpu, cpu_wanted));
    }
    words
}

/// One ratio for each round in which both are known.
fn ratios_of(
    own: &[Score],
    theirs: &[Score],
    ratio: impl Fn(&Score, &Score) -> Option<f64>,
) -> Vec<f64> {
    let pairs = own.iter().zip(theirs);
    pairs.filter_map(|(a, b)| ratio(a, b)).collect()
}

fn with_verdict(ratios: &[f64], wanted: Option<f64>) -> String {
    let middle = median(ratios);
    let verdict = match wanted {
        Some(wanted) if middle >= wanted => format!(", wanted {wanted:.2}: reached"),
        Some(wanted) => format!(", wanted {wanted:.2}: MISSED"),
        None => String::new(),
    };
    format!(
        "{middle:.3} ({:.3} to {:.3}){verdict}",
        least(ratios),
        most(ratios)
    )
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

/// Where servers listen, unless a contest says otherwise.
const LISTEN: &str = "127.0.0.1:0";

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

    /// A fresh server of this workspace on its CPU, with this service, where it is told to listen.
    pub fn start_at<A: FromStr>(&self, listen: &str, service: &str) -> Result<Program<A>, String> {
        let program = self.server.as_ref();
        let program = program.ok_or("no `epoll` server could be built")?;
        self.start_program(program, listen, &["--service", service])
    }

    /// A fresh echo server on its CPU.
    pub fn start_server(&self) -> Result<Server, String> {
        match &self.server {
            Some(program) => self
                .start_program(program, LISTEN, &["--service", "echo"])
                .map(Server::Program),
            None => NullServer::start(Some(self.server_cpu))
                .map(Server::Null)
                .map_err(|error| error.to_string()),
        }
    }

    /// A fresh HTTP responder on its CPU: the same server, or nginx where there is none.
    pub fn start_http(&self) -> Result<Server, String> {
        match &self.server {
            Some(program) => self
                .start_program(program, LISTEN, &["--service", "http"])
                .map(Server::Program),
            None => crate::tools::Nginx::start(self).map(Server::Nginx),
        }
    }

    /// A server of so many processes that a million connections find descriptors, on the server's CPU.
    pub fn start_many_processes(&self) -> Result<Server, String> {
        let program = built_server("reuseport").ok_or("no `reuseport` server could be built")?;
        self.start_program(&program, LISTEN, &["--workers", "60"])
            .map(Server::Program)
    }

    fn start_program<A: FromStr>(
        &self,
        program: &str,
        listen: &str,
        args: &[&str],
    ) -> Result<Program<A>, String> {
        let mut command = Command::new(program);
        command.args(["--listen", listen]).args(args);
        let child = self
            .spawn_on(self.server_cpu, &mut command)
            .map_err(|error| format!("{program}: {error}"))?;
        Program::wait_ready(child)
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

/// A server of this workspace; it ends when dropped.
pub struct Program<A> {
    child: Child,
    pub address: A,
}

impl<A: FromStr> Program<A> {
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
            Some(address) => Ok(Self { child, address }),
            None => {
                end(&mut child);
                Err(format!("the server said {line:?} instead of its address"))
            }
        }
    }
}

impl<A> Drop for Program<A> {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A server under test; it ends when dropped.
pub enum Server {
    Null(NullServer),
    Program(Program<SocketAddr>),
    Nginx(crate::tools::Nginx),
}

impl Server {
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Null(server) => server.address(),
            Self::Program(server) => server.address,
            Self::Nginx(server) => server.address,
        }
    }
}

/// Ends a program.
pub fn end(child: &mut Child) {
    // Already gone is as good as killed.
    let _ = child.kill();
    let _ = child.wait();
}
