//! The sub-commands that run no trial, with the real binary.

use std::process::{Command, Output, Stdio};

fn harness(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
    command.args(arguments).stdin(Stdio::null());
    command.output().expect("harness runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_doctor_refuses_what_no_machine_has() {
    let output = harness(&["doctor", "--conns", "1000000m", "--format", "json"]);
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(report["schema"], "tenk.doctor/1");
    assert_eq!(report["level"], "FAIL");
    let checks = report["checks"].as_array().expect("checks");
    let level = |name: &str| {
        checks
            .iter()
            .find(|check| check["name"] == name)
            .map(|check| check["level"].clone())
    };
    assert_eq!(level("descriptors"), Some("FAIL".into()));
    for name in [
        "network namespaces",
        "cgroups",
        "io_uring",
        "noise",
        "steal",
        "clock reading",
        "CPU pressure",
    ] {
        assert!(level(name).is_some(), "{name}");
    }
    let mended = checks
        .iter()
        .filter(|check| check["level"] == "FAIL" || check["level"] == "WARN");
    assert!(
        mended.into_iter().all(|check| check["remedy"].is_string()),
        "{checks:?}"
    );
}

#[test]
fn the_doctor_is_content_with_little() {
    let output = harness(&["doctor", "--conns", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(
        stdout(&output).contains("PASS    descriptors"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = harness(&["completions", shell]);
        let script = stdout(&output);
        assert!(
            output.status.success() && script.contains("requests-per-conn"),
            "{shell}: {script}"
        );
        assert!(!script.contains("launch"), "{shell}: {script}");
    }
    let bash = harness(&["completions", "bash"]);
    assert!(stdout(&bash).contains("idle-scaling") && stdout(&bash).contains("tokio-multi"));
    let script = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(script.path(), &bash.stdout).expect("written");
    let checked = Command::new("bash")
        .arg("-n")
        .arg(script.path())
        .status()
        .expect("bash runs");
    assert!(checked.success());
}

#[test]
fn mistakes_in_thresholds_and_exports_are_usage_errors() {
    for (arguments, words) in [
        (
            ["--threshold", "response_p99<5ms"],
            "did you mean `response_p99_ns`",
        ),
        (["--threshold", "status==1"], "is text"),
        (
            ["--export", "xml=out"],
            "the formats are json, csv, md, bmf, gha, benchfmt",
        ),
        (["--export", "json"], "is not FORMAT=PATH"),
        (
            ["--export", "json=/no/such/folder/a.json"],
            "there is no folder /no/such/folder",
        ),
    ] {
        let output = harness(&[&["--model", "epoll"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}

#[test]
fn a_folder_without_a_run_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display().to_string();
    let output = harness(&["report", &path]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains(&format!("{path}: there is neither")),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tenk"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("harness runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("harness ends");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// One short run: what it writes is valid by its schema, is read back, reported and exported again, and a file of
/// it that was cut off is named with its line.
#[test]
fn a_real_run_is_valid_saved_and_reported_again() {
    let results = tempfile::tempdir().expect("a folder");
    let place = results.path().display().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_tenk"))
        .env("CARGO", env!("CARGO"))
        .args("--model epoll,poll --conns 4 --repeat 1 --duration 200ms --warmup 100ms".split(' '))
        .args(["--format", "json", "--quiet", "--results", &place])
        .stdin(Stdio::null())
        .output()
        .expect("harness runs");
    let run: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_valid(&run, "run.schema.json");
    assert!(!run["ranking"].as_array().expect("a list").is_empty());

    let folder = run["run_dir"].as_str().expect("a path").to_string();
    let again = harness(&["report", &folder, "--format", "json"]);
    assert_eq!(again.stdout, output.stdout, "{}", stderr(&again));
    let benchfmt = results.path().join("out.txt");
    let export = format!("benchfmt={}", benchfmt.display());
    let missed = harness(&[
        "report",
        &folder,
        "--export",
        &export,
        "--threshold",
        "conns<4",
    ]);
    assert_eq!(missed.status.code(), Some(99), "{}", stderr(&missed));
    assert!(stderr(&missed).contains("conns<4"));
    assert!(
        std::fs::read_to_string(benchfmt)
            .expect("the export")
            .starts_with("Unit req/s better=higher\n")
    );

    // What is there stays as it is: reading rewrites nothing.
    let csv = std::path::Path::new(&folder).join("trials.csv");
    std::fs::write(&csv, "mine").expect("written");
    assert!(harness(&["report", &folder]).status.success());
    assert_eq!(std::fs::read(&csv).expect("there"), b"mine");
    assert!(harness(&["report", &folder, "--write"]).status.success());
    let rows = std::fs::read_to_string(&csv).expect("made again");
    assert!(rows.starts_with("run_id,"), "{rows}");

    let trials = std::path::Path::new(&folder).join("trials.jsonl");
    let text = std::fs::read_to_string(&trials).expect("the trials");
    std::fs::write(&trials, text.replacen("\"row\":{", "\"row\":{{", 1)).expect("written");
    let cut = harness(&["report", &folder]);
    assert_eq!(cut.status.code(), Some(2));
    assert!(
        stderr(&cut).contains("trials.jsonl:1: "),
        "{}",
        stderr(&cut)
    );
}

fn assert_valid(document: &serde_json::Value, schema: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("schemas")
        .join(schema);
    let schema =
        serde_json::from_str(&std::fs::read_to_string(path).expect("the schema")).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let errors: Vec<String> = validator
        .iter_errors(document)
        .map(|e| e.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
}
