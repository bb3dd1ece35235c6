//! Servers broken on purpose do what their flag says, and nothing else does.

#[allow(dead_code)]
mod support;

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use servers::broken::Broken;
use servers::ledger::Shortage;
use servers::models::{BROKEN_KEY, MODELS};
use support::*;

/// Long enough to be sure that nothing comes.
const SILENCE: Duration = Duration::from_millis(300);

fn broken(model: &str, how: Broken) -> Spawn {
    spawn(model).arg(format!("--{BROKEN_KEY}")).arg(how)
}

fn is_silent(client: &mut TcpStream) -> bool {
    client.set_read_timeout(Some(SILENCE)).unwrap();
    let silent = matches!(client.read(&mut [0; 1]), Err(e) if e.kind() == ErrorKind::WouldBlock);
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    silent
}

#[test]
fn help_offers_the_ways_that_suit_a_model_and_says_what_they_are() {
    for model in MODELS {
        let help = String::from_utf8(run(model.name, &["--help"]).stdout).unwrap();
        assert!(help.contains("Broken on purpose"), "{help}");
        for way in Broken::ALL {
            assert_eq!(
                help.contains(&format!("- {way}:")),
                way.suits(model),
                "{} --broken {way}\n{help}",
                model.name
            );
        }
    }
    let refused = run("thread", &["--broken", "no-drain"]);
    assert_eq!(refused.status.code(), Some(2));
}

/// Level-triggered, the rest is told of again: a wake-up for each read. Edge-
/// triggered, it is not, until something else comes.
#[test]
fn what_was_not_drained_stays_unread_where_edges_are_told_once() {
    const READS: usize = 10;
    let message = pattern(READS * Broken::LITTLE);
    let level = broken("epoll", Broken::NoDrain).start();
    let mut client = level.connect();
    level.wait_for("it is accepted", |tally| tally.accepted == 1);
    let before = level.tally().wakeups;
    assert_echo(&mut client, &message);
    level.wait_for("a wake-up for each read", |tally| {
        tally.wakeups >= before + READS as u64
    });

    let edge = broken("epoll-et", Broken::NoDrain).start();
    let mut client = edge.connect();
    client.write_all(&message).unwrap();
    assert_received(&mut client, &message[..Broken::LITTLE]);
    assert!(is_silent(&mut client));
    assert_eq!(edge.tally().bytes_in, Broken::LITTLE as u64);
    client.write_all(b"!").unwrap();
    assert_received(&mut client, &message[Broken::LITTLE..2 * Broken::LITTLE]);
    assert!(is_silent(&mut client));

    let sound = spawn("epoll-et").start();
    assert_echo(&mut sound.connect(), &message);
}

/// Without a budget another client is not answered while one sends without pause;
/// with one, it waits for two turns of it at most, however long the flood has lasted.
#[test]
fn without_a_budget_a_client_that_never_pauses_starves_the_others() {
    let is_answered = |server: Server, after: u64, within: u64| {
        let (flood, stop) = (server.connect(), AtomicBool::new(false));
        let mut other = server.connect();
        thread::scope(|scope| {
            scope.spawn(|| {
                let bytes = vec![7; 1 << 20];
                let mut open = true;
                while open && !stop.load(Relaxed) {
                    open = (&flood).write_all(&bytes).is_ok();
                }
            });
            scope.spawn(|| {
                let mut bytes = vec![0; 1 << 20];
                while (&flood).read(&mut bytes).is_ok_and(|length| length > 0) {}
            });
            let received = |more: u64| {
                let start = server.tally().bytes_in;
                server.wait_for("the flood", |tally| tally.bytes_in >= start + more);
            };
            received(after);
            other.write_all(b"me too").unwrap();
            received(within);
            other
                .set_read_timeout(Some(Duration::from_millis(1)))
                .unwrap();
            let answered = other.read(&mut [0; 6]).is_ok();
            stop.store(true, Relaxed);
            drop(server);
            answered
        })
    };
    // The call that each request waits in gives the flood time to fill the socket again.
    let slow = |spawn: Spawn| spawn.arg("--block").arg("10ms").start();
    let starved = slow(broken("epoll-et", Broken::NoBudget));
    assert!(!is_answered(starved, 1 << 20, 2 << 20));
    let sound = slow(spawn("epoll-et"));
    assert!(is_answered(sound, 8 << 20, 1 << 20));
}

#[test]
fn a_naive_accept_loop_spins_when_descriptors_have_run_out() {
    for model in ["epoll", "thread"] {
        let mut server = broken(model, Broken::NaiveAccept).nofile(32).start();
        let clients: Vec<TcpStream> = (0..64).map(|_| server.connect()).collect();
        server.wait_for("accept fails over and over", |tally| {
            tally.accept_errors > 10_000 && tally.main_shortage() == Some(Shortage::Emfile)
        });
        drop(clients);
        server.assert_well();
    }
}

#[test]
fn without_reuseaddr_a_restart_finds_its_port_taken() {
    let mut server = spawn("epoll").arg("--close-after-bytes").arg(5).start();
    let mut client = server.connect();
    assert_echo(&mut client, b"hello");
    // Whoever closes first keeps the port in TIME_WAIT.
    assert_closed(&mut client);
    drop(client);
    server.end();
    let address = server.addr.to_string();
    let refused = run("epoll", &["--listen", &address, "--broken", "no-reuseaddr"]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains(&address), "{said}");
    let mut sound = Command::new(binary("epoll"))
        .args(["--listen", &address])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stdout = BufReader::new(sound.stdout.take().unwrap());
    stdout.read_line(&mut line).unwrap();
    sound.kill().unwrap();
    sound.wait().unwrap();
    assert_eq!(line, format!("listening {address}\n"));
}

#[test]
fn a_server_that_forgets_to_close_leaves_its_half_open() {
    for model in MODELS.iter().filter(|model| Broken::NoClose.suits(model)) {
        let server = broken(model.name, Broken::NoClose).start();
        let mut client = server.connect();
        assert_echo(&mut client, b"goodbye");
        finish(&client);
        assert!(is_silent(&mut client), "{}", model.name);
        assert_eq!(server.tally().closed, 0);
        let port = format!(":{:04X} ", server.addr.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let local = |line: &&str| {
            line.split_once("0100007F")
                .is_some_and(|(_, rest)| rest.starts_with(&port))
        };
        // CLOSE_WAIT is 08.
        let state = |line: &str| line.split_whitespace().nth(3) == Some("08");
        assert!(
            table.lines().filter(local).any(state),
            "{}\n{table}",
            model.name
        );
    }
}
