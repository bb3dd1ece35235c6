//! Starts real servers for the tests and talks to them.
//!
//! `spawn("epoll").arg("--trace").start()` gives a server that listens on a port
//! of its own, writes a ledger, and is killed and reaped when dropped.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::ledger::{Reader, Tally};
use servers::models::{Readiness, Unit, find};
use socket2::SockRef;
use tempfile::TempDir;

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The model in `model:variant`.
pub fn base(arm: &str) -> &str {
    arm.split(':').next().unwrap_or(arm)
}

/// What carries a connection, and how the model learns that something can be done.
pub fn axes(arm: &str) -> (Unit, Readiness) {
    let model = find(base(arm)).expect("a model");
    (model.unit, model.readiness)
}

/// The binary of a model.
pub fn binary(model: &str) -> PathBuf {
    let key = format!("CARGO_BIN_EXE_{model}");
    PathBuf::from(
        std::env::var(&key).unwrap_or_else(|_| panic!("{key} is not set: run this through cargo")),
    )
}

/// Runs a model to its end, for command lines that must fail.
pub fn run(model: &str, args: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command
        .args(["--signal=KILL", "20"])
        .arg(binary(model))
        .args(args);
    command.stdin(Stdio::null()).output().unwrap()
}

/// A server to be started.
pub struct Spawn {
    model: String,
    args: Vec<String>,
    nofile: u64,
    soft_nofile: Option<u64>,
    under: Vec<String>,
    listen: String,
}

/// A server of this `model` or `model:variant`.
pub fn spawn(arm: &str) -> Spawn {
    let (model, words) = arm.split_once(':').unwrap_or((arm, ""));
    let args = find(model).unwrap().flags(words).unwrap();
    Spawn {
        model: model.to_owned(),
        args,
        nofile: 8192,
        soft_nofile: None,
        under: Vec::new(),
        listen: "127.0.0.1:0".to_owned(),
    }
}

impl Spawn {
    /// One more word on the command line.
    pub fn arg(mut self, word: impl ToString) -> Spawn {
        self.args.push(word.to_string());
        self
    }

    /// The server's limit on descriptors.
    pub fn nofile(mut self, limit: u64) -> Spawn {
        self.nofile = limit;
        self
    }

    /// The soft limit it starts with, where that is not the hard one.
    pub fn soft_nofile(mut self, limit: u64) -> Spawn {
        self.soft_nofile = Some(limit);
        self
    }

    /// Where it listens.
    pub fn listen(mut self, address: &str) -> Spawn {
        self.listen = address.to_owned();
        self
    }

    /// Runs the server under another program, which is given its command line.
    pub fn under(mut self, words: &[&str]) -> Spawn {
        self.under = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Starts it and waits for its ready line.
    pub fn start(self) -> Server {
        let model = self.model.clone();
        self.try_start()
            .unwrap_or_else(|said| panic!("{model}: no ready line but {said:?}"))
    }

    /// The same, or what it said instead. setpriv has the kernel kill it
    /// should this test die first; prlimit sets its limit. Both exec, so the
    /// process started is the server.
    pub fn try_start(self) -> Result<Server, String> {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger");
        let soft = self.soft_nofile.unwrap_or(self.nofile);
        let limit = format!("--nofile={soft}:{}", self.nofile);
        let mut words = self.under;
        words.extend(["setpriv", "--pdeathsig", "KILL", "prlimit", &limit].map(str::to_owned));
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .arg(binary(&self.model))
            .args(["--listen", &self.listen, "--ledger"])
            .arg(&ledger)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .expect("setpriv and prlimit, of util-linux, are needed");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let said = line.strip_prefix("listening ").map(str::trim_end);
        let path = said.and_then(|said| said.strip_prefix("unix:"));
        let path = path.map(PathBuf::from);
        let ip = said.and_then(|said| said.parse().ok());
        let Some(addr) = ip.or(path.as_ref().map(|_| SocketAddr::from(([0; 4], 0)))) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(line + &std::fs::read_to_string(dir.path().join("stderr")).unwrap());
        };
        let ledger = Reader::open(&ledger).unwrap();
        Ok(Server {
            addr,
            path,
            ledger,
            stdout,
            child,
            dir,
        })
    }
}

/// A running server.
pub struct Server {
    /// Where it listens, unless at a path.
    pub addr: SocketAddr,
    /// The path of its Unix socket.
    pub path: Option<PathBuf>,
    /// Its counters.
    pub ledger: Reader,
    /// What it prints after the ready line.
    pub stdout: BufReader<ChildStdout>,
    child: Child,
    dir: TempDir,
}

impl Server {
    /// A client, with deadlines so that no test can hang.
    pub fn connect(&self) -> TcpStream {
        let client = match &self.path {
            None => TcpStream::connect(self.addr).unwrap(),
            // The calls of a stream are the same in all families.
            Some(path) => OwnedFd::from(UnixStream::connect(path).unwrap()).into(),
        };
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        if self.path.is_none() {
            client.set_nodelay(true).unwrap();
        }
        client
    }

    /// Sends a signal to the server and its children.
    pub fn signal(&self, signal: Signal) {
        for pid in self.family() {
            // A child may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid.parse().unwrap()), signal);
        }
    }

    /// Waits until all workers have been started: until nothing changes for a
    /// while.
    pub fn settle(&self) {
        let look = || (self.descriptors(), self.tasks());
        let mut before = look();
        for _ in 0..100 {
            std::thread::sleep(Duration::from_millis(100));
            let now = look();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// Its process id, which is not the child's if it runs under another program.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.ledger.header().pid).unwrap())
    }

    /// What it has said on stderr.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("stderr")).unwrap()
    }

    /// Its exit code, if it has ended.
    pub fn ended(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().unwrap().map(|status| status.code())
    }

    /// What it has counted.
    pub fn tally(&self) -> Tally {
        self.ledger.total()
    }

    /// Waits until the counters satisfy a condition.
    pub fn wait_for(&self, what: &str, condition: impl Fn(Tally) -> bool) {
        wait_until(
            || condition(self.tally()),
            || format!("{what}; it has counted {:?}", self.tally()),
        );
    }

    /// Checks that a new client is served, and that the server counts nobody as
    /// connected once that client has left.
    pub fn assert_well(&mut self) {
        assert_echo(&mut self.connect(), b"still there?");
        self.wait_for("no connection is left open", |tally| tally.open() == 0);
        assert_eq!(self.ended(), None, "the server has ended: {}", self.said());
    }

    /// Closes its standard input, after writing to it.
    pub fn type_in(&mut self, text: &str) {
        drop(self.type_on(text));
    }

    /// Writes to its standard input, which stays open until this is dropped.
    pub fn type_on(&mut self, text: &str) -> ChildStdin {
        let mut stdin = self.child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin
    }

    /// Ends the server, and waits for the program it runs under.
    pub fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        let _ = self.child.wait();
    }

    /// Waits for its end, and returns its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// The server's process id and those of its children, ended and unreaped
    /// ones included.
    pub fn family(&self) -> Vec<String> {
        let pid = self.pid();
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children.split_whitespace().map(str::to_owned);
        [pid.to_string()].into_iter().chain(children).collect()
    }

    /// Adds up something about each process of the family; one that has just
    /// ended counts nothing.
    fn sum(&self, of: impl Fn(&str) -> Option<u64>) -> u64 {
        self.family()
            .iter()
            .filter_map(|pid| of(&format!("/proc/{pid}")))
            .sum()
    }

    /// CPU time used so far by the running family, in clock ticks of 10 ms
    /// (proc_pid_stat(5), fields 14 and 15).
    pub fn cpu_ticks(&self) -> u64 {
        self.sum(|dir| {
            let stat = std::fs::read_to_string(format!("{dir}/stat")).ok()?;
            let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
        })
    }

    /// How many descriptors the family has open.
    pub fn descriptors(&self) -> u64 {
        self.sum(|dir| Some(std::fs::read_dir(format!("{dir}/fd")).ok()?.count() as u64))
    }

    /// How many threads and processes the family has.
    pub fn tasks(&self) -> u64 {
        self.sum(|dir| Some(std::fs::read_dir(format!("{dir}/task")).ok()?.count() as u64))
    }

    /// The memory the family has filled, in bytes (`Anonymous` in smaps_rollup,
    /// proc_pid_smaps(5)): neither its programs' pages nor the kernel's buffers.
    pub fn memory(&self) -> u64 {
        self.sum(|dir| {
            let rollup = std::fs::read_to_string(format!("{dir}/smaps_rollup")).ok()?;
            let line = rollup.lines().find(|line| line.starts_with("Anonymous:"))?;
            Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
        })
    }

    /// Checks that the server uses less than half a CPU for a while.
    pub fn assert_calm(&self) {
        let (before, start) = (self.cpu_ticks(), Instant::now());
        std::thread::sleep(Duration::from_millis(500));
        let share =
            self.cpu_ticks().saturating_sub(before) as f64 * 0.01 / start.elapsed().as_secs_f64();
        assert!(share < 0.5, "it uses {share} of a CPU");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill(self.pid(), Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition, and fails with a description if it does not come.
pub fn wait_until(condition: impl Fn() -> bool, what: impl Fn() -> String) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain: {}", what());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a message and checks that it comes back.
pub fn assert_echo(client: &mut TcpStream, message: &[u8]) {
    client.write_all(message).unwrap();
    assert_received(client, message);
}

/// Checks what comes next from the server.
pub fn assert_received(client: &mut TcpStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    client.read_exact(&mut got).unwrap();
    assert!(
        got == expected,
        "{} bytes came back changed",
        expected.len()
    );
}

/// Whether this client is served: false if it has been turned away.
pub fn is_served(client: &mut TcpStream) -> bool {
    let mut answer = [0; 2];
    client.write_all(b"hi").is_ok() && client.read_exact(&mut answer).is_ok() && &answer == b"hi"
}

/// Whether this client is served soon.
pub fn echo_soon(client: &mut TcpStream) -> bool {
    client
        .set_read_timeout(Some(Duration::from_millis(500)))
        .unwrap();
    is_served(client)
}

/// Checks that the server has closed this connection, by FIN or by RST.
pub fn assert_closed(client: &mut TcpStream) {
    match client.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("the connection should be closed, but read gave {other:?}"),
    }
}

/// Reads to the end of the stream.
pub fn read_to_end(client: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Says that this side has finished sending.
pub fn finish(client: &TcpStream) {
    client.shutdown(Shutdown::Write).unwrap();
}

/// Closes with RST instead of FIN (socket(7), SO_LINGER with zero time).
pub fn reset(client: TcpStream) {
    SockRef::from(&client)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
}

/// Bytes in which no part is like another, so that a swap or a gap shows.
pub fn pattern(length: usize) -> Vec<u8> {
    (0..length as u64)
        .map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
        .collect()
}
