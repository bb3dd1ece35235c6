//! Real servers as they are: redis-server and nginx, where they are installed.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use loadgen::tally::outcome::Outcome;

use crate::common::{Guard, loadgen, outcome_of};

/// A port that is free, below the range from which everybody else's port 0 is
/// taken, so that no test that runs meanwhile is given it.
pub fn free_port(salt: u32) -> u16 {
    let candidates =
        (0..1000).map(|step| 10_000 + ((std::process::id() * 7 + salt + step) % 20_000) as u16);
    let mut free = candidates.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("a free port")
}

/// Starts a server and waits until it accepts; `None` with a printed reason where it is not installed.
pub fn start(mut command: Command, port: u16) -> Option<(Guard, SocketAddr)> {
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

/// A Redis of its own, with nothing on disk.
fn redis(salt: u32) -> Option<(Guard, SocketAddr, tempfile::TempDir)> {
    let (port, directory) = (free_port(salt), tempfile::tempdir().expect("a directory"));
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--appendonly", "no"]);
    // Its protected mode would refuse the other loopback addresses that churn is spread over.
    command.args(["--protected-mode", "no"]);
    command.current_dir(directory.path());
    let (server, address) = start(command, port)?;
    Some((server, address, directory))
}

/// What Redis says of the calls of each command, by its name in small letters.
fn calls(address: SocketAddr) -> BTreeMap<String, u64> {
    let text = said_by_redis(address, "INFO commandstats\r\n");
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_"));
    let calls = lines.filter_map(|line| {
        let (name, rest) = line.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    calls.collect()
}

#[test]
fn redis_counts_the_commands_that_we_count() {
    let Some((_server, address, _directory)) = redis(5_000) else {
        return;
    };
    let args = [
        "--protocol",
        "resp",
        "--conns",
        "3",
        "--pipeline",
        "2",
        "--duration",
        "300ms",
    ];
    let mixed = [
        "--command",
        "SET __key__ __value__",
        "--command",
        "GET __key__",
    ];
    let how = [
        "--command-ratio",
        "1",
        "--command-ratio",
        "9",
        "--keys",
        "100",
        "--key-distribution",
        "zipf",
    ];
    let sizes = [
        "--value-sizes",
        "0:1,64:8,100k:1",
        "--requests-per-conn",
        "1000",
    ];
    let outcome = load(address, &[&args[..], &mixed, &how, &sizes].concat());
    let (whole, calls_of) = (&outcome.whole_run, calls(address));
    assert_eq!(whole.sent, whole.completed);
    assert_eq!(
        calls_of["set"] + calls_of["get"],
        whole.completed,
        "{calls_of:?}"
    );
    // Each connection goes through the ten positions in order, so it is ahead by at most one SET.
    let expected = whole.completed as f64 / 10.0;
    assert!(
        (calls_of["set"] as f64 - expected).abs() <= 4.0,
        "{calls_of:?}"
    );
    let of = |name: &str| outcome.requests.by_status.get(name).copied().unwrap_or(0);
    assert_eq!(
        of("ok") + of("nil"),
        outcome.requests.completed,
        "{:?}",
        outcome.requests
    );
}

/// A number of Redis' own statistics.
fn statistic(address: SocketAddr, name: &str) -> u64 {
    let info = said_by_redis(address, "INFO stats\r\n");
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|number| number.parse().ok()).expect(name)
}

/// Everything that Redis says to a command.
fn said_by_redis(address: SocketAddr, command: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream
        .write_all(format!("{command}QUIT\r\n").as_bytes())
        .expect("written");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("read");
    text
}

#[test]
fn what_redis_returns_is_what_was_set_and_anything_else_is_wrong() {
    let Some((_server, address, _directory)) = redis(25_000) else {
        return;
    };
    let get = [
        "--command",
        "GET __key__",
        "--keys",
        "50",
        "--value-sizes",
        "0:1,5:1,64:8,9k:1",
    ];
    let how = [
        "--protocol",
        "resp",
        "--verify-values",
        "--conns",
        "3",
        "--pipeline",
        "2",
        "--duration",
        "700ms",
    ];
    let seven = [&["--seed", "7"][..], &get, &how].concat();
    let of =
        |outcome: &Outcome, name: &str| outcome.requests.by_status.get(name).copied().unwrap_or(0);

    let empty = load(address, &seven);
    assert_eq!(
        of(&empty, "miss"),
        empty.requests.completed,
        "{:?}",
        empty.requests
    );
    let both = load(
        address,
        &[&["--command", "SET __key__ __value__"][..], &seven].concat(),
    );
    let answered = of(&both, "ok") + of(&both, "hit") + of(&both, "miss");
    assert_eq!(answered, both.requests.completed, "{:?}", both.requests);
    assert!(of(&both, "hit") > 0, "{:?}", both.requests);

    // Another run knows what the one before has set.
    let before = ["keyspace_hits", "keyspace_misses"].map(|name| statistic(address, name));
    let again = load(address, &seven);
    let after = ["keyspace_hits", "keyspace_misses"].map(|name| statistic(address, name));
    assert_eq!(
        of(&again, "hit"),
        again.requests.completed,
        "{:?}",
        again.requests
    );
    assert_eq!(
        [after[0] - before[0], after[1] - before[1]],
        [again.whole_run.sent, 0]
    );
    assert!(loadgen::cmd::report::table(&again).contains("hit ratio 100.00 %"));

    // Somebody else's value, of the same length.
    said_by_redis(address, "SETRANGE key:000000000007 0 x\r\n");
    let (wrong, _) = outcome_of(&mut loadgen(address, &seven));
    // What another seed expects is all wrong: no connection is ever served.
    let eight = [&["--seed", "8"][..], &get, &how].concat();
    let (all_wrong, _) = outcome_of(&mut loadgen(address, &eight));
    for outcome in [wrong, all_wrong] {
        let mut told = outcome.failures.iter().filter(|f| f.kind == "MISMATCH");
        assert!(
            told.any(|failure| failure.first.contains("expected \"")),
            "{:?}",
            outcome.failures
        );
    }
}

#[test]
fn redis_refuses_by_name_and_answers_in_every_type() {
    let Some((_server, address, _directory)) = redis(15_000) else {
        return;
    };
    let commands = [
        "LPUSH list a",
        "GET list",
        "NO SUCH",
        "MGET list other",
        "COMMAND INFO GET SET",
        "GET nothing",
        "HELLO 3",
    ];
    let commands = commands.iter().flat_map(|command| ["--command", command]);
    let args = ["--protocol", "resp", "--conns", "2", "--duration", "200ms"];
    let args: Vec<&str> = args.into_iter().chain(commands).collect();
    let (outcome, _) = outcome_of(&mut loadgen(address, &args));
    let (requests, calls_of) = (&outcome.requests, calls(address));
    let names: Vec<&str> = requests.by_status.keys().map(String::as_str).collect();
    assert_eq!(names, ["ERR", "WRONGTYPE", "nil", "ok"], "{requests:?}");
    let refused = requests.by_status["ERR"] + requests.by_status["WRONGTYPE"];
    assert_eq!(requests.failed["STATUS"], refused);
    let known: u64 = ["lpush", "get", "mget", "command|info", "hello"]
        .iter()
        .map(|name| calls_of[*name])
        .sum();
    let whole = &outcome.whole_run;
    // Redis does not count what it does not know: one in seven.
    assert!(
        (whole.sent - known).abs_diff(whole.sent / 7) <= 2,
        "{} and {calls_of:?}",
        whole.sent
    );
    let said: Vec<_> = outcome
        .failures
        .iter()
        .map(|failure| failure.first.as_str())
        .collect();
    assert!(
        said.iter()
            .any(|words| words.contains("-WRONGTYPE ") || words.contains("-ERR unknown")),
        "{said:?}"
    );
}

#[test]
fn redis_answers_pings() {
    let Some((_server, address, _directory)) = redis(0) else {
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
