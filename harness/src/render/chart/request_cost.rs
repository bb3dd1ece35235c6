//! What a request costs: system calls by name, CPU time in user and system mode, context switches and wake-ups, each in
//! a column of its own beside the same arms.

use super::canvas::{Breakdown, BreakdownRow, Column, MOST_NAMES, Paint, Part, Texts};
use super::panel::Panel;
use super::plot::Table;
use super::{Chart, Plot, look};
use crate::analysis::request_cost::{OTHER, RequestCost};
use crate::analysis::summary::Cell;
use crate::base::text::visible;
use crate::base::unit::Unit;
use crate::model::instrumented::Instrumented;
use crate::model::row::Verdict;

/// Where the chart's files and its table are found.
pub const NAME: &str = "request-cost";
/// What is said of a figure that there is none of.
const NOT_MEASURED: &str = "n/a";

/// One chart for a panel of one workload.
pub fn draw(panel: &Panel, instrumented: &[Instrumented]) -> Option<Chart> {
    let is_shown = |cell: &&Cell| cell.rows.iter().any(|row| row.is_usable());
    let cells: Vec<&Cell> = panel.cells.iter().filter(is_shown).collect();
    let costs: Vec<RequestCost> = cells
        .iter()
        .map(|cell| RequestCost::of(cell, instrumented))
        .collect();
    let names = most_frequent(&costs);
    let columns: Vec<Measured> = MEASURES
        .iter()
        .filter(|measure| {
            costs
                .iter()
                .any(|cost| (measure.parts)(cost, &names).is_some())
        })
        .collect();
    if columns.is_empty() {
        return None;
    }
    let rows = cells.iter().zip(&costs).map(|(cell, cost)| BreakdownRow {
        arm: visible(cell.arm),
        look: look::of_arm(cell.arm, cell.model),
        suspect: cell.verdict() != Verdict::Valid,
        bars: columns
            .iter()
            .map(|measure| (measure.parts)(cost, &names).unwrap_or_default())
            .collect(),
    });
    let rows: Vec<BreakdownRow> = rows.collect();
    let column = |(at, measure): (usize, Measured)| {
        let longest = rows
            .iter()
            .map(|row| row.bars[at].iter().map(|part| part.value).sum::<f64>());
        Column::new(measure.title, measure.unit, longest)
    };
    let columns = columns.iter().copied().enumerate().map(column).collect();
    Some(Chart {
        name: format!("{NAME}{}", panel.suffix),
        texts: Texts {
            title: "What a request costs the server".into(),
            subtitle: panel.conditions(),
            caption: panel.captions(&caption(&costs)),
        },
        plot: Plot::Breakdown(Breakdown {
            columns,
            rows,
            names,
        }),
        table: Some(table(&costs)),
    })
}

type Measured = &'static Measure;

/// A column: what it shows of an arm.
struct Measure {
    title: &'static str,
    unit: Unit,
    parts: fn(&RequestCost, &[String]) -> Option<Vec<Part>>,
}

const MEASURES: [Measure; 4] = [
    Measure {
        title: "system calls per request",
        unit: Unit::Ratio,
        parts: syscalls,
    },
    Measure {
        title: "CPU: user (strong), system",
        unit: Unit::Duration,
        parts: |cost, _| {
            let (user, system) = (cost.user_us_per_request?, cost.system_us_per_request?);
            Some(vec![
                part("user CPU", user * 1e3, Paint::Strong),
                part("system CPU", system * 1e3, Paint::Light),
            ])
        },
    },
    Measure {
        title: "context switches",
        unit: Unit::Ratio,
        parts: |cost, _| {
            let switches = cost.ctx_switches_per_request?;
            Some(vec![part("context switches", switches, Paint::Strong)])
        },
    },
    Measure {
        title: "wake-ups",
        unit: Unit::Ratio,
        parts: |cost, _| {
            let wakeups = cost.wakeups_per_request?;
            Some(vec![part("wake-ups", wakeups, Paint::Strong)])
        },
    },
];

fn part(name: &str, value: f64, paint: Paint) -> Part {
    Part {
        name: name.into(),
        value,
        paint,
    }
}

/// The calls that have a colour of their own, in its order, and the others together.
fn syscalls(cost: &RequestCost, names: &[String]) -> Option<Vec<Part>> {
    let total = cost.syscalls_per_request?;
    let of = |name: &str| cost.syscalls.iter().find(|share| share.name == name);
    let named = names
        .iter()
        .enumerate()
        .filter_map(|(at, name)| Some(part(name, of(name)?.per_request, Paint::Named(at))));
    let mut parts: Vec<Part> = named.collect();
    let rest = total - parts.iter().map(|part| part.value).sum::<f64>();
    if rest > total * 1e-9 {
        parts.push(part(OTHER, rest, Paint::Rest));
    }
    Some(parts)
}

/// The names of the system calls that make up most over all arms.
fn most_frequent(costs: &[RequestCost]) -> Vec<String> {
    let mut sums: Vec<(&str, f64)> = Vec::new();
    for share in costs.iter().flat_map(|cost| &cost.syscalls) {
        match sums.iter_mut().find(|(name, _)| *name == share.name) {
            Some((_, sum)) => *sum += share.per_request,
            None if share.name != OTHER => sums.push((&share.name, share.per_request)),
            None => {}
        }
    }
    sums.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all: f64 = sums.iter().map(|(_, sum)| sum).sum();
    let visible = sums.iter().filter(|(_, sum)| *sum > all * 0.002);
    visible
        .take(MOST_NAMES)
        .map(|(name, _)| name.to_string())
        .collect()
}

/// What must be known to read it rightly.
fn caption(costs: &[RequestCost]) -> String {
    let paces = costs.iter().filter_map(|cost| cost.instrumented_pace);
    let counted = costs.iter().any(|cost| cost.syscalls_per_request.is_some());
    let slowest = paces.min_by(f64::total_cmp);
    let note = costs.iter().flat_map(|cost| &cost.notes).next();
    match (counted, slowest, note) {
        (true, Some(pace), _) => format!(
            "System calls: counted in one more trial each, which is not ranked; at {:.0} % of the others' pace or more. \
             The division of CPU time is sampled at clock ticks.",
            pace * 100.0
        ),
        (_, _, Some(note)) => visible(note),
        _ => "`--syscalls` counts the system calls as well. The division of CPU time is sampled at clock ticks.".into(),
    }
}

fn table(costs: &[RequestCost]) -> Table {
    let header = [
        "arm",
        "system calls",
        "by name",
        "user CPU",
        "system CPU",
        "context switches",
        "wake-ups",
        "requests per wake-up",
    ];
    let line = |cost: &RequestCost| {
        let number =
            |figure: Option<f64>| figure.map_or(NOT_MEASURED.into(), |n| Unit::Ratio.words(n));
        let time =
            |us: Option<f64>| us.map_or(NOT_MEASURED.into(), |us| Unit::Duration.words(us * 1e3));
        vec![
            visible(&cost.arm),
            number(cost.syscalls_per_request),
            by_name(cost),
            time(cost.user_us_per_request),
            time(cost.system_us_per_request),
            number(cost.ctx_switches_per_request),
            number(cost.wakeups_per_request),
            number(cost.requests_per_wakeup),
        ]
    };
    Table {
        header: header.map(String::from).into(),
        lines: costs.iter().map(line).collect(),
    }
}

/// `recvfrom 1.00, sendto 1.00, epoll_wait 0.25`: as far as they are made at least once in a thousand requests.
pub fn by_name(cost: &RequestCost) -> String {
    if cost.syscalls_per_request.is_none() {
        return NOT_MEASURED.into();
    }
    let often = cost
        .syscalls
        .iter()
        .filter(|share| share.per_request >= 0.0005);
    let words =
        often.map(|share| format!("{} {}", share.name, Unit::Ratio.words(share.per_request)));
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::panel::panels;
    use super::*;
    use crate::model::instrumented::Syscalls;
    use crate::model::row::Row;

    fn row(arm: &str) -> Row {
        Row {
            arm: arm.into(),
            model: arm.into(),
            conns: 50,
            service: "echo".into(),
            duration_s: 1.0,
            requests_completed: Some(1000),
            requests_per_s: Some(1000.0),
            server_cpu_us_per_request: Some(4.0),
            server_user_s: Some(1.0),
            server_system_s: Some(3.0),
            ctx_switches_per_request: Some(0.01),
            wakeups_per_request: (arm == "epoll").then_some(0.5),
            ..Row::blank()
        }
    }

    fn looked(arm: &str, by_name: &[(&str, u64)]) -> Instrumented {
        Instrumented {
            row: row(arm),
            syscalls: Some(Syscalls {
                total: by_name.iter().map(|(_, n)| n).sum::<u64>() + 100,
                by_name: by_name
                    .iter()
                    .map(|(name, n)| (name.to_string(), *n))
                    .collect(),
                between_s: 1.0,
                requests: None,
            }),
            profile: None,
            notes: Vec::new(),
        }
    }

    #[test]
    fn every_call_has_its_part_and_its_figure() {
        let rows = [row("epoll"), row("thread")];
        let instrumented = [
            looked(
                "epoll",
                &[("recvfrom", 1000), ("sendto", 1000), ("epoll_wait", 500)],
            ),
            looked("thread", &[("recvfrom", 1000), ("sendto", 1000)]),
        ];
        let chart = draw(&panels(&rows)[0], &instrumented).unwrap();
        let svg = chart.svg().unwrap();
        for words in [
            "epoll_wait 0.50",
            "user CPU 1 µs",
            "wake-ups 0.50",
            "recvfrom",
        ] {
            assert!(svg.contains(words), "{words}: {svg}");
        }
        let table = chart.table();
        let line = |arm: &str| table.lines.iter().find(|line| line[0] == arm).unwrap();
        assert_eq!(line("epoll")[1], "2.6");
        assert_eq!(
            line("epoll")[2],
            "recvfrom 1.00, sendto 1.00, epoll_wait 0.50, other 0.10"
        );
        assert_eq!(line("thread")[6], NOT_MEASURED);
    }

    #[test]
    fn what_was_not_counted_is_not_drawn_and_how_to_get_it_is_said() {
        let rows = [row("epoll")];
        let chart = draw(&panels(&rows)[0], &[]).unwrap();
        assert!(chart.texts.caption.join(" ").contains("--syscalls"));
        assert!(!chart.svg().unwrap().contains("system calls per request"));
        assert_eq!(chart.table().lines[0][1], NOT_MEASURED);
        let refused = Instrumented {
            syscalls: None,
            notes: vec!["system calls were not counted: run tenk as root".into()],
            ..looked("epoll", &[])
        };
        let chart = draw(&panels(&rows)[0], &[refused]).unwrap();
        assert!(chart.texts.caption.join(" ").contains("run tenk as root"));
    }
}
