//! Runs whose server and load are on other hosts, which are network namespaces here, reached over ssh. Root, and Debian's
//! iproute2 and openssh; without them it says so and does nothing.

#[path = "../../loadgen/tests/hosts/cluster.rs"]
#[expect(dead_code, reason = "the generator's own tests use the rest")]
mod cluster;
mod programs;

use cluster::{Cluster, missing, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use programs::built;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The server's host; the load's are h1 and h2.
const SERVER: &str = "h3";

/// 30 connections, each due every 20 ms, 50 times in the window, wherever it begins.
const EXACT: &str = "--conns 30 --rate 1500 --duration 1s --warmup 200ms --repeat 1";

/// A closed loop that lasts until something happens to it.
const FOR_EVER: &str = "--conns 30 --duration 60s --warmup 100ms --repeat 3";

/// Three hosts with tenk installed, and one to lead them.
struct Hosts {
    cluster: Cluster,
    ssh: String,
}

impl Hosts {
    fn up() -> Hosts {
        let cluster = Cluster::up(3);
        let ssh = cluster.with_ssh();
        let (programs, library) = (cluster.path("opt/bin"), cluster.path("opt/lib/tenk"));
        fs::create_dir_all(&programs).expect("made");
        fs::create_dir_all(&library).expect("made");
        let copy = |from: &Path, to: PathBuf| assert!(fs::copy(from, to).expect("copied") > 0);
        copy(Path::new(env!("CARGO_BIN_EXE_tenk")), programs.join("tenk"));
        for (package, name) in [
            ("loadgen", "loadgen"),
            ("servers", "epoll"),
            ("servers", "reuseport"),
        ] {
            copy(&built(package, ["--bin", name]), library.join(name));
        }
        Hosts { cluster, ssh }
    }

    fn tenk(&self) -> String {
        self.cluster.path("opt/bin/tenk").display().to_string()
    }

    fn server(&self, name: &str) -> String {
        let program = self.cluster.path("opt/lib/tenk").join(name);
        program.display().to_string()
    }

    /// A run that the head leads, with its results in a folder of its own.
    fn run(&self, name: &str, subject: &[&str], words: &str) -> Run {
        self.run_with(name, &format!("{} agent", self.tenk()), subject, words)
    }

    fn run_with(&self, name: &str, agent: &str, subject: &[&str], words: &str) -> Run {
        let results = self.cluster.path(name);
        let mut command = self.cluster.inside("h0", &self.tenk());
        command
            .args(subject)
            .args(words.split_whitespace())
            .args(["--server-host", SERVER, "--server-address"])
            .arg(self.cluster.address(SERVER))
            .args([
                "--load-hosts",
                "h1,h2",
                "--via",
                &self.ssh,
                "--agent",
                agent,
            ])
            .args(["--format", "json", "--seed", "7", "--results"])
            .arg(&results)
            .env("XDG_CACHE_HOME", self.cluster.path("cache"))
            .env_remove("CARGO")
            .stdin(Stdio::null());
        Run { command, results }
    }

    /// The agent on a host that runs a share or a server: the parent of what it started.
    fn agent(&self, host: &str) -> Pid {
        let of_agent = |(pid, _): &(i32, String)| {
            let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let words = String::from_utf8_lossy(&words).into_owned();
            let words: Vec<&str> = words.trim_end_matches('\0').split('\0').collect();
            words.len() == 2 && words[0] == self.tenk() && words[1] == "agent"
        };
        let processes = self.cluster.processes(host);
        let (pid, _) = processes
            .iter()
            .find(|process| of_agent(process))
            .expect("an agent");
        Pid::from_raw(*pid)
    }

    /// Frames that a host has sent.
    fn sent(&self, host: &str) -> u64 {
        let mut read = self.cluster.inside(host, "cat");
        let output = read.arg("/proc/net/dev").output().expect("cat starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("eth0:"));
        let figures = line.expect("eth0").split_whitespace();
        figures
            .clone()
            .nth(9)
            .expect("frames")
            .parse()
            .expect("a count")
    }
}

struct Run {
    command: Command,
    results: PathBuf,
}

/// What a run ended with.
struct Ended {
    code: Option<i32>,
    run: Value,
    said: String,
    folder: PathBuf,
}

impl Run {
    fn end(mut self) -> Ended {
        let output = self.command.output().expect("starts");
        Ended::of(output, &self.results)
    }

    /// Lets the load go on for a while, does something, and waits for the run's end.
    fn while_it_runs(mut self, hosts: &Hosts, act: impl FnOnce()) -> Ended {
        let piped = self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child: Option<Child> = Some(piped.spawn().expect("starts"));
        let before = hosts.sent("h2");
        wait("the load", Duration::from_secs(90), || {
            let is_gone = child
                .as_mut()
                .is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
            is_gone || hosts.sent("h2") > before + 20_000
        });
        act();
        let start = Instant::now();
        let output = child
            .take()
            .expect("runs")
            .wait_with_output()
            .expect("ended");
        // Three seconds of the load's, the reports, and a busy machine.
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{:?}",
            start.elapsed()
        );
        Ended::of(output, &self.results)
    }
}

impl Ended {
    fn of(output: Output, results: &Path) -> Ended {
        let folder = fs::read_dir(results).ok().and_then(|mut all| all.next());
        Ended {
            code: output.status.code(),
            run: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
            folder: folder.map_or(PathBuf::new(), |entry| entry.expect("read").path()),
        }
    }

    fn rows(&self) -> &[Value] {
        let rows = self.run["trials"].as_array();
        rows.unwrap_or_else(|| panic!("{:?}: {}", self.code, self.said))
    }

    fn reasons(&self) -> &str {
        self.rows()[0]["reasons"].as_str().expect("reasons")
    }

    /// Checks how the program ended, and what it made of its first trial.
    fn assert_came_to(&self, code: i32, verdict: &str) -> &Value {
        let row = &self.rows()[0];
        assert_eq!(
            (self.code, &row["status"], &row["verdict"]),
            (Some(code), &"ok".into(), &verdict.into()),
            "{row:#} {}",
            self.said
        );
        row
    }

    fn file(&self, name: &str) -> String {
        let path = self.folder.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A column of a table, a word per line.
    fn column(&self, file: &str, name: &str) -> Vec<String> {
        let text = self.file(file);
        let mut lines = csv::Reader::from_reader(text.as_bytes());
        let at = lines
            .headers()
            .expect("a header")
            .iter()
            .position(|column| column == name);
        let at = at.unwrap_or_else(|| panic!("{file} has no {name}"));
        lines
            .records()
            .map(|line| line.expect("a line")[at].to_owned())
            .collect()
    }

    /// What the first trial came to, also where its block was run again because something else disturbed it.
    fn first_tried<const N: usize>(&self, names: [&str; N]) -> [String; N] {
        let set_aside = self.folder.join("redone.csv").exists();
        let file = if set_aside {
            "redone.csv"
        } else {
            "trials.csv"
        };
        names.map(|name| self.column(file, name).swap_remove(0))
    }

    fn sum(&self, file: &str, name: &str) -> u64 {
        let column = self.column(file, name);
        column
            .iter()
            .map(|word| word.parse::<u64>().expect("a count"))
            .sum()
    }
}

#[test]
#[ignore = "makes network namespaces; .ci/run runs it"]
fn server_and_load_on_other_hosts() {
    if let Some(why) = missing(&["ip", "ss", "sshd", "ssh", "ssh-keygen", "nsenter"]) {
        println!("skipped: {why}");
        return;
    }
    let hosts = Hosts::up();
    a_models_rows_have_both_sides(&hosts);
    a_commands_rows_have_both_sides(&hosts);
    a_lost_load_host_ends_the_run(&hosts);
    a_tolerated_loss_degrades_the_trial(&hosts);
    a_lost_server_host_ends_the_run(&hosts);
    nothing_is_sent_without_all_hosts(&hosts);
}

/// What is read of the server on its host, at the load's phase changes.
const OF_THE_SERVER: [&str; 9] = [
    "server_user_s",
    "server_system_s",
    "server_memory_kib",
    "server_cpu_us_per_request",
    "ctx_switches_per_request",
    "listen_overflows",
    "listen_drops",
    "tcp_retransmits",
    "bottleneck",
];

fn assert_both_sides(ended: &Ended) {
    let row = &ended.rows()[0];
    assert_eq!(
        (ended.code, &row["status"]),
        (Some(0), &"ok".into()),
        "{row:#} {}",
        ended.said
    );
    assert_eq!(ended.run["complete"], true);
    for column in OF_THE_SERVER {
        assert!(!row[column].is_null(), "{column}: {row:#}");
    }
    // The kernel tells user time in ticks: a short load may have none.
    assert!(
        row["server_cpu_us_per_request"].as_f64() > Some(0.0),
        "{row:#}"
    );
    assert_eq!(row["server_cpus"], format!("all of {SERVER}"));
    assert_eq!(row["client_cpus"], "all of h1,h2");
    let doubts = ended.reasons();
    // Laws, another server, limits: what a busy machine does not bring about.
    for code in ["W05", "W09", "W10", "W11"] {
        assert!(!doubts.contains(code), "{doubts}");
    }
    for (column, count) in [
        ("conns_established", 30),
        ("conns_served", 30),
        ("requests_offered", 1500),
        ("requests_completed", 1500),
        ("errors", 0),
        ("listen_overflows", 0),
    ] {
        assert_eq!(row[column], count, "{column}: {row:#}");
    }
    // Each host's share beside the sum.
    assert_eq!(ended.column("hosts.csv", "host"), ["h1", "h2"]);
    assert_eq!(ended.column("hosts.csv", "conns_served"), ["15", "15"]);
    assert_eq!(
        ended.column("hosts.csv", "requests_completed"),
        ["750", "750"]
    );
    for column in [
        "started_late_ns",
        "start_error_ns",
        "clock_ahead_before_ns",
        "clock_ahead_after_ns",
    ] {
        let told = ended.column("hosts.csv", column);
        assert!(
            told.iter().all(|cell| cell.parse::<i64>().is_ok()),
            "{column}: {told:?}"
        );
    }
    assert!(ended.file("report.md").contains("## Load hosts"));
    assert!(ended.file("report.html").contains("id=\"hosts\""));
    assert!(!ended.file("report.html").contains("All on one machine"));
}

fn a_models_rows_have_both_sides(hosts: &Hosts) {
    let ended = hosts
        .run("model", &["--model", "reuseport:workers=2"], EXACT)
        .end();
    assert_both_sides(&ended);
    let host = &ended.run["environment"]["server_host"];
    let digest = host["sha256"]["reuseport"].as_str();
    assert_eq!(digest.map(str::len), Some(64), "{host:#}");
    // All these hosts are one machine.
    for name in ["h1", "h2"] {
        let load_host = &ended.run["environment"]["load_hosts"][name];
        for fact in ["kernel", "cpu_model", "cpus", "memory_kib", "boot_id"] {
            assert!(!load_host["kernel"].is_null(), "{load_host:#}");
            assert_eq!(load_host[fact], host[fact], "{fact}");
        }
    }
    for sentence in [
        "h1, h2: Linux ",
        "h1, h2 and the server's host are on one machine",
    ] {
        assert!(ended.file("report.md").contains(sentence), "{sentence}");
    }
    let row = &ended.rows()[0];
    assert_eq!(
        row["server_processes"], 3,
        "the parent and its two workers: {row:#}"
    );
    assert!(row["wakeups_per_request"].as_f64() > Some(0.0), "{row:#}");
    assert_eq!(row["conns_shed"], 0);
    // To the unit: what the two hosts opened and sent, and the server's host's two exchanges of its own.
    let probes = 2;
    assert_eq!(ended.sum("workers.csv", "accepted"), 30 + probes);
    assert_eq!(ended.sum("workers.csv", "closed"), 30 + probes);
    let (received, sent) = (
        ended.sum("workers.csv", "bytes_in"),
        ended.sum("workers.csv", "bytes_out"),
    );
    assert_eq!(received, sent, "an echo");
    hosts.cluster.assert_empty("a run of a model");
    println!("{}", ended.file("hosts.csv"));
}

fn a_commands_rows_have_both_sides(hosts: &Hosts) {
    let command = format!("exec {} --listen {{addr}}", hosts.server("epoll"));
    let refused = hosts.run("refused", &["--server", &command], EXACT).end();
    assert_eq!(refused.code, Some(1), "{}", refused.said);
    assert!(
        refused
            .said
            .contains("`commands = true` in /etc/tenk/agent.toml"),
        "{}",
        refused.said
    );
    hosts.cluster.assert_empty("a refusal");

    let policy = hosts.cluster.path("agent.toml");
    fs::write(&policy, "commands = true\n").expect("written");
    let agent = format!("{} agent --policy {}", hosts.tenk(), policy.display());
    let ended = hosts
        .run_with("command", &agent, &["--server", &command], EXACT)
        .end();
    assert_both_sides(&ended);
    assert_eq!(ended.rows()[0]["server_processes"], 1);
    hosts.cluster.assert_empty("a run of a command");
}

fn a_lost_load_host_ends_the_run(hosts: &Hosts) {
    let run = hosts.run("lost", &["--model", "epoll"], FOR_EVER);
    let ended = run.while_it_runs(hosts, || {
        kill(hosts.agent("h2"), Signal::SIGKILL).expect("delivered");
    });
    assert!(
        ended
            .said
            .contains("error: h2 was lost: its connection ended"),
        "{}",
        ended.said
    );
    assert!(ended.said.contains("`--tolerate-loss 1`"), "{}", ended.said);
    // The first of three trials, as far as it came.
    assert_eq!(
        (ended.rows().len(), &ended.run["complete"]),
        (1, &Value::from(false))
    );
    let row = ended.assert_came_to(1, "invalid");
    assert!(
        ended.reasons().contains("W05") && ended.reasons().contains("h2: "),
        "{row:#}"
    );
    assert!(row["requests_completed"].as_u64() > Some(0), "{row:#}");
    let lost = ended.column("hosts.csv", "lost");
    assert!(
        lost[0].is_empty() && lost[1].contains("its connection ended"),
        "{lost:?}"
    );
    assert!(ended.file("report.md").contains("h2 was lost in trial 1"));
    hosts.cluster.assert_empty("a lost load host");
    println!("{}", ended.said);
    assert_remedy_works(hosts, &ended.said);
}

/// The command that is said to show whether an agent is there does, when it is typed.
fn assert_remedy_works(hosts: &Hosts, said: &str) {
    let words = said.split('`').find(|words| words.ends_with("</dev/null"));
    let words = words.unwrap_or_else(|| panic!("{said}"));
    let typed = hosts
        .cluster
        .inside("h0", "sh")
        .args(["-c", words])
        .output();
    let typed = typed.expect("sh starts");
    let printed = [typed.stdout, typed.stderr].concat();
    assert!(
        typed.status.success() && printed.is_empty(),
        "{words}: {printed:?}"
    );
    let words = words.replace("/tenk agent", "/no-such-program agent");
    let typed = hosts
        .cluster
        .inside("h0", "sh")
        .args(["-c", &words])
        .output();
    assert!(!typed.expect("sh starts").stderr.is_empty(), "{words}");
}

fn a_tolerated_loss_degrades_the_trial(hosts: &Hosts) {
    let words = "--conns 30 --duration 4s --warmup 100ms --repeat 1 --tolerate-loss 1";
    let run = hosts.run("tolerated", &["--model", "epoll"], words);
    let ended = run.while_it_runs(hosts, || {
        kill(hosts.agent("h2"), Signal::SIGKILL).expect("delivered");
    });
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let first = ended.first_tried(["status", "verdict", "reasons", "duration_s"]);
    let [status, verdict, reasons, duration_s] = &first;
    assert_eq!(
        (&status[..], &verdict[..]),
        ("ok", "suspect"),
        "{reasons} {}",
        ended.said
    );
    assert!(reasons.contains("W11 degraded: 1 part(s)"), "{reasons}");
    assert!(
        duration_s.parse::<f64>().is_ok_and(|s| s > 3.5),
        "the other came to the end: {first:?}"
    );
    // A block that was run again has found the host again, and its lines are those that are kept.
    if !ended.folder.join("redone.csv").exists() {
        assert!(!ended.column("hosts.csv", "lost")[1].is_empty());
    }
    hosts.cluster.assert_empty("a tolerated loss");
}

fn a_lost_server_host_ends_the_run(hosts: &Hosts) {
    let run = hosts.run("server-lost", &["--model", "epoll"], FOR_EVER);
    let ended = run.while_it_runs(hosts, || {
        kill(hosts.agent(SERVER), Signal::SIGKILL).expect("delivered");
    });
    assert!(
        ended
            .said
            .contains("error: h3 was lost: its connection ended"),
        "{}",
        ended.said
    );
    let row = ended.assert_came_to(1, "invalid");
    assert!(
        ended.reasons().contains("no outcome: h3 was lost"),
        "{row:#}"
    );
    hosts.cluster.assert_empty("a lost server host");
}

fn nothing_is_sent_without_all_hosts(hosts: &Hosts) {
    let script = hosts.cluster.path("agent.sh");
    let (second, tenk) = (hosts.cluster.address("h2"), hosts.tenk());
    let text = format!(
        "case $(ip -4 -o addr show dev eth0) in *' {second}/'*) exec no-such-program;; *) exec {tenk} agent;; esac\n"
    );
    fs::write(&script, text).expect("written");
    let agent = format!("sh {}", script.display());
    let ended = hosts
        .run_with("absent", &agent, &["--model", "epoll"], EXACT)
        .end();
    assert_eq!(ended.code, Some(3), "{}", ended.said);
    let said = &ended.said;
    assert!(
        said.contains("h2: its connection ended") && said.contains("nothing was sent"),
        "{said}"
    );
    hosts.cluster.assert_empty("an absent host");
}
