//! docs/LABS.md: the registry, the tutorial's claims, and what one machine showed.

use super::claims;
use super::finding::Finding;
use super::report::Report;
use super::{About, LABS};
use crate::base::text::visible;

/// The file's text.
fn document(reports: &[Report]) -> String {
    let report = |name: &str| reports.iter().find(|report| report.lab == name);
    let mut text = String::from(HEAD);
    text.push_str(&machine(reports));
    text.push_str("\n| lab | question | here |\n|---|---|---|\n");
    for lab in LABS {
        let about = &lab.about;
        let outcome = report(about.name).map_or("not run", |r| r.finding().outcome.words());
        text.push_str(&format!(
            "| [{0}](#{0}) | {1} | {outcome} |\n",
            about.name, about.question
        ));
    }
    text.push_str("\n## The tutorial's claims\n\n| claim | labs | what this machine showed |\n|---|---|---|\n");
    for claim in claims::rows(reports) {
        let labs: Vec<String> = claim
            .labs
            .iter()
            .map(|name| format!("[{name}](#{name})"))
            .collect();
        let (says, showed) = (cell(claim.says), cell(&claim.showed));
        text.push_str(&format!("| {says} | {} | {showed} |\n", labs.join(", ")));
    }
    for lab in LABS {
        text.push_str(&section(&lab.about, report(lab.about.name)));
    }
    text
}

const HEAD: &str = "\
# Labs: what the textbooks say, measured

    tenk lab                  # which there are
    tenk lab backlog nagle    # run these
    tenk lab all              # run all of them: about five minutes; results/labs-…/labs.html is for a class

Each lab states a claim with its source, computes from the settings of the machine what is to be expected, measures in a private
network namespace, and judges: *as expected*, *not as expected* (exit code 99), or *not judged*, which says why and what would
make it possible. No privilege is needed where the kernel lets users make namespaces.

Made by `UPDATE_DOCS=1 cargo test -p harness --lib labs_md` from the registry (`harness/src/lab/`) and from
[labs/labs.jsonl](labs/labs.jsonl), a copy of what `tenk lab all` wrote on one machine.
";

fn machine(reports: &[Report]) -> String {
    let Some(settings) = reports.iter().find_map(|report| report.settings.as_ref()) else {
        return String::new();
    };
    let of = |words: &str| {
        reports
            .iter()
            .filter(|r| r.finding().outcome.words() == words)
            .count()
    };
    format!(
        "\nThat machine: {} CPUs, Linux {}.{}, {}. {} of {} labs as expected, {} not as expected, {} not judged.\n",
        settings.cpus,
        settings.kernel.0,
        settings.kernel.1,
        settings
            .hz
            .map_or("HZ unknown".into(), |hz| format!("HZ {hz}")),
        of("as expected"),
        reports.len(),
        of("not as expected"),
        of("not judged")
    )
}

fn section(about: &About, report: Option<&Report>) -> String {
    let mut text = format!("\n## {}\n\n**{}**\n\n", about.name, about.question);
    text.push_str(&format!(
        "{}\n\n*Sources:* {}.\n\n",
        about.claim,
        about.sources.join("; ")
    ));
    text.push_str(&format!(
        "*Before you look:* {}\n\n*What is done:* {}\n\n",
        about.prediction, about.done
    ));
    text.push_str("<details><summary>What was measured</summary>\n\n");
    text.push_str(&report.map_or(String::new(), |report| found(about, &report.finding())));
    text.push_str(&format!(
        "{}\n\n*Next:* {}.\n\n</details>\n",
        about.answer,
        about.next.join("; ")
    ));
    text
}

/// The table, the outcome, and the picture.
fn found(about: &About, finding: &Finding) -> String {
    let mut text = String::new();
    if !finding.lines.is_empty() {
        text.push_str("| what | expected | measured | |\n|---|---|---|---|\n");
    }
    for line in &finding.lines {
        let words = [&line.what, &line.expected, &line.measured].map(|word| cell(word));
        text.push_str(&format!("| {} | {} |\n", words.join(" | "), line.verdict()));
    }
    text.push_str(&format!("\n**{}**", finding.outcome.words()));
    match visible(&finding.outcome.reason()) {
        reason if reason.is_empty() => {}
        reason => text.push_str(&format!(": {reason}")),
    }
    text.push_str("\n\n");
    if let Some(chart) = &finding.chart {
        text.push_str(&format!(
            "![{}](labs/{}.svg)\n\n",
            chart.texts.title, about.name
        ));
    }
    text
}

/// Text as the cell of a table.
fn cell(text: &str) -> String {
    visible(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn the_readme_counts_the_labs() {
        let readme = include_str!("../../../README.md");
        let words = format!("{} claims about TCP and servers", LABS.len());
        assert!(readme.contains(&words), "README.md does not say `{words}`");
    }

    #[test]
    fn labs_md_is_what_the_registry_and_the_results_make() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let saved = fs::read_to_string(docs.join("labs/labs.jsonl")).unwrap();
        let reports: Vec<Report> = saved
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let text = document(&reports);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(docs.join("LABS.md"), &text).unwrap();
            for report in &reports {
                if let Some(chart) = report.finding().chart {
                    let picture = docs.join(format!("labs/{}.svg", report.lab));
                    fs::write(picture, chart.svg().unwrap()).unwrap();
                }
            }
        }
        let found = fs::read_to_string(docs.join("LABS.md")).unwrap_or_default();
        assert!(
            found == text,
            "docs/LABS.md is not what the registry makes: `UPDATE_DOCS=1 cargo test -p harness --lib labs_md`; where a \
             lab's evidence has changed, first `tenk lab all` and copy its labs.jsonl to docs/labs/"
        );
        let pictures = text
            .lines()
            .filter_map(|line| line.split_once("](labs/")?.1.strip_suffix(')'));
        for picture in pictures.filter(|name| name.ends_with(".svg")) {
            assert!(
                docs.join("labs").join(picture).is_file(),
                "docs/labs/{picture}"
            );
        }
    }
}
