//! The generator as a program: flags, a run, what is printed and saved, an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use loadgen::control::Sum;
use loadgen::flags::{Cli, Command, Format, OutputFlags, RunCommand};
use loadgen::link::Link;
use loadgen::load::{Load, permitted_target};
use loadgen::outcome::{Outcome, Second};
use loadgen::run::{Listener, Report};
use loadgen::{blob, files, report, run, sys, talk};

/// Exit code of bad flags, as clap's own.
const USAGE: u8 = 2;

/// Why the program ends otherwise than with 0.
enum Failure {
    Usage(String),
    Run(String),
    Interrupted(u8),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::Talk {
            target,
            encoding,
            allow_target,
        }) => converse(target, encoding, allow_target),
        None => load(&cli.run, &cli.output),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => fail(&text, USAGE),
        Err(Failure::Run(text)) => fail(&text, 1),
        Err(Failure::Interrupted(code)) => ExitCode::from(code),
    }
}

fn fail(text: &str, code: u8) -> ExitCode {
    // If stderr is closed there is nobody to tell; the exit code remains.
    let _ = writeln!(io::stderr(), "loadgen: {text}");
    ExitCode::from(code)
}

fn load(command: &RunCommand, output: &OutputFlags) -> Result<(), Failure> {
    let target = command.target.as_deref().unwrap_or_default();
    let load = Load::new(target, &command.shape, &command.load, &command.run);
    let load = load.map_err(|error| Failure::Usage(error.to_string()))?;
    let supervisor = output.phase_fd.map(sys::adopt_fd).transpose();
    let supervisor = supervisor.map_err(|error| Failure::Usage(format!("--phase-fd: {error}")))?;
    let mut link = Link::new(supervisor).map_err(failed)?;
    let mut listener = Stderr {
        quiet: output.quiet,
    };
    let report = run::run(load, &mut link, &mut listener).map_err(failed)?;
    deliver(&report, output)
}

/// Saves and prints; the laws come last, so that the figures that break them can be seen.
fn deliver(report: &Report, output: &OutputFlags) -> Result<(), Failure> {
    let saved = save(&report.outcome, output);
    let text = match output.format {
        Format::Table => report::table(&report.outcome),
        Format::Json => json(&report.outcome)? + "\n",
    };
    print(&text)?;
    saved?;
    if !report.broken_laws.is_empty() {
        return Err(Failure::Run(format!(
            "a conservation law is broken, a bug in loadgen: {}",
            report.broken_laws.join("; ")
        )));
    }
    match report.interruption {
        Some(interruption) => Err(Failure::Interrupted(interruption.exit_code())),
        None if report.outcome.connections.served == 0 => Err(Failure::Run(format!(
            "no connection was served by {}",
            report.outcome.target
        ))),
        None => Ok(()),
    }
}

fn save(outcome: &Outcome, output: &OutputFlags) -> Result<(), Failure> {
    if let Some(path) = &output.save {
        files::write_atomically(path, json(outcome)?.as_bytes()).map_err(failed)?;
    }
    if let Some(path) = &output.hgrm {
        let blob = outcome.histograms.get("response");
        let histogram = blob
            .map(|text| blob::decode(text))
            .transpose()
            .map_err(Failure::Run)?;
        let text = files::hgrm(&histogram.unwrap_or_else(loadgen::tally::new_histogram));
        files::write_atomically(path, text.as_bytes()).map_err(failed)?;
    }
    if let Some(path) = &output.hlog {
        let bytes = files::hlog(outcome, "response").map_err(failed)?;
        files::write_atomically(path, &bytes).map_err(failed)?;
    }
    Ok(())
}

fn json(outcome: &Outcome) -> Result<String, Failure> {
    serde_json::to_string(outcome).map_err(|error| Failure::Run(error.to_string()))
}

/// Prints to stdout. A reader that closed it early (`| head`) has what it wanted.
fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn converse(target: &str, encoding: &str, allowed: &[ipnet::IpNet]) -> Result<(), Failure> {
    let target =
        permitted_target(target, allowed).map_err(|error| Failure::Usage(error.to_string()))?;
    let encoding = talk::encoding(encoding).map_err(Failure::Usage)?;
    match talk::talk(target, encoding, io::stdin().lock(), io::stdout().lock()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Run(format!("{target}: {error}")))
        }
        _ => Ok(()),
    }
}

fn failed(error: io::Error) -> Failure {
    Failure::Run(error.to_string())
}

/// Notices on stderr, unless `--quiet`.
struct Stderr {
    quiet: bool,
}

impl Listener for Stderr {
    fn notice(&mut self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "loadgen: {text}");
        }
    }

    fn second(&mut self, _: &Second, _: Sum) {}
}
