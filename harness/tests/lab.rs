//! `tenk lab` as a program: what it prints, what it leaves in its folder, and that nothing of it goes on.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing here may take longer, even on a loaded machine.
const LIMIT: Duration = Duration::from_secs(120);

fn tenk(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
    command
        .args(words)
        .env("CARGO", env!("CARGO"))
        .stdin(Stdio::null());
    command
}

fn lab(names: &str, results: &Path, more: &[&str]) -> Output {
    let results = results.display().to_string();
    let words = [&["lab", names, "--results", &results], more].concat();
    tenk(&words).output().expect("tenk runs")
}

fn only_folder(results: &Path) -> PathBuf {
    let mut entries = fs::read_dir(results).expect("a folder").flatten();
    entries.next().expect("a run's folder").path()
}

#[test]
fn a_lab_is_measured_judged_and_kept() {
    let results = tempfile::tempdir().unwrap();
    let output = lab("nagle", results.path(), &["--format", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let all: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    assert_eq!(
        (&all["schema"], &all["complete"]),
        (&"tenk.labs/1".into(), &true.into())
    );
    let lab = &all["labs"][0];
    let outcome = lab["finding"]["outcome"].as_str().expect("an outcome");
    // A machine may be too busy to tell; what it tells must not be wrong.
    assert!(["as_expected", "not_judged"].contains(&outcome), "{lab:#}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    let folder = only_folder(results.path());
    for file in ["labs.jsonl", "labs.json", "labs.html", "environment.json"] {
        assert!(folder.join(file).is_file(), "{file}");
    }
    if lab["evidence"].is_null() {
        println!("skipped: {}", lab["finding"]["why"]);
        return;
    }
    assert!(lab["settings"]["values"]["net/ipv4/tcp_autocorking"].is_string());
    assert!(folder.join("charts/nagle.svg").is_file());
    let lines = fs::read_to_string(folder.join("labs.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 1);
}

#[test]
fn without_a_name_labs_are_listed_and_an_unknown_one_is_a_usage_error() {
    let list = tenk(&["lab"]).output().unwrap();
    let text = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(
        text.contains("backlog") && text.contains("tenk lab all"),
        "{text}"
    );
    let unknown = tenk(&["lab", "backlok"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(said.contains("backlog"), "{said}");
}

/// A run that is ended when the test is over.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_interrupted_lab_leaves_no_process_and_keeps_what_was_done() {
    let results = tempfile::tempdir().unwrap();
    let place = results.path().display().to_string();
    let child = tenk(&["lab", "time-wait", "--results", &place])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut running = Running(child.unwrap());
    let pid = running.0.id();
    let measuring = wait_for(|| {
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
        let child: i32 = children.split_whitespace().next()?.parse().ok()?;
        let words = fs::read_to_string(format!("/proc/{child}/cmdline")).ok()?;
        words.contains("time-wait").then_some(child)
    });
    kill(Pid::from_raw(pid as i32), Signal::SIGINT).unwrap();
    let status = running.0.wait().unwrap();
    assert_eq!(status.code(), Some(130));
    assert!(!Path::new(&format!("/proc/{measuring}")).exists());
    assert!(only_folder(results.path()).join("labs.html").is_file());
}

fn wait_for<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "it takes too long");
        std::thread::sleep(Duration::from_millis(10));
    }
}
