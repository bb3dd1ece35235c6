//! The other end: what a launcher starts on a load host. It runs one share of a load, an ordinary child of its own, and
//! speaks with the head over its standard streams.
//!
//! **Nothing outlives the head.** The end of the stream, three seconds without a word, or the agent's own end are the end
//! of everything that it started: the load dies with it (PR_SET_PDEATHSIG), the servers' part ends by the end of its
//! input, and an agent that is stopped is ended by its guard, a process that hears from it four times a second.

mod facts;
mod guard;
mod part;
mod policy;
pub(in crate::fleet) mod state;

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::process::Command;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::ALIVE_NS;
use super::PHASES;
use super::Program;
use super::member::{End, Heard, Member, Parting};
use super::seconds::MESSAGE_MAX;
use super::wire::{Order, Reader, Said, lines_of};
use crate::base::clock::{now_ns, unix_now_ns};
use crate::base::units::SECOND_NS;
use crate::load::Load;
use guard::Guard;
use part::Part;
use state::{Act, Stage};

pub use facts::digest_of;
pub use guard::guard;
pub use policy::{POLICY_FILE, Policy};

/// A head that is not heard for so long is gone.
pub const HEAD_GONE_NS: u64 = 3 * SECOND_NS;

/// What an agent is made of.
#[derive(Debug)]
pub struct Agent {
    /// The load generator, which runs the shares.
    pub program: Program,
    /// Digests of the programs, by name.
    pub programs: std::collections::BTreeMap<String, String>,
    /// What starts servers, if this agent can.
    pub servers: Option<Command>,
    /// Where the host's policy stands.
    pub policy: PathBuf,
}

/// Why an agent ends otherwise than by the end of its input.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// What was ordered is not permitted, or not in turn.
    #[error("{0}")]
    Refused(String),
    /// The head said nothing for too long.
    #[error("the head was not heard for {} s: all that was started here is ended", HEAD_GONE_NS / SECOND_NS)]
    HeadGone,
    /// A stream or a process failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl Agent {
    /// Speaks until the stream ends.
    ///
    /// # Errors
    /// [`AgentError`]; whatever it is, everything that was started has been ended.
    pub fn run(self) -> Result<(), AgentError> {
        let guard = Guard::start(&self.program)?;
        let mut conversation = Conversation {
            agent: self,
            guard,
            stage: Stage::default(),
            reader: Reader::default(),
            member: None,
            parting: None,
            part: None,
            heard_ns: now_ns(),
            said_ns: 0,
        };
        let ended = conversation.run();
        if let Some(part) = conversation.part.take() {
            part.end();
        }
        if let Err(AgentError::Refused(why)) = &ended {
            // A head that is gone cannot be told.
            let _ = say(&Said::Refused { why: why.clone() });
        }
        ended
    }
}

struct Conversation {
    agent: Agent,
    guard: Guard,
    stage: Stage,
    reader: Reader,
    /// The load, while it runs.
    member: Option<Member>,
    /// The load, once it was told to report.
    parting: Option<Parting>,
    part: Option<Part>,
    /// When the head was heard last.
    heard_ns: u64,
    /// When this agent last said that it is there.
    said_ns: u64,
}

impl Conversation {
    fn run(&mut self) -> Result<(), AgentError> {
        loop {
            let [head, load, part] = self.wait()?;
            let now_ns = now_ns();
            if head && !self.hear_head(now_ns)? {
                return Ok(());
            }
            if load {
                self.hear_load()?;
            }
            if part {
                self.hear_part()?;
            }
            self.report()?;
            if now_ns.saturating_sub(self.heard_ns) > HEAD_GONE_NS {
                return Err(AgentError::HeadGone);
            }
            if now_ns.saturating_sub(self.said_ns) >= ALIVE_NS {
                self.said_ns = now_ns;
                self.guard.tell();
                self.end_if_stopped();
                say(&Said::Alive)?;
            }
        }
    }

    /// Waits until somebody speaks, or until it is time to: who spoke, of head, load and servers' part.
    fn wait(&self) -> Result<[bool; 3], AgentError> {
        let stdin = io::stdin();
        let sources: [Option<BorrowedFd<'_>>; 3] = [
            Some(stdin.as_fd()),
            self.member.as_ref().map(Member::link),
            self.part.as_ref().map(Part::output),
        ];
        let mut fds: Vec<PollFd<'_>> = sources
            .iter()
            .flatten()
            .map(|fd| PollFd::new(*fd, PollFlags::POLLIN))
            .collect();
        // A load that was told to report is asked after, for its reader is a thread.
        let ns = match self.parting {
            Some(_) => 10_000_000,
            None => (self.said_ns + ALIVE_NS).saturating_sub(now_ns()),
        };
        let timeout = PollTimeout::from(ns.div_ceil(1_000_000).min(1000) as u16);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(io::Error::from(error).into()),
        }
        let mut spoke = fds.iter().map(|fd| fd.any().unwrap_or(false));
        Ok(sources.map(|source| source.is_some() && spoke.next().unwrap_or(false)))
    }

    /// Takes in what the head says; false once the stream has ended.
    fn hear_head(&mut self, now_ns: u64) -> Result<bool, AgentError> {
        let mut buffer = [0; 64 * 1024];
        match nix::unistd::read(io::stdin().as_fd(), &mut buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => self.reader.push(&buffer[..length]),
            Err(Errno::EINTR | Errno::EAGAIN) => return Ok(true),
            Err(error) => return Err(io::Error::from(error).into()),
        }
        self.heard_ns = now_ns;
        let refused = |what: String| AgentError::Refused(what);
        while let Some(order) = self
            .reader
            .take::<Order>()
            .map_err(|error| refused(format!("what the head says is no order: {error}")))?
        {
            let act = self.stage.obey(order, now_ns).map_err(refused)?;
            self.act(act)?;
        }
        Ok(true)
    }

    fn act(&mut self, act: Act) -> Result<(), AgentError> {
        match act {
            Act::Nothing => Ok(()),
            Act::Greet => Ok(say(&Said::Hello(Box::new(facts::hello(&self.agent))))?),
            Act::TellClock(number) => Ok(say(&Said::Clock {
                number,
                monotonic_ns: now_ns(),
                unix_ns: unix_now_ns(),
            })?),
            Act::Start(load, seconds) => self.start(*load, seconds),
            Act::GoOn(at_ns) => {
                let word = at_ns.map_or_else(|| "go\n".into(), |at_ns| format!("go {at_ns}\n"));
                if let Some(member) = &self.member {
                    member.say(&word);
                }
                if self.stage.has_come_to_its_end() {
                    self.dismiss();
                }
                Ok(())
            }
            Act::Cut(at_ns) => {
                if let Some(member) = &self.member {
                    member.say(&format!("cut {at_ns}\n"));
                }
                Ok(())
            }
            Act::StopLoad => {
                self.dismiss();
                Ok(())
            }
            Act::ToServers(value) => self.tell_part(&value),
        }
    }

    fn start(&mut self, load: Load, seconds: bool) -> Result<(), AgentError> {
        let policy = Policy::read(&self.agent.policy).map_err(AgentError::Refused)?;
        policy.check(&load).map_err(AgentError::Refused)?;
        self.member = Some(Member::start(load, &self.agent.program, seconds)?);
        Ok(())
    }

    /// Takes in what the load says.
    fn hear_load(&mut self) -> Result<(), AgentError> {
        let mut buffer = Box::new([0; MESSAGE_MAX]);
        while let Some(member) = &mut self.member {
            match member.hear(&mut buffer) {
                Heard::Phase => {
                    let name = PHASES[member.process.phases - 1];
                    // Only one that was told to go on comes to its next phase.
                    if self.stage.announce(name) {
                        say(&Said::Phase { name: name.into() })?;
                    }
                }
                Heard::Second(told) => say(&Said::Second(told))?,
                Heard::Nothing => return Ok(()),
                Heard::Gone => {
                    member.process.gone = true;
                    self.stage.ended();
                    self.dismiss();
                }
            }
        }
        Ok(())
    }

    /// Makes the load stop, if it has not, and report.
    fn dismiss(&mut self) {
        self.stage.ended();
        self.parting = self.member.take().map(Member::dismiss);
    }

    /// Tells the outcome, once it is there.
    fn report(&mut self) -> Result<(), AgentError> {
        let Some(parting) = self.parting.take_if(|parting| parting.is_over()) else {
            return Ok(());
        };
        let End {
            outcome,
            how,
            broken_law,
            ..
        } = parting.collect()?;
        let text = outcome
            .ok()
            .and_then(|outcome| serde_json::to_string(&outcome).ok());
        if self.stage.reported() {
            say(&Said::Outcome {
                text,
                how,
                broken_law,
            })?;
        }
        Ok(())
    }

    /// A load that somebody has stopped would neither load nor end.
    fn end_if_stopped(&mut self) {
        const WHY: &str = "somebody has stopped it (SIGSTOP)";
        if let Some(member) = &mut self.member
            && facts::is_stopped(member.process.id())
        {
            member.process.end(WHY);
        }
    }

    fn tell_part(&mut self, value: &serde_json::Value) -> Result<(), AgentError> {
        if self.part.is_none() {
            let Some(command) = self.agent.servers.take() else {
                let why = "this agent starts no servers: --agent 'tenk agent' does";
                return Err(AgentError::Refused(why.into()));
            };
            self.part = Some(Part::start(command)?);
        }
        match &mut self.part {
            Some(part) => Ok(part.say(value)?),
            None => Ok(()),
        }
    }

    fn hear_part(&mut self) -> Result<(), AgentError> {
        let Some(part) = &mut self.part else {
            return Ok(());
        };
        for value in part.hear()? {
            say(&Said::Server(value))?;
        }
        Ok(())
    }
}

/// Says something to the head.
fn say(said: &Said) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(&lines_of(said))?;
    stdout.flush()
}
