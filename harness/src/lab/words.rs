//! Labs on the terminal.

use super::finding::{Finding, Outcome};
use super::report::Report;
use super::{About, LABS};
use crate::base::text::{about as about_time, visible, wrapped};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// Characters of a line.
const WIDTH: usize = 100;

/// All labs, a line each.
pub fn list() -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["lab", "what it asks"]);
    for lab in LABS {
        table.add_row([lab.about.name, lab.about.question]);
    }
    format!(
        "{}\n\nRun one with `tenk lab {}`, or all with `tenk lab all`: each says what is claimed, measures it in a \
         private\nnetwork, and judges it against what this machine's settings lead one to expect.\n",
        table.trim_fmt(),
        LABS[0].about.name
    )
}

/// All labs with everything that is said of them.
pub fn list_as_json() -> String {
    let labs: Vec<&About> = LABS.iter().map(|lab| &lab.about).collect();
    format!(
        "{:#}\n",
        json!({ "schema": "tenk.lab-list/1", "labs": labs })
    )
}

/// What is said before a lab is run.
pub fn before(about: &About) -> String {
    let paragraph = |title: &str, text: &str| wrapped(&format!("  {title}: {text}"), WIDTH);
    format!(
        "{}: {}\n{}{}{}",
        about.name,
        about.question,
        paragraph("claim", about.claim),
        paragraph("before you look", about.prediction),
        paragraph("what is done", about.done)
    )
}

/// What is said after it: the table, the outcome, and what to read next.
pub fn after(report: &Report) -> String {
    let finding = report.finding();
    let mut text = String::from("\n");
    if !finding.lines.is_empty() {
        text.push_str(&table(&finding));
        text.push_str("\n\n");
    }
    text.push_str(&wrapped(&format!("  {}", outcome(&finding, report)), WIDTH));
    if let Some(lab) = report.lab() {
        if finding.outcome == Outcome::AsExpected {
            text.push_str(&wrapped(&format!("  why: {}", lab.about.answer), WIDTH));
        }
        text.push_str(&wrapped(
            &format!("  next: {}", lab.about.next.join("; ")),
            WIDTH,
        ));
    }
    text + "\n"
}

fn outcome(finding: &Finding, report: &Report) -> String {
    let took = about_time(Duration::from_secs_f64(report.took_s));
    let words = finding.outcome.words().to_uppercase();
    match visible(&finding.outcome.reason()) {
        reason if reason.is_empty() => format!("{words} ({took})"),
        reason => format!("{words} ({took}): {reason}"),
    }
}

fn table(finding: &Finding) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(WIDTH as u16)
        .set_header(["", "expected", "measured", ""]);
    for line in &finding.lines {
        let words = [&line.what, &line.expected, &line.measured];
        let mut cells = words.map(|word| visible(word)).to_vec();
        cells.push(line.verdict().into());
        table.add_row(cells);
    }
    let text = table.trim_fmt();
    text.lines()
        .map(|line| format!("  {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// How many labs were as expected, and which were not.
pub fn summary(reports: &[Report], folder: &Path) -> String {
    let findings: Vec<(&Report, Finding)> = reports.iter().map(|r| (r, r.finding())).collect();
    let of = |words: &str| {
        findings
            .iter()
            .filter(|(_, f)| f.outcome.words() == words)
            .count()
    };
    let mut text = format!(
        "{} of {} labs as expected, {} not as expected, {} not judged\n",
        of("as expected"),
        reports.len(),
        of("not as expected"),
        of("not judged")
    );
    for (report, finding) in &findings {
        if finding.outcome != Outcome::AsExpected {
            let line = format!("  {}: {}", report.lab, outcome(finding, report));
            text.push_str(&wrapped(&line, WIDTH));
        }
    }
    text + &format!(
        "{}\n",
        visible(&folder.join("labs.html").display().to_string())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::trouble::Trouble;

    #[test]
    fn every_outcome_is_said_with_its_reason() {
        let report = Report {
            lab: "backlog".into(),
            at: String::new(),
            took_s: 3.2,
            settings: None,
            evidence: None,
            trouble: Some(Trouble::denied("no namespaces \u{1b}", "run as root")),
        };
        let text = after(&report);
        assert!(
            text.contains("NOT JUDGED (3s): no namespaces \\u{1b}. To make"),
            "{text}"
        );
        assert!(text.contains("next: "), "{text}");
        let text = summary(&[report], Path::new("r"));
        assert!(text.starts_with("0 of 1 labs as expected, 0 not as expected, 1 not judged\n"));
        assert!(text.ends_with("r/labs.html\n"), "{text}");
    }

    #[test]
    fn the_list_names_every_lab() {
        let text = list();
        for lab in LABS {
            assert!(text.contains(lab.about.name) && text.contains(lab.about.question));
        }
        assert!(
            before(&LABS[0].about)
                .lines()
                .all(|line| line.chars().count() <= WIDTH)
        );
    }
}
