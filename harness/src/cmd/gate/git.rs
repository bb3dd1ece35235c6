//! What a gate asks of git: without the caller's own repository variables, hooks or prompts; and what a revision means.

use crate::base::child::{clean_command, output};
use crate::base::error::{Failure, did_you_mean};
use crate::base::shell::quoted;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::time::timeout;

/// How long a remote may take to say what it has, when a revision is not here.
const REMOTE_LIMIT: Duration = Duration::from_secs(10);

/// In a checkout of our own: whole whatever the user's sparse patterns, and none of the repository's hooks.
const OWN: [&str; 8] = [
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.sparseCheckout=false",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "advice.detachedHead=false",
];

/// Runs git in a folder; its output without the last line feed, or what it complained of.
pub async fn git(folder: &Path, args: &[&str]) -> Result<String, String> {
    let mut command = clean_command(OsStr::new("git"));
    command
        .arg("-C")
        .arg(folder)
        .args(args)
        // The words are looked at, a prompt would wait for ever, and the user's index is not refreshed.
        .envs([
            ("LC_ALL", "C"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_OPTIONAL_LOCKS", "0"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = output(&mut command).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            "git was not found on PATH: install it, or give folders (--base DIR) or only \
                                         commands (--base-cmd, --head-cmd)"
                .to_string()
        }
        _ => format!("git: {e}"),
    })?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end_matches('\n')
            .to_string()),
        false => Err(in_one_line(&String::from_utf8_lossy(&output.stderr))),
    }
}

/// The same in a checkout that the gate made.
pub async fn git_own(folder: &Path, args: &[&str]) -> Result<String, String> {
    git(folder, &[&OWN, args].concat()).await
}

/// Git's complaint on one line: its sentences, and of its advice the command that mends it.
fn in_one_line(stderr: &str) -> String {
    let lines = stderr
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let told: Vec<String> = lines
        .filter(|line| !line.starts_with("hint:"))
        .map(|line| match line.strip_prefix("git ") {
            Some(_) => format!("`{line}`"),
            None => line.to_string(),
        })
        .collect();
    told.join(" ")
}

/// A revision that was found.
#[derive(Debug, PartialEq)]
pub struct Revision {
    /// Its commit.
    pub commit: String,
    /// What it was found as, if that is not what was typed.
    pub instead: Option<String>,
}

/// Finds a revision here, or on a remote's branch of that name; `Err`: git's own words, empty where it had none.
pub async fn find(here: &Path, text: &str) -> Result<Revision, String> {
    let commit = async |name: &str| {
        let name = format!("{name}^{{commit}}");
        git(here, &["rev-parse", "--verify", "--end-of-options", &name]).await
    };
    let words = match commit(text).await {
        Ok(commit) => {
            return Ok(Revision {
                commit,
                instead: None,
            });
        }
        Err(words) => words,
    };
    if let Ok(remotes) = git(here, &["remote"]).await {
        let mut remotes: Vec<&str> = remotes.lines().collect();
        remotes.sort_by_key(|remote| *remote != "origin");
        for remote in remotes {
            if let Ok(commit) = commit(&format!("refs/remotes/{remote}/{text}")).await {
                let instead = Some(format!("{remote}/{text}"));
                return Ok(Revision { commit, instead });
            }
        }
    }
    Err(words.replace("fatal: Needed a single revision", ""))
}

/// The repository that a folder belongs to: where all its worktrees keep their objects.
pub async fn common_folder(here: &Path) -> Result<PathBuf, String> {
    let folder = git(here, &["rev-parse", "--git-common-dir"]).await?;
    let folder = here.join(folder);
    std::fs::canonicalize(&folder).map_err(|e| format!("{}: {e}", folder.display()))
}

/// Why a revision was not found, and what mends it.
pub async fn not_found(here: &Path, name: &str, text: &str, words: &str) -> Failure {
    let mend = match () {
        () if words.contains("not a git repository") => {
            "run it inside the repository, or give a folder (--base DIR), or only commands (--base-cmd, --head-cmd)"
                .into()
        }
        () if words.contains("must be run in a work tree") => {
            "this repository is bare and has no worktree: name both sides (--base REV --head REV)".into()
        }
        // Git's own words say what to do.
        () if words.contains("dubious ownership") || words.starts_with("git ") => String::new(),
        () => remedy(here, text).await,
    };
    let parts = [words.trim(), &mend];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Failure::usage(format!("--{name} {text}: {}", parts.join("; ")))
}

async fn remedy(here: &Path, text: &str) -> String {
    let named = ancestor(text).map_or(text, |(child, _)| child);
    if ["HEAD", "@"].contains(&named) && find(here, "HEAD").await.is_err() {
        return "there is no commit here yet".into();
    }
    let shallow = git(here, &["rev-parse", "--is-shallow-repository"]).await;
    let is_shallow = shallow.is_ok_and(|word| word == "true");
    let depth = if is_shallow { " --depth 1" } else { "" };
    if let Some((child, generations)) = ancestor(text)
        && let Ok(found) = find(here, child).await
    {
        return match is_shallow {
            true => format!(
                "this clone is shallow and ends before it: `git fetch --deepen={generations} origin {}`",
                found.commit
            ),
            false => format!("the history of {child} does not reach so far back"),
        };
    }
    let is_hex = text.len() >= 7 && text.chars().all(|c| c.is_ascii_hexdigit());
    let none = |where_: &str| {
        format!(
            "no revision or folder of this name{where_}{}",
            did_you_mean(text, ["worktree"])
        )
    };
    if git(here, &["remote", "get-url", "origin"]).await.is_err() {
        return none(" here, and no remote `origin` to fetch it from");
    }
    match text.len() {
        40 | 64 if is_hex => {
            return format!("this commit is not here: `git fetch{depth} origin {text}`");
        }
        _ if is_hex && is_shallow => {
            return "this clone is shallow, and an abbreviated commit cannot be fetched: give all 40 digits, or \
                    `git fetch --unshallow`"
                .into();
        }
        _ => {}
    }
    let (branch, tag) = (format!("refs/heads/{text}"), format!("refs/tags/{text}"));
    let ask = ["ls-remote", "origin", &branch, &tag];
    let there = match timeout(REMOTE_LIMIT, git(here, &ask)).await {
        Ok(Ok(there)) => there,
        Ok(Err(words)) => return format!("{}; origin could not be asked: {words}", none(" here")),
        Err(_) => return format!("{}; origin did not answer", none(" here")),
    };
    match () {
        () if there.ends_with(&branch) || there.contains(&format!("{branch}\n")) => format!(
            "this branch was not fetched: `git fetch{depth} origin {}`",
            quoted(&format!("+{branch}:refs/remotes/origin/{text}"))
        ),
        () if !there.is_empty() => format!(
            "this tag was not fetched: `git fetch{depth} origin {}`",
            quoted(&format!("{tag}:{tag}"))
        ),
        () => none(" here or on origin"),
    }
}

/// `HEAD~2^` is a revision and how many generations before it.
fn ancestor(text: &str) -> Option<(&str, usize)> {
    let at = text.find(['~', '^'])?;
    let (child, mut steps) = text.split_at(at);
    let mut generations = 0;
    while let Some(step) = steps.chars().next() {
        steps = &steps[1..];
        let digits = steps.len() - steps.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let number: usize = match &steps[..digits] {
            "" => 1,
            digits => digits.parse().ok()?,
        };
        steps = &steps[digits..];
        generations += match step {
            '~' => number,
            '^' => 1,
            _ => return None,
        };
    }
    let child = if child.is_empty() { "HEAD" } else { child };
    Some((child, generations))
}

/// What `git status` says of one path: its two letters, and the path.
pub fn status_entries(text: &str) -> Vec<(&str, &str)> {
    let mut parts = text.split('\0');
    let mut entries = Vec::new();
    while let Some(part) = parts.next() {
        let Some((letters, path)) = part.split_at_checked(3) else {
            continue;
        };
        let letters = letters.trim_end_matches(' ');
        if letters.starts_with(['R', 'C']) {
            // The name before follows.
            parts.next();
        }
        entries.push((letters, path));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_are_counted() {
        assert_eq!(ancestor("HEAD~1"), Some(("HEAD", 1)));
        assert_eq!(ancestor("HEAD^"), Some(("HEAD", 1)));
        assert_eq!(ancestor("main~3^2"), Some(("main", 4)));
        assert_eq!(ancestor("v1^^"), Some(("v1", 2)));
        assert_eq!(ancestor("main"), None);
        assert_eq!(ancestor("a^{tree}"), None);
    }

    #[test]
    fn gits_words_keep_their_remedy() {
        let dubious = "fatal: detected dubious ownership in repository at '/x'\nTo add an exception for this directory, \
                       call:\n\n\tgit config --global --add safe.directory /x\n";
        let line = in_one_line(dubious);
        assert!(
            line.ends_with("call: `git config --global --add safe.directory /x`"),
            "{line}"
        );
        assert!(!line.contains('\n'));
    }

    #[test]
    fn a_status_is_read_with_its_renames_and_odd_names() {
        let text = " M a b\0R  new\0old\0?? \"q\n\0!! target/\0";
        let entries = status_entries(text);
        assert_eq!(
            entries,
            [
                (" M", "a b"),
                ("R", "new"),
                ("??", "\"q\n"),
                ("!!", "target/")
            ]
        );
        assert!(status_entries("").is_empty());
    }
}
