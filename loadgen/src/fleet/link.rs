//! The main thread's ear: signals, and the supervisor who is told of each phase
//! and gives the word to go on.
//!
//! The protocol is one line each way on an inherited socket: `phase NAME\n`, then
//! `go\n`, or `go NS\n` with an instant of CLOCK_MONOTONIC that several processes
//! are to share. Within the window the supervisor may also say `cut NS\n`: it ends
//! then. The end of the stream means that the supervisor is gone.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::base::clock::now_ns;
use crate::base::sys::restore_default;

/// Why a run stops before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interruption {
    /// SIGINT or SIGTERM came.
    #[error("interrupted by {0}")]
    Signal(Signal),
    /// The supervisor closed its end.
    #[error("the supervisor of this run is gone")]
    SupervisorGone,
    /// A process of a fleet is gone, or does not go on.
    #[error(
        "a process of this run was lost, and with it the load that was asked for: the figures are partial"
    )]
    ProcessLost,
    /// A host of a fleet is gone, or does not go on.
    #[error(
        "a load host was lost, and with it the load that was asked for: the figures are partial"
    )]
    HostLost,
    /// `--start-at` had passed when the connections stood.
    #[error("--start-at had passed before all connections stood: choose a later instant")]
    TooLate,
}

impl Interruption {
    /// The exit code: 128 + the signal's number; a lost supervisor counts as SIGTERM,
    /// a lost process of its own and a missed start are failures.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Signal(Signal::SIGINT) => 130,
            Self::Signal(_) | Self::SupervisorGone => 143,
            Self::ProcessLost | Self::HostLost | Self::TooLate => 1,
        }
    }
}

/// Where interruptions and the word to go on come from.
#[derive(Debug, Default)]
pub struct Link {
    signals: Option<SignalFd>,
    supervisor: Option<OwnedFd>,
    received: Vec<u8>,
}

impl Link {
    /// Listens for SIGINT and SIGTERM, which are blocked in this thread, until the link is dropped, and in
    /// those it starts from now on, and to a supervisor if there is one.
    ///
    /// # Errors
    /// When the kernel grants no descriptor.
    pub fn new(supervisor: Option<OwnedFd>) -> io::Result<Self> {
        let mask = signals();
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self {
            signals: Some(signals),
            supervisor,
            received: Vec::new(),
        })
    }

    /// Whether somebody else judges what needs both sides' figures.
    #[must_use]
    pub fn is_supervised(&self) -> bool {
        self.supervisor.is_some()
    }

    /// Says that a phase begins and waits for the word; returns the instant it
    /// names, if any. Without a supervisor it returns at once.
    ///
    /// # Errors
    /// The interruption that came instead.
    pub fn announce(&mut self, phase: &str) -> Result<Option<u64>, Interruption> {
        let Some(fd) = &self.supervisor else {
            self.rest(0)?;
            return Ok(None);
        };
        // A line this short fits the empty buffer of a stream socket whole.
        if nix::unistd::write(fd, format!("phase {phase}\n").as_bytes()).is_err() {
            return Err(Interruption::SupervisorGone);
        }
        loop {
            if let Some(line) = self.take_line() {
                let mut words = line.split_whitespace();
                match (words.next(), words.next()) {
                    // It came too late: the window has ended by itself.
                    (Some("cut"), _) => continue,
                    (Some("go"), instant) => return Ok(instant.and_then(|text| text.parse().ok())),
                    _ => return Err(Interruption::SupervisorGone),
                }
            }
            self.listen(PollTimeout::NONE, &[])?;
        }
    }

    /// Sleeps for up to `ns`, in whole milliseconds.
    ///
    /// # Errors
    /// The interruption that ended the sleep.
    pub fn rest(&mut self, ns: u64) -> Result<(), Interruption> {
        let ms = ns.div_ceil(1_000_000).min(1000) as u16;
        self.listen(PollTimeout::from(ms), &[])
    }

    /// Sleeps for up to `ns`, in whole milliseconds, or until one of several others is ready for what is wanted of it.
    ///
    /// # Errors
    /// The interruption that ended the sleep.
    pub fn rest_beside(
        &mut self,
        others: &[(BorrowedFd<'_>, PollFlags)],
        ns: u64,
    ) -> Result<(), Interruption> {
        let ms = ns.div_ceil(1_000_000).min(1000) as u16;
        self.listen(PollTimeout::from(ms), others)
    }

    /// Sleeps for a small part of the time since `start_ns`: what is waited for is seen at most 0.4 % late, and
    /// sixty processes that wait for minutes do not keep each other's workers from the CPU a thousand times a second.
    ///
    /// # Errors
    /// The interruption that ended the sleep.
    pub fn rest_in_proportion(&mut self, start_ns: u64) -> Result<(), Interruption> {
        let waited_ns = now_ns().saturating_sub(start_ns);
        self.rest((waited_ns / 256).clamp(1_000_000, 100_000_000))
    }

    /// Sleeps towards an instant of CLOCK_MONOTONIC, for a quarter of a second at most; says whether it has come.
    ///
    /// # Errors
    /// The interruption that ended the sleep.
    pub fn rest_towards(&mut self, at_ns: u64) -> Result<bool, Interruption> {
        const CHUNK_NS: u64 = 250_000_000;
        let left_ns = at_ns.saturating_sub(now_ns());
        if left_ns > 0 {
            self.rest(left_ns.min(CHUNK_NS))?;
        }
        Ok(left_ns == 0)
    }

    /// When the window is to end that has been going on, if the supervisor has said so since it was last asked.
    pub fn told_to_cut(&mut self) -> Option<u64> {
        if !self.received.starts_with(b"cut ") {
            return None;
        }
        let line = self.take_line()?;
        line.strip_prefix("cut ")?.trim_end().parse().ok()
    }

    fn take_line(&mut self) -> Option<String> {
        let end = self.received.iter().position(|byte| *byte == b'\n')?;
        let line = self.received.drain(..=end).collect::<Vec<u8>>();
        Some(String::from_utf8_lossy(&line).into_owned())
    }

    fn listen(
        &mut self,
        timeout: PollTimeout,
        others: &[(BorrowedFd<'_>, PollFlags)],
    ) -> Result<(), Interruption> {
        let mut fds = Vec::with_capacity(2 + others.len());
        fds.extend(
            self.signals
                .as_ref()
                .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
        );
        fds.extend(
            self.supervisor
                .as_ref()
                .map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)),
        );
        let own = fds.len();
        let others = others.iter().map(|(fd, wanted)| PollFd::new(*fd, *wanted));
        fds.extend(others);
        if let Err(Errno::EINTR) | Ok(0) = poll(&mut fds, timeout) {
            return Ok(());
        }
        let spoken = |index: usize| index < own && fds[index].any().unwrap_or(false);
        let (signalled, supervised) = match self.signals {
            Some(_) => (spoken(0), spoken(1)),
            None => (false, spoken(0)),
        };
        if signalled && let Some(Ok(Some(info))) = self.signals.as_ref().map(SignalFd::read_signal)
        {
            let signal = Signal::try_from(info.ssi_signo as i32).unwrap_or(Signal::SIGTERM);
            return Err(Interruption::Signal(signal));
        }
        if supervised { self.hear() } else { Ok(()) }
    }

    fn hear(&mut self) -> Result<(), Interruption> {
        let Some(fd) = &self.supervisor else {
            return Ok(());
        };
        let mut buffer = [0; 256];
        match nix::unistd::read(fd, &mut buffer) {
            Ok(length @ 1..) if self.received.len() < 4096 => {
                self.received.extend_from_slice(&buffer[..length])
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            _ => return Err(Interruption::SupervisorGone),
        }
        Ok(())
    }
}

impl Drop for Link {
    /// From here on signals end the program.
    fn drop(&mut self) {
        if self.signals.is_some() {
            SIGNALS.into_iter().for_each(restore_default);
            // It was possible to block them.
            let _ = signals().thread_unblock();
        }
    }
}

const SIGNALS: [Signal; 2] = [Signal::SIGINT, Signal::SIGTERM];

fn signals() -> SigSet {
    SigSet::from_iter(SIGNALS)
}
