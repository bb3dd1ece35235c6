//! The load generator of one trial: started beside the server, spoken with at its phase changes, listened to at the end.

use super::Context;
use super::evidence::Window;
use super::follow::Follow;
use super::instruments::Attached;
use super::launch::{Action, Launch};
use super::launch_error::NOT_STARTED;
use super::output::Tail;
use super::phases::Phases;
use super::server::{self, Server, Surroundings};
use super::window;
use crate::base::child::ended;
use crate::base::error::{Exit, Failure, OrFail};
use crate::model::network::Network;
use crate::plan::TrialPlan;
use loadgen::fleet::hosts::flags::HostFlags;
use loadgen::load::Load;
use loadgen::tally::live::{self, SecondRecord};
use loadgen::tally::outcome::Outcome;
use servers::ledger::Reader;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

/// What the generator may need beyond its own deadlines, for its drain and its merging.
const SLACK: Duration = Duration::from_secs(30);

/// The exit code of a generator whose hosts are not all there, or not fit: nothing was sent.
const NOT_BEGUN: i32 = Exit::Preflight as i32;

/// The sum of the generator's own deadlines, and some more.
pub fn limit(trial: &TrialPlan) -> Duration {
    let load = &trial.load;
    let own = [
        load.ramp_limit_ns(),
        load.connect_timeout_ns,
        load.warmup_ns,
        load.duration_ns,
        load.response_limit_ns().saturating_mul(2),
    ];
    let own = own.iter().fold(0u64, |sum, ns| sum.saturating_add(*ns));
    Duration::from_nanos(own).saturating_add(SLACK)
}

/// What is read, or switched, at both edges of the window besides the server itself.
pub struct Edges<'a> {
    /// The server's own counts, where it is a model.
    pub ledger: Option<&'a Reader>,
    /// Its memory before there was any load.
    pub ready_memory_kib: u64,
    /// What it is looked into with.
    pub attached: &'a mut Attached,
}

/// A running load generator.
#[derive(Debug)]
pub struct Generator {
    child: Child,
    phases: Phases,
    stderr: Tail,
    stdout: tokio::task::JoinHandle<Vec<u8>>,
    /// Whether the load comes from other hosts.
    has_hosts: bool,
    /// The seconds of the window, where they are wanted.
    seconds: UnboundedReceiver<SecondRecord>,
    /// Why nothing more can be said to it or heard of it: it would wait for its `go` as long as it is let.
    cut_off: Option<String>,
}

impl Generator {
    /// Starts it, in the server's network, or at the head of the hosts that the load comes from.
    pub fn start(
        context: &Context<'_>,
        trial: &TrialPlan,
        mut load: Load,
        network: Network,
        wants_seconds: bool,
    ) -> Result<Generator, Failure> {
        load.served_at_once = context.plan.known_limit(&trial.arm, &load);
        let mut args = load.to_args();
        args.extend(["--format", "json", "--quiet", "--phase-fd", "0"].map(String::from));
        if wants_seconds {
            args.extend(["--progress-json", "fd:1"].map(String::from));
        }
        args.extend(context.plan.load_hosts.iter().flat_map(HostFlags::to_args));
        let launch = Launch {
            parent: std::process::id() as i32,
            network,
            cpus: context.plan.client_cpus.clone(),
            groups: Vec::new(),
            action: Action::Exec {
                program: context.binaries.path("loadgen"),
                args,
            },
        };
        let start = || -> std::io::Result<Generator> {
            let (phases, theirs) = Phases::pair()?;
            let mut child = server::command(&launch, &Surroundings::Bare)?
                .stdin(Stdio::from(theirs))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let mut stderr = Tail::default();
            stderr.follow(child.stderr.take());
            let (sender, seconds) = unbounded_channel();
            let stdout = tokio::spawn(read(child.stdout.take(), sender));
            Ok(Generator {
                child,
                phases,
                stderr,
                stdout,
                has_hosts: context.plan.load_hosts.is_some(),
                seconds,
                cut_off: None,
            })
        };
        start().or_failed("cannot start the load generator")
    }

    /// Answers the phase changes and reads both edges of the window; `None` when it never had both.
    pub async fn converse(
        &mut self,
        server: &Server,
        edges: &mut Edges<'_>,
        follower: &dyn Follow,
    ) -> Option<Window> {
        let mut opening = None;
        let mut window = None;
        while let Some(phase) = self.next_phase(follower).await {
            follower.phase(&phase);
            match phase.as_str() {
                "window" => {
                    edges.attached.begin(edges.ledger).await;
                    opening = Some(window::open(server, edges.ledger));
                }
                "drain" => {
                    let opening = opening.take()?;
                    let ready_memory_kib = edges.ready_memory_kib;
                    window = Some(window::close(
                        &opening,
                        server,
                        edges.ledger,
                        ready_memory_kib,
                    ));
                    edges.attached.end(edges.ledger).await;
                }
                _ => {}
            }
            self.go_on().await.ok()?;
        }
        window
    }

    /// The phase that it has come to; `None` once it says no more. What it tells meanwhile is passed on.
    pub async fn next_phase(&mut self, follower: &dyn Follow) -> Option<String> {
        loop {
            tokio::select! {
                phase = self.phases.next() => return match phase {
                    Ok(phase) => phase,
                    Err(e) => {
                        self.cut_off = Some(format!("it could not be heard at its phase changes: {e}"));
                        None
                    }
                },
                Some(second) = self.seconds.recv() => follower.second(second),
            }
        }
    }

    /// Lets it go on.
    pub async fn go_on(&mut self) -> std::io::Result<()> {
        let said = self.phases.go().await;
        if let Err(e) = &said {
            self.cut_off = Some(format!("it could not be told to go on: {e}"));
        }
        said
    }

    /// Waits for the generator's end and reads what it said. The outer error is our own: it was never started.
    pub async fn finish(
        mut self,
        follower: &dyn Follow,
    ) -> Result<Result<Outcome, String>, Failure> {
        // It has closed the socket by now, or cannot be spoken with, or the conversation took too long: then it must go.
        let is_over =
            self.cut_off.is_none() && timeout(SLACK, ended(&mut self.child)).await.is_ok();
        if !is_over {
            let _ = self.child.start_kill();
        }
        let status = ended(&mut self.child)
            .await
            .or_failed("the load generator")?;
        let text = self.stdout.await.or_failed("the load generator")?;
        while let Ok(second) = self.seconds.try_recv() {
            follower.second(second);
        }
        self.stderr.finish().await;
        let words = self.stderr.text();
        if self.has_hosts && status.code() == Some(NOT_BEGUN) {
            let why = words.lines().last().unwrap_or_default();
            let why = why.trim_start_matches("loadgen: ");
            return Err(Failure::preflight(format!("--load-hosts: {why}")));
        }
        if status.code() == Some(NOT_STARTED.into()) {
            let words = words.trim_start_matches("error: ");
            return Err(Failure::failed(format!(
                "cannot start the load generator: {words}"
            )));
        }
        if let Some(why) = self.cut_off {
            return Ok(Err(why));
        }
        Ok(serde_json::from_slice(&text).map_err(|e| match words {
            words if words.is_empty() => format!("{}: {e}", server::describe(status)),
            words => format!("{}: {words}", server::describe(status)),
        }))
    }
}

/// Reads what the generator prints: seconds, which are a line each, go to whoever follows; the rest is the outcome.
async fn read(stdout: Option<ChildStdout>, seconds: UnboundedSender<SecondRecord>) -> Vec<u8> {
    let (mut text, mut line) = (Vec::new(), Vec::new());
    let Some(stdout) = stdout else {
        return text;
    };
    let mut lines = BufReader::new(stdout);
    while let Ok(1..) = lines.read_until(b'\n', &mut line).await {
        match second_in(&line) {
            // Who does not listen any more has dropped the trial.
            Some(second) => drop(seconds.send(second)),
            None => text.extend_from_slice(&line),
        }
        line.clear();
    }
    text
}

/// The second that a line tells of, if it does.
fn second_in(line: &[u8]) -> Option<SecondRecord> {
    let mark = format!("{{\"schema\":\"{}\",", live::SCHEMA);
    let is_second = line.starts_with(mark.as_bytes());
    is_second.then(|| serde_json::from_slice(line).ok())?
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A second in which one request was sent and answered.
    pub fn a_second() -> SecondRecord {
        SecondRecord {
            schema: live::SCHEMA.into(),
            written_unix_ns: 1,
            target: "127.0.0.1:1".into(),
            labels: BTreeMap::new(),
            second: 3,
            asked: None,
            sent: 1,
            completed: 1,
            requests_failed: BTreeMap::new(),
            connections_failed: BTreeMap::new(),
            connections_open: 1,
            bytes_sent: 1,
            bytes_received: 1,
            response_ns: Default::default(),
            service_ns: None,
            slip_ns: None,
        }
    }

    #[test]
    fn seconds_are_told_from_the_outcome() {
        let second = a_second();
        let line = serde_json::to_vec(&second).unwrap();
        assert_eq!(second_in(&line), Some(second));
        let cut = &line[..line.len() - 1];
        for other in [b"{\"schema\":\"tenk.outcome/1\"}".as_slice(), b"", cut] {
            assert_eq!(second_in(other), None);
        }
    }
}
