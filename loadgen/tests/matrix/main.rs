//! Real HTTP servers, each with a log of its own: what this generator says it was answered is what they say they
//! answered, to the unit, whatever becomes of connections and however bodies are framed.

#[path = "../contract/common.rs"]
#[allow(dead_code)] // What the contract's own fixture is made of is not used here.
mod common;
mod servers;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use loadgen::tally::outcome::Outcome;

use common::{loadgen, outcome_of};
use servers::{Log, Site};

/// Ways to ask a server, by name.
const MODES: [(&str, &[&str]); 9] = [
    ("keep-alive", &[]),
    ("close", &["--requests-per-conn", "1", "--close", "server"]),
    ("churn", &["--requests-per-conn", "7"]),
    ("pipelined", &["--pipeline", "4"]),
    (
        "pipelined churn",
        &[
            "--pipeline",
            "4",
            "--requests-per-conn",
            "9",
            "--close",
            "server",
        ],
    ),
    ("HTTP/1.0", &["--http-version", "1.0"]),
    (
        "HTTP/1.0 close",
        &[
            "--http-version",
            "1.0",
            "--requests-per-conn",
            "1",
            "--close",
            "server",
        ],
    ),
    ("HEAD", &["-X", "HEAD"]),
    (
        "open loop",
        &["--rate", "500", "--arrival", "poisson", "--conns", "7"],
    ),
];

/// Ways to ask for a body that comes in chunks.
const CHUNKED: [(&str, &[&str]); 4] = [
    ("chunked", &[]),
    ("chunked, pipelined", &["--pipeline", "3"]),
    (
        "chunked, close",
        &["--requests-per-conn", "1", "--close", "server"],
    ),
    (
        "chunked, HTTP/1.0",
        &["--http-version", "1.0", "--requests-per-conn", "1"],
    ),
];

/// Asks in one way, and holds the server's log against what was counted.
fn ask(site: &Site, name: &str, args: &[&str]) -> Outcome {
    let before = site.log.lines().len();
    let mut line = vec![
        "--protocol",
        "http",
        "--warmup",
        "20ms",
        "--duration",
        "200ms",
    ];
    if !args.contains(&"--conns") {
        line.extend(["--conns", "5"]);
    }
    line.extend(args);
    let (outcome, output) = outcome_of(&mut loadgen(site.address, &line));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {name}: {said}", site.name);
    let whole = &outcome.whole_run;
    let logged = await_log(&site.log, before, whole.sent);
    assert_eq!(
        logged.len() as u64,
        whole.sent,
        "{} {name}: the log has other requests than were sent; {:?}\n{:?}",
        site.name,
        outcome.failures,
        logged.last()
    );
    assert!(whole.sent > 0, "{} {name}", site.name);
    outcome
}

/// The same, where every answer is a success.
fn ask_well(site: &Site, name: &str, args: &[&str]) {
    let outcome = ask(site, name, args);
    assert!(
        outcome.failures.is_empty(),
        "{} {name}: {:?}",
        site.name,
        outcome.failures
    );
    assert_eq!(
        outcome.whole_run.sent, outcome.whole_run.completed,
        "{} {name}",
        site.name
    );
    // On a busy machine a slow server may answer nothing within the window.
    let requests = &outcome.requests;
    let well = requests.by_status.get("200").copied().unwrap_or(0);
    assert_eq!(well, requests.completed, "{} {name}", site.name);
    assert!(requests.by_status.len() <= 1, "{:?}", requests.by_status);
    println!(
        "{} {name}: {} requests, in the log as well",
        site.name, outcome.whole_run.sent
    );
}

/// What the log has beyond a number of lines, once it has as many as it should, and a moment later.
fn await_log(log: &Log, before: usize, expected: u64) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while ((log.lines().len() - before) as u64) < expected && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    // One too many would come now.
    std::thread::sleep(Duration::from_millis(50));
    log.lines().split_off(before)
}

/// A file of requests with a page, one that is not there, a HEAD and a body.
fn requests_file(folder: &Path) -> PathBuf {
    let path = folder.join("requests.jsonl");
    let lines = concat!(
        r#"{"path": "/", "weight": 3}"#,
        "\n",
        r#"{"path": "/missing"}"#,
        "\n",
        r#"{"method": "HEAD", "url": "http://other.test/", "header": {"X-A": ["b", "c"]}}"#,
        "\n",
    );
    std::fs::write(&path, lines).expect("written");
    path
}

/// One in six answers is 404, and none is lost.
fn ask_mixed(site: &Site) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = requests_file(folder.path());
    let file = file.to_string_lossy();
    let args = ["--requests", &file, "--expect-status", "200,404"];
    let outcome = ask(site, "mixed", &args);
    assert!(
        outcome.failures.is_empty(),
        "{}: {:?}",
        site.name,
        outcome.failures
    );
    let of = |status: &str| outcome.requests.by_status.get(status).copied().unwrap_or(0);
    assert_eq!(
        of("200") + of("404"),
        outcome.requests.completed,
        "{:?}",
        outcome.requests
    );
    let lines = site.log.lines();
    let missing = lines[lines.len() - outcome.whole_run.sent as usize..].iter();
    let missing = missing.filter(|line| line.contains("/missing")).count() as u64;
    // Each of the five connections goes through the five positions in order, so it is ahead by at most one.
    let expected = outcome.whole_run.sent as f64 / 5.0;
    assert!(
        (missing as f64 - expected).abs() <= 5.0,
        "{}: {missing} of {}",
        site.name,
        outcome.whole_run.sent
    );
    assert!(
        of("404") <= missing && of("404") > 0,
        "{}: {of_404} and {missing}",
        site.name,
        of_404 = of("404")
    );
    let unexpected = ask(
        site,
        "mixed, 404 an error",
        &["--requests", &file, "--requests-order", "random"],
    );
    let refused = unexpected
        .requests
        .failed
        .get("STATUS")
        .copied()
        .unwrap_or(0);
    assert_eq!(
        unexpected
            .requests
            .by_status
            .get("404")
            .copied()
            .unwrap_or(0),
        refused
    );
    assert!(refused > 0, "{}: {:?}", site.name, unexpected.requests);
}

/// What the server says to a plain request, byte by byte.
fn raw_answer(site: &Site, path: &str) -> String {
    let before = site.log.lines().len();
    let mut stream = TcpStream::connect(site.address).expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("read");
    // Its line may come much later, and would be taken for one of the next load's.
    assert_eq!(await_log(&site.log, before, 1).len(), 1, "{}", site.name);
    String::from_utf8_lossy(&answer).into_owned()
}

fn ask_in_all_ways(site: &Site) {
    for (name, args) in MODES {
        ask_well(site, name, args);
    }
    if site.has_chunks {
        let answer = raw_answer(site, "/chunked").to_lowercase();
        assert!(
            answer.contains("\r\ntransfer-encoding: chunked\r\n"),
            "{} {answer}",
            site.name
        );
    }
    for (name, args) in CHUNKED.iter().filter(|_| site.has_chunks) {
        let args = [&["--path", "/chunked"], *args].concat();
        ask_well(site, name, &args);
    }
    for (name, args) in CHUNKED.iter().filter(|_| site.takes_bodies) {
        let body = "x".repeat(3000);
        let own = [
            "--path",
            "/",
            "--body",
            &body,
            "-H",
            "Content-Type: text/plain",
        ];
        ask_well(
            site,
            &name.replace("chunked", "body"),
            &[&own, *args].concat(),
        );
    }
    ask_mixed(site);
}

macro_rules! servers {
    ($($test:ident: $start:path,)*) => {$(
        #[test]
        #[ignore = "takes seconds and real servers; .ci/run runs it"]
        fn $test() {
            if let Some(site) = $start() {
                ask_in_all_ways(&site);
            }
        }
    )*};
}
servers! {
    nginx_logs_what_we_count: servers::nginx,
    apache_logs_what_we_count: servers::apache,
    lighttpd_logs_what_we_count: servers::lighttpd,
    haproxy_logs_what_we_count: servers::haproxy,
    node_logs_what_we_count: servers::node,
    python_logs_what_we_count: servers::python,
    aiohttp_logs_what_we_count: servers::aiohttp,
}
