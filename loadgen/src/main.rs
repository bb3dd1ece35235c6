//! The generator as a program: flags, a run, what is printed and saved, an exit code.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use loadgen::control::Sum;
use loadgen::flags::{Cli, Command, Format, OutputFlags, PrintFlags, RunCommand};
use loadgen::link::{Interruption, Link};
use loadgen::load::{Load, permitted_target};
use loadgen::outcome::{self, Outcome, Second};
use loadgen::run::{Listener, Report};
use loadgen::search::Slo;
use loadgen::{blob, files, fleet, floor, limits, merge, report, search, sys, talk};
use serde::Serialize;

/// Exit code of bad flags and files, as clap's own.
const USAGE: u8 = 2;

/// A larger file is none of ours: a second of a window makes about 10 KB.
const MOST_BYTES: u64 = 256 << 20;

/// Why the program ends otherwise than with 0.
enum Failure {
    Usage(String),
    Run(String),
    Interrupted(Interruption),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        None => load(&cli.run, &cli.output),
        Some(Command::Talk {
            target,
            encoding,
            allow_target,
        }) => converse(target, encoding, allow_target),
        Some(Command::Search {
            slo,
            run,
            print,
            quiet,
        }) => seek(slo, run, print, *quiet),
        Some(Command::Merge { files, print }) => join(files, print),
        Some(Command::Floor { print, quiet }) => measure_floor(print, *quiet),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => fail(&text, USAGE),
        Err(Failure::Run(text)) => fail(&text, 1),
        Err(Failure::Interrupted(interruption)) => {
            fail(&interruption.to_string(), interruption.exit_code())
        }
    }
}

fn fail(text: &str, code: u8) -> ExitCode {
    // If stderr is closed there is nobody to tell; the exit code remains.
    let _ = writeln!(io::stderr(), "loadgen: {text}");
    ExitCode::from(code)
}

fn load(command: &RunCommand, output: &OutputFlags) -> Result<(), Failure> {
    let load = validated(command)?;
    let supervisor = output.phase_fd.map(sys::adopt_fd).transpose();
    let supervisor = supervisor.map_err(|error| Failure::Usage(format!("--phase-fd: {error}")))?;
    let mut listener: Box<dyn Listener> = match &supervisor {
        Some(fd) if output.tell_seconds => {
            Box::new(fleet::Teller::new(fd.try_clone().map_err(failed)?))
        }
        _ => Box::new(Stderr::new(output.quiet)),
    };
    let mut link = Link::new(supervisor).map_err(failed)?;
    let floor = load.target.ip().is_loopback().then(floor::kept).flatten();
    let mut report = fleet::run_everywhere(load, &mut link, listener.as_mut()).map_err(failed)?;
    report.outcome.floor = floor;
    deliver(&report, output, link)
}

fn validated(command: &RunCommand) -> Result<Load, Failure> {
    let target = command.target.as_deref().unwrap_or_default();
    let load = Load::new(target, &command.shape, &command.load, &command.run)
        .map_err(|error| Failure::Usage(error.to_string()))?;
    limits::check_cpus(&load).map_err(Failure::Usage)?;
    Ok(load)
}

/// Saves and prints; the laws come last, so that the figures that break them can be seen.
fn deliver(report: &Report, output: &OutputFlags, link: Link) -> Result<(), Failure> {
    let saved = save_all(&report.outcome, output);
    drop(link); // Whoever reads stdout may be slow: from here on a signal ends the program.
    show(&report.outcome, output.format, report::table)?;
    saved?;
    if !report.broken_laws.is_empty() {
        let laws = report.broken_laws.join("; ");
        return Err(Failure::Run(format!(
            "a conservation law is broken, a bug in loadgen: {laws}"
        )));
    }
    match report.interruption {
        Some(interruption) => Err(Failure::Interrupted(interruption)),
        None if report.outcome.connections.served == 0 => Err(Failure::Run(format!(
            "no connection was served by {}",
            report.outcome.target
        ))),
        None => Ok(()),
    }
}

/// Tries every file, and says of each that could not be written.
fn save_all(outcome: &Outcome, output: &OutputFlags) -> Result<(), Failure> {
    let hgrm = output.hgrm.as_deref().map(|path| save_hgrm(outcome, path));
    let hlog = output.hlog.as_deref().map(|path| {
        let bytes = files::hlog(outcome, "response").map_err(failed)?;
        files::write_atomically(path, &bytes).map_err(failed)
    });
    let results = [Some(save(outcome, output.save.as_deref())), hgrm, hlog];
    let words = results
        .into_iter()
        .flatten()
        .filter_map(|result| match result {
            Err(Failure::Usage(text) | Failure::Run(text)) => Some(text),
            _ => None,
        });
    match words.collect::<Vec<_>>().join("; ") {
        none if none.is_empty() => Ok(()),
        words => Err(Failure::Run(words)),
    }
}

fn save_hgrm(outcome: &Outcome, path: &Path) -> Result<(), Failure> {
    let histogram = match outcome.histograms.get("response") {
        Some(text) => blob::decode(text).map_err(Failure::Run)?,
        None => loadgen::tally::new_histogram(),
    };
    let text = files::hgrm(&histogram, outcome.latency_ns.response.censored_from);
    files::write_atomically(path, text.as_bytes()).map_err(failed)
}

fn seek(slo: &[Slo], command: &RunCommand, print: &PrintFlags, quiet: bool) -> Result<(), Failure> {
    if command.run.segment.is_some() || command.run.start_at.is_some() {
        let text =
            "a search goes on from one rate to the next by itself: drop --segment and --start-at";
        return Err(Failure::Usage(text.into()));
    }
    if command.load.think.is_some() {
        let text = "a search looks for a rate, and --think belongs to the closed loop: drop it";
        return Err(Failure::Usage(text.into()));
    }
    let mut command = command.clone();
    command.shape.rate = command.shape.rate.or(Some(search::START_PER_S));
    let load = validated(&command)?;
    let mut link = Link::new(None).map_err(failed)?;
    let (found, interruption) =
        search::search(&load, slo, &mut link, &mut Stderr::new(quiet)).map_err(failed)?;
    save(&found, print.save.as_deref())?;
    drop(link);
    show(&found, print.format, report::search_table)?;
    interruption.map_or(Ok(()), |interruption| {
        Err(Failure::Interrupted(interruption))
    })
}

fn join(paths: &[PathBuf], print: &PrintFlags) -> Result<(), Failure> {
    let outcomes: Result<Vec<Outcome>, Failure> =
        paths.iter().map(|path| read_outcome(path)).collect();
    let outcomes = outcomes?;
    let merged = merge::merge(&outcomes, false).map_err(Failure::Usage)?;
    merge::check_together(&outcomes).map_err(Failure::Usage)?;
    save(&merged, print.save.as_deref())?;
    show(&merged, print.format, report::table)
}

fn read_outcome(path: &Path) -> Result<Outcome, Failure> {
    let said =
        |error: &dyn std::fmt::Display| Failure::Usage(format!("{}: {error}", path.display()));
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| said(&error))?;
    file.take(MOST_BYTES + 1)
        .read_to_end(&mut text)
        .map_err(|error| said(&error))?;
    if text.len() as u64 > MOST_BYTES {
        return Err(said(&format!(
            "more than {MOST_BYTES} bytes are no outcome of ours"
        )));
    }
    outcome::read(&text).map_err(|error| said(&error))
}

fn measure_floor(print: &PrintFlags, quiet: bool) -> Result<(), Failure> {
    let mut link = Link::new(None).map_err(failed)?;
    let floor = floor::measure(&mut link, &mut Stderr::new(quiet)).map_err(failed)?;
    save(&floor, print.save.as_deref())?;
    show(&floor, print.format, report::floor_text)?;
    floor::keep(&floor).map(|_| ()).map_err(failed)
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

fn save(result: &impl Serialize, path: Option<&Path>) -> Result<(), Failure> {
    match path {
        Some(path) => files::write_atomically(path, json(result)?.as_bytes()).map_err(failed),
        None => Ok(()),
    }
}

fn show<T: Serialize>(result: &T, format: Format, table: fn(&T) -> String) -> Result<(), Failure> {
    let text = match format {
        Format::Table => table(result),
        Format::Json => json(result)? + "\n",
    };
    let mut stdout = io::stdout().lock();
    // A reader that closed stdout early (`| head`) has what it wanted.
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

fn json(result: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(result).map_err(|error| Failure::Run(error.to_string()))
}

fn failed(error: io::Error) -> Failure {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<Interruption>());
    match inner {
        Some(interruption) => Failure::Interrupted(*interruption),
        None => Failure::Run(error.to_string()),
    }
}

/// Notices on stderr unless `--quiet`, and the live view if it is a terminal.
struct Stderr {
    quiet: bool,
    live: bool,
}

impl Stderr {
    fn new(quiet: bool) -> Self {
        Self {
            quiet,
            live: !quiet && io::stderr().is_terminal(),
        }
    }
}

impl Listener for Stderr {
    fn notice(&mut self, text: &str) {
        if !self.quiet {
            let _ = writeln!(io::stderr(), "loadgen: {text}");
        }
    }

    fn wants_seconds(&self) -> bool {
        self.live
    }

    fn second(&mut self, second: &Second, sum: Sum) {
        if self.live {
            let _ = writeln!(io::stderr(), "{}", report::live_line(second, sum));
        }
    }
}
