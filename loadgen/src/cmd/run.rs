//! Without a sub-command: run a load, save and print what was found.

use std::path::Path;

use super::cli::{OutputFlags, RunCommand};
use super::live::Told;
use super::output::{print, save, show};
use super::plan::{Plan, segment_here};
use super::validated::validated;
use super::{Failure, floor, report};
use crate::base::error::in_a_sentence;
use crate::base::file::write_atomically;
use crate::base::sys::adopt_fd;
use crate::fleet::link::Link;
use crate::fleet::run::{Listener, Report};
use crate::fleet::{Place, Program, Teller, run_everywhere};
use crate::load::flags::{LoadFlags, RunFlags, ShapeFlags};
use crate::tally::buckets::Buckets;
use crate::tally::latency::new_histogram;
use crate::tally::outcome::Outcome;
use crate::tally::pieces::lines;
use crate::tally::{blob, files};

pub(super) fn execute(
    command: &RunCommand,
    output: &OutputFlags,
    program: &Program,
) -> Result<(), Failure> {
    let load = match &command.plan {
        Some(path) => validated(&planned(path, command)?)?,
        None => validated(command)?,
    };
    let supervisor = output.phase_fd.map(adopt_fd).transpose();
    let supervisor = supervisor.map_err(|error| {
        let sentence = format!("--phase-fd: {error}");
        Failure::usage(in_a_sentence(error, sentence))
    })?;
    let mut told = Told::new(&load, output)?;
    let teller = supervisor.as_ref().filter(|_| output.tell_seconds);
    let mut teller = teller
        .map(|fd| fd.try_clone().map(Teller::new))
        .transpose()?;
    let listener: &mut dyn Listener = match &mut teller {
        Some(teller) => teller,
        None => &mut told,
    };
    let mut link = Link::new(supervisor)?;
    // The floor was measured over TCP on loopback.
    let is_loopback = load.target.ip().is_some_and(|ip| ip.is_loopback());
    let floor = is_loopback.then(floor::kept).flatten();
    let place = Place {
        program: program.clone(),
        hosts: command.hosts.clone(),
    };
    let report = run_everywhere(load, &place, &mut link, listener);
    let finished = told.finish();
    let mut report = report?;
    // This machine's floor is not the load hosts'.
    report.outcome.floor = floor.filter(|_| report.outcome.hosts.is_empty());
    deliver(&report, output, link)?;
    finished
}

/// The command of one segment of a plan. What is sent is the plan's; where it runs, this host's own flags say.
fn planned(path: &Path, command: &RunCommand) -> Result<RunCommand, Failure> {
    let plan = Plan::read(path).map_err(Failure::usage)?;
    let own = RunFlags {
        segment: command.run.segment,
        start_at: command.run.start_at,
        threads: command.run.threads,
        processes: command.run.processes,
        cpus: command.run.cpus.clone(),
        ..RunFlags::default()
    };
    let alone = RunCommand {
        target: None,
        plan: command.plan.clone(),
        shape: ShapeFlags::default(),
        load: LoadFlags::default(),
        run: own.clone(),
        hosts: Default::default(),
    };
    if *command != alone {
        let text = "what is sent is the plan's: beside --plan give only --segment, --start-at, --threads, --processes and --cpus";
        return Err(Failure::usage(text));
    }
    let variable = |name: &str| std::env::var(name).ok();
    let segment = segment_here(own.segment, plan.segments, variable).map_err(Failure::usage)?;
    plan.command(&own, segment)
        .map_err(|error| Failure::usage(format!("--plan {}: {error}", path.display())))
}

/// Saves and prints; the laws come last, so that the figures that break them can be seen.
fn deliver(report: &Report, output: &OutputFlags, link: Link) -> Result<(), Failure> {
    let saved = save_all(&report.outcome, output);
    drop(link); // Whoever reads stdout may be slow: from here on a signal ends the program.
    match output.outcome_lines {
        true => print(&(lines(&report.outcome).join("\n") + "\n"))?,
        false => show(&report.outcome, output.format, report::table)?,
    }
    saved?;
    if !report.broken_laws.is_empty() {
        let laws = report.broken_laws.join("; ");
        return Err(Failure::run(format!(
            "a conservation law is broken, a bug in loadgen: {laws}"
        )));
    }
    if let Some(aborted) = &report.outcome.aborted {
        return Err(Failure::Aborted(aborted.clone()));
    }
    match report.interruption {
        Some(interruption) => Err(Failure::Interrupted(interruption)),
        None if report.outcome.connections.served == 0 => Err(Failure::run(format!(
            "no connection was served by {}",
            report.outcome.load.target_in_words()
        ))),
        None => Ok(()),
    }
}

/// Tries every file, and says of each that could not be written.
fn save_all(outcome: &Outcome, output: &OutputFlags) -> Result<(), Failure> {
    let hgrm = output.hgrm.as_deref().map(|path| save_hgrm(outcome, path));
    let hlog = output.hlog.as_deref().map(|path| {
        let bytes = files::hlog(outcome, "response")?;
        Ok(write_atomically(path, &bytes)?)
    });
    let results = [Some(save(outcome, output.save.as_deref())), hgrm, hlog];
    let words = results
        .into_iter()
        .flatten()
        .filter_map(|result| match result {
            Err(Failure::Interrupted(_) | Failure::Aborted(_)) | Ok(()) => None,
            Err(failure) => Some(failure.to_string()),
        });
    match words.collect::<Vec<_>>().join("; ") {
        none if none.is_empty() => Ok(()),
        words => Err(Failure::run(words)),
    }
}

fn save_hgrm(outcome: &Outcome, path: &Path) -> Result<(), Failure> {
    let histogram = match outcome.histograms.get("response") {
        Some(text) => blob::decode(text).map_err(Failure::run)?,
        None => new_histogram(),
    };
    let text = files::hgrm(
        &Buckets::of(&histogram),
        outcome.latency_ns.response.censored_from,
    );
    Ok(write_atomically(path, text.as_bytes())?)
}
