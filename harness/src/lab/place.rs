//! What a lab may use while it measures: servers, the load generator, whole trials, settings of its namespace.

use super::message::Message;
use super::settings::Settings;
use super::tools::counted::Counted;
use super::trouble::{During, Trouble};
use crate::base::child::captured;
use crate::base::error::Failure;
use crate::base::runtime;
use crate::cli::Cli;
use crate::judge::judge;
use crate::model::instrumented::{Instruments, Shown};
use crate::model::network::Network;
use crate::model::row::Row;
use crate::plan::Plan;
use crate::trial::binaries::Binaries;
use crate::trial::cpu::Reading;
use crate::trial::launch::{Action, Launch};
use crate::trial::server::{self, Ready, Server, ServerSpec, StartError, Surroundings};
use crate::trial::{self, Context, identity};
use clap::Parser;
use loadgen::tally::outcome::Outcome;
use servers::ledger::{Reader, Tally};
use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;
use tokio::runtime::Runtime;

/// How long a server of ours may take until it listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// The seed of everything random: two runs of a lab do the same.
const SEED: &str = "1";

/// What a place is made of.
pub struct Means {
    /// The settings in force.
    pub settings: Settings,
    /// Where the programs are, and what else lives only as long as the lab.
    pub folder: PathBuf,
    /// The programs.
    pub programs: &'static [&'static str],
}

/// What a lab may use while it measures. It belongs to the main thread: what is started ends with its thread.
pub struct Place {
    means: Means,
    binaries: Binaries,
    runtime: Runtime,
    started: Cell<u32>,
}

impl Place {
    /// A place in the namespace that the process is in.
    pub fn new(means: Means) -> Result<Place, Trouble> {
        Ok(Place {
            binaries: Binaries::lent(&means.folder),
            means,
            runtime: runtime::start().during("start")?,
            started: Cell::new(0),
        })
    }

    /// The settings that were read before anything was measured.
    pub fn settings(&self) -> &Settings {
        &self.means.settings
    }

    /// Says what is being done, in one short line.
    pub fn say(&self, progress: &str) {
        // Whoever does not listen any more will end this process.
        let _ = Message::Progress(progress.into()).say();
    }

    /// A folder that goes with the lab.
    pub fn scratch(&self) -> &Path {
        self.binaries.scratch()
    }

    /// Changes a setting of this namespace.
    pub fn set(&self, sysctl: &str, value: &str) -> Result<(), Trouble> {
        let path = Path::new("/proc/sys").join(sysctl);
        let remedy = "run the lab as root, on a kernel that has this setting";
        let denied = |e| Trouble::denied(format!("{sysctl} cannot be set to {value}: {e}"), remedy);
        fs::write(&path, value).map_err(denied)?;
        let words = |text: &str| {
            text.split_whitespace()
                .map(String::from)
                .collect::<Vec<_>>()
        };
        let found = fs::read_to_string(&path).during("read a setting back")?;
        match words(&found) == words(value) {
            true => Ok(()),
            false => {
                let why = format!("{sysctl} was set to {value} and is {}", found.trim());
                Err(Trouble::denied(why, remedy))
            }
        }
    }

    /// Where one of the lab's programs is.
    pub fn program(&self, name: &str) -> Result<PathBuf, Trouble> {
        match self.means.programs.contains(&name) {
            true => Ok(self.binaries.path(name)),
            false => Err(Trouble::failed(format!(
                "`{name}` is not among the lab's programs"
            ))),
        }
    }

    /// Trials as a run makes them, judged as a run's; the words are its flags. One of each unless --repeat says more.
    pub fn trials(&self, words: &[&str]) -> Result<Vec<Row>, Trouble> {
        let made = self.looked_into(words, Instruments::default())?;
        Ok(made.into_iter().map(|(row, _)| row).collect())
    }

    /// The same while the servers' system calls are counted, which makes them slower.
    pub fn counted(&self, words: &[&str]) -> Result<Vec<Counted>, Trouble> {
        let instruments = Instruments {
            syscalls: true,
            ..Instruments::default()
        };
        let counted = |(row, shown): (Row, Shown)| match shown.syscalls {
            Some(syscalls) => Ok(Counted { row, syscalls }),
            None => Err(not_counted(&row, &shown.notes)),
        };
        let made = self.looked_into(words, instruments)?;
        made.into_iter().map(counted).collect()
    }

    fn looked_into(
        &self,
        words: &[&str],
        instruments: Instruments,
    ) -> Result<Vec<(Row, Shown)>, Trouble> {
        let plan = plan(words)?;
        for model in plan.models() {
            self.program(model.name)?;
        }
        let work = trial::calibrate_work(&plan, &self.binaries);
        let context = Context {
            plan: &plan,
            binaries: &self.binaries,
            work_ns_per_iteration: self.runtime.block_on(work)?,
        };
        let trials = plan.trials();
        let mut made = Vec::new();
        for trial in &trials {
            self.say(&format!(
                "trial {} of {}: {} at {}",
                made.len() + 1,
                trials.len(),
                trial.arm.label,
                trial.load.conns
            ));
            let trial_made = trial::run_with(instruments, &context, trial, &|_: &str| ());
            let mut evidence = self.runtime.block_on(trial_made)?;
            let shown = std::mem::take(&mut evidence.shown);
            made.push((judge("lab", &plan, trial, &evidence), shown));
        }
        Ok(made)
    }

    /// Starts one of our servers in this namespace.
    pub fn serve(&self, model: &str, flags: &[&str]) -> Result<Served<'_>, Trouble> {
        let number = self.started.replace(self.started.get() + 1);
        let ledger = self.scratch().join(format!("ledger-{number}"));
        let mut args: Vec<String> = vec!["--ledger".into(), ledger.display().to_string()];
        if !flags.contains(&"--listen") {
            args.extend(["--listen", "127.0.0.1:0"].map(String::from));
        }
        args.extend(flags.iter().map(|flag| flag.to_string()));
        let spec = ServerSpec {
            program: self.program(model)?,
            args,
            folder: None,
            surroundings: Surroundings::Bare,
            ready: Ready::Line,
            start_timeout: START_TIMEOUT,
            network: Network::Host,
            cpus: plan(&["--model", model])?.server_cpus,
            group_name: format!("{}lab{number}", identity::own_prefix()),
        };
        let server = self
            .runtime
            .block_on(Server::start(&spec))
            .map_err(not_served)?;
        let ledger = Reader::open(&ledger).during("read the server's ledger")?;
        let addr = server.addr.socket_addr();
        Ok(Served {
            addr: addr.ok_or_else(|| Trouble::failed("the server listens at no IP address"))?,
            pid: server.pid,
            opening: server.cpu(&server.pids()),
            server: Some(server),
            ledger,
            runtime: &self.runtime,
        })
    }

    /// Runs the load generator in this namespace, to its end.
    pub fn load(&self, target: SocketAddr, flags: &[&str]) -> Result<Outcome, Trouble> {
        let mut args = vec!["--target".to_string(), target.to_string()];
        args.extend(flags.iter().map(|flag| flag.to_string()));
        args.extend(["--format", "json", "--quiet"].map(String::from));
        let launch = Launch {
            parent: std::process::id() as i32,
            network: Network::Host,
            cpus: plan(&["--model", "epoll"])?.client_cpus,
            groups: Vec::new(),
            action: Action::Exec {
                program: self.program("loadgen")?,
                args,
            },
        };
        let mut command: Command = server::command(&launch, &Surroundings::Bare)?;
        let output = self.runtime.block_on(captured(&mut command))?;
        serde_json::from_slice(&output.stdout).map_err(|e| {
            let words = String::from_utf8_lossy(&output.stderr);
            Trouble::failed(format!("the load generator said {:?} ({e})", words.trim()))
        })
    }
}

/// The plan of a run with these flags.
fn plan(words: &[&str]) -> Result<Plan, Trouble> {
    let is_given = |flag: &str| {
        words
            .iter()
            .any(|word| word.split('=').next() == Some(flag))
    };
    let mut all = vec!["tenk"];
    for (flag, value) in [("--repeat", "1"), ("--seed", SEED)] {
        if !is_given(flag) {
            all.extend([flag, value]);
        }
    }
    all.extend(words);
    let cli = Cli::try_parse_from(all).map_err(|e| Trouble::failed(e.to_string()))?;
    Plan::new(&cli.run).map_err(|failure: Failure| failure.into())
}

/// A note says why, and after the last colon what mends it.
fn not_counted(row: &Row, notes: &[String]) -> Trouble {
    match notes.first().and_then(|note| note.rsplit_once(": ")) {
        Some((why, remedy)) => Trouble::denied(why, remedy),
        None => Trouble::failed(format!("the system calls of {} were not counted", row.arm)),
    }
}

fn not_served(error: StartError) -> Trouble {
    match error {
        StartError::Unavailable(why) => {
            Trouble::denied(why, "run the lab where this model is available")
        }
        StartError::Ended(why) | StartError::Silent(why) | StartError::NotStarted(why) => {
            Trouble::failed(format!("the server did not start: {why}"))
        }
    }
}

/// A running server of ours, ended with all that it started when dropped.
pub struct Served<'a> {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its own process.
    pub pid: u32,
    opening: Reading,
    server: Option<Server>,
    ledger: Reader,
    runtime: &'a Runtime,
}

impl Served<'_> {
    fn server(&self) -> &Server {
        self.server.as_ref().expect("it is taken when dropped")
    }

    /// The processes of the family.
    pub fn pids(&self) -> Vec<u32> {
        self.server().pids()
    }

    /// CPU time of the family since it was ready, s: user and system together.
    pub fn cpu_s(&self) -> Result<f64, Trouble> {
        let now = self.server().cpu(&self.pids());
        let used = now.since(&self.opening).map_err(Trouble::failed)?;
        Ok(used.total_s)
    }

    /// The server's own counters, all workers together.
    pub fn tally(&self) -> Tally {
        self.ledger.total()
    }

    /// The server's own counters, a worker each.
    pub fn workers(&self) -> Vec<Tally> {
        self.ledger.workers()
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtime.block_on(server.stop());
        }
    }
}
