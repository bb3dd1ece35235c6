//! The load hosts side by side: the merged figures do not show a sick one, its neighbours do.

use super::chart::table::Table;
use crate::analysis::summary::Figure;
use crate::base::text::{visible, wrapped};
use crate::model::load_hosts::{LoadHost, LoadHostRow, start_skew_ns};
use crate::model::row::Row;
use crate::model::workload::{Workload, workload_name};
use loadgen::base::machine::MachineFacts;
use loadgen::base::units::{format_count, format_ns};
use loadgen::tally::outcome::alike;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Columns of a terminal, and how many of them a host's name and each figure take.
const WIDTH: usize = 80;
const HOST: usize = 16;
const FIGURES: [usize; 7] = [7, 11, 9, 7, 11, 9, 10];

/// What the figures are called.
const HEADER: [&str; 7] = [
    "conns",
    "requests/s",
    "p99",
    "errors",
    "CPU",
    "late",
    "clock",
];

/// What a table of hosts means.
const MEANING: &str = "One line per host: medians over the trials of all arms, each with the same share, so that a host that \
    is sick differs from its neighbours. CPU: of its generator. late: the latest start of its last worker. clock: its \
    CLOCK_REALTIME less the head's, the farthest.";

/// The hosts of a run in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoadHosts {
    /// What the lines mean, how far the starts can lie apart, which hosts were lost, and what the hosts are.
    pub sentences: Vec<String>,
    /// A line per host under each workload.
    pub table: Table,
}

/// A workload, which has its place among the others, and its name.
type Named = (Workload, String);

/// One host under one workload.
struct Line<'a> {
    host: &'a str,
    workload: &'a Named,
    trials: Vec<&'a LoadHost>,
}

/// The hosts in words, with what the `environment` of the run says of them; none where the load came from the machine of
/// the run.
pub fn of(rows: &[Row], hosts: &[LoadHostRow], environment: &Value) -> Option<LoadHosts> {
    if hosts.is_empty() {
        return None;
    }
    let workloads = workloads(rows);
    let lines = lines(&workloads, hosts);
    let has_several = lines.iter().any(|line| line.workload != lines[0].workload);
    let first = ["host", "workload"];
    let first = &first[..1 + usize::from(has_several)];
    let cells = lines.iter().map(|line| {
        let workload = has_several.then(|| visible(&line.workload.1));
        let first = [visible(line.host)].into_iter().chain(workload);
        first.chain(line.figures()).collect()
    });
    let table = Table {
        header: first
            .iter()
            .chain(&HEADER)
            .map(ToString::to_string)
            .collect(),
        lines: cells.collect(),
    };
    let sentences = sentences(hosts, environment);
    Some(LoadHosts { sentences, table })
}

/// The same for a terminal.
pub fn for_people(rows: &[Row], hosts: &[LoadHostRow], environment: &Value) -> String {
    let workloads = workloads(rows);
    let lines = lines(&workloads, hosts);
    let mut text = String::new();
    for of_one in lines.chunk_by(|a, b| a.workload == b.workload) {
        let title = format!("Load hosts, {}", visible(&of_one[0].workload.1));
        text.push_str(&wrapped(&title, WIDTH));
        text.push_str(&line("", &HEADER.map(String::from)));
        of_one
            .iter()
            .for_each(|host| text.push_str(&line(&visible(host.host), &host.figures())));
    }
    if !lines.is_empty() {
        let sentences = sentences(hosts, environment);
        text.extend(sentences.iter().map(|sentence| wrapped(sentence, WIDTH)));
    }
    text
}

/// A name and its figures; where the name is too wide for its column, in two lines.
fn line(name: &str, figures: &[String; 7]) -> String {
    let gap = match name.chars().count() < HOST {
        true => " ".repeat(HOST - name.chars().count()),
        false => format!("\n{}", " ".repeat(HOST)),
    };
    let figures = figures.iter().zip(FIGURES);
    let figures: String = figures
        .map(|(figure, width)| format!("{figure:>width$}"))
        .collect();
    format!("{name}{gap}{figures}\n")
}

/// What the lines mean, and what they do not show.
fn sentences(hosts: &[LoadHostRow], environment: &Value) -> Vec<String> {
    let meaning = std::iter::once(MEANING.to_string());
    let told = meaning.chain(skew(hosts)).chain(lost(hosts));
    let known = BTreeMap::<String, MachineFacts>::deserialize(&environment["load_hosts"]);
    let known = known.unwrap_or_default();
    let told = told.chain(machines(hosts, &known));
    told.chain(on_one_machine(&known, environment)).collect()
}

/// A sentence for each machine that several of the hosts are on.
fn on_one_machine(known: &BTreeMap<String, MachineFacts>, environment: &Value) -> Vec<String> {
    let (name, server) = match &environment["server_host"] {
        Value::Null => ("the server", environment),
        host => ("the server's host", host),
    };
    let mut groups: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let boots = known
        .iter()
        .filter_map(|(name, machine)| Some((visible(name), machine.boot_id.as_deref()?)));
    let of_server = server["boot_id"].as_str().map(|id| (name.to_string(), id));
    for (name, id) in boots.chain(of_server) {
        groups.entry(id).or_default().push(name);
    }
    let several = groups.into_values().filter_map(|names| {
        let (last, rest) = names.split_last().filter(|(_, rest)| !rest.is_empty())?;
        let rest = rest.join(", ");
        Some(format!(
            "{rest} and {last} are on one machine and share its CPUs: each takes time from the others."
        ))
    });
    several.collect()
}

/// What the hosts are, those that are alike together, in the order of the list.
fn machines(hosts: &[LoadHostRow], known: &BTreeMap<String, MachineFacts>) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    for row in hosts {
        if !names.contains(&row.host.host.as_str()) {
            names.push(&row.host.host);
        }
    }
    let told = names
        .iter()
        .filter_map(|name| Some((*name, known.get(*name)?)));
    let groups = alike(told).into_iter();
    let sentence = |(machine, names): (String, Vec<&str>)| {
        let names: Vec<String> = names.into_iter().map(visible).collect();
        format!("{}: {machine}.", names.join(", "))
    };
    groups.map(sentence).collect()
}

fn workloads(rows: &[Row]) -> BTreeMap<u32, Named> {
    let named = |row: &Row| (row.trial, (row.workload(), workload_name(row)));
    rows.iter().map(named).collect()
}

/// Workloads in rising order, as in every table; hosts in the order of the list.
fn lines<'a>(workloads: &'a BTreeMap<u32, Named>, hosts: &'a [LoadHostRow]) -> Vec<Line<'a>> {
    let mut lines: Vec<Line> = Vec::new();
    // A trial whose row was set aside has no workload here, and its hosts no line.
    let known = |row: &'a LoadHostRow| Some((workloads.get(&row.trial)?, row));
    for (workload, row) in hosts.iter().filter_map(known) {
        let is_its = |line: &&mut Line| line.host == row.host.host && line.workload == workload;
        match lines.iter_mut().find(is_its) {
            Some(line) => line.trials.push(&row.host),
            None => lines.push(Line {
                host: &row.host.host,
                workload,
                trials: vec![&row.host],
            }),
        }
    }
    lines.sort_by_key(|line| line.workload);
    lines
}

impl Line<'_> {
    fn figures(&self) -> [String; 7] {
        let there = || self.trials.iter().filter(|host| host.lost.is_none());
        let median = |of: &dyn Fn(&LoadHost) -> Option<f64>| {
            Figure::of(there().filter_map(|host| of(host))).map(|figure| figure.median)
        };
        let shown = |figure: Option<f64>, words: &dyn Fn(f64) -> String| {
            figure.map_or_else(|| "n/a".to_string(), words)
        };
        let whole = |figure: f64| format_count(figure.round() as u64);
        let time = |ns: f64| format_ns(ns.round() as u64);
        let errors: u64 = self.trials.iter().map(|host| host.errors).sum();
        let cpus = there().map(|host| host.generator_cpus).max().unwrap_or(0);
        [
            shown(median(&|host| Some(host.conns_served as f64)), &whole),
            shown(median(&|host| Some(host.requests_per_s)), &whole),
            shown(
                median(&|host| host.response_p99_ns.map(|ns| ns as f64)),
                &time,
            ),
            format_count(errors),
            shown(median(&|host| Some(host.generator_utilisation)), &|used| {
                format!("{:.0}% of {cpus}", used * 100.0)
            }),
            there()
                .filter_map(|host| host.started_late_ns)
                .max()
                .map_or("n/a".into(), format_ns),
            self.clock(),
        ]
    }

    /// How far its clock was from the head's, at its farthest.
    fn clock(&self) -> String {
        let told = self
            .trials
            .iter()
            .flat_map(|host| [host.clock_ahead_before_ns, host.clock_ahead_after_ns]);
        let farthest = told.flatten().max_by_key(|ns| ns.unsigned_abs());
        farthest.map_or("n/a".into(), |ns| {
            let sign = if ns < 0 { "-" } else { "+" };
            format!("{sign}{}", format_ns(ns.unsigned_abs()))
        })
    }
}

/// How far apart the starts of a trial's hosts were at most.
fn skew(hosts: &[LoadHostRow]) -> Option<String> {
    let trials = hosts.chunk_by(|a, b| a.trial == b.trial);
    let skews = trials.filter_map(|of_one| start_skew_ns(of_one.iter().map(|row| &row.host)));
    let most_ns = skews.max()?;
    Some(format!(
        "In every trial all hosts' workers began within {} of each other, the error of their clocks included.",
        format_ns(most_ns)
    ))
}

/// A sentence for each host that was lost.
fn lost(hosts: &[LoadHostRow]) -> Vec<String> {
    let lost = hosts.iter().filter_map(|row| {
        let why = row.host.lost.as_ref()?;
        let (host, why) = (visible(&row.host.host), visible(why));
        Some(format!("{host} was lost in trial {}: {why}.", row.trial))
    });
    lost.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::load_hosts::tests::sound;
    use serde_json::json;

    fn row(trial: u32, conns: u64) -> Row {
        Row {
            trial,
            conns,
            service: "echo".into(),
            ..Row::blank()
        }
    }

    fn hosts(rows: &[Row]) -> Vec<LoadHostRow> {
        let of_row = |row: &Row| {
            let sick = LoadHost {
                requests_per_s: 9_000.0 + f64::from(row.trial),
                generator_utilisation: 0.97,
                ..sound("h2")
            };
            [sound("h1"), sick].map(|host| host.of_trial(row))
        };
        rows.iter().flat_map(of_row).collect()
    }

    fn environment() -> Value {
        let machine = |model: &str| json!({"kernel": "Linux 6.1.0 x86_64", "cpu_model": model, "cpus": 4, "memory_kib": 8 << 20});
        json!({"load_hosts": {"h2": machine("B\u{1b}[2J"), "h1": machine("A")}})
    }

    #[test]
    fn hosts_that_are_alike_are_described_together() {
        let rows = [row(1, 50)];
        let told = of(&rows, &hosts(&rows), &environment()).unwrap();
        assert_eq!(
            told.sentences[2..],
            [
                "h1: Linux 6.1.0 x86_64, 4 CPUs (A), 8.00 GiB of memory.",
                r"h2: Linux 6.1.0 x86_64, 4 CPUs (B\u{1b}[2J), 8.00 GiB of memory."
            ]
        );
        let mut same = environment();
        same["load_hosts"]["h2"] = same["load_hosts"]["h1"].clone();
        let told = of(&rows, &hosts(&rows), &same).unwrap();
        assert!(told.sentences[2].starts_with("h1, h2: Linux"), "{told:?}");
        let unknown = of(&rows, &hosts(&rows), &json!({})).unwrap();
        assert_eq!(unknown.sentences.len(), 2, "an older run does not know");
    }

    #[test]
    fn hosts_on_one_machine_are_said_to_be() {
        let rows = [row(1, 50)];
        let said = |environment: &Value| {
            let told = of(&rows, &hosts(&rows), environment).unwrap();
            told.sentences.last().unwrap().clone()
        };
        let mut environment = environment();
        environment["server_host"] = json!({"boot_id": "a"});
        environment["load_hosts"]["h1"]["boot_id"] = "b".into();
        environment["load_hosts"]["h2"]["boot_id"] = "c".into();
        assert!(!said(&environment).contains("one machine"));
        environment["load_hosts"]["h2"]["boot_id"] = "b".into();
        assert!(said(&environment).starts_with("h1 and h2 are on one machine"));
        environment["server_host"]["boot_id"] = "b".into();
        assert!(said(&environment).starts_with("h1, h2 and the server's host are on one"));
        environment["server_host"] = Value::Null;
        environment["boot_id"] = "b".into();
        assert!(said(&environment).starts_with("h1, h2 and the server are on one machine"));
    }

    #[test]
    fn a_host_that_differs_is_seen_beside_its_neighbours() {
        let rows = [row(1, 50), row(2, 50), row(3, 50)];
        let mut hosts = hosts(&rows);
        let told = of(&rows, &hosts, &environment()).unwrap();
        assert_eq!(
            told.table.lines,
            [
                [
                    "h1", "25", "25 000", "1.80 ms", "0", "40% of 4", "20.0 µs", "-1.20 ms"
                ],
                [
                    "h2", "25", "9 002", "1.80 ms", "0", "97% of 4", "20.0 µs", "-1.20 ms"
                ],
            ]
        );
        assert!(
            told.sentences[1].contains("within 320 µs of each other"),
            "{told:?}"
        );
        hosts[3].host.lost = Some("its connection\u{1b} ended".into());
        let text = for_people(&rows, &hosts, &environment());
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
        assert!(
            text.contains("\nh2 was lost in trial 2: its connection\\u{1b} ended.\n"),
            "{text}"
        );
        assert!(
            text.contains("\nh2                   25      9 002  1.80 ms      0"),
            "{text}"
        );
        assert_eq!(for_people(&rows, &[], &environment()), "");
    }

    #[test]
    fn workloads_are_told_apart_in_their_order() {
        let rows = [row(1, 1000), row(2, 50), row(3, 1000)];
        let hosts = hosts(&rows);
        let told = of(&rows, &hosts, &environment()).unwrap();
        let names: Vec<&str> = told
            .table
            .lines
            .iter()
            .map(|line| line[1].as_str())
            .collect();
        assert_eq!(names.len(), 4);
        assert!(
            names[0] == names[1] && names[0].starts_with("c50/"),
            "{names:?}"
        );
        assert!(
            names[2] == names[3] && names[2].starts_with("c1000/"),
            "{names:?}"
        );
        let text = for_people(&rows, &hosts, &environment());
        assert_eq!(text.matches("Load hosts, ").count(), 2, "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= WIDTH),
            "{text}"
        );
    }
}
