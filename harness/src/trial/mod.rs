//! One trial: a fresh server, one verified exchange, the load, the readings at its phase changes, and the end of
//! everything that was started. The only part of the program that starts processes or touches sockets.
//!
//! What comes out is [`Evidence`]: plain values, judged afterwards by [`crate::judge`].

mod arguments;
pub mod binaries;
pub mod cgroup;
pub mod cpu;
pub mod elsewhere;
pub mod environment;
pub mod evidence;
mod exchange;
pub mod follow;
pub(crate) mod generator;
pub mod identity;
pub mod installed;
pub mod instruments;
pub mod launch;
mod launch_error;
mod loss;
pub mod machine;
pub mod namespace;
pub mod out_of_memory;
mod output;
pub mod owner;
mod phases;
pub mod probe;
pub mod procfs;
mod profile;
pub mod ran;
pub mod server;
mod supervise;
mod syscalls;
mod tracefs;
pub mod unrelated;
mod window;

use crate::base::child::captured;
use crate::base::error::{Failure, OrFail};
use crate::model::arm::Subject;
use crate::model::instrumented::Instruments;
use crate::model::network::Network;
use crate::model::took::Stopwatch;
use crate::plan::{Plan, TrialPlan};
use binaries::Binaries;
use elsewhere::part::Orders;
use evidence::BootIds;
pub use evidence::{Evidence, Launched, Window};
use exchange::{ProbeFailure, first_exchange, probe};
pub use follow::Follow;
use follow::Timed;
pub use generator::Edges;
use generator::Generator;
use instruments::Attached;
use launch::{Action, Launch};
use loadgen::base::address::Address;
use loadgen::base::machine::boot_id;
use owner::Owner;
use probe::Question;
use procfs::NetFiles;
use server::{Server, StartError, Surroundings};
use servers::ledger::{Profile, Reader};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

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
    if let Some(host) = &plan.server_host {
        return elsewhere::calibrate(host).await.map(Some);
    }
    let program = plan.arms.iter().find_map(|arm| match &arm.subject {
        Subject::Model { program, .. } => Some(program),
        _ => None,
    });
    let Some(program) = program else {
        return Ok(None);
    };
    let launch = Launch {
        parent: std::process::id() as i32,
        network: Network::Host,
        cpus: plan.server_cpus.clone(),
        groups: Vec::new(),
        action: Action::Exec {
            program: binaries.path(program),
            args: vec!["--calibrate".into()],
        },
    };
    const FAILED: &str = "cannot calibrate --work";
    let mut command = server::command(&launch, &Surroundings::Bare).or_failed(FAILED)?;
    let output = captured(&mut command).await.or_failed(FAILED)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let ns = text.lines().find_map(|line| {
        let ns: f64 = line.strip_prefix("ns per iteration ")?.parse().ok()?;
        (ns.is_finite() && ns > 0.0).then_some(ns)
    });
    ns.map(Some)
        .ok_or_else(|| Failure::failed(format!("{FAILED}: the server said {text:?}")))
}

/// Ends and removes what harnesses that were killed have left: their servers, control groups and folders.
pub fn sweep_leftovers() {
    cgroup::sweep_leftovers();
    identity::sweep_folders(&std::env::temp_dir());
}

/// Runs one trial. Errors end the run: they are not about the server but about the harness's own means.
pub async fn run(
    context: &Context<'_>,
    trial: &TrialPlan,
    follower: &dyn Follow,
) -> Result<Evidence, Failure> {
    run_with(Instruments::default(), context, trial, follower).await
}

/// The same while the server is looked into: slower than a trial that may be ranked.
pub async fn run_with(
    instruments: Instruments,
    context: &Context<'_>,
    trial: &TrialPlan,
    follower: &dyn Follow,
) -> Result<Evidence, Failure> {
    let mut evidence = match &context.plan.server_host {
        Some(host) => elsewhere::run(context, trial, host, follower).await?,
        None => run_here(instruments, context, trial, Lead::Generator, follower).await?,
    };
    let head = boot_id();
    evidence.boot_ids = BootIds {
        server: match &evidence.server_host {
            Some(host) => host.boot_id.clone(),
            None => head.clone(),
        },
        head,
    };
    if evidence.lost.is_none() {
        evidence.lost = loss::of_load_hosts(context.plan, &evidence);
    }
    Ok(evidence)
}

/// The server's side of a trial alone, led through its phases by a head elsewhere.
pub async fn run_led(
    context: &Context<'_>,
    trial: &TrialPlan,
    orders: &mut Orders,
) -> Result<Evidence, Failure> {
    let lead = Lead::Head(orders);
    run_here(Instruments::default(), context, trial, lead, &|_: &str| {}).await
}

/// Who leads a trial through its phases.
enum Lead<'a> {
    /// The load generator, which this process starts.
    Generator,
    /// The head of the run, on another host.
    Head(&'a mut Orders),
}

/// A trial whose server is on this host.
async fn run_here(
    instruments: Instruments,
    context: &Context<'_>,
    trial: &TrialPlan,
    lead: Lead<'_>,
    follower: &dyn Follow,
) -> Result<Evidence, Failure> {
    let watch = Stopwatch::start();
    let follower = Timed {
        watch: &watch,
        follower,
    };
    let ledger_file = context.binaries.scratch().join("ledger");
    let _ = std::fs::remove_file(&ledger_file);
    follower.phase("start");
    let started = match &trial.arm.subject {
        Subject::Model { program, flags, .. } => {
            let args = arguments::of_model(context, trial, flags, &ledger_file);
            Server::start(&arguments::model(context, trial, program, args)).await
        }
        Subject::Command { line, folder } => {
            Server::start(&arguments::command(context, trial, line, folder)?).await
        }
        Subject::Running { addr, pid, .. } => Ok(Server::running(addr.clone(), *pid)),
    };
    let mut server = match started {
        Ok(server) => server,
        Err(StartError::NotStarted(why)) => return Err(not_ours(trial, &why)),
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
    let seen = Seen {
        instruments,
        ledger: ledger.as_ref(),
    };
    let evidence = measure(context, trial, &mut server, seen, lead, &follower).await;
    follower.phase("clean up");
    let addr = server.addr.clone();
    let out_of_memory = server.out_of_memory();
    server.stop().await;
    evidence.map(|mut evidence| {
        evidence.out_of_memory = out_of_memory;
        if matches!(trial.arm.subject, Subject::Command { .. })
            && !evidence.launched.private_network
        {
            evidence.left_behind = still_there(&addr);
        }
        evidence.took = watch.read();
        evidence
    })
}

/// What this program cannot do is no figure of a server's.
fn not_ours(trial: &TrialPlan, why: &str) -> Failure {
    Failure::failed(format!(
        "cannot measure {}: {why}",
        crate::base::text::visible(&trial.arm.label)
    ))
}

/// Who answers where a server was that has been ended.
fn still_there(addr: &Address) -> Option<Owner> {
    match owner::of(addr, std::process::id(), &[]) {
        Owner::Other(pid, name) => Some(Owner::Other(pid, name)),
        _ => addr
            .connect(Duration::from_millis(100))
            .is_ok()
            .then_some(Owner::Unseen),
    }
}

fn open_ledger(path: &Path) -> Result<Reader, Failure> {
    let reader = Reader::open(path).or_failed("cannot read the server's ledger")?;
    if reader.header().profile == Profile::Debug {
        return Err(Failure::failed(
            "the server is a debug build, whose figures mean nothing; build it with `cargo build --release`",
        ));
    }
    Ok(reader)
}

/// How a server is looked at, besides from outside.
#[derive(Clone, Copy)]
struct Seen<'a> {
    instruments: Instruments,
    ledger: Option<&'a Reader>,
}

async fn measure(
    context: &Context<'_>,
    trial: &TrialPlan,
    server: &mut Server,
    seen: Seen<'_>,
    lead: Lead<'_>,
    follower: &dyn Follow,
) -> Result<Evidence, Failure> {
    let ledger = seen.ledger;
    let mut evidence = begun(context, server);
    if let Err(why) = first_exchange(context, trial, server).await? {
        note_failed_exchange(why, trial, server, &mut evidence).await;
        return Ok(evidence);
    }
    evidence.server_ended = server.ended().await;
    if evidence.server_ended.is_some() {
        return Ok(evidence);
    }
    let mut net = NetFiles::open(server.network_pid()).ok();
    let net_before = net.as_mut().and_then(NetFiles::read);
    let ready_memory_kib = note_processes(trial, server, &mut evidence);

    let mut attached = Attached::to(server, seen.instruments, context.binaries.scratch()).await;
    let mut edges = Edges {
        ledger,
        ready_memory_kib,
        attached: &mut attached,
    };
    let established = match lead {
        Lead::Generator => {
            let load = trial.load_at(&server.addr);
            let network = network_of(server);
            let seconds = follower.wants_seconds();
            let generator = Generator::start(context, trial, load, network, seconds)?;
            let limit = generator::limit(trial);
            follow_load(
                generator,
                limit,
                server,
                &mut edges,
                follower,
                &mut evidence,
            )
            .await?
        }
        Lead::Head(orders) => {
            orders.listening(server.addr.clone());
            let (established, window) = orders.converse(server, &mut edges, follower).await;
            evidence.window = window;
            established
        }
    };
    evidence.shown = attached.shown().await;
    look_afterwards(context, trial, server, &mut evidence).await?;
    if let Some(ledger) = ledger {
        let opened = established.unwrap_or(0) + evidence.probes;
        // There is nothing to wait for where it is not known what was opened.
        let patience = established.map_or(Duration::ZERO, |_| context.plan.settle_timeout);
        settle(patience, opened, &mut evidence, server, ledger).await;
    }
    // These counters are TCP's.
    if !server.addr.is_unix()
        && let (Some(before), Some(after)) = (net_before, net.as_mut().and_then(NetFiles::read))
    {
        evidence.net = Some(after.since(before));
    }
    Ok(evidence)
}

/// What is known of a server that has started.
fn begun(context: &Context<'_>, server: &Server) -> Evidence {
    Evidence {
        launched: Launched {
            private_network: server.started.private_network,
            fallback: context.plan.network_fallback.clone(),
            sysctls: server.started.sysctls.clone(),
        },
        addr: Some(server.addr.clone()),
        ..Evidence::default()
    }
}

/// Whose processes the ready server is, and how they are read; what memory they have, in KiB.
fn note_processes(trial: &TrialPlan, server: &mut Server, evidence: &mut Evidence) -> u64 {
    let pids = server.pids();
    let memory_kib = server.memory_kib(&pids);
    evidence.owner = owner(trial, server);
    if let Subject::Command { .. } = trial.arm.subject {
        evidence.ran = ran::of(&pids, &server.addr);
    }
    if !pids.is_empty() {
        evidence.memory_method = Some(server.memory_method().into());
        evidence.cpu_method = Some(server.cpu(&pids).method().name().into());
    }
    memory_kib
}

/// Goes with a generator through its phases; how many connections it established, if it says.
async fn follow_load(
    mut generator: Generator,
    limit: Duration,
    server: &mut Server,
    edges: &mut Edges<'_>,
    follower: &dyn Follow,
    evidence: &mut Evidence,
) -> Result<Option<u64>, Failure> {
    let conversation = generator.converse(server, edges, follower);
    evidence.window = timeout(limit, conversation).await.unwrap_or_default();
    match generator.finish(follower).await? {
        Ok(outcome) => evidence.outcome = Some(outcome),
        Err(why) => evidence.generator_error = Some(why),
    }
    Ok(evidence.established())
}

/// Why a trial ends with its first exchange.
async fn note_failed_exchange(
    why: ProbeFailure,
    trial: &TrialPlan,
    server: &mut Server,
    evidence: &mut Evidence,
) {
    evidence.server_ended = server.ended().await;
    evidence.wrong_answer = why.is_wrong || why.is_refusal;
    let was_answered = evidence.wrong_answer;
    let elsewhere = where_it_listens(trial, server).filter(|_| !was_answered);
    let words = [Some(why.words), elsewhere, server.background()];
    let words: Vec<String> = words.into_iter().flatten().collect();
    evidence.generator_error = Some(format!("the first exchange failed: {}", words.join("; ")));
}

/// Where a command's processes listen, if that is not where they were told to.
fn where_it_listens(trial: &TrialPlan, server: &Server) -> Option<String> {
    let Subject::Command { .. } = trial.arm.subject else {
        return None;
    };
    let addr = server.addr.socket_addr()?;
    let places = owner::places_of(server.network_pid(), &server.pids());
    let gets = |place: &std::net::SocketAddr| {
        place.port() == addr.port() && (place.ip() == addr.ip() || place.ip().is_unspecified())
    };
    if places.iter().any(gets) {
        return None;
    }
    let listed: Vec<String> = places.iter().map(ToString::to_string).collect();
    Some(match listed.is_empty() {
        true => "none of its processes listens on a TCP port".into(),
        false => format!(
            "its processes listen on {} (put {{addr}}, or {{host}} and {{port}}, where the command names its address; a \
             server with an address of its own is started by you and measured with `--target ADDR --pid PID`)",
            listed.join(", ")
        ),
    })
}

/// One exchange more, now that the load has gone, and whether it is still the same server that answers.
async fn look_afterwards(
    context: &Context<'_>,
    trial: &TrialPlan,
    server: &mut Server,
    evidence: &mut Evidence,
) -> Result<(), Failure> {
    evidence.probes = 1;
    let question = Question::of(&trial.load_at(&server.addr), context.plan.settle_timeout);
    evidence.probe_bytes = question.bytes();
    evidence.server_ended = server.ended().await;
    if evidence.server_ended.is_none() {
        let answer = probe(context, trial, server, context.plan.settle_timeout).await?;
        // A server that says no is there, and says so.
        evidence.answers_afterwards = answer.as_ref().map_or_else(|why| why.is_refusal, |()| true);
        evidence.wrong_answer = answer.is_err_and(|why| why.is_wrong);
        evidence.probes += 1;
        evidence.probe_bytes *= 2;
        // Where nobody answers any more, the socket is nobody's.
        if evidence.owner == Owner::Family && evidence.answers_afterwards {
            evidence.owner = owner(trial, server);
        }
        // A server may also die of the last connections' end; and what it left in the background need not be the server.
        let ended = server.ended().await;
        let answers = evidence.answers_afterwards;
        evidence.server_ended = ended.or_else(|| server.background().filter(|_| !answers));
    }
    Ok(())
}

/// Whose the socket is. A model's ledger says it better; of a server whose process nobody named nothing is claimed.
fn owner(trial: &TrialPlan, server: &Server) -> Owner {
    let pids = server.pids();
    match trial.arm.subject {
        Subject::Model { .. } => Owner::NotAsked,
        _ if pids.is_empty() => Owner::NotAsked,
        _ => owner::of(&server.addr, server.network_pid(), &pids),
    }
}

/// Waits until the ledger accounts for every connection, or until it is clear that it will not.
async fn settle(
    patience: Duration,
    opened: u64,
    evidence: &mut Evidence,
    server: &Server,
    ledger: &Reader,
) {
    let deadline = Instant::now() + patience;
    loop {
        let tally = ledger.total();
        let queued = procfs::accept_queue(server.network_pid(), &server.addr).unwrap_or(0);
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

fn network_of(server: &Server) -> Network {
    match server.started.private_network {
        true => Network::Of {
            pid: server.network_pid(),
        },
        false => Network::Host,
    }
}
