//! One host: its launcher, what is said to it and heard from it, and whether it is still there.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::PollFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::super::ALIVE_NS;
use super::super::wire::{Hello, LARGE, Order, PROTOCOL, Reader, Said, lines_of};
use super::clock::{Clocks, Exchange};
use super::state::{Heard, Stage};
use crate::base::clock::{now_ns, unix_now_ns};
use crate::base::sys::die_with_parent;
use crate::base::text::{one_line, visible};
use crate::base::units::{SECOND_NS, format_ns};

/// A host that is not heard for so long is lost.
pub const LOST_NS: u64 = 2 * SECOND_NS;

/// How long a host may take until its agent speaks: a connection that nobody answers, a log-in, a job step; and where
/// many are started at once, the head's own part in all those log-ins.
const GREETING_NS: u64 = 40 * SECOND_NS;

/// What is kept of what a launcher and its agent print.
const WORDS: usize = 2048;

/// What may wait to be sent: beyond it nobody reads it.
const OUTBOX: usize = 4 << 20;

/// A host and the conversation with it.
#[derive(Debug)]
pub struct Host {
    /// Its name, as it was given.
    pub name: String,
    /// Who it says it is, once it has.
    pub hello: Option<Box<Hello>>,
    /// Where the conversation stands.
    pub stage: Stage,
    /// What is known of its clocks.
    pub clocks: Option<Clocks>,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    stderr: Option<ChildStderr>,
    outbox: Vec<u8>,
    reader: Reader,
    words: Vec<u8>,
    /// The question about its clocks that is open: its number, and when it was asked.
    asked: Option<(u64, u64)>,
    questions: u64,
    heard_ns: u64,
    said_ns: u64,
    /// Whether its launcher was told to end.
    is_abandoned: bool,
}

impl Host {
    /// Starts the launcher and says hello.
    ///
    /// # Errors
    /// When the launcher cannot be started, in a sentence.
    pub fn start(name: &str, mut command: Command) -> Result<Self, String> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // An interrupt from the terminal is this program's alone: it still has to collect what there is.
            .process_group(0);
        die_with_parent(&mut command, Signal::SIGTERM);
        let program = command.get_program().to_string_lossy().into_owned();
        let started = command.spawn().and_then(|mut child| {
            let taken = (child.stdin.take(), child.stdout.take(), child.stderr.take());
            let (Some(stdin), Some(stdout), Some(stderr)) = taken else {
                return Err(io::ErrorKind::BrokenPipe.into());
            };
            for fd in [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()] {
                fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            }
            Ok((child, stdin, stdout, stderr))
        });
        let (child, stdin, stdout, stderr) =
            started.map_err(|error| format!("{}: {error}", visible(&program)))?;
        let mut host = Self {
            name: name.to_owned(),
            hello: None,
            stage: Stage::default(),
            clocks: None,
            child,
            stdin: Some(stdin),
            stdout,
            stderr: Some(stderr),
            outbox: Vec::new(),
            reader: Reader::default(),
            words: Vec::new(),
            asked: None,
            questions: 0,
            heard_ns: now_ns(),
            said_ns: 0,
            is_abandoned: false,
        };
        host.say(&Order::Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").into(),
        });
        Ok(host)
    }

    /// Says something, now or as soon as it is taken.
    pub fn say(&mut self, order: &Order) {
        if matches!(order, Order::Load { .. }) {
            self.reader.expect(LARGE);
        }
        self.outbox.extend(lines_of(order));
        self.flush();
    }

    /// What to wait for on its behalf.
    pub fn waits_for(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let output = (self.stdout.as_fd(), PollFlags::POLLIN);
        let input = self.stdin.as_ref().filter(|_| !self.outbox.is_empty());
        std::iter::once(output).chain(input.map(|stdin| (stdin.as_fd(), PollFlags::POLLOUT)))
    }

    /// Says that this side is there, if it is time to, and takes in what the launcher prints.
    pub fn tend(&mut self) {
        let now_ns = now_ns();
        if now_ns.saturating_sub(self.said_ns) >= ALIVE_NS && self.outbox.is_empty() {
            self.said_ns = now_ns;
            self.say(&Order::Alive);
        }
        self.flush();
        self.listen_to_launcher();
    }

    /// What it says next; `None` for now nothing.
    ///
    /// # Errors
    /// Why nothing will come any more, in words: it is lost.
    pub fn hear(&mut self) -> Result<Option<Heard>, String> {
        loop {
            let said: Option<Said> = self
                .reader
                .take()
                .map_err(|error| self.no_agent(&error.to_string()))?;
            if let Some(said) = said {
                let heard = self.stage.hear(said)?;
                match heard {
                    Heard::Alive => continue,
                    Heard::Clock {
                        number,
                        monotonic_ns,
                        unix_ns,
                    } => self.take_clock(number, monotonic_ns, unix_ns)?,
                    Heard::Hello(hello) => self.hello = Some(hello),
                    heard => return Ok(Some(heard)),
                }
                continue;
            }
            let mut buffer = [0; 64 * 1024];
            match self.stdout.read(&mut buffer) {
                Ok(0) => return Err(self.how_it_ended()),
                Ok(length) => {
                    self.heard_ns = now_ns();
                    self.reader.push(&buffer[..length]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.check_silence().map(|()| None);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// Asks for its clocks, unless it is asked already.
    pub fn ask_clocks(&mut self) {
        if self.asked.is_none() {
            let number = self.questions;
            self.questions += 1;
            self.asked = Some((number, now_ns()));
            self.say(&Order::Clock { number });
        }
    }

    /// How many of the questions about its clocks it has answered.
    #[must_use]
    pub fn answers(&self) -> u64 {
        self.questions - u64::from(self.asked.is_some())
    }

    fn take_clock(
        &mut self,
        number: u64,
        theirs_ns: u64,
        their_unix_ns: u64,
    ) -> Result<(), String> {
        let Some((_, asked_ns)) = self.asked.take_if(|asked| asked.0 == number) else {
            return Err("it answered a question that was not asked".into());
        };
        let exchange = Exchange {
            asked_ns,
            answered_ns: now_ns(),
            unix_ns: unix_now_ns(),
            theirs_ns,
            their_unix_ns,
        };
        self.clocks = Some(exchange.clocks().or(self.clocks));
        Ok(())
    }

    fn check_silence(&self) -> Result<(), String> {
        let limit_ns = match self.hello {
            Some(_) => LOST_NS,
            None => GREETING_NS,
        };
        let silent_ns = now_ns().saturating_sub(self.heard_ns);
        if silent_ns <= limit_ns {
            return Ok(());
        }
        let silent = format_ns(silent_ns);
        Err(match self.hello {
            Some(_) => format!(
                "it was not heard for {silent}: it is stopped, or overloaded, or the network between is down"
            ),
            None => format!("no agent spoke within {silent}{}", self.last_words()),
        })
    }

    fn no_agent(&mut self, error: &str) -> String {
        self.listen_to_launcher();
        let why = match self.hello {
            Some(_) => "what it says is no message of an agent",
            None => "what answers is no agent (a log-in that prints something?)",
        };
        format!(
            "{why}: {}{}",
            one_line(&error.chars().take(200).collect::<String>()),
            self.last_words()
        )
    }

    /// The launcher's end in words, with what was printed.
    fn how_it_ended(&mut self) -> String {
        const PATIENCE: Duration = Duration::from_millis(300);
        let start = Instant::now();
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5))
                }
                _ => break None,
            }
        };
        self.listen_to_launcher();
        let how = match status {
            Some(status) => format!("its connection ended ({status})"),
            None => "its connection ended".into(),
        };
        how + &self.last_words()
    }

    /// What was printed last, after a colon.
    fn last_words(&self) -> String {
        let words = one_line(&String::from_utf8_lossy(&self.words));
        match words.is_empty() {
            true => String::new(),
            false => format!(": {words}"),
        }
    }

    fn listen_to_launcher(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(stderr) = &mut self.stderr {
            match stderr.read(&mut buffer) {
                Ok(0) => self.stderr = None,
                Ok(length) => {
                    self.words.extend_from_slice(&buffer[..length]);
                    let beyond = self.words.len().saturating_sub(WORDS);
                    self.words.drain(..beyond);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn flush(&mut self) {
        while let Some(stdin) = self.stdin.as_mut().filter(|_| !self.outbox.is_empty()) {
            match stdin.write(&self.outbox) {
                Ok(length) => drop(self.outbox.drain(..length)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // The end of its output says why.
                Err(_) => self.stdin = None,
            }
        }
        if self.outbox.len() > OUTBOX {
            self.hang_up();
        }
    }

    /// Closes the stream to the agent, whereupon it ends everything and itself.
    pub fn hang_up(&mut self) {
        self.stdin = None;
        self.outbox = Vec::new();
    }

    /// Ends the launcher, which leads to nobody any more.
    pub fn abandon(&mut self) {
        self.hang_up();
        self.is_abandoned = true;
        self.signal(Signal::SIGTERM);
    }

    /// Whether the launcher has ended.
    pub fn is_over(&mut self) -> bool {
        // What the agent prints on its way has to be taken, or the launcher would wait for that.
        let mut buffer = [0; 4096];
        while matches!(self.stdout.read(&mut buffer), Ok(1..)) {}
        self.listen_to_launcher();
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        // The launcher leads a process group of its own, with whatever it has started.
        let _ = kill(Pid::from_raw(-(self.child.id() as i32)), signal);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// Ends all conversations: the agents end with their streams, the launchers with their agents, or are ended. One that
/// was told to end when its host was lost has had its time.
pub fn part_from(hosts: &mut [Host]) {
    hosts.iter_mut().for_each(Host::hang_up);
    let start = Instant::now();
    let [lost, ask, most] = [300, 1500, 2000].map(Duration::from_millis);
    loop {
        let elapsed = start.elapsed();
        let mut left: Vec<&mut Host> = Vec::new();
        for host in &mut *hosts {
            if !host.is_over() {
                left.push(host);
            }
        }
        if left.is_empty() || elapsed > most {
            return;
        }
        for host in left {
            match host.is_abandoned {
                true if elapsed > lost => host.signal(Signal::SIGKILL),
                false if elapsed > ask => host.abandon(),
                _ => {}
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
