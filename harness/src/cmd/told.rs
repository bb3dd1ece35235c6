//! What is told of a run to programs that follow it while it is made: lines of JSON, and a file of metrics.

use crate::base::error::{Exit, Failure};
use crate::base::terminal::{Signals, eprintln};
use crate::cli::OutputFlags;
use crate::model::progress_line::{END, OVER, ProgressLine, SCHEMA, TrialResult};
use crate::model::row::Row;
use crate::plan::{Plan, TrialPlan};
use crate::trial::Follow;
use loadgen::base::clock::unix_now_ns;
use loadgen::base::file::replace;
use loadgen::cmd::live::lines::Lines;
use loadgen::cmd::live::metrics::{self, Page, Totals};
use loadgen::tally::live::SecondRecord;
use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// How often it is looked whether there is something to tell.
const TICK: Duration = Duration::from_millis(250);

/// After so long without a word another one follows.
const SILENCE: Duration = Duration::from_secs(1);

/// In a window the generator tells of each second; a word of our own comes where it has none.
const SILENCE_IN_WINDOW: Duration = Duration::from_millis(1600);

/// What is told of a run while it is made, besides what it finds.
#[derive(Clone, Copy)]
pub struct Ways<'a> {
    /// To programs.
    pub told: &'a Told,
    /// Nothing to people.
    pub quiet: bool,
}

/// What is told of a run, to whoever asked for it; nothing where nobody did.
pub struct Told(RefCell<State>);

struct State {
    lines: Option<Lines>,
    metrics: Option<Metrics>,
    now: ProgressLine,
    /// When `left_s` was estimated.
    estimated: Instant,
    told: Instant,
    /// The first thing that could not be written.
    trouble: Option<String>,
}

impl Told {
    /// Opens what the flags ask for.
    pub fn new(output: &OutputFlags) -> Result<Told, Failure> {
        let usage = |words: String, e: io::Error| Failure::usage(words).caused_by(e);
        let lines = output.progress_json.as_ref().map(Lines::open).transpose();
        let lines = lines.map_err(|e| usage(e.to_string(), e))?;
        let metrics = output.metrics_file.as_deref().map(Metrics::new);
        if let Some(metrics) = &metrics {
            let written = metrics.write(&nowhere());
            written.map_err(|e| usage(format!("--metrics-file: {e}"), e))?;
        }
        Ok(Told::of(lines, metrics))
    }

    /// Tells nothing.
    pub fn nothing() -> Told {
        Told::of(None, None)
    }

    fn of(lines: Option<Lines>, metrics: Option<Metrics>) -> Told {
        let (now, began) = (nowhere(), Instant::now());
        Told(RefCell::new(State {
            lines,
            metrics,
            now,
            estimated: began,
            told: began,
            trouble: None,
        }))
    }

    /// Says which run it is.
    pub fn begin(&self, run_id: &str, plan: &Plan) {
        let mut state = self.0.borrow_mut();
        state.now.run_id = run_id.into();
        // All its loads have the same labels.
        if let Some(scenario) = plan.scenarios.first() {
            state.now.labels.clone_from(&scenario.load.labels);
        }
    }

    /// So many trials more are to be made.
    pub fn expect(&self, trials: usize) {
        self.0.borrow_mut().now.trials += trials as u64;
    }

    /// A trial that was expected is not made.
    pub fn leave_out(&self) {
        self.0.borrow_mut().now.trials_over += 1;
    }

    /// How long the rest takes.
    pub fn left(&self, left: Duration) {
        let mut state = self.0.borrow_mut();
        state.now.left_s = Some(left.as_secs_f64());
        state.estimated = Instant::now();
    }

    /// A trial begins: who follows it, besides whoever is told its phase.
    pub fn follow<'a>(&'a self, trial: &TrialPlan, besides: &'a dyn Fn(&str)) -> Following<'a> {
        let now = &mut self.0.borrow_mut().now;
        (now.trial, now.block) = (trial.trial, trial.block);
        (now.conns, now.rate_per_s) = (trial.load.conns, trial.load.rate_per_s);
        now.arm.clone_from(&trial.arm.label);
        Following {
            told: self,
            besides,
        }
    }

    /// Waits for a trial and tells of it meanwhile; a signal drops it, and with it every process that it started.
    pub async fn while_running<T>(
        &self,
        running: impl Future<Output = T>,
        signals: &mut Signals,
    ) -> Result<T, Exit> {
        tokio::pin!(running);
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let is_asked = self.is_asked();
        loop {
            tokio::select! {
                done = &mut running => return Ok(done),
                exit = signals.next() => return Err(exit),
                _ = tick.tick(), if is_asked => self.0.borrow_mut().break_silence(),
            }
        }
    }

    /// The trial is over; a row of one that is not ranked is none.
    pub fn over(&self, row: Option<&Row>) {
        let mut state = self.0.borrow_mut();
        state.now.trials_over += 1;
        state.now.phase = OVER.into();
        if let Some(metrics) = &mut state.metrics {
            metrics.is_in_trial = false;
        }
        state.tell(None, row.map(TrialResult::of));
    }

    /// The run is over; what could not be told is said, and is what could not be saved.
    pub fn finish(&self) -> Option<String> {
        let mut state = self.0.borrow_mut();
        state.now.phase = END.into();
        state.now.left_s = Some(0.0);
        if let Some(metrics) = &mut state.metrics {
            (metrics.is_running, metrics.is_in_trial) = (false, false);
        }
        state.tell(None, None);
        let late = state.lines.as_ref().map_or(0, Lines::left_out);
        if late > 0 {
            eprintln(&format!(
                "note: {late} lines are missing from --progress-json: whoever reads it was too slow"
            ));
        }
        state.trouble.take()
    }

    fn is_asked(&self) -> bool {
        let state = self.0.borrow();
        state.lines.is_some() || state.metrics.is_some()
    }
}

impl Drop for Told {
    /// A run that ends before its end is over all the same.
    fn drop(&mut self) {
        if self.is_asked() && self.0.borrow().now.phase != END {
            self.finish();
        }
    }
}

impl State {
    /// Tells where the run is.
    fn tell(&mut self, second: Option<SecondRecord>, result: Option<TrialResult>) {
        let since = self.estimated.elapsed().as_secs_f64();
        let now = ProgressLine {
            written_unix_ns: unix_now_ns(),
            left_s: self.now.left_s.map(|left_s| (left_s - since).max(0.0)),
            second,
            result,
            ..self.now.clone()
        };
        self.told = Instant::now();
        if let Some(metrics) = &mut self.metrics {
            let written = metrics.add(&now);
            self.note(written);
        }
        if let Some(lines) = &mut self.lines {
            let written = lines.write(&now);
            self.note(written);
        }
    }

    fn break_silence(&mut self) {
        let patience = match self.now.phase == "window" {
            true => SILENCE_IN_WINDOW,
            false => SILENCE,
        };
        if self.told.elapsed() >= patience {
            self.tell(None, None);
        }
    }

    fn note(&mut self, written: io::Result<()>) {
        if let Err(error) = written
            && self.trouble.is_none()
        {
            eprintln(&format!("note: {error}; the run goes on"));
            self.trouble = Some(error.to_string());
        }
    }
}

/// Nothing has begun.
fn nowhere() -> ProgressLine {
    ProgressLine {
        schema: SCHEMA.into(),
        ..ProgressLine::default()
    }
}

/// Who follows one trial.
pub struct Following<'a> {
    told: &'a Told,
    besides: &'a dyn Fn(&str),
}

impl Follow for Following<'_> {
    fn phase(&self, name: &str) {
        (self.besides)(name);
        let mut state = self.told.0.borrow_mut();
        let is_new = name == "start";
        state.now.phase = name.into();
        if is_new {
            state.tell(None, None);
        }
    }

    fn wants_seconds(&self) -> bool {
        self.told.is_asked()
    }

    fn second(&self, second: SecondRecord) {
        self.told.0.borrow_mut().tell(Some(second), None);
    }
}

/// The file of metrics: of the run, and of the trial that is made.
struct Metrics {
    path: PathBuf,
    is_running: bool,
    is_in_trial: bool,
    /// The trial whose seconds these are.
    trial: u32,
    totals: Option<Totals>,
}

impl Metrics {
    fn new(path: &Path) -> Metrics {
        Metrics {
            path: path.into(),
            is_running: true,
            is_in_trial: false,
            trial: 0,
            totals: None,
        }
    }

    /// Adds what a line tells, and replaces the file.
    fn add(&mut self, now: &ProgressLine) -> io::Result<()> {
        if let Some(second) = &now.second {
            if self.trial != now.trial {
                let own = [("arm", now.arm.as_str())];
                self.totals = Some(Totals::new(&second.target, &second.labels, &own));
                self.trial = now.trial;
            }
            self.is_in_trial = true;
            self.totals.iter_mut().for_each(|totals| totals.add(second));
        }
        self.write(now)
    }

    fn write(&self, now: &ProgressLine) -> io::Result<()> {
        replace(&self.path, self.text(now).as_bytes())
    }

    fn text(&self, now: &ProgressLine) -> String {
        let labels = metrics::labels_of(&[("run_id", &now.run_id)], &now.labels);
        let mut page = Page::new("tenk_run", &labels);
        let mut gauge = |name: &str, unit: &str, help: &str, value: f64| {
            page.gauge(name, unit, help, Some(value));
        };
        gauge(
            "running",
            "",
            "1 while the run lasts, 0 after it",
            f64::from(self.is_running),
        );
        gauge(
            "trials",
            "",
            "Trials to be made, as far as is known",
            now.trials as f64,
        );
        gauge("trial", "", "Trial that is made", f64::from(now.trial));
        gauge("block", "", "Its block", f64::from(now.block));
        page.counter(
            "trials_over",
            "",
            "Trials that are over or left out",
            now.trials_over,
        );
        page.gauge(
            "left_seconds",
            "seconds",
            "How long the rest takes, about",
            now.left_s,
        );
        if !now.phase.is_empty() {
            let own = [("arm", now.arm.as_str()), ("phase", now.phase.as_str())];
            page.info("phase", "What is done, and with which arm", &own);
        }
        let totals = self.totals.as_ref();
        let trial = totals.map_or_else(String::new, |totals| totals.text(self.is_in_trial));
        page.into_text() + &trial + metrics::END
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::trial::generator::tests::a_second;
    use clap::Parser;
    use std::collections::{BTreeMap, BTreeSet};

    fn second(second: u64) -> SecondRecord {
        SecondRecord {
            labels: BTreeMap::from([("arm".into(), "mine".into())]),
            second,
            sent: 10,
            completed: 10,
            ..a_second()
        }
    }

    #[test]
    fn a_run_is_told_from_its_first_trial_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (lines, prom) = (folder.path().join("lines"), folder.path().join("t.prom"));
        let words = format!(
            "tenk --model epoll,poll --conns 7 --repeat 1 --label a=b --progress-json {} --metrics-file {}",
            lines.display(),
            prom.display()
        );
        let flags = Cli::try_parse_from(words.split(' ')).unwrap().run;
        let plan = Plan::new(&flags).unwrap();
        let trials = plan.trials();
        let told = Told::new(&flags.output).unwrap();
        assert!(prom.is_file(), "it is there before anything is told");
        told.begin("r1", &plan);
        told.expect(trials.len());
        told.left(Duration::from_secs(60));
        let mut files = Vec::new();
        for trial in &trials {
            let following = told.follow(trial, &|_| ());
            assert!(following.wants_seconds());
            following.phase("start");
            following.phase("window");
            following.second(second(0));
            following.second(second(1));
            files.push(std::fs::read_to_string(&prom).unwrap());
            told.over(Some(&Row::blank()));
        }
        assert_eq!(told.finish(), None);
        let text = std::fs::read_to_string(&lines).unwrap();
        let all = text.lines().map(serde_json::from_str::<ProgressLine>);
        let all: Vec<ProgressLine> = all.collect::<Result<_, _>>().unwrap();
        let phases: Vec<&str> = all.iter().map(|line| line.phase.as_str()).collect();
        let of_each = ["start", "window", "window", "over"];
        assert_eq!(phases, [&of_each[..], &of_each, &["end"]].concat());
        assert!(
            all.iter()
                .all(|line| line.run_id == "r1" && line.conns == 7)
        );
        let seconds: Vec<Option<u64>> = all
            .iter()
            .map(|line| line.second.as_ref().map(|second| second.second))
            .collect();
        assert_eq!(seconds[..4], [None, Some(0), Some(1), None]);
        assert_ne!(all[0].arm, all[4].arm);
        assert_eq!((all[0].trials, all[0].trials_over), (2, 0));
        assert_eq!((all[8].trials_over, all[8].left_s), (2, Some(0.0)));
        assert!(all[3].result.is_some() && all[2].result.is_none());
        assert!(
            all[0]
                .left_s
                .is_some_and(|left_s| (0.0..=60.0).contains(&left_s))
        );
        // Of each trial the counters begin anew, under its own arm.
        for (file, trial) in files.iter().zip(&trials) {
            let arm = format!("arm=\"{}\"", trial.arm.label);
            let of = |name: &str| {
                let line = file.lines().find(|line| line.starts_with(name));
                line.unwrap_or_else(|| panic!("{name} in {file}"))
            };
            let sent = of("tenk_load_requests_sent_total");
            assert!(sent.contains(&arm) && sent.ends_with(" 20"), "{sent}");
            assert!(sent.contains("label_arm=\"mine\""), "{sent}");
            assert!(of("tenk_run_phase{").contains("phase=\"window\""));
            assert!(of("tenk_run_running{").contains("run_id=\"r1\",a=\"b\""));
            assert!(file.ends_with(metrics::END));
            let types = file.lines().filter(|line| line.starts_with("# TYPE "));
            let types: Vec<&str> = types.collect();
            let once: BTreeSet<&&str> = types.iter().collect();
            assert_eq!(types.len(), once.len(), "{file}");
        }
        let last = std::fs::read_to_string(&prom).unwrap();
        assert!(last.contains("tenk_run_running{run_id=\"r1\",a=\"b\"} 0\n"));
    }

    #[test]
    fn what_cannot_be_opened_is_said_first_and_nothing_is_told_unasked() {
        let flags = |words: &str| Cli::try_parse_from(words.split(' ')).unwrap().run.output;
        for flag in ["--progress-json", "--metrics-file"] {
            let failure = Told::new(&flags(&format!("tenk {flag} /nowhere/x")));
            let failure = failure.err().expect("refused");
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.message.contains("/nowhere/x"), "{failure}");
        }
        let told = Told::new(&flags("tenk")).unwrap();
        assert!(!told.is_asked());
        assert_eq!(told.finish(), None);
    }
}
