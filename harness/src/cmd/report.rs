//! `tenk report DIR`: what a run said at its end, said again from its trials; and its files, where they are not
//! there or are asked for.

use super::hand_over::{hand_over, say_costs, say_hosts, text};
use crate::analysis::answer::Answer;
use crate::analysis::steadiness;
use crate::base::error::{Exit, Failure};
use crate::base::terminal::{eprintln, say};
use crate::cli::{Format, ReportFlags};
use crate::lab::{Folder, words};
use crate::render::export::Source;
use crate::render::run_json::run_json;
use crate::render::write::{Target, Which, in_one_sentence, write};
use crate::store::folder::{RunFolder, cannot_save};
use crate::store::journal::TRIALS;
use crate::store::read::load;
use crate::store::saved::SavedRun;
use loadgen::tally::slo::Slo;
use serde_json::Value;
use std::path::Path;

/// Prints the run again, makes its files and the exports, checks the thresholds; says how the program ends.
pub fn report(flags: &ReportFlags) -> Result<Exit, Failure> {
    if Folder::is_one(&flags.dir) {
        return labs(flags);
    }
    let mut saved = load(&flags.dir).map_err(|e| Failure::from_error(Exit::Usage, e))?;
    steadiness::judge(&mut saved.run.rows, &saved.run.timeline);
    let run = &saved.run;
    for note in &run.notes {
        eprintln(&format!("note: {note}"));
    }
    let answer = Answer::under(&run.rows, run.complete, &promises(flags, &run.environment));
    let run_json = run_json(run, &answer, &flags.dir)?;
    let source = Source {
        rows: &run.rows,
        run_json: &run_json,
        answer: Some(&answer),
        gate: run.gate.as_ref(),
    };
    say(&text(&source, &flags.dir, flags.format, flags.verbose)?)?;
    say_hosts(run, flags.format)?;
    say_costs(run, &flags.dir, flags.format)?;
    let made = make_files(&saved, &answer, &run_json, flags)?;
    let missed = hand_over(&source, &flags.export, &flags.threshold)?;
    Ok(match (made, missed) {
        (false, _) => Exit::Failed,
        (true, true) => Exit::Missed,
        (true, false) => Exit::Done,
    })
}

/// The promises of this report, or else those that the run was made with.
fn promises(flags: &ReportFlags, environment: &Value) -> Vec<Slo> {
    if !flags.slo.is_empty() {
        return flags.slo.clone();
    }
    let made_with = environment["slo"].as_array().into_iter().flatten();
    let made_with = made_with.filter_map(Value::as_str);
    made_with.flat_map(str::parse).collect()
}

/// Labs that were saved: judged again, and their files made again.
fn labs(flags: &ReportFlags) -> Result<Exit, Failure> {
    let unread = |e| Failure::usage(format!("{}: {e}", flags.dir.display()));
    let folder = Folder::open(&flags.dir).map_err(unread)?;
    if flags.write {
        folder.finish(true).map_err(cannot_save)?;
    }
    match flags.format {
        Format::Json => say(&folder.json(true)),
        _ => say(&words::summary(folder.reports(), &folder.path())),
    }
    .map(|()| Exit::Done)
}

/// Makes the files that are wanted. What is only missing need not be made, as in a folder that is read-only; what was
/// asked for must: then the answer is whether it was.
fn make_files(
    saved: &SavedRun,
    answer: &Answer,
    run_json: &str,
    flags: &ReportFlags,
) -> Result<bool, Failure> {
    let target = |folder: &Path, kept: &[&'static str], which| {
        let target = Target {
            folder: &RunFolder::open(folder),
            kept,
            which,
        };
        in_one_sentence(&write(&target, &saved.run, answer, run_json))
    };
    let fault = match &flags.into {
        Some(folder) if folder.join(TRIALS).exists() => {
            return Err(Failure::usage(format!(
                "--into {}: this is a run's own folder; --write makes its files again, and another folder takes them",
                folder.display()
            )));
        }
        Some(folder) => target(folder, &[], Which::All),
        None if flags.write => target(&flags.dir, &saved.sources, Which::All),
        // Its files would be those of a part of it.
        None if saved.goes_on => None,
        None => {
            if let Some(fault) = target(&flags.dir, &saved.sources, Which::Missing) {
                eprintln(&format!(
                    "note: {fault} (--into DIR makes the files elsewhere)"
                ));
            }
            None
        }
    };
    if let Some(fault) = &fault {
        eprintln(&format!("error: {fault}"));
    }
    Ok(fault.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Format;
    use crate::model::row::{Reason, Reasons, Row, to_csv};
    use crate::store::journal::Journal;
    use crate::store::line::{End, Remark, SetAside, TrialLine};
    use crate::store::saved::LoadError;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use std::fs;
    use tempfile::TempDir;

    fn rows(count: u32) -> Vec<Row> {
        let row = |trial: u32| Row {
            run_id: "run-1".into(),
            block: trial,
            trial,
            seed: u64::MAX,
            arm: "prefork:accept=mutex,workers=64".into(),
            requests_per_s: Some(0.1 + f64::from(trial) / 3.0),
            errors: Some(12),
            reasons: Reasons(vec![Reason {
                code: "W08".into(),
                text: "a \"quoted\" word,\nand a line".into(),
            }]),
            foreign_cpu_fraction: Some(0.0123),
            ..Row::blank()
        };
        (1..=count).map(row).collect()
    }

    fn saved(rows: &[Row], end: bool) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        for row in rows {
            let line = TrialLine::of(row.clone(), None, &[], None).unwrap();
            journal.append(&line).unwrap();
        }
        if end {
            journal
                .append(&Remark::End(End { complete: true }))
                .unwrap();
        }
        fs::write(
            folder.path().join("environment.json"),
            "{\"schema\": 1, \"seed\": 1}",
        )
        .unwrap();
        folder
    }

    fn older(rows: &[Row]) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let json = serde_json::json!({
            "schema": "tenk.run/1", "run_dir": "results/run-1", "complete": true,
            "environment": {"seed": 1}, "trials": rows, "summary": [],
        });
        let text = serde_json::to_string_pretty(&json).unwrap() + "\n";
        fs::write(folder.path().join("run.json"), text).unwrap();
        fs::write(folder.path().join("trials.csv"), to_csv(rows).unwrap()).unwrap();
        fs::write(
            folder.path().join("redone.csv"),
            to_csv(&rows[..1]).unwrap(),
        )
        .unwrap();
        folder
    }

    fn flags(run: &TempDir) -> ReportFlags {
        ReportFlags {
            dir: run.path().into(),
            write: false,
            into: None,
            format: Format::Csv,
            verbose: false,
            export: Vec::new(),
            threshold: Vec::new(),
            slo: Vec::new(),
        }
    }

    #[test]
    fn what_was_kept_is_read_back_in_both_formats() {
        for count in [1, 3] {
            let new = load(saved(&rows(count), true).path()).unwrap().run;
            assert_eq!((&new.rows, new.complete), (&rows(count), true));
            assert_eq!(new.environment, serde_json::json!({"seed": 1}));
            assert!(new.notes.is_empty(), "{:?}", new.notes);
            let old = load(older(&rows(count)).path()).unwrap().run;
            assert_eq!((&old.rows, old.complete), (&rows(count), true));
            assert_eq!(old.set_aside.len(), 1);
        }
    }

    #[test]
    fn a_killed_run_is_read_to_its_last_whole_line_at_every_byte() {
        let folder = saved(&rows(3), true);
        let file = folder.path().join(TRIALS);
        let lines = fs::read(&file).unwrap();
        let ends: Vec<usize> = (0..lines.len()).filter(|&i| lines[i] == b'\n').collect();
        for cut in 0..lines.len() {
            fs::write(&file, &lines[..cut]).unwrap();
            let run = load(folder.path()).unwrap().run;
            // Only the line feed may be missing from a line.
            let whole = ends.iter().filter(|&&end| end <= cut).count();
            assert_eq!(run.rows.len(), whole.min(3), "{cut}");
            let is_torn = cut > 0 && !ends.iter().any(|&end| end == cut || end + 1 == cut);
            assert_eq!(
                run.notes.iter().any(|n| n.contains("is torn")),
                is_torn,
                "{cut}"
            );
            assert_eq!(run.complete, whole == 4);
        }
    }

    #[test]
    fn what_was_set_aside_is_kept_apart() {
        let folder = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(folder.path()).unwrap();
        let [first, second, third]: [Row; 3] = rows(3).try_into().unwrap();
        let again = Row { block: 1, ..third };
        let line = |row: &Row| TrialLine::of(row.clone(), None, &[], None).unwrap();
        journal.append(&line(&first)).unwrap();
        journal.append(&line(&second)).unwrap();
        journal
            .append(&Remark::SetAside(SetAside { block: 1 }))
            .unwrap();
        let run = load(folder.path()).unwrap().run;
        assert_eq!(
            (&run.rows[..], &run.set_aside[..]),
            (&[second.clone()][..], &[first.clone()][..])
        );
        assert!(
            run.notes.iter().any(|n| n.contains("block 1 is missing")),
            "{:?}",
            run.notes
        );
        journal.append(&line(&again)).unwrap();
        let run = load(folder.path()).unwrap().run;
        assert_eq!(
            (&run.rows[..], &run.set_aside[..]),
            (&[second, again][..], &[first][..])
        );
    }

    #[test]
    fn every_fault_has_its_file_and_line() {
        let folder = saved(&rows(3), true);
        let file = folder.path().join(TRIALS);
        let good = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = good.lines().collect();
        let second = |text: String| [lines[0], &text, lines[2], lines[3], ""].join("\n");
        for (broken, expected) in [
            (
                second(lines[1].replace("\"ok\"", "\"fine\"")),
                ":2: column `status`: unknown variant `fine`",
            ),
            (
                second(lines[1].replace(":12,", ":-12,")),
                ":2: column `errors`: ",
            ),
            (
                second(lines[1].replace("\"arm\":", "\"arme\":")),
                ":2: missing field `arm`",
            ),
            (
                second(lines[1].replace("run-1", "run-2")),
                ":2: this trial is of the run \"run-2\"",
            ),
            (second(lines[0].into()), ":2: trial 1 is there twice"),
            (second(lines[1][..99].into()), ":2: column 99: EOF"),
            (second("\u{0}".into()), ":2: column 1: "),
            (second(lines[3].into()), ":3: a line after the end"),
        ] {
            fs::write(&file, broken).unwrap();
            let error = load(folder.path()).unwrap_err().to_string();
            let begins = format!("{}{expected}", file.display());
            assert!(error.starts_with(&begins), "{error}\nexpected {begins}");
        }
        fs::write(
            &file,
            second("{\"row\": 1".to_string() + &" ".repeat(17 << 20)),
        )
        .unwrap();
        let error = load(folder.path()).unwrap_err();
        assert_eq!(
            (error.line, &*error.what),
            (Some(2), "the line is longer than any of ours")
        );
        // A newer version may have more to say.
        fs::write(&file, second("{\"mood\": \"good\"}".into())).unwrap();
        let run = load(folder.path()).unwrap().run;
        assert_eq!(run.rows.len(), 2);
        assert!(run.notes[0].contains("`mood`"), "{:?}", run.notes);
    }

    #[test]
    fn exports_are_written_and_missed_thresholds_decide_the_exit_code() {
        let run = saved(&rows(7), true);
        let target = run.path().join("out.bmf");
        let mut flags = flags(&run);
        flags.export = vec![format!("bmf={}", target.display()).parse().unwrap()];
        flags.threshold = vec!["errors<=12".parse().unwrap()];
        assert_eq!(report(&flags).unwrap(), Exit::Done);
        assert!(target.exists());
        flags.threshold = vec!["errors<12".parse().unwrap()];
        assert_eq!(report(&flags).unwrap(), Exit::Missed);
        flags.dir = "/no/such/run".into();
        let failure = report(&flags).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.starts_with("/no/such/run: "), "{failure}");
    }

    /// A way to spoil a file.
    #[derive(Debug, Clone)]
    enum Spoil {
        Cut(Index),
        Byte(Index, u8),
        Insert(Index, Vec<u8>),
        Remove(Index, Index),
        Repeat(Index),
        Swap(Index, Index),
        Replace(Index, String),
    }

    fn spoil() -> impl Strategy<Value = Spoil> {
        let at = any::<Index>;
        let figures = prop::sample::select(vec![
            "-1",
            "1e999",
            "NaN",
            "null",
            "18446744073709551616",
            "{}",
            "[]",
            "\"\"",
            "true",
            "\u{202e}",
            "",
        ]);
        prop_oneof![
            at().prop_map(Spoil::Cut),
            (at(), any::<u8>()).prop_map(|(at, byte)| Spoil::Byte(at, byte)),
            (at(), prop::collection::vec(any::<u8>(), 0..40))
                .prop_map(|(at, b)| Spoil::Insert(at, b)),
            (at(), at()).prop_map(|(a, b)| Spoil::Remove(a, b)),
            at().prop_map(Spoil::Repeat),
            (at(), at()).prop_map(|(a, b)| Spoil::Swap(a, b)),
            (at(), figures).prop_map(|(at, text)| Spoil::Replace(at, text.into())),
        ]
    }

    fn spoilt(bytes: &[u8], spoil: &Spoil) -> Vec<u8> {
        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b'\n').collect();
        let any = |at: &Index| at.index(bytes.len());
        match spoil {
            Spoil::Cut(at) => bytes[..any(at)].to_vec(),
            Spoil::Byte(at, byte) => {
                let (at, mut bytes) = (any(at), bytes.to_vec());
                bytes[at] = *byte;
                bytes
            }
            Spoil::Insert(at, more) => [&bytes[..any(at)], more, &bytes[any(at)..]].concat(),
            Spoil::Remove(a, b) => {
                let (from, to) = (any(a).min(any(b)), any(a).max(any(b)));
                [&bytes[..from], &bytes[to..]].concat()
            }
            Spoil::Repeat(at) => {
                let at = at.index(lines.len());
                lines.insert(at, lines[at]);
                lines.concat()
            }
            Spoil::Swap(a, b) => {
                let (a, b) = (a.index(lines.len()), b.index(lines.len()));
                lines.swap(a, b);
                lines.concat()
            }
            Spoil::Replace(at, text) => {
                // The value behind a colon or a comma.
                let marks: Vec<usize> = (0..bytes.len())
                    .filter(|&i| b",:".contains(&bytes[i]))
                    .collect();
                let from = match marks.len() {
                    0 => 0,
                    n => marks[at.index(n)] + 1,
                };
                let length = bytes[from..].iter().position(|b| b",}\n".contains(b));
                [
                    &bytes[..from],
                    text.as_bytes(),
                    &bytes[from + length.unwrap_or(0)..],
                ]
                .concat()
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_spoilt_folder_is_told_or_an_error_names_its_file(
            is_older: bool,
            file in any::<Index>(),
            spoils in prop::collection::vec(spoil(), 1..3),
            is_made in prop::bool::weighted(0.03),
        ) {
            let folder = if is_older { older(&rows(3)) } else { saved(&rows(3), true) };
            let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
            names.sort();
            let path = &names[file.index(names.len())];
            let mut bytes = fs::read(path).unwrap();
            for spoil in &spoils {
                if !bytes.is_empty() {
                    bytes = spoilt(&bytes, spoil);
                }
            }
            fs::write(path, &bytes).unwrap();
            match load(folder.path()) {
                Err(LoadError { file, line, what, .. }) => {
                    prop_assert!(file.starts_with(folder.path()) && !what.is_empty(), "{file:?}");
                    prop_assert!(line.is_some() || is_older, "{what}");
                }
                Ok(saved) => {
                    prop_assert!(saved.run.rows.len() <= 5);
                    let answer = Answer::of(&saved.run.rows, saved.run.complete);
                    let json = run_json(&saved.run, &answer, folder.path()).unwrap();
                    let source = Source { rows: &saved.run.rows, run_json: &json, answer: Some(&answer), gate: None };
                    for format in [Format::Table, Format::Md, Format::Csv] {
                        text(&source, folder.path(), format, false).unwrap();
                    }
                    if is_made {
                        let flags = ReportFlags { write: true, ..flags(&folder) };
                        prop_assert!(make_files(&saved, &answer, &json, &flags).unwrap());
                    }
                }
            }
        }
    }
}
