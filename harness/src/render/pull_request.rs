//! `report.md`: the run for a pull request, short enough for any place that takes Markdown.

use super::comparison;
use super::facts::{command, facts};
use super::load_hosts;
use super::report::Made;
use crate::base::text::visible;
use crate::render::chart::load;
use crate::render::chart::request_cost;
use crate::render::export::md;

/// GitHub takes 1 024 KiB in a job's summary; more is refused as a whole.
const MOST_BYTES: usize = 900 * 1024;

/// Workloads of which the report says what a request costs; report.html has all.
const MOST_COSTS: usize = 6;

/// The report as Markdown.
pub fn render(made: &Made) -> String {
    let report = made.report;
    let mut text = String::new();
    match report.gate {
        Some(gate) => text.push_str(&gate.markdown()),
        None => {
            text.push_str("# tenk: which server model\n\n");
            text.push_str(&md::answer(report.answer));
        }
    }
    for note in &report.notes {
        text.push_str(&format!("\n{}\n", md::escaped(note)));
    }
    for curve in report.answer.load_curves.iter().filter(|c| c.has_levels()) {
        let title = md::escaped(&curve.title);
        text.push_str(&format!(
            "\n## Latency against load: {title}\n\n{}",
            md::table(&load::table(curve))
        ));
    }
    text.push_str(&format!("\n## Figures\n\n{}", md::figures(made.rows())));
    if let Some(hosts) = load_hosts::of(made.rows(), report.hosts, report.environment) {
        text.push_str(&format!("\n## Load hosts\n\n{}", md::table(&hosts.table)));
        let sentences = hosts.sentences.iter();
        text.extend(sentences.map(|sentence| format!("\n{}\n", md::escaped(sentence))));
    }
    let compared = comparison::for_people(made.rows(), &report.answer.rankings);
    if !compared.is_empty() {
        text.push_str(&format!("\n## Comparison\n\n{}", code_block(&compared)));
    }
    text.push_str(&request_costs(made));
    text.push_str("\n## To run it again\n\n");
    text.push_str(&code_block(&command(report.environment)));
    let place: Vec<String> = facts(report.environment)
        .into_iter()
        .map(|(name, value)| format!("- {}: {}\n", md::escaped(&name), md::escaped(&value)))
        .collect();
    text.push_str(&format!("\n## Where\n\n{}", place.concat()));
    shortened(text)
}

/// What a request costs, a table per workload, and where the flame graphs are.
fn request_costs(made: &Made) -> String {
    let mut text = String::new();
    let charts = made.charts.iter().map(|(chart, _)| chart);
    let costs = charts.filter(|chart| chart.name.starts_with(request_cost::NAME));
    for chart in costs.take(MOST_COSTS) {
        text.push_str(&format!(
            "\n### {}\n\n{}",
            md::escaped(&chart.texts.subtitle),
            md::table(&chart.table())
        ));
        let caption = chart.texts.caption.first();
        text.extend(caption.map(|words| format!("\n{}\n", md::escaped(words))));
    }
    for flame in &made.flames {
        text.push_str(&format!(
            "\n- [{}](charts/{}.svg): {}",
            md::escaped(&flame.title),
            flame.name,
            md::escaped(&flame.subtitle)
        ));
    }
    match text.is_empty() {
        true => text,
        false => format!("\n## What a request costs\n{text}\n"),
    }
}

/// A fence longer than any in the text.
fn code_block(text: &str) -> String {
    let text: Vec<String> = text.trim_matches('\n').lines().map(visible).collect();
    let text = text.join("\n");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    format!("{fence}\n{text}\n{fence}\n")
}

/// The lines that fit, and how many do not.
fn shortened(text: String) -> String {
    const TAIL: usize = 200;
    if text.len() <= MOST_BYTES {
        return text;
    }
    let mut cut = MOST_BYTES - TAIL;
    while !text.is_char_boundary(cut) {
        cut -= 1;
    }
    let end = text[..cut].rfind('\n').map_or(0, |at| at + 1);
    let left = text[end..].lines().count();
    format!(
        "{}\n{left} more lines do not fit here; everything is in trials.csv and report.html.\n",
        &text[..end]
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_command_can_be_pasted() {
        let environment = json!({"command": ["tenk", "--server", "my 'server' {port}", "--model", "epoll", "a\u{1b}b"]});
        assert_eq!(
            command(&environment),
            r"tenk --server 'my '\''server'\'' {port}' --model epoll $'a\x1bb'"
        );
        assert_eq!(command(&serde_json::Value::Null), "");
    }

    #[test]
    fn a_fence_cannot_be_closed_from_inside() {
        assert!(code_block("a\n````\nb").starts_with("`````\na"));
    }

    #[test]
    fn a_long_report_ends_at_a_line_and_says_so() {
        let line = "é".repeat(99) + "\n";
        let text = shortened(line.repeat(10_000));
        assert!(text.len() <= MOST_BYTES);
        assert!(text.contains("more lines do not fit here"));
        assert_eq!(shortened("short\n".into()), "short\n");
    }
}
