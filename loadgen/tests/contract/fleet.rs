//! Several processes as one run: counts, live view, and what happens when one of them is lost.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Behaviour, Counts, Fixture, Guard, loadgen, run};
use loadgen::tally::outcome::PROCESS_LOST;
use loadgen::tally::outcome::{Outcome, Verdict};

#[test]
fn several_processes_are_one_run() {
    let fixture = Fixture::start(Behaviour::Echo);
    let outcome = run(
        &fixture,
        &["--conns", "7", "--idle", "4", "--processes", "3"],
    );
    assert_eq!(outcome.connections.requested, 11);
    assert_eq!(outcome.connections.served_at_barrier, 11);
    assert_eq!(Counts::get(&fixture.counts.accepted), 11);
    assert_eq!(
        (outcome.generator.processes, outcome.generator.threads),
        (3, 3)
    );
    assert_eq!(outcome.fairness.connections, 7);
    assert_eq!(
        outcome.whole_run.bytes_sent,
        Counts::get(&fixture.counts.bytes_in)
    );
    assert_eq!(
        outcome.latency_ns.response.count,
        outcome.requests.completed
    );
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
}

#[test]
fn an_interrupted_fleet_reports_and_leaves_nobody() {
    let fixture = Fixture::start(Behaviour::Echo);
    let mut command = loadgen(
        fixture.address,
        &["--conns", "6", "--processes", "2", "--duration", "60s"],
    );
    let mut child = Guard(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts"),
    );
    while Counts::get(&fixture.counts.messages) < 500 {
        std::thread::sleep(Duration::from_millis(5));
    }
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.0.id() as i32),
        nix::sys::signal::Signal::SIGTERM,
    )
    .expect("delivered");
    // The pipe ends only when no process of the fleet holds it any more.
    let outcome: Outcome = serde_json::from_str(&child.printed()).expect("an outcome");
    assert_eq!(child.code(), Some(143));
    assert!(!outcome.complete && outcome.whole_run.completed > 0);
    assert_eq!(outcome.connections.served_at_barrier, 6);
}

/// A fleet of three, 9 connections, in the middle of its load.
fn fleet_under_load(fixture: &Fixture) -> Guard {
    let mut command = loadgen(
        fixture.address,
        &["--conns", "9", "--processes", "3", "--duration", "60s"],
    );
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = Guard(command.spawn().expect("starts"));
    while Counts::get(&fixture.counts.messages) < 2000 {
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// The processes that a process has started and not yet reaped.
fn children_of(parent: u32) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").expect("listed").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit(')').next().unwrap_or_default();
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    pids.filter(is_child).map(Pid::from_raw).collect()
}

fn complaints(child: &mut Guard) -> String {
    let stderr = child.0.stderr.take().expect("piped");
    std::io::read_to_string(stderr).expect("read")
}

/// What is left when one of three processes with three connections each is lost.
fn assert_one_lost(outcome: &Outcome) {
    assert!(!outcome.complete);
    assert_eq!(outcome.connections.requested, 9);
    assert_eq!(outcome.connections.served_at_barrier, 6);
    assert_eq!(outcome.connections.local_failures[PROCESS_LOST], 3);
    assert!(outcome.whole_run.completed > 0);
    assert_eq!(outcome.generator.processes, 2);
    assert_eq!(outcome.verdict, Verdict::Invalid);
    let reasons = &outcome.reasons;
    assert!(reasons.iter().any(|r| r.code == "W05"), "{reasons:?}");
}

#[test]
fn a_killed_process_costs_its_own_figures_only() {
    let fixture = Fixture::start(Behaviour::Echo);
    let mut child = fleet_under_load(&fixture);
    kill(children_of(child.0.id())[1], Signal::SIGKILL).expect("delivered");
    let outcome: Outcome = serde_json::from_str(&child.printed()).expect("an outcome");
    assert_eq!(child.code(), Some(1));
    assert_one_lost(&outcome);
    let first = &outcome.failures[0].first;
    assert!(first.contains("SIGKILL"), "{first}");
    let said = complaints(&mut child);
    assert!(
        said.contains("SIGKILL") && said.contains("partial"),
        "{said}"
    );
}

#[test]
fn a_process_that_leaves_is_named_and_its_figures_kept() {
    let fixture = Fixture::start(Behaviour::Echo);
    let mut child = fleet_under_load(&fixture);
    kill(children_of(child.0.id())[2], Signal::SIGTERM).expect("delivered");
    let outcome: Outcome = serde_json::from_str(&child.printed()).expect("an outcome");
    assert_eq!(child.code(), Some(1));
    assert!(!outcome.complete && outcome.connections.local_failures.is_empty());
    assert_eq!(outcome.connections.served_at_barrier, 9);
    assert_eq!(outcome.generator.processes, 3);
    assert_eq!(outcome.verdict, Verdict::Invalid, "{:?}", outcome.reasons);
    let first = &outcome.failures[0].first;
    assert!(first.contains("interrupted by SIGTERM"), "{first}");
}

#[test]
fn a_fleet_that_cannot_start_in_time_says_so() {
    let fixture = Fixture::start(Behaviour::Echo);
    let args = [
        "--processes",
        "2",
        "--conns",
        "2",
        "--start-at",
        "2001-01-01T00:00:00Z",
    ];
    let output = loadgen(fixture.address, &args).output().expect("starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("--start-at had passed"), "{said}");
}

#[test]
fn a_stopped_process_holds_nobody_up() {
    let fixture = Fixture::start(Behaviour::Echo);
    let mut child = fleet_under_load(&fixture);
    kill(children_of(child.0.id())[0], Signal::SIGSTOP).expect("delivered");
    kill(Pid::from_raw(child.0.id() as i32), Signal::SIGINT).expect("delivered");
    let outcome: Outcome = serde_json::from_str(&child.printed()).expect("an outcome");
    assert_eq!(child.code(), Some(130));
    assert_one_lost(&outcome);
    let first = &outcome.failures[0].first;
    assert!(first.contains("did not report within"), "{first}");
}

#[test]
fn the_live_view_shows_all_processes_as_one() {
    for processes in ["1", "3"] {
        let fixture = Fixture::start(Behaviour::Echo);
        let terminal = nix::pty::openpty(None, None).expect("a terminal");
        let args = ["--conns", "6", "--duration", "2s", "--processes", processes];
        let mut command = loadgen(fixture.address, &args);
        let mut child = Guard(
            command
                .stdout(Stdio::null())
                .stderr(terminal.slave)
                .spawn()
                .expect("starts"),
        );
        drop(command); // It holds the terminal's other side.
        // Reading the master ends with EIO once nobody holds the other side.
        let lines: Vec<String> = BufReader::new(File::from(terminal.master))
            .lines()
            .map_while(Result::ok)
            .collect();
        assert_eq!(child.code(), Some(0));
        let seconds: Vec<&String> = lines.iter().filter(|line| line.contains(" s  ")).collect();
        assert_eq!(seconds.len(), 2, "{lines:?}");
        for line in seconds {
            assert!(line.contains("6 connections  0 errors"), "{line}");
            assert!(line.contains("/s  p50") && !line.contains("n/a"), "{line}");
        }
    }
}
