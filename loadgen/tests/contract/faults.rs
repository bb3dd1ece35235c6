//! Against a server with known behaviour, every count equals the server's own.

use std::process::Stdio;

use crate::common::{Behaviour, Counts, Fixture, MESSAGE, failed, loadgen, outcome_of, run};
use loadgen::tally::outcome::Verdict;

#[test]
fn a_healthy_server_is_reported_to_the_byte() {
    let fixture = Fixture::start(Behaviour::Echo);
    let outcome = run(&fixture, &["--conns", "7", "--threads", "3"]);
    assert_eq!(
        (
            outcome.connections.requested,
            outcome.connections.served_at_barrier
        ),
        (7, 7)
    );
    assert_eq!(Counts::get(&fixture.counts.accepted), 7);
    assert!(
        outcome.requests.completed > 0 && outcome.failures.is_empty(),
        "{:?}",
        outcome.failures
    );
    let whole = &outcome.whole_run;
    assert_eq!(whole.sent, whole.completed);
    assert_eq!(whole.bytes_sent, Counts::get(&fixture.counts.bytes_in));
    assert_eq!(whole.bytes_received, whole.bytes_sent);
    assert_eq!(whole.sent * MESSAGE as u64, whole.bytes_sent);
    assert_eq!(outcome.fairness.connections, 7);
}

#[test]
fn short_lived_connections_are_opened_and_closed_one_by_one() {
    for (requests, close) in [("1", "client"), ("3", "client"), ("2", "reset")] {
        let fixture = Fixture::start(Behaviour::Echo);
        let outcome = run(
            &fixture,
            &[
                "--conns",
                "4",
                "--requests-per-conn",
                requests,
                "--close",
                close,
            ],
        );
        let c = &outcome.connections;
        assert_eq!(c.established, c.closed_by_us + c.open_at_end, "{c:?}");
        assert_eq!(c.attempts, c.established);
        assert!(c.served > 4 && c.per_s > 0.0, "{c:?}");
        let per_conn: u64 = requests.parse().expect("a number");
        assert!(outcome.whole_run.completed <= c.served * per_conn);
        assert!(outcome.whole_run.completed > c.served.saturating_sub(5) * per_conn);
    }
}

#[test]
fn the_server_may_close_first() {
    let fixture = Fixture::start(Behaviour::CloseAfter(2));
    let outcome = run(
        &fixture,
        &[
            "--conns",
            "3",
            "--requests-per-conn",
            "2",
            "--close",
            "server",
        ],
    );
    let c = &outcome.connections;
    assert!(
        c.closed_by_peer >= 3 && outcome.failures.is_empty(),
        "{c:?} {:?}",
        outcome.failures
    );
    assert_eq!(c.closed_by_us, 0);
}

#[test]
fn wrong_bytes_are_counted_to_the_unit() {
    let fixture = Fixture::start(Behaviour::WrongEvery(50));
    let outcome = run(&fixture, &["--conns", "5"]);
    let wrong = Counts::get(&fixture.counts.faults);
    assert!(wrong > 0);
    assert_eq!(failed(&outcome, "MISMATCH"), wrong);
    assert_eq!(outcome.whole_run.sent - outcome.whole_run.completed, wrong);
}

#[test]
fn swapped_clients_are_caught() {
    let fixture = Fixture::start(Behaviour::Swap);
    let (outcome, output) = outcome_of(&mut loadgen(
        fixture.address,
        &["--conns", "2", "--request-timeout", "300ms"],
    ));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(outcome.whole_run.completed, 0);
    assert_eq!(failed(&outcome, "MISMATCH"), 2);
}

#[test]
fn resets_are_counted_to_the_unit() {
    let fixture = Fixture::start(Behaviour::ResetEvery(50));
    let outcome = run(&fixture, &["--conns", "5"]);
    let resets = Counts::get(&fixture.counts.faults);
    assert!(resets > 0);
    assert_eq!(
        failed(&outcome, "ECONNRESET"),
        resets,
        "{:?}",
        outcome.failures
    );
    assert_eq!(outcome.connections.reset_later, resets);
}

#[test]
fn early_closes_are_counted_to_the_unit() {
    let fixture = Fixture::start(Behaviour::CloseEvery(50));
    let outcome = run(&fixture, &["--conns", "5"]);
    let closes = Counts::get(&fixture.counts.faults);
    assert!(closes > 0);
    // A connection that had answered others leaves its request to the next; one that had not, has failed it.
    let lost = failed(&outcome, "EOF");
    assert!(lost < closes, "{:?}", outcome.failures);
    assert_eq!(outcome.whole_run.resent + lost, closes);
    assert_eq!(outcome.connections.closed_by_peer, closes);
    assert_eq!(outcome.connections.closed_unasked, closes);
}

#[test]
fn silence_times_out_and_is_not_forgotten() {
    for behaviour in [Behaviour::Silent, Behaviour::Half] {
        let fixture = Fixture::start(behaviour);
        let args = [
            "--conns",
            "3",
            "--request-timeout",
            "150ms",
            "--ramp-timeout",
            "100ms",
            "--duration",
            "600ms",
        ];
        let (outcome, output) = outcome_of(&mut loadgen(fixture.address, &args));
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            (
                outcome.connections.served,
                outcome.connections.served_at_barrier
            ),
            (0, 0)
        );
        assert_eq!(
            outcome.connections.established,
            Counts::get(&fixture.counts.accepted)
        );
        assert!(failed(&outcome, "TIMEOUT") >= 3, "{:?}", outcome.failures);
        assert_eq!(outcome.whole_run.completed, 0);
        assert_eq!(outcome.verdict, Verdict::Invalid, "{:?}", outcome.reasons);
        assert!(outcome.reasons.iter().any(|r| r.code == "W04"));
        let (completed, censored) = outcome.series.iter().fold((0, 0), |(done, lost), second| {
            (done + second.completed, lost + second.censored)
        });
        assert_eq!(completed, 0, "{:?}", outcome.series);
        let response = &outcome.latency_ns.response;
        assert!((1..=response.censored).contains(&censored));
        assert_eq!(response.censored, response.count);
        assert!(
            response
                .censored_from
                .is_some_and(|from| from >= 150_000_000),
            "{response:?}"
        );
    }
}

/// Serves one connection until it ends, then the next.
fn one_at_a_time() -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut bytes) {
                if stream.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[test]
fn nobody_waits_for_connections_that_a_server_is_known_to_leave_waiting() {
    for load in [&["--conns", "20"][..], &["--conns", "20", "--rate", "400"]] {
        let known = ["--served-at-once", "1", "--request-timeout", "100s"];
        let started = std::time::Instant::now();
        let args = [load, &known].concat();
        let (outcome, _) = outcome_of(&mut loadgen(one_at_a_time(), &args));
        // Ramp and drain would wait for 100 s each.
        assert!(started.elapsed().as_secs() < 60);
        let connections = &outcome.connections;
        assert_eq!((connections.served_at_barrier, connections.served), (1, 1));
        assert_eq!(connections.established, 20);
        assert_eq!(failed(&outcome, "TIMEOUT"), 0, "{:?}", outcome.failures);
        let whole = &outcome.whole_run;
        assert_eq!(whole.sent - whole.completed, 19);
        assert!(outcome.requests.completed > 0);
    }
}

#[test]
fn answers_nobody_asked_for_are_an_error() {
    let fixture = Fixture::start(Behaviour::TooMuch);
    let outcome = run(&fixture, &["--conns", "1"]);
    let unasked: u64 = outcome
        .failures
        .iter()
        .filter(|f| f.kind == "UNASKED")
        .map(|f| f.count)
        .sum();
    assert!(unasked > 0, "{:?}", outcome.failures);
    assert_eq!(outcome.connections.unasked, unasked);
}

#[test]
fn nobody_listening_is_refused_and_said() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    let (outcome, output) = outcome_of(&mut loadgen(closed, &["--conns", "5"]));
    assert_eq!(outcome.connections.refused, 5);
    assert_eq!(outcome.connections.attempts, 5);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no connection was served"));
}

#[test]
fn a_descriptor_limit_is_said_counted_and_judged() {
    let fixture = Fixture::start(Behaviour::Echo);
    let inner = loadgen(fixture.address, &["--conns", "100", "--processes", "1"]);
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "ulimit -n 80; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args());
    let (outcome, output) = outcome_of(limited.stdin(Stdio::null()));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("100 connections are asked for"), "{said}");
    let missing = outcome.connections.local_failures["EMFILE"];
    assert!(missing > 0);
    assert_eq!(outcome.connections.served_at_barrier, 100 - missing);
    assert_eq!(outcome.verdict, Verdict::Invalid);
    assert!(
        outcome.reasons.iter().any(|reason| reason.code == "W05"),
        "{:?}",
        outcome.reasons
    );
}

#[test]
fn what_is_discarded_is_measured_in_bytes() {
    let fixture = Fixture::start(Behaviour::Discard);
    let outcome = run(&fixture, &["--conns", "2", "--protocol", "discard"]);
    assert!(outcome.requests.bytes_per_s > 0.0 && outcome.whole_run.bytes_received == 0);
    assert_eq!(outcome.connections.served_at_barrier, 2);
}

#[test]
fn large_messages_are_verified_while_both_sides_are_full() {
    let server = loadgen::base::null_server::NullServer::start(None).expect("a server");
    // The null server drops clients whose answers do not fit the socket's buffer.
    let args = [
        "--conns",
        "2",
        "--payload",
        "20000-60000",
        "--pipeline",
        "1",
    ];
    let (outcome, output) = outcome_of(&mut loadgen(server.address(), &args));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        outcome.requests.completed > 0 && outcome.requests.mismatched == 0,
        "{:?}",
        outcome.failures
    );
}
