//! What this machine does to a load, and what is said of it.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use loadgen::tally::outcome::Outcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

use crate::common::{Behaviour, Fixture, Guard, loadgen, outcome_of, run};

/// A server that never accepts, with room for one connection.
fn full_queue() -> (Socket, std::net::SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any_port: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any_port.into()).expect("bound");
    socket.listen(0).expect("listening");
    let address = socket.local_addr().expect("an address").as_socket();
    (socket, address.expect("an IP address"))
}

#[test]
fn syns_sent_again_are_counted_although_no_connect_succeeded() {
    let (_server, address) = full_queue();
    let args = [
        "--conns",
        "4",
        "--connect-timeout",
        "1500ms",
        "--ramp-timeout",
        "2s",
        "--warmup",
        "0",
        "--duration",
        "100ms",
        "--request-timeout",
        "100ms",
    ];
    let (outcome, _) = outcome_of(&mut loadgen(address, &args));
    let connections = &outcome.connections;
    assert!(connections.timed_out >= 2, "{connections:?}");
    // Each that timed out after 1.5 s has sent its SYN again after one.
    assert!(
        connections.syn_retries >= Some(connections.timed_out),
        "{connections:?}"
    );
    assert!(connections.syn_retransmits >= connections.syn_retries);
    assert_eq!(connections.syn_sent_again_after_s, [1]);
    let text = outcome.reasons.iter().find(|reason| reason.code == "W08");
    let text = &text.expect("W08").text;
    assert!(
        text.contains("SYNs sent again by these connections"),
        "{text}"
    );
    assert!(
        text.contains("connect times near 1 s are the kernel's"),
        "{text}"
    );
}

/// A load of which next to nothing can be sent: ten million requests a second over one connection.
const UNDUE: [&str; 8] = [
    "--rate",
    "10m",
    "--conns",
    "1",
    "--warmup",
    "0",
    "--request-timeout",
    "100ms",
];

#[test]
fn requests_that_were_never_sent_are_counted_in_one_step() {
    let fixture = Fixture::start(Behaviour::Echo);
    let args = [&UNDUE[..], &["--duration", "3s"]].concat();
    let outcome = run(&fixture, &args);
    let requests = &outcome.requests;
    assert_eq!(requests.offered, 30_000_000);
    assert_eq!(requests.sent + requests.dropped, requests.offered);
    assert!(requests.dropped > 20_000_000, "{requests:?}");
    let response = &outcome.latency_ns.response;
    assert!(response.censored >= requests.dropped, "{response:?}");
    // They were due evenly over the window, and had waited until its end and the drain's.
    let p50 = response.p50.expect("enough samples");
    assert!((1_500_000_000..3_000_000_000).contains(&p50), "{p50}");
}

#[test]
fn an_interrupt_is_heard_while_requests_are_counted_that_were_never_sent() {
    let fixture = Fixture::start(Behaviour::Echo);
    // Poisson arrivals are counted one by one, sixty million of them here.
    let args = [&UNDUE[..], &["--duration", "6s", "--arrival", "poisson"]].concat();
    let mut command = loadgen(fixture.address, &args);
    let mut child = Guard(command.stdout(Stdio::piped()).spawn().expect("starts"));
    std::thread::sleep(Duration::from_millis(6600));
    let pid = child.0.id();
    let before_s = cpu_s(pid);
    kill(Pid::from_raw(pid as i32), Signal::SIGINT).expect("delivered");
    let text = child.printed();
    let after_s = cpu_s_at_the_end(pid);
    if child.code() == Some(0) {
        eprintln!("skipped: this machine had counted them all before it was asked");
        return;
    }
    assert_eq!(child.code(), Some(130));
    // How long that takes on a machine which has more to do is not for the program to say; how much it works is.
    let used_s = after_s - before_s;
    assert!(used_s < 1.0, "{used_s} s of CPU time after the interrupt");
    let outcome: Outcome = serde_json::from_str(&text).expect("an outcome");
    assert!(!outcome.complete);
}

/// CPU time that a process has used, s: utime and stime, in ticks of 10 ms (proc_pid_stat(5)).
fn cpu_s(pid: u32) -> f64 {
    let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let (_, fields) = line.rsplit_once(')').expect("a name");
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks
        .map(|field| field.parse::<u64>().expect("ticks"))
        .sum();
    ticks as f64 / 100.0
}

/// The same once it has ended, before it is waited for.
fn cpu_s_at_the_end(pid: u32) -> f64 {
    let has_ended = || {
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
        line.rsplit_once(')')
            .is_some_and(|(_, rest)| rest.trim_start().starts_with('Z'))
    };
    while !has_ended() {
        std::thread::sleep(Duration::from_millis(5));
    }
    cpu_s(pid)
}

/// A server that lets one client address in, as `allow 127.0.0.1; deny all` does, and echoes.
fn choosy() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let is_allowed = stream
                .peer_addr()
                .is_ok_and(|peer| peer.ip() == address.ip());
            if !is_allowed {
                continue;
            }
            std::thread::spawn(move || {
                let mut message = [0; 64];
                while stream.read_exact(&mut message).is_ok() && stream.write_all(&message).is_ok()
                {
                }
            });
        }
    });
    address
}

#[test]
fn connections_that_are_replaced_come_from_the_kernels_choice() {
    let args = [
        "--conns",
        "4",
        "--requests-per-conn",
        "1",
        "--connect-rate",
        "500",
    ];
    let (outcome, _) = outcome_of(&mut loadgen(choosy(), &args));
    assert!(
        outcome.connections.closed_by_us > 100,
        "{:?}",
        outcome.connections
    );
    assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
    assert!(outcome.connections.sources_used.is_empty());
    let (spread, _) = outcome_of(&mut loadgen(
        choosy(),
        &["--sources", "127.0.0.1,127.0.0.9", "--conns", "2"],
    ));
    assert_eq!(
        spread.connections.sources_used,
        ["2 addresses from 127.0.0.1 to 127.0.0.9"]
    );
    assert!(
        !spread.failures.is_empty(),
        "the second address is not let in"
    );
}

#[test]
fn a_source_that_is_not_ours_is_named_with_what_to_do() {
    // 192.0.2.0/24 is nobody's (RFC 5737).
    let (outcome, _) = outcome_of(&mut loadgen(
        choosy(),
        &["--sources", "192.0.2.1", "--duration", "100ms"],
    ));
    let reason = outcome.reasons.iter().find(|reason| reason.code == "W05");
    let text = &reason.expect("W05").text;
    assert!(
        text.contains("192.0.2.1 is no address of this machine"),
        "{text}"
    );
}
