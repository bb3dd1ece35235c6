//! The command line of `tenk agent`.

use clap::Args;
use loadgen::fleet::agent::POLICY_FILE;
use std::path::PathBuf;

/// How an agent runs.
#[derive(Args, Debug, Clone)]
pub struct AgentFlags {
    /// What this host permits (TOML: targets, rate, connections, duration, commands); there need be no such file
    #[arg(long, value_name = "FILE", default_value = POLICY_FILE)]
    pub policy: PathBuf,
    /// Be the part that starts servers.
    #[arg(long, hide = true)]
    pub servers: bool,
}
