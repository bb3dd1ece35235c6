//! A revision in the cache: a worktree of the user's repository under its commit, whole or made again.
//!
//! What says that it is whole is written last, into the worktree's own folder in the repository, so that it goes with
//! it; and it is held against `git status` before every use. Only this one entry of the repository is ever touched.

use super::git::{git, git_own, status_entries};
use crate::base::error::Failure;
use crate::base::lock::{Kind, Locked};
use loadgen::base::file::write_atomically;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The mark's name in the worktree's folder of the repository.
const MARK: &str = "tenk-gate.json";

/// A revision's place in the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkout {
    /// The repository, where all its worktrees keep their objects.
    pub repository: PathBuf,
    /// Where the user is in it: git trusts a folder by its owner, and may be told to trust this one.
    pub here: PathBuf,
    /// The commit.
    pub commit: String,
    /// The worktree.
    pub folder: PathBuf,
}

/// A checkout that nobody repairs while this is held.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "it unlocks when it goes")] Locked);

/// What is known of a checkout that was once whole.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Mark {
    /// Which build command ran in it.
    build: Option<String>,
    /// Every path that git would name then, with its size and time: what a build made or changed.
    paths: BTreeMap<String, Stamp>,
}

/// A file as it was: its size and its time of change; none of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Stamp(Option<(u64, i64, i64)>);

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let file = fs::symlink_metadata(path).ok()?;
        let stamp = (file.size(), file.mtime(), file.mtime_nsec());
        Some(Stamp((!file.is_dir()).then_some(stamp)))
    }
}

impl Checkout {
    /// Makes the checkout whole for this build command (none: for cargo, which finds out by itself what it must do),
    /// and runs `build` in it where that has not been done.
    pub async fn prepare(
        &self,
        id: Option<&str>,
        build: impl AsyncFnOnce() -> Result<(), Failure>,
    ) -> Result<Held, Failure> {
        let failed = |why: String| {
            Failure::failed(format!(
                "cannot check out {} into {}: {why}",
                self.commit,
                self.folder.display()
            ))
        };
        if let Some(parent) = self.folder.parent() {
            fs::create_dir_all(parent).map_err(|e| failed(e.to_string()))?;
        }
        let held = self.lock(Kind::Shared).await.map_err(failed)?;
        let is_built = |mark: &Mark| id.is_none() || mark.build.as_deref() == id;
        if self.whole().await.is_some_and(|(mark, _)| is_built(&mark)) {
            return Ok(held);
        }
        drop(held);
        let held = self.lock(Kind::Exclusive).await.map_err(failed)?;
        // Another gate may have made it in the meantime.
        let (mark, is_untouched) = self.whole().await.unzip();
        let has_been_built = mark.as_ref().is_some_and(is_built);
        // What another command made, or a build that was killed, would be found by this one.
        let is_fresh = mark.is_some_and(|mark| mark.build.is_none()) && is_untouched == Some(true);
        if !has_been_built && !is_fresh {
            self.make().await.map_err(failed)?;
            self.set_mark(None).await.map_err(failed)?;
        }
        if id.is_some() && !has_been_built {
            build().await?;
            self.set_mark(id).await.map_err(failed)?;
        }
        drop(held);
        let held = self.lock(Kind::Shared).await.map_err(failed)?;
        Ok(held)
    }

    /// The lock lies beside the folder; who waits for it says so once.
    async fn lock(&self, kind: Kind) -> Result<Held, String> {
        let path = self.folder.with_extension("lock");
        let mut told = false;
        loop {
            let file = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            match Locked::at_once(file, kind) {
                Ok(lock) => return Ok(Held(lock)),
                Err((_, e)) if e.kind() == io::ErrorKind::WouldBlock && !told => {
                    told = true;
                    crate::base::terminal::eprintln(&format!(
                        "note: waiting for another gate that uses {}",
                        self.folder.display()
                    ));
                }
                Err((_, e)) if e.kind() == io::ErrorKind::WouldBlock => {
                    tokio::time::sleep(Duration::from_millis(200)).await
                }
                Err((_, e)) => return Err(format!("{}: {e}", path.display())),
            }
        }
    }

    /// The mark, if everything is as it was when that was written, and whether nothing was added since.
    async fn whole(&self) -> Option<(Mark, bool)> {
        let mark = fs::read(self.mark_path().await?).ok()?;
        let mark: Mark = serde_json::from_slice(&mark).ok()?;
        let head = git_own(&self.folder, &["rev-parse", "HEAD"]).await.ok()?;
        let now = self.paths().await.ok()?;
        let is_same = |(path, stamp): (&String, &Stamp)| now.get(path) == Some(stamp);
        let is_known = |path: &String| mark.paths.contains_key(path);
        // What a server left beside the build's products (a log, a dump) changes neither.
        let changed = self.changed().await.ok()?;
        let whole =
            head == self.commit && mark.paths.iter().all(is_same) && changed.iter().all(is_known);
        let is_untouched = now.keys().all(is_known);
        whole.then_some((mark, is_untouched))
    }

    /// Where the mark is; none where the folder is no worktree of this repository.
    async fn mark_path(&self) -> Option<PathBuf> {
        let top = git_own(&self.folder, &["rev-parse", "--show-toplevel"])
            .await
            .ok()?;
        let folder = git_own(&self.folder, &["rev-parse", "--absolute-git-dir"])
            .await
            .ok()?;
        let is_ours = Path::new(&top) == fs::canonicalize(&self.folder).ok()?
            && Path::new(&folder).starts_with(self.repository.join("worktrees"));
        is_ours.then(|| Path::new(&folder).join(MARK))
    }

    /// Everything that differs from the commit: changed, added or ignored, with its stamp.
    async fn paths(&self) -> Result<BTreeMap<String, Stamp>, String> {
        // Whatever the user has configured `git status` to leave out.
        let status = [
            "status",
            "--porcelain",
            "-z",
            "--ignored",
            "--untracked-files=normal",
            "--ignore-submodules=untracked",
        ];
        let text = git_own(&self.folder, &status).await?;
        let stamped = status_entries(&text).into_iter().map(|(_, path)| {
            let stamp = Stamp::of(&self.folder.join(path)).unwrap_or(Stamp(None));
            (path.to_string(), stamp)
        });
        Ok(stamped.collect())
    }

    /// The files of the commit that are not as it has them.
    async fn changed(&self) -> Result<Vec<String>, String> {
        let status = [
            "status",
            "--porcelain",
            "-z",
            "--untracked-files=no",
            "--ignore-submodules=untracked",
        ];
        let text = git_own(&self.folder, &status).await?;
        let entries = status_entries(&text).into_iter();
        Ok(entries.map(|(_, path)| path.to_string()).collect())
    }

    async fn set_mark(&self, build: Option<&str>) -> Result<(), String> {
        let mark = Mark {
            build: build.map(str::to_string),
            paths: self.paths().await?,
        };
        let path = self
            .mark_path()
            .await
            .ok_or("it is no worktree of the repository")?;
        let text = serde_json::to_vec(&mark).map_err(|e| e.to_string())?;
        write_atomically(&path, &text).map_err(|e| format!("{}: {e}", path.display()))
    }

    /// Makes the checkout anew, whatever there was.
    async fn make(&self) -> Result<(), String> {
        let folder = self.folder.display().to_string();
        // Twice forced: a checkout that was killed leaves its entry locked. Where there is none, git says so.
        let remove = ["worktree", "remove", "--force", "--force", &folder];
        let _ = git_own(&self.here, &remove).await;
        match fs::remove_dir_all(&self.folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.to_string()),
            _ => {}
        }
        let add = [
            "worktree",
            "add",
            "--detach",
            "--force",
            &folder,
            &self.commit,
        ];
        git_own(&self.here, &add).await?;
        self.initialise_submodules().await
    }

    /// Fills submodules in, from the repository's own copies where it has them; the repository's configuration is not
    /// written to.
    async fn initialise_submodules(&self) -> Result<(), String> {
        let submodules = submodules(&self.folder).await;
        if submodules.is_empty() {
            return Ok(());
        }
        let mut near = vec!["-c".to_string(), "submodule.active=.".to_string()];
        for (name, _) in &submodules {
            let copy = self.repository.join("modules").join(name);
            if copy.is_dir() {
                let url = format!("submodule.{name}.url={}", copy.display());
                near.extend([
                    "-c".into(),
                    url,
                    "-c".into(),
                    "protocol.file.allow=always".into(),
                ]);
            }
        }
        let update = ["submodule", "update", "--recursive", "--checkout"].map(String::from);
        let near = [near, update.to_vec()].concat();
        let near: Vec<&str> = near.iter().map(String::as_str).collect();
        if git_own(&self.folder, &near).await.is_ok() {
            return Ok(());
        }
        let far = [
            "-c",
            "submodule.active=.",
            "submodule",
            "update",
            "--recursive",
            "--checkout",
        ];
        let paths: Vec<&str> = submodules.iter().map(|(_, path)| path.as_str()).collect();
        git_own(&self.folder, &far).await.map(|_| ()).map_err(|words| {
            format!(
                "its submodules ({}) cannot be had: {words} (`git submodule update --init --recursive` in your own \
                 checkout makes them known here)",
                paths.join(", ")
            )
        })
    }
}

/// Name and path of every submodule that a checkout's commit has.
async fn submodules(folder: &Path) -> Vec<(String, String)> {
    let list = [
        "config",
        "-z",
        "-f",
        ".gitmodules",
        "--get-regexp",
        r"^submodule\..*\.path$",
    ];
    let text = git(folder, &list).await.unwrap_or_default();
    let pairs = text.split('\0').filter_map(|entry| entry.split_once('\n'));
    let named = pairs.filter_map(|(key, path)| {
        let name = key.strip_prefix("submodule.")?.strip_suffix(".path")?;
        Some((name.to_string(), path.to_string()))
    });
    named.collect()
}

/// Submodules of a checkout that are not filled in.
pub async fn empty_submodules(folder: &Path) -> Vec<String> {
    let all = submodules(folder).await.into_iter();
    let is_empty = |path: &String| {
        let entries = fs::read_dir(folder.join(path));
        entries.map_or(true, |mut entries| entries.next().is_none())
    };
    all.map(|(_, path)| path).filter(is_empty).collect()
}

/// Files that are only pointers to what Git LFS keeps: no filter filled them in.
pub async fn unfilled_pointers(folder: &Path) -> Vec<String> {
    let list = git(folder, &["ls-files", "-z", "--", ":(attr:filter=lfs)"]).await;
    let is_pointer = |path: &&str| {
        let mut start = [0; 40];
        let file = File::open(folder.join(path));
        let read = file.and_then(|mut file| std::io::Read::read(&mut file, &mut start));
        read.is_ok() && start.starts_with(b"version https://git-lfs")
    };
    let list = list.unwrap_or_default();
    let paths = list.split('\0').filter(|path| !path.is_empty());
    paths.filter(is_pointer).map(str::to_string).collect()
}
