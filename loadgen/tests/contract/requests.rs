//! Requests that say more than GET: what a server receives is what was asked for, and what it answers is counted by
//! status.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use loadgen::tally::outcome::Outcome;

use crate::common::{loadgen, outcome_of};

/// What every connection said, request by request.
type Received = Arc<Mutex<Vec<Vec<String>>>>;

/// A server that keeps what it receives, and answers `/N` with status N; it ends with the test's process.
fn recorder() -> (SocketAddr, Received) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let received = Received::default();
    let kept = received.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = kept.clone();
            std::thread::spawn(move || record(stream, &kept));
        }
    });
    (address, received)
}

fn record(mut stream: TcpStream, kept: &Received) {
    let number = {
        let mut kept = kept.lock().expect("kept");
        kept.push(Vec::new());
        kept.len() - 1
    };
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        while let Some(length) = length_of(&text) {
            let request: Vec<u8> = text.drain(..length).collect();
            let request = String::from_utf8(request).expect("text");
            let answer = answer_to(&request);
            kept.lock().expect("kept")[number].push(request);
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => text.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
}

/// The length of the first request, once all of it is there.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let body = head
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next()?.parse().ok());
    let length = end + body.unwrap_or(0);
    (bytes.len() >= length).then_some(length)
}

fn answer_to(request: &str) -> String {
    let mut words = request.split(' ');
    let (method, path) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let status: u16 = path.trim_start_matches('/').parse().unwrap_or(200);
    match (method, status) {
        ("HEAD", _) => format!("HTTP/1.1 {status} X\r\nContent-Length: 5000\r\n\r\n"),
        (_, 204 | 304) => format!("HTTP/1.1 {status} X\r\n\r\n"),
        _ => format!(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\nhi"
        ),
    }
}

/// Runs it, expecting exit code 0.
fn run(address: SocketAddr, folder: Option<&Path>, args: &[&str]) -> Outcome {
    let mut command = loadgen(
        address,
        &[&["--protocol", "http", "--duration", "200ms"], args].concat(),
    );
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let (outcome, output) = outcome_of(&mut command);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    outcome
}

#[test]
fn a_server_receives_the_method_the_headers_and_the_body_that_were_asked_for() {
    let (address, received) = recorder();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("body.json"), "{\"a\": 1}\n").expect("written");
    let asked = [
        "-X",
        "PUT",
        "-H",
        "Content-Type: application/json",
        "-H",
        "X-A: b, c",
        "-d",
        "@body.json",
    ];
    let more = ["--path", "/201?q", "--host", "a.test", "--pipeline", "2"];
    let outcome = run(address, Some(folder.path()), &[&asked[..], &more].concat());
    let expected = "PUT /201?q HTTP/1.1\r\nHost: a.test\r\nContent-Type: application/json\r\nX-A: b, c\r\n\
                    Content-Length: 9\r\n\r\n{\"a\": 1}\n";
    let received = received.lock().expect("kept");
    let all: Vec<&String> = received.iter().flatten().collect();
    assert!(all.iter().all(|request| *request == expected), "{}", all[0]);
    assert_eq!(all.len() as u64, outcome.whole_run.sent);
    let http = outcome.load.http.as_ref().expect("http");
    assert_eq!(
        http.body.as_deref(),
        Some(&*format!("@{}/body.json", folder.path().display()))
    );
    let words = outcome.load.requests_in_words().expect("words");
    assert!(
        words.starts_with("PUT /201?q, 2 headers, a body, sha256 "),
        "{words}"
    );
}

#[test]
fn a_file_of_requests_is_sent_in_order_by_however_many_processes() {
    let (address, received) = recorder();
    let folder = tempfile::tempdir().expect("a folder");
    let lines = "{\"path\": \"/200\", \"weight\": 2}\n{\"method\": \"HEAD\", \"path\": \"/204\"}\n{\"path\": \"/404\", \"body\": \"x\"}\n";
    std::fs::write(folder.path().join("requests"), lines).expect("written");
    let args = [
        "--requests",
        "requests",
        "--conns",
        "4",
        "--processes",
        "2",
        "--expect-status",
        "2xx,404",
    ];
    let outcome = run(address, Some(folder.path()), &args);
    assert_eq!(outcome.generator.processes, 2);
    let received = received.lock().expect("kept");
    let asked = |request: &String| request.split(' ').take(2).collect::<Vec<_>>().join(" ");
    // Each connection goes round the four positions in order.
    let round = ["GET /200", "GET /200", "HEAD /204", "POST /404"];
    for requests in received.iter() {
        let asked: Vec<String> = requests.iter().map(asked).collect();
        let starts = |at: usize| {
            asked
                .iter()
                .zip(round.iter().cycle().skip(at))
                .all(|(one, other)| one == other)
        };
        assert!((0..4).any(starts), "{:?}", &asked[..8.min(asked.len())]);
    }
    let counts = received
        .iter()
        .flatten()
        .fold(BTreeMap::new(), |mut counts, request| {
            *counts.entry(asked(request)).or_insert(0u64) += 1;
            counts
        });
    assert_eq!(counts.values().sum::<u64>(), outcome.whole_run.completed);
    let requests = &outcome.requests;
    assert_eq!(requests.by_status.values().sum::<u64>(), requests.completed);
    assert_eq!(
        requests.by_status.keys().collect::<Vec<_>>(),
        ["200", "204", "404"]
    );
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
}

#[test]
fn what_is_not_expected_is_an_error_and_counted_by_status_all_the_same() {
    let (address, _) = recorder();
    let args = [
        "--protocol",
        "http",
        "--duration",
        "200ms",
        "--path",
        "/304",
    ];
    let mut command = loadgen(address, &[&args[..], &["--expect-status", "200"]].concat());
    let (refused, _) = outcome_of(&mut command);
    assert_eq!(refused.requests.completed, 0);
    assert_eq!(
        refused.requests.by_status["304"],
        refused.requests.failed["STATUS"]
    );
    let first = &refused.failures[0].first;
    assert!(
        first.contains("the server answered \"HTTP/1.1 304 X\""),
        "{first}"
    );
    let wanted = run(
        address,
        None,
        &[
            "--path",
            "/503",
            "--expect-status",
            "5xx",
            "--http-version",
            "1.0",
        ],
    );
    assert_eq!(wanted.requests.by_status["503"], wanted.requests.completed);
    let table = loadgen::cmd::report::table(&wanted);
    assert!(
        table.contains("http (GET /503, HTTP/1.0, expecting 5xx)"),
        "{table}"
    );
    assert!(table.contains("answers by status: 503 "), "{table}");
}

#[test]
fn requests_that_cannot_be_made_are_refused_with_a_remedy() {
    let (address, _) = recorder();
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(
        folder.path().join("requests"),
        "{\"path\": \"/\"}\n{\"pth\": \"/\"}\n",
    )
    .expect("written");
    let said = |args: &[&str]| {
        let mut command = loadgen(address, &[&["--protocol", "http"], args].concat());
        let output = command
            .current_dir(folder.path())
            .output()
            .expect("loadgen starts");
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let unknown = said(&["--requests", "requests"]);
    assert!(
        unknown.contains("--requests requests:2: unknown field `pth`")
            && unknown.contains("such as {"),
        "{unknown}"
    );
    assert!(said(&["--body", "@nothing"]).contains("--body nothing: No such file"));
    assert!(said(&["-H", "Content-Length: 5"]).contains("it is sent by itself"));
}
