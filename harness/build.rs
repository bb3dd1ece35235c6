//! What `tenk --version` says: the commit that a release build is of and whether its sources had changes, and how it was
//! built. A debug build says only that it is one: so that neither a commit nor a look at git makes anything build again
//! while one works.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a build is made of, from the workspace's folder.
const SOURCES: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "harness/Cargo.toml",
    "harness/scenarios.toml",
    "harness/src",
    "loadgen/Cargo.toml",
    "loadgen/src",
    "servers/Cargo.toml",
    "servers/src",
];

/// The variable by which a package's builder names the commit of sources that have no git: `COMMIT YYYY-MM-DD`.
const NAMED: &str = "TENK_COMMIT";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed={NAMED}");
    let workspace = Path::new(&variable("CARGO_MANIFEST_DIR")).join("..");
    let profile = variable("PROFILE");
    let named = env::var(NAMED).ok().filter(|named| is_commit(named));
    let commit = match (&named, profile.as_str()) {
        (Some(named), _) => named.replacen(' ', ", ", 1),
        (None, "release") => commit_of(&workspace),
        (None, _) => "a debug build".into(),
    };
    // Not TENK_…: cargo sets these for the programs that it runs, too, where such names are flags.
    println!(
        "cargo:rustc-env=HARNESS_VERSION={} ({commit})",
        variable("CARGO_PKG_VERSION")
    );
    println!(
        "cargo:rustc-env=HARNESS_BUILD={profile} build for {}, by {}",
        variable("TARGET"),
        compiler()
    );
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_default()
}

/// Whether a text is a commit and its date, and nothing that a terminal or cargo would obey.
fn is_commit(text: &str) -> bool {
    let usual = |c: char| c.is_ascii_alphanumeric() || " -".contains(c);
    !text.is_empty() && text.chars().all(usual)
}

/// The commit in words. Cargo looks here again when the head has moved or a source has changed.
fn commit_of(workspace: &Path) -> String {
    let git = |words: &[&str]| git(workspace, words);
    // Sources that were unpacked inside somebody's repository are not that repository's.
    let Some(commit) = git(&["ls-files", "--error-unmatch", "harness/build.rs"])
        .and_then(|_| git(&["log", "-1", "--format=%h, %cs", "--abbrev=12"]))
    else {
        return "built from sources without git, commit unknown".into();
    };
    for place in SOURCES {
        println!("cargo:rerun-if-changed={}", workspace.join(place).display());
    }
    watch_head(workspace);
    let changes = [&["status", "--porcelain", "--"][..], &SOURCES].concat();
    match git(&changes).as_deref() {
        Some("") => commit,
        _ => format!("{commit}, with changes"),
    }
}

/// Every commit, checkout and reset writes a line into the head's log. Where none is kept, the head and its branch are
/// looked at. A file that is not there must not be named: cargo would build again every time.
fn watch_head(workspace: &Path) {
    let path = |name: &str| {
        let place = git(workspace, &["rev-parse", "--git-path", name])?;
        Some(workspace.join(PathBuf::from(place))).filter(|path| path.is_file())
    };
    let branch = git(workspace, &["symbolic-ref", "--quiet", "HEAD"]);
    let watched = match path("logs/HEAD") {
        Some(log) => vec![Some(log)],
        None => vec![
            path("HEAD"),
            branch.and_then(|branch| path(&branch)),
            path("packed-refs"),
        ],
    };
    for place in watched.into_iter().flatten() {
        println!("cargo:rerun-if-changed={}", place.display());
    }
}

/// What git says, where it is there and has something to say.
fn git(folder: &Path, words: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // A hook's variables name another repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    let output = command.current_dir(folder).args(words).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| said.trim().to_string())
}

fn compiler() -> String {
    let output = Command::new(variable("RUSTC")).arg("--version").output();
    let said = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let said = said.unwrap_or_default();
    let words: Vec<&str> = said.split_whitespace().take(2).collect();
    match words.is_empty() {
        true => "an unknown compiler".into(),
        false => words.join(" "),
    }
}
