//! One process of a fleet: started, heard, and in the end collected.

use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::seconds::{MESSAGE_MAX, Told};
use crate::load::Load;
use crate::outcome::Outcome;
use crate::sys::inherit_and_die_with_parent;

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

/// One process and this side of its pair.
pub(super) struct Member {
    child: Child,
    link: OwnedFd,
    /// Its share of the load.
    pub load: Load,
    /// How many phases it has come to.
    pub phases: usize,
    /// Whether it left before it was told to.
    pub gone: bool,
    /// Why it was ended before its time, if it was.
    ended: Option<String>,
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
    /// A broken law of its own, if it complained of one.
    pub broken_law: Option<String>,
}

impl Member {
    /// Starts the process of one share. With `seconds` it tells of every second of the window.
    pub(super) fn start(load: Load, seconds: bool) -> io::Result<Self> {
        // Messages that arrive whole or not at all, so that one which finds no room can be dropped.
        let (link, theirs) = socketpair(
            AddressFamily::Unix,
            SockType::SeqPacket,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        fcntl(&link, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let mut command = Command::new("/proc/self/exe");
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
        Ok(Self {
            child: command.spawn()?,
            link,
            load,
            phases: 0,
            gone: false,
            ended: None,
        })
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
            .get(self.phases)
            .map(|phase| format!("phase {phase}\n"));
        if expected.is_some_and(|expected| expected.as_bytes() == message) {
            self.phases += 1;
            return Heard::Phase;
        }
        Heard::Gone
    }

    /// Gives it the word to go on. A member that is gone is found when it is heard next.
    pub(super) fn say(&self, word: &str) {
        let _ = nix::unistd::write(&self.link, word.as_bytes());
    }

    /// Ends it at once, stopped or not.
    pub(super) fn end(&mut self, why: String) {
        if self.ended.is_none() {
            // Already gone is as good as killed.
            let _ = self.child.kill();
            self.ended = Some(why);
        }
    }

    /// Closes the link, whereupon it stops and reports what it has, and reads all that in a thread.
    pub(super) fn dismiss(self) -> Parting {
        let Self {
            mut child,
            link,
            load,
            phases,
            gone,
            ended,
        } = self;
        drop(link);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let reader = std::thread::spawn(move || {
            let (mut text, mut said) = (String::new(), String::new());
            if let Some(mut stdout) = stdout {
                stdout.read_to_string(&mut text)?;
            }
            if let Some(mut stderr) = stderr {
                stderr.read_to_string(&mut said)?;
            }
            Ok((text, said))
        });
        Parting {
            child,
            reader,
            load,
            phases,
            gone,
            ended,
        }
    }
}

/// A member that was told to end.
pub(super) struct Parting {
    child: Child,
    reader: JoinHandle<io::Result<(String, String)>>,
    load: Load,
    phases: usize,
    gone: bool,
    ended: Option<String>,
}

impl Parting {
    /// Whether it has said all it will ever say.
    pub(super) fn is_over(&self) -> bool {
        self.reader.is_finished()
    }

    /// Ends it at once, stopped or not.
    pub(super) fn end(&mut self, why: &str) {
        let _ = self.child.kill();
        self.ended.get_or_insert_with(|| why.to_owned());
    }

    /// Waits for its end and returns what came of it.
    pub(super) fn collect(mut self) -> io::Result<End> {
        let read = self.reader.join();
        let (text, said) = read.map_err(|_| io::Error::other("a reader panicked"))??;
        let status = self.child.wait()?;
        let segment = self.load.segment;
        let words = format!("process {segment}: {}", how(self.ended, status, &said));
        let broken_law = said
            .contains("conservation law")
            .then(|| format!("process {segment}: {}", said.trim_end()));
        Ok(End {
            load: self.load,
            phases: self.phases,
            gone: self.gone.then(|| words.clone()),
            outcome: serde_json::from_str(&text).map_err(|_| words),
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
