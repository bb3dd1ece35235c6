//! The program: one entry for all of its commands.

mod agent;
pub mod cli;
pub mod floor;
pub mod live;
mod merge;
mod output;
pub mod place;
pub mod plan;
mod plan_flags;
pub mod report;
mod run;
pub mod search;
pub mod talk;
mod validated;

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::fleet::Program;
use crate::fleet::hosts::NotBegun;
use crate::fleet::link::Interruption;
use crate::tally::abort::Aborted;
use cli::{Cli, Command};

/// Exit code of bad flags and files, as clap's own.
const USAGE: u8 = 2;

/// Exit code of a run that a condition of --abort-on ended.
const ABORTED: u8 = 99;
/// Exit code of what was refused before anything was sent.
const REFUSED: u8 = 3;

/// A sentence, or the error whose words are one.
type Cause = Box<dyn Error + Send + Sync>;

/// Why a command ends otherwise than with 0.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(#[source] Cause),
    #[error("{0}")]
    Run(#[source] Cause),
    #[error("the run was ended early: {0}")]
    Aborted(Aborted),
    #[error("{0}")]
    Refused(#[source] Cause),
    #[error(transparent)]
    Interrupted(Interruption),
}

impl Failure {
    fn usage(cause: impl Into<Cause>) -> Self {
        Self::Usage(cause.into())
    }

    fn run(cause: impl Into<Cause>) -> Self {
        Self::Run(cause.into())
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::Run(_) => 1,
            Self::Aborted(_) => ABORTED,
            Self::Refused(_) => REFUSED,
            Self::Interrupted(interruption) => interruption.exit_code(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let inner = error.get_ref();
        let interruption = inner.and_then(|inner| inner.downcast_ref::<Interruption>());
        match interruption {
            Some(interruption) => Self::Interrupted(*interruption),
            None if inner.is_some_and(|inner| inner.is::<NotBegun>()) => {
                Self::Refused(error.into())
            }
            None => Self::run(error),
        }
    }
}

/// Runs the command that `args` ask for. `words` are what stands before them on the command line: `["loadgen"]`, or
/// the name and the sub-command of a program that offers this one as a part of itself.
#[must_use]
pub fn main(words: &[&'static str], args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = words.join(" ");
    let command = match words.first() {
        Some(first) => Cli::command().name(*first).bin_name(name.clone()),
        None => Cli::command(),
    };
    let words_and_args = std::iter::once(OsString::from(&name)).chain(args);
    let matches = command.try_get_matches_from(words_and_args);
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => {
            // If nobody reads the help or the complaint there is nobody to tell.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let program = Program::this(words.get(1..).unwrap_or_default());
    match execute(&cli, &program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(&name, &failure.to_string(), failure.exit_code()),
    }
}

fn execute(cli: &Cli, program: &Program) -> Result<(), Failure> {
    match &cli.command {
        None => run::execute(&cli.run, &cli.output, program),
        Some(Command::Talk {
            target,
            encoding,
            allow_target,
        }) => talk::execute(target, encoding, allow_target),
        Some(Command::Search {
            slo,
            run,
            print,
            quiet,
        }) => search::execute(slo, run, print, *quiet, program),
        Some(Command::Merge {
            files,
            tolerate_loss,
            print,
        }) => merge::execute(files, *tolerate_loss, print),
        Some(Command::Plan(command)) => plan::execute(command),
        Some(Command::Agent(flags)) => agent::execute(flags, program),
        Some(Command::Floor { print, quiet }) => floor::execute(print, *quiet),
    }
}

fn fail(name: &str, text: &str, code: u8) -> ExitCode {
    // If stderr is closed there is nobody to tell; the exit code remains.
    let _ = writeln!(io::stderr(), "{name}: {text}");
    ExitCode::from(code)
}
