//! `tenk agent`: the other end of `--load-hosts` and `--server-host`.

use crate::base::error::{Exit, Failure, OrFail};
use crate::cli::agent::AgentFlags;
use crate::trial::binaries;
use crate::trial::elsewhere::part;
use loadgen::base::sys::die_with_parent;
use loadgen::fleet::Program;
use loadgen::fleet::agent::{Agent, AgentError, digest_of};
use nix::sys::signal::Signal;
use std::io::IsTerminal;
use std::path::Path;
use std::process::Command;

/// Speaks until the head is gone.
pub async fn agent(flags: &AgentFlags) -> Result<Exit, Failure> {
    if flags.servers {
        return part::main(&flags.policy).await;
    }
    if std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "an agent speaks with a head, not with people: --load-hosts and --server-host start it, on every host that \
             they name",
        ));
    }
    let mut found = binaries::locate(&["loadgen"], true).await?;
    let path = found
        .remove("loadgen")
        .ok_or_else(|| binaries::missing(&found, &["loadgen"]))?;
    let own = Path::new("/proc/self/exe");
    let digest =
        |path: &Path| digest_of(path).or_failed(format_args!("cannot read {}", path.display()));
    let programs = [
        ("loadgen".into(), digest(&path)?),
        ("tenk".into(), digest(own)?),
    ]
    .into();
    let mut servers = Command::new(own);
    servers
        .arg("agent")
        .arg("--servers")
        .arg("--policy")
        .arg(&flags.policy);
    die_with_parent(&mut servers, Signal::SIGKILL);
    // What this program starts need not come to it when it is left alone: it would be nobody's.
    nix::sys::prctl::set_child_subreaper(false).or_failed("cannot start")?;
    let agent = Agent {
        program: Program {
            path,
            words: Vec::new(),
        },
        programs,
        servers: Some(servers),
        policy: flags.policy.clone(),
    };
    match agent.run() {
        Ok(()) => Ok(Exit::Done),
        Err(error @ AgentError::Refused(_)) => Err(Failure::from_error(Exit::Preflight, error)),
        Err(error) => Err(Failure::from_error(Exit::Failed, error)),
    }
}
