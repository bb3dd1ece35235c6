//! What a server is told: a model's flags, or a command with its placeholders filled in.

use super::server::{Ready, ServerSpec, Surroundings};
use super::{Context, identity};
use crate::base::error::{Failure, OrFail};
use crate::base::shell;
use crate::model::transport::Transport;
use crate::plan::TrialPlan;
use crate::plan::placeholders;
use loadgen::base::address::Address;
use loadgen::load::Close;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

fn group_name(trial: &TrialPlan) -> String {
    format!("{}{}", identity::own_prefix(), trial.trial)
}

/// How to start a model's program.
pub fn model(context: &Context, trial: &TrialPlan, name: &str, args: Vec<String>) -> ServerSpec {
    ServerSpec {
        program: context.binaries.path(name),
        args,
        folder: None,
        surroundings: Surroundings::Bare,
        ready: Ready::Line,
        start_timeout: context.plan.start_timeout,
        network: context.plan.network.clone(),
        cpus: context.plan.server_cpus.clone(),
        group_name: group_name(trial),
    }
}

/// Where the Unix socket of a trial is; none is there before it.
fn socket_path(context: &Context) -> PathBuf {
    let path = context.binaries.scratch().join("socket");
    let _ = std::fs::remove_file(&path);
    path
}

/// Where a server listens on an IP network: over IPv6 on loopback, else where the run has them.
fn address(context: &Context, transport: Transport) -> IpAddr {
    match transport {
        Transport::Tcp6 => Ipv6Addr::LOCALHOST.into(),
        _ => context.plan.server_ip,
    }
}

/// The flags of a model's program.
pub fn of_model(
    context: &Context,
    trial: &TrialPlan,
    own: &[String],
    ledger: &Path,
) -> Vec<String> {
    let plan = context.plan;
    let listen = match trial.arm.transport {
        Transport::Unix => Address::Unix(socket_path(context)).to_string(),
        transport => SocketAddr::from((address(context, transport), 0)).to_string(),
    };
    let mut args: Vec<String> = ["--listen", &listen, "--service", plan.service.name()]
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
    if let Some(iterations) = work_iterations(context, trial) {
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

/// How many iterations of the work loop a request costs.
pub fn work_iterations(context: &Context, trial: &TrialPlan) -> Option<u64> {
    let (work, ns) = (trial.cost.work?, context.work_ns_per_iteration?);
    Some((work.as_nanos() as f64 / ns).round() as u64)
}

/// Any other program gets a port that was free a moment ago: it cannot tell us one of its own choice.
pub fn command(
    context: &Context,
    trial: &TrialPlan,
    line: &str,
    folder: &Path,
) -> Result<ServerSpec, Failure> {
    const NO_PORT: &str = "no port is free";
    let free = |ip: IpAddr| std::net::TcpListener::bind((ip, 0))?.local_addr();
    let addr = match trial.arm.transport {
        Transport::Unix => Address::Unix(socket_path(context)),
        transport => Address::Ip(free(address(context, transport)).or_failed(NO_PORT)?),
    };
    let shown = folder.display().to_string();
    let filled_in = |text: &str| placeholders::filled_in(text, &addr, &shown);
    let variables = context.plan.variables.iter();
    let variables = variables.map(|(name, value)| (name.clone(), filled_in(value)));
    Ok(ServerSpec {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), filled_in(&shell::with_folder(line))],
        folder: Some(folder.into()),
        surroundings: Surroundings::Users(variables.collect()),
        ready: Ready::Answers(addr),
        start_timeout: context.plan.start_timeout,
        network: context.plan.command_network.clone(),
        cpus: context.plan.server_cpus.clone(),
        group_name: group_name(trial),
    })
}
