//! One process of a fleet: started, heard, and in the end collected.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, ExitStatus, Stdio};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::program::Program;
use super::seconds::{MESSAGE_MAX, Told};
use crate::base::error::in_a_sentence;
use crate::base::sys::inherit_and_die_with_parent;
use crate::load::Load;
use crate::tally::outcome::Outcome;

/// The descriptor number under which a process finds its end of the pair.
const PHASE_FD: i32 = 3;

/// What a member said.
pub(super) enum Heard {
    /// It has come to its next phase.
    Phase,
    /// A second of the window has ended.
    Second(Box<Told>),
    /// Nothing more for now.
    Nothing,
    /// It is gone, or speaks no sense.
    Gone,
}

/// A process of the fleet.
pub(super) struct Process {
    child: Child,
    /// Its share of the load.
    load: Load,
    /// How many phases it has come to.
    pub phases: usize,
    /// Whether it left before it was told to.
    pub gone: bool,
    /// Why it was ended before its time, if it was.
    ended: Option<String>,
}

impl Process {
    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once, stopped or not; the first reason counts.
    pub(super) fn end(&mut self, why: &str) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        self.ended.get_or_insert_with(|| why.to_owned());
    }
}

/// One process and this side of its pair.
pub(super) struct Member {
    pub process: Process,
    link: OwnedFd,
}

/// How a member ended.
pub(super) struct End {
    /// Its share of the load.
    pub load: Load,
    /// How many phases it had come to.
    pub phases: usize,
    /// Its outcome, or in words why there is none.
    pub outcome: Result<Outcome, String>,
    /// If it left before it was told to: in words, how.
    pub gone: Option<String>,
    /// How it ended, in words.
    pub how: String,
    /// A broken law of its own, if it complained of one.
    pub broken_law: Option<String>,
}

impl Member {
    /// Starts the process of one share. With `seconds` it tells of every second of the window.
    pub(super) fn start(load: Load, program: &Program, seconds: bool) -> io::Result<Self> {
        // Messages that arrive whole or not at all, so that one which finds no room can be dropped.
        let (link, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        fcntl(&link, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = program.command();
        command.args(load.to_args());
        command.args(["--format=json", "--quiet"]);
        command.arg(format!("--phase-fd={PHASE_FD}"));
        if seconds {
            command.arg("--tell-seconds");
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        fcntl(&theirs, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        inherit_and_die_with_parent(&mut command, theirs, PHASE_FD);
        let process = Process {
            child: command.spawn()?,
            load,
            phases: 0,
            gone: false,
            ended: None,
        };
        Ok(Self { process, link })
    }

    /// Takes in what the member says next.
    pub(super) fn hear(&mut self, buffer: &mut [u8; MESSAGE_MAX]) -> Heard {
        let message = match nix::unistd::read(&self.link, buffer) {
            Ok(0) => return Heard::Gone,
            Ok(length) => &buffer[..length],
            Err(Errno::EAGAIN | Errno::EINTR) => return Heard::Nothing,
            Err(_) => return Heard::Gone,
        };
        if let Some(told) = Told::decode(message) {
            return Heard::Second(Box::new(told));
        }
        let expected = super::PHASES
            .get(self.process.phases)
            .map(|phase| format!("phase {phase}\n"));
        if expected.is_some_and(|expected| expected.as_bytes() == message) {
            self.process.phases += 1;
            return Heard::Phase;
        }
        Heard::Gone
    }

    /// What it speaks on.
    pub(super) fn link(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }

    /// Gives it the word to go on. A member that is gone is found when it is heard next.
    pub(super) fn say(&self, word: &str) {
        let _ = nix::unistd::write(&self.link, word.as_bytes());
    }

    /// Closes the link, whereupon it stops and reports what it has, and reads all that in a thread.
    pub(super) fn dismiss(self) -> Parting {
        let Self { mut process, link } = self;
        drop(link);
        let child = &mut process.child;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        // Where no thread is to be had, the member finds its streams closed and what it measured is lost, which is said.
        let reader = std::thread::Builder::new().spawn(move || {
            let (mut text, mut said) = (String::new(), String::new());
            if let Some(mut stdout) = stdout {
                stdout.read_to_string(&mut text)?;
            }
            if let Some(mut stderr) = stderr {
                stderr.read_to_string(&mut said)?;
            }
            Ok((text, said))
        });
        Parting { process, reader }
    }
}

/// A member that was told to end.
pub(super) struct Parting {
    pub process: Process,
    reader: io::Result<JoinHandle<io::Result<(String, String)>>>,
}

impl Parting {
    /// Whether it has said all it will ever say.
    pub(super) fn is_over(&self) -> bool {
        match &self.reader {
            Ok(reader) => reader.is_finished(),
            Err(_) => true,
        }
    }

    /// Waits for its end and returns what came of it.
    pub(super) fn collect(self) -> io::Result<End> {
        let Self {
            mut process,
            reader,
        } = self;
        let segment = process.load.segment;
        let reader = reader.map_err(|e| {
            let sentence = format!("cannot read what process {segment} reports: {e}");
            in_a_sentence(e, sentence)
        })?;
        let read = reader.join();
        let (text, said) = read.map_err(|_| io::Error::other("a reader panicked"))??;
        let status = process.child.wait()?;
        let how = how(process.ended, status, &said);
        let words = format!("process {segment}: {how}");
        let broken_law = said
            .contains("conservation law")
            .then(|| format!("process {segment}: {}", said.trim_end()));
        Ok(End {
            load: process.load,
            phases: process.phases,
            gone: process.gone.then(|| words.clone()),
            outcome: serde_json::from_str(&text).map_err(|_| words),
            how,
            broken_law,
        })
    }
}

fn how(ended: Option<String>, status: ExitStatus, said: &str) -> String {
    match (ended, said.trim_end()) {
        (Some(why), _) => why,
        (None, "") => status.to_string(),
        (None, said) => format!("{status}: {said}"),
    }
}
