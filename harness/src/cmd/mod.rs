//! What the program can be asked to do, one module per command.

mod compare;
mod doctor;
mod dry_run;
pub mod gate;
mod hand_over;
mod lab;
mod list;
mod preflight;
mod rate;
mod record;
mod report;
mod run;
#[cfg(test)]
mod schemas;
mod start;

use crate::base::error::Failure;
use crate::base::terminal;
use crate::cli::{self, Cli, Command};
use crate::trial;
use std::process::ExitCode;

/// The program: reads the command line, does what it says, and returns the exit code (see the README).
pub fn main() -> ExitCode {
    match Cli::read().and_then(|cli| obey(&cli)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            terminal::eprintln(&format!("error: {failure}"));
            ExitCode::from(failure.exit)
        }
    }
}

fn obey(cli: &Cli) -> Result<u8, Failure> {
    match &cli.command {
        Some(Command::List { long }) => terminal::say(&list::list(*long)).map(|()| 0),
        Some(Command::Doctor(flags)) => supervise(doctor::doctor(flags)),
        Some(Command::Completions { shell }) => cli::completions(*shell),
        Some(Command::Compare(flags)) => compare::compare(flags),
        Some(Command::Report(flags)) => report::report(flags),
        Some(Command::Gate(flags)) => supervise(gate::gate(flags)),
        Some(Command::Calibrate(flags)) => supervise(gate::calibrate::calibrate(flags)),
        Some(Command::Lab(flags)) => supervise(lab::lab(flags)),
        Some(Command::Serve(flags)) => supervise(start::serve(flags)),
        Some(Command::Load(words)) => supervise(start::load(words)),
        Some(Command::Measure { spec }) => crate::lab::measure(spec),
        Some(Command::Launch { spec }) => launch(spec),
        None => supervise(run::run(&cli.run)),
    }
}

fn launch(spec: &str) -> Result<u8, Failure> {
    trial::launch::main(spec).map(|()| 0)
}

/// Children are killed when the *thread* that started them ends (PR_SET_PDEATHSIG), so the runtime is the main thread.
fn supervise(work: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("cannot start: {e}"));
    // Orphans of killed servers come to us, so that they can be waited for.
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| failed(e.into()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    runtime.block_on(work)
}
