//! Connections that end before their time: what is sent again, what is a failure, and whose pause it is.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use loadgen::tally::outcome::Outcome;

use super::common::{failed, loadgen, outcome_of};

/// A server made of a closure that serves one connection, each on a thread of its own or one after the other.
struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Server {
    fn threaded(serve: impl Fn(TcpStream, u64) + Send + Sync + 'static) -> Self {
        let serve = Arc::new(serve);
        Self::iterative(move |stream, number| {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream, number));
        })
    }

    /// `serve` is told how many connections came before.
    fn iterative(serve: impl Fn(TcpStream, u64) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            accepted: Arc::default(),
            stop: Arc::default(),
        };
        let (accepted, stop) = (server.accepted.clone(), server.stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(SeqCst) {
                    return;
                }
                stream.set_nodelay(true).expect("nodelay");
                serve(stream, accepted.fetch_add(1, SeqCst));
            }
        });
        server
    }

    fn run(&self, args: &[&str]) -> Outcome {
        let (outcome, output) = outcome_of(&mut loadgen(self.address, args));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        outcome
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        // Wakes it up to see that.
        let _ = TcpStream::connect(self.address);
    }
}

/// Sends FIN and reads what still comes, as a server does that wants its last answer to arrive (RFC 9112 §9.6).
fn end_cleanly(mut stream: TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    while stream.read(&mut [0; 4096]).is_ok_and(|length| length > 0) {}
}

/// Returns up to `most` messages of 64 bytes; false if the client left before.
fn echo(stream: &mut TcpStream, most: u64) -> bool {
    let mut message = [0; 64];
    (0..most).all(|_| stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok())
}

/// Reads heads of requests, and answers the first `most` of them; the last answer says that it is.
fn answer_http(stream: &mut TcpStream, most: usize, says_so: bool) -> bool {
    let (mut seen, mut buffer, mut answered) = (Vec::new(), [0; 65536], 0);
    while answered < most {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => seen.extend_from_slice(&buffer[..length]),
            _ => return false,
        }
        while let Some(end) = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            seen.drain(..end + 4);
            answered += 1;
            let closes = says_so && answered == most;
            let field = if closes { "Connection: close\r\n" } else { "" };
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{field}\r\nhi");
            if stream.write_all(answer.as_bytes()).is_err() {
                return false;
            }
            if answered == most {
                break;
            }
        }
    }
    true
}

/// Nothing failed, nothing waited for a pause of ours, and whatever was sent again had been left unanswered.
fn assert_unharmed(outcome: &Outcome) {
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(outcome.generator.backoff_s, 0.0);
    assert!(outcome.requests.failed.is_empty() && outcome.requests.completed > 0);
    assert!(outcome.requests.unanswered_at_end == 0 && outcome.requests.timed_out == 0);
}

#[test]
fn a_request_met_by_a_clean_end_is_sent_again_at_once() {
    for answers in [1, 2, 7] {
        let server = Server::threaded(move |mut stream, _| {
            if echo(&mut stream, answers) {
                end_cleanly(stream);
            }
        });
        let outcome = server.run(&["--conns", "3"]);
        assert_unharmed(&outcome);
        let c = &outcome.connections;
        assert!(c.closed_unasked > 10, "{c:?}");
        assert_eq!(c.closed_by_peer, c.closed_unasked);
        // Every connection but the last of each slot answered all it could.
        let whole = &outcome.whole_run;
        assert!(whole.completed <= c.established * answers, "{whole:?}");
        assert!(
            whole.completed >= (c.established - 3) * answers,
            "{whole:?}"
        );
    }
}

#[test]
fn a_pipeline_is_sent_again_behind_the_answer_that_closes() {
    for says_so in [true, false] {
        let server = Server::threaded(move |mut stream, _| {
            if answer_http(&mut stream, 20, says_so) {
                end_cleanly(stream);
            }
        });
        let outcome = server.run(&["--conns", "2", "--protocol", "http", "--pipeline", "16"]);
        assert_unharmed(&outcome);
        // Each connection had more in flight than it answered.
        let (whole, c) = (&outcome.whole_run, &outcome.connections);
        assert!(whole.resent > whole.completed / 10, "{whole:?}");
        assert!(whole.resent <= c.established * 15, "{whole:?} {c:?}");
        assert_eq!(c.closed_unasked > 0, !says_so, "{c:?}");
    }
}

#[test]
fn a_server_that_stops_answering_is_not_asked_without_end() {
    let server = Server::threaded(|mut stream, number| {
        if number < 2 {
            echo(&mut stream, 5);
        }
        end_cleanly(stream);
    });
    let outcome = server.run(&["--conns", "2", "--duration", "1s"]);
    // Ten milliseconds, twenty, …: the seventh pause ends after 1.27 s.
    let accepted = server.accepted.load(SeqCst);
    assert!((4..=20).contains(&accepted), "{accepted}");
    let lost = failed(&outcome, "EOF");
    assert!(lost > 0 && lost <= accepted, "{:?}", outcome.failures);
    assert!(
        outcome
            .failures
            .iter()
            .any(|f| f.first.contains("before it answered anything"))
    );
    assert!(outcome.generator.backoff_s > 0.5, "{:?}", outcome.generator);
    let named = |r: &&loadgen::tally::outcome::Reason| r.text.contains("generator's own");
    assert_eq!(
        outcome.reasons.iter().find(named).map(|r| r.code.as_str()),
        Some("W03")
    );
}

#[test]
fn an_answer_that_breaks_off_is_a_failure_and_what_is_behind_it_is_not() {
    let server = Server::threaded(|mut stream, _| {
        if answer_http(&mut stream, 3, false) {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh");
            end_cleanly(stream);
        }
    });
    let outcome = server.run(&["--conns", "1", "--protocol", "http", "--pipeline", "8"]);
    let (lost, c) = (failed(&outcome, "EOF"), &outcome.connections);
    assert!(lost > 0 && lost <= c.closed_by_peer, "{lost} {c:?}");
    assert!(
        outcome
            .failures
            .iter()
            .filter(|f| f.stage == "request")
            .all(|f| f.first.contains("in the middle of its answer")),
        "{:?}",
        outcome.failures
    );
    assert!(outcome.whole_run.resent > 0);
    assert_eq!(outcome.generator.backoff_s, 0.0);
}

#[test]
fn a_pause_to_think_outlives_its_connection() {
    let closing = Server::threaded(|mut stream, _| {
        if echo(&mut stream, 1) {
            end_cleanly(stream);
        }
    });
    let keeping = Server::threaded(|mut stream, _| {
        echo(&mut stream, u64::MAX);
    });
    let load = ["--conns", "4", "--think", "100ms"];
    let short = [load.as_slice(), &["--requests-per-conn", "1"]].concat();
    let moving = [load.as_slice(), &["--idle", "6", "--rotate", "20ms"]].concat();
    let cases = [
        (&closing, load.as_slice()),
        (&keeping, &short),
        (&keeping, &moving),
    ];
    for (server, args) in cases {
        let outcome = server.run(args);
        let completed = outcome.requests.completed;
        // Four connections for 600 ms, and each may begin with one.
        assert!((4..=4 * 7).contains(&completed), "{completed}");
        assert_eq!(outcome.requests.failed.values().sum::<u64>(), 0);
    }
}

#[test]
fn discard_gives_every_connection_its_turn() {
    let server =
        Server::threaded(
            |mut stream, _| {
                while stream.read(&mut [0; 65536]).is_ok_and(|length| length > 0) {}
            },
        );
    let outcome = server.run(&["--conns", "20", "--protocol", "discard"]);
    let jain = outcome.fairness.jain.expect("an index");
    assert!(jain > 0.95, "{jain}");
}

#[test]
fn a_connection_for_one_request_is_opened_when_that_is_due() {
    // It serves one connection to its end before it looks at the next: whoever came too early would keep it from all others.
    let server = Server::iterative(|mut stream, _| {
        echo(&mut stream, u64::MAX);
    });
    let args = [
        "--conns",
        "10",
        "--rate",
        "100",
        "--arrival",
        "poisson",
        "--requests-per-conn",
        "1",
    ];
    let outcome = server.run(&args);
    let (requests, c) = (&outcome.requests, &outcome.connections);
    assert!(requests.offered > 20, "{requests:?}");
    assert_eq!(
        (requests.dropped, requests.timed_out),
        (0, 0),
        "{requests:?}"
    );
    assert_eq!(requests.completed, requests.offered, "{requests:?}");
    assert_eq!(c.established, outcome.whole_run.completed, "{c:?}");
}

#[test]
fn connecting_belongs_to_the_response_where_each_request_has_its_own() {
    let held = Duration::from_millis(30);
    let server = Server::threaded(move |mut stream, _| {
        std::thread::sleep(held);
        echo(&mut stream, u64::MAX);
    });
    let args = ["--conns", "5", "--rate", "50", "--requests-per-conn", "1"];
    let outcome = server.run(&args);
    for latency in [&outcome.latency_ns.response, &outcome.latency_ns.first_byte] {
        let least = latency.min.expect("answers");
        assert!(least >= 30_000_000, "{latency:?}");
    }
}

#[test]
fn silent_connections_that_the_server_ends_are_errors_with_their_cause() {
    let server = Server::threaded(|mut stream, _| {
        let patience = Duration::from_millis(100);
        stream.set_read_timeout(Some(patience)).expect("a time-out");
        echo(&mut stream, u64::MAX);
        end_cleanly(stream);
    });
    let outcome = server.run(&["--conns", "1", "--idle", "8", "--duration", "1s"]);
    let c = &outcome.connections;
    assert!(c.idle_lost >= 8, "{c:?}");
    assert!(c.closed_unasked >= c.idle_lost, "{c:?}");
    let of_silence =
        |f: &&loadgen::tally::outcome::Failure| f.stage == "connection" && f.kind == "EOF";
    let counted: u64 = outcome
        .failures
        .iter()
        .filter(of_silence)
        .map(|f| f.count)
        .sum();
    assert_eq!(counted, c.idle_lost, "{:?}", outcome.failures);
}
