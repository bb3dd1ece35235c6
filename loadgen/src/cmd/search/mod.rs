//! The highest rate at which a promise is kept: climb by doubling until it
//! breaks, then bisect; between two steps every connection is closed and drained.

mod bounds;
pub mod climb;

use super::cli::{PrintFlags, RunCommand};
use super::output::{Stderr, save, show};
use super::validated::validated;
use super::{Failure, report};
use crate::fleet::link::Link;
use crate::fleet::{Place, Program};
use crate::tally::slo::Slo;

pub use climb::{Found, Step, search};

/// Where the climb starts unless `--rate` says otherwise, requests per second.
pub const START_PER_S: f64 = 1000.0;

pub(super) fn execute(
    slo: &[Slo],
    command: &RunCommand,
    print: &PrintFlags,
    quiet: bool,
    program: &Program,
) -> Result<(), Failure> {
    if command.run.segment.is_some() || command.run.start_at.is_some() {
        let text =
            "a search goes on from one rate to the next by itself: drop --segment and --start-at";
        return Err(Failure::usage(text));
    }
    if command.plan.is_some() {
        let text = "a search goes on from one rate to the next by itself, and a plan says all of a load: give --target";
        return Err(Failure::usage(text));
    }
    if !command.load.abort_on.is_empty() {
        let text =
            "a search ends a step by itself: what --abort-on asks for is a promise of --slo here";
        return Err(Failure::usage(text));
    }
    if command.load.think.is_some() {
        let text = "a search looks for a rate, and --think belongs to the closed loop: drop it";
        return Err(Failure::usage(text));
    }
    let mut command = command.clone();
    command.shape.rate = command.shape.rate.or(Some(START_PER_S));
    let load = validated(&command)?;
    let place = Place {
        program: program.clone(),
        hosts: command.hosts.clone(),
    };
    let mut link = Link::new(None)?;
    let (found, interruption) = search(&load, slo, &place, &mut link, &mut Stderr::new(quiet))?;
    save(&found, print.save.as_deref())?;
    drop(link);
    show(&found, print.format, report::search_table)?;
    interruption.map_or(Ok(()), |interruption| {
        Err(Failure::Interrupted(interruption))
    })
}
