//! Names and addresses: what is typed, what is connected to, and what a server is asked for.

use std::io::{Read, Write};
use std::process::Command;

use loadgen::tally::outcome::Outcome;

use crate::common::outcome_of;

/// A site that says which Host it was asked for, as an error where it is not this one.
fn virtual_host(address: &str, expected: &'static str) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind(address).expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let wanted = format!(
                    "Host: {}\r\n",
                    expected.replace("PORT", &address.port().to_string())
                );
                let mut request = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut request) {
                    let asked = String::from_utf8_lossy(&request[..length]).into_owned();
                    let status = if asked.contains(&wanted) {
                        "200 OK"
                    } else {
                        "421 Misdirected Request"
                    };
                    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn load_by_name(target: &str, args: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["--target", target, "--protocol", "http", "--format", "json"]);
    command
        .args(["--warmup", "0", "--duration", "200ms", "--conns", "2"])
        .args(args);
    outcome_of(&mut command).0
}

#[test]
fn a_name_is_what_the_server_is_asked_for_and_all_use_the_address_that_answers() {
    let address = virtual_host("127.0.0.1:0", "localhost:PORT");
    let name = format!("localhost:{}", address.port());
    // However many addresses the name has, one of them answers; a fleet's processes are told which.
    for args in [&[][..], &["--processes", "2"], &["--connect-rate", "1k/s"]] {
        let outcome = load_by_name(&name, args);
        assert_eq!(
            outcome.connections.served, 2,
            "{args:?}: {:?}",
            outcome.failures
        );
        assert!(outcome.failures.is_empty(), "{:?}", outcome.failures);
        assert_eq!(outcome.load.target_name.as_deref(), Some(name.as_str()));
        assert_eq!(outcome.target, address.to_string());
    }
    let table = loadgen::cmd::report::table(&load_by_name(&name, &[]));
    assert!(
        table.contains(&format!("served by {name} ({address})")),
        "{table}"
    );
}

#[test]
fn a_host_of_ones_own_is_sent_and_an_ipv6_literal_works() {
    let address = virtual_host("127.0.0.1:0", "shop.test");
    let other = load_by_name(&address.to_string(), &["--host", "shop.test"]);
    assert_eq!(
        (other.connections.served, other.failures.len()),
        (2, 0),
        "{:?}",
        other.failures
    );
    assert_eq!(other.load.target_name, None);
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: this machine has no ::1");
        return;
    }
    let address = virtual_host("[::1]:0", "[::1]:PORT");
    let six = load_by_name(&address.to_string(), &[]);
    assert_eq!(
        (six.connections.served, six.failures.len()),
        (2, 0),
        "{:?}",
        six.failures
    );
}
