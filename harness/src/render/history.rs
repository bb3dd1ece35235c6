//! The page of a history: one file that needs nothing else. Templates escape everything; the policy in its head allows
//! its style by its hash and nothing from anywhere.

use super::chart::history::{draw, short};
use super::chart::{Chart, canvas::Texts, table::Table};
use super::page::{STYLE as COMMON, filled, policy};
use crate::analysis::history::{Commit, FALSE_ALARMS, Trend, commits, machines, trends};
use crate::analysis::stats::e_divisive::{FEWEST, LEVEL};
use crate::base::text::{percent, visible};
use crate::model::metrics::METRICS;
use crate::store::history::History;
use serde::Serialize;

const PAGE: &str = include_str!("page/history.html");
const STYLE: &str = include_str!("page/history.css");

/// A history that is to be shown.
pub struct Shown {
    /// What it says, a sentence each.
    pub sentences: Vec<String>,
    trends: Vec<Trend>,
    commits: Vec<Commit>,
    machines: Vec<Machine>,
    notes: Vec<String>,
}

/// A machine, as people tell it from the others.
#[derive(Clone, Serialize)]
struct Machine {
    id: String,
    what: String,
    /// What of it differs from the first one, a sentence each.
    differs: Vec<String>,
}

/// What the template shows.
#[derive(Serialize)]
struct Page<'a> {
    policy: String,
    style: String,
    title: String,
    sentences: &'a [String],
    notes: &'a [String],
    method: Vec<String>,
    machines: &'a [Machine],
    figures: Vec<Figure>,
}

/// A chart.
#[derive(Serialize)]
struct Figure {
    name: String,
    texts: Texts,
    table: Table,
    svg: String,
}

impl Shown {
    /// What a history shows of these columns; of none: of all.
    pub fn of(history: &History, columns: &[&str]) -> Shown {
        let mut trends = trends(history);
        trends.retain(|trend| columns.is_empty() || columns.contains(&trend.column));
        let machines = named_machines(history);
        let commits = commits(history);
        let sentences = sentences(&trends, &commits, &machines);
        Shown {
            sentences,
            trends,
            commits,
            machines,
            notes: history.notes.clone(),
        }
    }

    /// The page.
    pub fn page(&self) -> Result<String, String> {
        let style = format!("{COMMON}{STYLE}");
        let page = Page {
            policy: policy(&style, None),
            style,
            title: format!("tenk history: {} commits", self.commits.len()),
            sentences: &self.sentences,
            notes: &self.notes,
            method: method(),
            machines: &self.machines,
            figures: self
                .charts()
                .into_iter()
                .map(figure)
                .collect::<Result<_, _>>()?,
        };
        filled(PAGE, &page)
    }

    /// One chart per machine, workload and figure, those with a change first.
    fn charts(&self) -> Vec<Chart> {
        let same = |a: &Trend, b: &Trend| {
            (&a.machine, &a.workload, a.column) == (&b.machine, &b.workload, b.column)
        };
        let mut groups: Vec<&[Trend]> = self.trends.chunk_by(same).collect();
        groups.sort_by_key(|group| group.iter().all(|trend| trend.changes.is_empty()));
        let chart = |group: &&[Trend]| {
            let machine = self
                .machines
                .iter()
                .find(|machine| machine.id == group[0].machine);
            let machine = machine.map_or("", |machine| machine.what.as_str());
            draw(&group.iter().collect::<Vec<_>>(), &self.commits, machine)
        };
        groups.iter().filter_map(chart).collect()
    }
}

fn figure(chart: Chart) -> Result<Figure, String> {
    let mut drawings = chart.for_page()?;
    Ok(Figure {
        table: chart.table(),
        name: chart.name,
        texts: chart.texts,
        svg: drawings.swap_remove(0).1,
    })
}

fn named_machines(history: &History) -> Vec<Machine> {
    let all = machines(history);
    let first = all.first().copied();
    let named = all.iter().map(|machine| {
        let others = first.filter(|first| first.id != machine.id);
        let differs = others.into_iter().flat_map(|first| {
            let names = first.facts.keys().chain(machine.facts.keys());
            let names: std::collections::BTreeSet<&String> = names.collect();
            let of = |facts: &std::collections::BTreeMap<String, String>, name: &String| {
                facts
                    .get(name)
                    .map_or("not known".to_string(), |value| visible(value))
            };
            let differ = move |name: &&String| first.facts.get(*name) != machine.facts.get(*name);
            let names = names.into_iter().filter(differ);
            names.map(move |name| {
                let (here, there) = (of(&machine.facts, name), of(&first.facts, name));
                format!("{} is {here}, on the first machine {there}", visible(name))
            })
        });
        Machine {
            id: visible(&machine.id),
            what: format!("{} [{}]", visible(&machine.what), visible(&machine.id)),
            differs: differs.take(12).collect(),
        }
    });
    named.collect()
}

fn sentences(trends: &[Trend], commits: &[Commit], machines: &[Machine]) -> Vec<String> {
    let mut sentences = Vec::new();
    for trend in trends {
        let Some(metric) = METRICS.iter().find(|metric| metric.column == trend.column) else {
            continue;
        };
        for change in &trend.changes {
            let commit = &trend.points[change.at].commit;
            let title = commits
                .iter()
                .find(|c| c.commit == *commit)
                .map_or("", |c| c.title.as_str());
            let is_worse = (change.relative > 0.0) != metric.more_is_better;
            sentences.push(format!(
                "{} {}: {} got {}, {}, from {} on ({}); p = {:.3}.",
                visible(&trend.arm),
                visible(&trend.workload),
                metric.label,
                if is_worse { "worse" } else { "better" },
                percent(change.relative),
                short(commit),
                visible(title),
                change.p
            ));
        }
    }
    let steady = trends.iter().filter(|trend| trend.changes.is_empty());
    let (long, brief): (Vec<&Trend>, Vec<&Trend>) =
        steady.partition(|trend| trend.points.len() >= 2 * FEWEST);
    if !long.is_empty() {
        sentences.push(format!("No change was found in {} series.", long.len()));
    }
    if !brief.is_empty() {
        sentences.push(format!(
            "{} series have fewer than {} runs, in which no change could be found.",
            brief.len(),
            2 * FEWEST
        ));
    }
    if trends.is_empty() {
        sentences.push("There is no figure in this history yet.".into());
    }
    if machines.len() > 1 {
        sentences.push(format!(
            "{} machines, or states of one, were measured; their figures are drawn apart.",
            machines.len()
        ));
    }
    sentences
}

/// How changes are found, and how often they are found where there are none.
fn method() -> Vec<String> {
    let method = format!(
        "Changes are found by E-divisive (Matteson and James 2014, as MongoDB and Hunter use it) on the logarithms of the \
         medians, one run a value: at a level of {} %, with at least {FEWEST} runs on each side, so that a change is seen \
         {FEWEST} runs after it at the earliest. Levels that differ by less than the figure's margin are one.",
        LEVEL * 100.0
    );
    vec![
        method,
        FALSE_ALARMS.into(),
        "A machine that drifts over days moves all arms alike: hold a change against the gate (`tenk gate`) before you \
         believe it, and find its commit with `tenk history find`."
            .into(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::history::tests::line;

    #[test]
    fn the_page_is_whole_draws_machines_apart_and_no_text_becomes_markup() {
        let mut history = History::default();
        for i in 0..20 {
            let mut one = line(i, "a", if i < 10 { 3.0 } else { 3.5 });
            one.title = "<script>alert(1)</script>\u{202e}".into();
            one.machine.what = "a <b>machine</b>".into();
            history.lines.push(one);
            history.lines.push(line(i, "b", 9.0));
        }
        history.notes.push("passed over h:3: <x>".into());
        let shown = Shown::of(&history, &[]);
        let worse = "epoll c50/echo64: CPU per request got worse, +16.7 %, from 000000000 on";
        assert!(
            shown.sentences[0].starts_with(worse),
            "{:?}",
            shown.sentences
        );
        assert!(
            shown.sentences[2].starts_with("2 machines"),
            "{:?}",
            shown.sentences
        );
        let page = shown.page().unwrap();
        assert_eq!(page.matches("<figure ").count(), 2);
        assert!(
            !page.contains("<script") && !page.contains("<b>machine") && !page.contains('\u{202e}')
        );
        assert!(page.contains("passed over h:3: &lt;x&gt;") && !page.contains("https://"));
        assert_eq!(Shown::of(&history, &["requests_per_s"]).charts().len(), 0);
        let none = Shown::of(&History::default(), &[]);
        assert!(
            none.page()
                .unwrap()
                .contains("no figure in this history yet")
        );
    }
}
