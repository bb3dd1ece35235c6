//! What is kept of a run while it is made: a line per trial as it ends, and at the end every file that is made of
//! them. A disk that is full costs files, never the result: that is printed all the same.

use super::hand_over::{hand_over, say_costs, say_hosts, text};
use crate::analysis::answer::Answer;
use crate::analysis::steadiness;
use crate::base::error::{Exit, Failure, OrFail};
use crate::base::terminal::{eprintln, say};
use crate::cli::export::Export;
use crate::cli::{Format, RunFlags};
use crate::judge::{judge, received};
use crate::model::instrumented::{Instrumented, Shown, Syscalls};
use crate::model::row::{Row, to_csv};
use crate::plan::pace::Lessons;
use crate::plan::{Plan, TrialPlan, estimate};
use crate::render::export::{Source, write_all};
use crate::render::facts;
use crate::render::gate_words::GateWords;
use crate::render::run_json::run_json;
use crate::render::write::{Target, Which, in_one_sentence, write};
use crate::store::folder::{RunFolder, cannot_save};
use crate::store::journal::{Journal, TRIALS};
use crate::store::line::{End, InstrumentedLine, Remark, SetAside, TrialLine};
use crate::store::run::Run;
use crate::store::saved::ENVIRONMENT;
use crate::trial::Evidence;
use crate::trial::environment::Environment;
use loadgen::tally::slo::Slo;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Instant;

/// A run that is being made.
pub struct Record {
    folder: RunFolder,
    journal: Journal,
    environment: Environment,
    /// The environment as it is on the disk.
    saved_environment: Vec<u8>,
    started: Instant,
    run: Run,
    /// Made once, at the end.
    answer: Answer,
    /// The same.
    run_json: String,
    /// Files that could not be saved, a sentence each.
    faults: Vec<String>,
    lessons: Lessons,
}

impl Record {
    /// Nothing yet but where the run is made.
    pub fn new(folder: RunFolder, environment: Environment) -> Result<Record, Failure> {
        let cannot =
            |e: io::Error| cannot_save(format!("{}: {e}", folder.path().display())).caused_by(e);
        let mut record = Record {
            journal: Journal::create(folder.path()).map_err(cannot)?,
            folder,
            environment,
            saved_environment: Vec::new(),
            started: Instant::now(),
            run: Run::default(),
            answer: Answer::of(&[], false),
            run_json: String::new(),
            faults: Vec::new(),
            lessons: Lessons::default(),
        };
        record.save_environment();
        match record.faults.pop() {
            None => Ok(record),
            Some(fault) => Err(cannot_save(fault)),
        }
    }

    /// Where everything is saved.
    pub fn run_dir(&self) -> String {
        self.folder.path().display().to_string()
    }

    /// The run.
    pub fn run_id(&self) -> String {
        self.folder.run_id()
    }

    /// One per trial that is over and counts.
    pub fn rows(&self) -> &[Row] {
        &self.run.rows
    }

    /// Judges a trial and saves what it left, at once; returns its row.
    pub fn add(
        &mut self,
        plan: &Plan,
        trial: &TrialPlan,
        evidence: &Evidence,
    ) -> Result<&Row, Failure> {
        let row = judge(&self.folder.run_id(), plan, trial, evidence);
        self.remember_environment(evidence);
        let number = row.trial;
        let name = format!("trial {number}");
        let line = TrialLine::of(
            row,
            evidence.outcome.as_ref(),
            &evidence.workers,
            Some(evidence.took),
        );
        let line = TrialLine {
            perf_events_open: evidence.window.as_ref().map(|w| w.perf_events_open),
            ..line.or_failed(&name)?
        };
        self.learn(plan, trial, evidence);
        self.append(&line, &name);
        self.run.add(line).or_failed(&name)?;
        Ok(&self.run.rows[self.run.rows.len() - 1])
    }

    /// Remembers how long the trial took around its load, for the next estimate.
    fn learn(&mut self, plan: &Plan, trial: &TrialPlan, evidence: &Evidence) {
        if evidence.outcome.is_some() {
            let whole_s = evidence.took.whole_s();
            estimate::learn(&mut self.lessons, plan, &trial.arm, &trial.load, whole_s);
        }
    }

    /// Keeps for the next run's estimate what this one showed. Where it cannot be kept, that estimate is less precise,
    /// which is said once.
    pub fn keep_pace(&self, plan: &Plan, quiet: bool) {
        if self.lessons.is_empty() {
            return;
        }
        let blocks: BTreeSet<u32> = self.run.rows.iter().map(|row| row.block).collect();
        let most = estimate::most_run_again(blocks.len());
        let redone = self.environment.blocks_redone as f64 / most as f64;
        let kept = plan.pace.after(&self.lessons, redone).keep();
        if let (Err(why), false) = (kept, quiet) {
            eprintln(&format!(
                "note: how long this run took is not kept for the next estimate: {why}"
            ));
        }
    }

    /// Judges and saves a trial in which the server was looked into: apart from those that count.
    pub fn add_instrumented(&mut self, plan: &Plan, trial: &TrialPlan, evidence: Evidence) {
        let row = judge(&self.folder.run_id(), plan, trial, &evidence);
        let number = row.trial;
        let Shown {
            syscalls,
            received_bytes,
            profile,
            notes,
        } = evidence.shown;
        let outcome = evidence.outcome.as_ref();
        let requests = outcome.and_then(|outcome| received(received_bytes, outcome));
        let syscalls = syscalls.map(|made| Syscalls { requests, ..made });
        let line = InstrumentedLine {
            perf_events_open: evidence.window.as_ref().map(|w| w.perf_events_open),
            instrumented: Instrumented {
                row,
                syscalls,
                profile,
                notes,
            },
        };
        self.append(&line, &format!("instrumented trial {number}"));
        self.run.instrumented.push(line.instrumented);
    }

    /// Keeps what a gate says of the run.
    pub fn set_gate(&mut self, words: GateWords) {
        self.run.gate = Some(words);
    }

    /// Remembers the digests of what a command ran.
    pub fn add_programs(&mut self, side: &str, sha256: &BTreeMap<String, String>) {
        let named = sha256
            .iter()
            .map(|(file, digest)| (format!("{side}/{file}"), digest.clone()));
        self.environment.sha256.extend(named);
    }

    /// Appends a line; where that fails for the first time it is said, and the run goes on.
    fn append(&mut self, line: &impl Serialize, what: &str) {
        let was_whole = self.journal.is_whole();
        if let Err(e) = self.journal.append(line)
            && was_whole
        {
            eprintln(&format!(
                "note: {what} is not saved yet ({}: {e}); the run goes on, and its result will be printed",
                self.folder.path().join(TRIALS).display()
            ));
        }
    }

    /// Takes a disturbed block's trials out of the result, to be run again; they stay in redone.csv.
    pub fn set_aside(&mut self, block: u32) {
        let remark = Remark::SetAside(SetAside { block });
        self.append(&remark, &format!("that block {block} is run again"));
        self.run.set_aside(block);
        self.environment.blocks_redone += 1;
        self.save_environment();
    }

    fn remember_environment(&mut self, evidence: &Evidence) {
        let environment = &mut self.environment;
        if environment.trial_network.is_none() && !evidence.launched.sysctls.is_empty() {
            environment.trial_network = Some(evidence.launched.clone().into());
        }
        if environment.server_host.is_none() {
            environment.server_host.clone_from(&evidence.server_host);
        }
        let hosts = evidence.outcome.iter().flat_map(|outcome| &outcome.hosts);
        for host in hosts {
            if let Some(machine) = &host.machine {
                let known = environment.load_hosts.entry(host.name.clone());
                known.or_insert_with(|| machine.clone());
            }
        }
        let method = |known: &mut Option<String>, of: &Option<String>| {
            *known = known.take().or(of.clone());
        };
        method(&mut environment.memory_method, &evidence.memory_method);
        method(&mut environment.cpu_method, &evidence.cpu_method);
        if let Some(window) = evidence.window.as_ref().filter(|w| w.between_s > 0.0) {
            let share = window.harness_s / window.between_s;
            let highest = environment.harness_cpu_fraction.unwrap_or(0.0).max(share);
            environment.harness_cpu_fraction = Some(highest);
        }
        self.save_environment();
    }

    /// Saves the environment, which is known bit by bit, where something of it has changed.
    fn save_environment(&mut self) {
        #[derive(Serialize)]
        struct Document<'a> {
            schema: &'static str,
            #[serde(flatten)]
            environment: &'a Environment,
        }
        let document = Document {
            schema: "tenk.environment/1",
            environment: &self.environment,
        };
        let Ok(mut text) = serde_json::to_vec_pretty(&document) else {
            self.faults
                .push(format!("{ENVIRONMENT}: a figure without JSON"));
            return;
        };
        text.push(b'\n');
        if text != self.saved_environment {
            self.write(ENVIRONMENT, &text);
            self.saved_environment = text;
        }
    }

    /// Saves one more file beside the others.
    pub fn write(&mut self, name: &str, bytes: &[u8]) {
        let written = self.folder.write(name, bytes);
        self.faults.extend(written.err().map(|e| e.to_string()));
    }

    /// Keeps what could not be written elsewhere, a sentence.
    pub fn note_fault(&mut self, fault: Option<String>) {
        self.faults.extend(fault);
    }

    /// The end of the run, and every file that is made of its trials.
    pub fn finish(&mut self, complete: bool) {
        self.append(&Remark::End(End { complete }), "the end of the run");
        self.run.complete = complete;
        steadiness::judge(&mut self.run.rows, &self.run.timeline);
        let slo: Vec<Slo> = self
            .environment
            .slo
            .iter()
            .flat_map(|s| s.parse())
            .collect();
        self.answer = Answer::under(&self.run.rows, complete, &slo);
        self.environment.took_s = Some(self.started.elapsed().as_secs_f64());
        self.save_environment();
        self.run.environment = serde_json::to_value(&self.environment).unwrap_or_default();
        match run_json(&self.run, &self.answer, self.folder.path()) {
            Ok(text) => self.run_json = text,
            Err(failure) => self.faults.push(failure.message),
        }
        let target = Target {
            folder: &self.folder,
            kept: &[ENVIRONMENT, TRIALS],
            which: Which::All,
        };
        let faults = write(&target, &self.run, &self.answer, &self.run_json);
        self.faults.extend(faults);
    }

    /// Says where this program itself took more of the machine than it should have.
    pub fn say_own_cpu(&self) {
        let own = facts::own_cpu(&self.run.environment);
        if let Some(note) = own.and_then(|own| own.too_much()) {
            eprintln(&format!("note: {note}"));
        }
    }

    /// How a run ends that would have ended with this one: what could not be saved is said, and is a failure.
    pub fn exit_code(&self, exit: Exit) -> Exit {
        let lines = (!self.journal.is_whole()).then(|| {
            format!(
                "{}: its last lines could not be written, so that trials are missing in it",
                self.folder.path().join(TRIALS).display()
            )
        });
        let faults: Vec<String> = lines
            .into_iter()
            .chain(self.faults.iter().cloned())
            .collect();
        match in_one_sentence(&faults) {
            None => exit,
            Some(sentence) => {
                eprintln(&format!(
                    "error: {sentence}; what was measured is printed above (make room, or choose another place with \
                     --results DIR; `tenk report {} --write` makes the files of the trials that were saved)",
                    self.run_dir()
                ));
                if exit == Exit::Done {
                    Exit::Failed
                } else {
                    exit
                }
            }
        }
    }

    /// The rows as CSV.
    pub fn csv(&self) -> Result<String, Failure> {
        let csv = to_csv(&self.run.rows).map_err(|e| Failure::from_error(Exit::Failed, e))?;
        Ok(String::from_utf8_lossy(&csv).into_owned())
    }

    /// What the run is handed over as.
    fn source(&self) -> Source<'_> {
        Source {
            rows: &self.run.rows,
            run_json: &self.run_json,
            answer: Some(&self.answer),
            gate: self.run.gate.as_ref(),
        }
    }

    /// Writes the exports.
    pub fn export(&self, exports: &[Export]) -> Result<(), Failure> {
        write_all(exports, &self.source()).map(|_| ())
    }

    /// Prints what instrumented trials showed.
    pub fn say_costs(&self, format: Format) -> Result<(), Failure> {
        say_costs(&self.run, self.folder.path(), format)
    }

    /// Prints the result, writes the exports and checks the thresholds; returns whether any was missed.
    pub fn hand_over(&self, flags: &RunFlags) -> Result<bool, Failure> {
        let source = self.source();
        let (folder, output) = (self.folder.path(), &flags.output);
        say(&text(&source, folder, output.format, output.verbose)?)?;
        say_hosts(&self.run, output.format)?;
        self.say_costs(output.format)?;
        hand_over(&source, &flags.output.export, &flags.threshold)
    }
}
