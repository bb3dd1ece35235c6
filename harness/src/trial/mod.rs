//! One trial: a fresh server, one verified exchange, the load, the readings at its phase changes, and the end of
//! everything that was started. The only part of the program that starts processes or touches sockets.
//!
//! What comes out is [`Evidence`]: plain values, judged afterwards by [`crate::judge`].

pub mod binaries;
pub mod cgroup;
pub mod environment;
pub mod launch;
pub mod phases;
pub mod probe;
pub mod procfs;
pub mod ran;
pub mod server;
pub mod strangers;

use crate::base::error::Failure;
use crate::base::shell;
use crate::model::arm::Subject;
use crate::model::network::Network;
use crate::plan::{Plan, TrialPlan};
use binaries::Binaries;
use cgroup::CpuTime;
use launch::{Action, Launch, Launched};
use loadgen::flags::Close;
use loadgen::outcome::Outcome;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use phases::Phases;
use procfs::{MachineCpu, MachineTime, NetCounters, NetFiles};
use ran::Ran;
use server::{Ready, Server, ServerSpec, StartError, Tail};
use servers::ledger::{Profile, Reader, Tally};
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

/// The prefix of everything a harness leaves in a shared place, followed by its process id.
pub const PREFIX: &str = "tenk-";
/// How long one exchange with a ready server may take.
const PROBE_LIMIT: Duration = Duration::from_secs(10);
/// How long the server may go on counting after its last client has gone.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);
/// What the generator may need beyond its own deadlines, for its drain and its merging.
const GENERATOR_SLACK: Duration = Duration::from_secs(30);

/// Everything seen in one trial.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Why there was no server, if there was none.
    pub start_error: Option<StartError>,
    /// How the server ended, if it ended by itself.
    pub server_ended: Option<String>,
    /// Whether the server still made an exchange after the load had gone.
    pub answers_afterwards: bool,
    /// Exchanges of our own that reached the server.
    pub probes: u64,
    /// What the generator said.
    pub outcome: Option<Outcome>,
    /// Why it said nothing.
    pub generator_error: Option<String>,
    /// Whether one of our own exchanges was answered, and wrongly.
    pub wrong_answer: bool,
    /// The network the trial ran in.
    pub launched: Launched,
    /// The readings around the window.
    pub window: Option<Window>,
    /// Trouble counted by the kernel during the trial.
    pub net: Option<NetCounters>,
    /// The server's ledger once it had settled.
    pub ledger: Option<Tally>,
    /// The same by worker.
    pub workers: Vec<Tally>,
    /// Connections still in the accept queue then.
    pub queued: u64,
    /// How the memory was measured.
    pub memory_method: &'static str,
    /// The programs of a command, as the kernel names them.
    pub ran: Vec<Ran>,
}

/// What was read at the edges of the window.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// CPU time of the server's family.
    pub server_cpu: CpuTime,
    /// From the first reading to the last, s. Longer than the window by the handshake.
    pub between_s: f64,
    /// Memory of the family at the end less the ready server's, KiB.
    pub memory_kib: u64,
    /// Threads at the end.
    pub threads: u64,
    /// Processes at the end.
    pub processes: u64,
    /// Context switches, where the same tasks lived through the whole window.
    pub ctx_switches: Option<u64>,
    /// Turns of the server's loop, by its ledger.
    pub wakeups: Option<u64>,
    /// CPU time of the whole machine.
    pub machine: Option<MachineTime>,
    /// CPU time of the harness itself, s.
    pub harness_s: f64,
}

/// What all trials of a run share.
#[derive(Debug)]
pub struct Context<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The programs.
    pub binaries: &'a Binaries,
    /// What one iteration of a server's work takes; known only when work is asked for.
    pub work_ns_per_iteration: Option<f64>,
}

/// Measures, once per run and on the server's CPUs, what one iteration of the servers' work loop takes: every
/// model is then given the same number of iterations, which preemption cannot shorten as it would a timed spin.
pub async fn calibrate_work(plan: &Plan, binaries: &Binaries) -> Result<Option<f64>, Failure> {
    if plan.scenarios.iter().all(|s| s.cost.work.is_none()) {
        return Ok(None);
    }
    let Some(model) = plan.models().next() else {
        return Ok(None);
    };
    let launch = Launch {
        parent: std::process::id() as i32,
        network: Network::Host,
        cpus: plan.server_cpus.clone(),
        groups: Vec::new(),
        announce: false,
        action: Action::Exec {
            program: binaries.path(model.name),
            args: vec!["--calibrate".into()],
        },
    };
    let failed = |why: String| Failure::failed(format!("cannot calibrate --work: {why}"));
    let mut command = server::command(&launch).map_err(|e| failed(e.to_string()))?;
    let output = command.output().await.map_err(|e| failed(e.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ns = text.lines().find_map(|line| {
        let ns: f64 = line.strip_prefix("ns per iteration ")?.parse().ok()?;
        (ns.is_finite() && ns > 0.0).then_some(ns)
    });
    ns.map(Some)
        .ok_or_else(|| failed(format!("the server said {text:?}")))
}

/// Runs one trial. Errors end the run: they are not about the server but about the harness's own means.
pub async fn run(
    context: &Context<'_>,
    trial: &TrialPlan,
    progress: &dyn Fn(&str),
) -> Result<Evidence, Failure> {
    let ledger_file = context.binaries.scratch().join("ledger");
    let _ = std::fs::remove_file(&ledger_file);
    progress("start");
    let started = match &trial.arm.subject {
        Subject::Model { program, flags, .. } => {
            let args = model_args(context, trial, flags, &ledger_file);
            Server::start(&model_spec(context, trial, program, args)).await
        }
        Subject::Command { line, folder } => {
            Server::start(&command_spec(context, trial, line, folder)?).await
        }
        Subject::Running { addr, pid, .. } => Ok(Server::running(*addr, *pid)),
    };
    let mut server = match started {
        Ok(server) => server,
        Err(error) => {
            return Ok(Evidence {
                start_error: Some(error),
                ..Evidence::default()
            });
        }
    };
    let ledger = match trial.arm.subject {
        Subject::Model { .. } => Some(open_ledger(&ledger_file)?),
        _ => None,
    };
    let evidence = measure(context, trial, &mut server, ledger.as_ref(), progress).await;
    progress("clean up");
    server.stop().await;
    evidence
}

fn group_name(trial: &TrialPlan) -> String {
    format!("{PREFIX}{}-{}", std::process::id(), trial.trial)
}

fn model_spec(context: &Context, trial: &TrialPlan, name: &str, args: Vec<String>) -> ServerSpec {
    ServerSpec {
        program: context.binaries.path(name),
        args,
        folder: None,
        ready: Ready::Line,
        network: context.plan.network.clone(),
        cpus: context.plan.server_cpus.clone(),
        group_name: group_name(trial),
    }
}

fn model_args(context: &Context, trial: &TrialPlan, own: &[String], ledger: &Path) -> Vec<String> {
    let plan = context.plan;
    let mut args: Vec<String> = ["--listen", "127.0.0.1:0", "--service", plan.service.name()]
        .map(String::from)
        .into();
    args.extend(["--ledger".into(), ledger.display().to_string()]);
    args.extend(own.iter().cloned());
    let own_workers = own.iter().any(|flag| flag == "--workers");
    if let Some(workers) = plan.workers
        && trial.arm.subject.takes("workers")
        && !own_workers
    {
        args.extend(["--workers".into(), workers.to_string()]);
    }
    if let (Some(work), Some(ns)) = (trial.cost.work, context.work_ns_per_iteration) {
        let iterations = (work.as_nanos() as f64 / ns).round() as u64;
        args.extend(["--work-iters".into(), iterations.to_string()]);
    }
    if let Some(block) = trial.cost.block {
        args.extend(["--block".into(), format!("{}ns", block.as_nanos())]);
    }
    if trial.load.close == Close::Server
        && let (Some(requests), Some(payload)) = (trial.load.requests_per_conn, trial.load.payload)
    {
        let bytes = requests.saturating_mul(u64::from(payload.max));
        args.extend(["--close-after-bytes".into(), bytes.to_string()]);
    }
    args
}

/// Any other program gets a port that was free a moment ago: it cannot tell us one of its own choice.
fn command_spec(
    context: &Context,
    trial: &TrialPlan,
    line: &str,
    folder: &Path,
) -> Result<ServerSpec, Failure> {
    let free = || std::net::TcpListener::bind("127.0.0.1:0")?.local_addr();
    let addr = free().map_err(|e| Failure::failed(format!("no port is free: {e}")))?;
    let command = shell::with_folder(line)
        .replace("{addr}", &addr.to_string())
        .replace("{host}", &addr.ip().to_string())
        .replace("{port}", &addr.port().to_string());
    Ok(ServerSpec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), command],
        folder: Some(folder.into()),
        ready: Ready::Answers(addr),
        network: context.plan.command_network.clone(),
        cpus: context.plan.server_cpus.clone(),
        group_name: group_name(trial),
    })
}

fn open_ledger(path: &Path) -> Result<Reader, Failure> {
    let reader = Reader::open(path)
        .map_err(|e| Failure::failed(format!("cannot read the server's ledger: {e}")))?;
    if reader.header().profile == Profile::Debug {
        return Err(Failure::failed(
            "the server is a debug build, whose figures mean nothing; build it with `cargo build --release`",
        ));
    }
    Ok(reader)
}

async fn measure(
    context: &Context<'_>,
    trial: &TrialPlan,
    server: &mut Server,
    ledger: Option<&Reader>,
    progress: &dyn Fn(&str),
) -> Result<Evidence, Failure> {
    let mut evidence = Evidence {
        launched: server.launched.clone(),
        memory_method: server.memory_method(),
        ..Evidence::default()
    };
    if let Err(why) = first_exchange(context, trial, server).await {
        evidence.server_ended = server.ended();
        evidence.wrong_answer = why.answered;
        evidence.generator_error = Some(format!("the first exchange failed: {}", why.words));
        return Ok(evidence);
    }
    if let Subject::Command { .. } = trial.arm.subject {
        evidence.ran = ran::of(&server.pids(), server.addr.port());
    }
    // A server of unknown process listens in our own network.
    let pid = if server.pid == 0 {
        std::process::id()
    } else {
        server.pid
    };
    let mut net = NetFiles::open(pid).ok();
    let net_before = net.as_mut().and_then(NetFiles::read);
    let ready_memory_kib = server.memory_kib(&server.pids());

    let mut generator = Generator::start(context, trial, server)?;
    let limit = generator_limit(trial);
    let conversation = generator.converse(server, ledger, ready_memory_kib, progress);
    evidence.window = timeout(limit, conversation).await.unwrap_or_default();
    match generator.finish().await {
        Ok(outcome) => evidence.outcome = Some(outcome),
        Err(why) => evidence.generator_error = Some(why),
    }

    evidence.probes = 1;
    evidence.server_ended = server.ended();
    if evidence.server_ended.is_none() {
        let answer = probe(context, trial, server).await;
        evidence.answers_afterwards = answer.is_ok();
        evidence.wrong_answer = answer.is_err_and(|why| why.answered);
        evidence.probes += 1;
        // A server may also die of the last connections' end.
        evidence.server_ended = server.ended();
    }
    if let Some(ledger) = ledger {
        settle(&mut evidence, server, ledger).await;
    }
    if let (Some(before), Some(after)) = (net_before, net.as_mut().and_then(NetFiles::read)) {
        evidence.net = Some(after.since(before));
    }
    Ok(evidence)
}

/// Waits until the ledger accounts for every connection, or until it is clear that it will not.
async fn settle(evidence: &mut Evidence, server: &Server, ledger: &Reader) {
    let opened = evidence
        .outcome
        .as_ref()
        .map_or(0, |o| o.connections.established)
        + evidence.probes;
    let deadline = Instant::now() + SETTLE_LIMIT;
    loop {
        let tally = ledger.total();
        let queued = procfs::accept_queue(server.pid, server.addr).unwrap_or(0);
        evidence.ledger = Some(tally);
        evidence.queued = queued;
        let balanced = tally.accepted + queued == opened && tally.closed + queued == opened;
        evidence.workers = ledger.workers();
        if balanced || !evidence.answers_afterwards || Instant::now() >= deadline {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// The exchange that shows a server to be ready. One of ours has said so; any other is asked until it answers.
async fn first_exchange(
    context: &Context<'_>,
    trial: &TrialPlan,
    server: &mut Server,
) -> Result<(), ProbeFailure> {
    let deadline = Instant::now() + PROBE_LIMIT;
    loop {
        let answer = probe(context, trial, server).await;
        let is_command = matches!(trial.arm.subject, Subject::Command { .. });
        if answer.is_ok() || !is_command || server.ended().is_some() || Instant::now() > deadline {
            return answer;
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// What a probe says on stderr, without what every error begins with.
fn in_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.trim().trim_start_matches("error: ").to_string()
}

/// Why a probe failed.
struct ProbeFailure {
    words: String,
    /// Whether there was an answer, a wrong one.
    answered: bool,
}

/// One verified exchange from inside the server's network.
async fn probe(
    context: &Context<'_>,
    trial: &TrialPlan,
    server: &Server,
) -> Result<(), ProbeFailure> {
    let launch = Launch {
        parent: std::process::id() as i32,
        network: network_of(server),
        cpus: context.plan.client_cpus.clone(),
        groups: Vec::new(),
        announce: false,
        action: Action::Probe {
            addr: server.addr,
            protocol: trial.load.protocol,
            path: trial.load.path.clone(),
            timeout_ms: PROBE_LIMIT.as_millis() as u64,
        },
    };
    let not_started = |e: std::io::Error| ProbeFailure {
        words: format!("cannot start the probe: {e}"),
        answered: false,
    };
    let mut command = server::command(&launch).map_err(not_started)?;
    let output = command.output().await.map_err(not_started)?;
    match output.status.code() {
        Some(0) => Ok(()),
        code => Err(ProbeFailure {
            words: in_words(&output.stderr),
            answered: code == Some(probe::WRONG_ANSWER.into()),
        }),
    }
}

fn network_of(server: &Server) -> Network {
    match server.launched.private_network {
        true => Network::Of { pid: server.pid },
        false => Network::Host,
    }
}

/// The sum of the generator's own deadlines, and some more.
fn generator_limit(trial: &TrialPlan) -> Duration {
    let load = &trial.load;
    let own = [
        load.ramp_limit_ns(),
        load.connect_timeout_ns,
        load.warmup_ns,
        load.duration_ns,
        load.response_limit_ns().saturating_mul(2),
    ];
    let own = own.iter().fold(0u64, |sum, ns| sum.saturating_add(*ns));
    Duration::from_nanos(own).saturating_add(GENERATOR_SLACK)
}

/// A running load generator.
struct Generator {
    child: Child,
    phases: Phases,
    stderr: Tail,
    stdout: tokio::task::JoinHandle<Vec<u8>>,
}

/// What is read when the window begins.
struct Opening {
    at: Instant,
    cpu: CpuTime,
    ctx_switches: HashMap<String, u64>,
    wakeups: Option<u64>,
    machine: Option<MachineCpu>,
    harness_s: f64,
}

impl Generator {
    fn start(
        context: &Context<'_>,
        trial: &TrialPlan,
        server: &Server,
    ) -> Result<Generator, Failure> {
        let mut load = trial.load.clone();
        load.target = server.addr;
        load.target_name = match &trial.arm.subject {
            Subject::Running { name, .. } => name.clone(),
            _ => None,
        };
        let mut args = load.to_args();
        args.extend(["--format", "json", "--quiet", "--phase-fd", "0"].map(String::from));
        let launch = Launch {
            parent: std::process::id() as i32,
            network: network_of(server),
            cpus: context.plan.client_cpus.clone(),
            groups: Vec::new(),
            announce: false,
            action: Action::Exec {
                program: context.binaries.path("loadgen"),
                args,
            },
        };
        let start = || -> std::io::Result<Generator> {
            let (phases, theirs) = Phases::pair()?;
            let mut child = server::command(&launch)?
                .stdin(Stdio::from(theirs))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?;
            let stderr = Tail::default();
            stderr.follow(child.stderr.take());
            let mut stdout = child.stdout.take();
            let stdout = tokio::spawn(async move {
                let mut text = Vec::new();
                if let Some(stdout) = &mut stdout {
                    let _ = stdout.read_to_end(&mut text).await;
                }
                text
            });
            Ok(Generator {
                child,
                phases,
                stderr,
                stdout,
            })
        };
        start().map_err(|e| Failure::failed(format!("cannot start the load generator: {e}")))
    }

    /// Answers the phase changes and reads both edges of the window; `None` when it never had both.
    async fn converse(
        &mut self,
        server: &Server,
        ledger: Option<&Reader>,
        ready_memory_kib: u64,
        progress: &dyn Fn(&str),
    ) -> Option<Window> {
        let mut opening = None;
        let mut window = None;
        while let Some(phase) = self.phases.next().await {
            progress(&phase);
            match phase.as_str() {
                "window" => opening = Some(open_window(server, ledger)),
                "drain" => {
                    let opening = opening.take()?;
                    window = Some(close_window(&opening, server, ledger, ready_memory_kib));
                }
                _ => {}
            }
            self.phases.go().await.ok()?;
        }
        window
    }

    /// Waits for the generator's end and reads what it said.
    async fn finish(mut self) -> Result<Outcome, String> {
        // The socket is closed by now, or the conversation took too long: then it must go.
        if timeout(GENERATOR_SLACK, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
        let status = self.child.wait().await.map_err(|e| e.to_string())?;
        let text = self.stdout.await.map_err(|e| e.to_string())?;
        serde_json::from_slice(&text).map_err(|e| match self.stderr.text() {
            words if words.is_empty() => format!("{}: {e}", server::describe(status)),
            words => format!("{}: {words}", server::describe(status)),
        })
    }
}

fn open_window(server: &Server, ledger: Option<&Reader>) -> Opening {
    let pids = server.pids();
    let ctx_switches = procfs::context_switches(&pids);
    // Of a walk over many processes the middle is taken; a counter is read in an instant.
    let before = Instant::now();
    let cpu = server.cpu(&pids);
    Opening {
        at: before + before.elapsed() / 2,
        cpu,
        ctx_switches,
        wakeups: ledger.map(|ledger| ledger.total().wakeups),
        machine: MachineCpu::read(&own(&pids)),
        harness_s: own_cpu_s(),
    }
}

fn close_window(
    opening: &Opening,
    server: &Server,
    ledger: Option<&Reader>,
    ready_memory_kib: u64,
) -> Window {
    let between_s = opening.at.elapsed().as_secs_f64();
    let harness_s = own_cpu_s() - opening.harness_s;
    let pids = server.pids();
    let machine = MachineCpu::read(&own(&pids))
        .zip(opening.machine)
        .map(|(now, then)| now.since(then));
    let wakeups = ledger
        .zip(opening.wakeups)
        .map(|(ledger, then)| ledger.total().wakeups - then);
    Window {
        server_cpu: server.cpu(&pids).since(opening.cpu),
        between_s,
        memory_kib: server.memory_kib(&pids).saturating_sub(ready_memory_kib),
        threads: pids
            .iter()
            .filter_map(|&pid| procfs::Stat::read(pid))
            .map(|stat| stat.threads)
            .sum(),
        processes: pids.len() as u64,
        ctx_switches: difference(&opening.ctx_switches, &procfs::context_switches(&pids)),
        wakeups,
        machine,
        harness_s,
    }
}

/// This process, from which all that belongs to the trial descends, but for a server that ran before.
fn own(server: &[u32]) -> Vec<u32> {
    [&[std::process::id()], server].concat()
}

/// The switches between two readings, if both saw the same tasks.
fn difference(before: &HashMap<String, u64>, after: &HashMap<String, u64>) -> Option<u64> {
    let same = before.len() == after.len() && before.keys().all(|task| after.contains_key(task));
    let total = |tasks: &HashMap<String, u64>| tasks.values().sum::<u64>();
    same.then(|| total(after).saturating_sub(total(before)))
}

fn own_cpu_s() -> f64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else {
        return 0.0;
    };
    (usage.user_time().num_microseconds() + usage.system_time().num_microseconds()) as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_compared_only_between_the_same_tasks() {
        let tasks = |list: &[(&str, u64)]| list.iter().map(|(t, n)| (t.to_string(), *n)).collect();
        let before: HashMap<String, u64> = tasks(&[("1", 10), ("2", 20)]);
        assert_eq!(
            difference(&before, &tasks(&[("1", 15), ("2", 21)])),
            Some(6)
        );
        assert_eq!(difference(&before, &tasks(&[("1", 15)])), None);
        assert_eq!(difference(&before, &tasks(&[("1", 15), ("3", 21)])), None);
    }

    #[test]
    fn this_process_has_used_cpu_time() {
        assert!(own_cpu_s() > 0.0);
    }
}
