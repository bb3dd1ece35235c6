//! Loads from other hosts, which are network namespaces here: over ssh and Slurm, with everything that can be lost.
//! Root, and Debian's iproute2, openssh-server, slurm-wlm and munge; without them it says so and does nothing.

mod cluster;

use std::io::{IoSliceMut, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster::{Cluster, missing, wait};
use loadgen::tally::outcome::{HOST_LOST, HostFigures, Outcome, Verdict};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::unistd::Pid;

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// An echo server in the target host, with counts of its own.
struct Echo {
    address: SocketAddr,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    bytes_in: AtomicU64,
    /// When each connection's second message came, by the kernel's stamp (CLOCK_REALTIME): the first is the ramp's.
    second_message: Mutex<Vec<Duration>>,
}

impl Echo {
    fn start(cluster: &Cluster) -> Self {
        let (counts, stop) = (
            Arc::new(Counts::default()),
            Arc::new(AtomicBool::new(false)),
        );
        let namespace = format!("/run/netns/{}", cluster.namespace("hT"));
        let ip = cluster.address("hT");
        let (sender, receiver) = std::sync::mpsc::channel();
        let (theirs, their_stop) = (counts.clone(), stop.clone());
        std::thread::spawn(move || {
            let namespace = std::fs::File::open(namespace).expect("a namespace");
            nix::sched::setns(namespace.as_fd(), nix::sched::CloneFlags::CLONE_NEWNET)
                .expect("entered");
            let listener = TcpListener::bind((ip.as_str(), 0)).expect("a port");
            listener.set_nonblocking(true).expect("nonblocking");
            sender
                .send(listener.local_addr().expect("bound"))
                .expect("heard");
            while !their_stop.load(SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        theirs.accepted.fetch_add(1, SeqCst);
                        let (counts, stop) = (theirs.clone(), their_stop.clone());
                        std::thread::spawn(move || echo(stream, &counts, &stop));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(2)),
                }
            }
        });
        Self {
            address: receiver.recv().expect("bound"),
            counts,
            stop,
        }
    }

    fn bytes_in(&self) -> u64 {
        self.counts.bytes_in.load(SeqCst)
    }

    fn accepted(&self) -> u64 {
        self.counts.accepted.load(SeqCst)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

fn echo(mut stream: TcpStream, counts: &Counts, stop: &AtomicBool) {
    stream.set_nonblocking(false).expect("blocking");
    stream.set_nodelay(true).expect("nodelay");
    setsockopt(&stream, sockopt::ReceiveTimestampns, &true).expect("stamps");
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a time-out");
    let (mut buffer, mut bytes) = ([0; 4096], 0);
    while !stop.load(SeqCst) {
        match receive(&stream, &mut buffer) {
            Ok((0, _)) => return,
            Ok((length, came)) => {
                if bytes == 64 {
                    let mut seen = counts.second_message.lock().expect("unpoisoned");
                    seen.push(came.expect("a stamp"));
                }
                bytes += length as u64;
                counts.bytes_in.fetch_add(length as u64, SeqCst);
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// Bytes, and when they came, whenever this thread comes to reading them.
fn receive(stream: &TcpStream, buffer: &mut [u8]) -> nix::Result<(usize, Option<Duration>)> {
    let mut stamps = nix::cmsg_space!(nix::sys::time::TimeSpec);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::empty();
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut stamps), flags)?;
    let came = message.cmsgs()?.find_map(|stamp| match stamp {
        ControlMessageOwned::ScmTimestampns(at) => Some(Duration::from(at)),
        _ => None,
    });
    Ok((message.bytes, came))
}

/// A load on the echo server, from the head.
fn load(cluster: &Cluster, echo: &Echo, via: &str, args: &[&str]) -> Command {
    let mut command = cluster.inside("h0", LOADGEN);
    let target = echo.address.to_string();
    let network = format!("{}/32", echo.address.ip());
    command.args([
        "--target",
        &target,
        "--allow-target",
        &network,
        "--format=json",
        "--seed=7",
        "--poll=sleep",
    ]);
    command.args(["--threads=1", "--warmup=100ms", "--via", via]);
    if !args.iter().any(|arg| arg.starts_with("--load-hosts")) {
        command.args(["--load-hosts", &cluster.list()]);
    }
    if !args.iter().any(|arg| arg.starts_with("--agent")) {
        command.arg(format!("--agent={LOADGEN} agent"));
    }
    command.args(args).stdin(Stdio::null());
    command
}

fn outcome_of(output: &Output) -> Outcome {
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A run that lasts until something happens to it.
struct Running {
    child: Option<Child>,
    began: Instant,
}

impl Running {
    fn start(mut command: Command, echo: &Echo) -> Self {
        let before = echo.bytes_in();
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let mut running = Self {
            child: Some(child),
            began: Instant::now(),
        };
        let is_gone = |child: &mut Option<Child>| {
            child
                .as_mut()
                .is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
        };
        wait("the load", Duration::from_secs(60), || {
            echo.bytes_in() > before + 200_000 || is_gone(&mut running.child)
        });
        running.began = Instant::now();
        running
    }

    /// Its end, and how long after the event it came.
    fn end(mut self) -> (Output, Duration) {
        let child = self.child.take().expect("runs");
        let output = child.wait_with_output().expect("ended");
        (output, self.began.elapsed())
    }
}

/// Processes of a name in a host, the first to be started first.
fn pids(cluster: &Cluster, host: &str, name: &str) -> Vec<Pid> {
    let processes = cluster.processes(host).into_iter();
    let named = processes.filter(|(_, theirs)| theirs == name);
    let mut pids: Vec<i32> = named.map(|(pid, _)| pid).collect();
    pids.sort_unstable();
    pids.into_iter().map(Pid::from_raw).collect()
}

/// The agent among the processes of a host: the one whose children are the others.
fn agent(cluster: &Cluster, host: &str) -> Pid {
    let all = pids(cluster, host, "loadgen");
    let is_agent = |pid: &&Pid| {
        let words = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split('\0').any(|word| word == "agent") && !words.contains("--guard")
    };
    *all.iter().find(is_agent).expect("an agent")
}

const FOR_EVER: [&str; 2] = ["--conns=30", "--duration=60s"];

/// What has to be true of a run that lost `host`, and of all hosts afterwards.
fn assert_lost(cluster: &Cluster, running: Running, host: &str, why: &str) {
    let (output, took) = running.end();
    let (outcome, said) = (outcome_of(&output), said(&output));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("{host} is lost: ")) && said.contains(why),
        "{said}"
    );
    assert_eq!(outcome.verdict, Verdict::Invalid, "{:?}", outcome.reasons);
    assert!(
        outcome.connections.local_failures.contains_key(HOST_LOST),
        "{:?}",
        outcome.connections
    );
    assert!(outcome.whole_run.completed > 0, "partial figures are kept");
    // Three seconds, and a busy machine.
    assert!(took < Duration::from_secs(8), "{took:?}");
    println!("{host} {why}: ended after {took:?}");
    cluster.assert_empty(why);
}

fn counters(outcome: &Outcome) -> [u64; 8] {
    let (c, r) = (&outcome.connections, &outcome.requests);
    [
        c.requested,
        c.served_at_barrier,
        c.established,
        c.closed_by_us,
        r.offered,
        r.sent,
        r.completed,
        r.dropped,
    ]
}

#[test]
#[ignore = "makes network namespaces and takes half a minute; .ci/run runs it"]
fn loads_from_namespaces() {
    if let Some(why) = missing(&["ip", "ss", "sshd", "ssh", "nsenter", "prlimit"]) {
        println!("skipped: {why}");
        return;
    }
    let cluster = Cluster::up(3);
    let ssh = cluster.with_ssh();
    let echo = Echo::start(&cluster);
    counts_are_those_of_one(&cluster, &echo, &ssh);
    nothing_is_sent_where_a_host_is_not_fit(&cluster, &echo, &ssh);
    losses_end_the_run(&cluster, &echo, &ssh);
    a_hostile_report_is_a_loss(&cluster, &echo, &ssh);
    through_slurm(&cluster, &echo);
}

/// 30 connections, each due every 20 ms, 50 times in the window, wherever it begins.
const EXACT: [&str; 3] = ["--conns=30", "--rate=1500", "--duration=1s"];

/// The same load from the head alone.
fn without_hosts(of_hosts: &Command) -> Command {
    let words: Vec<_> = of_hosts
        .get_args()
        .map(|word| word.to_string_lossy())
        .collect();
    let mut one = Command::new(of_hosts.get_program());
    for (at, word) in words.iter().enumerate() {
        let is_of_hosts =
            |word: &str| ["--load-hosts", "--via"].contains(&word) || word.starts_with("--agent");
        let is_value = at > 0 && ["--load-hosts", "--via"].contains(&&*words[at - 1]);
        if !is_of_hosts(word) && !is_value {
            one.arg(&**word);
        }
    }
    one.stdin(Stdio::null());
    one
}

fn counts_are_those_of_one(cluster: &Cluster, echo: &Echo, ssh: &str) {
    let mut one = without_hosts(&load(cluster, echo, "env", &EXACT));
    let one = outcome_of(&one.output().expect("starts"));
    for via in [
        ssh.to_owned(),
        format!("ip netns exec {}", cluster.namespace("{host}")),
    ] {
        let before = echo.bytes_in();
        let output = load(cluster, echo, &via, &EXACT).output().expect("starts");
        let three = outcome_of(&output);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        assert_eq!(counters(&three), counters(&one), "over {via}");
        assert_eq!(three.requests.offered, 1500);
        assert_eq!(
            three.latency_ns.response.count, 1500,
            "histograms are added"
        );
        assert_eq!(
            echo.bytes_in() - before,
            three.whole_run.bytes_sent,
            "to the byte"
        );
        assert_eq!(three.hosts.len(), 3);
        println!(
            "over {via}: skew at most {:?} ns",
            HostFigures::start_skew_ns(&three.hosts)
        );
        cluster.assert_empty("a run");
    }
}

fn nothing_is_sent_where_a_host_is_not_fit(cluster: &Cluster, echo: &Echo, ssh: &str) {
    let script = cluster.path("agent.sh");
    let second = cluster.address("h2");
    let other = |words: &str| {
        let text = format!(
            "case $(ip -4 -o addr show dev eth0) in *' {second}/'*) {words};; *) exec {LOADGEN} agent;; esac\n"
        );
        std::fs::write(&script, text).expect("written");
        format!("--agent=sh {}", script.display())
    };
    let policy = cluster.path("agent.toml");
    std::fs::write(&policy, "targets = ['192.0.2.0/24']\n").expect("written");
    let version = r#"echo '{"hello":{"protocol":2,"version":"0.0.1","name":"x","place":"x","machine":{"kernel":"x","cpu_model":null,"cpus":1,"memory_kib":null,"boot_id":null},"programs":{},"cpus":1,"limits":{"connections_per_process":9},"servers":false}}'; cat >/dev/null"#;
    let cases = [
        (other(version), "h2: it has version 0.0.1"),
        (
            other(&format!(
                "exec {LOADGEN} agent --policy {}",
                policy.display()
            )),
            "h2: it refuses: its policy permits targets in 192.0.2.0/24 only",
        ),
        (
            other(&format!("exec prlimit --nofile=256:256 {LOADGEN} agent")),
            "h2 has descriptors for",
        ),
        (other("exec no-such-program"), "h2: its connection ended"),
    ];
    for (number, (_, why)) in cases.iter().enumerate() {
        // Each case writes the script anew.
        let agent = match number {
            0 => other(version),
            1 => other(&format!(
                "exec {LOADGEN} agent --policy {}",
                policy.display()
            )),
            2 => other(&format!("exec prlimit --nofile=256:256 {LOADGEN} agent")),
            _ => other("exec no-such-program"),
        };
        let before = echo.accepted();
        let output = load(
            cluster,
            echo,
            ssh,
            &["--conns=3000", "--processes=1", &agent],
        )
        .output()
        .expect("starts");
        let said = said(&output);
        assert!(
            said.contains(why) && said.contains("nothing was sent"),
            "{said}"
        );
        assert_eq!(
            (output.status.code(), echo.accepted()),
            (Some(3), before),
            "{said}"
        );
        cluster.assert_empty(why);
        println!("{said}");
    }
    let same = format!("{},h1", cluster.address("h1"));
    let config = std::fs::read_to_string(cluster.path("ssh_config")).expect("read");
    assert!(config.contains(&cluster.address("h1")));
    let output = load(
        cluster,
        echo,
        ssh,
        &["--conns=30", &format!("--load-hosts={same}")],
    )
    .output()
    .expect("starts");
    assert!(
        said(&output).contains("are the same host"),
        "{}",
        said(&output)
    );
    assert_eq!(output.status.code(), Some(3));
    let output = load(
        cluster,
        echo,
        ssh,
        &["--conns=30", "--load-hosts=h1,nowhere"],
    )
    .output()
    .expect("starts");
    assert!(said(&output).contains("nowhere: "), "{}", said(&output));
    assert_eq!(output.status.code(), Some(3));
    cluster.assert_empty("a duplicate");
}

fn losses_end_the_run(cluster: &Cluster, echo: &Echo, ssh: &str) {
    let running = Running::start(load(cluster, echo, ssh, &FOR_EVER), echo);
    kill(agent(cluster, "h2"), Signal::SIGKILL).expect("delivered");
    assert_lost(cluster, running, "h2", "its connection ended");

    let running = Running::start(load(cluster, echo, ssh, &FOR_EVER), echo);
    kill(agent(cluster, "h3"), Signal::SIGSTOP).expect("delivered");
    assert_lost(cluster, running, "h3", "it was not heard for 2");

    let running = Running::start(load(cluster, echo, ssh, &FOR_EVER), echo);
    let bridge = cluster.namespace("br");
    let link = |to: &str| {
        let words = ["-n", &bridge, "link", "set", "h1", to];
        assert!(
            Command::new("ip")
                .args(words)
                .status()
                .expect("starts")
                .success()
        );
    };
    link("down");
    assert_lost(cluster, running, "h1", "the network between is down");
    link("up");

    let mut running = Running::start(load(cluster, echo, ssh, &FOR_EVER), echo);
    let head = running.child.as_mut().expect("runs");
    head.kill().expect("killed");
    head.wait().expect("ended");
    cluster.assert_empty("the head's end");

    let tolerant = ["--conns=30", "--duration=4s", "--tolerate-loss=1"];
    let running = Running::start(load(cluster, echo, ssh, &tolerant), echo);
    kill(agent(cluster, "h2"), Signal::SIGKILL).expect("delivered");
    let (output, _) = running.end();
    let outcome = outcome_of(&output);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        outcome.degraded && outcome.complete && outcome.verdict >= Verdict::Suspect,
        "{:?}",
        outcome.reasons
    );
    cluster.assert_empty("a tolerated loss");
}

/// A histogram whose 40 bytes ask for a gigabyte, in an outcome that is right otherwise.
const HOSTILE: &str = "HISTFAAAAEAAAAAAAAAABQAAAAAAAAAB//////////8AAAAAAAAAAA==";

fn a_hostile_report_is_a_loss(cluster: &Cluster, echo: &Echo, ssh: &str) {
    let share = load(
        cluster,
        echo,
        ssh,
        &[&EXACT[..], &["--segment=1/3"]].concat(),
    );
    let share = without_hosts(&share).output().expect("starts");
    let mut outcome = outcome_of(&share);
    outcome.histograms.insert("response".into(), HOSTILE.into());
    let text = serde_json::to_string(&outcome).expect("serialises");
    let report = serde_json::json!({"outcome": {"text": text, "how": "well", "broken_law": null}});
    let report = loadgen::fleet::wire::lines_of(&report);
    std::fs::write(cluster.path("report"), report).expect("written");
    // Everything that the agent says goes through, but for its outcome.
    let (script, second) = (cluster.path("agent.sh"), cluster.address("h2"));
    let words = format!(
        r#"case $(ip -4 -o addr show dev eth0) in
*' {second}/'*) {LOADGEN} agent | while read -r line; do case $line in
  *'"piece"'*|*'"outcome"'*) cat {}; cat >/dev/null;;
  *) printf '%s\n' "$line";;
esac; done;;
*) exec {LOADGEN} agent;;
esac
"#,
        cluster.path("report").display()
    );
    std::fs::write(&script, words).expect("written");
    let before = echo.bytes_in();
    let agent = format!("--agent=sh {}", script.display());
    let output = load(cluster, echo, ssh, &[&EXACT[..], &[&agent]].concat())
        .output()
        .expect("starts");
    let (outcome, said) = (outcome_of(&output), said(&output));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("h2 is lost: its report: segment 1/3, response: histogram "),
        "{said}"
    );
    assert_eq!(outcome.verdict, Verdict::Invalid, "{:?}", outcome.reasons);
    assert_eq!(outcome.connections.local_failures[HOST_LOST], 10);
    // The figures of the two others are kept, and those of the third, whose load the server saw, are not made up.
    assert_eq!(outcome.requests.completed, 1000);
    assert!(echo.bytes_in() - before > outcome.whole_run.bytes_sent);
    cluster.assert_empty("a hostile report");
    println!("{said}");
}

fn through_slurm(cluster: &Cluster, echo: &Echo) {
    if let Some(why) = missing(&["slurmctld", "slurmd", "srun", "munged", "setpriv"]) {
        println!("Slurm skipped: {why}");
        return;
    }
    let variables = cluster.with_slurm();
    // An allocation of all hosts, in which the head runs as it would under salloc.
    let inside = |args: &[&str]| {
        let mut salloc = cluster.inside("h0", "salloc");
        salloc.envs(variables.iter().cloned());
        salloc.args(["-N3", "-n3", "-Q", LOADGEN]);
        let target = echo.address.to_string();
        let network = format!("{}/32", echo.address.ip());
        salloc.args([
            "--target",
            &target,
            "--allow-target",
            &network,
            "--format=json",
            "--seed=7",
            "--threads=1",
        ]);
        salloc.args(["--load-hosts=slurm", "--warmup=100ms", "--poll=sleep"]);
        salloc
            .arg(format!("--agent={LOADGEN} agent"))
            .args(args)
            .stdin(Stdio::null());
        salloc
    };
    let before = echo.bytes_in();
    let output = inside(&EXACT).output().expect("starts");
    let three = outcome_of(&output);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!((three.requests.completed, three.hosts.len()), (1500, 3));
    assert_eq!(echo.bytes_in() - before, three.whole_run.bytes_sent);
    cluster.assert_empty("a run over srun");
    let running = Running::start(inside(&FOR_EVER), echo);
    kill(agent(cluster, "h2"), Signal::SIGKILL).expect("delivered");
    assert_lost(cluster, running, "h2", "its connection ended");
    println!("over srun: as over ssh");
}

#[test]
#[ignore = "makes 66 network namespaces; .ci/run runs it"]
fn many_agents_begin_within_the_skew_that_they_report() {
    if let Some(why) = missing(&["ip", "nsenter"]) {
        println!("skipped: {why}");
        return;
    }
    let cluster = Cluster::up(64);
    let echo = Echo::start(&cluster);
    let via = format!("ip netns exec {}", cluster.namespace("{host}"));
    let load = load(
        &cluster,
        &echo,
        &via,
        &["--conns=64", "--duration=1s", "--think=100ms"],
    )
    .output()
    .expect("starts");
    let outcome = outcome_of(&load);
    assert_eq!(load.status.code(), Some(0), "{}", said(&load));
    assert_eq!(outcome.hosts.len(), 64);
    let bound_ns = HostFigures::start_skew_ns(&outcome.hosts).expect("all told");
    let starts_ns = starts(&outcome.hosts);
    let apart_ns = starts_ns.iter().max().expect("64") - starts_ns.iter().min().expect("64");
    let seen = echo.counts.second_message.lock().expect("unpoisoned");
    let seen_apart = *seen.iter().max().expect("64") - *seen.iter().min().expect("64");
    println!(
        "64 agents bound their skew at {bound_ns} ns, their workers began {apart_ns} ns apart, and the first requests \
         reached the server {seen_apart:?} apart"
    );
    assert_eq!(seen.len(), 64);
    assert!(
        apart_ns <= i128::from(bound_ns) + 2 * STAMPING_NS,
        "{apart_ns} {bound_ns}"
    );
    // What lies between a worker's start and its message at the server is this machine's two CPUs.
    assert!(
        seen_apart < Duration::from_nanos(bound_ns) + Duration::from_millis(500),
        "{seen_apart:?}"
    );
    drop(seen);
    cluster.assert_empty("64 agents");
}

/// What may lie between an agent's reading of the one clock and of the other.
const STAMPING_NS: i128 = 1_000_000;

/// When the last worker of each host began, against the instant that was agreed. They all have this machine's clock:
/// what the head takes for its distance is the error of the instant that was agreed.
fn starts(hosts: &[HostFigures]) -> Vec<i128> {
    let start = |host: &HostFigures| {
        let error_ns = i128::from(host.clock_ahead_before_ns.expect("asked"));
        let most_ns = i128::from(host.round_trip_ns.expect("asked")) / 2;
        assert!(error_ns.abs() <= most_ns + STAMPING_NS, "{host:?}");
        error_ns + i128::from(host.started_late_ns.expect("began"))
    };
    hosts.iter().map(start).collect()
}
