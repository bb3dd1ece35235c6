//! Flame graphs of the servers whose stacks were sampled, and of a gate's two sides against each other.

use super::chart::plot::Table;
use crate::analysis::summary::arms;
use crate::base::text::{file_name, visible};
use crate::base::unit::Unit;
use crate::model::instrumented::{Instrumented, Profile};
use crate::model::row::Row;
use crate::model::workload::workload_name;
use inferno::differential;
use inferno::flamegraph::{self, Options};
use std::io;

/// How the arms of a gate's sides end.
const SIDES: (&str, &str) = ("base", "head");
/// How many functions a table names.
const MOST_FUNCTIONS: usize = 8;
/// A difference of shares below this is not listed: the same program differs by as much from trial to trial.
const LEAST_DIFFERENCE: f64 = 0.01;

/// A flame graph.
#[derive(Debug, Clone)]
pub struct Flame {
    /// File name without its folder and ending.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// From what.
    pub subtitle: String,
    /// The picture: a page of its own that searches and zooms.
    pub svg: String,
    /// Where most samples were.
    pub table: Table,
}

/// All that there are samples for; a picture that cannot be drawn is said instead.
pub fn all(instrumented: &[Instrumented]) -> Vec<Result<Flame, String>> {
    let rows: Vec<Row> = instrumented.iter().map(|one| one.row.clone()).collect();
    let order = arms(&rows);
    let mut sampled: Vec<(&Instrumented, &Profile)> = instrumented
        .iter()
        .filter_map(|one| Some((one, one.profile.as_ref()?)))
        .collect();
    let place = |row: &Row| order.iter().position(|arm| *arm == row.arm);
    sampled.sort_by_key(|(one, _)| (one.row.workload(), place(&one.row)));
    let names: Vec<String> = sampled
        .iter()
        .map(|(one, _)| workload_name(&one.row))
        .collect();
    let one_workload = names.windows(2).all(|pair| pair[0] == pair[1]);
    let file = |what: &str, workload: &str| match one_workload {
        true => format!("flame-{}", file_name(what)),
        false => format!("flame-{}-{}", file_name(what), file_name(workload)),
    };
    let mut flames = Vec::new();
    for ((one, profile), workload) in sampled.iter().zip(&names) {
        let arm = visible(&one.row.arm);
        let texts = (
            format!("{arm}: where its CPU time goes"),
            subtitle(profile, workload),
        );
        flames.push(of_one(file(&one.row.arm, workload), texts, profile));
    }
    for ((base, before), workload) in sampled.iter().zip(&names) {
        let Some(subject) = subject_of(&base.row.arm, SIDES.0) else {
            continue;
        };
        let is_partner = |(head, _): &&(&Instrumented, &Profile)| {
            subject_of(&head.row.arm, SIDES.1) == Some(subject)
                && workload_name(&head.row) == *workload
        };
        if let Some((_, after)) = sampled.iter().find(is_partner) {
            let what = if subject.is_empty() {
                "server"
            } else {
                subject
            };
            let texts = (
                format!("{}: head against base", visible(what)),
                format!("red: more of head's samples than of base's; blue: fewer; {workload}"),
            );
            flames.push(difference(
                file(&format!("diff-{what}"), workload),
                texts,
                before,
                after,
            ));
        }
    }
    flames
}

/// What an arm of this side is a side of; nothing where commands are compared.
fn subject_of<'a>(arm: &'a str, side: &str) -> Option<&'a str> {
    match arm.rsplit_once('@') {
        Some((subject, of)) => (of == side).then_some(subject),
        None => (arm == side).then_some(""),
    }
}

fn subtitle(profile: &Profile, workload: &str) -> String {
    format!(
        "{} samples of CPU time; {}",
        profile.samples,
        visible(workload)
    )
}

fn of_one(name: String, texts: (String, String), profile: &Profile) -> Result<Flame, String> {
    draw(name, texts, profile.folded.as_bytes(), innermost(profile))
}

fn difference(
    name: String,
    texts: (String, String),
    before: &Profile,
    after: &Profile,
) -> Result<Flame, String> {
    let mut folded = Vec::new();
    // Neither side has as many samples as the other.
    let how = differential::Options {
        normalize: true,
        ..Default::default()
    };
    let (base, head) = (before.folded.as_bytes(), after.folded.as_bytes());
    differential::from_readers(how, base, head, &mut folded).map_err(|e| cannot_draw(&name, &e))?;
    draw(name, texts, &folded, changed(before, after))
}

fn draw(
    name: String,
    (title, subtitle): (String, String),
    folded: &[u8],
    table: Table,
) -> Result<Flame, String> {
    let mut options = options(&title, &subtitle);
    let mut svg = Vec::new();
    flamegraph::from_reader(&mut options, folded, &mut svg).map_err(|e| cannot_draw(&name, &e))?;
    Ok(Flame {
        name,
        title,
        subtitle,
        svg: String::from_utf8_lossy(&svg).into_owned(),
        table,
    })
}

fn options(title: &str, subtitle: &str) -> Options<'static> {
    let mut options = Options::default();
    options.title = title.into();
    options.subtitle = Some(subtitle.into());
    options.count_name = "samples".into();
    // The same samples are the same picture.
    options.deterministic = true;
    options.pretty_xml = false;
    options
}

fn cannot_draw(name: &str, error: &io::Error) -> String {
    format!("cannot draw {name}: {error}")
}

/// The functions that most samples were in.
fn innermost(profile: &Profile) -> Table {
    let line = |(function, count): (&str, u64)| {
        let share = count as f64 / profile.samples.max(1) as f64;
        vec![visible(function), Unit::Percent.words(share * 100.0)]
    };
    let most = profile.innermost().into_iter().take(MOST_FUNCTIONS);
    Table {
        header: ["innermost function", "of the samples"]
            .map(String::from)
            .into(),
        lines: most.map(line).collect(),
    }
}

/// The functions whose shares differ most between two profiles.
fn changed(before: &Profile, after: &Profile) -> Table {
    let shares = |profile: &Profile| -> Vec<(String, f64)> {
        let all = profile.samples.max(1) as f64;
        let share = |(function, count): (&str, u64)| (function.to_string(), count as f64 / all);
        profile.innermost().into_iter().map(share).collect()
    };
    let (before, after) = (shares(before), shares(after));
    let share_in = |list: &[(String, f64)], function: &str| {
        list.iter()
            .find(|(name, _)| name == function)
            .map_or(0.0, |(_, share)| *share)
    };
    let mut functions: Vec<&String> = before.iter().chain(&after).map(|(name, _)| name).collect();
    functions.sort();
    functions.dedup();
    let change = |name: &&String| share_in(&after, name) - share_in(&before, name);
    functions.retain(|name| change(name).abs() >= LEAST_DIFFERENCE);
    functions.sort_by(|a, b| change(b).abs().total_cmp(&change(a).abs()));
    let line = |name: &String| {
        let percent = |share: f64| Unit::Percent.words(share * 100.0);
        let (base, head) = (share_in(&before, name), share_in(&after, name));
        vec![visible(name), percent(base), percent(head)]
    };
    Table {
        header: [
            "innermost function",
            "of base's samples",
            "of head's samples",
        ]
        .map(String::from)
        .into(),
        lines: functions
            .into_iter()
            .take(MOST_FUNCTIONS)
            .map(line)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampled(arm: &str, conns: u64, folded: &str) -> Instrumented {
        Instrumented {
            row: Row {
                arm: arm.into(),
                conns,
                service: "echo".into(),
                ..Row::blank()
            },
            syscalls: None,
            profile: Some(Profile {
                samples: 100,
                folded: folded.into(),
            }),
            notes: Vec::new(),
        }
    }

    fn drawn(instrumented: &[Instrumented]) -> Vec<Flame> {
        all(instrumented)
            .into_iter()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    #[test]
    fn every_sampled_arm_has_its_graph_and_its_functions() {
        let flames = drawn(&[
            sampled("epoll", 50, "epoll;main;read<u8> 60\nepoll;main;write 40\n"),
            Instrumented {
                profile: None,
                ..sampled("poll", 50, "")
            },
        ]);
        assert_eq!(flames.len(), 1);
        let flame = &flames[0];
        assert_eq!(flame.name, "flame-epoll");
        assert!(
            flame.svg.contains("read&lt;u8&gt;") && flame.svg.contains("60 samples"),
            "{}",
            flame.svg
        );
        assert_eq!(flame.table.lines[0], ["read<u8>", "60 %"]);
        assert_eq!(
            drawn(&[sampled("epoll", 50, "a;b 1\n")])[0].svg,
            drawn(&[sampled("epoll", 50, "a;b 1\n")])[0].svg
        );
    }

    #[test]
    fn workloads_have_files_of_their_own() {
        let flames = drawn(&[
            sampled("epoll", 50, "a 1\n"),
            sampled("epoll", 1000, "a 1\n"),
        ]);
        assert!(flames[0].name != flames[1].name && flames[1].name.contains("c1000"));
    }

    #[test]
    fn a_gates_sides_are_held_against_each_other() {
        for (base, head, name) in [
            ("epoll@base", "epoll@head", "flame-diff-epoll"),
            ("base", "head", "flame-diff-server"),
        ] {
            let flames = drawn(&[
                sampled(base, 50, "s;main;read 60\ns;main;write 40\n"),
                sampled(head, 50, "s;main;read 60\ns;main;spin 40\n"),
            ]);
            let difference = &flames[2];
            assert_eq!((flames.len(), difference.name.as_str()), (3, name));
            assert!(difference.svg.contains("spin"));
            let functions: Vec<&str> = difference
                .table
                .lines
                .iter()
                .map(|l| l[0].as_str())
                .collect();
            assert_eq!(functions, ["spin", "write"]);
            assert_eq!(difference.table.lines[0][1..], ["0 %", "40 %"]);
        }
        assert_eq!(
            drawn(&[
                sampled("epoll@base", 50, "a 1\n"),
                sampled("poll@head", 50, "a 1\n")
            ])
            .len(),
            2
        );
    }
}
