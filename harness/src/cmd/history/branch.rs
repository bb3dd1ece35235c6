//! A history on a branch of the user's repository, written with git's plumbing: neither the index nor any worktree is
//! touched, other files of the branch stay, and who was overtaken reads again.

use crate::base::child::{clean_command, output};
use crate::base::error::Failure;
use crate::base::text::visible;
use crate::cmd::gate::git::git_own;
use crate::store::history::MOST_BYTES;
use std::ffi::OsStr;
use std::io::{Seek, Write};
use std::path::PathBuf;
use std::process::Stdio;

/// The file's name on the branch.
const FILE: &str = "history.jsonl";

/// How often it is tried to be first.
const TRIES: usize = 8;

/// Who commits where nobody is known, as on a runner.
const NOBODY: [&str; 4] = ["-c", "user.name=tenk", "-c", "user.email=tenk@localhost"];

/// A branch that holds a history, or will.
pub struct Branch {
    here: PathBuf,
    name: String,
    reference: String,
}

impl Branch {
    /// The branch of this name in the repository one is in.
    pub async fn find(name: &str) -> Result<Branch, Failure> {
        let here = std::env::current_dir().unwrap_or_default();
        let said = |words: String| Failure::usage(format!("--branch {}: {words}", visible(name)));
        git_own(&here, &["rev-parse", "--git-dir"])
            .await
            .map_err(said)?;
        let reference = format!("refs/heads/{name}");
        let well_formed = git_own(&here, &["check-ref-format", &reference]).await;
        if well_formed.is_err() || name.starts_with('-') {
            return Err(said("this cannot be the name of a branch".into()));
        }
        Ok(Branch {
            here,
            name: name.into(),
            reference,
        })
    }

    fn failed(&self, words: String) -> Failure {
        Failure::failed(format!("branch {}: {words}", self.name))
    }

    async fn git(&self, args: &[&str]) -> Result<String, Failure> {
        git_own(&self.here, args)
            .await
            .map_err(|words| self.failed(words))
    }

    /// The commit that it is at; none where there is no such branch yet.
    async fn tip(&self) -> Option<String> {
        let name = format!("{}^{{commit}}", self.reference);
        let tip = git_own(&self.here, &["rev-parse", "--verify", "--quiet", &name]).await;
        tip.ok().filter(|tip| !tip.is_empty())
    }

    /// The history; none where there is none yet.
    pub async fn contents(&self) -> Result<Option<Vec<u8>>, Failure> {
        match self.tip().await {
            Some(tip) => self.contents_at(&tip).await,
            None => Ok(None),
        }
    }

    async fn contents_at(&self, tip: &str) -> Result<Option<Vec<u8>>, Failure> {
        let blob = format!("{tip}:{FILE}");
        let Ok(size) = git_own(&self.here, &["cat-file", "-s", &blob]).await else {
            return Ok(None);
        };
        if size.parse::<u64>().is_ok_and(|size| size > MOST_BYTES) {
            return Err(self.failed(format!("{size} bytes are too many for a history")));
        }
        // As it is: git's helper takes line feeds off the end.
        self.fed(&["cat-file", "blob", &blob], b"").await.map(Some)
    }

    /// Adds what `lines` makes of what is there.
    pub async fn append<T>(
        &self,
        message: &str,
        mut lines: impl FnMut(&[u8]) -> (String, T),
    ) -> Result<T, Failure> {
        self.refuse_if_checked_out().await?;
        let mut overtaken = None;
        for _ in 0..TRIES {
            let tip = self.tip().await;
            let before = match &tip {
                Some(tip) => self.contents_at(tip).await?.unwrap_or_default(),
                None => Vec::new(),
            };
            let (text, result) = lines(&before);
            if text.is_empty() {
                return Ok(result);
            }
            let text = crate::store::history::added(&before, &text);
            let all = [before, text.into_bytes()].concat();
            let commit = self.commit(tip.as_deref(), &all, message).await?;
            // An empty old value: it must not be there yet.
            let old = tip.unwrap_or_default();
            let update = ["update-ref", "-m", message, &self.reference, &commit, &old];
            match git_own(&self.here, &update).await {
                Ok(_) => return Ok(result),
                Err(words) if self.tip().await.unwrap_or_default() == old => {
                    return Err(self.failed(words));
                }
                Err(words) => overtaken = Some(words),
            }
        }
        Err(self.failed(overtaken.unwrap_or_default()))
    }

    /// A commit on top of another with the history in it, beside whatever else that one has.
    async fn commit(
        &self,
        tip: Option<&str>,
        all: &[u8],
        message: &str,
    ) -> Result<String, Failure> {
        let blob = self
            .fed(&["hash-object", "-w", "--no-filters", "--stdin"], all)
            .await?;
        let mut entries = match tip {
            Some(tip) => self.fed(&["ls-tree", "-z", tip], b"").await?,
            None => Vec::new(),
        };
        let others = entries.split(|byte| *byte == 0).filter(|entry| {
            let name = entry.splitn(2, |byte| *byte == b'\t').nth(1);
            name.is_some_and(|name| name != FILE.as_bytes())
        });
        let mut tree: Vec<u8> = others.flat_map(|entry| [entry, &[0]].concat()).collect();
        let blob = one_line(&blob);
        tree.extend(format!("100644 blob {blob}\t{FILE}\0").bytes());
        entries = self.fed(&["mktree", "-z"], &tree).await?;
        let tree = one_line(&entries);
        let is_known = git_own(&self.here, &["var", "GIT_COMMITTER_IDENT"])
            .await
            .is_ok();
        let identity: &[&str] = if is_known { &[] } else { &NOBODY };
        let parent = tip.map_or(Vec::new(), |tip| vec!["-p", tip]);
        let commit = ["-c", "commit.gpgSign=false", "commit-tree", &tree];
        let args = [identity, &commit, &parent, &["-m", message]].concat();
        self.git(&args).await
    }

    /// A worktree of this branch would then differ from it, as if everything had been taken back.
    async fn refuse_if_checked_out(&self) -> Result<(), Failure> {
        let list = self.git(&["worktree", "list", "--porcelain"]).await?;
        let mut worktree = "";
        for line in list.lines() {
            worktree = line.strip_prefix("worktree ").unwrap_or(worktree);
            if line.strip_prefix("branch ") == Some(&self.reference) {
                return Err(Failure::usage(format!(
                    "--branch {}: it is checked out in {}: name a branch that is the history's own, such as \
                     `--branch tenk-history`",
                    self.name,
                    visible(worktree)
                )));
            }
        }
        Ok(())
    }

    /// Runs git with these bytes on its stdin; what it printed, as it is.
    async fn fed(&self, args: &[&str], stdin: &[u8]) -> Result<Vec<u8>, Failure> {
        let io = |e: std::io::Error| self.failed(format!("git {}: {e}", args[0]));
        let mut file = tempfile::tempfile().map_err(io)?;
        file.write_all(stdin)
            .and_then(|()| file.rewind())
            .map_err(io)?;
        let mut command = clean_command(OsStr::new("git"));
        command
            .arg("-C")
            .arg(&self.here)
            .args(args)
            .env("LC_ALL", "C")
            .stdin(Stdio::from(file))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let output = output(&mut command).await.map_err(io)?;
        match output.status.success() {
            true => Ok(output.stdout),
            false => Err(self.failed(one_line(&output.stderr))),
        }
    }
}

fn one_line(bytes: &[u8]) -> String {
    visible(String::from_utf8_lossy(bytes).trim())
}
