//! A trial whose server is on another host: its agent starts the server there and reads its figures at the load's phase
//! changes, as this program does for one of its own; what it saw comes back as plain values.

pub mod message;
pub mod part;

use super::evidence::Evidence;
use super::follow::Follow;
use super::generator::{self, Generator};
use super::{Context, arguments, loss, not_ours};
use crate::base::error::Failure;
use crate::model::arm::Subject;
use crate::model::network::Network;
use crate::plan::hosts::ServerHost;
use crate::plan::{Plan, TrialPlan};
use loadgen::fleet::hosts::host::{Host, part_from};
use loadgen::fleet::hosts::state::Heard;
use loadgen::fleet::wire::Order;
use message::{ServerOrder, ServerSaid, ServerTrial, Started};
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long the agent may take for what is no waiting of its own: starting a process, reading ten thousand.
const SLACK: Duration = Duration::from_secs(30);

/// The agent of the server's host.
struct Station {
    host: Host,
    /// What it said and nobody has asked for yet.
    said: VecDeque<ServerSaid>,
}

impl Station {
    /// Reaches the host.
    async fn reach(host: &ServerHost) -> Result<Station, String> {
        let command = host.via.command(&host.name, &host.agent);
        let host = Host::start(&host.name, command)?;
        let mut station = Station {
            host,
            said: VecDeque::new(),
        };
        while station.host.hello.is_none() {
            station.tend()?;
            sleep(Duration::from_millis(2)).await;
        }
        let can = station
            .host
            .hello
            .as_ref()
            .is_some_and(|hello| hello.servers);
        match can {
            true => Ok(station),
            false => Err("its agent starts no servers: --agent 'tenk agent' does".into()),
        }
    }

    fn say(&mut self, order: &ServerOrder) {
        // Ours have no maps, and serialise.
        let value = serde_json::to_value(order).unwrap_or_default();
        self.host.say(&Order::Server(value));
    }

    /// Says that this side is there, and takes in what came.
    fn tend(&mut self) -> Result<(), String> {
        self.host.tend();
        while let Some(heard) = self.host.hear()? {
            match heard {
                Heard::Server(value) => {
                    let said = serde_json::from_value(value);
                    self.said.push_back(
                        said.map_err(|e| format!("what it says of the server is no message: {e}"))?,
                    );
                }
                Heard::Refused(why) => return Err(format!("it refuses: {why}")),
                _ => {}
            }
        }
        Ok(())
    }

    /// What it says next.
    async fn next(&mut self, patience: Duration) -> Result<ServerSaid, String> {
        let deadline = Instant::now() + patience;
        loop {
            self.tend()?;
            match self.said.pop_front() {
                Some(ServerSaid::Failed { why }) => return Err(why),
                Some(said) => return Ok(said),
                None if Instant::now() > deadline => {
                    let patience = humantime::format_duration(patience);
                    return Err(format!("it said nothing of the server for {patience}"));
                }
                None => sleep(Duration::from_millis(1)).await,
            }
        }
    }

    /// Does something else while the agent is told that this side is there; its loss comes first.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> Result<T, String> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = sleep(Duration::from_millis(50)) => self.tend()?,
            }
        }
    }

    fn leave(self) {
        part_from(&mut [self.host]);
    }
}

/// Measures, on the server's host, what one iteration of the servers' work loop takes.
pub async fn calibrate(host: &ServerHost) -> Result<f64, Failure> {
    let said = async {
        let mut station = Station::reach(host).await?;
        station.say(&ServerOrder::Calibrate);
        let said = station.next(SLACK).await;
        station.leave();
        said
    };
    match said.await {
        Ok(ServerSaid::Calibrated { ns }) if ns.is_finite() && ns > 0.0 => Ok(ns),
        Ok(_) => Err(Failure::failed(format!(
            "{}: it answered another question",
            host.name
        ))),
        Err(why) => Err(Failure::failed(format!("{}: {why}", host.name))),
    }
}

/// Runs one trial with the server there. Errors end the run: they are about the host, not about the server. One that is
/// lost once its server listens leaves a trial without figures, which says so.
pub async fn run(
    context: &Context<'_>,
    trial: &TrialPlan,
    host: &ServerHost,
    follower: &dyn Follow,
) -> Result<Evidence, Failure> {
    follower.phase("start");
    let mut station = Station::reach(host)
        .await
        .map_err(|why| Failure::preflight(format!("{}: {why}", host.name)))?;
    station.say(&ServerOrder::Trial(Box::new(asked(context, trial, host))));
    let patience = context.plan.start_timeout + SLACK;
    let said = station
        .next(patience)
        .await
        .map_err(|why| not_ours(trial, &format!("{}: {why}", host.name)))?;
    let evidence = match said {
        ServerSaid::Listening { addr } => {
            let load = trial.load_at(&addr);
            let seconds = follower.wants_seconds();
            let generator = Generator::start(context, trial, load, Network::Host, seconds)?;
            measure(context, trial, &mut station, generator, follower).await?
        }
        said => seen(said),
    };
    follower.phase("clean up");
    station.leave();
    Ok(evidence.unwrap_or_else(|why| Evidence {
        lost: Some(loss::of_server_host(host, &why)),
        ..Evidence::default()
    }))
}

/// Loads a server that listens there; the inner error is that its host is lost.
async fn measure(
    context: &Context<'_>,
    trial: &TrialPlan,
    station: &mut Station,
    mut generator: Generator,
    follower: &dyn Follow,
) -> Result<Result<Evidence, String>, Failure> {
    let conversed = converse(station, &mut generator, follower);
    if let Ok(Err(why)) = tokio::time::timeout(generator::limit(trial), conversed).await {
        return Ok(Err(why));
    }
    let outcome = match station.beside(generator.finish(follower)).await {
        Ok(finished) => finished?,
        Err(why) => return Ok(Err(why)),
    };
    let (outcome, error) = match outcome {
        Ok(outcome) => (Some(outcome), None),
        Err(why) => (None, Some(why)),
    };
    let ours = Evidence {
        outcome,
        ..Evidence::default()
    };
    let established = ours.established();
    station.say(&ServerOrder::Gone { established });
    let patience = 2 * context.plan.settle_timeout + SLACK;
    let theirs = station.next(patience).await.and_then(seen);
    Ok(theirs.map(|theirs| Evidence {
        outcome: ours.outcome,
        generator_error: error.or(theirs.generator_error),
        ..theirs
    }))
}

fn seen(said: ServerSaid) -> Result<Evidence, String> {
    match said {
        ServerSaid::Seen(seen) => Ok(Evidence::from(*seen)),
        _ => Err("it spoke out of turn".into()),
    }
}

/// Passes the load's phases on, each of which goes on once the figures over there are read.
async fn converse(
    station: &mut Station,
    generator: &mut Generator,
    follower: &dyn Follow,
) -> Result<(), String> {
    while let Some(name) = station.beside(generator.next_phase(follower)).await? {
        follower.phase(&name);
        station.say(&ServerOrder::Phase { name });
        match station.next(SLACK).await? {
            ServerSaid::Go => {}
            _ => return Err("it spoke out of turn".into()),
        }
        if generator.go_on().await.is_err() {
            break;
        }
    }
    Ok(())
}

fn asked(context: &Context<'_>, trial: &TrialPlan, host: &ServerHost) -> ServerTrial {
    let plan: &Plan = context.plan;
    ServerTrial {
        subject: match &trial.arm.subject {
            Subject::Command { line, .. } => Started::Command {
                line: line.clone(),
                variables: plan.variables.clone(),
            },
            _ => Started::Model(trial.arm.label.clone()),
        },
        ip: plan.server_ip,
        service: plan.service,
        workers: plan.workers,
        work_iterations: arguments::work_iterations(context, trial),
        block_ns: trial.cost.block.map(|time| time.as_nanos() as u64),
        cpus: host.cpus.clone(),
        start_timeout_ms: plan.start_timeout.as_millis() as u64,
        settle_timeout_ms: plan.settle_timeout.as_millis() as u64,
        load: trial.load.clone(),
    }
}
