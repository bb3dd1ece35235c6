//! `tenk gate` with real servers: what it says of two sides, and its bad days.

use super::*;

/// Few and short blocks at a rate that any machine bears.
const TINY: &str = "--conns 4 --rate 400 --warmup 20ms --duration 150ms --blocks 4";

/// A gate; its commands are given as whole words.
fn gate(words: &str, more: &[&str]) -> Harness {
    let mut gate = harness(&format!("gate {words}"));
    gate.command.args(more);
    gate.command.env_remove("GITHUB_ACTIONS");
    gate.command.env_remove("GITHUB_STEP_SUMMARY");
    gate
}

/// `epoll` as any server program.
fn epoll() -> String {
    let program = built("servers", ["--bin", "epoll"]);
    format!("{} --listen {{addr}}", program.display())
}

fn verdict(gate: &Value) -> &str {
    gate["answers"][0]["verdict"].as_str().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn four_blocks_exclude_nothing_and_that_fails_unless_told_otherwise() {
    let epoll = epoll();
    for (more, expected) in [("", 98), ("--fail-on regression", 0)] {
        let words = format!("{TINY} {more}");
        let mut gate = gate(&words, &["--base-cmd", &epoll, "--head-cmd", &epoll]);
        let (code, value) = gate.json();
        assert_eq!(value["schema"], "tenk.gate/1");
        assert_eq!(verdict(&value), "INCONCLUSIVE", "{value:#}");
        assert_eq!(code, Some(expected), "{value:#}");
        assert_eq!(value["answers"][0]["metric"], "server_cpu_us_per_request");
        assert_eq!(gate.saved_rows(), 8);
        for name in ["gate.json", "gate.md", "report.html", "trials.csv"] {
            assert!(gate.folder().unwrap().join(name).is_file(), "{name}");
        }
    }
}

#[test]
fn a_server_that_works_much_more_has_regressed_and_github_is_told() {
    let (base, summary) = (epoll(), tempfile::NamedTempFile::new().unwrap());
    let head = format!("{base} --work-iters 2000000");
    fs::write(summary.path(), "before\n").unwrap();
    let words = "--conns 4 --rate 400 --warmup 20ms --duration 200ms --blocks 8 --profile";
    let mut gate = gate(words, &["--base-cmd", &base, "--head-cmd", &head]);
    gate.command
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", summary.path());
    let output = gate.command.args(["--format", "json"]).output().unwrap();
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = fs::read_to_string(summary.path()).unwrap();
    assert!(told.starts_with("before\n### tenk gate: "), "{told}");
    let (expected, kind) = ("REGRESSED", "::error title=tenk gate");
    assert_eq!(verdict(&value), expected, "{value:#}");
    assert_eq!(output.status.code(), Some(99));
    let change = value["answers"][0]["change"].as_f64().unwrap();
    assert!(change > 0.5, "{value:#}");
    assert!(told.contains(expected), "{told}");
    assert!(errors(&output).contains(kind), "{}", errors(&output));
    looked_into(&gate.folder().unwrap());
}

/// Both sides were sampled after the verdict, and no pair has these trials.
fn looked_into(folder: &Path) {
    let lines = fs::read_to_string(folder.join("trials.jsonl")).unwrap();
    let of_kind = |key: &str| {
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .filter(|line| line[key].is_object())
            .collect::<Vec<Value>>()
    };
    assert!(
        of_kind("row")
            .iter()
            .all(|line| line["perf_events_open"] == 0)
    );
    let looked = of_kind("instrumented");
    assert_eq!(looked.len(), 2);
    if looked
        .iter()
        .any(|line| line["instrumented"]["profile"].is_null())
    {
        return eprintln!("skipped: {:#}", looked[0]["instrumented"]["notes"]);
    }
    let graph = fs::read_to_string(folder.join("charts/flame-diff-server.svg")).unwrap();
    assert!(graph.contains("head against base"));
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("href=\"charts/flame-diff-server.svg\""));
}

#[test]
fn the_side_that_fails_is_named_and_nothing_is_judged() {
    let (good, liars) = (epoll(), installed_with_liars());
    let liar = |role: &str| format!("{} --listen {{addr}}", liars.path().join(role).display());
    for (bad, said) in [
        (liar("select"), "wrong"),
        (liar("poll"), "crashed"),
        (liar("process"), "crashed"),
        (": {addr}; exit 3".to_string(), "crashed"),
    ] {
        // The misbehaviour begins after the first replies.
        let words = "--conns 4 --rate 20k --warmup 20ms --duration 300ms --blocks 4 --request-timeout 500ms";
        let mut gate = gate(words, &["--base-cmd", &good, "--head-cmd", &bad]);
        let output = gate.output();
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(1), "{bad}: {errors}");
        assert!(errors.contains("head (`"), "{bad}: {errors}");
        assert!(errors.contains(said), "{bad}: {errors}");
        assert!(errors.contains("nothing was judged"), "{bad}: {errors}");
        assert!(!gate.folder().unwrap().join("gate.json").exists());
        assert!(gate.saved_rows() >= 1);
    }
}

/// A git repository whose build copies `epoll`, and a second commit whose build fails.
struct Repository {
    folder: TempDir,
    cache: TempDir,
}

impl Repository {
    fn new() -> Option<Repository> {
        let repository = Repository {
            folder: tempfile::tempdir().unwrap(),
            cache: tempfile::tempdir().unwrap(),
        };
        let epoll = built("servers", ["--bin", "epoll"]);
        let build = format!("echo built >> built\ncp {} server\n", epoll.display());
        repository.commit("build.sh", &build)?;
        repository.commit("build.sh", "echo 'no such luck' >&2\nexit 3\n")?;
        Some(repository)
    }

    /// None without git.
    fn commit(&self, file: &str, text: &str) -> Option<()> {
        fs::write(self.folder.path().join(file), text).unwrap();
        let script = "git init -q . && git add build.sh && git -c user.name=t -c user.email=t@t commit -qm x";
        let status = Command::new("sh")
            .args(["-c", script])
            .current_dir(self.folder.path())
            .status();
        let made = status.is_ok_and(|status| status.success());
        if !made {
            eprintln!("skipped: needs git");
        }
        made.then_some(())
    }

    fn gate(&self, words: &str) -> Harness {
        let server = "{dir}/server --listen {addr}";
        let build = ["--build", "sh {dir}/build.sh"];
        let mut gate = gate(words, &["--base-cmd", server, "--head-cmd", server]);
        gate.command
            .args(build)
            .current_dir(self.folder.path())
            .env("XDG_CACHE_HOME", self.cache.path());
        gate
    }
}

#[test]
fn revisions_are_built_once_and_what_they_are_is_said() {
    let Some(repository) = Repository::new() else {
        return;
    };
    for _ in 0..2 {
        let mut gate = repository.gate(&format!("{TINY} --base HEAD~1 --head HEAD~1"));
        let output = gate.output();
        assert_eq!(output.status.code(), Some(98), "{}", errors(&output));
        let errors = errors(&output);
        assert!(
            errors.contains("base and head are the same commit"),
            "{errors}"
        );
    }
    let built = Command::new("find")
        .arg(repository.cache.path())
        .args(["-name", "built", "-exec", "cat", "{}", ";"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&built.stdout), "built\n");

    let mut gate = repository.gate(&format!("{TINY} --base HEAD~1 --head HEAD"));
    let output = gate.output();
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(
        said.contains("head (") && said.contains("does not build"),
        "{said}"
    );
    assert!(said.contains("no such luck"), "{said}");

    // Uncommitted changes are measured as they are, and said.
    let build = repository.folder.path().join("build.sh");
    fs::write(
        build,
        format!(
            "cp {} server\n",
            super::built("servers", ["--bin", "epoll"]).display()
        ),
    )
    .unwrap();
    let output = repository
        .gate(&format!(
            "{TINY} --base HEAD~1 --head worktree --fail-on never"
        ))
        .output();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(errors(&output).contains("with uncommitted changes: measured as it is"));
    // Both copy one and the same program, which is no comparison.
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        errors(&output).contains("one and the same program"),
        "{text}"
    );
    assert!(
        text.starts_with("INCONCLUSIVE: base and head ran one and the same program"),
        "{text}"
    );

    let output = repository
        .gate(&format!("{TINY} --base no-such-thing --head HEAD"))
        .output();
    assert_eq!(output.status.code(), Some(2));
    assert!(errors(&output).contains("no revision or folder of this name"));
}

/// Processes that use up every CPU, until dropped.
struct Burners(Vec<Child>);

impl Burners {
    fn start(count: usize) -> Burners {
        let burner = || {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).spawn().unwrap()
        };
        Burners((0..count).map(|_| burner()).collect())
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        for burner in &mut self.0 {
            let _ = burner.kill();
            let _ = burner.wait();
        }
    }
}

#[test]
fn a_regression_is_found_beside_a_noisy_neighbour() {
    let base = epoll();
    let head = format!("{base} --work-iters 400000");
    let _burners = Burners::start(4);
    let words = "--conns 4 --rate 200 --warmup 20ms --duration 200ms --blocks 8";
    let mut gate = gate(words, &["--base-cmd", &base, "--head-cmd", &head]);
    let (code, value) = gate.json();
    assert_eq!(verdict(&value), "REGRESSED", "{value:#}");
    assert_eq!(code, Some(99));
    assert!(
        value["answers"][0]["disturbed"].as_u64().unwrap() > 2,
        "{value:#}"
    );
}

#[test]
fn an_interrupted_gate_keeps_its_rows_and_judges_nothing() {
    let epoll = epoll();
    let words = "--conns 4 --rate 400 --warmup 20ms --duration 150ms --blocks 100";
    let mut gate = gate(words, &["--base-cmd", &epoll, "--head-cmd", &epoll]);
    let mut running = gate.spawn();
    wait_for("two rows", || gate.saved_rows() >= 2);
    running.signal("-INT");
    assert_eq!(running.end().code(), Some(130));
    assert_eq!(children_of(running.pid()), Vec::<PathBuf>::new());
    assert!(!gate.folder().unwrap().join("gate.json").exists());
    assert!(gate.saved_rows() >= 2);
}

#[test]
fn a_gate_without_sides_or_with_half_of_one_is_a_usage_error() {
    for (words, said) in [
        ("gate", "--base"),
        ("gate --base-cmd x", "--head-cmd"),
        ("gate --base HEAD --gate p99:5%", "no metric `p99`"),
        ("gate --base HEAD --model epol", "epoll"),
        ("gate --base HEAD --build make", "--base-cmd"),
    ] {
        let mut gate = harness(words);
        let output = gate.output();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{words}: {}",
            errors(&output)
        );
        assert!(
            errors(&output).contains(said),
            "{words}: {}",
            errors(&output)
        );
    }
}

#[test]
fn a_dry_run_says_what_the_budget_buys() {
    let epoll = epoll();
    let words = "--conns 50,1000 --budget 2m --dry-run";
    let output = gate(words, &["--base-cmd", &epoll, "--head-cmd", &epoll]).output();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert_eq!(text.matches("cell: ").count(), 2, "{text}");
    assert!(
        text.contains("blocks in 120 s") && text.contains("is found in 80 of 100"),
        "{text}"
    );
}
