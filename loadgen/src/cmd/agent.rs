//! `agent`: the other end of `--load-hosts`.

use std::io::{self, IsTerminal};
use std::path::Path;

use super::Failure;
use super::cli::AgentFlags;
use crate::fleet::Program;
use crate::fleet::agent::{Agent, AgentError, digest_of, guard};

pub(super) fn execute(flags: &AgentFlags, program: &Program) -> Result<(), Failure> {
    if let Some(agent) = flags.guard {
        guard(agent);
        return Ok(());
    }
    if io::stdin().is_terminal() {
        let text = "an agent speaks with a head, not with people: --load-hosts starts it, on every host that it names";
        return Err(Failure::usage(text));
    }
    let digest = digest_of(Path::new("/proc/self/exe"))?;
    let agent = Agent {
        program: program.clone(),
        programs: [("loadgen".into(), digest)].into(),
        servers: None,
        policy: flags.policy.clone(),
    };
    agent.run().map_err(|error| match error {
        AgentError::Refused(_) => Failure::Refused(error.into()),
        error => Failure::run(error),
    })
}
