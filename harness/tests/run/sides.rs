//! What `tenk gate` does to a user's repository, and what it makes of an odd one. Nothing is measured where nothing
//! must be: a build that fails ends the gate after all that is asked of git.

use super::*;

/// A repository of two commits, `f` holding 1 and then 2, with a cache of its own.
struct Repository {
    place: TempDir,
}

impl Repository {
    /// None without git.
    fn new() -> Option<Repository> {
        let repository = Repository {
            place: tempfile::tempdir().unwrap(),
        };
        let made = repository.shell(
            "mkdir repo && cd repo && git init -q -b main && git config user.email t@t && git config user.name t && \
             echo 1 >f && git add . && git commit -qm 1 && echo 2 >f && git commit -qam 2",
        );
        if !made.status.success() {
            eprintln!("skipped: needs git");
            return None;
        }
        Some(repository)
    }

    /// Runs a script beside the repository `repo`; `gate …` in it is the gate.
    fn shell(&self, script: &str) -> Output {
        let gate = format!(
            "gate() {{ '{}' gate \"$@\"; }}\n",
            env!("CARGO_BIN_EXE_tenk")
        );
        Command::new("sh")
            .args(["-c", &(gate + script)])
            .current_dir(self.place.path())
            .env("CARGO", env!("CARGO"))
            .env("TENK", env!("CARGO_BIN_EXE_tenk"))
            .env("EPOLL", built("servers", ["--bin", "epoll"]))
            .env("XDG_CACHE_HOME", self.place.path().join("cache"))
            .env_remove("GITHUB_ACTIONS")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// What a script prints, on both streams.
    fn said(&self, script: &str) -> String {
        let output = self.shell(script);
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).into_owned()
    }
}

/// The flags of a gate that ends with its build.
const NOTHING: &str = "--build false --base-cmd x --head-cmd x";

#[test]
fn a_gate_in_a_hook_leaves_the_index_alone() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let said = repository.said(&format!(
        "cd repo; printf '#!/bin/sh\\n\"$TENK\" gate -q --base HEAD~1 {NOTHING}; exit 0\\n' >.git/hooks/pre-commit; \
         chmod +x .git/hooks/pre-commit; echo 3 >f; git commit -qam 3; git show HEAD:f; git status -s"
    ));
    assert!(said.contains("does not build"), "the gate ran: {said}");
    assert_eq!(
        said.lines().filter(|line| *line == "3").count(),
        1,
        "{said}"
    );
    assert!(!said.contains(" M f"), "{said}");
}

#[test]
fn a_worktree_that_is_out_of_sight_for_a_moment_is_not_forgotten() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let said = repository.said(&format!(
        "cd repo; git worktree add -q ../w -b w; echo staged >../w/f; git -C ../w add f; mv ../w ../away; \
         gate -q --base HEAD~1 {NOTHING}; mv ../away ../w; git -C ../w status -s"
    ));
    assert!(
        said.contains("does not build") && said.contains("M  f"),
        "{said}"
    );
}

#[test]
fn a_side_that_cannot_be_is_said_to_be_so() {
    let Some(repository) = Repository::new() else {
        return;
    };
    for (script, words) in [
        ("cd repo; gate -q --base ''", "--base is empty"),
        (
            "git init -q new; cd new; gate -q --base HEAD~1",
            "there is no commit here yet",
        ),
        (
            "git clone -q --bare repo bare; cd bare; gate -q --base HEAD~1",
            "this repository is bare and has no worktree: name both sides (--base REV --head REV)",
        ),
    ] {
        let said = repository.said(&format!("{script} {NOTHING}; echo code $?"));
        assert!(
            said.contains(words) && said.contains("code 2"),
            "{script}: {said}"
        );
    }
    let both = format!("cd bare; gate -q --base HEAD~1 --head HEAD {NOTHING}");
    assert!(
        repository.said(&both).contains("does not build"),
        "what is advised works"
    );
}

#[test]
fn what_a_gate_keeps_in_a_repository_is_no_change_of_it() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let said = repository.said(
        "mkdir -p repo/sub repo/r; cd repo/sub; echo >../r/kept; export XDG_CACHE_HOME=$(cd ..; pwd)/.cache; \
         for once in 1 2; do gate -q --base HEAD~1 --build 'test \"$(cat f)\" = 1' --base-cmd x --head-cmd x \
         --results ../r; done; echo >../new; gate -q --base HEAD~1 --build 'test \"$(cat f)\" = 1' --base-cmd x \
         --head-cmd x --results ../r",
    );
    let heads: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("head ("))
        .collect();
    assert_eq!(heads.len(), 3, "{said}");
    for head in &heads[..2] {
        assert!(!head.contains("not committed"), "{said}");
    }
    assert!(heads[2].contains("not committed (new)"), "{said}");
}

#[test]
fn a_checkout_is_whole_or_made_again() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let gate =
        "gate -q --base HEAD~1 --build 'cat f >&2; ls; false' --base-cmd x --head-cmd x 2>&1";
    let first = repository.said(&format!("cd repo; {gate}"));
    assert!(first.contains("1\n"), "{first}");
    for (damage, why) in [
        ("echo changed >$C/f", "a changed file"),
        ("rm $C/f", "a missing file"),
        ("rm -rf $C", "a removed folder"),
        (
            "rm -rf $C; git worktree lock $C",
            "a killed checkout's locked entry",
        ),
        ("rm $C/.git", "no worktree"),
        ("git -C $C checkout -q --detach main", "another commit"),
        ("rm -rf .git/worktrees", "entries that were pruned"),
        ("echo >$C/half-built", "what a killed build left"),
        (
            "git config status.showUntrackedFiles no; echo >$C/half-built",
            "what a killed build left, where git is told not to show it",
        ),
    ] {
        let said = repository.said(&format!(
            "cd repo; C=$(ls -d ../cache/tenk/gate/*/$(git rev-parse HEAD~1)); {damage}; {gate}"
        ));
        assert!(
            said.contains("1\nf\n") || said.contains("f\n1\n"),
            "{why}: {said}"
        );
        assert!(
            !said.contains("changed") && !said.contains("half-built"),
            "{why}: {said}"
        );
    }
}

#[test]
fn submodules_are_there() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let said = repository.said(
        "git init -q lib && cd lib && git config user.email t@t && git config user.name t && echo x >lib.c && git add . \
         && git commit -qm lib && cd ../repo && git -c protocol.file.allow=always submodule -q add ../lib 'vendor lib' && \
         git commit -qm 3 && git commit -q --allow-empty -m 4; git config -l --local >before; \
         gate -q --base HEAD~1 --build 'ls \"vendor lib\" >&2; false' --base-cmd x --head-cmd x; \
         git config -l --local | diff before -",
    );
    assert!(said.starts_with("lib.c\n"), "{said}");
    assert!(said.trim_end().ends_with("nothing was judged"), "{said}");
}

#[test]
fn a_folders_name_is_one_word_and_is_not_executed() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let said = repository.said(
        "mv repo 'a q$(touch x)'; cd 'a q$(touch x)'; \
         gate -q --base HEAD --build 'echo >{dir}/made && ls \"{dir}\" >&2; test 1 = 0' --base-cmd x --head-cmd x; \
         gate -q --base . --head . --build 'ls \"{dir}/f\" '\\''{dir}'\\''/f >&2; false' --base-cmd x --head-cmd x; \
         find . ../ -name x",
    );
    assert!(
        said.contains("made") && said.contains("a q$(touch x)/f"),
        "{said}"
    );
    assert!(!said.lines().any(|line| line.ends_with("/x")), "{said}");
}

#[test]
fn a_remedy_that_is_told_works_when_it_is_typed() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let setup = "cd repo; git tag v1 HEAD~1; git checkout -q -b topic; git commit -q --allow-empty -m t; cd ..; \
                 git clone -q --depth 1 -b topic \"file://$PWD/repo\" shallow; git clone -q --single-branch -b topic repo one";
    let made = repository.shell(setup);
    assert!(made.status.success(), "{made:?}");
    for clone in ["shallow", "one"] {
        for base in [
            "main",
            "v1",
            "HEAD~1",
            "HEAD^",
            "$(git -C ../repo rev-parse main~1)",
        ] {
            let said = repository.said(&format!(
                "cp -r {clone} copy; cd copy; base={base}; gate -q --base $base {NOTHING} 2>said; cat said; \
                 if grep -q -- '--base' said; then eval \"$(sed 's/^[^`]*`//; s/`.*//' said)\" 2>&1; \
                 gate -q --base $base {NOTHING}; fi; cd ..; rm -rf copy"
            ));
            assert!(said.contains("does not build"), "{clone} {base}: {said}");
        }
    }
    for (script, expected) in [
        (
            "cd one; gate -q --base mian",
            "no revision or folder of this name here or on origin",
        ),
        ("cd /; gate -q --base main", "not a git repository"),
        (
            "cd one; PATH=/nowhere gate -q --base main",
            "git was not found on PATH",
        ),
        (
            "cd repo; gate -q --base HEAD~9",
            "the history of HEAD does not reach so far back",
        ),
        ("cd repo; git tag tree HEAD:; gate -q --base tree", "commit"),
    ] {
        let said = repository.said(&format!("{script} {NOTHING}"));
        assert!(
            said.contains(expected) && !said.contains("does not build"),
            "{script}: {said}"
        );
    }
    let said = repository.said(&format!("git clone -q repo full; cd full; git checkout -q topic 2>&1; git branch -qD main; gate --base main {NOTHING}"));
    assert!(
        said.contains("note: --base main: there is no such branch here: origin/main is taken"),
        "{said}"
    );
}

#[test]
fn what_the_gate_made_itself_is_no_change() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let gate = "gate --base HEAD --build 'echo x >product' --base-cmd 'exit 3' --head-cmd 'exit 3' --export md=out.md 2>&1";
    for round in 0..2 {
        let said = repository.said(&format!(
            "cd repo; mkdir -p results; echo >results/old; {gate}"
        ));
        assert!(said.contains("are the same commit"), "{round}: {said}");
        assert!(
            !said.contains("uncommitted") && !said.contains("not committed"),
            "{round}: {said}"
        );
    }
    let said = repository.said(&format!("cd repo; echo >new.c; {gate}"));
    assert!(
        said.contains("with files that are not committed (new.c)"),
        "{said}"
    );
}

#[test]
fn a_build_ends_with_all_its_children() {
    let Some(repository) = Repository::new() else {
        return;
    };
    let said = repository.said(
        "T=$PWD; export T; cd repo; \"$TENK\" gate -q --base HEAD \
         --build 'sleep 4321 & echo $! >$T/pid.new; mv $T/pid.new $T/pid; wait' --base-cmd x --head-cmd x & G=$!; \
         until [ -e $T/pid ]; do sleep .05; done; kill $G; wait $G; echo \"code $?\"; \
         for i in 1 2 3 4 5 6 7 8 9; do kill -0 $(cat $T/pid) 2>/dev/null || break; sleep .1; done; \
         grep -s State /proc/$(cat $T/pid)/status | grep -v Z; echo over",
    );
    assert!(said.contains("code 143\nover"), "{said}");
}

/// A server that answers an echo, a process for each connection, with work that is not optimised away.
const SERVER: &str = r#"
#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "work.h"
int main(int argc, char **argv) {
  int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[argc - 1]))};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 128)) return 1;
  for (;;) {
    int peer = accept(listener, 0, 0);
    if (fork()) { close(peer); continue; }
    char buffer[4096];
    for (ssize_t n; (n = read(peer, buffer, sizeof buffer)) > 0;) {
      for (volatile long i = 0; i < WORK; i++) {}
      if (write(peer, buffer, n) != n) break;
    }
    _exit(0);
  }
}
"#;

#[test]
fn a_relative_command_runs_each_sides_own_program() {
    let Some(repository) = Repository::new() else {
        return;
    };
    fs::write(repository.place.path().join("repo/server.c"), SERVER).unwrap();
    let made = repository.shell(
        "cd repo && echo 'server: server.c work.h; cc -O1 -o server server.c' >Makefile && echo server >.gitignore && \
         echo '#define WORK 0' >work.h && git add . && git commit -qm fast && \
         echo '#define WORK 500000' >work.h && git commit -qam slow && echo >README && git add . && \
         git commit -qm 'no change to the program' && make -s",
    );
    if !made.status.success() {
        eprintln!("skipped: needs make and a C compiler");
        return;
    }
    let gate = |more: &str| {
        repository.shell(&format!(
            "cd repo; gate --conns 2 --rate 200 --warmup 20ms --duration 100ms --blocks 8 --format json \
             --build 'make -s' --base-cmd './server {{port}}' --head-cmd './server {{port}}' {more}"
        ))
    };
    let value = |output: &Output| -> Value {
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
    };
    let worse = gate("--base HEAD~2 --export md=gate.md");
    let found = value(&worse);
    assert_eq!(found["answers"][0]["verdict"], "REGRESSED", "{found:#}");
    assert_eq!(worse.status.code(), Some(99));
    let digest = |side: &str| {
        found[side]["programs"]["server"]
            .as_str()
            .unwrap()
            .to_string()
    };
    assert_ne!(digest("base"), digest("head"));
    let exported = fs::read_to_string(repository.place.path().join("repo/gate.md")).unwrap();
    assert!(
        exported.starts_with("### tenk gate: REGRESSED"),
        "{exported}"
    );
    let folder = repository
        .place
        .path()
        .join("repo")
        .join(found["run_dir"].as_str().unwrap());
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("REGRESSED"), "the page has no verdict");
    let recorded = fs::read_to_string(folder.join("environment.json")).unwrap();
    assert!(recorded.contains(&digest("head")), "{recorded}");

    let better = value(&gate("--base HEAD --head HEAD~2"));
    assert_eq!(better["answers"][0]["verdict"], "IMPROVED", "{better:#}");

    // Another commit, the same program: nothing was compared.
    let same = gate("--base HEAD~1");
    let found = value(&same);
    assert_eq!(found["answers"][0]["verdict"], "INCONCLUSIVE", "{found:#}");
    assert!(
        found["same"]
            .as_str()
            .unwrap()
            .contains("one and the same program"),
        "{found:#}"
    );
    assert_eq!(same.status.code(), Some(98));
}

#[test]
fn a_variable_that_is_wrong_is_named_and_sub_commands_take_none() {
    let run = |words: &str, name: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenk"));
        command.args(words.split_whitespace()).env(name, value);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let dry = "--model epoll --dry-run";
    for (name, value) in [
        ("TENK_QUIET", "1"),
        ("TENK_QUIET", ""),
        ("TENK_RATE", ""),
        ("TENK_CONFIG", ""),
        ("TENK_CONNS", "5, 6"),
    ] {
        let (code, said) = run(dry, name, value);
        assert_eq!(code, Some(0), "{name}={value}: {said}");
    }
    for (name, value) in [
        ("TENK_QUIET", "maybe"),
        ("TENK_CONNS", "x"),
        ("TENK_CONFIG", "/nowhere"),
    ] {
        let (code, said) = run(dry, name, value);
        assert_eq!(code, Some(2), "{name}={value}: {said}");
        assert!(said.contains(name) || said.contains("/nowhere"), "{said}");
        assert_eq!(run("list", name, value).0, Some(0), "{name}={value}");
    }
}
