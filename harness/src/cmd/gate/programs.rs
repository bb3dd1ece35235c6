//! What each side really ran, and whether that was one and the same thing.

use super::side::Side;
use crate::trial::binaries::hex;
use crate::trial::ran::Ran;
use hmac_sha256::Hash as Sha256;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A file larger than this is data, not a program or a script.
const MOST_BYTES: u64 = 1 << 30;

/// What a command ran on one side: every program of its family, in words that are equal only for equal programs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Programs {
    /// SHA-256 of every file, by its place; within the side's folder from there.
    pub sha256: BTreeMap<String, String>,
    /// Each program as digests and words; none where what it runs cannot be told from these.
    identities: Option<Vec<String>>,
}

impl Programs {
    /// Reads the files of what a side ran.
    pub fn of(side: &Side, ran: &[Ran]) -> Programs {
        let folder = fs::canonicalize(&side.folder).unwrap_or(side.folder.clone());
        let mut sha256 = BTreeMap::new();
        let mut digest = |place: &Path| {
            let digest = digest(place)?;
            let short = place.strip_prefix(&folder).unwrap_or(place);
            sha256.insert(short.display().to_string(), digest.clone());
            Some(digest)
        };
        let identities: Vec<Option<String>> = ran
            .iter()
            .map(|ran| {
                let own = digest(&ran.program);
                let named: Vec<PathBuf> = ran.named_files().collect();
                let digests = named.into_iter().map(|place| (digest(&place), place));
                identity(ran, &folder, own, digests.collect())
            })
            .collect();
        Programs {
            sha256,
            identities: identities.into_iter().collect(),
        }
    }

    /// Whether both are one and the same thing as far as can be seen.
    pub fn are_the_same(&self, other: &Programs) -> bool {
        self.identities.is_some() && self.identities == other.identities && !self.sha256.is_empty()
    }
}

/// The digests of a program and of what its arguments name, and its other arguments. None where something else decides
/// what runs: a folder among the arguments, or, for a program that lies elsewhere (an interpreter), a file of the side's
/// that may read others.
fn identity(
    ran: &Ran,
    side: &Path,
    own: Option<String>,
    named: Vec<(Option<String>, PathBuf)>,
) -> Option<String> {
    let is_interpreter = !ran.program.starts_with(side);
    if is_interpreter && named.iter().any(|(_, place)| place.starts_with(side)) {
        return None;
    }
    let mut words = vec![own?];
    for word in &ran.args {
        let place = ran.folder.join(word);
        if place.is_dir() && place.starts_with(side) {
            return None;
        }
        let digest = named.iter().find(|(_, named)| *named == place);
        words.push(match digest {
            Some((digest, _)) => digest.clone()?,
            None => word
                .to_string_lossy()
                .replace(&*side.to_string_lossy(), "{dir}"),
        });
    }
    Some(words.join("\0"))
}

fn digest(place: &Path) -> Option<String> {
    let size = fs::metadata(place).ok()?.len();
    let bytes = (size <= MOST_BYTES)
        .then(|| fs::read(place).ok())
        .flatten()?;
    Some(hex(&Sha256::hash(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cmd::gate::side::{BASE, HEAD};

    /// What a side ran that has this program and this script, started like this.
    fn ran(program: Option<&str>, script: &str, words: &[&str]) -> Programs {
        let folder = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(folder.path()).unwrap();
        fs::write(place.join("app.py"), script).unwrap();
        if let Some(text) = program {
            fs::write(place.join("server"), text).unwrap();
        }
        let side = Side {
            folder: place.clone(),
            ..Side::of_command(BASE, "x")
        };
        let ran = Ran {
            program: program.map_or("/bin/sh".into(), |_| place.join("server")),
            args: words.iter().map(Into::into).collect(),
            folder: place,
        };
        Programs::of(&side, &[ran])
    }

    #[test]
    fn a_program_is_the_same_in_whichever_folder_it_lies() {
        let of = |text, words: &[&str]| ran(Some(text), "", words);
        assert!(of("a", &["{port}"]).are_the_same(&of("a", &["{port}"])));
        assert!(!of("a", &["{port}"]).are_the_same(&of("b", &["{port}"])));
        assert!(!of("a", &["--fast"]).are_the_same(&of("a", &["{port}"])));
        assert_eq!(of("a", &[]).sha256.keys().next().unwrap(), "server");
    }

    #[test]
    fn of_an_interpreter_with_a_script_of_the_side_nothing_is_claimed() {
        let of = |script, words: &[&str]| ran(None, script, words);
        assert!(!of("x", &["app.py"]).are_the_same(&of("x", &["app.py"])));
        assert!(!of("x", &["."]).are_the_same(&of("x", &["."])));
        assert!(of("x", &["-c", "serve"]).are_the_same(&of("y", &["-c", "serve"])));
    }

    #[test]
    fn what_was_never_seen_is_not_the_same() {
        let none = Programs::of(&Side::of_command(HEAD, "x"), &[]);
        assert!(!none.are_the_same(&none) && !Programs::default().are_the_same(&none));
    }
}
