//! `labs.html`: one file that needs nothing else, a page per lab on paper. The answer is folded away until the reader
//! has made a prediction. Templates escape everything; the policy in its head allows its style by its hash and nothing
//! from anywhere.

use super::claims;
use super::machine::Machine;
use super::report::Report;
use crate::base::text::visible;
use crate::render::page::{STYLE as COMMON, filled, policy};
use serde::Serialize;

const PAGE: &str = include_str!("page/labs.html");
const STYLE: &str = include_str!("page/labs.css");

/// What the template shows.
#[derive(Serialize)]
struct Page {
    policy: String,
    style: String,
    title: String,
    summary: String,
    labs: Vec<Lab>,
    claims: Vec<claims::Row>,
    machine: Vec<(String, String)>,
}

/// One lab.
#[derive(Serialize)]
struct Lab {
    name: String,
    question: &'static str,
    claim: &'static str,
    prediction: &'static str,
    done: &'static str,
    answer: &'static str,
    sources: &'static [&'static str],
    next: &'static [&'static str],
    outcome: &'static str,
    reason: String,
    lines: Vec<[String; 4]>,
    picture: Option<Picture>,
    settings: Vec<(String, String)>,
    at: String,
    took_s: f64,
}

/// A chart, with the words around it.
#[derive(Serialize)]
struct Picture {
    title: String,
    subtitle: String,
    caption: Vec<String>,
    svg: String,
}

/// Renders the page.
pub fn render(reports: &[Report], machine: &Machine) -> Result<String, String> {
    let style = format!("{COMMON}{STYLE}");
    let labs = reports.iter().filter_map(|report| lab(report).transpose());
    let labs: Vec<Lab> = labs.collect::<Result<_, String>>()?;
    let as_expected = labs
        .iter()
        .filter(|lab| lab.outcome == "as expected")
        .count();
    let summary = format!("{as_expected} of {} labs as expected", labs.len());
    let page = Page {
        policy: policy(&style, None),
        style,
        title: format!("tenk labs: {summary}"),
        summary,
        labs,
        claims: claims::rows(reports),
        machine: facts(machine),
    };
    filled(PAGE, &page)
}

fn facts(machine: &Machine) -> Vec<(String, String)> {
    let own = [("tenk", &machine.version), ("kernel", &machine.kernel)];
    let own = own.map(|(name, value)| (name.to_string(), visible(value)));
    let more = machine
        .settings
        .iter()
        .map(|(k, v)| (visible(k), visible(v)));
    own.into_iter().chain(more).collect()
}

/// A lab that this version knows; of another nothing can be said.
fn lab(report: &Report) -> Result<Option<Lab>, String> {
    let Some(entry) = report.lab() else {
        return Ok(None);
    };
    let (about, finding) = (&entry.about, report.finding());
    let picture = match &finding.chart {
        Some(chart) => {
            let mut drawings = chart.for_page()?;
            Some(Picture {
                title: chart.texts.title.clone(),
                subtitle: chart.texts.subtitle.clone(),
                caption: chart.texts.caption.clone(),
                svg: drawings.swap_remove(0).1,
            })
        }
        None => None,
    };
    let line = |line: &super::Line| {
        let words = [&line.what, &line.expected, &line.measured].map(|word| visible(word));
        let [what, expected, measured] = words;
        [what, expected, measured, line.verdict().into()]
    };
    Ok(Some(Lab {
        name: about.name.into(),
        question: about.question,
        claim: about.claim,
        prediction: about.prediction,
        done: about.done,
        answer: about.answer,
        sources: about.sources,
        next: about.next,
        outcome: finding.outcome.words(),
        reason: visible(&finding.outcome.reason()),
        lines: finding.lines.iter().map(line).collect(),
        picture,
        settings: report
            .settings
            .as_ref()
            .map_or(Vec::new(), |settings| settings.of(about)),
        at: visible(&report.at),
        took_s: report.took_s,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::trouble::Trouble;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use hmac_sha256::Hash as Sha256;

    fn page(why: &str) -> String {
        let report = |lab: &str| Report {
            lab: lab.into(),
            at: "2026-01-01T00:00:00Z".into(),
            took_s: 1.0,
            settings: None,
            evidence: None,
            trouble: Some(Trouble::denied(why, "run as root")),
        };
        let machine = Machine {
            version: "1".into(),
            kernel: "Linux <6>".into(),
            settings: Default::default(),
        };
        render(&[report("backlog"), report("of-another-version")], &machine).unwrap()
    }

    #[test]
    fn the_answer_is_folded_away_behind_a_prediction() {
        let page = page("denied");
        let (question, answer) = page.split_once("<details").unwrap();
        assert!(
            question.contains("How many connect(2) calls"),
            "the prediction"
        );
        assert!(!question.contains("Not judged") && answer.contains("Not judged"));
        assert!(!page.contains("of-another-version"));
    }

    #[test]
    fn the_page_is_whole_and_no_reason_becomes_markup() {
        let page = page("<script>alert(1)</script>\u{202e}");
        assert!(!page.contains("<script") && !page.contains('\u{202e}'));
        assert!(page.contains("Linux &lt;6&gt;"));
        assert!(!page.contains("https://") && page.contains(STYLE));
        let hash = STANDARD.encode(Sha256::hash(format!("{COMMON}{STYLE}").as_bytes()));
        assert!(
            page.replace("&#x2f;", "/")
                .contains(&format!("sha256-{hash}"))
        );
    }
}
