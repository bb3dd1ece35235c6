//! `tenk history find`: which commit changed a figure. A gate of both ends says whether there is a change, and how
//! large; every gate after it holds a commit in between against the first one, with half of that change as its margin.

use super::add::told;
use super::bisection::{Bisection, Found};
use crate::analysis::decide::{Answer, Verdict};
use crate::analysis::history::Commit;
use crate::base::error::{Exit, Failure};
use crate::base::terminal::{Signals, eprintln, say};
use crate::base::text::{about, percent, visible};
use crate::cli::gate::GateFlags;
use crate::cli::history::FindFlags;
use crate::cli::rate::Rate;
use crate::cmd::gate::git::git;
use crate::cmd::gate::{self, Job, Outcome};
use crate::cmd::run::Ended;
use crate::model::metrics::Gated;
use crate::render::chart::history::short;
use std::time::{Duration, Instant};

/// No gate is given less: fewer blocks decide nothing.
const LEAST: Duration = Duration::from_secs(20);

/// Finds it, and says so in one sentence.
pub async fn find(flags: &FindFlags) -> Result<Exit, Failure> {
    let commits = range(flags).await?;
    let mut signals = Signals::listen()?;
    let mut search = Search {
        flags,
        commits: &commits,
        rate: flags.rate,
        left: flags.budget,
        gates: 0,
        measured: Duration::ZERO,
    };
    match search.run(&mut signals).await {
        Ok((sentence, exit)) => say(&format!("{sentence}\n")).map(|()| exit),
        Err(ended) => ended.into(),
    }
}

/// The commits from the good one to the bad one, along first parents, both included.
async fn range(flags: &FindFlags) -> Result<Vec<Commit>, Failure> {
    let here = std::env::current_dir().unwrap_or_default();
    let good = told(&flags.good, "--good").await?;
    let bad = told(&flags.bad, "--bad").await?;
    let ancestor = ["merge-base", "--is-ancestor", &good.commit, &bad.commit];
    if good.commit == bad.commit || git(&here, &ancestor).await.is_err() {
        return Err(Failure::usage(format!(
            "--good {} is no ancestor of --bad {}: name a commit before the change and a later one that has it",
            flags.good, flags.bad
        )));
    }
    let between = format!("{}..{}", good.commit, bad.commit);
    let format = "--format=%H%x00%ct%x00%s";
    let list = [
        "log",
        "--no-show-signature",
        "--first-parent",
        "--reverse",
        format,
        &between,
    ];
    let list = git(&here, &list).await.map_err(Failure::failed)?;
    let commit = |line: &str| {
        let mut parts = line.splitn(3, '\0');
        Some(Commit {
            commit: parts.next()?.into(),
            committed_s: parts.next()?.parse().unwrap_or(0),
            title: parts.next()?.into(),
        })
    };
    Ok(std::iter::once(good)
        .chain(list.lines().filter_map(commit))
        .collect())
}

/// A change: its logarithm as cost, more being worse, and how it is said.
struct Change {
    log: f64,
    words: String,
}

struct Search<'a> {
    flags: &'a FindFlags,
    commits: &'a [Commit],
    /// One for all gates, once it is known.
    rate: Option<Rate>,
    left: Duration,
    gates: usize,
    measured: Duration,
}

impl Search<'_> {
    async fn run(&mut self, signals: &mut Signals) -> Result<(String, Exit), Ended> {
        let mut bisection = Bisection::of(self.commits.len());
        let last = self.commits.len() - 1;
        let metric = self.flags.metric.metric;
        let whole = self
            .gate(
                last,
                self.flags.metric.margin,
                bisection.steps_left(),
                signals,
            )
            .await?;
        let Some(change) = change(&whole, self.flags.metric) else {
            return Ok((self.not_shown(&whole), Exit::Inconclusive));
        };
        self.note(&format!(
            "{} to {}: {}",
            self.name(0),
            self.name(last),
            change.words
        ));
        let mut doubtful = 0;
        while let Some(at) = bisection.next() {
            if self.left < LEAST {
                break;
            }
            let margin = (change.log.abs() / 2.0).exp_m1();
            let found = match self
                .gate(at, margin, bisection.steps_left() - 1, signals)
                .await
            {
                Ok(outcome) => self.judged(&outcome, &change, at, &mut doubtful),
                Err(Ended::Failed(failure)) if failure.exit != Exit::Usage => {
                    self.note(&format!("{} is gone around: {failure}", self.name(at)));
                    Found::Skipped
                }
                Err(ended) => return Err(ended),
            };
            bisection.told(at, found);
        }
        let (good, bad) = bisection.range();
        let effort = format!("{} gates, {}", self.gates, about(self.measured));
        if bad - good > 1 {
            let sentence = format!(
                "{} changed ({}) in one of the {} commits after {} up to {}; {effort}; {}.",
                metric.label,
                change.words,
                bad - good,
                self.name(good),
                self.name(bad),
                match bisection.next() {
                    Some(_) => "a longer --budget narrows it down",
                    None => "those in between could not be measured",
                }
            );
            return Ok((sentence, Exit::Inconclusive));
        }
        let probably = if doubtful > 0 { " probably" } else { "" };
        let sentence = format!(
            "{} changed{probably} at {}: {}; {effort}.",
            metric.label,
            self.name(bad),
            change.words
        );
        Ok((sentence, Exit::Done))
    }

    fn name(&self, at: usize) -> String {
        let commit = &self.commits[at];
        format!("{} ({})", short(&commit.commit), visible(&commit.title))
    }

    fn note(&self, text: &str) {
        if !self.flags.quiet {
            eprintln(text);
        }
    }

    /// Holds a commit against the first one, with its share of the time that is left.
    async fn gate(
        &mut self,
        at: usize,
        margin: f64,
        steps_after: u32,
        signals: &mut Signals,
    ) -> Result<Outcome, Ended> {
        let share = self.left / (steps_after + 1);
        let flags = self
            .gate_flags(at, margin, share.max(LEAST))
            .map_err(Ended::Failed)?;
        self.note(&format!(
            "{} against {}, {} at most",
            self.name(at),
            self.name(0),
            about(flags.budget)
        ));
        let job = Job::new(&flags).await.map_err(Ended::Failed)?;
        let started = Instant::now();
        let (mut record, outcome) = job.make(&flags, signals).await?;
        gate::keep(&mut record, &outcome).map_err(Ended::Failed)?;
        // What could not be saved is said; the search goes on with what was measured.
        let _ = record.exit_code(Exit::Done);
        let took = Duration::from_secs_f64(outcome.took_s).min(started.elapsed());
        self.left = self.left.saturating_sub(took);
        self.measured += took;
        self.gates += 1;
        if let [rate] = outcome.rates_per_s[..] {
            self.rate = Some(Rate::PerS(rate));
        }
        Ok(outcome)
    }

    /// The gate's own defaults, with what was asked for.
    fn gate_flags(&self, at: usize, margin: f64, budget: Duration) -> Result<GateFlags, Failure> {
        let defaults = GateFlags::defaults(&self.commits[0].commit)?;
        let flags = self.flags;
        let mut output = defaults.output.clone();
        output.results.clone_from(&flags.results);
        output.quiet = flags.quiet;
        Ok(GateFlags {
            head: Some(self.commits[at].commit.clone()),
            base_cmd: flags.server.clone(),
            head_cmd: flags.server.clone(),
            build: flags.build.clone(),
            model: flags.model.iter().cloned().collect(),
            rate: self.rate.into_iter().collect(),
            asked: flags.asked.clone(),
            servers: flags.servers.clone(),
            load: flags.load.clone(),
            gate: vec![Gated {
                margin: margin.clamp(0.001, 1.0),
                ..flags.metric
            }],
            budget,
            blocks: flags.blocks,
            warmup: flags.warmup,
            duration: flags.duration,
            seed: flags.seed,
            place: flags.place.clone(),
            output,
            ..defaults
        })
    }

    fn judged(&self, outcome: &Outcome, change: &Change, at: usize, doubtful: &mut usize) -> Found {
        let (found, is_sure) = judge(outcome, change, self.flags.metric);
        *doubtful += usize::from(!is_sure);
        let words = match found {
            Found::Good => "is as before the change",
            Found::Bad => "has the change",
            Found::Skipped => "gave no figure, and is gone around",
        };
        let sure = if is_sure {
            ""
        } else {
            " (more likely than not)"
        };
        self.note(&format!("{} {words}{sure}", self.name(at)));
        found
    }

    fn not_shown(&self, outcome: &Outcome) -> String {
        let words = match answer(outcome, self.flags.metric) {
            _ if outcome.same.is_some() => "both are one and the same program".to_string(),
            Some(answer) => gate::words::sentence(answer),
            None => "neither gave a figure".into(),
        };
        let last = self.commits.len() - 1;
        format!(
            "No change of {} from {} to {} was shown, so that there is no commit to look for: {words}.",
            self.flags.metric.metric.label,
            self.name(0),
            self.name(last)
        )
    }
}

fn answer(outcome: &Outcome, gated: Gated) -> Option<&Answer> {
    outcome
        .answers
        .iter()
        .find(|answer| answer.metric == gated.metric.column)
}

/// The logarithm of a change as cost.
fn cost(answer: &Answer) -> Option<f64> {
    let log = answer.change?.ln_1p();
    Some(if answer.more_is_better { -log } else { log })
}

/// The change of the whole range, in whichever direction, if one was shown.
fn change(outcome: &Outcome, gated: Gated) -> Option<Change> {
    let answer = answer(outcome, gated)?;
    let is_shown = matches!(answer.verdict, Some(Verdict::Regressed | Verdict::Improved));
    let interval = answer.interval.map_or(String::new(), |interval| {
        format!(" ({} to {})", percent(interval.low), percent(interval.high))
    });
    let words = format!("{}{interval}", percent(answer.change?));
    let log = cost(answer)?;
    is_shown.then_some(Change { log, words })
}

/// Which end a commit is like, and whether that was shown.
fn judge(outcome: &Outcome, change: &Change, gated: Gated) -> (Found, bool) {
    if outcome.same.is_some() {
        return (Found::Good, true);
    }
    let Some((answer, log)) = answer(outcome, gated).and_then(|a| Some((a, cost(a)?))) else {
        return (Found::Skipped, true);
    };
    let is_bad = log * change.log.signum() >= change.log.abs() / 2.0;
    let found = if is_bad { Found::Bad } else { Found::Good };
    let is_sure = answer.verdict != Some(Verdict::Inconclusive);
    (found, is_sure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::decide::{self, tests::question};
    use crate::cmd::gate::side::{BASE, HEAD, Side};

    fn outcome(log_ratios: Vec<f64>, same: Option<&str>) -> Outcome {
        Outcome {
            base: Side::of_command(BASE, "a"),
            head: Side::of_command(HEAD, "b"),
            blocks: log_ratios.len(),
            budget_s: 1.0,
            took_s: 1.0,
            rates_per_s: Vec::new(),
            run_dir: String::new(),
            same: same.map(str::to_string),
            notes: Vec::new(),
            answers: decide::answers(&[question(log_ratios)], same.is_some()),
        }
    }

    fn around(middle: f64) -> Vec<f64> {
        (0..12).map(|i| middle + 0.002 * f64::from(i - 6)).collect()
    }

    #[test]
    fn a_commit_is_like_the_end_that_it_is_nearer_to() {
        let gated = Gated::default_one();
        for direction in [1.0, -1.0] {
            let whole = change(&outcome(around(0.2 * direction), None), gated).unwrap();
            let of = |middle: f64| judge(&outcome(around(middle * direction), None), &whole, gated);
            assert_eq!(of(0.19), (Found::Bad, true));
            assert_eq!(of(0.01).0, Found::Good);
            assert_eq!(of(-0.3).0, Found::Good);
        }
        let whole = change(&outcome(around(0.2), None), gated).unwrap();
        assert!(whole.words.starts_with("+2"), "{}", whole.words);
        let same = judge(&outcome(around(0.2), Some("one program")), &whole, gated);
        assert_eq!(same, (Found::Good, true));
        assert_eq!(
            judge(&outcome(Vec::new(), None), &whole, gated).0,
            Found::Skipped
        );
        let noisy = judge(&outcome(vec![0.5, -0.4, 0.3, -0.5], None), &whole, gated);
        assert!(!noisy.1);
        assert!(change(&outcome(around(0.0), None), gated).is_none());
    }
}
