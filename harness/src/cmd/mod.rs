//! What the program can be asked to do, one module per command.

mod agent;
mod compare;
mod doctor;
mod dry_run;
pub mod gate;
mod hand_over;
mod history;
mod instrumented;
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
mod told;

use crate::base::error::{Exit, Failure, OrFail};
use crate::base::panic;
use crate::base::runtime;
use crate::base::terminal;
use crate::cli::{Cli, Command, generated};
use crate::trial;
use std::path::Path;
use std::process::ExitCode;

/// The program: reads the command line, does what it says, and returns the exit code (see the README).
pub fn main() -> ExitCode {
    match panic::caught(|| Cli::read().and_then(|cli| obey(&cli))) {
        None => ExitCode::from(Exit::Failed.code()),
        Some(Ok(exit)) => ExitCode::from(exit.code()),
        Some(Err(failure)) => {
            terminal::eprintln(&format!("error: {failure}"));
            ExitCode::from(failure.exit.code())
        }
    }
}

fn obey(cli: &Cli) -> Result<Exit, Failure> {
    match &cli.command {
        Some(Command::List { long }) => terminal::say(&list::list(*long)).map(|()| Exit::Done),
        Some(Command::Doctor(flags)) => supervise(doctor::doctor(flags)),
        Some(Command::Completions { shell }) => generated::completions(*shell).map(|()| Exit::Done),
        Some(Command::Man { of, into }) => manual(of.as_deref(), into.as_deref()),
        Some(Command::Compare(flags)) => compare::compare(flags),
        Some(Command::Report(flags)) => report::report(flags),
        Some(Command::Gate(flags)) => supervise(gate::gate(flags)),
        Some(Command::History(flags)) => supervise(history::history(flags)),
        Some(Command::Calibrate(flags)) => supervise(gate::calibrate::calibrate(flags)),
        Some(Command::Lab(flags)) => supervise(lab::lab(flags)),
        Some(Command::Serve(flags)) => supervise(start::serve(flags)),
        Some(Command::Load(words)) => supervise(start::load(words)),
        Some(Command::Plan(words)) => supervise(start::plan(words)),
        Some(Command::Agent(flags)) => supervise(agent::agent(flags)),
        Some(Command::Measure { spec }) => crate::lab::measure(spec),
        Some(Command::Launch { spec }) => launch(spec),
        None => supervise(run::run(&cli.run)),
    }
}

fn manual(of: Option<&str>, into: Option<&Path>) -> Result<Exit, Failure> {
    match into {
        Some(folder) => generated::manuals_into(folder),
        None => generated::manual(of),
    }
    .map(|()| Exit::Done)
}

/// What a launched process tells the harness by its exit code is none of the program's own codes.
fn launch(spec: &str) -> Result<Exit, Failure> {
    match trial::launch::main(spec) {
        Ok(()) => Ok(Exit::Done),
        Err(error) => {
            terminal::eprintln(&format!("error: {error}"));
            std::process::exit(error.code.into())
        }
    }
}

fn supervise(work: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    const FAILED: &str = "cannot start";
    // Orphans of killed servers come to us, so that they can be waited for.
    nix::sys::prctl::set_child_subreaper(true).or_failed(FAILED)?;
    runtime::start().or_failed(FAILED)?.block_on(work)
}
