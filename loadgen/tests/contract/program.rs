//! The program as its users meet it: flags, signals, phases, files, streams.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{Behaviour, Fixture, Guard, loadgen, outcome_of, run};
use loadgen::tally::outcome::Outcome;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.stdin(Stdio::null());
    command
}

#[test]
fn bad_flags_end_with_2_and_a_sentence() {
    let table: &[(&[&str], &str)] = &[
        (&[], "--target"),
        (&["--target", "127.0.0.1:1", "--conns", "0"], "--conns 0"),
        (
            &["--target", "127.0.0.1:1", "--conns", "NaN"],
            "not a whole number",
        ),
        (
            &["--target", "127.0.0.1:1", "--duration", "0"],
            "--duration 0",
        ),
        (&["--target", "127.0.0.1:1", "--rate", "NaN"], "a rate lies"),
        (&["--target", "127.0.0.1"], "HOST:PORT"),
        (&["--target", "192.0.2.1:80"], "--allow-target"),
        (
            &["--target", "224.0.0.1:80", "--allow-target", "0.0.0.0/0"],
            "multicast",
        ),
        (
            &["--target", "127.0.0.1:1", "--phase-fd", "99"],
            "--phase-fd",
        ),
        (
            &["--target", "127.0.0.1:1", "--no-such-flag"],
            "unexpected argument",
        ),
        (
            &["talk", "127.0.0.1:1", "--encoding", "klingon"],
            "not a character set",
        ),
        (&["talk", "192.0.2.1:80"], "--allow-target"),
        (
            &["--target", "127.0.0.1:1", "--cpus", "4095"],
            "--cpus 4095",
        ),
        (
            &["--target", "127.0.0.1:1", "--sources", "::1"],
            "another family",
        ),
        (
            &[
                "search",
                "--slo",
                "errors<1",
                "--target",
                "127.0.0.1:1",
                "--segment",
                "0/2",
            ],
            "drop --segment",
        ),
    ];
    for (args, expected) in table {
        let output = program().args(*args).output().expect("starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn an_interrupt_saves_what_there_is() {
    let fixture = Fixture::start(Behaviour::Echo);
    for (signal, code) in [
        (nix::sys::signal::Signal::SIGINT, 130),
        (nix::sys::signal::Signal::SIGTERM, 143),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let hlog = directory.path().join("o.hlog");
        let mut command = loadgen(fixture.address, &["--conns", "3", "--duration", "60s"]);
        command.arg("--hlog").arg(&hlog);
        let mut child = Guard(command.stdout(Stdio::piped()).spawn().expect("starts"));
        let before = fixture
            .counts
            .messages
            .load(std::sync::atomic::Ordering::SeqCst);
        while fixture
            .counts
            .messages
            .load(std::sync::atomic::Ordering::SeqCst)
            < before + 100
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.0.id() as i32), signal)
            .expect("delivered");
        let text = child.printed();
        assert_eq!(child.code(), Some(code));
        let outcome: Outcome = serde_json::from_str(&text).expect("an outcome");
        assert!(!outcome.complete && outcome.whole_run.completed > 0);
        // The second that was cut short is in the series and in the log as well, but for what was in flight.
        let in_seconds: u64 = outcome.series.iter().map(|second| second.completed).sum();
        let in_all = outcome.requests.completed;
        assert!(
            in_seconds <= in_all && in_seconds + 3 >= in_all,
            "{in_seconds} of {in_all}"
        );
        let log = std::fs::read_to_string(&hlog).expect("written");
        let lines = log.lines().filter(|line| line.starts_with("Tag=response,"));
        assert_eq!(lines.count(), outcome.series.len());
    }
}

#[test]
fn a_reader_who_does_not_read_can_be_left() {
    let fixture = Fixture::start(Behaviour::Echo);
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    let fill = [b'x'; 4096];
    nix::fcntl::fcntl(
        &writer,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
    )
    .expect("nonblocking");
    while nix::unistd::write(&writer, &fill).is_ok() {}
    nix::fcntl::fcntl(
        &writer,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()),
    )
    .expect("blocking");
    let directory = tempfile::tempdir().expect("a directory");
    let saved = directory.path().join("o.json");
    let inner = loadgen(fixture.address, &["--duration", "50ms"]);
    // A shell's background job is started with SIGINT ignored.
    let mut command = Command::new("sh");
    command
        .args(["-c", "trap '' INT; exec \"$0\" \"$@\""])
        .arg(inner.get_program())
        .args(inner.get_args())
        .arg("--save")
        .arg(&saved)
        .stdin(Stdio::null())
        .stdout(writer);
    let mut child = Guard(command.spawn().expect("starts"));
    while !saved.exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let pid = nix::unistd::Pid::from_raw(child.0.id() as i32);
    let interrupt = || nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
    interrupt().expect("delivered");
    let status = child.0.wait().expect("ended");
    assert!(!status.success(), "{status:?}");
    drop(reader);
}

/// Starts loadgen with one end of a socket pair as its phase descriptor.
fn supervised(fixture: &Fixture) -> (Guard, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    nix::fcntl::fcntl(
        &theirs,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .expect("inheritable");
    let fd = theirs.as_raw_fd().to_string();
    let mut command = loadgen(fixture.address, &["--conns", "3", "--phase-fd", &fd]);
    let child = Guard(command.stdout(Stdio::piped()).spawn().expect("starts"));
    drop(theirs);
    nix::fcntl::fcntl(
        &ours,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
    )
    .expect("closed on exec");
    (child, ours)
}

#[test]
fn phases_are_announced_and_awaited() {
    let fixture = Fixture::start(Behaviour::Echo);
    let (mut child, supervisor) = supervised(&fixture);
    let mut lines = BufReader::new(supervisor.try_clone().expect("cloned"));
    for phase in ["ramp", "warmup", "window", "drain", "done"] {
        let mut line = String::new();
        lines.read_line(&mut line).expect("a phase");
        assert_eq!(line, format!("phase {phase}\n"));
        if phase == "ramp" {
            assert_eq!(
                fixture
                    .counts
                    .accepted
                    .load(std::sync::atomic::Ordering::SeqCst),
                0,
                "connected before the word"
            );
        }
        (&supervisor).write_all(b"go\n").expect("heard");
    }
    let text = child.printed();
    assert_eq!(child.code(), Some(0));
    let outcome: Outcome = serde_json::from_str(&text).expect("an outcome");
    assert!(outcome.complete && outcome.requests.completed > 0);
    assert!(outcome.reasons.iter().all(|reason| reason.code != "W01"));
}

#[test]
fn a_lost_supervisor_stops_the_run() {
    let fixture = Fixture::start(Behaviour::Echo);
    let (mut child, supervisor) = supervised(&fixture);
    let mut line = String::new();
    BufReader::new(&supervisor)
        .read_line(&mut line)
        .expect("a phase");
    drop(supervisor);
    assert_eq!(child.code(), Some(143));
}

#[test]
fn a_closed_stdout_is_no_panic() {
    let fixture = Fixture::start(Behaviour::Echo);
    let mut command = loadgen(fixture.address, &["--duration", "50ms"]);
    let mut child = Guard(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts"),
    );
    drop(child.0.stdout.take());
    let mut said = String::new();
    child
        .0
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut said)
        .expect("read");
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(child.code(), Some(0));
}

#[test]
fn files_are_written_whole_and_a_bad_place_is_said() {
    let fixture = Fixture::start(Behaviour::Echo);
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let (save, hgrm, hlog) = (path("o.json"), path("o.hgrm"), path("o.hlog"));
    run(
        &fixture,
        &[
            "--duration",
            "1200ms",
            "--save",
            &save,
            "--hgrm",
            &hgrm,
            "--hlog",
            &hlog,
        ],
    );
    let saved: Outcome =
        serde_json::from_str(&std::fs::read_to_string(&save).expect("saved")).expect("an outcome");
    assert_eq!(saved.series.len(), 2, "one entry a second");
    // What is due in the window's last moment is answered after its last second.
    let in_seconds: u64 = saved.series.iter().map(|second| second.completed).sum();
    let in_all = saved.latency_ns.response.count;
    assert!(
        (in_all - 1..=in_all).contains(&in_seconds),
        "{in_seconds} of {in_all}"
    );
    let text = std::fs::read_to_string(&hgrm).expect("written");
    assert!(text.contains("1/(1-Percentile)") && text.contains("#[Mean"));
    let log = std::fs::read_to_string(&hlog).expect("written");
    assert!(
        log.starts_with("#[Histogram log format version 1.3]\n"),
        "{log}"
    );
    let payloads = log.lines().filter(|line| line.starts_with("Tag=response,"));
    assert!(
        payloads.clone().count() == 2 && payloads.clone().all(|line| line.contains(",HISTFAAA")),
        "{log}"
    );

    std::fs::remove_file(&hgrm).expect("removed");
    let output = loadgen(
        fixture.address,
        &[
            "--duration",
            "50ms",
            "--save",
            "/nonexistent/o.json",
            "--hgrm",
            &hgrm,
        ],
    )
    .output()
    .expect("starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/o.json"));
    assert!(
        !output.stdout.is_empty() && std::fs::metadata(&hgrm).is_ok(),
        "the figures are printed and the other files written all the same"
    );
}

#[test]
fn the_table_says_first_what_was_served() {
    let fixture = Fixture::start(Behaviour::Echo);
    let target = fixture.address.to_string();
    let output = program()
        .args([
            "--target",
            &target,
            "--conns",
            "3",
            "--warmup",
            "0",
            "--duration",
            "200ms",
            "--threads",
            "1",
        ])
        .output()
        .expect("starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.starts_with("3 of 3 connections served by 127.0.0.1:"),
        "{text}"
    );
    for word in [
        "response",
        "service",
        "verdict: ",
        "connections: 3 attempts, 3 established",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn talk_holds_the_tutorials_conversation() {
    let server = loadgen::base::null_server::NullServer::start(None).expect("a server");
    let target = server.address().to_string();
    let mut command = program();
    command
        .args(["talk", &target, "--encoding", "gbk"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = Guard(command.spawn().expect("starts"));
    let mut stdin = child.0.stdin.take().expect("piped");
    stdin
        .write_all("hello\n你好\nquit\nnever sent\n".as_bytes())
        .expect("typed");
    let text = child.printed();
    assert_eq!(
        text,
        format!("connect {target} success\n>>hello\n>>你好\n>>")
    );
    assert_eq!(child.code(), Some(0));
}

#[test]
fn segments_merge_to_the_whole() {
    let fixture = Fixture::start(Behaviour::Echo);
    let directory = tempfile::tempdir().expect("a directory");
    let path = |index: u32| {
        directory
            .path()
            .join(format!("{index}.json"))
            .to_string_lossy()
            .into_owned()
    };
    // Far enough ahead for three processes to start and connect on a loaded machine.
    let at = std::time::SystemTime::now() + Duration::from_secs(5);
    let at = humantime::format_rfc3339_millis(at).to_string();
    let common: Vec<&str> = "--conns 8 --duration 1s --rate 900 --start-at"
        .split(' ')
        .chain([at.as_str()])
        .collect();
    let part = |index: u32| {
        let segment = format!("{index}/3");
        run(
            &fixture,
            &[
                &common[..],
                &["--segment", &segment, "--save", &path(index)],
            ]
            .concat(),
        )
    };
    let parts: Vec<Outcome> = std::thread::scope(|scope| {
        let running = [0, 1, 2].map(|index| scope.spawn(move || part(index)));
        running
            .map(|thread| thread.join().expect("no panic"))
            .into()
    });
    let sum = |of: fn(&Outcome) -> u64| parts.iter().map(of).sum::<u64>();
    let output = program()
        .args(["merge", &path(2), &path(0), &path(1), "--format", "json"])
        .output()
        .expect("starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let merged: Outcome = serde_json::from_slice(&output.stdout).expect("an outcome");
    assert_eq!(merged.connections.requested, 8);
    // 900/s for 300 ms, however it is divided.
    assert_eq!(
        (merged.requests.offered, sum(|part| part.requests.offered)),
        (900, 900)
    );
    assert_eq!(
        merged.requests.completed,
        sum(|part| part.requests.completed)
    );
    assert_eq!(
        merged.latency_ns.response.count,
        sum(|part| part.latency_ns.response.count)
    );
    let longest = parts
        .iter()
        .filter_map(|part| part.latency_ns.response.max)
        .max();
    assert_eq!(merged.latency_ns.response.max, longest);
}

/// A segment's outcome as text.
fn segment(fixture: &Fixture, index: &str, seed: &str) -> String {
    let outcome = run(
        fixture,
        &["--conns", "4", "--segment", index, "--seed", seed],
    );
    serde_json::to_string(&outcome).expect("JSON")
}

#[test]
fn bad_outcome_files_end_with_2_and_a_sentence() {
    let fixture = Fixture::start(Behaviour::Echo);
    let (first, second) = (segment(&fixture, "0/2", "7"), segment(&fixture, "1/2", "7"));
    let blob = second
        .split("\"response\":\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .expect("a blob");
    // A header that claims a gigabyte and 5 digits.
    let hostile = "HISTE0AAAAAAAAAAAAAABQAAAAAAAAAB//////////8AAAAAAAAAAA==";
    let table = [
        (second[..second.len() / 2].to_owned(), "EOF"),
        (String::new(), "EOF"),
        ("[]".into(), "schema is missing"),
        (
            second.replacen("\"schema\"", "\"scheme\"", 1),
            "schema is missing",
        ),
        (
            second.replacen("\"ramp_s\"", "\"ramp\"", 1),
            "unknown field",
        ),
        (
            second.replacen(
                "\"attempts\":",
                "\"attempts\":18446744073709551615,\"x\":",
                1,
            ),
            "attempts is 18446744073709551615",
        ),
        (
            second.replacen("\"count\":2", "\"count\":0", 1),
            "there is no segment",
        ),
        (
            second.replacen("tenk.outcome/1", "tenk.outcome/9", 1),
            "schema",
        ),
        (second.replace(blob, hostile), "histogram"),
        (second.replace(blob, "%%%"), "base64"),
        (first.clone(), "twice"),
        (segment(&fixture, "1/2", "8"), "another load"),
        (segment(&fixture, "1/3", "7"), "another division"),
    ];
    let directory = tempfile::tempdir().expect("a directory");
    let (good, bad) = (directory.path().join("good"), directory.path().join("bad"));
    std::fs::write(&good, &first).expect("written");
    for (text, expected) in table {
        std::fs::write(&bad, text).expect("written");
        let output = program()
            .arg("merge")
            .args([&good, &bad])
            .output()
            .expect("starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{expected}: {said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
    let output = program()
        .args(["merge", "/nonexistent"])
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_start_that_has_passed_is_refused() {
    let fixture = Fixture::start(Behaviour::Echo);
    let output = loadgen(fixture.address, &["--start-at", "2001-01-01T00:00:00Z"])
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--start-at had passed"));
    let soon =
        humantime::format_rfc3339_nanos(std::time::SystemTime::now() + Duration::from_millis(800))
            .to_string();
    let (outcome, _) = outcome_of(&mut loadgen(fixture.address, &["--start-at", &soon]));
    let planned = outcome.load.start_at_unix_ns.expect("recorded") + outcome.load.warmup_ns;
    let started = outcome.window_start_unix_ns.expect("a window");
    assert!(started >= planned - 1_000_000, "{started} before {planned}");
}

#[test]
fn a_search_without_a_server_says_so() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = closed.local_addr().expect("an address").to_string();
    drop(closed);
    let output = program()
        .args(["search", "--slo", "errors<1", "--target", &target])
        .args(["--warmup", "0", "--duration", "50ms", "--quiet"])
        .output()
        .expect("starts");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no connection was served"), "{said}");
}

#[test]
fn a_search_ends_below_what_the_server_can_do() {
    // Every answer takes 10 ms, so 4 connections carry 400 requests a second at most.
    let fixture = Fixture::start(Behaviour::Delay(Duration::from_millis(10)));
    let target = fixture.address.to_string();
    let output = program()
        .args([
            "search",
            "--slo",
            "errors<1",
            "--target",
            &target,
            "--conns",
            "4",
            "--rate",
            "100",
            "--threads",
            "1",
        ])
        .args([
            "--warmup",
            "0",
            "--duration",
            "300ms",
            "--request-timeout",
            "50ms",
            "--format",
            "json",
        ])
        .output()
        .expect("starts");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found: loadgen::cmd::search::Found =
        serde_json::from_slice(&output.stdout).expect("a result");
    let broken = found.broken_per_s.expect("it cannot do everything");
    assert!(
        found.held_per_s.is_none_or(|held| held < broken),
        "{found:?}"
    );
    assert!(broken <= 1600.0 && found.steps.len() > 1, "{found:?}");
}
