//! `tenk report DIR`: what a run said at its end, said again from its saved files: the text on stdout, and in its
//! folder the charts, `report.md` and `report.html`.

use super::hand_over::{hand_over, text};
use crate::analysis::stats::ranking::rankings;
use crate::analysis::summary::summarise;
use crate::base::error::Exit;
use crate::base::error::Failure;
use crate::base::terminal::{eprintln, say};
use crate::cli::ReportFlags;
use crate::render::chart::Evidence;
use crate::render::export::Source;
use crate::render::report::Report;
use crate::render::write::write;
use crate::store::folder::RunFolder;
use crate::store::load_rows::{SavedRun, load};
use crate::store::read_back;

/// Prints the run again, makes the exports, checks the thresholds; returns the exit code.
pub fn report(flags: &ReportFlags) -> Result<u8, Failure> {
    let run = load(&flags.dir).map_err(|e| Failure::usage(e.to_string()))?;
    let source = Source {
        rows: &run.rows,
        run_json: &whole_json(&run)?,
    };
    make_again(&run, &source, flags)?;
    say(&text(&source, &flags.dir, run.complete, flags.format)?)?;
    match hand_over(&source, &flags.export, &flags.threshold)? {
        true => Ok(Exit::Missed.code()),
        false => Ok(0),
    }
}

/// `run.json`; of a run that never came to its end, with what would have been made of its trials then.
fn whole_json(run: &SavedRun) -> Result<String, Failure> {
    if run.complete {
        return Ok(run.run_json.clone());
    }
    let failed = |e: serde_json::Error| Failure::failed(format!("run.json: {e}"));
    let mut json: serde_json::Value = serde_json::from_str(&run.run_json).map_err(failed)?;
    json["trials"] = serde_json::to_value(&run.rows).map_err(failed)?;
    json["summary"] = serde_json::to_value(summarise(&run.rows)).map_err(failed)?;
    json["ranking"] = serde_json::to_value(rankings(&run.rows)).map_err(failed)?;
    serde_json::to_string_pretty(&json)
        .map(|text| text + "\n")
        .map_err(failed)
}

/// Charts, `report.md` and `report.html`, from the saved files alone.
fn make_again(run: &SavedRun, source: &Source, flags: &ReportFlags) -> Result<(), Failure> {
    let beside = read_back::read(&flags.dir, &run.rows, run.beside)
        .map_err(|e| Failure::usage(e.to_string()))?;
    let missing = beside
        .missing
        .iter()
        .map(|name| format!("{name} is not there: its charts are left out"));
    let notes: Vec<String> = run.note.iter().cloned().chain(missing).collect();
    for note in &notes {
        eprintln(&format!("note: {note}"));
    }
    let environment = source.environment();
    let floor = serde_json::from_value(environment["generator_floor"].clone()).ok();
    let report = Report {
        evidence: Evidence {
            rows: &run.rows,
            histograms: &beside.histograms,
            timeline: &beside.timeline,
            workers: &beside.workers,
            floor: floor.as_ref(),
        },
        environment: &environment,
        complete: run.complete,
        notes,
    };
    write(&RunFolder::open(&flags.dir), &report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Format;
    use crate::model::row::to_csv;
    use crate::store::load_rows::tests::{folder, json, rows};
    use tempfile::TempDir;

    fn saved() -> TempDir {
        folder(&to_csv(&rows(7)).unwrap(), json(&rows(7)).as_bytes())
    }

    fn flags(run: &TempDir, format: Format) -> ReportFlags {
        ReportFlags {
            dir: run.path().into(),
            format,
            export: Vec::new(),
            threshold: Vec::new(),
        }
    }

    #[test]
    fn every_format_is_made_of_the_saved_rows() {
        let run = saved();
        let loaded = load(run.path()).unwrap();
        let source = Source {
            rows: &loaded.rows,
            run_json: &loaded.run_json,
        };
        let text = |format| text(&source, run.path(), loaded.complete, format).unwrap();
        assert!(text(Format::Table).contains("prefork:accept=mutex"));
        assert!(text(Format::Md).contains("|--"));
        assert_eq!(text(Format::Csv).into_bytes(), to_csv(&rows(7)).unwrap());
        assert_eq!(text(Format::Json), json(&rows(7)));
    }

    #[test]
    fn a_run_that_was_killed_is_summed_up_all_the_same() {
        let json = json(&rows(6)).replace("\"complete\": true", "\"complete\": false");
        let run = folder(&to_csv(&rows(7)).unwrap(), json.as_bytes());
        let whole = whole_json(&load(run.path()).unwrap()).unwrap();
        let whole: serde_json::Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(whole["trials"].as_array().unwrap().len(), 7);
        assert_eq!(whole["summary"].as_array().unwrap().len(), 1);
        assert_eq!(
            (&whole["complete"], &whole["environment"]["seed"]),
            (&false.into(), &1.into())
        );
    }

    #[test]
    fn exports_are_written_and_missed_thresholds_decide_the_exit_code() {
        let run = saved();
        let target = run.path().join("out.bmf");
        let mut flags = flags(&run, Format::Csv);
        flags.export = vec![format!("bmf={}", target.display()).parse().unwrap()];
        flags.threshold = vec!["errors<=12".parse().unwrap()];
        assert_eq!(report(&flags), Ok(0));
        assert!(target.exists());
        flags.threshold = vec!["errors<12".parse().unwrap()];
        assert_eq!(report(&flags), Ok(99));
    }

    #[test]
    fn a_run_that_cannot_be_read_is_an_error_with_file_and_line() {
        let csv = to_csv(&rows(2)).unwrap();
        let run = folder(&csv[..csv.len() - 3], json(&rows(2)).as_bytes());
        let failure = report(&flags(&run, Format::Table)).unwrap_err();
        assert_eq!(failure.exit, crate::base::error::Exit::Usage.code());
        assert!(
            failure
                .message
                .contains("trials.csv:5: the file ends inside this line"),
            "{failure}"
        );
    }
}
