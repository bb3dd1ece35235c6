//! The harness as a program, with real servers and a real generator: good days, bad input and bad days.

#[path = "run/gate.rs"]
mod gate;
#[path = "run/instrumented.rs"]
mod instrumented;
#[path = "run/load.rs"]
mod load;
mod programs;
#[path = "run/sides.rs"]
mod sides;
#[path = "run/trial.rs"]
mod trial;

use programs::built;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nothing here may take longer, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(240);

/// One invocation of the harness, its results in a folder of its own.
struct Harness {
    command: Command,
    results: TempDir,
}

fn harness(words: &str) -> Harness {
    let mut harness = with_program(Path::new(env!("CARGO_BIN_EXE_tenk")), words);
    // The test was started by cargo, and so the harness builds what it measures.
    harness.command.env("CARGO", env!("CARGO"));
    harness
}

fn with_program(program: &Path, words: &str) -> Harness {
    let results = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .args(words.split_whitespace())
        .arg("--results")
        .arg(results.path().join("results"))
        // What was learned of this machine is no matter of a test, nor is what a test sees a lesson.
        .env("XDG_CACHE_HOME", results.path().join("cache"))
        .stdin(Stdio::null());
    Harness { command, results }
}

impl Harness {
    fn output(&mut self) -> Output {
        self.command.output().unwrap()
    }

    /// Runs with `--format json`; the exit code and what was printed.
    fn json(&mut self) -> (Option<i32>, Value) {
        self.command.args(["--format", "json"]);
        let output = self.output();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let value = serde_json::from_str(&text);
        (
            output.status.code(),
            value.unwrap_or_else(|e| panic!("{e}\n{text}\n{errors}")),
        )
    }

    fn spawn(&mut self) -> Running {
        let child = self
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running(child)
    }

    /// The only run folder there is.
    fn folder(&self) -> Option<PathBuf> {
        let mut entries = fs::read_dir(self.results.path().join("results"))
            .ok()?
            .flatten();
        entries.next().map(|entry| entry.path())
    }

    fn saved_rows(&self) -> usize {
        let lines = self
            .folder()
            .and_then(|folder| fs::read_to_string(folder.join("trials.jsonl")).ok());
        lines.map_or(0, |text| {
            text.lines().filter(|l| l.contains("\"row\"")).count()
        })
    }
}

/// A running harness, killed when the test ends early.
struct Running(Child);

impl Running {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([name, &self.pid().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    fn end(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the harness to end", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Processes running a program out of the private folder of the harness with this process id.
fn children_of(harness: u32) -> Vec<PathBuf> {
    let prefix = std::env::temp_dir().join(format!("tenk-{harness}-"));
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| fs::read_link(entry.path().join("exe")).ok())
        .filter(|exe| {
            exe.to_string_lossy()
                .starts_with(&*prefix.to_string_lossy())
        })
        .collect()
}

/// Whether a row is to be believed, or is not because of the machine alone: where the generator itself is kept from
/// running for much of a short window, Little's law rightly fails.
fn is_sound(row: &Value) -> bool {
    let reasons = row["reasons"].as_str().unwrap();
    let ours = ["W02", "W05", "W09", "W10"];
    row["verdict"] != "invalid"
        || (reasons.contains("W04") && !ours.iter().any(|code| reasons.contains(code)))
}

/// The run was made: exit code 0, or 1 only because the machine let no trial be believed.
fn assert_made(code: Option<i32>, run: &Value) {
    let all_invalid = trials(run).iter().all(|row| row["verdict"] == "invalid");
    assert!(trials(run).iter().all(is_sound), "{run:#}");
    assert!(
        code == Some(0) || (code == Some(1) && all_invalid),
        "{code:?} {run:#}"
    );
}

fn trials(run: &Value) -> &Vec<Value> {
    run["trials"].as_array().unwrap()
}

const SHORT: &str = "--duration 300ms --warmup 100ms --repeat 1";

#[test]
fn one_row_per_model_size_and_repeat() {
    let mut run = harness(
        "--model all --conns 1,20 --repeat 2 --duration 300ms --warmup 50ms --ramp-timeout 2s",
    );
    let (code, value) = run.json();
    assert_made(code, &value);
    assert_eq!(value["schema"], "tenk.run/1");
    assert_eq!(value["complete"], true);
    let models = servers::models::MODELS.len();
    assert_eq!(trials(&value).len(), models * 2 * 2);
    for row in trials(&value) {
        let expected = match (
            row["model"].as_str().unwrap(),
            row["conns"].as_u64().unwrap(),
        ) {
            ("iterative", 20) => "starved",
            _ => "ok",
        };
        assert_eq!(row["status"], expected, "{row:#}");
        if expected == "ok" {
            assert_eq!(row["errors"], 0, "{row:#}");
            assert_eq!(row["conns_served"], row["conns"], "{row:#}");
            assert!(row["requests_completed"].as_u64().unwrap() > 0, "{row:#}");
            assert!(
                row["server_cpu_us_per_request"].as_f64().unwrap() > 0.0,
                "{row:#}"
            );
        }
    }
    let folder = run.folder().unwrap();
    assert_eq!(value["run_dir"], folder.display().to_string());
    for name in [
        "run.json",
        "trials.csv",
        "latency.hlog",
        "charts/requests-per-second.svg",
    ] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    assert!(fs::read_dir(folder.join("hgrm")).unwrap().count() > 0);
    let csv = fs::read_to_string(folder.join("trials.csv")).unwrap();
    assert_eq!(csv.lines().count(), trials(&value).len() + 1);
}

#[test]
fn short_lived_connections_are_counted_and_balanced() {
    for close in ["client", "server", "reset"] {
        let words = format!(
            "--model epoll,process --conns 10 --requests-per-conn 1 --close {close} {SHORT}"
        );
        let (code, value) = harness(&words).json();
        assert_made(code, &value);
        for row in trials(&value) {
            assert_eq!(
                (&row["status"], &row["errors"]),
                (&"ok".into(), &0.into()),
                "{close}: {row:#}"
            );
            assert!(
                row["conns_per_s"].as_f64().unwrap() > 10.0,
                "{close}: {row:#}"
            );
        }
    }
}

#[test]
fn select_meets_its_wall_and_says_where() {
    let (code, value) = harness(&format!("--model select --conns 2000 {SHORT}")).json();
    assert_made(code, &value);
    let row = &trials(&value)[0];
    assert_eq!(row["status"], "limited", "{row:#}");
    let reasons = row["reasons"].as_str().unwrap();
    assert!(
        reasons.contains("FD_SETSIZE at ") && reasons.contains(" of 2000"),
        "{reasons}"
    );
    let served = row["conns_served"].as_u64().unwrap();
    assert!((900..1024).contains(&served), "{row:#}");
    assert!(row["conns_shed"].as_u64().unwrap() > 0, "{row:#}");
}

#[test]
fn an_iterative_server_starves_its_queue_and_no_latency_is_shown() {
    let (code, value) = harness(&format!("--model iterative --conns 100 {SHORT}")).json();
    assert_made(code, &value);
    let row = &trials(&value)[0];
    assert_eq!(row["status"], "starved", "{row:#}");
    let reasons = row["reasons"].as_str().unwrap();
    let wall = "served 1 of 100 connections in time: one client at a time";
    assert!(reasons.contains(wall), "{reasons}");
    // Nobody waited until they timed out.
    assert_eq!(row["requests_timed_out"], 0, "{row:#}");
    assert_eq!(
        (&row["conns_served"], &row["conns_established"]),
        (&1.into(), &100.into()),
        "{row:#}"
    );
    assert!(row["errors"].as_u64().unwrap() >= 99, "{row:#}");
    assert!(
        row["response_p50_ns"].is_null() && row["response_p99_ns"].is_null(),
        "{row:#}"
    );
}

#[test]
fn a_unit_per_connection_works_at_ten_thousand_and_is_cleaned_up() {
    let mut run = harness(
        "--model process,thread --conns 10000 --duration 1s --warmup 200ms --repeat 1 --ramp-timeout 120s",
    );
    run.command.args(["--format", "json"]);
    let mut running = run.spawn();
    let pid = running.pid();
    let mut text = String::new();
    running
        .0
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    let code = running.end().code();
    assert_eq!(children_of(pid), Vec::<PathBuf>::new());
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_made(code, &value);
    for row in trials(&value) {
        assert_eq!(row["conns_served"], 10_000, "{row:#}");
        let units = row["server_threads"].as_u64().unwrap();
        assert!(units >= 10_000, "{row:#}");
    }
}

#[test]
fn bad_input_is_answered_with_what_to_change() {
    let cases = [
        ("--model epol", "did you mean 'epoll'"),
        ("--model epoll:shiny=1", "epoll"),
        ("--model epoll --conns 0", "--conns 0"),
        ("--model epoll --conns NaN", "not a whole number"),
        (
            "--model epoll --conns 99999999999999999999",
            "not a whole number",
        ),
        (
            "--model epoll --conns 18446744073709551615m",
            "does not fit",
        ),
        ("--model epoll --duration 0", "--duration"),
        ("--model epoll --duration 9999999999999h", "9999999999999h"),
        ("--model epoll --repeat 0", "--repeat 0"),
        ("--model epoll --server-cpus 4095", "--server-cpus 4095"),
        ("--model epoll --nonsense", "--nonsense"),
        ("--model epoll --close server", "--requests-per-conn"),
        ("", "--model"),
    ];
    for (words, expected) in cases {
        let output = harness(words).output();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words}: {errors}");
        assert!(errors.contains(expected), "{words}: {errors}");
    }
}

#[test]
fn the_list_and_the_plan_are_printed_without_running_anything() {
    let output = Command::new(env!("CARGO_BIN_EXE_tenk"))
        .arg("list")
        .output()
        .unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    assert!(
        servers::models::MODELS
            .iter()
            .all(|m| list.contains(m.name)),
        "{list}"
    );
    let mut dry = harness("--model epoll,poll --conns 5,6 --repeat 2 --dry-run");
    let text = String::from_utf8(dry.output().stdout).unwrap();
    assert!(text.contains("4 blocks of 2 arms"), "{text}");
    assert!(text.contains("(8 trials)"), "{text}");
    assert!(dry.folder().is_none());
}

#[test]
fn a_configuration_is_a_command_line_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenk.toml");
    let text = "conns = [5, 6]\nrepeat = 2\n[scenario.mine]\nmodel = ['epoll', 'prefork:accept=mutex,workers=4']\nrepeat = 3\n";
    fs::write(&file, text).unwrap();
    let dry_run = |words: &str, variables: &[(&str, &str)]| -> Value {
        let mut dry = harness(&format!("--dry-run --format json {words}"));
        dry.command.envs(variables.iter().copied());
        let output = dry.output();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(dry.folder().is_none());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {errors}"))
    };
    let config = file.display().to_string();
    let words = format!("--config {config} --scenario mine --seed 5");
    let plan = dry_run(&words, &[]);
    assert_eq!((&plan["trials"], &plan["seed"]), (&12.into(), &5.into()));
    assert_eq!(plan["cells"][1]["arm"], "prefork:accept=mutex,workers=4");
    let plan = dry_run(
        &format!("{words} --conns 9"),
        &[("TENK_REPEAT", "4"), ("TENK_CONNS", "8")],
    );
    assert_eq!(
        (&plan["trials"], &plan["cells"][0]["conns"]),
        (&8.into(), &9.into())
    );
    // The command alone, without file and variables, is the same plan.
    let command = plan["command"].as_array().unwrap();
    let same: Vec<&str> = command[1..].iter().filter_map(Value::as_str).collect();
    assert!(
        !same.contains(&"--config") && !same.contains(&"--scenario"),
        "{same:?}"
    );
    let output = Command::new(env!("CARGO_BIN_EXE_tenk"))
        .args(same)
        .env("XDG_CACHE_HOME", folder.path().join("cache"))
        .output()
        .unwrap();
    let again: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(again["cells"], plan["cells"]);
    let variables = [("TENK_CONFIG", config.as_str()), ("TENK_SCENARIO", "quick")];
    let plan = dry_run("", &variables);
    assert_eq!(
        (&plan["scenario"], &plan["cells"][0]["conns"]),
        (&"quick".into(), &50.into())
    );
}

#[test]
fn mistakes_in_a_configuration_are_told_with_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenk.toml");
    fs::write(&file, "model = 'epoll'\n\nconn = 5\n").unwrap();
    let config = file.display().to_string();
    for (words, expected) in [
        (
            format!("--config {config}"),
            format!("{config}:3: unknown key `conn`; did you mean `conns`?"),
        ),
        (
            "--config /nowhere.toml".into(),
            "--config /nowhere.toml: No such file".into(),
        ),
        ("--scenario quik".into(), "did you mean `quick`?".into()),
    ] {
        let output = harness(&format!("{words} --dry-run")).output();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words}: {errors}");
        assert!(errors.contains(&expected), "{words}: {errors}");
    }
}

#[test]
fn a_reader_that_leaves_early_is_no_panic() {
    for words in [vec!["list"], vec!["--help"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tenk"))
            .args(&words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let mut errors = String::new();
        child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        assert_ne!(
            child.wait().unwrap().code(),
            Some(101),
            "{words:?}: {errors}"
        );
        assert!(!errors.contains("panicked"), "{words:?}: {errors}");
    }
}

#[test]
fn results_that_cannot_be_written_are_said() {
    let output = Command::new(env!("CARGO_BIN_EXE_tenk"))
        .args(["--model", "epoll", "--results", "/dev/null/results"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(
        errors.contains("/dev/null/results") && errors.contains("--results DIR"),
        "{errors}"
    );
}

/// A file system of 64 KiB, in a mount namespace that ends with the run: what was measured is printed, what was saved
/// is read back, and only the exit code is that of a failure.
#[test]
fn a_full_disk_loses_no_table_and_no_line() {
    let folder = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size=64k tenk-test {0} || exit 77; echo old > {0}/old; \
         {1} --model epoll --conns 1 --repeat 40 --duration 20ms --warmup 1ms --results {0}/results; \
         code=$?; cat {0}/old; {1} report {0}/results/* --format csv; exit $code",
        folder.path().display(),
        env!("CARGO_BIN_EXE_tenk")
    );
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script])
        .env("CARGO", env!("CARGO"))
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) => output,
        _ => {
            return eprintln!(
                "skipped: a small file system needs `unshare --mount` and mount(8) as root"
            );
        }
    };
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    if errors.contains("unshare failed") {
        return eprintln!("skipped: {errors}");
    }
    assert_eq!(output.status.code(), Some(1), "{errors}");
    for words in [
        "is not saved yet",
        "error: cannot save ",
        "No space left on device",
    ] {
        assert!(errors.contains(words), "{words}: {errors}");
    }
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let (table, saved) = printed.split_once("\nold\n").expect("the old file stays");
    assert!(
        table.contains("requests/s") && table.contains("epoll"),
        "{table}"
    );
    let rows = saved.lines().count() - 1;
    assert!((1..40).contains(&rows), "{rows} rows were saved\n{errors}");
}

#[test]
fn a_budget_makes_what_was_asked_for_in_any_case_and_more_where_it_has_room() {
    let load = "--model epoll,poll --conns 2 --duration 50ms --warmup 10ms";
    let (code, value) = harness(&format!("{load} --repeat 2 --budget 1ms")).json();
    assert_made(code, &value);
    assert_eq!(
        (trials(&value).len(), &value["complete"]),
        (4, &true.into())
    );
    // Nothing asked for: one repeat, and what has room.
    let mut run = harness(load);
    run.command.env("TENK_BUDGET", "1ms");
    assert_eq!(trials(&run.json().1).len(), 2);
    let mut run = harness(&format!("{load} --budget 100s"));
    let mut running = run.spawn();
    wait_for("a second repeat", || run.saved_rows() >= 4);
    running.signal("-INT");
    assert_eq!(running.end().code(), Some(130));
    let folder = run.folder().unwrap();
    let saved: Value = serde_json::from_slice(&fs::read(folder.join("run.json")).unwrap()).unwrap();
    assert_eq!(saved["complete"], false);
    assert!(trials(&saved).len() >= 4);
}

/// The lines that were whole when the harness was killed are a run of their own.
#[test]
fn a_killed_run_is_reported_up_to_its_last_whole_line() {
    let mut run = harness("--model epoll --conns 5 --repeat 200 --duration 100ms --warmup 20ms");
    let mut running = run.spawn();
    wait_for("two rows", || run.saved_rows() >= 2);
    let folder = run.folder().unwrap();
    let report = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
        command
            .arg("report")
            .arg(&folder)
            .args(words)
            .output()
            .unwrap()
    };
    let early = report(&["--format", "csv"]);
    let errors = String::from_utf8_lossy(&early.stderr).into_owned();
    assert!(errors.contains("the run goes on"), "{errors}");
    assert!(
        !folder.join("run.json").exists(),
        "files of a part of the run"
    );
    running.signal("-KILL");
    assert_eq!(running.end().signal(), Some(9));
    let rows = run.saved_rows();
    let file = folder.join("trials.jsonl");
    let lines = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{lines}{}", &lines[..lines.len() / 3])).unwrap();
    let output = report(&["--format", "json"]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{errors}");
    assert!(errors.contains("is torn"), "{errors}");
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (trials(&value).len(), &value["complete"]),
        (rows, &false.into())
    );
    for name in [
        "run.json",
        "trials.csv",
        "latency.hlog",
        "report.html",
        "charts",
    ] {
        assert!(folder.join(name).exists(), "{name}");
    }
}

#[test]
fn an_interrupted_run_keeps_its_rows_and_leaves_nothing_running() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let mut run =
            harness("--model epoll,process --conns 20 --repeat 200 --duration 200ms --warmup 50ms");
        let mut running = run.spawn();
        wait_for("two rows", || run.saved_rows() >= 2);
        running.signal(signal);
        assert_eq!(running.end().code(), Some(code));
        assert_eq!(children_of(running.pid()), Vec::<PathBuf>::new());
        let text = fs::read_to_string(run.folder().unwrap().join("run.json")).unwrap();
        let saved: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(saved["complete"], false);
        assert!(trials(&saved).len() >= 2);
    }
}

#[test]
fn nothing_outlives_a_killed_harness() {
    let mut run = harness("--model process --conns 50 --repeat 1 --duration 60s --warmup 50ms");
    let mut running = run.spawn();
    let pid = running.pid();
    // The server, its fifty children, and the generator.
    wait_for("the load to run", || children_of(pid).len() >= 52);
    running.signal("-KILL");
    assert_eq!(running.end().signal(), Some(9));
    wait_for("everything to end", || children_of(pid).is_empty());
}

#[test]
fn a_server_killed_in_the_middle_has_crashed() {
    let mut run = harness("--model epoll --conns 20 --repeat 1 --duration 30s --warmup 50ms");
    let mut running = run.spawn();
    let pid = running.pid();
    wait_for("the load to run", || children_of(pid).len() >= 2);
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let server = entries
        .filter(|e| {
            let exe = fs::read_link(e.path().join("exe")).unwrap_or_default();
            exe.ends_with("epoll") && exe.to_string_lossy().contains(&format!("tenk-{pid}-"))
        })
        .find_map(|e| e.file_name().to_str()?.parse::<u32>().ok());
    let status = Command::new("kill")
        .args(["-KILL", &server.unwrap().to_string()])
        .status();
    assert!(status.unwrap().success());
    assert_eq!(running.end().code(), Some(1));
    let text = fs::read_to_string(run.folder().unwrap().join("run.json")).unwrap();
    let saved: Value = serde_json::from_str(&text).unwrap();
    let row = &trials(&saved)[0];
    assert_eq!(row["status"], "crashed", "{row:#}");
    assert!(
        row["reasons"].as_str().unwrap().contains("SIGKILL"),
        "{row:#}"
    );
}

/// A harness installed beside programs of its own, some of which are not what they seem.
fn installed_with_liars() -> TempDir {
    let liar = built("servers", ["--example", "liar"]);
    let loadgen = built("loadgen", ["--bin", "loadgen"]);
    let folder = tempfile::tempdir().unwrap();
    fs::copy(env!("CARGO_BIN_EXE_tenk"), folder.path().join("tenk")).unwrap();
    fs::copy(loadgen, folder.path().join("loadgen")).unwrap();
    for role in ["select", "poll", "epoll", "thread", "process", "epoll-et"] {
        fs::copy(&liar, folder.path().join(role)).unwrap();
    }
    folder
}

#[test]
fn a_server_left_behind_on_the_same_port_is_noticed() {
    let installed = installed_with_liars();
    let words = format!("--model epoll-et --conns 40 {SHORT}");
    let mut run = with_program(&installed.path().join("tenk"), &words);
    run.command.env_remove("CARGO");
    let (code, value) = run.json();
    assert_eq!(code, Some(1), "{value:#}");
    let row = &trials(&value)[0];
    assert_eq!(row["verdict"], "invalid", "{row:#}");
    assert!(row["reasons"].as_str().unwrap().contains("W10"), "{row:#}");
}

#[test]
fn misbehaving_servers_are_called_by_their_names() {
    let installed = installed_with_liars();
    let words = "--model select,poll,epoll,thread,process --conns 4 --request-timeout 500ms";
    let mut run = with_program(&installed.path().join("tenk"), &format!("{words} {SHORT}"));
    run.command.env_remove("CARGO");
    let (code, value) = run.json();
    assert_eq!(code, Some(1), "{value:#}");
    let expected = [
        ("select", "wrong", "wrong bytes"),
        ("poll", "crashed", "exit code 9"),
        ("epoll", "hung", "no answer"),
        ("thread", "hung", "no ready line"),
        ("process", "crashed", "no luck today"),
    ];
    for (model, status, words) in expected {
        let row = trials(&value)
            .iter()
            .find(|row| row["model"] == model)
            .unwrap();
        assert_eq!(row["status"], status, "{row:#}");
        assert!(row["reasons"].as_str().unwrap().contains(words), "{row:#}");
    }
    assert_eq!(run.saved_rows(), 5);
}

#[test]
fn one_rate_for_all_is_found_below_the_slowest() {
    let words =
        "--model epoll,iterative --conns 4 --rate auto --repeat 1 --duration 200ms --warmup 20ms";
    let (_, value) = harness(words).json();
    let search = &value["environment"]["rate_search"][0];
    let rate = search["rate_per_s"].as_f64().unwrap();
    let capacity = |i: usize| search["capacities"][i]["requests_per_s"].as_f64();
    assert_eq!(
        capacity(1),
        None,
        "iterative serves one of four: {search:#}"
    );
    assert!(
        rate > 0.0 && rate <= 0.7 * capacity(0).unwrap(),
        "{search:#}"
    );
    for row in trials(&value) {
        assert_eq!(row["rate_per_s"], rate, "{row:#}");
    }
    let output = harness("--model epoll --rate auto,20k").output();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--rate auto stands alone"));
}

#[test]
fn two_runs_of_one_machine_are_compared_and_others_refused() {
    let run = || {
        let mut run = harness("--model epoll --conns 2 --repeat 4 --duration 100ms --warmup 20ms");
        let (code, value) = run.json();
        assert_made(code, &value);
        run
    };
    let (a, b) = (run(), run());
    let folders = [a.folder().unwrap(), b.folder().unwrap()];
    let compare = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
        command.arg("compare").args(&folders);
        command.args(["--format", "json"]).output().unwrap()
    };
    let value: Value = serde_json::from_slice(&compare().stdout).unwrap();
    assert_eq!(value["schema"], "tenk.compare/1");
    let line = &value["lines"][0];
    assert_eq!(
        (&line["arm"], &line["trials_a"]),
        (&"epoll".into(), &4.into()),
        "{value:#}"
    );
    let path = folders[1].join("environment.json");
    let text = fs::read_to_string(&path).unwrap();
    let mut other: Value = serde_json::from_str(&text).unwrap();
    other["kernel"] = "another".into();
    fs::write(&path, other.to_string()).unwrap();
    let refused = compare();
    assert_eq!(refused.status.code(), Some(2));
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        errors.contains("not of one machine") && errors.contains("kernel"),
        "{errors}"
    );
}

#[test]
fn a_calibration_is_kept_and_a_doctor_knows_of_it() {
    let cache = tempfile::tempdir().unwrap();
    let mut calibrate = harness("calibrate --conns 4 --blocks 10 --duration 100ms --warmup 20ms");
    let output = calibrate
        .command
        .env("XDG_CACHE_HOME", cache.path())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    // However busy the machine: what is ordinary on it is just being found out.
    let trials = fs::read_to_string(calibrate.folder().unwrap().join("trials.csv")).unwrap();
    assert_eq!(trials.lines().count(), 1 + 20, "{errors}");
    assert!(!trials.contains("W07"), "{trials}");
    if errors.contains("no figure was measured in six blocks") {
        return eprintln!("skipped: this machine is too busy to send requests when they are due");
    }
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let kept: Vec<String> = fs::read_dir(cache.path().join("tenk"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        kept.iter().any(|name| name.starts_with("noise-")),
        "{kept:?}"
    );
    // A machine too busy for a p99 keeps no floor, and that is said.
    let floor = kept.iter().any(|name| name.starts_with("floor-"));
    assert!(
        floor || errors.contains("the generator's floor"),
        "{kept:?} {errors}"
    );
    let doctor = Command::new(env!("CARGO_BIN_EXE_tenk"))
        .args(["doctor", "--format", "json"])
        .env("XDG_CACHE_HOME", cache.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(text.contains("blocks of epoll c4"), "{text}");
    // A later run shades what the generator itself cannot do.
    let mut later = harness("--model epoll --conns 4,8 --repeat 1 --duration 200ms --warmup 50ms");
    later.command.env("XDG_CACHE_HOME", cache.path());
    let (_, run) = later.json();
    assert_eq!(run["environment"]["generator_floor"].is_object(), floor);
    let charts = later.folder().unwrap().join("charts");
    let chart = fs::read_to_string(charts.join("requests-per-second.svg")).unwrap();
    assert_eq!(chart.contains("own ceiling"), floor, "{chart}");
}
