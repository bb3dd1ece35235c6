//! The two sides of a gate: which source each one is, and where it lies built.
//!
//! A revision is checked out into the cache directory, under its commit; what was built there is found again by the
//! next gate. A folder, or the worktree one is in, is taken as it is, and nothing but its own build writes into it.

use super::checkout::{self, Checkout, Held};
use super::git::{self, git, status_entries};
use crate::base::child::{clean_command, output};
use crate::base::error::{Failure, OrFail};
use crate::base::shell;
use crate::trial::binaries::{self, hex};
use hmac_sha256::Hash as Sha256;
use loadgen::base::cache::cache_directory;
use loadgen::base::file::write_atomically;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

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
    /// Whether it differs from its commit, by more than a gate made there itself.
    pub dirty: bool,
    /// Where its sources lie, and its commands run; a revision's are checked out there by [`Side::make`].
    pub folder: PathBuf,
    /// SHA-256 of what was run, by file.
    pub programs: BTreeMap<String, String>,
    /// What the user should know of it beforehand.
    #[serde(skip)]
    pub notes: Vec<String>,
    /// The revision to check out; none: the folder is there already.
    #[serde(skip)]
    pub(super) checkout: Option<Checkout>,
    /// Files of a folder that its commit does not have, before anything was built.
    #[serde(skip)]
    pub(super) untracked: BTreeSet<String>,
}

impl Side {
    /// Finds out what `text` names: `worktree`, a revision, or a folder. `ours`: places that this gate writes to.
    pub async fn find(name: &'static str, text: &str, ours: &[PathBuf]) -> Result<Side, Failure> {
        let here = std::env::current_dir().or_failed("cannot tell the current folder")?;
        if text.trim().is_empty() {
            return Err(Failure::usage(format!(
                "--{name} is empty: it names a revision, a folder or `{WORKTREE}` (is a variable not set?)"
            )));
        }
        if text == WORKTREE {
            let top = match git(&here, &["rev-parse", "--show-toplevel"]).await {
                Ok(top) => top,
                Err(words) => return Err(git::not_found(&here, name, WORKTREE, &words).await),
            };
            return Ok(Side::of_folder(name, WORKTREE, Path::new(&top), ours).await);
        }
        let words = match git::find(&here, text).await {
            Ok(found) => {
                let repository = git::common_folder(&here).await;
                let repository =
                    repository.map_err(|e| Failure::usage(format!("--{name} {text}: {e}")))?;
                let mut side = Side::of_commit(name, found.commit, &repository, &here)?;
                if let Some(instead) = found.instead {
                    side.what = format!("{instead} at {}", side.what);
                    side.notes.push(format!(
                        "note: --{name} {text}: there is no such branch here: {instead} is taken"
                    ));
                }
                return Ok(side);
            }
            Err(words) => words,
        };
        match fs::canonicalize(text) {
            Ok(folder) if folder.is_dir() => Ok(Side::of_folder(name, text, &folder, ours).await),
            _ => Err(git::not_found(&here, name, text, &words).await),
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
            programs: BTreeMap::new(),
            notes: Vec::new(),
            checkout: None,
            untracked: BTreeSet::new(),
        }
    }

    fn of_commit(
        name: &'static str,
        commit: String,
        repository: &Path,
        here: &Path,
    ) -> Result<Side, Failure> {
        let cache = cache()?;
        // Repositories may share commits, and their worktrees not.
        let repository_id = identity(repository.as_os_str().as_encoded_bytes());
        let folder = cache.join(repository_id).join(&commit);
        Ok(Side {
            what: short(&commit).to_string(),
            checkout: Some(Checkout {
                repository: repository.into(),
                here: here.into(),
                commit: commit.clone(),
                folder: folder.clone(),
            }),
            commit: Some(commit),
            folder,
            ..Side::of_command(name, "")
        })
    }

    async fn of_folder(name: &'static str, text: &str, folder: &Path, ours: &[PathBuf]) -> Side {
        let commit = git(folder, &["rev-parse", "HEAD"]).await.ok();
        let mut side = Side {
            what: text.to_string(),
            folder: folder.into(),
            ..Side::of_command(name, "")
        };
        if let Some(commit) = &commit {
            side.what.push_str(&format!(" at {}", short(commit)));
        }
        side.commit = commit;
        let (changed, untracked) = changes(folder).await;
        let own = side.made_before();
        let is_own = |path: &&String| {
            let place = folder.join(path);
            own.contains(*path) || ours.iter().any(|ours| place.starts_with(ours))
        };
        let foreign: Vec<&String> = untracked.iter().filter(|path| !is_own(path)).collect();
        side.dirty = changed || !foreign.is_empty();
        match (changed, foreign.as_slice()) {
            (true, _) => side.what.push_str(" with uncommitted changes"),
            (false, [first, rest @ ..]) => side.what.push_str(&format!(
                " with files that are not committed ({}{})",
                Path::new(first)
                    .strip_prefix(folder)
                    .unwrap_or(Path::new(first))
                    .display(),
                if rest.is_empty() { "" } else { ", …" }
            )),
            (false, []) => {}
        }
        side.untracked = untracked;
        side
    }

    /// Checks a revision out, builds it with `--build`, or finds that done; whoever holds the result keeps it so.
    pub async fn make(&mut self, build: Option<&str>) -> Result<Option<Held>, Failure> {
        let held = match (&self.checkout, build) {
            (Some(checkout), build) => {
                let id = build.map(|command| identity(command.as_bytes()));
                let work = async || match build {
                    Some(command) => self.run(command).await,
                    None => Ok(()),
                };
                Some(checkout.prepare(id.as_deref(), work).await?)
            }
            (None, Some(command)) => {
                self.run(command).await?;
                self.remember_what_was_made().await;
                None
            }
            (None, None) => None,
        };
        self.notes = self.doubts_of_a_checkout().await;
        Ok(held)
    }

    /// What a checkout may lack without anybody noticing.
    async fn doubts_of_a_checkout(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.commit.is_none() {
            return notes;
        }
        let name = self.name;
        let submodules = checkout::empty_submodules(&self.folder).await;
        if !submodules.is_empty() {
            notes.push(format!(
                "note: {name}: submodules are empty: {} (`git submodule update --init --recursive`)",
                submodules.join(", ")
            ));
        }
        let pointers = checkout::unfilled_pointers(&self.folder).await;
        if let Some(first) = pointers.first() {
            notes.push(format!(
                "note: {name}: {} files are pointers of Git LFS, not their contents, such as {first} (`git lfs install`, \
                 then `git lfs pull`)",
                pointers.len()
            ));
        }
        notes
    }

    /// The programs of these models, built in release by this side's own sources, in a target folder of its own.
    pub async fn models(
        &self,
        names: &[&str],
        quiet: bool,
    ) -> Result<BTreeMap<String, PathBuf>, Failure> {
        let target = match &self.checkout {
            Some(_) => self.folder.with_extension("target"),
            None => self.own_place()?.join("target"),
        };
        let build = binaries::Build {
            cargo: cargo(),
            folder: &self.folder,
            packages: &["servers"],
            names,
            target: Some(&target),
            quiet,
        };
        let built = build
            .run()
            .await
            .map_err(|e| self.does_not_build(&e.message))?;
        if self.checkout.is_none() {
            self.remember_what_was_made().await;
        }
        match names.iter().find(|name| !built.contains_key(**name)) {
            Some(name) => Err(self.does_not_build(&format!("cargo made no program `{name}`"))),
            None => Ok(built),
        }
    }

    /// Runs `--build` in this side's folder.
    async fn run(&self, command: &str) -> Result<(), Failure> {
        let mut shell = clean_command(OsStr::new("/bin/sh"));
        shell
            .args(["-c", &shell::with_folder(command)])
            .env(shell::FOLDER, &self.folder)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            // What a build prints is for people; stdout is the gate's own.
            .stdout(std::io::stderr());
        let output = output(&mut shell)
            .await
            .map_err(|e| match self.folder.is_dir() {
                true => self.does_not_build(&format!("/bin/sh: {e}")),
                false => {
                    self.does_not_build(&format!("its folder {} is gone", self.folder.display()))
                }
            })?;
        match output.status.success() {
            true => Ok(()),
            false => Err(self.does_not_build(&format!(
                "`{command}` in {}: {}",
                self.folder.display(),
                output.status
            ))),
        }
    }

    /// Where the gate keeps what belongs to a folder of the user's.
    fn own_place(&self) -> Result<PathBuf, Failure> {
        let id = identity(self.folder.as_os_str().as_encoded_bytes());
        Ok(cache()?.join("folders").join(id))
    }

    /// What earlier gates built in a folder of the user's.
    fn made_before(&self) -> BTreeSet<String> {
        let read = || {
            let bytes = fs::read(self.own_place().ok()?.join("made.json")).ok()?;
            serde_json::from_slice(&bytes).ok()
        };
        read().unwrap_or_default()
    }

    /// Keeps the names of files that were not there before the build, so that they make no later head dirty.
    async fn remember_what_was_made(&self) {
        let (_, now) = changes(&self.folder).await;
        let new = now.difference(&self.untracked).cloned();
        let all: BTreeSet<String> = self.made_before().into_iter().chain(new).collect();
        if all.is_empty() {
            return;
        }
        // Without it the next gate says more than it needs to, no worse.
        if let (Ok(place), Ok(text)) = (self.own_place(), serde_json::to_vec(&all)) {
            let _ = fs::create_dir_all(&place)
                .and_then(|()| write_atomically(&place.join("made.json"), &text));
        }
    }

    fn does_not_build(&self, why: &str) -> Failure {
        Failure::failed(format!(
            "{} ({}) does not build: {why}; nothing was judged",
            self.name, self.what
        ))
    }
}

/// Whether a folder's committed files were changed, and which files its commit does not have.
async fn changes(folder: &Path) -> (bool, BTreeSet<String>) {
    let status = [
        "status",
        "--porcelain",
        "-z",
        "--untracked-files=all",
        "--ignore-submodules=untracked",
    ];
    let text = git(folder, &status).await.unwrap_or_default();
    // Paths are told from the top, of which the folder may be a part.
    let top = git(folder, &["rev-parse", "--show-toplevel"]).await;
    let top = PathBuf::from(top.unwrap_or_default());
    let (mut changed, mut untracked) = (false, BTreeSet::new());
    for (letters, path) in status_entries(&text) {
        match letters {
            "??" => drop(untracked.insert(top.join(path).display().to_string())),
            _ => changed = true,
        }
    }
    (changed, untracked)
}

/// The gate's part of the cache, where links in its path are followed: git names folders so.
fn cache() -> Result<PathBuf, Failure> {
    let cache = cache_directory().ok_or_else(|| {
        Failure::failed("neither XDG_CACHE_HOME nor HOME says where to check a revision out")
    })?;
    let cache = cache.join("gate");
    let made = fs::create_dir_all(&cache).and_then(|()| fs::canonicalize(&cache));
    made.map_err(|e| {
        Failure::failed(format!(
            "cannot use the cache {}: {e} (XDG_CACHE_HOME may name another place)",
            cache.display()
        ))
        .caused_by(e)
    })
}

/// The `cargo` that a person would start in the side's folder, which obeys its toolchain file; else the one that started
/// this program.
fn cargo() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).any(|folder| folder.join("cargo").is_file());
    let own = std::env::var_os("CARGO").filter(|cargo| !cargo.is_empty());
    match own {
        Some(own) if !on_path => own,
        _ => "cargo".into(),
    }
}

fn short(commit: &str) -> &str {
    commit.get(..9).unwrap_or(commit)
}

/// Names a folder or a mark after a text of any length.
fn identity(of: &[u8]) -> String {
    hex(&Sha256::hash(of)[..4])
}
