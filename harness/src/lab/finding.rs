//! What came of a lab: its table, its outcome, its picture.

use crate::render::chart::Chart;
use serde::Serialize;

/// What came of a lab.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The table.
    pub lines: Vec<Line>,
    /// Whether it was as expected.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// The picture, where there is one.
    #[serde(skip)]
    pub chart: Option<Chart>,
}

/// A line of a lab's table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What was looked at.
    pub what: String,
    /// What the settings of this machine lead one to expect.
    pub expected: String,
    /// What was found.
    pub measured: String,
    /// Whether that is as expected; `None` where the line is only shown.
    pub holds: Option<bool>,
}

/// Whether a lab was as expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Every judged line holds.
    AsExpected,
    /// One at least does not.
    NotAsExpected {
        /// Which, with its figures, and the likely reason.
        why: String,
    },
    /// It could not be judged, which says nothing about the claim.
    NotJudged {
        /// Why not.
        why: String,
        /// What would make it possible.
        remedy: String,
    },
}

impl Line {
    /// A line that is judged.
    pub fn judged(
        what: impl Into<String>,
        expected: impl Into<String>,
        measured: impl Into<String>,
        holds: bool,
    ) -> Line {
        Line {
            holds: Some(holds),
            ..Line::shown(what, expected, measured)
        }
    }

    /// A line that holds where just what was expected was found.
    pub fn equal<T: PartialEq + ToString + ?Sized>(
        what: impl Into<String>,
        expected: &T,
        found: &T,
    ) -> Line {
        let holds = found == expected;
        Line::judged(what, expected.to_string(), found.to_string(), holds)
    }

    /// A line that holds where something is, or is not, as expected.
    pub fn yes_or_no(what: impl Into<String>, expected: bool, found: bool) -> Line {
        let word = |is: bool| if is { "yes" } else { "no" };
        Line::equal(what, word(expected), word(found))
    }

    /// A line that stands beside the others and is not judged.
    pub fn shown(
        what: impl Into<String>,
        expected: impl Into<String>,
        measured: impl Into<String>,
    ) -> Line {
        Line {
            what: what.into(),
            expected: expected.into(),
            measured: measured.into(),
            holds: None,
        }
    }

    /// Whether it holds, in a word.
    pub fn verdict(&self) -> &'static str {
        match self.holds {
            Some(true) => "as expected",
            Some(false) => "NOT as expected",
            None => "",
        }
    }
}

impl Finding {
    /// As expected where every judged line holds; otherwise not, with the figures of those that do not and the likely
    /// reason. Without a judged line nothing was judged.
    pub fn of(lines: Vec<Line>, likely_reason: &str) -> Finding {
        let judged = lines.iter().filter(|line| line.holds.is_some()).count();
        if judged == 0 {
            return Finding::not_judged(
                lines,
                "no figure was measured that could be judged",
                "run the lab again on a machine that has less else to do",
            );
        }
        let contradict = |line: &&Line| line.holds == Some(false);
        let faults: Vec<String> = lines
            .iter()
            .filter(contradict)
            .map(Line::contradiction)
            .collect();
        let outcome = match faults.is_empty() {
            true => Outcome::AsExpected,
            false => Outcome::NotAsExpected {
                why: format!("{}. {likely_reason}", faults.join("; ")),
            },
        };
        Finding {
            lines,
            outcome,
            chart: None,
        }
    }

    /// Not judged: why, and what would make it possible.
    pub fn not_judged(
        lines: Vec<Line>,
        why: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            lines,
            outcome: Outcome::NotJudged {
                why: why.into(),
                remedy: remedy.into(),
            },
            chart: None,
        }
    }

    /// The same with a picture.
    pub fn with_chart(self, chart: impl Into<Option<Chart>>) -> Finding {
        Finding {
            chart: chart.into(),
            ..self
        }
    }
}

impl Line {
    fn contradiction(&self) -> String {
        format!(
            "{}: {}, where {} was expected",
            self.what, self.measured, self.expected
        )
    }
}

impl Outcome {
    /// In words.
    pub fn words(&self) -> &'static str {
        match self {
            Outcome::AsExpected => "as expected",
            Outcome::NotAsExpected { .. } => "not as expected",
            Outcome::NotJudged { .. } => "not judged",
        }
    }

    /// The sentences behind the words.
    pub fn reason(&self) -> String {
        match self {
            Outcome::AsExpected => String::new(),
            Outcome::NotAsExpected { why } => why.clone(),
            Outcome::NotJudged { why, remedy } => format!("{why}. To make it possible: {remedy}."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_that_does_not_hold_is_enough() {
        let good = Line::judged("places", "5", "5", true);
        let bad = Line::judged("overflows", "7", "0", false);
        let shown = Line::shown("retransmissions", "", "25");
        let both = Finding::of(vec![good.clone(), shown.clone()], "nobody knows");
        assert_eq!(both.outcome, Outcome::AsExpected);
        let why = "overflows: 0, where 7 was expected. The queue is longer.".to_string();
        let finding = Finding::of(vec![good, bad], "The queue is longer.");
        assert_eq!(finding.outcome, Outcome::NotAsExpected { why });
        let alone = Finding::of(vec![shown], "");
        assert!(
            matches!(&alone.outcome, Outcome::NotJudged { why, .. } if why.contains("could be judged"))
        );
    }
}
