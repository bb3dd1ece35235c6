//! `harness report DIR`: what a run said at its end, said again from its saved files: the text on stdout, and in its
//! folder the charts, `report.md` and `report.html`.

use super::hand_over::{hand_over, text};
use super::read_back;
use super::write::{Report, write};
use crate::chart::Evidence;
use crate::cli::ReportFlags;
use crate::error::Failure;
use crate::export::Source;
use crate::load_rows::{SavedRun, load};
use crate::run::{eprintln, say};
use crate::store::RunFolder;
use crate::threshold;

/// Prints the run again, makes the exports, checks the thresholds; returns the exit code.
pub fn report(flags: &ReportFlags) -> Result<u8, Failure> {
    let run = load(&flags.dir).map_err(|e| Failure::failed(e.to_string()))?;
    let source = Source {
        rows: &run.rows,
        run_json: &run.run_json,
    };
    make_again(&run, &source, flags)?;
    say(&text(&source, &flags.dir, run.complete, flags.format)?)?;
    match hand_over(&source, &flags.export, &flags.threshold)? {
        true => Ok(threshold::MISSED),
        false => Ok(0),
    }
}

/// Charts, `report.md` and `report.html`, from the saved files alone.
fn make_again(run: &SavedRun, source: &Source, flags: &ReportFlags) -> Result<(), Failure> {
    let beside =
        read_back::read(&flags.dir, &run.rows).map_err(|e| Failure::failed(e.to_string()))?;
    let missing = beside
        .missing
        .iter()
        .map(|name| format!("{name} is not there: its charts are left out"));
    let notes: Vec<String> = run.note.iter().cloned().chain(missing).collect();
    for note in &notes {
        eprintln(&format!("note: {note}"));
    }
    let report = Report {
        evidence: Evidence {
            rows: &run.rows,
            histograms: &beside.histograms,
            timeline: &beside.timeline,
            workers: &beside.workers,
        },
        environment: &source.environment(),
        complete: run.complete,
        notes,
    };
    write(&RunFolder::open(&flags.dir), &report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Format;
    use crate::load_rows::tests::{folder, json, rows};
    use crate::row::to_csv;
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
        assert_eq!(failure.exit, 1);
        assert!(
            failure
                .message
                .contains("trials.csv:5: the file ends inside this line"),
            "{failure}"
        );
    }
}
