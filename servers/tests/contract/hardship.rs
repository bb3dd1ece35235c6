//! Limits, idle and hostile clients, and shortages.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use servers::ledger::Shortage;
use servers::models::{MODELS, Readiness, Unit};
use socket2::{Domain, Socket, Type};

use crate::concurrent;
use crate::support::*;

/// `--block` and `--work-iters` cost what they say, and a single loop makes
/// everyone wait.
pub fn handler_cost_is_paid(model: &str) {
    const BLOCK: Duration = Duration::from_millis(100);
    let mut server = spawn(model)
        .arg("--block")
        .arg("100ms")
        .arg("--work-iters")
        .arg(1000)
        .start();
    let clients = if concurrent(model) { 4 } else { 1 };
    let mut clients: Vec<TcpStream> = (0..clients).map(|_| server.connect()).collect();
    let start = Instant::now();
    clients
        .iter_mut()
        .for_each(|client| client.write_all(b"work").unwrap());
    clients
        .iter_mut()
        .for_each(|client| assert_received(client, b"work"));
    let elapsed = start.elapsed();
    let stalls = axes(model).0 == Unit::Loop;
    let expected = if stalls { BLOCK * 4 } else { BLOCK };
    assert!(
        elapsed >= expected,
        "{elapsed:?} for requests that block {expected:?}"
    );
    drop(clients);
    server.assert_well();
}

pub fn limit_on_connections(model: &str) {
    let mut server = spawn(model).arg("--max-conns").arg(5).start();
    if !concurrent(model) {
        return (0..20).for_each(|_| server.assert_well());
    }
    let mut inside: Vec<TcpStream> = (0..5).map(|_| server.connect()).collect();
    inside
        .iter_mut()
        .for_each(|client| assert_echo(client, b"inside"));
    let mut outside: Vec<TcpStream> = (0..3).map(|_| server.connect()).collect();
    outside.iter_mut().for_each(assert_closed);
    server.wait_for("three are shed", |tally| tally.shed == 3);
    inside
        .iter_mut()
        .for_each(|client| assert_echo(client, b"still inside"));
    inside.pop();
    server.wait_for("one has left", |tally| tally.open() == 4);
    assert_echo(&mut server.connect(), b"in its place");
    drop((inside, outside));
    server.wait_for("all are gone", |tally| tally.open() == 0);
    server.assert_well();
}

pub fn limit_per_address(model: &str) {
    let mut server = spawn(model).arg("--max-conns-per-ip").arg(2).start();
    if !concurrent(model) {
        return (0..20).for_each(|_| server.assert_well());
    }
    for address in ["127.0.0.2:0", "127.0.0.3:0"] {
        let connect = || connect_from(address.parse().unwrap(), server.addr);
        let mut inside = [connect(), connect()];
        inside
            .iter_mut()
            .for_each(|client| assert_echo(client, b"inside"));
        assert_closed(&mut connect());
    }
    server.wait_for("one of each is shed", |tally| tally.shed == 2);
    server.wait_for("all are gone", |tally| tally.open() == 0);
    server.assert_well();
}

fn connect_from(source: SocketAddr, target: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect(&target.into()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.into()
}

/// A silent client and one that sends its request a byte at a time are closed;
/// one that goes on making requests is not.
pub fn idle_clients_are_closed(model: &str) {
    let server = spawn(model)
        .arg("--service")
        .arg("http")
        .arg("--idle-timeout")
        .arg("400ms")
        .start();
    let (mut silent, mut loris) = (server.connect(), server.connect());
    if !concurrent(model) {
        assert_closed(&mut silent);
    }
    let mut busy = concurrent(model).then(|| server.connect());
    loris
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let start = Instant::now();
    loop {
        assert!(
            start.elapsed() < PATIENCE,
            "a slow-loris client was never closed"
        );
        if let Some(busy) = &mut busy {
            assert_page(busy);
        }
        if loris.write_all(b"G").is_err() {
            break;
        }
        match loris.read(&mut [0; 16]) {
            Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {}
            _ => break,
        }
    }
    assert_closed(&mut silent);
    if let Some(busy) = &mut busy {
        assert_page(busy);
    }
    drop((busy, loris));
    server.wait_for("all are gone", |tally| tally.open() == 0);
}

fn assert_page(client: &mut TcpStream) {
    client
        .write_all(b"GET / HTTP/1.1\r\nHost: tenk\r\n\r\n")
        .unwrap();
    let mut page = Vec::new();
    while !page.ends_with(servers::http::PAGE.as_bytes()) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        page.push(byte[0]);
    }
    assert!(page.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

pub fn http_is_spoken(model: &str) {
    let server = spawn(model).arg("--service").arg("http").start();
    let mut client = server.connect();
    (0..3).for_each(|_| assert_page(&mut client));
    let last = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client
        .write_all(
            format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody{last}").as_bytes(),
        )
        .unwrap();
    let text = String::from_utf8(read_to_end(&mut client)).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2, "{text}");
    let mut client = server.connect();
    client.write_all(b"nonsense\r\n\r\n").unwrap();
    assert!(read_to_end(&mut client).starts_with(b"HTTP/1.1 400 "));
    drop(client);
    // More requests at once than one read returns, and more answers than fit
    // the socket.
    let request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20_000);
    let mut client = server.connect();
    let mut writer = client.try_clone().unwrap();
    let text = thread::scope(|scope| {
        scope.spawn(|| {
            writer.write_all(&request).unwrap();
            finish(&writer);
        });
        read_to_end(&mut client)
    });
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 20_000);
    server.wait_for("all are gone", |tally| tally.open() == 0);
}

/// Half of them are reset before the server can accept them.
pub fn reset_storm(model: &str) {
    let mut server = spawn(model).start();
    server.assert_well();
    server.settle();
    let calm = server.descriptors();
    for _ in 0..5 {
        server.signal(Signal::SIGSTOP);
        (0..200).for_each(|_| reset(server.connect()));
        server.signal(Signal::SIGCONT);
        (0..200).for_each(|_| reset(server.connect()));
        server.assert_well();
    }
    let back = || server.descriptors() == calm;
    wait_until(back, || {
        format!("{} descriptors, {calm} before", server.descriptors())
    });
}

/// Each sends until nobody takes any more, up to 64 MiB, and reads nothing: what
/// the server keeps for it must stay small, and others must be served.
pub fn clients_that_never_read(model: &str) {
    const CLIENTS: usize = 4;
    let mut server = spawn(model).start();
    server.settle();
    // So that what all connections share is in use.
    let mut first = server.connect();
    (0..100).for_each(|_| assert_echo(&mut first, &pattern(64 * 1024)));
    drop(first);
    server.assert_well();
    let before = server.memory();
    let stuck = if concurrent(model) { CLIENTS } else { 1 };
    let mut clients: Vec<TcpStream> = (0..stuck).map(|_| server.connect()).collect();
    let piece = pattern(256 * 1024);
    for client in &mut clients {
        client
            .set_write_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let mut sent = 0;
        while sent < 64 << 20 {
            match client.write(&piece) {
                Ok(length) => sent += length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("after {sent} bytes: {error}"),
            }
        }
        assert!(
            sent < 64 << 20,
            "the server took 64 MiB and was read nothing of it"
        );
    }
    // A process or thread each has a stack and a read buffer of its own.
    let each = server.memory().saturating_sub(before) / stuck as u64;
    assert!(each < 1 << 20, "{each} bytes per client that never reads");
    if concurrent(model) {
        assert_echo(&mut server.connect(), b"another client");
    }
    drop(clients);
    server.assert_well();
}

/// In the models that serve many connections by one loop: under 700 bytes each,
/// and 2 KiB for a task.
pub fn idle_connections_hold_no_buffer(model: &str) {
    let (unit, readiness) = axes(model);
    if readiness == Readiness::Blocking || unit == Unit::SpreadTask {
        return;
    }
    const CONNECTIONS: u64 = 900;
    let mut server = spawn(model).start();
    server.settle();
    // Some at once first, and many bytes, so that what all share is in use.
    let mut first = server.connect();
    (0..100).for_each(|_| assert_echo(&mut first, &pattern(64 * 1024)));
    drop(first);
    for round in [60, CONNECTIONS] {
        let before = server.memory();
        let mut clients: Vec<TcpStream> = (0..round).map(|_| server.connect()).collect();
        clients
            .iter_mut()
            .for_each(|client| assert_echo(client, &pattern(64)));
        let each = server.memory().saturating_sub(before) / round;
        drop(clients);
        server.assert_well();
        // Of a task the runtime keeps an account besides.
        let most = if base(model) == "tokio" { 2048 } else { 700 };
        assert!(
            round < CONNECTIONS || each < most,
            "{each} bytes per idle connection"
        );
    }
}

/// A group that allows so few processes and threads; none where this user may
/// not make one. Removed when dropped.
struct PidsGroup {
    dir: PathBuf,
}

impl PidsGroup {
    fn new(name: &str, most: u32) -> Option<PidsGroup> {
        let root = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"]
            .map(Path::new)
            .into_iter();
        let name = format!("tenk-test-{}-{name}", std::process::id());
        let group = root
            .filter(|root| root.join("cgroup.procs").exists())
            .find_map(|root| {
                let dir = root.join(&name);
                std::fs::create_dir(&dir).ok()?;
                let group = PidsGroup { dir };
                std::fs::write(group.dir.join("pids.max"), most.to_string())
                    .ok()
                    .map(|()| group)
            });
        if group.is_none() {
            eprintln!("skipped: no pids cgroup can be made here");
        }
        group
    }
}

impl Drop for PidsGroup {
    fn drop(&mut self) {
        let start = Instant::now();
        while std::fs::remove_dir(&self.dir).is_err() && start.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn a_limit_on_processes_and_threads() {
    const MOST: u32 = 50;
    for model in MODELS {
        let (model, unit, readiness) = (model.name, model.unit, model.readiness);
        let is_pool = matches!(unit, Unit::ProcessPool | Unit::ThreadPool);
        let is_started_for_each = matches!(unit, Unit::Process | Unit::Thread);
        if !is_pool && !is_started_for_each && unit != Unit::SpreadTask {
            continue;
        }
        let Some(group) = PidsGroup::new(model, MOST) else {
            return;
        };
        let procs = group.dir.join("cgroup.procs");
        let enter = format!("echo $$ > {} && exec \"$@\"", procs.display());
        let spawn = spawn(model).under(&["sh", "-c", &enter, "sh"]);
        let mut server = match readiness {
            Readiness::Blocking => spawn.start(),
            _ => spawn.arg("--workers").arg(40).start(),
        };
        let mut clients: Vec<TcpStream> = (0..200).map(|_| server.connect()).collect();
        if is_started_for_each {
            server.wait_for("some are shed", |tally| tally.shed > 2);
            assert_eq!(server.tally().main_shortage(), Some(Shortage::Eagain));
        }
        // The others are content with 40.
        if is_pool && readiness == Readiness::Blocking {
            server.wait_for("the shortage is named", |tally| {
                tally.main_shortage() == Some(Shortage::Eagain)
            });
        }
        server.assert_calm();
        assert!(
            server.tasks() <= u64::from(MOST),
            "{model}: {} tasks",
            server.tasks()
        );
        let served = clients[..20]
            .iter_mut()
            .map(echo_soon)
            .filter(|&served| served)
            .count();
        assert!(served >= 10, "{model}: {served} of the first 20 are served");
        drop(clients);
        server.assert_well();
        drop(server);
    }
}
