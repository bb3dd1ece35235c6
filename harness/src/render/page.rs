//! `report.html`: one file that needs nothing else. The charts are the same SVGs as the files', and complete without
//! the script, which only switches arms, scales and colours, and shows the figure under the pointer. Templates escape
//! everything; the policy in its head allows this script and this style by their hashes and nothing from anywhere.

use super::comparison::figure_in_words;
use super::facts::{self, command, facts};
use super::flame::Flame;
use super::gate_words::GateWords;
use super::load_hosts::{self, LoadHosts};
use super::report::{Drawings, Made};
use super::table::{self, caveats};
use crate::analysis::answer::{Answer, words::standing};
use crate::analysis::stats::ranking::Ranking;
use crate::analysis::summary::{Cell, arms, cells};
use crate::base::text::visible;
use crate::model::row::{Row, Status, Verdict, in_words};
use crate::render::chart::canvas::{Scale, Texts};
use crate::render::chart::look::Look;
use crate::render::chart::plot::Table;
use crate::render::chart::{Chart, look};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac_sha256::Hash as Sha256;
use loadgen::load::labels::of_cell;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;
use serde_json::Value;

const PAGE: &str = include_str!("page/page.html");
/// What stands in the head of every page: its policy, title and style.
const HEAD: &str = include_str!("page/head.html");
/// The style of every page: light and dark, and on paper.
pub const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// A chart in the page.
#[derive(Serialize)]
struct Figure<'a> {
    name: &'a str,
    texts: &'a Texts,
    table: Table,
    /// The drawings, the one that is shown first in front.
    drawings: Vec<Drawing<'a>>,
}

/// One drawing of a chart.
#[derive(Serialize)]
struct Drawing<'a> {
    scale: Scale,
    svg: &'a str,
}

/// A flame graph, which is a page of its own beside this one.
#[derive(Serialize)]
struct FlameLink<'a> {
    name: &'a str,
    title: &'a str,
    subtitle: &'a str,
    table: &'a Table,
}

/// An arm that can be switched off.
#[derive(Serialize)]
struct Arm {
    label: String,
    look: Look,
}

/// What the template shows.
#[derive(Serialize)]
struct Page<'a> {
    policy: String,
    style: &'static str,
    script: &'static str,
    title: String,
    notes: &'a [String],
    answer: &'a Answer,
    gate: Option<Vec<String>>,
    gate_table: Option<Table>,
    results: Table,
    hosts: Option<LoadHosts>,
    rankings: Vec<RankingTable>,
    doubts: Table,
    caveats: Vec<String>,
    figures: Vec<Figure<'a>>,
    flames: Vec<FlameLink<'a>>,
    arms: Vec<Arm>,
    facts: Vec<(String, String)>,
    command: String,
}

/// Renders the page.
pub fn render(made: &Made) -> Result<String, String> {
    let rows = made.rows();
    let environment = made.report.environment;
    let page = Page {
        policy: policy(STYLE, Some(SCRIPT)),
        style: STYLE,
        script: SCRIPT,
        title: title(rows),
        notes: &made.report.notes,
        answer: made.report.answer,
        gate: made.report.gate.map(GateWords::answer),
        gate_table: made.report.gate.map(GateWords::table),
        results: results(rows),
        hosts: load_hosts::of(rows, made.report.hosts, environment),
        rankings: made.report.answer.rankings.iter().map(ranking).collect(),
        doubts: doubts(rows),
        caveats: all_caveats(rows, environment),
        figures: made.charts.iter().map(figure).collect(),
        flames: made.flames.iter().map(flame_link).collect(),
        arms: arms_of(rows),
        facts: labels(rows).chain(facts(environment)).collect(),
        command: command(environment),
    };
    filled(PAGE, &page)
}

/// A page's template with what it shows; its head is that of every page.
pub fn filled(template: &str, page: &impl Serialize) -> Result<String, String> {
    let said = |e: minijinja::Error| format!("{e:#}");
    let mut templates = Environment::new();
    templates.add_template("head.html", HEAD).map_err(said)?;
    templates
        .add_template("page.html", template)
        .map_err(said)?;
    let template = templates.get_template("page.html").map_err(said)?;
    template.render(Serde(page)).map_err(said)
}

fn figure((chart, drawings): &(Chart, Drawings)) -> Figure<'_> {
    Figure {
        name: &chart.name,
        texts: &chart.texts,
        table: chart.table(),
        drawings: drawings
            .iter()
            .map(|(scale, svg)| Drawing { scale: *scale, svg })
            .collect(),
    }
}

fn flame_link(flame: &Flame) -> FlameLink<'_> {
    FlameLink {
        name: &flame.name,
        title: &flame.title,
        subtitle: &flame.subtitle,
        table: &flame.table,
    }
}

/// What a browser may do with a page: show it with this style and run this script, by their hashes, and nothing from
/// anywhere.
pub fn policy(style: &str, script: Option<&str>) -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::hash(text.as_bytes()));
    let script = script.map_or(String::new(), |text| {
        format!("script-src 'sha256-{}'; ", hash(text))
    });
    format!(
        "default-src 'none'; {script}style-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(style)
    )
}

fn title(rows: &[Row]) -> String {
    match rows.first() {
        Some(row) => format!("tenk run {}", visible(&row.run_id)),
        None => "tenk: a run without trials".into(),
    }
}

/// What the run was given to be found again by.
fn labels(rows: &[Row]) -> impl Iterator<Item = (String, String)> {
    let cell = rows.first().and_then(|row| row.labels.as_deref());
    of_cell(cell.unwrap_or_default())
        .map(|(key, value)| (visible(&format!("label {key}")), visible(value)))
}

fn arms_of(rows: &[Row]) -> Vec<Arm> {
    let model = |arm: &str| {
        rows.iter()
            .find(|row| row.arm == arm)
            .map_or("", |row| &row.model)
    };
    let arm = |label: &str| Arm {
        label: visible(label),
        look: look::of_arm(label, model(label)),
    };
    arms(rows).into_iter().map(arm).collect()
}

fn results(rows: &[Row]) -> Table {
    let cells = cells(rows);
    let mut header = vec!["workload".to_string()];
    header.extend(table::COLUMNS.iter().map(|column| column.name.to_string()));
    header.swap(0, 1);
    let line = |cell: &Cell| {
        let mut words: Vec<String> = table::line(cell).iter().map(|word| visible(word)).collect();
        words[0] = visible(cell.arm);
        words.insert(
            1,
            visible(&crate::model::workload::workload_name(cell.rows[0])),
        );
        words
    };
    Table {
        header,
        lines: cells.iter().map(line).collect(),
    }
}

/// A ranking as a table.
#[derive(Serialize)]
struct RankingTable {
    title: String,
    table: Table,
}

fn ranking(ranking: &Ranking) -> RankingTable {
    let placed = ranking.places.iter().map(|place| {
        let figure = figure_in_words(ranking, place);
        vec![visible(&place.arm), figure, standing(place, ranking)]
    });
    let apart = ranking.apart.iter().map(|apart| {
        let why = format!("not ranked: {}", visible(&apart.why));
        vec![visible(&apart.arm), "n/a".into(), why]
    });
    RankingTable {
        title: visible(&super::comparison::title(ranking)),
        table: Table {
            header: ["arm", ranking.title, "standing"].map(String::from).into(),
            lines: placed.chain(apart).collect(),
        },
    }
}

/// Why statuses and verdicts are what they are: a line per cell that has reasons.
fn doubts(rows: &[Row]) -> Table {
    let mut lines = Vec::new();
    for cell in cells(rows) {
        let mut reasons: Vec<String> = cell
            .rows
            .iter()
            .flat_map(|row| &row.reasons.0)
            .map(in_words)
            .collect();
        reasons.sort();
        reasons.dedup_by(|a, b| a.starts_with('W') && a.get(..3) == b.get(..3));
        let workload = visible(&crate::model::workload::workload_name(cell.rows[0]));
        for reason in reasons {
            lines.push(vec![
                visible(cell.arm),
                workload.clone(),
                cell.verdict().to_string(),
                visible(&reason),
            ]);
        }
    }
    Table {
        header: ["arm", "workload", "verdict", "reason"]
            .map(String::from)
            .into(),
        lines,
    }
}

fn all_caveats(rows: &[Row], environment: &Value) -> Vec<String> {
    let mut all: Vec<String> = caveats(rows).lines().map(String::from).collect();
    let elsewhere = elsewhere(rows);
    if elsewhere.is_none() && environment["cpus"].as_u64().is_some_and(|cpus| cpus <= 2) {
        all.push(
            "Two CPUs: one for the server, one for the generator. Models with several loops, processes or threads \
             cannot show here how they scale over CPUs; their figures are of one CPU shared among them."
                .into(),
        );
    }
    if rows.iter().any(|row| row.status == Status::Limited) {
        all.push("limited: the model met a wall, which is a result; its figures are of the connections it did serve, and it is not ranked.".into());
    }
    if rows.iter().any(|row| row.verdict == Verdict::Invalid) {
        all.push(
            "Invalid trials are in trials.csv and in the table, never in a chart or a ranking."
                .into(),
        );
    }
    all.extend(facts::own_cpu(environment).map(|own| own.words()));
    let loopback = "All on one machine over loopback: no network card, no wire, no loss.";
    all.push(elsewhere.unwrap_or_else(|| loopback.into()));
    all
}

/// That server and load were on several hosts, where they were: their CPUs are then those of a host that has a name.
fn elsewhere(rows: &[Row]) -> Option<String> {
    let of_host = |cpus: &str| cpus.contains(" of ");
    let row = rows
        .iter()
        .find(|row| of_host(&row.server_cpus) || of_host(&row.client_cpus))?;
    let place = |cpus: &str| match of_host(cpus) {
        true => visible(cpus),
        false => format!("{} of this machine", visible(cpus)),
    };
    Some(format!(
        "Server and load were on several hosts (the server had the CPUs {}, the load {}): the network between them is a part of \
         every figure. The facts below are of the machine that led the run; those of the server's begin with server_host, those of the \
         load's with load_hosts.",
        place(&row.server_cpus),
        place(&row.client_cpus)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::report::Report;
    use super::*;
    use crate::model::load_hosts::tests::sound;
    use crate::render::chart::{self, Evidence};
    use serde_json::json;

    fn page(arm: &str, complete: bool) -> String {
        let row = |arm: &str, block: u32| Row {
            run_id: "r".into(),
            trial: block * 2 + u32::from(arm == "epoll"),
            block,
            arm: arm.into(),
            model: "epoll".into(),
            service: "echo".into(),
            conns: 50,
            requests_completed: Some(1),
            requests_per_s: Some(1e5),
            ..Row::blank()
        };
        let rows: Vec<Row> = (1..=6)
            .flat_map(|b| [row("epoll", b), row(arm, b)])
            .collect();
        let evidence = Evidence {
            rows: &rows,
            histograms: &Default::default(),
            timeline: &[],
            stages: &[],
            latency_seconds: &Default::default(),
            workers: &[],
            curves: &[],
            instrumented: &[],
            floor: None,
        };
        let environment = json!({"cpus": 2, "command": ["tenk", arm], "kernel": "Linux <6>", "host_sysctls": {"a.b": "1"}});
        let answer = Answer::of(&rows, complete);
        let report = Report {
            evidence,
            environment: &environment,
            answer: &answer,
            notes: vec!["a note".into()],
            hosts: &[sound("<h1>").of_trial(&rows[0])],
            gate: None,
        };
        let charts = chart::all(&evidence);
        let made = Made {
            report: &report,
            charts: charts
                .into_iter()
                .map(|c| (c.clone(), c.for_page().unwrap()))
                .collect(),
            flames: Vec::new(),
        };
        render(&made).unwrap()
    }

    #[test]
    fn no_label_becomes_markup() {
        let page = page(
            "</script><img src=x onerror=alert(1)>\u{1b}[31m\u{202e}'\"",
            true,
        );
        assert!(!page.contains("<img") && !page.contains('\u{1b}') && !page.contains('\u{202e}'));
        assert_eq!(page.matches("</script>").count(), 1, "the script");
        assert!(page.contains("&lt;img src=x"), "it is shown all the same");
        assert!(page.contains("&lt;h1&gt;") && page.contains("id=\"hosts\""));
        assert!(page.contains("Linux &lt;6&gt;") && page.contains("host_sysctls.a.b"));
    }

    #[test]
    fn the_page_names_no_other_place() {
        let page = page("poll", false);
        let without_namespace = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!without_namespace.contains("http://") && !without_namespace.contains("https://"));
        assert!(
            page.contains("Interrupted") && page.contains("a note") && page.contains("Two CPUs")
        );
    }

    #[test]
    fn the_policy_holds_the_hashes_of_what_is_in_the_page() {
        let page = page("poll", true);
        let hash = STANDARD.encode(Sha256::hash(SCRIPT.as_bytes()));
        let page = page.replace("&#x2f;", "/");
        assert!(
            page.contains(&format!("sha256-{hash}"))
                && page.contains(SCRIPT)
                && page.contains(STYLE)
        );
        assert!(!SCRIPT.contains("</"), "it would end the element");
    }
}
