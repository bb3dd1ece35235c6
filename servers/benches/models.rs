//! What a model costs beside a minimal C program of the same model, and whether
//! the models differ from each other the way they are known to.
//!
//! `cargo bench -p servers --bench models`. The server is pinned to CPU 0, the
//! client to CPU 1; the two sides of a comparison take turns, and what counts is
//! the ratio within a turn: its median, and its range in brackets. A word on
//! the command line picks the comparisons that contain it.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

const TURNS: usize = 7;
const TURN: Duration = Duration::from_millis(500);
const MESSAGE: [u8; 64] = [b'x'; 64];

fn main() -> io::Result<()> {
    if !std::env::args().any(|word| word == "--bench") {
        println!("skipped: measures only under cargo bench");
        return Ok(());
    }
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let mut second = CpuSet::new();
    second.set(1)?;
    if sched_setaffinity(Pid::from_raw(0), &second).is_err() {
        println!("skipped: server and client need a CPU each, and this machine has one");
        return Ok(());
    }
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    let bench = Bench {
        dir: tempfile::tempdir()?.keep(),
        wanted,
    };
    println!("median of {TURNS} turns [lowest to highest]; CPU is the server's, kernel included\n");
    bench.beside_c()?;
    bench.beside_epoll()?;
    bench.one_among_idle()?;
    bench.short_connections()?;
    bench.idle_memory()?;
    fs::remove_dir_all(&bench.dir)
}

struct Bench {
    dir: PathBuf,
    wanted: Vec<String>,
}

impl Bench {
    fn wants(&self, name: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|word| name.contains(word.as_str()))
    }

    /// Throughput beside C, at 50 and at 1000 connections.
    fn beside_c(&self) -> io::Result<()> {
        for model in ["epoll", "epoll-et", "poll", "select", "thread", "process"] {
            let Some(program) = self.compile(model)? else {
                return Ok(());
            };
            for conns in [50, if model == "select" { 900 } else { 1000 }] {
                let name = format!("{model} beside C, {conns} connections");
                if self.wants(&name) {
                    let ours = Arm::start(&binary(model), &[], conns)?;
                    let theirs = Arm::start(&program, &[], conns)?;
                    compare(&name, ours, theirs, "at least 0.95 of the throughput")?;
                }
            }
        }
        Ok(())
    }

    fn beside_epoll(&self) -> io::Result<()> {
        for (model, conns, target) in [
            ("io-uring", 50, ""),
            ("io-uring", 1000, "at least 0.95 of the throughput"),
            ("tokio", 50, "at least 0.85 of the throughput"),
            ("tokio", 1000, "at least 0.85 of the throughput"),
        ] {
            let name = format!("{model} beside epoll, {conns} connections");
            if self.wants(&name) {
                let ours = Arm::start(&binary(model), &[], conns)?;
                let theirs = Arm::start(&binary("epoll"), &[], conns)?;
                compare(&name, ours, theirs, target)?;
            }
        }
        if self.wants("io-uring system calls") {
            let per_request = |model| self.calls_per_request(model, 1000);
            match (per_request("io-uring")?, per_request("epoll")?) {
                (Some(ours), Some(theirs)) => println!(
                    "io-uring system calls per request, 1000 connections, under strace: {ours:.3} beside epoll's {theirs:.3}, ratio {:.3}; target: under 0.5\n",
                    ours / theirs
                ),
                _ => println!("skipped: io-uring system calls: strace is not installed\n"),
            }
        }
        Ok(())
    }

    /// One busy connection among 5000 idle ones.
    fn one_among_idle(&self) -> io::Result<()> {
        let name = "poll beside epoll, 1 active among 5000 idle connections";
        if !self.wants(name) {
            return Ok(());
        }
        let mut arms = [
            Arm::start(&binary("poll"), &[], 5000)?,
            Arm::start(&binary("epoll"), &[], 5000)?,
        ];
        for arm in &mut arms {
            // Those not among the clients are idle.
            arm.idle = arm.clients.split_off(1);
        }
        let [poll, epoll] = arms;
        compare(name, poll, epoll, "over 20 times the CPU per request")
    }

    /// CPU per connection that makes one request.
    fn short_connections(&self) -> io::Result<()> {
        let name = "thread-pool beside process, short connections";
        if !self.wants(name) {
            return Ok(());
        }
        let [pool, process] =
            ["thread-pool", "process"].map(|model| Arm::start(&binary(model), &[], 0));
        let (pool, process) = (pool?, process?);
        let mut ratios = Vec::new();
        for _ in 0..TURNS {
            let (Some(ours), Some(theirs)) = (
                pool.short_connection_cpu()?,
                process.short_connection_cpu()?,
            ) else {
                println!("skipped: {name}: no CPU accounting group can be made here\n");
                return Ok(());
            };
            ratios.push(ours / theirs);
        }
        println!(
            "{name}\n  CPU per connection: {}; target: under a third\n",
            spread(ratios)
        );
        Ok(())
    }

    /// Memory of the server's own per connection that has spoken and is silent.
    fn idle_memory(&self) -> io::Result<()> {
        const CONNS: usize = 5000;
        if !self.wants("idle memory") {
            return Ok(());
        }
        println!(
            "idle memory, {CONNS} connections (select: 900); target: under 700 bytes each in the event loops"
        );
        for model in [
            "select",
            "poll",
            "epoll",
            "epoll-et",
            "epoll-oneshot",
            "io-uring",
            "tokio",
            "thread",
            "process",
        ] {
            let conns = if model == "select" { 900 } else { CONNS };
            let mut arm = Arm::start(&binary(model), &[], 50)?;
            arm.turn()?;
            let before = arm.memory()?;
            arm.connect(conns)?;
            let each = (arm.memory()? as f64 - before as f64) / conns as f64;
            println!("  {model:<14} {each:>8.0} bytes each");
        }
        println!();
        Ok(())
    }

    /// The C program of a model; none, with a line that says why, without cc.
    fn compile(&self, model: &str) -> io::Result<Option<PathBuf>> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/c/{model}.c"));
        let program = self.dir.join(format!("c-{model}"));
        match Command::new("cc")
            .args(["-O2", "-pthread", "-o"])
            .arg(&program)
            .arg(source)
            .status()
        {
            Ok(status) if status.success() => Ok(Some(program)),
            Ok(status) => Err(io::Error::other(format!("cc ended with {status}"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                println!("skipped: comparisons with C: no cc is installed\n");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn calls_per_request(&self, model: &str, conns: usize) -> io::Result<Option<f64>> {
        let table = self.dir.join("strace");
        let words = [
            "strace",
            "-f",
            "-qq",
            "-c",
            "-o",
            table.to_str().unwrap_or("strace"),
        ];
        let mut arm = match Arm::start(&binary(model), &words, conns) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut requests = conns as u64;
        for _ in 0..4 {
            requests += arm.turn()?.requests;
        }
        drop(arm);
        let table = fs::read_to_string(table)?;
        let total = table.lines().rfind(|line| line.ends_with("total"));
        let calls: f64 = total
            .and_then(|line| line.split_whitespace().nth(3)?.parse().ok())
            .unwrap_or(f64::NAN);
        Ok(Some(calls / requests as f64))
    }
}

/// Has two arms take turns and prints their ratios.
fn compare(name: &str, mut ours: Arm, mut theirs: Arm, target: &str) -> io::Result<()> {
    let (mut rates, mut costs, mut ours_per_s) = (Vec::new(), Vec::new(), Vec::new());
    ours.turn()?;
    theirs.turn()?;
    for turn in 0..TURNS {
        let (one, other) = match turn % 2 {
            0 => (ours.turn()?, theirs.turn()?),
            _ => {
                let other = theirs.turn()?;
                (ours.turn()?, other)
            }
        };
        ours_per_s.push(one.per_s());
        rates.push(one.per_s() / other.per_s());
        costs.extend(one.cpu_s.zip(other.cpu_s).map(|(one_s, other_s)| {
            (one_s / one.requests as f64) / (other_s / other.requests as f64)
        }));
    }
    ours_per_s.sort_by(f64::total_cmp);
    println!(
        "{name}\n  throughput: {}, {:.0}/s",
        spread(rates),
        ours_per_s[TURNS / 2]
    );
    match costs.is_empty() {
        true => println!("  CPU per request: skipped, no CPU accounting group can be made here"),
        false => println!("  CPU per request: {}", spread(costs)),
    }
    println!("  target: {target}\n");
    Ok(())
}

fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let last = ratios.len() - 1;
    format!(
        "{:.3} [{:.3} to {:.3}]",
        ratios[last / 2],
        ratios[0],
        ratios[last]
    )
}

/// A server with its clients.
struct Arm {
    server: Child,
    pid: String,
    addr: SocketAddr,
    group: Option<PathBuf>,
    epoll: Epoll,
    clients: Vec<TcpStream>,
    idle: Vec<TcpStream>,
}

/// What one turn brought.
struct Turn {
    requests: u64,
    elapsed: Duration,
    cpu_s: Option<f64>,
}

impl Turn {
    fn per_s(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }
}

impl Arm {
    /// Starts a server, under another program if there are words for one, in a
    /// CPU accounting group of its own where one can be made.
    fn start(program: &Path, under: &[&str], conns: usize) -> io::Result<Arm> {
        let group = accounting_group();
        let enter = match &group {
            Some(dir) => format!(
                "echo $$ > {}/cgroup.procs; echo $$ >&2; exec \"$@\"",
                dir.display()
            ),
            None => "echo $$ >&2; exec \"$@\"".to_owned(),
        };
        let mut words: Vec<&str> = under.to_vec();
        words.extend([
            "setpriv",
            "--pdeathsig",
            "KILL",
            "taskset",
            "-c",
            "0",
            "sh",
            "-c",
            &enter,
            "sh",
        ]);
        let mut server = Command::new(words[0])
            .args(&words[1..])
            .arg(program)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let first_line = |of: Option<Box<dyn Read>>| -> io::Result<String> {
            let mut line = String::new();
            let pipe = of.ok_or(io::ErrorKind::BrokenPipe)?;
            BufReader::new(pipe).read_line(&mut line)?;
            Ok(line.trim_end().to_owned())
        };
        let pid = first_line(
            server
                .stderr
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read>),
        )?;
        let ready = first_line(
            server
                .stdout
                .take()
                .map(|pipe| Box::new(pipe) as Box<dyn Read>),
        )?;
        let addr = ready
            .strip_prefix("listening ")
            .and_then(|addr| addr.parse().ok());
        let addr = addr.ok_or_else(|| io::Error::other(format!("no ready line but {ready:?}")))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let mut arm = Arm {
            server,
            pid,
            addr,
            group,
            epoll,
            clients: Vec::new(),
            idle: Vec::new(),
        };
        arm.connect(conns)?;
        Ok(arm)
    }

    /// Adds clients, each of which is served once.
    fn connect(&mut self, conns: usize) -> io::Result<()> {
        for _ in 0..conns {
            let client = TcpStream::connect(self.addr)?;
            client.set_nodelay(true)?;
            client.set_read_timeout(Some(Duration::from_secs(20)))?;
            exchange(&client)?;
            client.set_nonblocking(true)?;
            let index = self.clients.len() as u64;
            self.epoll
                .add(&client, EpollEvent::new(EpollFlags::EPOLLIN, index))?;
            self.clients.push(client);
        }
        Ok(())
    }

    /// A closed loop over all clients, for a while.
    fn turn(&mut self) -> io::Result<Turn> {
        let (cpu_before, start) = (self.cpu_s(), Instant::now());
        let mut events = [EpollEvent::empty(); 256];
        let (mut requests, mut under_way) = (0, self.clients.len());
        for mut client in &self.clients {
            client.write_all(&MESSAGE)?;
        }
        while under_way > 0 {
            let count = self
                .epoll
                .wait(&mut events, EpollTimeout::from(20_000u16))?;
            if count == 0 {
                return Err(io::Error::other("no answer for 20 s"));
            }
            let go_on = start.elapsed() < TURN;
            for event in &events[..count] {
                let mut client = &self.clients[event.data() as usize];
                // So short a message comes in one piece over loopback.
                let mut answer = [0; 128];
                let length = client.read(&mut answer)?;
                if answer[..length] != MESSAGE {
                    return Err(io::Error::other(format!(
                        "{length} bytes came back, not the 64 sent"
                    )));
                }
                requests += 1;
                match go_on {
                    true => client.write_all(&MESSAGE)?,
                    false => under_way -= 1,
                }
            }
        }
        let elapsed = start.elapsed();
        let cpu_s = self
            .cpu_s()
            .zip(cpu_before)
            .map(|(after, before)| after - before);
        Ok(Turn {
            requests,
            elapsed,
            cpu_s,
        })
    }

    fn short_connection_cpu(&self) -> io::Result<Option<f64>> {
        const CONNECTIONS: u32 = 2000;
        let before = self.cpu_s();
        for _ in 0..CONNECTIONS {
            exchange(&TcpStream::connect(self.addr)?)?;
        }
        Ok(self
            .cpu_s()
            .zip(before)
            .map(|(after, before)| (after - before) / f64::from(CONNECTIONS)))
    }

    /// CPU time of all processes of the group, ended ones included.
    fn cpu_s(&self) -> Option<f64> {
        let group = self.group.as_ref()?;
        if let Ok(nanoseconds) = fs::read_to_string(group.join("cpuacct.usage")) {
            return Some(nanoseconds.trim().parse::<f64>().ok()? / 1e9);
        }
        let stat = fs::read_to_string(group.join("cpu.stat")).ok()?;
        let usage = stat
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "))?;
        Some(usage.parse::<f64>().ok()? / 1e6)
    }

    /// Anonymous memory of the server and its children, in bytes.
    fn memory(&self) -> io::Result<u64> {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.pid))
            .unwrap_or_default();
        let family = children.split_whitespace().chain([self.pid.as_str()]);
        let anonymous = |pid: &str| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = rollup.lines().find(|line| line.starts_with("Anonymous:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        Ok(family.filter_map(anonymous).sum::<u64>() * 1024)
    }
}

impl Drop for Arm {
    fn drop(&mut self) {
        if let Ok(pid) = self.pid.parse() {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGTERM);
        }
        let _ = self.server.wait();
        if let Some(group) = &self.group {
            let start = Instant::now();
            while fs::remove_dir(group).is_err() && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn exchange(mut client: &TcpStream) -> io::Result<()> {
    let mut answer = [0; MESSAGE.len()];
    client.write_all(&MESSAGE)?;
    client.read_exact(&mut answer)
}

fn accounting_group() -> Option<PathBuf> {
    static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let name = format!("tenk-bench-{}-{number}", std::process::id());
    ["/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup"]
        .map(Path::new)
        .into_iter()
        .filter(|root| root.join("cgroup.procs").exists())
        .map(|root| root.join(&name))
        .find(|dir| fs::create_dir(dir).is_ok())
}

fn binary(model: &str) -> PathBuf {
    let key = format!("CARGO_BIN_EXE_{model}");
    match std::env::var(&key) {
        Ok(path) => PathBuf::from(path),
        Err(_) => panic!("{key} is not set: run this through cargo bench"),
    }
}
