//! A run: its trials one after the other, each saved as soon as it is over, and what is made of them at the end.

use crate::chart::{self, Histograms};
use crate::cli::{Format, RunFlags};
use crate::environment::{Environment, nofile_hard};
use crate::error::{FAILED, Failure, UNAVAILABLE};
use crate::export::{self, Source};
use crate::judge::judge;
use crate::load_rows;
use crate::plan::{Plan, TrialPlan};
use crate::progress::Progress;
use crate::report::table;
use crate::row::{Reasons, Row, Status, Verdict, to_csv};
use crate::stats::ranking::rankings;
use crate::store::RunFolder;
use crate::summary::summarise;
use crate::threshold;
use crate::trial::binaries::Binaries;
use crate::trial::launch::{Action, Launch, Network};
use crate::trial::{self, Context, Evidence, cgroup};
use loadgen::units::format_count;
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit codes of an interrupted run: 128 + SIGINT, 128 + SIGTERM.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;

/// Makes the run and returns the exit code.
pub async fn run(flags: &RunFlags) -> Result<u8, Failure> {
    let plan = Plan::new(flags)?;
    if flags.dry_run {
        return say(&describe(&plan)).map(|()| 0);
    }
    let mut signals = Signals::listen()?;
    let run_id = run_id();
    let folder =
        RunFolder::create(&flags.results, &run_id).map_err(|e| cannot_save(&flags.results, &e))?;
    cgroup::sweep_leftovers(trial::PREFIX);
    require_network(&plan).await?;
    let mut names: Vec<&str> = plan.arms.iter().map(|arm| arm.model.name).collect();
    names.push("loadgen");
    let binaries = tokio::select! {
        binaries = Binaries::prepare(&names, flags.quiet) => binaries?,
        code = signals.next() => return Ok(code),
    };
    if !flags.quiet {
        for note in preflight(&plan) {
            eprintln(&note);
        }
    }
    let mut record = Record {
        environment: Environment::read(&plan, &binaries),
        folder,
        run_id,
        rows: Vec::new(),
        histograms: Histograms::new(),
    };
    let context = Context {
        plan: &plan,
        binaries: &binaries,
    };
    let interrupted = run_trials(&context, &mut record, &mut signals, flags.quiet).await?;
    record.finish(interrupted.is_none())?;
    record.show(flags.format, interrupted.is_none())?;
    let missed = record.hand_over(flags, interrupted.is_none())?;
    Ok(
        interrupted.unwrap_or_else(|| match exit_code(&plan, &record.rows) {
            0 if missed => threshold::MISSED,
            code => code,
        }),
    )
}

/// With `--netns require`, finds out before anything is built whether the kernel allows it.
async fn require_network(plan: &Plan) -> Result<(), Failure> {
    if !matches!(plan.network, Network::Private { required: true, .. }) {
        return Ok(());
    }
    let failed = |e: io::Error| Failure::failed(format!("cannot start this program again: {e}"));
    let launch = Launch {
        parent: std::process::id() as i32,
        network: plan.network.clone(),
        cpus: Vec::new(),
        groups: Vec::new(),
        action: Action::Exec {
            program: std::env::current_exe().map_err(failed)?,
            args: vec!["--version".into()],
        },
    };
    let output = trial::server::command(&launch)
        .map_err(failed)?
        .output()
        .await
        .map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Failure::preflight(format!(
        "--netns require: {} (run as root, or allow user namespaces with `sysctl kernel.unprivileged_userns_clone=1`, \
         or use --netns auto)",
        String::from_utf8_lossy(&output.stderr).trim()
    )))
}

/// Runs every trial, or as many as there is time for before a signal; returns the exit code that the signal asks for.
async fn run_trials(
    context: &Context<'_>,
    record: &mut Record,
    signals: &mut Signals,
    quiet: bool,
) -> Result<Option<u8>, Failure> {
    let trials = context.plan.trials();
    let progress = Progress::new(trials.len(), quiet);
    let mut interrupted = None;
    for trial in &trials {
        let say = |phase: &str| progress.phase(trial, phase);
        // When the signal wins, the trial is dropped, and with it every process it started.
        tokio::select! {
            evidence = trial::run(context, trial, &say) => record.add(context.plan, trial, &evidence?)?,
            code = signals.next() => {
                interrupted = Some(code);
                break;
            }
        }
        progress.trial_done();
    }
    progress.finish();
    Ok(interrupted)
}

/// Everything that is kept of a run.
struct Record {
    run_id: String,
    folder: RunFolder,
    environment: Environment,
    rows: Vec<Row>,
    histograms: Histograms,
}

impl Record {
    /// Judges a trial and saves what it left, at once.
    fn add(&mut self, plan: &Plan, trial: &TrialPlan, evidence: &Evidence) -> Result<(), Failure> {
        let row = judge(&self.run_id, plan, trial, evidence);
        self.remember_environment(evidence);
        self.rows.push(row);
        self.save(false)
    }

    fn remember_environment(&mut self, evidence: &Evidence) {
        let environment = &mut self.environment;
        if environment.trial_network.is_none() && !evidence.launched.sysctls.is_empty() {
            environment.trial_network = Some(evidence.launched.clone().into());
            environment.memory_method = Some(evidence.memory_method.to_string());
        }
        if let Some(window) = evidence.window.as_ref().filter(|w| w.between_s > 0.0) {
            let share = window.harness_s / window.between_s;
            let highest = environment.harness_cpu_fraction.unwrap_or(0.0).max(share);
            environment.harness_cpu_fraction = Some(highest);
        }
    }

    fn save(&self, complete: bool) -> Result<(), Failure> {
        let csv = to_csv(&self.rows).map_err(|e| Failure::failed(format!("trials.csv: {e}")))?;
        self.write("trials.csv", &csv)?;
        let json = self.json(complete)?;
        self.write("run.json", json.as_bytes())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.folder
            .write(name, bytes)
            .map_err(|e| cannot_save(&self.folder.path().join(name), &e))
    }

    fn json(&self, complete: bool) -> Result<String, Failure> {
        let value = serde_json::json!({
            "schema": load_rows::SCHEMA,
            "run_dir": self.folder.path().display().to_string(),
            "complete": complete,
            "environment": self.environment,
            "trials": self.rows,
            "summary": summarise(&self.rows),
            "ranking": rankings(&self.rows),
        });
        let text = serde_json::to_string_pretty(&value);
        text.map(|text| text + "\n")
            .map_err(|e| Failure::failed(format!("run.json: {e}")))
    }

    /// The charts and the final state of the files.
    fn finish(&self, complete: bool) -> Result<(), Failure> {
        let charts = chart::all(&self.rows, &self.histograms)
            .map_err(|e| Failure::failed(format!("cannot draw the charts: {e}")))?;
        for chart in charts {
            self.write(&format!("charts/{}", chart.name), chart.svg.as_bytes())?;
        }
        self.save(complete)
    }

    fn show(&self, format: Format, complete: bool) -> Result<(), Failure> {
        match format {
            Format::Table => say(&table::for_people(&self.rows, self.folder.path(), complete)),
            Format::Md => say(&table::markdown(&self.rows)),
            Format::Json => say(&self.json(complete)?),
            Format::Csv => {
                let csv = to_csv(&self.rows).map_err(|e| Failure::failed(e.to_string()))?;
                say(&String::from_utf8_lossy(&csv))
            }
        }
    }
}

impl Record {
    /// Writes the exports and says which thresholds were missed; returns whether any was.
    fn hand_over(&self, flags: &RunFlags, complete: bool) -> Result<bool, Failure> {
        let source = Source {
            rows: &self.rows,
            run_json: &self.json(complete)?,
        };
        export::write_all(&flags.export, &source)?;
        let misses = threshold::misses(&flags.threshold, &self.rows);
        if !misses.is_empty() {
            eprintln(threshold::table(&misses).trim_end());
        }
        Ok(!misses.is_empty())
    }
}

/// What a run would do.
fn describe(plan: &Plan) -> String {
    let mut text = String::new();
    for trial in plan.trials() {
        let conns = format_count(trial.load.conns);
        let line = format!(
            "block {} trial {}: {} at {conns}\n",
            trial.block, trial.trial, trial.arm.label
        );
        text.push_str(&line);
    }
    let seconds = plan.estimate().as_secs();
    text.push_str(&format!(
        "{} trials, about {seconds} s, seed {}\n",
        plan.trial_count(),
        plan.seed
    ));
    text
}

/// Shortages that parts of the run will meet, said before it starts.
fn preflight(plan: &Plan) -> Vec<String> {
    let most = plan
        .loads
        .iter()
        .map(|load| load.population())
        .max()
        .unwrap_or(0);
    let mut notes = Vec::new();
    if let Some(limit) = nofile_hard().filter(|&limit| most + 64 > limit) {
        notes.push(format!(
            "note: {} connections asked for; one process may open {} descriptors (`ulimit -Hn`), so servers of one \
             process will be limited",
            format_count(most),
            format_count(limit)
        ));
    }
    let pids = |path| -> Option<u64> { std::fs::read_to_string(path).ok()?.trim().parse().ok() };
    if let Some(limit) = pids("/proc/sys/kernel/pid_max").filter(|&limit| most > limit * 9 / 10) {
        notes.push(format!(
            "note: {} connections asked for; this machine may run {} tasks (`sysctl kernel.pid_max`), so models with \
             one per connection will be limited",
            format_count(most),
            format_count(limit)
        ));
    }
    notes
}

/// DESIGN §4: what the statuses of all trials make of the run.
fn exit_code(plan: &Plan, rows: &[Row]) -> u8 {
    if plan.arms.len() == 1 && rows.iter().all(|row| row.status == Status::Skipped) {
        return UNAVAILABLE;
    }
    let ran: Vec<&Row> = rows
        .iter()
        .filter(|row| row.status != Status::Skipped)
        .collect();
    let failed = ran
        .iter()
        .any(|row| row.status.is_failure() || has_broken_law(&row.reasons));
    let nothing_believable =
        !ran.is_empty() && ran.iter().all(|row| row.verdict == Verdict::Invalid);
    if failed || nothing_believable {
        FAILED
    } else {
        0
    }
}

fn has_broken_law(reasons: &Reasons) -> bool {
    reasons.0.iter().any(|r| r.code == "W09" || r.code == "W10")
}

fn cannot_save(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!(
        "cannot save {}: {error}; what was saved before is untouched (choose another place with --results DIR)",
        path.display()
    ))
}

/// The time to the second and a random part: runs started together get folders of their own.
fn run_id() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let stamp: String = now
        .chars()
        .filter(|c| c.is_ascii_digit() || *c == 'T')
        .collect();
    format!("{stamp}-{:04x}", fastrand::u16(..))
}

/// Writes to stdout; a reader that has gone is no error.
pub fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}

/// A line on stderr; where even that is closed, there is nobody to tell.
pub fn eprintln(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> Result<Signals, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|e| Failure::failed(format!("cannot listen for signals: {e}")))
        };
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// The exit code of the next signal.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => TERMINATED,
        }
    }
}
