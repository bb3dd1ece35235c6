//! The two sides of a gate: which source each one is, and where it lies built.
//!
//! A revision is checked out with `git worktree` into the cache directory, under its commit; what was built there is
//! found again by the next gate. A folder, or the worktree one is in, is taken as it is.

use crate::base::error::{Failure, did_you_mean};
use crate::trial::binaries::{self, hex};
use loadgen::floor::cache_directory;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::process::Command;

/// What arms of the old side are called.
pub const BASE: &str = "base";
/// What arms of the new side are called.
pub const HEAD: &str = "head";

/// The word for the sources one is in, changes included.
const WORKTREE: &str = "worktree";

/// One side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// `base` or `head`.
    pub name: &'static str,
    /// What it is, in words: `4508559`, or `the worktree at 4508559 with uncommitted changes`.
    pub what: String,
    /// Its commit, where it has one.
    pub commit: Option<String>,
    /// Whether it differs from its commit.
    pub dirty: bool,
    /// Where its sources lie; a revision's are checked out there by [`Side::check_out`].
    pub folder: PathBuf,
    /// The repository to check out from; none: the folder is there already.
    #[serde(skip)]
    repository: Option<PathBuf>,
}

impl Side {
    /// Finds out what `text` names: `worktree`, a revision, or a folder.
    pub async fn find(name: &'static str, text: &str) -> Result<Side, Failure> {
        let here = std::env::current_dir()
            .map_err(|e| Failure::failed(format!("cannot tell the current folder: {e}")))?;
        if text == WORKTREE {
            let top = git(&here, &["rev-parse", "--show-toplevel"]).await;
            let top = top.map_err(|e| Failure::usage(format!("--{name} {WORKTREE}: {e}")))?;
            return Ok(Side::of_folder(name, WORKTREE, Path::new(&top)).await);
        }
        let revision = format!("{text}^{{commit}}");
        let verify = [
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &revision,
        ];
        if let Ok(commit) = git(&here, &verify).await {
            let top = git(&here, &["rev-parse", "--show-toplevel"]).await;
            let top = top.map_err(|e| Failure::usage(format!("--{name} {text}: {e}")))?;
            return Side::of_commit(name, commit, Path::new(&top));
        }
        match fs::canonicalize(text) {
            Ok(folder) if folder.is_dir() => Ok(Side::of_folder(name, text, &folder).await),
            _ => Err(Failure::usage(format!(
                "--{name} {text}: no such revision or folder{} (in a shallow clone, fetch it first: `git fetch --depth 1 \
                 origin {text}`)",
                did_you_mean(text, [WORKTREE])
            ))),
        }
    }

    /// A side that is only a command's.
    pub fn of_command(name: &'static str, command: &str) -> Side {
        Side {
            name,
            what: format!("`{command}`"),
            commit: None,
            dirty: false,
            folder: std::env::current_dir().unwrap_or_default(),
            repository: None,
        }
    }

    fn of_commit(name: &'static str, commit: String, repository: &Path) -> Result<Side, Failure> {
        let cache = cache_directory().ok_or_else(|| {
            Failure::failed("neither XDG_CACHE_HOME nor HOME says where to check a revision out")
        })?;
        // Repositories may share commits, and their worktrees not.
        let repository_id = identity(repository.as_os_str().as_encoded_bytes());
        let folder = cache.join("gate").join(repository_id).join(&commit);
        Ok(Side {
            name,
            what: short(&commit).to_string(),
            commit: Some(commit),
            dirty: false,
            folder,
            repository: Some(repository.into()),
        })
    }

    async fn of_folder(name: &'static str, text: &str, folder: &Path) -> Side {
        let commit = git(folder, &["rev-parse", "HEAD"]).await.ok();
        let changes = git(folder, &["status", "--porcelain"]).await;
        let dirty = changes.is_ok_and(|changes| !changes.is_empty());
        let mut what = text.to_string();
        if let Some(commit) = &commit {
            what.push_str(&format!(" at {}", short(commit)));
        }
        if dirty {
            what.push_str(" with uncommitted changes");
        }
        Side {
            name,
            what,
            commit,
            dirty,
            folder: folder.into(),
            repository: None,
        }
    }

    /// Checks a revision out, unless that was done before.
    pub async fn check_out(&self) -> Result<(), Failure> {
        let (Some(repository), Some(commit)) = (&self.repository, &self.commit) else {
            return Ok(());
        };
        if self.folder.join(".git").exists() {
            return Ok(());
        }
        let failed =
            |why: String| Failure::failed(format!("cannot check out {}: {why}", self.what));
        if let Some(parent) = self.folder.parent() {
            fs::create_dir_all(parent).map_err(|e| failed(e.to_string()))?;
        }
        // A cache that was emptied leaves git believing in folders that are gone.
        git(repository, &["worktree", "prune"])
            .await
            .map_err(failed)?;
        let folder = self.folder.display().to_string();
        let add = ["worktree", "add", "--detach", "--force", &folder, commit];
        git(repository, &add).await.map(|_| ()).map_err(failed)
    }

    /// The programs of these models, built in release by this side's own sources.
    pub async fn models(
        &self,
        names: &[&str],
        quiet: bool,
    ) -> Result<BTreeMap<String, PathBuf>, Failure> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built =
            binaries::build(Path::new(&cargo), &self.folder, &["servers"], names, quiet).await;
        let built = built.map_err(|e| self.does_not_build(&e.message))?;
        match names.iter().find(|name| !built.contains_key(**name)) {
            Some(name) => Err(self.does_not_build(&format!("cargo made no program `{name}`"))),
            None => Ok(built),
        }
    }

    /// Runs `--build` in this side's folder; for a revision once, since its sources do not change.
    pub async fn build(&self, command: &str) -> Result<(), Failure> {
        let command = self.filled_in(command);
        let id = identity(command.as_bytes());
        let mark = self.folder.with_extension(format!("{id}.built"));
        if self.repository.is_some() && mark.exists() {
            return Ok(());
        }
        let status = Command::new("/bin/sh")
            .args(["-c", &command])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            // What a build prints is for people; stdout is the gate's own.
            .stdout(std::io::stderr())
            .kill_on_drop(true)
            .status()
            .await
            .map_err(|e| self.does_not_build(&format!("/bin/sh: {e}")))?;
        if !status.success() {
            return Err(self.does_not_build(&format!(
                "`{command}` in {}: {status}",
                self.folder.display()
            )));
        }
        if self.repository.is_some() {
            // Without the mark the next gate builds once more, no worse.
            let _ = fs::write(mark, "");
        }
        Ok(())
    }

    /// A command with `{dir}` filled in.
    pub fn filled_in(&self, command: &str) -> String {
        command.replace("{dir}", &self.folder.display().to_string())
    }

    fn does_not_build(&self, why: &str) -> Failure {
        Failure::failed(format!(
            "{} ({}) does not build: {why}; nothing was judged",
            self.name, self.what
        ))
    }
}

fn short(commit: &str) -> &str {
    commit.get(..9).unwrap_or(commit)
}

/// Names a folder or a mark after a text of any length.
fn identity(of: &[u8]) -> String {
    hex(&Sha256::digest(of)[..4])
}

/// Runs git in a folder; its output without the last line feed, or what it complained of.
async fn git(folder: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = Command::new("git");
    command
        .arg("-C")
        .arg(folder)
        .args(args)
        .stdin(Stdio::null());
    let output = command.kill_on_drop(true).output().await;
    let Output {
        status,
        stdout,
        stderr,
    } = output.map_err(|e| format!("git: {e}"))?;
    match status.success() {
        true => Ok(String::from_utf8_lossy(&stdout).trim_end().to_string()),
        false => Err(String::from_utf8_lossy(&stderr).trim().to_string()),
    }
}
