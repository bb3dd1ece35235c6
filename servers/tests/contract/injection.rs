//! System calls that fail on purpose, by strace: the server lives, or ends with
//! a message; it neither spins nor hangs.

use std::cell::RefCell;
use std::net::TcpStream;
use std::path::Path;

use crate::foreign::tool;
use crate::support::*;

/// Which calls fail how. Of these, each model is tried with those it makes.
const FAULTS: &[(&str, &[&str])] = &[
    ("accept4", &["ENFILE", "ECONNABORTED", "EPERM"]),
    ("recvfrom", &["ENOMEM", "EINTR"]),
    ("sendto", &["ENOBUFS", "EPIPE"]),
    ("poll", &["EINTR"]),
    ("select", &["EINTR"]),
    ("epoll_wait", &["EINTR"]),
    ("epoll_ctl", &["ENOMEM"]),
    ("io_uring_enter", &["EINTR", "EBUSY"]),
    ("clone3", &["EAGAIN"]),
    ("clone", &["EAGAIN"]),
    ("sendmsg", &["ENOBUFS"]),
];

/// The first calls belong to the start of the server, or of its runtime.
const WHEN: &str = "when=5..9";

pub fn failing_system_calls(model: &str) {
    // These make the same calls as the model without them.
    let alike = [
        "prefork:accept=mutex",
        "reuseport:listen-mode=shared",
        "reuseport:listen-mode=exclusive",
    ];
    let Some(strace) = tool("strace").filter(|_| !alike.contains(&model)) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let log = log.to_str().unwrap();
    let calls = calls_made(model, strace, log);
    let mut injected = 0;
    for (call, errors) in FAULTS
        .iter()
        .filter(|(call, _)| calls.iter().any(|made| made == call))
    {
        for error in *errors {
            let rule = format!("inject={call}:error={error}:{WHEN}");
            let only = format!("trace={call}");
            let words = [strace, "-f", "-qq", "-o", log, "-e", &only, "-e", &rule];
            let server = spawn_few(model).under(&words).start();
            check(server, &format!("{model}, {call} fails with {error}"));
            let text = std::fs::read_to_string(log).unwrap();
            injected += text.matches("(INJECTED)").count();
        }
    }
    assert!(
        injected > 0,
        "nothing was injected into {model}, which calls {calls:?}"
    );
}

/// Pools need few workers here, and each of them is slow under strace.
fn spawn_few(model: &str) -> Spawn {
    match base(model) {
        "prefork" | "thread-pool" => spawn(model).arg("--workers").arg(4),
        _ => spawn(model),
    }
}

/// The system calls the server itself makes, as `strace -c` names them.
fn calls_made(model: &str, strace: &str, log: &str) -> Vec<String> {
    let mut server = spawn_few(model)
        .under(&[strace, "-f", "-qq", "-c", "-o", log])
        .start();
    (0..3).for_each(|_| assert_echo(&mut server.connect(), b"count me"));
    server.end();
    wait_until(
        || Path::new(log).metadata().is_ok_and(|file| file.len() > 0),
        || "strace wrote nothing".to_owned(),
    );
    let table = std::fs::read_to_string(log).unwrap();
    table
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .map(str::to_owned)
        .collect()
}

/// Goes on until the faults are used up: clients may be lost meanwhile.
fn check(server: Server, what: &str) {
    for _ in 0..15 {
        let client = TcpStream::connect(server.addr);
        let Ok(mut client) = client else { break };
        let _ = echo_soon(&mut client);
    }
    if !what.starts_with("nonblocking") {
        server.assert_calm();
    }
    // Each worker has faults of its own to use up, and with one of them a server may still end.
    let addr = server.addr;
    let server = RefCell::new(server);
    let ended = || server.borrow_mut().ended();
    let well = || TcpStream::connect(addr).is_ok_and(|mut client| echo_soon(&mut client));
    wait_until(
        || ended().is_some() || well(),
        || {
            let said = server.borrow().said();
            format!("{what}: nobody is served; it said {said:?}")
        },
    );
    if let Some(code) = ended() {
        let said = server.borrow().said();
        assert!(
            code == Some(1) && !said.is_empty(),
            "{what}: exit {code:?}, said {said:?}"
        );
    }
}
