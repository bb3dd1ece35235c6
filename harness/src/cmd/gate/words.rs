//! A gate's result in words: the table on stdout, the Markdown of a pull request, GitHub's annotations.

use super::Outcome;
use super::side::Side;
use crate::analysis::decide::{Answer, Verdict};
use crate::analysis::stats::Interval;
use crate::analysis::stats::{ALPHA, power};
use crate::base::column_unit::ColumnUnit;
use crate::base::text::percent;
use crate::base::text::visible;
use crate::cli::gate::GateFlags;
use crate::model::metrics::Gated;
use crate::plan::Plan;
use crate::render::gate_words::GateWords;
use loadgen::base::units::{format_count, format_rate};

/// Standard deviation of a block's log-ratio that a plan is made for.
const NOISE: f64 = 0.05;

const COLUMNS: [&str; 8] = [
    "cell",
    "figure",
    "base",
    "head",
    "change",
    "95 % interval",
    "blocks",
    "verdict",
];

/// The whole result in words.
pub fn words(outcome: &Outcome) -> GateWords {
    GateWords {
        verdict: word(outcome).into(),
        headline: headline(outcome),
        notes: outcome.notes.clone(),
        header: COLUMNS.map(String::from).into(),
        lines: outcome
            .answers
            .iter()
            .map(|answer| line(answer).into())
            .collect(),
        sentences: gated(outcome).map(sentence).collect(),
    }
}

/// What a gate would do: the cells, the blocks that the budget buys, and the change they can find.
pub fn dry_run(plan: &Plan, flags: &GateFlags, sides: &[Side; 2], gated: &[Gated]) -> String {
    let [base, head] = sides;
    let blocks = super::blocks_in_budget(plan, flags.budget);
    let mut text = format!(
        "base: {}\nhead: {}\n",
        visible(&base.what),
        visible(&head.what)
    );
    for (arm, scenario) in plan.cells().step_by(2) {
        let arm = arm.label.trim_end_matches("@base");
        let rate = match scenario.load.rate_per_s {
            Some(rate) => format_rate(rate),
            None => "a quarter of what the slower side can do".into(),
        };
        let conns = format_count(scenario.load.conns);
        text.push_str(&format!("cell: {arm} at {conns} connections, {rate}\n"));
    }
    let seconds = flags.budget.as_secs_f64();
    text.push_str(&format!(
        "{} blocks in {seconds:.0} s, fewer if they decide earlier; seed {}\n",
        format_count(blocks),
        plan.seed
    ));
    let family = plan.cells().count() / 2 * gated.len();
    for gated in gated {
        let found = power::change_found(NOISE, blocks, ALPHA / family as f64);
        let least = found.max(gated.margin.ln_1p()).exp_m1() * 100.0;
        text.push_str(&format!(
            "{}: a change of {least:.1} % is found in 80 of 100 gates, where blocks scatter by {:.0} % (as CPU/request \
             does on a shared two-core machine)\n",
            gated.metric.title,
            NOISE * 100.0
        ));
    }
    text
}

/// GitHub's annotations: an error for what fails the gate, a warning for what was not shown.
/// Escaped as the runner's own toolkit does it (actions/toolkit, command.ts).
pub fn annotations(outcome: &Outcome) -> String {
    let mut text = String::new();
    for answer in gated(outcome) {
        let kind = match answer.verdict {
            Some(Verdict::Regressed | Verdict::Invalid) => "error",
            Some(Verdict::Inconclusive) => "warning",
            _ => continue,
        };
        let title = format!("tenk gate: {} {}", answer.cell, answer.title);
        let title = escaped(&title).replace(':', "%3A").replace(',', "%2C");
        text.push_str(&format!(
            "::{kind} title={title}::{}\n",
            escaped(&sentence(answer))
        ));
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

fn gated(outcome: &Outcome) -> impl Iterator<Item = &Answer> {
    outcome
        .answers
        .iter()
        .filter(|answer| answer.verdict.is_some())
}

/// The worst verdict of all.
fn word(outcome: &Outcome) -> &'static str {
    let worst = gated(outcome)
        .filter_map(|answer| answer.verdict)
        .min_by_key(|v| match v {
            Verdict::Regressed => 0,
            Verdict::Invalid => 1,
            Verdict::Inconclusive => 2,
            Verdict::Improved => 3,
            Verdict::Equivalent => 4,
        });
    worst.unwrap_or(Verdict::Invalid).word()
}

fn headline(outcome: &Outcome) -> String {
    let same = outcome.same.as_ref().map(|why| format!("{why}. "));
    format!(
        "{}head is {}, base is {}; {} blocks in {:.0} s",
        same.unwrap_or_default(),
        visible(&outcome.head.what),
        visible(&outcome.base.what),
        outcome.blocks,
        outcome.took_s
    )
}

fn line(answer: &Answer) -> [String; 8] {
    let figure = |figure: Option<f64>| {
        figure.map_or("n/a".into(), |v| ColumnUnit::of(answer.metric).in_words(v))
    };
    [
        visible(&answer.cell),
        answer.title.into(),
        figure(answer.base),
        figure(answer.head),
        answer.change.map_or("n/a".into(), percent),
        answer.interval.map_or("needs 6 blocks".into(), interval),
        answer.blocks.to_string(),
        match answer.verdict {
            Some(verdict) => verdict.word().into(),
            None => "shown only".into(),
        },
    ]
}

fn interval(interval: Interval) -> String {
    format!("{} to {}", percent(interval.low), percent(interval.high))
}

/// What was found of one gated figure, and what would settle it.
pub fn sentence(answer: &Answer) -> String {
    let margin = format!(
        "the margin of {:.1} %",
        answer.margin.unwrap_or_default() * 100.0
    );
    let found = match (answer.change, answer.interval) {
        (Some(change), Some(range)) => format!(
            "{} ({} in {} blocks)",
            percent(change),
            interval(range),
            answer.blocks
        ),
        (Some(change), None) => format!("{} in {} blocks", percent(change), answer.blocks),
        (None, _) => String::new(),
    };
    let what = format!("{}: {}", visible(&answer.cell), answer.title);
    let said = match answer.verdict {
        Some(Verdict::Regressed) => format!("{what} got worse: {found}, beyond {margin}"),
        Some(Verdict::Improved) => format!("{what} got better: {found}, beyond {margin}"),
        Some(Verdict::Equivalent) => format!("{what} is the same within {margin}: {found}"),
        Some(Verdict::Inconclusive) => format!(
            "{what}: {found}: neither a change beyond {margin} nor its absence was shown; {}",
            [excluded(answer), mend(answer)].concat()
        ),
        Some(Verdict::Invalid) => {
            return format!(
                "{what}: none of {} blocks gave a figure to judge by; the trials' reasons are in report.md",
                answer.lost
            );
        }
        None => return what,
    };
    match answer.is_much_disturbed() {
        true => format!(
            "{said}; something else on this machine disturbed {} of {} blocks, which the interval includes",
            answer.disturbed,
            answer.blocks + answer.lost
        ),
        false => said,
    }
}

/// What an interval that decides nothing says all the same.
fn excluded(answer: &Answer) -> String {
    match answer.worst() {
        None => "fewer than 6 blocks exclude nothing; ".into(),
        Some(worst) if answer.is_blind() => format!(
            "a regression as large as {} is not excluded, so that this gate was blind (it fails unless --fail-on \
             regression); ",
            percent(worst)
        ),
        Some(worst) => format!("anything worse than {} is excluded; ", percent(worst)),
    }
}

fn mend(answer: &Answer) -> String {
    match answer.blocks_needed {
        Some(needed) if needed > answer.blocks as u64 => {
            format!("about {needed} blocks would settle it (a longer --budget, and --blocks)")
        }
        Some(_) => "the truth seems to lie near the margin: more blocks (a longer --budget, and --blocks) or another \
                    margin (--gate) would settle it"
            .into(),
        None => "more blocks (a longer --budget, and --blocks) would settle it".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::decide::{answers, tests::question};
    use crate::cmd::gate::side::{BASE, HEAD};

    fn outcome(log_ratios: Vec<f64>) -> Outcome {
        Outcome {
            base: Side::of_command(BASE, "old"),
            head: Side::of_command(HEAD, "new\u{1b}[31m"),
            blocks: log_ratios.len(),
            budget_s: 60.0,
            took_s: 12.3,
            rates_per_s: vec![1000.0],
            run_dir: "results/x".into(),
            same: None,
            notes: Vec::new(),
            answers: answers(&[question(log_ratios)], false),
        }
    }

    #[test]
    fn a_regression_is_said_in_every_place() {
        let outcome = outcome(vec![0.10, 0.11, 0.09, 0.10, 0.12, 0.08, 0.10, 0.10]);
        let text = words(&outcome).for_people();
        assert!(
            text.starts_with(r"REGRESSED: head is `new\u{1b}[31m`, base is `old`"),
            "{text}"
        );
        assert!(text.contains("got worse: +10.5 %"), "{text}");
        assert!(
            words(&outcome)
                .markdown()
                .starts_with("### tenk gate: REGRESSED\n")
        );
        let annotations = annotations(&outcome);
        assert!(
            annotations.starts_with("::error title=tenk gate%3A epoll c50 CPU/request::"),
            "{annotations}"
        );
        assert!(annotations.contains("+10.5 %25"));
    }

    #[test]
    fn what_would_settle_it_is_said() {
        let noisy = outcome(vec![0.1, -0.1, 0.12, -0.12, 0.08, -0.08, 0.05, -0.05]);
        let text = words(&noisy).for_people();
        assert!(text.starts_with("INCONCLUSIVE"), "{text}");
        assert!(text.contains("blocks would settle it"), "{text}");
        assert!(annotations(&noisy).starts_with("::warning "));
        let same = outcome(vec![0.001; 8]);
        assert!(words(&same).for_people().starts_with("EQUIVALENT"));
        assert_eq!(annotations(&same), "");
        assert!(
            words(&outcome(Vec::new()))
                .for_people()
                .starts_with("INVALID")
        );
    }
}
