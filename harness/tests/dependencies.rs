//! docs/DEPENDENCIES.md is the list of direct dependencies; each is used where it is declared; a plain build stays small,
//! and what it compiles with less optimisation is nothing that is measured.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const LIST: &str = include_str!("../../docs/DEPENDENCIES.md");

const CRATES: [&str; 3] = ["harness", "loadgen", "servers"];

/// What a plain build may compile, our own three included.
const MOST_CRATES: usize = 100;

/// What requests run through, in a server or in the generator: always compiled with everything the compiler has.
const MEASURED: [&str; 22] = [
    "base64",
    "bytes",
    "fastrand",
    "flate2",
    "hdrhistogram",
    "hmac-sha256",
    "httparse",
    "io-uring",
    "itoa",
    "libc",
    "loadgen",
    "memchr",
    "mio",
    "nix",
    "num-traits",
    "pin-project-lite",
    "regex-automata",
    "ring",
    "rustls",
    "servers",
    "socket2",
    "tokio",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names in a section of a crate's Cargo.toml.
fn declared(of: &str, section: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(workspace().join(of).join("Cargo.toml")).unwrap();
    let header = format!("[{section}]");
    let lines = text.lines().skip_while(|line| *line != header).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('['));
    let names = lines.filter_map(|line| line.split(['.', ' ', '=']).next());
    names
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// The rows under a heading of the list, as (dependency, crate); each has a reason.
fn listed(heading: &str) -> BTreeSet<(String, String)> {
    let lines = LIST.lines().skip_while(|line| *line != heading).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("## "));
    let mut found = BTreeSet::new();
    for line in lines.filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [name, users, reason] = cells[..] else {
            panic!("not three cells: {line}")
        };
        assert!(reason.len() > 10, "no reason: {line}");
        for user in users.split(", ") {
            assert!(found.insert((name.trim_matches('`').into(), user.into())));
        }
    }
    found
}

#[test]
fn every_direct_dependency_is_listed_with_its_reason_and_no_other() {
    for (section, heading) in [
        ("dependencies", "## In the programs"),
        ("dev-dependencies", "## Only in tests and benches"),
    ] {
        let declared = CRATES.iter().flat_map(|of| {
            let names = declared(of, section).into_iter();
            names.map(|name| (name, (*of).to_string()))
        });
        let declared: BTreeSet<_> = declared.collect();
        assert!(declared.len() > 3, "{section}: {declared:?}");
        assert_eq!(listed(heading), declared, "{heading}");
    }
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        match path.is_dir() {
            true => rust_files(&path, found),
            false if path.extension().is_some_and(|end| end == "rs") => found.push(path),
            false => {}
        }
    }
}

/// The sources of a crate: what its programs are made of, and what only its tests are.
fn sources(of: &str) -> (String, String) {
    let folder = workspace().join(of);
    let (mut programs, mut tests) = (String::new(), String::new());
    let (mut files, mut only_tests) = (Vec::new(), Vec::new());
    rust_files(&folder.join("src"), &mut files);
    for path in &files {
        let text = fs::read_to_string(path).unwrap();
        only_tests.extend(modules_for_tests(path, &text));
    }
    for path in &files {
        let text = fs::read_to_string(path).unwrap();
        match only_tests.iter().any(|test| path.starts_with(test)) {
            true => tests.push_str(&text),
            false => {
                let (program, test) = text
                    .split_once("\n#[cfg(test)]\nmod tests {")
                    .unwrap_or((&text, ""));
                programs.push_str(program);
                tests.push_str(test);
            }
        }
    }
    for place in ["tests", "benches", "examples"] {
        let mut files = Vec::new();
        rust_files(&folder.join(place), &mut files);
        files
            .iter()
            .for_each(|path| tests += &fs::read_to_string(path).unwrap());
    }
    (programs, tests)
}

/// The files and folders of modules that a file declares for tests only.
fn modules_for_tests(path: &Path, text: &str) -> Vec<PathBuf> {
    let declared = text.split("#[cfg(test)]\n").skip(1);
    let names = declared.filter_map(|after| {
        let line = after.lines().next()?.trim_start_matches("pub ");
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    let is_root = ["mod.rs", "lib.rs", "main.rs"]
        .iter()
        .any(|root| path.ends_with(root));
    let folder = match is_root {
        true => path.parent().unwrap().to_path_buf(),
        false => path.with_extension(""),
    };
    let places = names.flat_map(|name| [folder.join(name), folder.join(format!("{name}.rs"))]);
    places.collect()
}

/// Whether a text names a crate as a path's root.
fn names(text: &str, dependency: &str) -> bool {
    let name = dependency.replace('-', "_");
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(&name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = &text[at + name.len()..];
        !before.is_some_and(|c| is_word(c) || c == ':' || c == '.')
            && (after.starts_with("::") || after.starts_with(';') || after.starts_with(" as "))
    })
}

#[test]
fn every_dependency_is_used_where_it_is_declared() {
    assert!(names("use socket2::Socket;", "socket2") && !names("my_socket2::x", "socket2"));
    for of in CRATES {
        let (programs, tests) = sources(of);
        assert!(programs.len() > 10_000 && tests.len() > 10_000);
        for name in declared(of, "dependencies") {
            assert!(names(&programs, &name), "{of} uses {name} in no program");
        }
        for name in declared(of, "dev-dependencies") {
            assert!(names(&tests, &name), "{of} uses {name} in no test");
        }
    }
}

#[test]
fn a_plain_build_compiles_fewer_than_a_hundred_crates() {
    let output = Command::new(env!("CARGO"))
        .current_dir(workspace())
        .args([
            "tree",
            "--workspace",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
        ])
        .args(["--no-dedupe", "--format", "{p}", "--locked", "--offline"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<&str> = tree
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split(" (").next().unwrap())
        .collect();
    assert!(crates.len() > 30, "{crates:?}");
    assert!(crates.len() < MOST_CRATES, "{} crates", crates.len());
}

#[test]
fn what_is_measured_is_compiled_with_everything_the_compiler_has() {
    let read = |name: &str| fs::read_to_string(workspace().join(name)).unwrap();
    let (manifest, lock) = (read("Cargo.toml"), read("Cargo.lock"));
    let parsed: toml::Table = toml::from_str(&manifest).unwrap();
    let release = &parsed["profile"]["release"];
    assert!(release.get("opt-level").is_none(), "{release:?}");
    assert_eq!(release["codegen-units"].as_integer(), Some(1));
    let packages = release["package"].as_table().unwrap();
    let level = |name: &str| packages.get(name).and_then(|own| own.get("opt-level"));
    for name in MEASURED {
        assert_eq!(level(name), None, "{name} is measured");
        assert!(lock.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
    // A name that cargo does not find it only warns of.
    for name in packages.keys() {
        assert!(lock.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
    assert!(packages.len() > 20);
}
