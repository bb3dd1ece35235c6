//! What the tests of judges share.

use super::finding::{Finding, Outcome};
use super::settings::Settings;

/// A machine with the kernel's own settings, and these over them.
pub fn settings(values: &[(&str, &str)]) -> Settings {
    Settings::example(values)
}

/// Panics with the whole finding where it is another.
pub fn as_expected(finding: &Finding) {
    assert_eq!(finding.outcome, Outcome::AsExpected, "{:#?}", finding.lines);
}

/// Why it is not as expected; panics with the whole finding where it is another.
pub fn not_as_expected(finding: &Finding) -> &str {
    match &finding.outcome {
        Outcome::NotAsExpected { why } => why,
        other => panic!("{other:?} {:#?}", finding.lines),
    }
}

/// Why it is not judged; panics with the whole finding where it is another.
pub fn not_judged(finding: &Finding) -> &str {
    match &finding.outcome {
        Outcome::NotJudged { why, .. } => why,
        other => panic!("{other:?} {:#?}", finding.lines),
    }
}
