//! What a gate says in a pull request: one file, from the same words as the terminal, that a script posts and keeps up
//! to date.

use super::Outcome;
use crate::analysis::decide::Verdict;
use crate::base::error::{Exit, Failure, OrFail};
use crate::cli::gate::GateFlags;
use crate::render::export::md;
use crate::render::gate_words::GateWords;
use loadgen::base::file::write_atomically;

/// The first line, by which the comment is found again.
const MARK: &str = "<!-- tenk -->";

/// The second line where nothing changed and nobody wants to be told: a comment that is there already says so from then
/// on, and where there is none, none is made.
const UNCHANGED: &str = "<!-- tenk: nothing changed -->";

/// Writes what was found where it was asked for.
pub fn write(
    flags: &GateFlags,
    outcome: &Outcome,
    words: &GateWords,
    exit: Exit,
) -> Result<(), Failure> {
    let is_quiet = flags.comment_only_on_change && !is_news(outcome, exit);
    save(flags, &text(&words.markdown(), is_quiet))
}

/// Writes why there is no verdict: the comment of an earlier one would be taken for this one's.
pub fn write_failure(flags: &GateFlags, failure: &Failure) -> Result<(), Failure> {
    let why = md::escaped(&failure.message);
    let said = format!("### tenk gate: not judged\n\nThe gate ended before its verdict: {why}\n");
    save(flags, &text(&said, false))
}

fn save(flags: &GateFlags, text: &str) -> Result<(), Failure> {
    match &flags.comment_file {
        Some(path) => write_atomically(path, text.as_bytes()).or_failed("--comment-file"),
        None => Ok(()),
    }
}

/// Whether somebody should be told: something changed, could not be judged, or fails the gate.
fn is_news(outcome: &Outcome, exit: Exit) -> bool {
    let verdicts = outcome.answers.iter().filter_map(|answer| answer.verdict);
    let is_silent = |verdict| matches!(verdict, Verdict::Equivalent | Verdict::Inconclusive);
    exit != Exit::Done || outcome.same.is_some() || !verdicts.clone().all(is_silent)
}

fn text(markdown: &str, is_quiet: bool) -> String {
    let quiet = if is_quiet {
        format!("{UNCHANGED}\n")
    } else {
        String::new()
    };
    // A branch called @team would call the team, at every push.
    let markdown = markdown.replace('@', "@\u{200b}");
    format!("{MARK}\n{quiet}{markdown}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::decide;
    use crate::cmd::gate::side::{BASE, HEAD, Side};
    use crate::cmd::gate::words;

    fn outcome(log_ratios: Vec<f64>) -> Outcome {
        let question = decide::tests::question(log_ratios);
        Outcome {
            base: Side::of_command(BASE, "old"),
            head: Side::of_command(HEAD, "@team <b>\n/merge"),
            blocks: 8,
            budget_s: 60.0,
            took_s: 12.0,
            rates_per_s: vec![1000.0],
            run_dir: "results/x".into(),
            same: None,
            notes: Vec::new(),
            answers: decide::answers(&[question], false),
        }
    }

    #[test]
    fn a_comment_is_marked_says_what_the_terminal_says_and_calls_nobody() {
        let outcome = outcome(vec![0.1; 8]);
        let words = words::words(&outcome);
        let text = text(&words.markdown(), false);
        assert!(text.starts_with("<!-- tenk -->\n### tenk gate: REGRESSED\n"));
        assert!(text.contains(&md::escaped(&words.sentences[0])), "{text}");
        assert!(!text.contains("@team") && text.contains("@\u{200b}team"));
        assert!(!text.contains("<b>") && !text.contains("\n/merge"));
    }

    #[test]
    fn only_what_changed_or_fails_is_news() {
        let same = outcome(vec![0.001; 8]);
        assert!(!is_news(&same, Exit::Done));
        assert!(is_news(&same, Exit::Inconclusive));
        assert!(is_news(&outcome(vec![0.1; 8]), Exit::Done));
        assert!(is_news(&outcome(vec![-0.1; 8]), Exit::Done));
        assert!(is_news(&outcome(Vec::new()), Exit::Failed));
        let quiet = text("said", true);
        assert_eq!(quiet, format!("{MARK}\n{UNCHANGED}\nsaid"));
    }

    #[test]
    fn a_gate_that_could_not_judge_replaces_what_an_earlier_one_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("comment.md");
        std::fs::write(&path, "### tenk gate: EQUIVALENT").unwrap();
        let words = ["tenk", "gate", "--base", "main", "--comment-file"];
        let words = words.iter().map(|word| (*word).to_string());
        let words = words.chain([path.display().to_string()]);
        let cli = <crate::cli::Cli as clap::Parser>::try_parse_from(words).unwrap();
        let Some(crate::cli::Command::Gate(flags)) = cli.command else {
            panic!("a gate")
        };
        write_failure(&flags, &Failure::failed("head does not build")).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert!(text.starts_with("<!-- tenk -->\n### tenk gate: not judged\n"));
        assert!(text.contains("head does not build"), "{text}");
    }
}
