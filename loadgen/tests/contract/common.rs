//! A server with known behaviour and counts of its own, and loadgen run against it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use loadgen::tally::outcome::Outcome;
use socket2::SockRef;

/// Bytes of every message.
pub const MESSAGE: usize = 64;

/// What the fixture does with messages. `n` counts all messages of the server, from 1.
#[derive(Clone, Copy, Debug)]
pub enum Behaviour {
    /// Returns every message.
    Echo,
    /// Reads for ever.
    Discard,
    /// Returns every message after a pause.
    Delay(Duration),
    /// Returns every message, but nothing for the first `stall` of every `period`.
    Stall { period: Duration, stall: Duration },
    /// Returns every message, every `n`-th with one bit changed.
    WrongEvery(u64),
    /// Answers with the message before, whoever sent it.
    Swap,
    /// Resets the connection instead of answering every `n`-th message.
    ResetEvery(u64),
    /// Closes the connection instead of answering every `n`-th message.
    CloseEvery(u64),
    /// Reads and says nothing.
    Silent,
    /// Returns half of every message.
    Half,
    /// Returns every message and closes after `n` of a connection.
    CloseAfter(u64),
    /// Returns every message twice.
    TooMuch,
}

/// What the fixture counted.
#[derive(Debug, Default)]
pub struct Counts {
    pub accepted: AtomicU64,
    pub messages: AtomicU64,
    pub answered: AtomicU64,
    pub faults: AtomicU64,
    pub bytes_in: AtomicU64,
    /// How long each answer was held back, in nanoseconds.
    pub held_ns: Mutex<Vec<u64>>,
}

impl Counts {
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(SeqCst)
    }
}

/// The fixture; it ends, with its threads, when dropped.
pub struct Fixture {
    pub address: SocketAddr,
    pub counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    threads: Arc<Mutex<Vec<JoinHandle<()>>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Fixture {
    pub fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("nonblocking");
        let address = listener.local_addr().expect("an address");
        let (counts, stop) = (
            Arc::new(Counts::default()),
            Arc::new(AtomicBool::new(false)),
        );
        let threads = Arc::new(Mutex::new(Vec::new()));
        let acceptor = {
            let (counts, stop, threads) = (counts.clone(), stop.clone(), threads.clone());
            std::thread::spawn(move || accept(&listener, behaviour, &counts, &stop, &threads))
        };
        Self {
            address,
            counts,
            stop,
            threads,
            acceptor: Some(acceptor),
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        if let Some(acceptor) = self.acceptor.take() {
            acceptor.join().expect("the acceptor did not panic");
        }
        for thread in self.threads.lock().expect("threads").drain(..) {
            thread.join().expect("a client's thread did not panic");
        }
    }
}

fn accept(
    listener: &TcpListener,
    behaviour: Behaviour,
    counts: &Arc<Counts>,
    stop: &Arc<AtomicBool>,
    threads: &Mutex<Vec<JoinHandle<()>>>,
) {
    let last = Arc::new(Mutex::new([0; MESSAGE]));
    while !stop.load(SeqCst) {
        let Ok((stream, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        counts.accepted.fetch_add(1, SeqCst);
        let (counts, stop, last) = (counts.clone(), stop.clone(), last.clone());
        let body = move || serve(stream, behaviour, &counts, &stop, &last);
        threads
            .lock()
            .expect("threads")
            .push(std::thread::spawn(body));
    }
}

fn serve(
    mut stream: TcpStream,
    behaviour: Behaviour,
    counts: &Counts,
    stop: &AtomicBool,
    last: &Mutex<[u8; MESSAGE]>,
) {
    stream.set_nonblocking(false).expect("blocking");
    stream.set_nodelay(true).expect("nodelay");
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("a time-out");
    let (mut message, mut filled, mut served) = ([0; MESSAGE], 0, 0);
    while !stop.load(SeqCst) {
        match stream.read(&mut message[filled..]) {
            Ok(0) => return,
            Ok(length) => {
                counts.bytes_in.fetch_add(length as u64, SeqCst);
                filled += length;
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                continue;
            }
            Err(_) => return,
        }
        if filled == MESSAGE {
            filled = 0;
            served += 1;
            if !answer(&mut stream, behaviour, &message, served, counts, last) {
                return;
            }
        }
    }
}

/// Returns whether the connection goes on.
fn answer(
    stream: &mut TcpStream,
    behaviour: Behaviour,
    message: &[u8; MESSAGE],
    served: u64,
    counts: &Counts,
    last: &Mutex<[u8; MESSAGE]>,
) -> bool {
    let n = counts.messages.fetch_add(1, SeqCst) + 1;
    let fault = |every: u64| {
        let due = n.is_multiple_of(every);
        counts.faults.fetch_add(u64::from(due), SeqCst);
        due
    };
    let mut reply = message.to_vec();
    match behaviour {
        Behaviour::Discard | Behaviour::Silent => return true,
        Behaviour::Delay(pause) => hold(pause, counts),
        Behaviour::Stall { period, stall } => {
            let into =
                Duration::from_nanos(loadgen::base::clock::now_ns() % period.as_nanos() as u64);
            std::thread::sleep(stall.saturating_sub(into));
        }
        Behaviour::WrongEvery(every) if fault(every) => reply[MESSAGE / 2] ^= 1,
        Behaviour::Swap => {
            reply = std::mem::replace(&mut *last.lock().expect("last"), *message).to_vec()
        }
        Behaviour::ResetEvery(every) if fault(every) => {
            SockRef::from(&*stream)
                .set_linger(Some(Duration::ZERO))
                .expect("linger");
            return false;
        }
        Behaviour::CloseEvery(every) if fault(every) => return false,
        Behaviour::Half => reply.truncate(MESSAGE / 2),
        Behaviour::TooMuch => reply.extend_from_slice(message),
        _ => {}
    }
    let written = stream.write_all(&reply).is_ok();
    counts.answered.fetch_add(1, SeqCst);
    let done = matches!(behaviour, Behaviour::CloseAfter(count) if served == count);
    written && !done
}

fn hold(pause: Duration, counts: &Counts) {
    let start = loadgen::base::clock::now_ns();
    std::thread::sleep(pause);
    counts
        .held_ns
        .lock()
        .expect("held")
        .push(loadgen::base::clock::now_ns() - start);
}

/// A child that does not outlive its test.
pub struct Guard(pub Child);

impl Guard {
    /// Everything it prints to its end.
    pub fn printed(&mut self) -> String {
        let mut text = String::new();
        self.0
            .stdout
            .take()
            .expect("piped")
            .read_to_string(&mut text)
            .expect("read");
        text
    }

    /// Its exit code, once it has ended.
    pub fn code(&mut self) -> Option<i32> {
        self.0.wait().expect("ended").code()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The program, with a target and quiet short phases; more arguments follow.
pub fn loadgen(target: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["--target", &target.to_string(), "--format", "json"]);
    let defaults = [
        ("--warmup", "50ms"),
        ("--duration", "600ms"),
        ("--seed", "7"),
        ("--threads", "1"),
        ("--poll", "sleep"),
    ];
    for (flag, value) in defaults {
        if !args.contains(&flag) {
            command.args([flag, value]);
        }
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end and reads the outcome, whatever the exit code.
pub fn outcome_of(command: &mut Command) -> (Outcome, Output) {
    let output = command.output().expect("loadgen starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    });
    (outcome, output)
}

/// Runs it against a fixture, expecting exit code 0.
pub fn run(fixture: &Fixture, args: &[&str]) -> Outcome {
    let (outcome, output) = outcome_of(&mut loadgen(fixture.address, args));
    assert!(
        output.status.success(),
        "{:?}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    outcome
}

/// How many requests failed by this kind.
pub fn failed(outcome: &Outcome, kind: &str) -> u64 {
    outcome
        .failures
        .iter()
        .filter(|f| f.kind == kind && f.stage == "request")
        .map(|f| f.count)
        .sum()
}
