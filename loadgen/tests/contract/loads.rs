//! Open loop, populations and pacers: what is offered is what was asked for, and
//! what the server did is what is shown.

use std::process::Stdio;
use std::time::Duration;

use hdrhistogram::Histogram;
use loadgen::tally::blob;
use loadgen::tally::outcome::Outcome;

use crate::common::{Behaviour, Counts, Fixture, Guard, loadgen, run};

fn responses(outcome: &Outcome) -> Histogram<u64> {
    blob::decode(&outcome.histograms["response"]).expect("our own histogram")
}

fn share_above(histogram: &Histogram<u64>, ms: u64) -> f64 {
    let above = histogram.count_between(ms * 1_000_000, histogram.high());
    above as f64 / histogram.len() as f64
}

/// Runs something and, at the same time, a light load against a server that does
/// nothing. What that load sees is the machine's doing; on a busy machine latencies
/// can only be too high, and upper bounds are not asserted.
fn with_control(measure: impl FnOnce() -> Outcome, args: &[&str]) -> (Outcome, bool) {
    let steady = Fixture::start(Behaviour::Echo);
    let (outcome, control) = std::thread::scope(|scope| {
        let control = scope.spawn(|| run(&steady, &[args, &["--rate", "300"]].concat()));
        (measure(), control.join().expect("the control runs"))
    });
    let busy = share_above(&responses(&control), 1) > 0.01;
    if busy {
        println!("the machine is busy: no upper bound is checked");
    }
    (outcome, busy)
}

#[test]
fn a_constant_delay_is_measured() {
    let fixture = Fixture::start(Behaviour::Delay(Duration::from_millis(50)));
    let common = ["--conns", "20", "--duration", "1s"];
    let (outcome, busy) = with_control(|| run(&fixture, &common), &common);
    let p50 = outcome.latency_ns.response.p50.expect("enough samples") as f64;
    let mut held = fixture.counts.held_ns.lock().expect("held").clone();
    held.sort_unstable();
    // A sleep takes longer than asked for; the fixture knows by how much.
    let delay = held[held.len() / 2] as f64;
    let tolerance = 0.01 * delay + 50_000.0;
    assert!(p50 >= delay - tolerance, "p50 {p50}, delay {delay}");
    assert!(busy || p50 <= delay + tolerance, "p50 {p50}, delay {delay}");
    assert_eq!(outcome.latency_ns.response, outcome.latency_ns.service);
}

/// A server that stalls P of every T delays a request by more than x with
/// probability (P - x) / T, if requests come when they are due. A closed loop
/// sends nothing while it waits, and sees each stall once per connection.
#[test]
fn stalls_show_in_an_open_loop_and_hide_in_a_closed_one() {
    let (period, stall) = (Duration::from_secs(2), Duration::from_millis(200));
    let fixture = Fixture::start(Behaviour::Stall { period, stall });
    let common = ["--conns", "20", "--duration", "8s", "--warmup", "200ms"];
    let args = [&common[..], &["--rate", "1k", "--poll", "auto"]].concat();
    let (open, busy) = with_control(|| run(&fixture, &args), &common);
    let histogram = responses(&open);
    for ms in [20, 60, 100, 140] {
        let (seen, expected) = (share_above(&histogram, ms), (200 - ms) as f64 / 2000.0);
        assert!(
            seen >= expected - 0.05 * 0.1,
            "above {ms} ms: {seen}, expected {expected}"
        );
        assert!(
            busy || seen <= expected + 0.05 * 0.1,
            "above {ms} ms: {seen}, expected {expected}"
        );
    }
    assert_eq!(
        (
            open.requests.offered,
            open.requests.sent,
            open.requests.completed
        ),
        (8000, 8000, 8000)
    );

    let args = [&common[..], &["--think", "20ms"]].concat();
    let (closed, busy) = with_control(|| run(&fixture, &args), &common);
    let histogram = responses(&closed);
    // Eight seconds hold at most five stalls, each seen once by each of 20 connections.
    let above = histogram.count_between(100_000_000, histogram.high());
    assert!(busy || above <= 5 * 20, "{above} of {}", histogram.len());
    assert!(
        busy || histogram.value_at_quantile(0.95) < 20_000_000,
        "{}",
        histogram.value_at_quantile(0.95)
    );
}

#[test]
fn what_is_never_sent_is_offered_dropped_and_censored() {
    let fixture = Fixture::start(Behaviour::Silent);
    let args = [
        "--conns",
        "2",
        "--rate",
        "100",
        "--ramp-timeout",
        "50ms",
        "--request-timeout",
        "10s",
    ];
    let mut command = loadgen(
        fixture.address,
        &[&args[..], &["--duration", "500ms"]].concat(),
    );
    let (outcome, _) = interrupted_in_drain(&mut command);
    let requests = &outcome.requests;
    assert_eq!(requests.offered, requests.sent + requests.dropped);
    assert_eq!((requests.offered, requests.completed), (50, 0));
    let response = &outcome.latency_ns.response;
    assert_eq!((response.count, response.censored), (50, 50));
    assert!(
        outcome.reasons.iter().any(|reason| reason.code == "W02"),
        "{:?}",
        outcome.reasons
    );
}

/// Runs until the drain, in which nothing would be answered for ten seconds, and
/// ends it there.
fn interrupted_in_drain(command: &mut std::process::Command) -> (Outcome, Option<i32>) {
    let mut child = Guard(
        command
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("starts"),
    );
    std::thread::sleep(Duration::from_secs(3));
    let pid = nix::unistd::Pid::from_raw(child.0.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("delivered");
    let text = child.printed();
    (
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")),
        child.code(),
    )
}

#[test]
fn offered_is_the_same_for_any_number_of_threads() {
    let fixture = Fixture::start(Behaviour::Echo);
    let offered: Vec<u64> = ["1", "3"]
        .iter()
        .map(|threads| {
            let args = [
                "--conns",
                "10",
                "--rate",
                "2k",
                "--arrival",
                "poisson",
                "--warmup",
                "0",
                "--threads",
                threads,
            ];
            let requests = run(&fixture, &args).requests;
            assert_eq!(requests.offered, requests.completed);
            requests.offered
        })
        .collect();
    assert_eq!(offered[0], offered[1]);
}

#[test]
fn idle_connections_are_served_once_and_left_alone() {
    let fixture = Fixture::start(Behaviour::Echo);
    let outcome = run(&fixture, &["--conns", "2", "--idle", "30"]);
    assert_eq!(outcome.connections.requested, 32);
    assert_eq!(outcome.connections.served_at_barrier, 32);
    assert_eq!(outcome.fairness.connections, 2);
}

#[test]
fn the_active_set_moves_over_all_connections() {
    let fixture = Fixture::start(Behaviour::Echo);
    let outcome = run(
        &fixture,
        &[
            "--conns",
            "2",
            "--idle",
            "10",
            "--rotate",
            "20ms",
            "--duration",
            "500ms",
        ],
    );
    // Those active at the end, and those that completed something in the window.
    assert_eq!(outcome.fairness.connections, 12);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
}

#[test]
fn connections_are_paced() {
    let fixture = Fixture::start(Behaviour::Echo);
    let outcome = run(
        &fixture,
        &[
            "--conns",
            "50",
            "--connect-rate",
            "100",
            "--duration",
            "50ms",
        ],
    );
    // The fiftieth is due 490 ms after the first; how much later all are served is the machine's affair.
    assert!(outcome.ramp_s >= 0.489, "{}", outcome.ramp_s);
    assert_eq!(outcome.connections.attempts, 50);
}

#[test]
fn connections_are_replaced_by_age_and_by_rate() {
    let fixture = Fixture::start(Behaviour::Echo);
    let by_age = run(
        &fixture,
        &[
            "--conns",
            "5",
            "--conn-lifetime",
            "50ms",
            "--duration",
            "500ms",
        ],
    );
    let c = &by_age.connections;
    assert!(c.attempts > 10 && c.attempts == c.established, "{c:?}");
    let by_rate = run(
        &fixture,
        &[
            "--conns",
            "5",
            "--reconnect-rate",
            "100",
            "--duration",
            "1s",
        ],
    );
    let replaced = by_rate.connections.closed_by_us;
    assert!((20..=120).contains(&replaced), "{replaced}");
    assert!(by_age.failures.is_empty() && by_rate.failures.is_empty());
    assert_all_reconnects_known(&by_rate);
    let slow = Fixture::start(Behaviour::Delay(Duration::from_millis(20)));
    let too_fast = run(&slow, &["--conns", "5", "--reconnect-rate", "1000"]);
    assert!(too_fast.connections.reconnects_missed > 100);
    assert_all_reconnects_known(&too_fast);
    let reasons = &too_fast.reasons;
    assert!(reasons.iter().any(|r| r.code == "W02"), "{reasons:?}");
}

/// Whatever was due was done or missed, but for one of each connection that may have come last.
fn assert_all_reconnects_known(outcome: &Outcome) {
    let c = &outcome.connections;
    let rate_per_s = outcome.load.reconnect_rate_per_s.expect("a rate");
    let due = rate_per_s * (outcome.load.warmup_ns + outcome.load.duration_ns) as f64 / 1e9;
    assert!((c.reconnects_due as f64 - due).abs() <= 6.0, "{c:?}");
    let known = c.closed_by_us + c.reconnects_missed;
    let open = outcome.connections.requested;
    assert!(
        (c.reconnects_due - open..=c.reconnects_due).contains(&known),
        "{c:?}"
    );
}

#[test]
fn a_pipeline_keeps_its_depth() {
    let fixture = Fixture::start(Behaviour::Delay(Duration::from_millis(2)));
    let outcome = run(&fixture, &["--conns", "3", "--pipeline", "4"]);
    assert_eq!(
        outcome.whole_run.bytes_sent,
        Counts::get(&fixture.counts.bytes_in)
    );
    // Four deep, a request waits for three others: close to 8 ms, far from 2.
    assert!(
        outcome
            .latency_ns
            .response
            .mean
            .is_some_and(|mean| mean > 6_000_000),
        "{:?}",
        outcome.latency_ns.response
    );
}

/// An exchange that opens a connection, whenever that is, is no request of the load.
#[test]
fn replaced_silent_connections_are_no_part_of_an_open_loop() {
    let fixture = Fixture::start(Behaviour::Echo);
    for more in [["--conn-lifetime", "100ms"], ["--reconnect-rate", "100"]] {
        let args = ["--conns", "2", "--idle", "10", "--rate", "300"];
        let outcome = run(&fixture, &[&args[..], &more[..]].concat());
        let (requests, response) = (&outcome.requests, &outcome.latency_ns.response);
        assert!(outcome.connections.closed_by_us > 10, "{more:?}");
        assert_eq!(requests.offered, requests.sent + requests.dropped);
        assert_eq!(response.count, requests.offered, "{more:?}");
    }
}

/// However rarely it is used: a connection's age has nothing to do with its requests.
#[test]
fn silent_connections_are_replaced_at_their_age_and_stay_usable() {
    let fixture = Fixture::start(Behaviour::Echo);
    let args = ["--conns", "10", "--rate", "20", "--duration", "1500ms"];
    let aged = ["--conn-lifetime", "100ms"];
    let outcome = run(&fixture, &[&args[..], &aged[..]].concat());
    assert!(
        outcome.connections.closed_by_us > 50,
        "{:?}",
        outcome.connections
    );
    let rotated = ["--conn-lifetime", "50ms", "--idle", "20", "--rotate", "5ms"];
    let outcome = run(&fixture, &[&args[..], &rotated[..]].concat());
    assert!(
        outcome.connections.closed_by_us > 150,
        "{:?}",
        outcome.connections
    );
    let requests = &outcome.requests;
    assert_eq!(
        (requests.offered, requests.dropped),
        (30, 0),
        "{requests:?}"
    );
}

#[test]
fn a_generator_that_did_not_run_says_so() {
    let fixture = Fixture::start(Behaviour::Echo);
    let args = ["--conns", "4", "--rate", "500", "--duration", "1500ms"];
    let mut child = Guard(
        loadgen(fixture.address, &args)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts"),
    );
    while Counts::get(&fixture.counts.messages) < 150 {
        std::thread::sleep(Duration::from_millis(2));
    }
    let signal = |signal| {
        let pid = nix::unistd::Pid::from_raw(child.0.id() as i32);
        nix::sys::signal::kill(pid, signal).expect("delivered");
    };
    signal(nix::sys::signal::Signal::SIGSTOP);
    std::thread::sleep(Duration::from_millis(300));
    signal(nix::sys::signal::Signal::SIGCONT);
    let outcome: Outcome = serde_json::from_str(&child.printed()).expect("an outcome");
    let generator = &outcome.generator;
    assert!(generator.longest_stall_ns >= 250_000_000, "{generator:?}");
    assert!(generator.stalled_s >= 0.25, "{generator:?}");
    assert!(
        outcome.reasons.iter().any(|r| r.code == "W03"),
        "{:?}",
        outcome.reasons
    );
}
