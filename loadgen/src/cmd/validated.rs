//! From flags to a load.

use super::Failure;
use super::cli::RunCommand;
use crate::load::Load;
use crate::load::cpus::check_cpus;
use crate::protocol::tls::Client;

/// The load that the flags describe.
pub(super) fn validated(command: &RunCommand) -> Result<Load, Failure> {
    let target = command.target.as_deref().unwrap_or_default();
    let load = Load::new(target, &command.shape, &command.load, &command.run);
    let load = load.map_err(Failure::usage)?;
    check_cpus(&load).map_err(Failure::usage)?;
    Client::of(&load).map_err(Failure::usage)?;
    Ok(load)
}
