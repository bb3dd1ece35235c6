//! `tenk serve`, `tenk load` and `tenk plan`: this program becomes a server or the load generator, as a run would start it.

use crate::base::error::{Exit, Failure, OrFail};
use crate::cli::start::{LoadWords, ServeFlags};
use crate::trial::binaries;
use servers::models;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Becomes the server of a model; returns only if that fails.
pub async fn serve(flags: &ServeFlags) -> Result<Exit, Failure> {
    let model = models::find(&flags.model).map_err(|e| Failure::from_error(Exit::Usage, e))?;
    become_program(model.name, &flags.flags).await
}

/// Becomes the load generator; returns only if that fails.
pub async fn load(words: &LoadWords) -> Result<Exit, Failure> {
    become_program("loadgen", &words.flags).await
}

/// Becomes the load generator's `plan`; returns only if that fails.
pub async fn plan(words: &LoadWords) -> Result<Exit, Failure> {
    let flags = [&["plan".into()], &words.flags[..]].concat();
    become_program("loadgen", &flags).await
}

async fn become_program(name: &str, flags: &[OsString]) -> Result<Exit, Failure> {
    let mut found = binaries::locate(&[name], true).await?;
    let program = found.remove(name);
    let program = program.ok_or_else(|| binaries::missing(&found, &[name]))?;
    // What supervises trials adopts orphans; the program that this one becomes has to be as if started by itself.
    nix::sys::prctl::set_child_subreaper(false)
        .map_err(|e| Failure::from_error(Exit::Failed, e))?;
    let error = Command::new(&program).args(flags).exec();
    Err(error).or_failed(format_args!("cannot start {}", program.display()))
}
