//! Real servers as they are: redis-server and nginx, where they are installed.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loadgen::tally::outcome::Outcome;

use crate::common::{Guard, loadgen, outcome_of};

/// A port that is free, below the range from which everybody else's port 0 is
/// taken, so that no test that runs meanwhile is given it.
fn free_port(salt: u32) -> u16 {
    let candidates =
        (0..1000).map(|step| 10_000 + ((std::process::id() * 7 + salt + step) % 20_000) as u16);
    let mut free = candidates.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a free port")
}

/// Starts a server and waits until it accepts; `None` with a printed reason where it is not installed.
fn start(mut command: Command, port: u16) -> Option<(Guard, SocketAddr)> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = match command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    {
        Ok(child) => Guard(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {name} is not installed");
            return None;
        }
        Err(error) => panic!("{name}: {error}"),
    };
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < deadline, "{name} does not listen");
        assert!(
            child.0.try_wait().expect("a child").is_none(),
            "{name} ended"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Some((child, address))
}

fn load(address: SocketAddr, args: &[&str]) -> Outcome {
    let (outcome, output) = outcome_of(&mut loadgen(address, args));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        outcome.requests.completed > 0 && outcome.failures.is_empty(),
        "{:?}",
        outcome.failures
    );
    outcome
}

#[test]
fn redis_answers_pings() {
    let (port, directory) = (free_port(0), tempfile::tempdir().expect("a directory"));
    let mut command = Command::new("redis-server");
    command.args([
        "--port",
        &port.to_string(),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    // Its protected mode would refuse the other loopback addresses that churn is spread over.
    command
        .args(["--protected-mode", "no"])
        .current_dir(directory.path());
    let Some((_server, address)) = start(command, port) else {
        return;
    };
    load(address, &["--protocol", "resp", "--conns", "5"]);
    load(
        address,
        &[
            "--protocol",
            "resp",
            "--conns",
            "5",
            "--payload",
            "1-5000",
            "--pipeline",
            "3",
        ],
    );
    load(
        address,
        &[
            "--protocol",
            "resp",
            "--conns",
            "3",
            "--requests-per-conn",
            "2",
        ],
    );
}

#[test]
fn nginx_serves_pages() {
    let (port, directory) = (free_port(10_000), tempfile::tempdir().expect("a directory"));
    let config = write_site(directory.path(), port);
    let mut command = Command::new("nginx");
    command.args([
        "-p",
        &directory.path().to_string_lossy(),
        "-c",
        &config,
        "-e",
        "error.log",
    ]);
    let Some((_server, address)) = start(command, port) else {
        return;
    };
    let keep = load(address, &["--protocol", "http", "--conns", "5"]);
    assert_eq!(keep.connections.established, keep.connections.attempts);
    load(
        address,
        &["--protocol", "http", "--conns", "5", "--path", "/large.txt"],
    );
    let closing = load(
        address,
        &[
            "--protocol",
            "http",
            "--conns",
            "3",
            "--requests-per-conn",
            "1",
            "--close",
            "server",
        ],
    );
    assert!(closing.connections.closed_by_peer > 0);
    let (missing, _) = outcome_of(&mut loadgen(
        address,
        &["--protocol", "http", "--conns", "2", "--path", "/nothing"],
    ));
    assert!(
        missing.requests.failed["STATUS"] > 0,
        "{:?}",
        missing.requests
    );
    assert_eq!(missing.requests.completed, 0);
    let first = &missing.failures[0].first;
    assert!(
        first.contains("request 0: the server answered \"HTTP/1.1 404 "),
        "{first}"
    );
}

/// A site with a small page and one that takes many reads; returns the configuration's path.
fn write_site(directory: &Path, port: u16) -> String {
    let root = directory.join("root");
    std::fs::create_dir(&root).expect("a directory");
    std::fs::write(root.join("index.html"), "hello\n").expect("written");
    std::fs::write(root.join("large.txt"), "0123456789\n".repeat(50_000)).expect("written");
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; events {{ worker_connections 256; }}\n\
         http {{ access_log off; server {{ listen 127.0.0.1:{port}; root {}; }} }}\n",
        root.display()
    );
    let path = directory.join("nginx.conf");
    std::fs::write(&path, config).expect("written");
    path.to_string_lossy().into_owned()
}
