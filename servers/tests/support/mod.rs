//! Starts real servers for the tests and talks to them.
//!
//! `spawn("epoll").arg("--trace").start()` gives a server that listens on a port
//! of its own, writes a ledger, and is killed and reaped when dropped.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::ledger::{Reader, Tally};
use socket2::SockRef;
use tempfile::TempDir;

/// Long enough for a loaded machine; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(60);

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
}

/// A server of this model, with default flags.
pub fn spawn(model: &str) -> Spawn {
    Spawn {
        model: model.to_owned(),
        args: Vec::new(),
        nofile: 8192,
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

    /// Starts it and waits for its ready line. setpriv has the kernel kill it
    /// should this test die first; prlimit sets its limit. Both exec, so the
    /// process started is the server.
    pub fn start(self) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger");
        let mut child = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "prlimit",
                &format!("--nofile={0}:{0}", self.nofile),
            ])
            .arg(binary(&self.model))
            .args(["--listen", "127.0.0.1:0", "--ledger"])
            .arg(&ledger)
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("setpriv and prlimit, of util-linux, are needed");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let addr = line
            .strip_prefix("listening ")
            .and_then(|addr| addr.trim_end().parse().ok())
            .unwrap_or_else(|| panic!("{}: no ready line but {line:?}", self.model));
        let ledger = Reader::open(&ledger).unwrap();
        Server {
            addr,
            ledger,
            stdout,
            child,
            _dir: dir,
        }
    }
}

/// A running server.
pub struct Server {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its counters.
    pub ledger: Reader,
    /// What it prints after the ready line.
    pub stdout: BufReader<ChildStdout>,
    child: Child,
    _dir: TempDir,
}

impl Server {
    /// A client, with deadlines so that no test can hang.
    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.addr).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.set_write_timeout(Some(PATIENCE)).unwrap();
        client.set_nodelay(true).unwrap();
        client
    }

    /// Sends a signal to the server.
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
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
        assert_eq!(self.child.try_wait().unwrap(), None, "the server has ended");
    }

    /// Closes its standard input, after writing to it.
    pub fn type_in(&mut self, text: &str) {
        let mut stdin = self.child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    /// Waits for its end, and returns its exit code.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// CPU time used so far by the server and its running children, in clock
    /// ticks of 10 ms (proc_pid_stat(5), fields 14 and 15).
    pub fn cpu_ticks(&self) -> u64 {
        let family = self
            .child_pids()
            .into_iter()
            .chain([self.child.id().to_string()]);
        family
            .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).ok())
            .map(|stat| {
                let after_name = stat.rsplit_once(')').unwrap().1;
                let fields: Vec<_> = after_name.split_whitespace().collect();
                fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
            })
            .sum()
    }

    /// Checks that the server uses less than half a CPU for a while.
    pub fn assert_calm(&self) {
        let (before, start) = (self.cpu_ticks(), Instant::now());
        std::thread::sleep(Duration::from_millis(500));
        let share = (self.cpu_ticks() - before) as f64 * 0.01 / start.elapsed().as_secs_f64();
        assert!(share < 0.5, "it uses {share} of a CPU");
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// Its child processes, ended and unreaped ones included.
    pub fn child_pids(&self) -> Vec<String> {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(path).unwrap_or_default();
        children.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
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
