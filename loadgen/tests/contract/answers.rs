//! Servers whose answers are scripted: what the load reads of them, and what it says of those it refuses.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use crate::common::{loadgen as load, outcome_of};

/// A server that answers every request with these bytes, piece by piece; it ends with the test's process.
pub fn answering(pieces: Vec<Vec<u8>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let pieces = pieces.clone();
            std::thread::spawn(move || answer_each(stream, &pieces));
        }
    });
    address
}

fn answer_each(mut stream: TcpStream, pieces: &[Vec<u8>]) {
    // Each piece is to be a segment of its own.
    let _ = stream.set_nodelay(true);
    let mut request = [0; 4096];
    while let Ok(1..) = stream.read(&mut request) {
        for piece in pieces {
            if stream.write_all(piece).is_err() {
                return;
            }
        }
    }
}

fn whole(answer: &str) -> Vec<Vec<u8>> {
    vec![answer.as_bytes().to_vec()]
}

#[test]
fn bytes_of_both_directions_are_named() {
    let body = "x".repeat(100_000);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let address = answering(whole(&answer));
    let (outcome, output) = outcome_of(&mut load(address, &["--protocol", "http"]));
    let requests = &outcome.requests;
    let (sent, received) = (
        requests.bytes_sent.expect("counted"),
        requests.bytes_received.expect("counted"),
    );
    let completed: u64 = requests.completed_halves.iter().sum();
    assert!(completed > 1, "{}", String::from_utf8_lossy(&output.stderr));
    // One answer may be cut by either edge of the window.
    assert!(received.abs_diff(completed * answer.len() as u64) <= 2 * answer.len() as u64);
    assert!(sent < received / 100, "{sent} and {received}");
    assert!(requests.bytes_received_per_s > requests.bytes_sent_per_s);
    assert!(outcome.whole_run.bytes_received >= received);
    let table = loadgen::cmd::report::table(&outcome);
    assert!(
        table.contains("/s sent, ") && table.contains("/s received"),
        "{table}"
    );
}

#[test]
fn interim_answers_and_answers_in_single_bytes_are_read() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nA: b\r\n\r\n";
    let address = answering(answer.bytes().map(|byte| vec![byte]).collect());
    let (outcome, _) = outcome_of(&mut load(address, &["--protocol", "http", "--conns", "2"]));
    assert_eq!(outcome.connections.served, 2);
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert!(outcome.requests.completed > 0);
}

#[test]
fn a_refused_answer_is_told_by_the_rule_it_broke() {
    let table = [
        (
            "http",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "PROTOCOL",
            "a header folded over two lines",
        ),
        (
            "http",
            "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            "PROTOCOL",
            "a Content-Length that is no number: \"many\"",
        ),
        (
            "echo",
            "hello, I am no echo server; I greet with more than you asked for, always",
            "MISMATCH",
            "from byte 0 of 64 on received \"hello",
        ),
        (
            "resp",
            "-NOAUTH Authentication required.\r\n",
            "STATUS",
            "answered \"-NOAUTH Authentication required.\"",
        ),
        (
            "http",
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n",
            "STATUS",
            "answered \"HTTP/1.1 503 Service Unavailable\"",
        ),
    ];
    for (protocol, answer, kind, expected) in table {
        let address = answering(whole(answer));
        let args = [
            "--protocol",
            protocol,
            "--warmup",
            "0",
            "--duration",
            "100ms",
        ];
        let (outcome, _) = outcome_of(&mut load(address, &args));
        let failure = outcome.failures.iter().find(|failure| failure.kind == kind);
        let first = &failure
            .unwrap_or_else(|| panic!("{kind}: {:?}", outcome.failures))
            .first;
        assert!(first.contains(expected), "{first}\ninstead of\n{expected}");
    }
}
