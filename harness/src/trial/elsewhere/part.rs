//! The part of an agent that starts servers: a process of its own, which speaks with the head of the run through the
//! agent. The end of its input is the end of the server, and its own.

use super::message::{Seen, ServerOrder, ServerSaid, ServerTrial, Started};
use crate::base::error::{Exit, Failure, OrFail};
use crate::cli::Cli;
use crate::plan::{Plan, TrialPlan};
use crate::trial::binaries::Binaries;
use crate::trial::environment;
use crate::trial::server::Server;
use crate::trial::window;
use crate::trial::{self, Context, Edges, Follow, Window};
use clap::Parser;
use loadgen::base::address::Address;
use loadgen::fleet::agent::Policy;
use loadgen::fleet::wire::{Reader, lines_of};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

/// What the head says, until it says no more.
#[derive(Debug)]
pub struct Orders(UnboundedReceiver<ServerOrder>);

impl Orders {
    /// Reads standard input in a thread; what comes second says that it has ended.
    fn listen() -> io::Result<(Orders, oneshot::Receiver<()>)> {
        let (sender, receiver) = unbounded_channel();
        let (ends, ended) = oneshot::channel();
        thread::Builder::new().spawn(move || {
            let _ends = ends;
            let (mut reader, mut buffer) = (Reader::default(), [0; 64 * 1024]);
            while let Ok(length @ 1..) = io::stdin().lock().read(&mut buffer) {
                reader.push(&buffer[..length]);
                while let Ok(Some(order)) = reader.take() {
                    if sender.send(order).is_err() {
                        return;
                    }
                }
            }
        })?;
        Ok((Orders(receiver), ended))
    }

    /// The server listens.
    pub fn listening(&self, addr: Address) {
        say(&ServerSaid::Listening { addr });
    }

    /// Answers the phase changes and reads both edges of the window; how many connections were established, and the
    /// window, if it had both edges.
    pub async fn converse(
        &mut self,
        server: &Server,
        edges: &mut Edges<'_>,
        follower: &dyn Follow,
    ) -> (Option<u64>, Option<Window>) {
        let (mut opening, mut window) = (None, None);
        loop {
            match self.0.recv().await {
                Some(ServerOrder::Phase { name }) => {
                    follower.phase(&name);
                    match (name.as_str(), opening.take()) {
                        ("window", _) => opening = Some(window::open(server, edges.ledger)),
                        ("drain", Some(opening)) => {
                            let closed = window::close(
                                &opening,
                                server,
                                edges.ledger,
                                edges.ready_memory_kib,
                            );
                            window = Some(closed);
                        }
                        (_, kept) => opening = kept,
                    }
                    say(&ServerSaid::Go);
                }
                Some(ServerOrder::Gone { established }) => return (established, window),
                _ => return (None, window),
            }
        }
    }
}

/// Speaks until its input ends.
pub async fn main(policy: &Path) -> Result<Exit, Failure> {
    let (mut orders, mut ended) = match Orders::listen() {
        Ok(both) => both,
        Err(error) => return deaf(&error),
    };
    let said = async {
        match orders.0.recv().await {
            Some(ServerOrder::Calibrate) => calibrated().await,
            Some(ServerOrder::Trial(asked)) => tried(*asked, policy, &mut orders).await,
            _ => Err(Failure::failed("there is no trial yet")),
        }
    };
    tokio::select! {
        said = said => say(&said.unwrap_or_else(|failure| ServerSaid::Failed {
            why: failure.to_string(),
        })),
        // The head is gone: what was begun is dropped, and the server with it.
        _ = &mut ended => return Ok(Exit::Done),
    }
    let _ = ended.await;
    Ok(Exit::Done)
}

/// Where no thread is to be had: the head learns why, whatever it was going to say, and then this ends with its input.
fn deaf(error: &io::Error) -> Result<Exit, Failure> {
    say(&ServerSaid::Failed {
        why: format!(
            "no thread can be started there: {error}; `ulimit -u` and pids.max of its control group limit them"
        ),
    });
    io::copy(&mut io::stdin().lock(), &mut io::sink()).or_failed("cannot read standard input")?;
    Ok(Exit::Done)
}

fn say(said: &ServerSaid) {
    let mut stdout = io::stdout().lock();
    // An agent that is gone ends this process by its input.
    let _ = stdout
        .write_all(&lines_of(said))
        .and_then(|()| stdout.flush());
}

async fn calibrated() -> Result<ServerSaid, Failure> {
    let plan = plan_of(&["--model=epoll".into(), "--work=1us".into()])?;
    let binaries = Binaries::prepare(&["epoll"], true).await?;
    let ns = trial::calibrate_work(&plan, &binaries).await?;
    let ns = ns.ok_or_else(|| Failure::failed("nothing to calibrate"))?;
    Ok(ServerSaid::Calibrated { ns })
}

async fn tried(
    asked: ServerTrial,
    policy: &Path,
    orders: &mut Orders,
) -> Result<ServerSaid, Failure> {
    let (mut plan, mut trial) = understood(&asked, policy)?;
    plan.server_ip = asked.ip;
    if let Some(cpus) = &asked.cpus {
        plan.server_cpus.clone_from(cpus);
    }
    trial.load = asked.load;
    let names: Vec<&str> = plan.models().map(|model| model.name).collect();
    let binaries = Binaries::prepare(&names, true).await?;
    let context = Context {
        plan: &plan,
        binaries: &binaries,
        // One nanosecond each: the time asked for is then their number.
        work_ns_per_iteration: asked.work_iterations.map(|_| 1.0),
    };
    let cpus = plan.server_cpus.len();
    let evidence = trial::run_led(&context, &trial, orders).await?;
    let host = environment::of_server_host(&binaries);
    Ok(ServerSaid::Seen(Box::new(Seen::of(evidence, cpus, host))))
}

/// The plan that the words of a trial stand for: a model by its name, or a command where those are permitted.
fn understood(asked: &ServerTrial, policy: &Path) -> Result<(Plan, TrialPlan), Failure> {
    let mut words = vec![
        format!("--service={}", asked.service.name()),
        format!("--start-timeout={}ms", asked.start_timeout_ms),
        format!("--settle-timeout={}ms", asked.settle_timeout_ms),
    ];
    match &asked.subject {
        Started::Model(model) => words.push(format!("--model={model}")),
        Started::Command { line, variables } => {
            let policy = Policy::read(policy).map_err(Failure::preflight)?;
            if !policy.commands {
                return Err(Failure::preflight(
                    "its policy permits no commands of a head's: `commands = true` in /etc/tenk/agent.toml there does, or \
                     start the server yourself and give --target ADDR",
                ));
            }
            words.push(format!("--server={line}"));
            words.extend(
                variables
                    .iter()
                    .map(|(name, value)| format!("--env={name}={value}")),
            );
        }
    }
    words.extend(asked.workers.map(|workers| format!("--workers={workers}")));
    words.extend(
        asked
            .work_iterations
            .map(|iterations| format!("--work={iterations}ns")),
    );
    words.extend(asked.block_ns.map(|ns| format!("--block={ns}ns")));
    let plan = plan_of(&words)?;
    let trial = plan.trials().into_iter().next();
    let trial = trial.ok_or_else(|| Failure::failed("a plan without a trial"))?;
    Ok((plan, trial))
}

fn plan_of(words: &[String]) -> Result<Plan, Failure> {
    let own = ["tenk", "--netns=off", "--quiet"].map(String::from);
    let cli = Cli::try_parse_from(own.iter().chain(words)).or_usage("what is asked for")?;
    let mut plan = Plan::new(&cli.run)?;
    // The generator is elsewhere, and the whole of this machine the server's.
    plan.server_cpus = crate::base::machine::available_cpus()?;
    plan.client_cpus.clone_from(&plan.server_cpus);
    plan.start_timeout = cli.run.servers.start_timeout.max(Duration::from_millis(1));
    Ok(plan)
}
