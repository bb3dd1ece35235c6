//! Protocols of the user's own, against servers that keep them and servers that do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use loadgen::tally::outcome::Outcome;

use crate::answers::answering;
use crate::common::{Behaviour, Fixture, loadgen, outcome_of, run};

/// As long as the fixture's messages, and another for every request.
const SEND: &str = "{conn:8} {seq:20} xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\\n";

#[test]
fn answers_are_told_apart_by_the_numbers_in_them() {
    let expect = format!("text:{SEND}");
    let own = ["--send", SEND, "--expect", &expect, "--conns", "3"];
    let fixture = Fixture::start(Behaviour::Echo);
    let outcome = run(&fixture, &own);
    assert!(outcome.requests.completed > 10 && outcome.failures.is_empty());
    assert_eq!(outcome.load.send.expect("recorded").to_string(), SEND);
    // An answer to somebody else's request, or to an older one, is none.
    let fixture = Fixture::start(Behaviour::Swap);
    let (outcome, _) = outcome_of(&mut loadgen(fixture.address, &own));
    assert_eq!(outcome.requests.completed, 0);
    let first = &outcome.failures[0];
    assert_eq!(first.kind, "MISMATCH");
    assert!(first.first.contains("of 64 on received"), "{}", first.first);
    // What is more than asked for ends the connection.
    let fixture = Fixture::start(Behaviour::TooMuch);
    let (outcome, _) = outcome_of(&mut loadgen(fixture.address, &own));
    assert!(outcome.connections.unasked > 0);
}

#[test]
fn one_way_messages_arrive_to_the_last_byte() {
    let fixture = Fixture::start(Behaviour::Discard);
    let own = ["--send", SEND, "--expect", "none", "--conns", "2"];
    let outcome = run(&fixture, &own);
    assert!(outcome.requests.completed > 10);
    assert_eq!(outcome.whole_run.bytes_sent, outcome.whole_run.sent * 64);
    let received = || fixture.counts.bytes_in.load(SeqCst);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while received() < outcome.whole_run.bytes_sent && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(received(), outcome.whole_run.bytes_sent);
}

fn load(address: SocketAddr, args: &[&str]) -> Outcome {
    outcome_of(&mut loadgen(address, args)).0
}

#[test]
fn a_mismatch_is_shown_once_with_its_first_bytes() {
    let no = b"ERROR \x1b[31mno such thing\r\n".to_vec();
    let address = answering(vec![no]);
    let short = ["--requests-per-conn", "1"];
    let own = ["--send", "get k\\r\\n", "--expect", "line:^OK"];
    let outcome = load(address, &[&own[..], &short].concat());
    assert_eq!(outcome.requests.completed, 0);
    assert!(outcome.requests.mismatched > 0, "{:?}", outcome.requests);
    let shown: Vec<&str> = outcome
        .failures
        .iter()
        .filter(|failure| failure.phase == "window")
        .map(|failure| failure.first.as_str())
        .collect();
    assert!(
        shown[0].ends_with(
            r#"received the line "ERROR \x1b[31mno such thing", which does not match ^OK"#
        ),
        "{shown:?}"
    );
    assert_eq!(shown.len(), 1);
}

/// A server that greets every client, a byte at a time, and says OK to every line; also how many lines it read that were
/// sent before its greeting was over.
fn greeting(greeting: &'static [u8]) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let early = Arc::new(AtomicU64::new(0));
    let counted = early.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let early = counted.clone();
            std::thread::spawn(move || greet(stream, greeting, &early));
        }
    });
    (address, early)
}

fn greet(mut stream: TcpStream, greeting: &[u8], early: &AtomicU64) {
    let _ = stream.set_nodelay(true);
    let mut request = [0; 4096];
    for byte in greeting {
        std::thread::sleep(std::time::Duration::from_millis(1));
        stream.set_nonblocking(true).expect("nonblocking");
        if stream.peek(&mut request).is_ok_and(|length| length > 0) {
            early.fetch_add(1, SeqCst);
        }
        stream.set_nonblocking(false).expect("blocking");
        if stream.write_all(&[*byte]).is_err() {
            return;
        }
    }
    while let Ok(length @ 1..) = stream.read(&mut request) {
        let lines = request[..length].iter().filter(|b| **b == b'\n').count();
        if stream.write_all(&b"250 OK\r\n".repeat(lines)).is_err() {
            return;
        }
    }
}

#[test]
fn requests_wait_for_the_servers_greeting() {
    // What is sent before the greeting's last byte has left is there when the server looks.
    let (address, early) = greeting(b"220-hello\r\n");
    let smtp = [
        "--greeting",
        "line:^220",
        "--send",
        "NOOP\\r\\n",
        "--expect",
        "line:^250 ",
    ];
    let short = ["--requests-per-conn", "3", "--conns", "2"];
    let pipelined = ["--pipeline", "4", "--conns", "2", "--idle", "3"];
    let open = ["--rate", "200", "--conns", "4", "--requests-per-conn", "1"];
    for more in [&short[..], &pipelined, &open] {
        let outcome = load(address, &[&smtp[..], more].concat());
        let requests = &outcome.requests;
        assert!(
            requests.completed > 3 && requests.errors() == 0,
            "{requests:?}"
        );
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        assert!(outcome.latency_ns.first_byte.count > 0);
    }
    assert_eq!(early.load(SeqCst), 0);

    let (address, _) = greeting(b"554 not you\r\n");
    let outcome = load(address, &[&smtp[..], &["--duration", "100ms"]].concat());
    let first = &outcome.failures[0];
    assert_eq!(
        (first.kind.as_str(), outcome.requests.completed),
        ("MISMATCH", 0)
    );
    assert!(
        first
            .first
            .contains("\"554 not you\", which does not match ^220")
    );

    let (address, _) = greeting(b"220");
    let quick = ["--request-timeout", "50ms", "--duration", "100ms"];
    let outcome = load(address, &[&smtp[..], &quick].concat());
    assert_eq!(outcome.connections.served, 0);
    let first = &outcome.failures[0].first;
    assert!(first.contains("no greeting within 50"), "{first}");
}

#[test]
fn a_server_that_speaks_first_and_once_is_asked_nothing() {
    let (address, _) = greeting(b"220 ready\r\n");
    let banner = [
        "--expect",
        "line:^220 ",
        "--requests-per-conn",
        "1",
        "--conns",
        "3",
    ];
    let outcome = load(address, &banner);
    assert!(outcome.requests.completed > 0, "{:?}", outcome.requests);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert_eq!(outcome.whole_run.bytes_sent, 0);
    assert_eq!(
        outcome.whole_run.bytes_received,
        outcome.whole_run.completed * 11
    );
}

#[test]
fn an_answer_may_end_with_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut request = [0; 64];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(b"Login: root\n");
                let _ = stream.write_all(b"No Plan.\n");
            });
        }
    });
    let finger = [
        "--send",
        "root\\r\\n",
        "--expect",
        "close",
        "--requests-per-conn",
        "1",
    ];
    let outcome = load(address, &finger);
    assert!(outcome.requests.completed > 3, "{:?}", outcome.requests);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    let closed = &outcome.connections;
    assert!(
        closed.closed_by_peer > 0 && closed.closed_unasked == 0,
        "{closed:?}"
    );
}
