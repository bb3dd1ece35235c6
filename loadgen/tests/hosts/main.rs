//! Loads from other hosts, which are network namespaces here: over ssh and Slurm, with everything that can be lost.
//! Root, and Debian's iproute2, openssh-server, slurm-wlm and munge; without them it says so and does nothing.

mod cluster;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cluster::{Cluster, missing, wait};
use loadgen::tally::outcome::{HOST_LOST, HostFigures, Outcome, Verdict};
use nix::sys::signal::{Signal, kill};
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
    /// When each connection's second message came: the first is the ramp's.
    second_message: Mutex<Vec<Instant>>,
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

fn echo(mut stream: std::net::TcpStream, counts: &Counts, stop: &AtomicBool) {
    stream.set_nonblocking(false).expect("blocking");
    stream.set_nodelay(true).expect("nodelay");
    stream
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a time-out");
    let (mut buffer, mut bytes) = ([0; 4096], 0);
    while !stop.load(SeqCst) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                if bytes == 64 {
                    counts
                        .second_message
                        .lock()
                        .expect("unpoisoned")
                        .push(Instant::now());
                }
                bytes += length as u64;
                counts.bytes_in.fetch_add(length as u64, SeqCst);
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => return,
        }
    }
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
    through_slurm(&cluster, &echo);
}

/// 30 connections, each due every 20 ms, 50 times in the window, wherever it begins.
const EXACT: [&str; 3] = ["--conns=30", "--rate=1500", "--duration=1s"];

fn counts_are_those_of_one(cluster: &Cluster, echo: &Echo, ssh: &str) {
    let alone = load(cluster, echo, "env", &EXACT);
    let words: Vec<String> = alone
        .get_args()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let words = words.iter().enumerate().filter(|(at, word)| {
        let is_of_hosts =
            |word: &str| word == "--load-hosts" || word == "--via" || word.starts_with("--agent");
        let is_value = *at > 0 && ["--load-hosts", "--via"].contains(&words[at - 1].as_str());
        !is_of_hosts(word) && !is_value
    });
    let mut one = Command::new("nsenter");
    one.args(words.map(|(_, word)| word));
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
    let version = r#"echo '{"hello":{"protocol":1,"version":"0.0.1","name":"x","place":"x","kernel":"x","programs":{},"cpus":1,"limits":{"connections_per_process":9},"servers":false}}'; cat >/dev/null"#;
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
    let skew_ns = HostFigures::start_skew_ns(&outcome.hosts).expect("all told");
    let seen = echo.counts.second_message.lock().expect("unpoisoned");
    let seen_apart = *seen.iter().max().expect("64") - *seen.iter().min().expect("64");
    println!(
        "64 agents report a skew of at most {skew_ns} ns; the server saw their first requests {seen_apart:?} apart"
    );
    assert_eq!(seen.len(), 64);
    // What lies between a worker's start and its message at the server's thread is this machine's two CPUs.
    assert!(
        seen_apart < Duration::from_nanos(skew_ns) + Duration::from_millis(500),
        "{seen_apart:?}"
    );
    drop(seen);
    cluster.assert_empty("64 agents");
}
