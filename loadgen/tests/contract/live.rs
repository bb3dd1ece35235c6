//! What is told of a run while it lasts, and what ends it early.

use std::os::fd::AsRawFd;
use std::process::Stdio;

use loadgen::tally::live::SecondRecord;
use loadgen::tally::outcome::{Outcome, Verdict};

use crate::common::{Behaviour, Fixture, Guard, loadgen, outcome_of, run};

fn records(text: &str) -> Vec<SecondRecord> {
    assert!(text.is_empty() || text.ends_with('\n'), "a torn line");
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("seconds")
}

#[test]
fn every_second_is_a_line_and_together_they_are_the_outcome() {
    let fixture = Fixture::start(Behaviour::Echo);
    let folder = tempfile::tempdir().expect("a folder");
    let (lines, metrics) = (
        folder.path().join("seconds.ndjson"),
        folder.path().join("tenk.prom"),
    );
    for processes in ["1", "2"] {
        let (lines, metrics) = (lines.display().to_string(), metrics.display().to_string());
        let outcome = run(
            &fixture,
            &[
                "--conns",
                "4",
                "--rate",
                "500",
                "--duration",
                "2s",
                "--processes",
                processes,
                "--label",
                "commit=3f2a",
                "--progress-json",
                &lines,
                "--metrics-file",
                &metrics,
            ],
        );
        assert_eq!(outcome.load.labels["commit"], "3f2a");
        let seconds = records(&std::fs::read_to_string(&lines).expect("written"));
        let numbers: Vec<u64> = seconds.iter().map(|second| second.second).collect();
        assert_eq!(numbers, [0, 1], "{processes} processes");
        let completed: u64 = seconds.iter().map(|second| second.completed).sum();
        // What was answered after the window's end belongs to no second of it; on a busy machine that may be many.
        let all = outcome.requests.completed;
        assert!(
            completed <= all && completed > all / 2,
            "{completed} of {all}"
        );
        for second in &seconds {
            assert_eq!((second.asked, second.connections_open), (Some(500.0), 4));
            assert_eq!(second.labels, outcome.load.labels);
            assert!(second.sent > 0 && second.bytes_received > 0, "{second:?}");
            assert_eq!(second.response_ns.count, second.completed);
            assert!(second.service_ns.is_some() && second.slip_ns.is_some());
        }
        let text = std::fs::read_to_string(&metrics).expect("written");
        assert!(text.ends_with("# EOF\n"), "{text}");
        let labels = format!("{{target=\"{}\",commit=\"3f2a\"}}", fixture.address);
        for (name, value) in [("running", 0), ("requests_completed_total", completed)] {
            let sample = format!("tenk_load_{name}{labels} {value}\n");
            assert!(text.contains(&sample), "{sample} is not in {text}");
        }
    }
}

#[test]
fn seconds_go_to_a_descriptor_beside_the_result() {
    let fixture = Fixture::start(Behaviour::Echo);
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    let place = format!("fd:{}", writer.as_raw_fd());
    let mut command = loadgen(
        fixture.address,
        &["--duration", "1100ms", "--progress-json", &place],
    );
    let mut child = Guard(command.stdout(Stdio::piped()).spawn().expect("starts"));
    drop(writer);
    let outcome: Outcome = serde_json::from_str(&child.printed()).expect("an outcome");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut std::fs::File::from(reader), &mut text).expect("read");
    let seconds = records(&text);
    assert_eq!(seconds.len(), outcome.series.len());
    assert!(seconds[0].completed > 0 && seconds[0].asked.is_none());
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_anything_is_sent() {
    let fixture = Fixture::start(Behaviour::Echo);
    for (flag, place) in [
        ("--progress-json", "/no/such/folder/x"),
        ("--progress-json", "fd:77"),
        ("--metrics-file", "/no/such/folder/x"),
    ] {
        let output = loadgen(fixture.address, &[flag, place])
            .output()
            .expect("starts");
        assert_eq!(output.status.code(), Some(2), "{flag} {place}");
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(crate::common::Counts::get(&fixture.counts.accepted), 0);
}

#[test]
fn a_condition_that_is_met_ends_the_run_and_says_so() {
    let fixture = Fixture::start(Behaviour::ResetEvery(5));
    for processes in ["1", "2"] {
        let args = [
            "--conns",
            "4",
            "--duration",
            "60s",
            "--processes",
            processes,
            "--abort-on",
            "rate<1 over 1s",
            "--abort-on",
            "ECONNRESET>1% over 1s",
        ];
        let (outcome, output) = outcome_of(&mut loadgen(fixture.address, &args));
        assert_eq!(output.status.code(), Some(99), "{processes} processes");
        let aborted = outcome.aborted.expect("aborted");
        assert_eq!(aborted.condition, "ECONNRESET>1% over 1s");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains(&aborted.found) && said.contains("ended early"),
            "{said}"
        );
        assert!(
            (0.9..30.0).contains(&outcome.window_s),
            "{} s",
            outcome.window_s
        );
        assert!(!outcome.complete);
        assert_eq!(
            (outcome.verdict, outcome.reasons[0].code.as_str()),
            (Verdict::Invalid, "W02")
        );
    }
}

#[test]
fn a_condition_that_is_not_met_changes_nothing() {
    let fixture = Fixture::start(Behaviour::Echo);
    let args = [
        "--duration",
        "1200ms",
        "--abort-on",
        "errors>0 over 1s",
        "--abort-on",
        "response_p50_ns>5s over 1s",
    ];
    let outcome = run(&fixture, &args);
    assert!(outcome.complete && outcome.aborted.is_none());
}
