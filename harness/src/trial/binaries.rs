//! The programs under measurement: those of the package that this one was installed with, or built in release by the
//! cargo that started it, or found beside it; then copied into a private folder so that nothing can change them during
//! a run.

use super::identity;
use super::installed;
use crate::base::child::{clean_command, ended, output};
use crate::base::error::{Failure, OrFail};
use crate::base::shell::quoted;
use hmac_sha256::Hash as Sha256;
use nix::sys::statvfs::{FsFlags, statvfs};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;
use tokio::process::Command;

/// The measured programs by name, in a folder that goes with this value.
#[derive(Debug)]
pub struct Binaries {
    folder: Folder,
    /// SHA-256 of every program, in hexadecimal, by name.
    pub sha256: BTreeMap<String, String>,
}

/// Where they are.
#[derive(Debug)]
enum Folder {
    Own(TempDir),
    /// Another process's, which outlives this one.
    Lent(PathBuf),
}

impl Folder {
    fn path(&self) -> &Path {
        match self {
            Folder::Own(folder) => folder.path(),
            Folder::Lent(folder) => folder,
        }
    }
}

impl Binaries {
    /// The programs that another process has prepared in this folder.
    pub fn lent(folder: &Path) -> Binaries {
        Binaries {
            folder: Folder::Lent(folder.into()),
            sha256: BTreeMap::new(),
        }
    }

    /// Builds (or finds) the programs of these names and copies them.
    pub async fn prepare(names: &[&str], quiet: bool) -> Result<Binaries, Failure> {
        let found = match names.is_empty() {
            true => BTreeMap::new(),
            false => locate(names, quiet).await?,
        };
        let folder = tempfile::Builder::new()
            .prefix(&identity::own_prefix())
            .tempdir()
            .or_failed("cannot make a temporary folder")?;
        let mut binaries = Binaries {
            folder: Folder::Own(folder),
            sha256: BTreeMap::new(),
        };
        for &name in names {
            let source = found.get(name).ok_or_else(|| missing(&found, names))?;
            binaries.add(name, source)?;
        }
        binaries.try_one(names).await?;
        Ok(binaries)
    }

    /// Whether programs can be started from here at all: better said once than by every trial.
    async fn try_one(&self, names: &[&str]) -> Result<(), Failure> {
        let Some(name) = names.first() else {
            return Ok(());
        };
        let mut command = Command::new(self.path(name));
        command
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        // That it was started is all that is asked; what it then does may take for ever.
        let error = match command.spawn() {
            Ok(mut child) => {
                let _ = child.start_kill();
                let _ = ended(&mut child).await;
                return Ok(());
            }
            Err(error) => error,
        };
        let folder = self.folder.path();
        let is_noexec =
            statvfs(folder).is_ok_and(|found| found.flags().contains(FsFlags::ST_NOEXEC));
        let why = match is_noexec {
            true => "its file system is mounted noexec".to_string(),
            false => error.to_string(),
        };
        let folder = folder.parent().unwrap_or(folder).display();
        Err(Failure::preflight(format!(
            "no program can be started from {folder}: {why}; set TMPDIR to a folder from which programs may be started, \
             such as `TMPDIR=$HOME/tmp`"
        ))
        .caused_by(error))
    }

    /// Copies one more program, under a name that may lie in a sub-folder.
    pub fn add(&mut self, name: &str, source: &Path) -> Result<(), Failure> {
        let digest = copy(source, &self.path(name))
            .or_failed(format_args!("cannot copy {}", source.display()))?;
        self.sha256.insert(name.to_string(), digest);
        Ok(())
    }

    /// Where the private copy of a program is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder for what else lives only as long as the run.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }
}

/// Builds the programs of these names, or lists what is there where this one is installed.
pub async fn locate(names: &[&str], quiet: bool) -> Result<BTreeMap<String, PathBuf>, Failure> {
    if let Some(folder) = installed::folder()? {
        return listed(&folder);
    }
    // An empty variable is one that is not set.
    let cargo = std::env::var_os("CARGO").filter(|cargo| !cargo.is_empty());
    let build = |cargo| Build {
        cargo,
        folder: Path::new(HERE),
        packages: &["servers", "loadgen"],
        names,
        target: None,
        quiet,
    };
    match cargo.or_else(cargo_for_a_debug_build) {
        // A program that was installed may be started by a cargo that knows nothing of its sources.
        Some(cargo) if Path::new(HERE).is_dir() => build(cargo).run().await,
        _ => beside_this_program(),
    }
}

/// What lies beside a program in cargo's `debug` folder is a debug build as well, and its figures mean nothing.
fn cargo_for_a_debug_build() -> Option<OsString> {
    let own = std::env::current_exe().ok()?;
    own.parent()?.ends_with("debug").then(|| "cargo".into())
}

/// What is said where programs of these names are not among those found: how to get a program that can measure.
pub fn missing(found: &BTreeMap<String, PathBuf>, names: &[&str]) -> Failure {
    let absent: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| !found.contains_key(*name))
        .collect();
    if let Ok(Some(folder)) = installed::folder() {
        return installed::incomplete(&folder, &in_quotes(&absent));
    }
    let own = std::env::current_exe().unwrap_or_default();
    let own = fs::canonicalize(&own).unwrap_or(own);
    let sources = Path::new(HERE).parent().filter(|place| place.is_dir());
    Failure::preflight(how_to_measure(&absent, &own, sources))
}

/// The commands that put what is missing beside this program, as they can be typed.
fn how_to_measure(absent: &[&str], own: &Path, sources: Option<&Path>) -> String {
    let folder = own.parent().unwrap_or(Path::new("/"));
    let quote = |path: &Path| quoted(&path.display().to_string());
    let package = |name: &str| {
        if name == "loadgen" {
            "loadgen"
        } else {
            "servers"
        }
    };
    let packages: BTreeSet<&str> = absent.iter().map(|name| package(name)).collect();
    let place = |package: &str| match sources {
        Some(sources) => quote(&sources.join(package)),
        None => package.into(),
    };
    let get = match folder.file_name() {
        Some(name) if name == "bin" => {
            let root = quote(folder.parent().unwrap_or(folder));
            let commands = packages.iter().map(|package| {
                let place = place(package);
                format!("cargo install --locked --root {root} --path {place}")
            });
            let commands = commands.collect::<Vec<_>>().join(" && ");
            format!("`{commands}` puts them there")
        }
        _ => {
            let manifest = match sources {
                Some(sources) => format!(" --manifest-path {}", quote(&sources.join("Cargo.toml"))),
                None => String::new(),
            };
            format!(
                "`cargo run --release --locked{manifest} -p harness -- --help` makes a tenk with all of them beside it"
            )
        }
    };
    let whence = match sources {
        Some(_) => "",
        None => " (typed in the folder of tenk's sources)",
    };
    format!(
        "this tenk cannot measure yet: {} must lie beside it in {}; {get}{whence}",
        in_quotes(absent),
        folder.display()
    )
}

/// The first three names, and how many more there are.
fn in_quotes(names: &[&str]) -> String {
    let (some, more) = names.split_at(names.len().min(3));
    let named = some.iter().map(|name| format!("`{name}`"));
    let named = named.collect::<Vec<_>>().join(", ");
    match more.len() {
        0 => named,
        n => format!("{named} and {n} more"),
    }
}

/// The workspace this program was built from; a package's program has none, and is the same wherever it was built.
const HERE: &str = match option_env!("TENK_PACKAGE") {
    Some(_) => "",
    None => env!("CARGO_MANIFEST_DIR"),
};

/// A release build of programs of the workspace that a folder is in.
pub struct Build<'a> {
    /// The cargo to start.
    pub cargo: OsString,
    /// Where.
    pub folder: &'a Path,
    /// The packages.
    pub packages: &'a [&'a str],
    /// The programs.
    pub names: &'a [&'a str],
    /// A target directory of its own, with nothing of the caller's toolchain, flags and targets; none: as a person who
    /// types it would get it.
    pub target: Option<&'a Path>,
    /// Nothing on stderr but errors.
    pub quiet: bool,
}

impl Build<'_> {
    /// Builds, and reads the programs' paths from cargo's own messages, never guessing where its target directory is.
    pub async fn run(&self) -> Result<BTreeMap<String, PathBuf>, Failure> {
        let mut command = match self.target {
            Some(_) => clean_command(&self.cargo),
            None => Command::new(&self.cargo),
        };
        command
            .current_dir(self.folder)
            .args(["build", "--release"])
            .arg("--message-format=json-render-diagnostics");
        for package in self.packages {
            command.args(["-p", package]);
        }
        // What this program was built with, its generator needs as well; another checkout need not know of it.
        if self.target.is_none() && loadgen::load::tls::IS_BUILT_IN {
            command.args(["--features", "loadgen/tls"]);
        }
        for name in self.names {
            command.args(["--bin", name]);
        }
        if let Some(target) = self.target {
            command.arg("--target-dir").arg(target);
        }
        if self.quiet {
            command.arg("--quiet");
        }
        // Its progress and its errors are the user's to see.
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let output = output(&mut command)
            .await
            .map_err(|e| self.cannot_start(e))?;
        if !output.status.success() {
            return Err(Failure::failed(format!(
                "the release build of {} in {} failed; cargo's messages are above",
                self.packages.join(" and "),
                self.folder.display()
            )));
        }
        Ok(executables(&String::from_utf8_lossy(&output.stdout)))
    }

    /// The kernel says the same of a program and of a folder that is not there.
    fn cannot_start(&self, why: io::Error) -> Failure {
        let (cargo, folder) = (Path::new(&self.cargo), self.folder.display());
        Failure::failed(match why.kind() {
            io::ErrorKind::NotFound if !self.folder.is_dir() => {
                format!("the sources to build are gone: there is no folder {folder}")
            }
            io::ErrorKind::NotFound => format!(
                "cannot start {}: there is no such program (install Rust from https://rustup.rs, or unset CARGO)",
                cargo.display()
            ),
            _ => format!("cannot start {}: {why}", cargo.display()),
        })
        .caused_by(why)
    }
}

fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter_map(|message| {
            let path = message["executable"].as_str()?;
            let name = message["target"]["name"].as_str()?;
            Some((name.to_string(), PathBuf::from(path)))
        })
        .collect()
}

/// Without cargo: every file in the folder this program is in.
fn beside_this_program() -> Result<BTreeMap<String, PathBuf>, Failure> {
    let own = std::env::current_exe().or_failed("cannot look beside this program")?;
    listed(own.parent().unwrap_or(Path::new(".")))
}

fn listed(folder: &Path) -> Result<BTreeMap<String, PathBuf>, Failure> {
    let found = installed::programs(folder);
    found.or_failed(format_args!(
        "cannot look for programs in {}",
        folder.display()
    ))
}

fn copy(source: &Path, target: &Path) -> io::Result<String> {
    let bytes = fs::read(source)?;
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(target, &bytes)?;
    fs::set_permissions(target, fs::metadata(source)?.permissions())?;
    Ok(hex(&Sha256::hash(&bytes)))
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"epoll"},"executable":"/t/release/epoll"}
{"reason":"compiler-artifact","target":{"name":"servers"},"executable":null}
not json
{"reason":"build-finished","success":true}"#;
        let found = executables(messages);
        assert_eq!(found.len(), 1);
        assert_eq!(found["epoll"], PathBuf::from("/t/release/epoll"));
    }

    #[test]
    fn a_missing_cargo_is_told_from_missing_sources() {
        let told = |folder: &str| {
            let build = Build {
                cargo: "/nowhere/cargo".into(),
                folder: Path::new(folder),
                packages: &["servers"],
                names: &["epoll"],
                target: None,
                quiet: true,
            };
            build
                .cannot_start(io::ErrorKind::NotFound.into())
                .to_string()
        };
        assert!(told("/").contains("cannot start /nowhere/cargo: there is no such program"));
        assert!(told("/nowhere").contains("there is no folder /nowhere"));
    }

    #[test]
    fn what_is_missing_is_said_with_the_commands_that_put_it_there() {
        let sources = Some(Path::new("/src/te nk"));
        assert_eq!(
            how_to_measure(&["epoll", "loadgen"], Path::new("/r/bin/tenk"), sources),
            "this tenk cannot measure yet: `epoll`, `loadgen` must lie beside it in /r/bin; `cargo install --locked \
             --root /r --path '/src/te nk/loadgen' && cargo install --locked --root /r --path '/src/te nk/servers'` \
             puts them there"
        );
        let elsewhere = how_to_measure(&["loadgen"], Path::new("/tmp/tenk"), None);
        assert_eq!(
            elsewhere,
            "this tenk cannot measure yet: `loadgen` must lie beside it in /tmp; `cargo run --release --locked -p \
             harness -- --help` makes a tenk with all of them beside it (typed in the folder of tenk's sources)"
        );
    }

    #[test]
    fn a_copy_is_runnable_and_known_by_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("true");
        let digest = copy(Path::new("/bin/true"), &target).unwrap();
        assert_eq!(digest.len(), 64);
        assert!(
            std::process::Command::new(&target)
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(hex(&Sha256::hash(b"")).get(..8), Some("e3b0c442"));
    }
}
