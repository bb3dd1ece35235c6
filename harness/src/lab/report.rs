//! One lab as it was run: a line of `labs.jsonl`. What came of it is judged again whenever it is read.

use super::finding::Finding;
use super::settings::Settings;
use super::trouble::Trouble;
use super::{Entry, find};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a lab found, and where.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Its name.
    pub lab: String,
    /// When it began, as RFC 3339 has it.
    pub at: String,
    /// How long it took, s.
    pub took_s: f64,
    /// The settings that were in force; none where it did not get as far.
    pub settings: Option<Settings>,
    /// What was measured; none where nothing was.
    pub evidence: Option<Value>,
    /// Why nothing was measured.
    pub trouble: Option<Trouble>,
}

impl Report {
    /// The lab; `None` where this version has no such lab.
    pub fn lab(&self) -> Option<&'static Entry> {
        find(&self.lab)
    }

    /// What came of it.
    pub fn finding(&self) -> Finding {
        let again = "run the lab again with this version of tenk";
        let Some(lab) = self.lab() else {
            return Finding::not_judged(Vec::new(), "this version has no such lab", again);
        };
        match (&self.settings, &self.evidence, &self.trouble) {
            (_, _, Some(trouble)) => {
                let (why, remedy) = trouble.in_words();
                Finding::not_judged(Vec::new(), why, remedy)
            }
            (Some(settings), Some(evidence), None) => (lab.judge)(settings, evidence)
                .unwrap_or_else(|why| {
                    let why = format!("what was measured cannot be read: {why}");
                    Finding::not_judged(Vec::new(), why, again)
                }),
            _ => Finding::not_judged(Vec::new(), "nothing was measured", again),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::not_judged;

    #[test]
    fn what_cannot_be_judged_says_why() {
        let mut report = Report {
            lab: "backlog".into(),
            at: "2026-01-01T00:00:00Z".into(),
            took_s: 1.0,
            settings: None,
            evidence: None,
            trouble: Some(Trouble::denied("no namespace", "run as root")),
        };
        let finding = report.finding();
        assert_eq!(not_judged(&finding), "no namespace");
        assert!(finding.outcome.reason().contains("run as root"));
        report.trouble = None;
        assert_eq!(not_judged(&report.finding()), "nothing was measured");
        report.settings = Some(Settings::example(&[]));
        report.evidence = Some(Value::from(7));
        assert!(not_judged(&report.finding()).contains("cannot be read"));
        report.lab = "no-such".into();
        assert!(not_judged(&report.finding()).contains("no such lab"));
    }
}
