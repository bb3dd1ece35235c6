//! The contract: one suite, run against the binary of every model.
//!
//! The iterative model serves one client at a time. Where a case needs several
//! at once it runs them one after the other there, which [`concurrent`] says.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use servers::ledger::{PROFILE, Shortage};
use servers::models::{MODELS, Readiness, Unit};
use socket2::SockRef;
use support::*;

#[path = "contract/addresses.rs"]
mod addresses;
#[path = "contract/foreign.rs"]
mod foreign;
#[path = "contract/hardship.rs"]
mod hardship;
#[path = "contract/injection.rs"]
mod injection;
#[path = "contract/raw_requests.rs"]
mod raw_requests;
mod support;

use addresses::*;
use foreign::*;
use hardship::*;
use injection::*;
use raw_requests::*;

/// Gives every model a module with every case of the suite as a test.
macro_rules! contract {
    ($models:tt $cases:tt) => {
        contract!(@models $models $cases);

        #[test]
        fn the_suite_covers_every_model() {
            let arms: &[&str] = contract!(@names $models);
            let covered: Vec<_> = arms.iter().copied().filter(|arm| !arm.contains(':')).collect();
            let all: Vec<_> = MODELS.iter().map(|model| model.name).collect();
            assert_eq!(covered, all);
        }
    };
    (@names [$($module:ident = $name:literal),+ $(,)?]) => { &[$($name),+] };
    (@models [$($module:ident = $name:literal),+ $(,)?] $cases:tt) => {
        mod model { $(mod $module { contract!(@cases $name $cases); })+ }
    };
    (@cases $name:literal [$($case:ident),+ $(,)?]) => {
        $(#[test] fn $case() { crate::$case($name); })+
    };
}

contract! {
    [
        iterative = "iterative",
        process = "process",
        prefork = "prefork",
        prefork_mutex = "prefork:accept=mutex",
        prefork_pass_fd = "prefork:accept=pass-fd",
        thread = "thread",
        thread_pool = "thread-pool",
        nonblocking = "nonblocking",
        select = "select",
        poll = "poll",
        epoll = "epoll",
        epoll_et = "epoll-et",
        epoll_oneshot = "epoll-oneshot",
        reuseport = "reuseport",
        reuseport_shared = "reuseport:listen-mode=shared",
        reuseport_exclusive = "reuseport:listen-mode=exclusive",
        io_uring = "io-uring",
        io_uring_plain = "io-uring:ops=plain",
        tokio = "tokio",
        tokio_multi = "tokio-multi",
    ]
    [
        echo,
        many_clients_take_turns,
        split_at_every_byte,
        byte_dribble,
        a_16_mib_message,
        half_close_is_flushed,
        reset_before_and_after_accept,
        slow_reader,
        a_thousand_connections,
        descriptor_limit_reached_and_recovered,
        discard_never_answers,
        server_closes_first,
        trace_tells_every_event,
        port_taken,
        every_family_of_addresses,
        wrong_usage,
        http_is_spoken,
        raw_requests_are_answered_alike,
        a_refusal_is_not_lost_to_a_reset,
        handler_cost_is_paid,
        limit_on_connections,
        limit_per_address,
        idle_clients_are_closed,
        reset_storm,
        clients_that_never_read,
        idle_connections_hold_no_buffer,
        failing_system_calls,
        foreign_clients,
    ]
}

/// A server with room for so many clients at a time: a pool of blocking workers
/// needs one for each.
fn spawn_for(model: &str, clients: usize) -> Spawn {
    match axes(model) {
        (Unit::ProcessPool | Unit::ThreadPool, Readiness::Blocking) => {
            spawn(model).arg("--workers").arg(clients)
        }
        _ => spawn(model),
    }
}

/// Whether the model serves several clients at a time.
fn concurrent(model: &str) -> bool {
    axes(model).0 != Unit::Inline
}

fn echo(model: &str) {
    let mut server = spawn(model).start();
    let header = server.ledger.header();
    assert_eq!(
        (header.model.as_str(), header.profile),
        (base(model), PROFILE)
    );
    let mut client = server.connect();
    for length in [1, 2, 64, 1000, 65_535, 65_536, 65_537, 200_000] {
        assert_echo(&mut client, &pattern(length));
    }
    drop(client);
    server.assert_well();
    let tally = server.tally();
    assert_eq!(tally.accepted, 2);
    assert_eq!(tally.bytes_in, tally.bytes_out);
    assert!(tally.wakeups > 0);
}

fn many_clients_take_turns(model: &str) {
    let mut server = spawn(model).start();
    if !concurrent(model) {
        return (0..20).for_each(|_| server.assert_well());
    }
    let mut clients: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    for round in 0..10 {
        for (number, client) in clients.iter_mut().enumerate() {
            client
                .write_all(format!("client {number}, round {round}").as_bytes())
                .unwrap();
        }
        for (number, client) in clients.iter_mut().enumerate().rev() {
            assert_received(client, format!("client {number}, round {round}").as_bytes());
        }
    }
    drop(clients);
    server.assert_well();
}

fn split_at_every_byte(model: &str) {
    let mut server = spawn(model).start();
    let message = pattern(40);
    let mut client = server.connect();
    for at in 0..=message.len() {
        let (head, tail) = message.split_at(at);
        assert_echo(&mut client, head);
        assert_echo(&mut client, tail);
    }
    drop(client);
    server.assert_well();
}

/// Without waiting for answers, so that pieces meet the server as they come.
fn byte_dribble(model: &str) {
    let mut server = spawn(model).start();
    let message = pattern(500);
    let mut client = server.connect();
    for byte in &message {
        client.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_micros(200));
    }
    assert_received(&mut client, &message);
    drop(client);
    server.assert_well();
}

fn a_16_mib_message(model: &str) {
    let mut server = spawn(model).start();
    let message = pattern(16 << 20);
    let mut client = server.connect();
    let mut writer = client.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&message).unwrap());
        assert_received(&mut client, &message);
    });
    drop((client, writer));
    server.assert_well();
}

fn half_close_is_flushed(model: &str) {
    let mut server = spawn(model).start();
    let message = pattern(1 << 20);
    for length in [0, 1, 1 << 20] {
        let mut client = server.connect();
        let mut writer = client.try_clone().unwrap();
        let answer = thread::scope(|scope| {
            scope.spawn(|| {
                writer.write_all(&message[..length]).unwrap();
                finish(&writer);
            });
            read_to_end(&mut client)
        });
        assert!(
            answer == message[..length],
            "{} of {length} bytes came back",
            answer.len()
        );
    }
    server.assert_well();
}

/// A stopped server accepts nobody, so the first lot is reset in its queue.
fn reset_before_and_after_accept(model: &str) {
    let mut server = spawn(model).start();
    server.signal(Signal::SIGSTOP);
    let waiting: Vec<_> = (0..20).map(|_| server.connect()).collect();
    waiting.into_iter().for_each(reset);
    server.signal(Signal::SIGCONT);
    server.assert_well();

    for _ in 0..20 {
        let mut client = server.connect();
        assert_echo(&mut client, b"before the reset");
        reset(client);
    }
    // Reset while the answer is on its way, which the server meets in a write.
    for _ in 0..5 {
        let mut client = server.connect();
        client.write_all(&pattern(100_000)).unwrap();
        reset(client);
    }
    server.assert_well();
}

/// A client that leaves its answers lying must get them all in the end, and
/// must not keep others from theirs.
fn slow_reader(model: &str) {
    let mut server = spawn(model).start();
    let message = pattern(4 << 20);
    let mut slow = server.connect();
    SockRef::from(&slow)
        .set_recv_buffer_size(64 * 1024)
        .unwrap();
    let mut writer = slow.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&message).unwrap());
        if concurrent(model) {
            for _ in 0..20 {
                assert_echo(&mut server.connect(), b"meanwhile");
            }
        }
        let (mut got, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        while got.len() < message.len() {
            let length = slow.read(&mut piece).unwrap();
            assert!(length > 0, "the server closed after {} bytes", got.len());
            got.extend_from_slice(&piece[..length]);
            thread::sleep(Duration::from_millis(1));
        }
        assert!(got == message);
    });
    drop((slow, writer));
    server.assert_well();
}

/// All at once, and again one after the other. `select` has room for fewer.
fn a_thousand_connections(model: &str) {
    let at_once = if concurrent(model) { 1000 } else { 1 };
    let mut server = spawn_for(model, at_once as usize).start();
    let mut clients: Vec<TcpStream> = (0..at_once).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        assert_echo(client, format!("connection {number}").as_bytes());
    }
    assert_eq!(server.tally().open(), at_once);
    drop(clients);
    server.wait_for("all are gone", |tally| tally.open() == 0);
    for _ in 0..1000 {
        assert_echo(&mut server.connect(), b"short");
    }
    server.assert_well();
    let tally = server.tally();
    assert_eq!((tally.shed, tally.accepted), (0, at_once + 1001));
}

/// More clients than descriptors: those inside are served, those outside wait
/// in the queue, the server neither spins nor ends, and room is used again.
///
/// In `process` and `prefork` every client has a process of its own, so that the
/// limit, which is each process's own, is never reached; `iterative` holds one
/// client at a time.
fn descriptor_limit_reached_and_recovered(model: &str) {
    if matches!(
        axes(model).0,
        Unit::Inline | Unit::Process | Unit::ProcessPool
    ) {
        let mut server = spawn(model).nofile(64).start();
        return (0..200).for_each(|_| server.assert_well());
    }
    let spawn = match base(model) {
        "reuseport" => spawn(model).arg("--workers").arg(1),
        _ => spawn_for(model, 100),
    };
    let mut server = spawn.nofile(64).start();
    let mut clients: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    server.wait_for("accepting has failed", |tally| tally.accept_errors > 2);
    assert_eq!(server.tally().main_shortage(), Some(Shortage::Emfile));
    // A busy loop is never idle, that is its nature.
    if model != "nonblocking" {
        server.assert_calm();
    }
    let inside = server.tally().open() as usize;
    assert!(
        (20..64).contains(&inside),
        "{inside} connections under a limit of 64"
    );
    for client in &mut clients[..inside] {
        assert_echo(client, b"inside");
    }
    clients.drain(..inside);
    for client in &mut clients[..30] {
        assert_echo(client, b"let in later");
    }
    drop(clients);
    server.assert_well();
}

fn discard_never_answers(model: &str) {
    let server = spawn(model).arg("--service").arg("discard").start();
    let mut client = server.connect();
    client.write_all(&pattern(1 << 20)).unwrap();
    finish(&client);
    assert_eq!(read_to_end(&mut client), b"");
    drop(client);
    server.wait_for("the client is gone", |tally| tally.closed == 1);
    let tally = server.tally();
    assert_eq!((tally.bytes_in, tally.bytes_out), (1 << 20, 0));
}

fn server_closes_first(model: &str) {
    let mut server = spawn(model).arg("--close-after-bytes").arg(128).start();
    let mut client = server.connect();
    assert_echo(&mut client, &pattern(64));
    assert_echo(&mut client, &pattern(64));
    assert_eq!(
        read_to_end(&mut client),
        b"",
        "the server should have closed after 128 bytes"
    );
    server.assert_well();
}

fn trace_tells_every_event(model: &str) {
    let mut server = spawn(model)
        .arg("--trace")
        .arg("--encoding")
        .arg("gbk")
        .start();
    let mut client = server.connect();
    let name = client.local_addr().unwrap();
    // 你好 in GBK, and a line end, which must not end the line.
    assert_echo(&mut client, b"\xC4\xE3\xBA\xC3\n");
    drop(client);
    let (mut told, mut others) = (Vec::new(), String::new());
    while told.len() < 3 {
        let mut line = String::new();
        server.stdout.read_line(&mut line).unwrap();
        let (when_and_who, what) = line.trim_end().split_at(line.find("Z ").unwrap() + 2);
        assert_eq!(when_and_who.len(), "12:03:04.123456Z ".len(), "{line}");
        let (who, what) = what.split_once(' ').unwrap();
        let (pid, thread) = who.split_once(':').unwrap();
        assert!(
            pid.parse::<u32>().is_ok() && thread.parse::<u32>().is_ok(),
            "{line}"
        );
        match what.split_once(&name.to_string()) {
            Some(_) => told.push(
                what.split_once(' ')
                    .unwrap()
                    .1
                    .split_once(' ')
                    .unwrap()
                    .1
                    .to_owned(),
            ),
            None => others += &line,
        }
    }
    let expected = [
        format!("connect {name}"),
        format!("from {name} : 你好\\n"),
        format!("close {name}"),
    ];
    assert_eq!(told, expected);
    // Each has been woken by something, but for the sweep, which never sleeps.
    assert_eq!(
        others.contains(" wakeup "),
        model != "nonblocking",
        "{others}"
    );
    let tries = matches!(
        model,
        "nonblocking" | "select" | "poll" | "epoll" | "epoll-et"
    );
    assert!(!tries || others.contains(": EAGAIN"), "{others}");
    server.assert_well();
}

/// `reuseport` may join whoever else has opened the port for sharing, which the
/// harness finds out from the ledger. Its other modes refuse.
fn port_taken(model: &str) {
    let server = spawn(model).start();
    let addr = server.addr.to_string();
    let model = base(model);
    let output = match model {
        "reuseport" => run(model, &["--listen", &addr, "--listen-mode", "shared"]),
        _ => run(model, &["--listen", &addr]),
    };
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&addr) && text.contains("in use"), "{text}");
    assert!(output.stdout.is_empty());
}

fn wrong_usage(model: &str) {
    let model = base(model);
    for args in [
        &["--conns", "5"][..],
        &["--listen", "here"],
        &["--backlog", "0"],
        &["--service", "ftp"],
    ] {
        assert_eq!(run(model, args).status.code(), Some(2), "{args:?}");
    }
    let unwritable = run(model, &["--ledger", "/nonexistent/ledger"]);
    let text = String::from_utf8_lossy(&unwritable.stderr);
    assert_eq!(unwritable.status.code(), Some(1));
    assert!(text.contains("/nonexistent/ledger"), "{text}");
}

#[test]
fn select_sheds_what_does_not_fit_its_bitmap() {
    let mut server = spawn("select").start();
    let mut clients: Vec<TcpStream> = (0..1200).map(|_| server.connect()).collect();
    let served = clients
        .iter_mut()
        .map(is_served)
        .filter(|&served| served)
        .count();
    assert!((1000..1024).contains(&served), "{served} served");
    server.wait_for("the rest is shed", |tally| {
        tally.shed == 1200 - served as u64
    });
    drop(clients);
    server.assert_well();
}

#[test]
fn select_listens_to_the_keyboard() {
    let mut server = spawn("select").arg("--stdin").start();
    assert_echo(&mut server.connect(), b"before");
    server.type_in("hello\nquit\n");
    assert_eq!(server.exit_code(), Some(0));
}

/// What is behind a long line must not lie read where select cannot see it.
#[test]
fn select_reads_its_keyboard_without_a_buffer_beside() {
    let mut server = spawn("select").arg("--stdin").start();
    let line = "x".repeat(6000) + "\nquit\n";
    let keyboard = server.type_on(&line);
    assert_eq!(server.exit_code(), Some(0));
    drop(keyboard);
}

#[test]
fn the_limit_on_descriptors_is_raised_unless_told_otherwise() {
    for model in MODELS {
        let soft = |server: &Server| {
            let text = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).unwrap();
            let line = text.lines().find(|line| line.starts_with("Max open files"));
            line.unwrap().split_whitespace().nth(3).map(str::to_owned)
        };
        let raised = spawn(model.name).soft_nofile(256).start();
        assert_eq!(soft(&raised).as_deref(), Some("8192"), "{}", model.name);
        let told = spawn(model.name).arg("--nofile").arg(512).start();
        assert_eq!(soft(&told).as_deref(), Some("512"), "{}", model.name);
    }
    let refused = run("epoll", &["--nofile", "99999999999"]);
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr);
    assert!(text.contains("the hard limit is"), "{text}");
}

#[test]
fn select_outlives_its_keyboard() {
    let mut server = spawn("select").arg("--stdin").start();
    server.type_in("no more to say\n");
    let before = server.cpu_ticks();
    thread::sleep(Duration::from_millis(300));
    assert!(
        server.cpu_ticks() - before < 15,
        "a closed keyboard must not be watched"
    );
    server.assert_well();
}

/// What cannot be watched is shed, and says why.
#[test]
fn a_connection_that_cannot_be_watched_is_shed_for_its_cause() {
    let Some(strace) = tool("strace") else { return };
    for model in ["epoll", "epoll-et", "epoll-oneshot", "reuseport", "tokio"] {
        let rule = "inject=epoll_ctl:error=ENOSPC:when=4..5";
        let words = [strace, "-f", "-qq", "-o", "/dev/null", "-e", rule];
        let mut spawn = spawn(model).under(&words);
        if ["epoll-oneshot", "reuseport"].contains(&model) {
            spawn = spawn.arg("--workers").arg(1);
        }
        let mut server = spawn.start();
        let mut clients: Vec<TcpStream> = (0..8).map(|_| server.connect()).collect();
        let served = clients.iter_mut().map(is_served).filter(|&served| served);
        assert!(served.count() >= 5, "{model}");
        let tally = server.tally();
        assert!(tally.shed > 0, "{model}: {tally:?}");
        assert_eq!(tally.main_shortage(), Some(Shortage::Enospc), "{model}");
        drop(clients);
        server.assert_well();
    }
}

#[test]
fn ended_children_are_reaped() {
    let mut server = spawn("process").start();
    for _ in 0..5000 {
        assert_echo(&mut server.connect(), b"short");
    }
    server.assert_well();
    let alone = || server.family().len() == 1;
    wait_until(alone, || format!("{:?} are left", server.family()));
}

#[test]
fn children_die_with_their_parent() {
    let server = spawn("process").start();
    let mut clients: Vec<TcpStream> = (0..5).map(|_| server.connect()).collect();
    clients
        .iter_mut()
        .for_each(|client| assert_echo(client, b"a child each"));
    server.signal(Signal::SIGKILL);
    clients.iter_mut().for_each(assert_closed);
}

#[test]
fn killed_workers_are_replaced() {
    for model in [
        "prefork",
        "prefork:accept=mutex",
        "prefork:accept=pass-fd",
        "reuseport",
    ] {
        let mut server = spawn(model).arg("--workers").arg(2).start();
        server.assert_well();
        for victim in server.family().into_iter().skip(1) {
            kill(Pid::from_raw(victim.parse().unwrap()), Signal::SIGKILL).unwrap();
            let replaced = || server.family().len() > 2 && !server.family().contains(&victim);
            wait_until(replaced, || format!("{victim} in {:?}", server.family()));
        }
        (0..5).for_each(|_| server.assert_well());
        assert!(
            server.said().contains("was killed by SIGKILL"),
            "{}",
            server.said()
        );
    }
}

#[test]
fn workers_have_a_slot_each() {
    for model in [
        "prefork",
        "thread-pool",
        "epoll-oneshot",
        "reuseport",
        "tokio-multi",
    ] {
        let mut server = spawn(model).arg("--workers").arg(3).start();
        assert_eq!(server.ledger.workers().len(), 3, "{model}");
        (0..30).for_each(|_| server.assert_well());
        assert_eq!(server.tally().accepted, 30);
    }
}

#[test]
fn ballast_is_touched() {
    let server = spawn("process").arg("--ballast").arg("32MiB").start();
    assert!(server.memory() >= 32 << 20, "{} bytes", server.memory());
}

#[test]
fn io_uring_denied_is_said() {
    let Some(strace) = tool("strace") else { return };
    let words = [
        strace,
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "inject=io_uring_setup:error=EPERM",
    ];
    let said = spawn("io-uring").under(&words).try_start().err().unwrap();
    assert!(
        said.contains("io_uring is not available here") && said.contains("io_uring_disabled"),
        "{said}"
    );
    let mut command = std::process::Command::new(strace);
    let status = command
        .args(&words[1..])
        .arg(binary("io-uring"))
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(4));
}
