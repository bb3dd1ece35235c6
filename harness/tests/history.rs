//! `tenk history` as a program: what is kept in files and on branches, the page, and the commit that is found.

#[path = "history/pools.rs"]
mod pools;
mod programs;

use harness::analysis::history::FALSE_ALARMS;
use programs::built;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const METHODOLOGY: &str = include_str!("../../docs/METHODOLOGY.md");

/// A repository whose commits serve in different ways.
struct Repository(TempDir);

impl Repository {
    /// None without git. Commit `i` serves by the script `serve(i)`.
    fn new(commits: usize, serve: impl Fn(usize) -> String) -> Option<Repository> {
        let repository = Repository(tempfile::tempdir().unwrap());
        let init = repository.git(&["init", "-q", "-b", "main"]);
        if !init.is_some_and(|output| output.status.success()) {
            eprintln!("skipped: needs git");
            return None;
        }
        for i in 0..commits {
            // Two commits may serve alike, and each has something of its own.
            let serve = format!("# {i}\n{}\n", serve(i));
            fs::write(repository.path("serve"), serve).unwrap();
            repository.git(&["add", "serve"]).unwrap();
            repository
                .git(&["commit", "-qm", &format!("change {i}")])
                .unwrap();
        }
        Some(repository)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn git(&self, args: &[&str]) -> Option<Output> {
        let identity = [
            "-c",
            "user.name=t",
            "-c",
            "user.email=t@t",
            "-c",
            "commit.gpgSign=false",
        ];
        let mut command = Command::new("git");
        command.args(identity).args(args).current_dir(self.0.path());
        command.output().ok()
    }

    fn said(&self, args: &[&str]) -> String {
        let output = self.git(args).unwrap();
        assert!(output.status.success(), "{args:?}: {}", errors(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_string()
    }

    fn tenk(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
        command
            .args(words)
            .current_dir(self.0.path())
            .env("CARGO", env!("CARGO"))
            .env("XDG_CACHE_HOME", self.path(".git/cache"))
            // Nobody is known here, as on a runner.
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::null());
        command.output().unwrap()
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", errors(output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn reference() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../results/reference");
    path.display().to_string()
}

#[test]
fn how_often_changes_are_found_is_what_the_pools_say() {
    assert_eq!(FALSE_ALARMS, pools::sentence());
    assert!(
        METHODOLOGY.contains(FALSE_ALARMS),
        "docs/METHODOLOGY.md: {FALSE_ALARMS}"
    );
    for (name, words) in pools::POOLS {
        let pool = pools::Pool::read(name);
        let rate = pool.false_alarms();
        assert!(rate <= 0.02, "{words}: {rate}");
        assert!(
            pool.in_order().iter().all(|changes| *changes <= 1),
            "{words}: {:?}",
            pool.in_order()
        );
    }
}

#[test]
fn runs_are_kept_in_a_file_once_and_drawn_by_commit() {
    let Some(repository) = Repository::new(3, |_| String::new()) else {
        return;
    };
    let reference = reference();
    for commit in ["HEAD~2", "HEAD~1", "HEAD"] {
        let output = repository.tenk(&["history", "add", &reference, "--commit", commit]);
        assert!(printed(&output).starts_with("1 lines added to tenk-history.jsonl"));
    }
    let again = repository.tenk(&["history", "add", &reference]);
    assert!(printed(&again).starts_with("0 lines added"));
    assert!(errors(&again).contains("1 of 1 lines are in tenk-history.jsonl already"));
    let file = repository.path("tenk-history.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text.lines().count(), 3);
    // What another version wrote, and what nobody did.
    let newer = text
        .lines()
        .next()
        .unwrap()
        .replace("tenk.history/1", "tenk.history/9");
    fs::write(&file, format!("{text}{newer}\n{{\"half")).unwrap();
    let output = repository.tenk(&["history", "plot"]);
    let words = printed(&output);
    assert!(
        words.contains("in which no change could be found") && words.contains("Page: history.html"),
        "{words}"
    );
    let said = errors(&output);
    assert!(
        said.contains("tenk-history.jsonl:4: it is tenk.history/9") && said.contains("jsonl:5"),
        "{said}"
    );
    let page = fs::read_to_string(repository.path("history.html")).unwrap();
    assert!(page.contains("CPU per request by commit") && page.contains("change 2"));
    assert!(page.contains("how often wrongly") && !page.contains("<script"));
    let outside = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
    let output = command
        .args(["history", "add", &reference])
        .current_dir(outside.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("inside the repository whose servers were measured"),
        "{}",
        errors(&output)
    );
}

#[test]
fn a_branch_keeps_a_history_and_neither_index_nor_worktree_changes() {
    let Some(repository) = Repository::new(2, |_| String::new()) else {
        return;
    };
    let reference = reference();
    fs::write(repository.path("serve"), "changed").unwrap();
    fs::write(repository.path("staged"), "staged").unwrap();
    repository.said(&["add", "staged"]);
    let before = (
        repository.said(&["status", "--porcelain"]),
        fs::read(repository.path(".git/index")).unwrap(),
    );
    for commit in ["HEAD~1", "HEAD"] {
        printed(&repository.tenk(&[
            "history", "add", &reference, "--commit", commit, "--branch", "perf",
        ]));
    }
    let after = (
        repository.said(&["status", "--porcelain"]),
        fs::read(repository.path(".git/index")).unwrap(),
    );
    assert_eq!(before, after);
    assert_eq!(repository.said(&["rev-list", "--count", "perf"]), "2");
    assert_eq!(
        repository.said(&["ls-tree", "--name-only", "perf"]),
        "history.jsonl"
    );
    assert_eq!(
        repository
            .said(&["show", "perf:history.jsonl"])
            .lines()
            .count(),
        2
    );
    let again = repository.tenk(&["history", "add", &reference, "--branch", "perf"]);
    assert!(printed(&again).starts_with("0 lines added"));
    assert_eq!(
        repository.said(&["rev-list", "--count", "perf"]),
        "2",
        "no empty commit"
    );
    let words =
        printed(&repository.tenk(&["history", "plot", "--branch", "perf", "--page", "p.html"]));
    assert!(words.contains("Page: p.html"), "{words}");
    for (branch, said) in [
        ("main", "it is checked out in"),
        ("a..b", "cannot be the name"),
        ("-x", "--branch"),
    ] {
        let output =
            repository.tenk(&["history", "add", &reference, &format!("--branch={branch}")]);
        assert_eq!(output.status.code(), Some(2), "{branch}");
        assert!(
            errors(&output).contains(said),
            "{branch}: {}",
            errors(&output)
        );
    }
}

#[test]
fn two_who_add_to_a_branch_at_once_both_do() {
    let Some(repository) = Repository::new(6, |_| String::new()) else {
        return;
    };
    let reference = reference();
    std::thread::scope(|scope| {
        for back in 0..6 {
            let (repository, reference) = (&repository, &reference);
            scope.spawn(move || {
                let commit = format!("HEAD~{}", back.min(5));
                let words = [
                    "history", "add", reference, "--commit", &commit, "--branch", "perf",
                ];
                printed(&repository.tenk(&words));
            });
        }
    });
    assert_eq!(
        repository
            .said(&["show", "perf:history.jsonl"])
            .lines()
            .count(),
        6
    );
}

#[test]
fn a_range_without_a_change_or_turned_around_is_said() {
    let Some(repository) = Repository::new(2, |_| String::new()) else {
        return;
    };
    let metric = "server_cpu_us_per_request";
    let turned = repository.tenk(&[
        "history", "find", metric, "--good", "HEAD", "--bad", "HEAD~1",
    ]);
    assert_eq!(turned.status.code(), Some(2));
    assert!(
        errors(&turned).contains("is no ancestor of"),
        "{}",
        errors(&turned)
    );
    let unknown = repository.tenk(&["history", "find", metric, "--good", "nonsense"]);
    assert!(
        errors(&unknown).contains("--good nonsense"),
        "{}",
        errors(&unknown)
    );
}

#[test]
#[ignore = "minutes of gates, on a quiet machine"]
fn the_commit_that_made_it_slower_is_found_between_those_that_did_not() {
    let epoll = built("servers", ["--bin", "epoll"]);
    let serve = |i: usize| {
        let iterations = if i < 6 { 0 } else { 1_000_000 };
        format!(
            "exec {} --listen \"$1\" --work-iters {iterations}",
            epoll.display()
        )
    };
    let Some(repository) = Repository::new(9, serve) else {
        return;
    };
    let words = "history find server_cpu_us_per_request --good HEAD~8 --conns 4 --rate 200 --warmup 20ms \
                 --duration 150ms --blocks 8 --budget 5m --results found";
    let mut words: Vec<&str> = words.split_whitespace().collect();
    words.extend(["--server", "sh {dir}/serve {addr}"]);
    let output = repository.tenk(&words);
    let found = printed(&output);
    assert!(
        found.starts_with("CPU per request changed") && found.contains("(change 6)"),
        "{found}{}",
        errors(&output)
    );
    assert!(found.contains("gates, "), "{found}");
    let gates = fs::read_dir(repository.path("found")).unwrap().count();
    assert!((3..=5).contains(&gates), "{gates}");
    // Its gates become a history.
    let gates: Vec<String> = fs::read_dir(repository.path("found"))
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    let add: Vec<&str> = ["history", "add"]
        .into_iter()
        .chain(gates.iter().map(String::as_str))
        .collect();
    assert!(printed(&repository.tenk(&add)).contains("lines added"));
    let text = fs::read_to_string(repository.path("tenk-history.jsonl")).unwrap();
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let heads: Vec<Value> = lines.filter(|line| line["against"].is_string()).collect();
    assert!(!heads.is_empty());
    assert!(
        heads.iter().all(|line| {
            line["figures"][0]["metrics"]["server_cpu_us_per_request"]["change"].is_object()
        }),
        "{heads:#?}"
    );
}
