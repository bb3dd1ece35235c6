//! A load from several hosts, which here are agents on this one: counts, losses, refusals, and agents that are none.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::{Behaviour, Counts, Fixture, Guard, loadgen, outcome_of, run};
use loadgen::tally::outcome::{HOST_LOST, Outcome, Verdict};

const LOADGEN: &str = env!("CARGO_BIN_EXE_loadgen");

/// The flags that make three agents of this program the hosts.
fn three_hosts(agent: &str) -> Vec<String> {
    let flags = [
        "--load-hosts=a,b,c",
        "--via=env",
        &format!("--agent={agent}"),
    ];
    flags.map(String::from).to_vec()
}

fn from_hosts(fixture: &Fixture, agent: &str, args: &[&str]) -> Command {
    let mut command = loadgen(fixture.address, &split(args));
    command.args(three_hosts(agent));
    command
}

/// `--flag=value` as two words, as the defaults are looked for.
fn split<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().flat_map(|word| word.split('=')).collect()
}

fn own_agent() -> String {
    format!("{LOADGEN} agent")
}

/// The agents of a head, which `env` has become.
fn agents_of(head: u32) -> Vec<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{head}/task/{head}/children"));
    let children = children.expect("a kernel with CONFIG_PROC_CHILDREN");
    children
        .split_whitespace()
        .map(|pid| Pid::from_raw(pid.parse().expect("a pid")))
        .collect()
}

/// A run from three hosts, in the middle of its load.
fn under_load(fixture: &Fixture, args: &[&str]) -> Guard {
    let mut command = from_hosts(
        fixture,
        &own_agent(),
        &[&["--conns", "9", "--duration", "60s"], args].concat(),
    );
    let child = Guard(
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts"),
    );
    while Counts::get(&fixture.counts.messages) < 2000 {
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

fn said(child: &mut Guard) -> String {
    std::io::read_to_string(child.0.stderr.take().expect("piped")).expect("read")
}

#[test]
fn several_hosts_count_what_one_counts() {
    // Each connection is due every 20 ms, and the window has 30 of them, wherever it begins.
    let load = ["--conns=6", "--rate=300", "--duration=600ms", "--idle=3"];
    let (alone, fixture) = (
        Fixture::start(Behaviour::Echo),
        Fixture::start(Behaviour::Echo),
    );
    let one = run(&alone, &split(&load));
    let (three, output) = outcome_of(&mut from_hosts(&fixture, &own_agent(), &load));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(three.requests.offered, 180);
    let counters = |outcome: &Outcome| {
        let (c, r) = (outcome.connections.clone(), outcome.requests.clone());
        (
            c.requested,
            c.served_at_barrier,
            c.established,
            r.offered,
            r.sent,
            r.completed,
        )
    };
    assert_eq!(counters(&three), counters(&one));
    assert_eq!(three.latency_ns.response.count, 180, "histograms are added");
    assert_eq!(
        three.whole_run.bytes_sent,
        Counts::get(&fixture.counts.bytes_in)
    );
    assert_eq!(three.load.segment, one.load.segment);
    let names: Vec<&str> = three.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(
        three
            .hosts
            .iter()
            .map(|host| host.requests_completed)
            .sum::<u64>(),
        180
    );
    for host in &three.hosts {
        assert!(
            host.round_trip_ns.is_some() && host.started_late_ns.is_some(),
            "{host:?}"
        );
        let apart_ns = host.clock_ahead_before_ns.expect("asked").unsigned_abs();
        assert!(
            apart_ns <= host.round_trip_ns.expect("asked").max(50_000_000),
            "one clock: {host:?}"
        );
    }
    assert!(!three.degraded && three.complete);
}

#[test]
fn a_killed_agent_ends_the_run_and_leaves_nobody() {
    let fixture = Fixture::start(Behaviour::Echo);
    let mut child = under_load(&fixture, &[]);
    let start = Instant::now();
    kill(agents_of(child.0.id())[1], Signal::SIGKILL).expect("delivered");
    // The pipe ends only when no process of the run holds it any more.
    let outcome: Outcome = serde_json::from_str(&child.printed()).expect("an outcome");
    assert_eq!(child.code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(30));
    assert!(
        !outcome.complete && outcome.verdict == Verdict::Invalid,
        "{:?}",
        outcome.reasons
    );
    assert_eq!(outcome.connections.local_failures[HOST_LOST], 3);
    assert!(outcome.whole_run.completed > 0 && outcome.connections.served_at_barrier == 6);
    assert!(outcome.hosts[1].lost.is_some() && outcome.hosts[0].lost.is_none());
    let said = said(&mut child);
    assert!(
        said.contains("b is lost: its connection ended (signal: 9 (SIGKILL))"),
        "{said}"
    );
}

#[test]
fn a_loss_that_is_tolerated_is_said_and_the_rest_goes_on() {
    let fixture = Fixture::start(Behaviour::Echo);
    let mut command = from_hosts(
        &fixture,
        &own_agent(),
        &["--conns=9", "--duration=1500ms", "--tolerate-loss=1"],
    );
    let mut child = Guard(command.stdout(Stdio::piped()).spawn().expect("starts"));
    while Counts::get(&fixture.counts.messages) < 2000 {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(agents_of(child.0.id())[2], Signal::SIGKILL).expect("delivered");
    let outcome: Outcome = serde_json::from_str(&child.printed()).expect("an outcome");
    assert_eq!(child.code(), Some(0));
    assert!(outcome.degraded && outcome.complete);
    assert!(
        outcome.reasons.iter().any(|reason| reason.code == "W11"),
        "{:?}",
        outcome.reasons
    );
    assert!(
        outcome.window_s > 1.4,
        "the others came to the end: {}",
        outcome.window_s
    );
}

/// A script that is an agent but for the first to start, which does something else.
fn one_other(folder: &Path, other: &str) -> String {
    let script = folder.join("agent.sh");
    let lock = folder.join("lock");
    let text = format!(
        "if mkdir {} 2>/dev/null; then\n{other}\nelse exec {LOADGEN} agent; fi\n",
        lock.display()
    );
    std::fs::write(&script, text).expect("written");
    format!("sh {}", script.display())
}

/// What a run with such an agent says and its exit code, and how many connections the server saw.
fn refused(other: &str, args: &[&str]) -> (Option<i32>, String, u64) {
    let (fixture, folder) = (
        Fixture::start(Behaviour::Echo),
        tempfile::tempdir().expect("a folder"),
    );
    let agent = one_other(folder.path(), other);
    let args = [&["--conns=9", "--duration=60s"], args].concat();
    let output = from_hosts(&fixture, &agent, &args)
        .output()
        .expect("starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (
        output.status.code(),
        said,
        Counts::get(&fixture.counts.accepted),
    )
}

/// What an agent says that has nothing else to say.
const ALIVE: &str = r#"while sleep 0.2; do echo '"alive"'; done"#;

fn hello(version: &str) -> String {
    let digest = loadgen::fleet::agent::digest_of(Path::new(LOADGEN)).expect("read");
    format!(
        r#"{{"hello":{{"protocol":2,"version":"{version}","name":"x","place":"x","machine":{{"kernel":"x","cpu_model":null,"cpus":1,"memory_kib":null,"boot_id":null}},"programs":{{"loadgen":"{digest}"}},"cpus":1,"limits":{{"connections_per_process":99}},"servers":false}}}}"#
    )
}

#[test]
fn nothing_is_sent_where_a_host_is_not_fit() {
    let version = env!("CARGO_PKG_VERSION");
    let policy: PathBuf = tempfile::tempdir()
        .expect("a folder")
        .keep()
        .join("agent.toml");
    std::fs::write(&policy, "connections = 2\n").expect("written");
    let cases = [
        (
            "echo 'Welcome to host 7'; cat >/dev/null".to_owned(),
            "no agent (a log-in that prints something?)",
        ),
        (
            "echo 'no such program' >&2; exit 127".to_owned(),
            "exit status: 127): no such program",
        ),
        (
            format!("echo '{}'; {ALIVE}", hello("0.0.1")),
            "it has version 0.0.1",
        ),
        (
            format!("echo '{}'; {ALIVE}", hello(version).replace(":99}", ":2}")),
            "descriptors for 0 connections",
        ),
        (
            format!("exec {LOADGEN} agent --policy {}", policy.display()),
            "permits 2 connections, and its share is 3",
        ),
        (
            "head -c 100000 /dev/zero; cat >/dev/null".to_owned(),
            "a line of more than",
        ),
    ];
    for (other, why) in cases {
        let args: &[&str] = if why.contains("descriptors") {
            &["--processes=1"]
        } else {
            &[]
        };
        let why = if args.is_empty() {
            why
        } else {
            "descriptors for 2 connections in 1 process"
        };
        let (code, said, accepted) = refused(&other, args);
        assert!(
            said.contains(why) && said.contains("nothing was sent"),
            "{why}: {said}"
        );
        assert_eq!((code, accepted), (Some(3), 0), "{said}");
    }
    std::fs::remove_dir_all(policy.parent().expect("a folder")).expect("removed");
}

#[test]
fn a_report_that_is_none_of_ours_costs_its_own_figures_only() {
    // Goes through the phases as an agent does, and hands in a histogram whose 40 bytes ask for a gigabyte.
    let script = format!(
        r#"echo '{}'
set -- ramp warmup window drain done
while read -r line; do case $line in
  *alive*) echo '"alive"';;
  *clock*) number=${{line##*:}}; echo "{{\"clock\":{{\"number\":${{number%%\}}*}},\"monotonic_ns\":1,\"unix_ns\":1}}}}";;
  *load*) echo '{{"phase":{{"name":"ramp"}}}}';;
  *go*) shift; if [ $# = 0 ]; then cat "$0.outcome"; else echo "{{\"phase\":{{\"name\":\"$1\"}}}}"; fi;;
esac; done"#,
        hello(env!("CARGO_PKG_VERSION"))
    );
    let (fixture, folder) = (
        Fixture::start(Behaviour::Echo),
        tempfile::tempdir().expect("a folder"),
    );
    let agent = one_other(folder.path(), &script);
    let load = ["--conns=9", "--duration=100ms", "--processes=1"];
    // Of the share that it is given, whichever that is, none is right but one of three; all are hostile.
    let mut outcome = run(
        &Fixture::start(Behaviour::Echo),
        &["--conns", "9", "--segment", "0/3"],
    );
    let hostile = "HISTFAAAAEAAAAAAAAAABQAAAAAAAAAB//////////8AAAAAAAAAAA==";
    outcome.histograms.insert("response".into(), hostile.into());
    let text = serde_json::to_string(&outcome).expect("serialises");
    let said = serde_json::json!({"outcome": {"text": text, "how": "well", "broken_law": null}});
    std::fs::write(
        folder.path().join("agent.sh.outcome"),
        loadgen::fleet::wire::lines_of(&said),
    )
    .expect("written");
    let (outcome, output) = outcome_of(&mut from_hosts(&fixture, &agent, &load));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("is lost: its report: "), "{stderr}");
    assert_eq!(outcome.verdict, Verdict::Invalid);
    assert_eq!(outcome.connections.local_failures[HOST_LOST], 3);
    assert_eq!(outcome.connections.served_at_barrier, 6);
    assert!(outcome.generator.max_rss_kib > 0);
}

#[test]
fn an_agent_ends_with_its_head_and_does_nothing_out_of_turn() {
    let talk = |said: &[u8]| {
        let mut agent = Command::new(LOADGEN);
        agent
            .arg("agent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut agent = agent.spawn().expect("starts");
        std::io::Write::write_all(&mut agent.stdin.take().expect("piped"), said).expect("written");
        let output = agent.wait_with_output().expect("ended");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    assert_eq!(talk(b"").0, Some(0));
    for said in [
        &b"\"stop\"\n"[..],
        b"{\"shell\":\"true\"}\n",
        &[0; 40_000],
        b"{\"piece\":{\"number\":7,\"of\":9,\"text\":\"\"}}\n",
    ] {
        let (code, answer) = talk(said);
        assert_eq!(code, Some(3), "{answer}");
        assert!(answer.contains("refused"), "{answer}");
    }
}
