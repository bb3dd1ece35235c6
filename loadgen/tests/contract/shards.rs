//! A load as a plan, run in shares that do not know of each other, and joined from what they left in a log.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use loadgen::tally::outcome::{Outcome, PROCESS_LOST, Verdict};

use crate::common::{Behaviour, Fixture, Guard};

fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(args).stdin(Stdio::null());
    for name in [
        "SLURM_PROCID",
        "SLURM_NTASKS",
        "SLURM_ARRAY_TASK_ID",
        "JOB_COMPLETION_INDEX",
    ] {
        command.env_remove(name);
    }
    command
}

fn plan(folder: &Path, fixture: &Fixture, seed: u64, segments: u32) -> String {
    let path = folder.join(format!("plan-{seed}-{segments}.json"));
    let text = format!(
        r#"{{"schema": "tenk.plan/1", "segments": {segments}, "load": {{"target": "{}", "seed": {seed}, "conns": 7,
            "rate": 300, "arrival": "poisson", "warmup": "100ms", "duration": "1s", "poll": "sleep",
            "label": ["commit=3f2a"]}}}}"#,
        fixture.address
    );
    std::fs::write(&path, text).expect("written");
    path.display().to_string()
}

/// Runs all segments at once; the lines of each.
fn shards(plan: &str, segments: u32) -> Vec<String> {
    let start = SystemTime::now() + Duration::from_millis(1500);
    let start = humantime::format_rfc3339_millis(start).to_string();
    let (count, mut children) = (segments.to_string(), Vec::new());
    for index in 0..segments {
        let mut command = program(&[
            "--plan",
            plan,
            "--start-at",
            &start,
            "--threads",
            "1",
            "--outcome-lines",
            "--quiet",
        ]);
        let number = index.to_string();
        match index {
            0 => command.args(["--segment", &format!("0/{segments}")]),
            1 => command
                .env("SLURM_PROCID", &number)
                .env("SLURM_NTASKS", &count),
            _ => command.env("JOB_COMPLETION_INDEX", &number),
        };
        children.push(Guard(
            command.stdout(Stdio::piped()).spawn().expect("starts"),
        ));
    }
    children.iter_mut().map(Guard::printed).collect()
}

fn merged(log: &str, args: &[&str]) -> (Option<Outcome>, Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), log).expect("written");
    let path = file.path().display().to_string();
    let mut command = program(&["merge", &path, "--format", "json"]);
    let output = command.args(args).output().expect("starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        serde_json::from_slice(&output.stdout).ok(),
        output.status.code(),
        said,
    )
}

#[test]
fn shards_of_a_plan_are_the_single_run_and_every_loss_is_named() {
    let fixture = Fixture::start(Behaviour::Echo);
    let folder = tempfile::tempdir().expect("a folder");
    let single = shards(&plan(folder.path(), &fixture, 7, 1), 1);
    let single = merged(&single.concat(), &[]).0.expect("an outcome");
    let logs = shards(&plan(folder.path(), &fixture, 7, 3), 3);
    // As a batch engine mixes and labels them.
    let mut lines: Vec<String> = logs
        .iter()
        .flat_map(|log| log.lines().map(|line| format!("2: {line}\n")))
        .collect();
    lines.reverse();
    lines.push(lines[0].clone());
    let (outcome, code, said) = merged(&lines.concat(), &[]);
    let outcome = outcome.expect(&said);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("more than once"), "{said}");
    let counts = |outcome: &Outcome| {
        let (c, r) = (&outcome.connections, &outcome.requests);
        [
            c.requested,
            c.served,
            c.attempts,
            r.offered,
            r.sent,
            r.completed,
            outcome.latency_ns.response.count,
        ]
    };
    assert_eq!(counts(&outcome), counts(&single));
    assert_eq!(outcome.whole_run, single.whole_run);
    assert_eq!(outcome.load.labels, single.load.labels);
    assert!(!outcome.degraded && outcome.complete);

    let without = [logs[0].as_str(), logs[2].as_str()].concat();
    let (outcome, code, said) = merged(&without, &[]);
    let outcome = outcome.expect("what there is");
    assert_eq!((code, outcome.verdict), (Some(1), Verdict::Invalid));
    assert!(said.contains("1 of 3 segments are lost: 1/3"), "{said}");
    assert_eq!(outcome.connections.local_failures[PROCESS_LOST], 2);
    let (outcome, code, said) = merged(&without, &["--tolerate-loss", "1"]);
    let outcome = outcome.expect("what there is");
    assert_eq!(
        (code, outcome.verdict, outcome.degraded),
        (Some(0), Verdict::Suspect, true),
        "{said}"
    );
    assert!(
        outcome
            .reasons
            .iter()
            .any(|reason| reason.text.contains("segment 1/3")),
        "{:?}",
        outcome.reasons
    );

    // A line less is a segment less.
    let torn: Vec<&str> = logs[1].lines().skip(1).collect();
    let (_, code, said) = merged(&(without.clone() + &torn.join("\n")), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("segment 1/3: 1 of"), "{said}");
    // And of another plan none is taken.
    let others = shards(&plan(folder.path(), &fixture, 8, 3), 3);
    let (outcome, code, said) = merged(&(without + &others[1]), &[]);
    assert_eq!((outcome, code), (None, Some(2)));
    assert!(said.contains("of plan"), "{said}");
}

#[test]
fn a_plan_is_all_that_is_sent() {
    let fixture = Fixture::start(Behaviour::Echo);
    let folder = tempfile::tempdir().expect("a folder");
    let plan = plan(folder.path(), &fixture, 7, 2);
    for (args, expected) in [
        (&["--segment", "0/2", "--conns", "9"][..], "the plan's"),
        (&["--segment", "0/3"], "2 segments"),
        (&[], "which segment"),
    ] {
        let output = program(&["--plan", &plan])
            .args(args)
            .output()
            .expect("starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    assert_eq!(crate::common::Counts::get(&fixture.counts.accepted), 0);
    for make in [
        &["plan", "show"][..],
        &["plan", "slurm"],
        &["plan", "kubernetes", "--image", "tenk"],
    ] {
        let output = program(make).arg(&plan).output().expect("starts");
        assert!(
            output.status.success() && !output.stdout.is_empty(),
            "{make:?}: {output:?}"
        );
    }
}
