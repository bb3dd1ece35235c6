//! `tenk lab`: the labs, one after the other, each said as soon as it is over, and a folder with all of them.

use crate::base::error::{Exit, Failure};
use crate::base::progress::LiveLine;
use crate::base::terminal::{Signals, eprintln, say};
use crate::base::text::visible;
use crate::cli::lab::{ALL, LabFlags, LabFormat};
use crate::lab::finding::Outcome;
use crate::lab::{self, Entry, Folder, LABS, Report, words};
use crate::store::folder::cannot_save;
use crate::trial::{self, binaries::Binaries};

/// Lists the labs, or runs those that are named; says how the program ends.
pub async fn lab(flags: &LabFlags) -> Result<Exit, Failure> {
    if flags.names.is_empty() {
        let text = match flags.format {
            LabFormat::Table => words::list(),
            LabFormat::Json => words::list_as_json(),
        };
        return say(&text).map(|()| Exit::Done);
    }
    let labs = chosen(&flags.names);
    let mut signals = Signals::listen()?;
    trial::sweep_leftovers();
    let programs = programs(&labs);
    let prepared = tokio::select! {
        prepared = Binaries::prepare(&programs, flags.quiet) => prepared?,
        exit = signals.next() => return Ok(exit),
    };
    let mut folder = Folder::create(&flags.results)
        .map_err(|e| cannot_save(format!("{}: {e}", flags.results.display())).caused_by(e))?;
    let interrupted = run_these(&labs, &prepared, &mut folder, &mut signals, flags).await?;
    let saved = folder.finish(interrupted.is_none());
    match flags.format {
        LabFormat::Json => say(&folder.json(interrupted.is_none()))?,
        LabFormat::Table => say(&words::summary(folder.reports(), &folder.path()))?,
    }
    saved.map_err(cannot_save)?;
    let contradicted =
        |report: &Report| matches!(report.finding().outcome, Outcome::NotAsExpected { .. });
    Ok(match interrupted {
        Some(exit) => exit,
        None if folder.reports().iter().any(contradicted) => Exit::Missed,
        None => Exit::Done,
    })
}

/// Those of these names, in the order of the registry.
fn chosen(names: &[String]) -> Vec<&'static Entry> {
    let is_chosen = |lab: &&Entry| names.iter().any(|n| n == ALL || n == lab.about.name);
    LABS.iter().filter(is_chosen).collect()
}

/// The programs of ours that they start.
fn programs(labs: &[&'static Entry]) -> Vec<&'static str> {
    let mut all: Vec<&str> = labs
        .iter()
        .flat_map(|lab| lab.about.programs.iter().copied())
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Runs them; returns how the signal ended it, if one did.
async fn run_these(
    labs: &[&'static Entry],
    binaries: &Binaries,
    folder: &mut Folder,
    signals: &mut Signals,
    flags: &LabFlags,
) -> Result<Option<Exit>, Failure> {
    let is_for_people = flags.format == LabFormat::Table;
    for lab in labs {
        if is_for_people {
            say(&words::before(&lab.about))?;
        }
        let line = LiveLine::new(flags.quiet);
        line.show(lab.about.name);
        let run = lab::Run { lab, binaries };
        let progress = |text: &str| line.show(&format!("{}: {}", lab.about.name, visible(text)));
        let report = tokio::select! {
            report = lab::run(&run, &progress) => report?,
            exit = signals.next() => {
                line.erase();
                lab::await_the_rest().await;
                eprintln(&format!("interrupted in {}; what was done before is saved", lab.about.name));
                return Ok(Some(exit));
            }
        };
        line.erase();
        if is_for_people {
            say(&words::after(&report))?;
        }
        folder.add(report).map_err(cannot_save)?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labs_are_chosen_by_name_in_the_order_of_the_course() {
        let names = |names: &[&str]| -> Vec<&str> {
            let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
            chosen(&names).iter().map(|lab| lab.about.name).collect()
        };
        assert_eq!(names(&["all"]).len(), LABS.len());
        assert_eq!(names(&["nagle", "backlog", "nagle"]), ["backlog", "nagle"]);
        assert!(programs(&chosen(&["all".into()])).is_sorted());
    }
}
