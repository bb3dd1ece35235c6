//! Loads that change by plan: each stage has figures of its own, and together they are the window's.

use std::process::Command;
use std::time::Duration;

use loadgen::tally::outcome::Outcome;

use crate::common::{Behaviour, Counts, Fixture, outcome_of};

fn sums(outcome: &Outcome) -> [u64; 3] {
    let stages = outcome.stages.iter();
    stages.fold([0; 3], |[offered, sent, completed], stage| {
        let requests = &stage.requests;
        [
            offered + requests.offered,
            sent + requests.sent,
            completed + requests.completed,
        ]
    })
}

#[test]
fn stages_of_a_rate_are_the_window_in_one_process_or_several() {
    let fixture = Fixture::start(Behaviour::Echo);
    let stages = "300ms@100,400ms@100..900,100ms@0,200ms@1000";
    for processes in ["1", "2"] {
        let args = ["--conns", "6", "--stages", stages, "--processes", processes];
        let outcome = staged(&fixture, &args);
        assert_eq!(outcome.stages.len(), 4);
        let requests = &outcome.requests;
        assert_eq!(
            sums(&outcome),
            [requests.offered, requests.sent, requests.completed]
        );
        // 30 + 200 + 0 + 200, but for what a window that opened late has booked as warm-up.
        assert!(
            (400..=431).contains(&requests.offered),
            "{} in {processes} processes",
            requests.offered
        );
        assert_eq!(outcome.stages[2].requests.offered, 0);
        assert!((199..=201).contains(&outcome.stages[3].requests.offered));
        assert!((outcome.stages[1].length_s - 0.4).abs() < 1e-9);
        assert_eq!(outcome.stages[1].rate_per_s, Some([100.0, 900.0]));
        for stage in &outcome.stages {
            assert_eq!(
                stage.response_ns.count,
                stage.requests.offered - stage.requests.dropped
            );
        }
    }
}

#[test]
fn connections_join_and_leave_a_closed_loop_by_stages() {
    let fixture = Fixture::start(Behaviour::Delay(Duration::from_millis(5)));
    let outcome = staged(&fixture, &["--conn-stages", "400ms@1,400ms@8,400ms@2"]);
    assert_eq!(outcome.connections.requested, 8);
    assert_eq!(Counts::get(&fixture.counts.accepted), 8);
    let completed: Vec<u64> = outcome
        .stages
        .iter()
        .map(|stage| stage.requests.completed)
        .collect();
    assert_eq!(sums(&outcome)[2], outcome.requests.completed);
    // About 80 a connection and stage at best; the ratio is that of the connections, on whatever machine.
    assert!(
        completed[1] > 2 * completed[0] && completed[1] > 2 * completed[2],
        "{completed:?}"
    );
    assert!(completed[0] > 0 && completed[2] > 0, "{completed:?}");
    assert_eq!(outcome.fairness.connections, 0);
}

/// Stages are in place of a duration, which the other tests name.
fn staged(fixture: &Fixture, args: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    let target = fixture.address.to_string();
    command.args(["--target", &target, "--format", "json", "--seed", "7"]);
    command.args(["--threads", "1", "--poll", "sleep", "--warmup", "300ms"]);
    let (outcome, output) = outcome_of(command.args(args));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    outcome
}
