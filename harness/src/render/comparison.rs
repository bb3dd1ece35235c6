//! Which arm is best, in words: the rankings of [`crate::analysis::stats::ranking`] and the growth over idle connections.

use crate::analysis::stats::growth::{Growth, over_idle};
use crate::analysis::stats::ranking::{Difference, Place, Ranking, Standing, rankings};
use crate::base::text::{percent, printable};
use crate::model::row::Row;
use loadgen::units::{format_count, format_ns};

/// Everything that comparing the rows has to say; empty when there is nothing to compare.
pub fn for_people(rows: &[Row]) -> String {
    let mut text: String = rankings(rows).iter().map(ranking).collect();
    let growths = over_idle(rows, |row| row.response_p99_ns);
    if !growths.is_empty() {
        text.push_str("\nResponse p99 by idle connections:\n");
        text.extend(growths.iter().map(growth));
    }
    text
}

fn ranking(ranking: &Ranking) -> String {
    let (name, title, blocks) = (printable(&ranking.name), ranking.title, ranking.blocks);
    let mut text = format!("\n{name} by {title}, {blocks} block{}", plural(blocks));
    match (ranking.places.len(), too_short(ranking)) {
        (0, _) => text.push_str(": no arm can be ranked\n"),
        // The best of one is no finding.
        (1, _) => text.push_str(&format!(
            ": only {} can be ranked\n",
            printable(&ranking.places[0].arm)
        )),
        (arms, Some(needed)) => text.push_str(&format!(
            ": too few to rank {arms} arms; --repeat {needed} would do if they differ clearly\n"
        )),
        (_, None) => {
            let percent = ranking.margin * 100.0;
            text.push_str(&format!(
                " (differences within {percent:.0} % count as none):\n"
            ));
            for place in &ranking.places {
                text.push_str(&line(&place.arm, &standing(place, ranking)));
            }
        }
    }
    for apart in &ranking.apart {
        text.push_str(&line(&apart.arm, &format!("apart: {}", apart.why)));
    }
    text
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

fn line(arm: &str, words: &str) -> String {
    format!("  {:<16} {}\n", printable(arm), printable(words))
}

/// The fewest blocks that anything could be said with, when nothing can be said of any arm and none has an interval.
fn too_short(ranking: &Ranking) -> Option<u64> {
    let others = ranking
        .places
        .iter()
        .filter(|place| place.difference.is_some());
    let needs = others.map(|place| match (place.standing, place.difference) {
        (Standing::NeedsBlocks(n), Some(Difference { interval: None, .. })) => {
            Some(n.unwrap_or(u64::MAX))
        }
        _ => None,
    });
    needs.collect::<Option<Vec<u64>>>()?.into_iter().min()
}

/// What may be said of an arm: `worse by 33.0 % (31.2 to 35.1 %)`. The first is the best where every other was compared
/// with it to an end; until then it only leads.
pub fn standing(place: &Place, ranking: &Ranking) -> String {
    let is_open = |p: &Place| matches!(p.standing, Standing::NeedsBlocks(_));
    let first = match ranking.places.iter().any(is_open) {
        true => "leads",
        false => "best",
    };
    let Some(difference) = place.difference else {
        return first.into();
    };
    let more_is_better = ranking.more_is_better;
    let change = signed_change(&difference);
    match place.standing {
        Standing::Best => first.into(),
        Standing::Tied => format!("tied with the best: {change}"),
        Standing::Worse => format!("worse by {}", worse_by(&difference, more_is_better)),
        Standing::NeedsBlocks(Some(n)) => format!("needs {n} blocks: {change}"),
        Standing::NeedsBlocks(None) => format!("more blocks than could be run: {change}"),
    }
}

/// The figure of a place: `123 456 (120 000 to 125 000)`.
pub fn figure_in_words(ranking: &Ranking, place: &Place) -> String {
    let words = |v: f64| match ranking.more_is_better {
        true => format_count(v.round() as u64),
        false => format_ns((v * 1e3).round() as u64),
    };
    let figure = &place.figure;
    format!(
        "{} ({} to {})",
        words(figure.median),
        words(figure.min),
        words(figure.max)
    )
}

fn worse_by(difference: &Difference, more_is_better: bool) -> String {
    let sign = if more_is_better { -100.0 } else { 100.0 };
    let percent = difference.change * sign;
    match difference.interval.map(|i| i.map(|v| v * sign)) {
        Some(i) => format!("{percent:.1} % ({:.1} to {:.1} %)", i.low, i.high),
        None => format!("{percent:.1} %"),
    }
}

fn signed_change(difference: &Difference) -> String {
    let change = percent(difference.change);
    match difference.interval {
        Some(i) => format!(
            "{change} ({} to {})",
            percent(i.low).trim_end_matches(" %"),
            percent(i.high)
        ),
        None => format!("{change} (an interval needs 6 blocks)"),
    }
}

fn growth(growth: &Growth) -> String {
    let exponent = growth.fit.exponent;
    let interval = match growth.fit.interval {
        Some(i) => format!(" ({:.2} to {:.2})", i.low, i.high),
        None => String::new(),
    };
    let words = format!(
        "grows as idle^{exponent:.2}{interval} at {} active",
        growth.conns
    );
    line(&growth.arm, &words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::row::{Status, Verdict};

    fn rows(blocks: u32) -> Vec<Row> {
        let row = |arm: &str, block: u32, per_s: f64| Row {
            arm: arm.into(),
            service: "echo".into(),
            conns: 50,
            payload_bytes: 64,
            block,
            requests_completed: Some(1),
            requests_per_s: Some(per_s * (1.0 + f64::from(block) / 50.0)),
            ..Row::blank()
        };
        let block = |b: u32| {
            let mut select = row("select\x1b[1m", b, 1.0);
            select.status = Status::Limited;
            [
                row("epoll", b, 1000.0),
                row("poll", b, 500.0 + f64::from(b)),
                select,
            ]
        };
        (1..=blocks).flat_map(block).collect()
    }

    #[test]
    fn the_best_and_the_rest_are_told() {
        let text = for_people(&rows(8));
        let expected =
            "\nc50/echo64 by requests/s, 8 blocks (differences within 5 % count as none):
  epoll            best
  poll             worse by 49.6 % (49.3 to 49.8 %)
  select[1m        apart: limited\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_short_run_says_so_once() {
        let text = for_people(&rows(3));
        let expected = "\nc50/echo64 by requests/s, 3 blocks: too few to rank 2 arms; --repeat 6 would do if they differ \
            clearly\n  select[1m        apart: limited\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_empty_ranking_says_why() {
        let mut rows = rows(2);
        for row in &mut rows {
            row.verdict = Verdict::Invalid;
        }
        let text = for_people(&rows);
        assert!(
            text.starts_with("\nc50/echo64 by requests/s, 0 blocks: no arm can be ranked\n  "),
            "{text}"
        );
    }

    #[test]
    fn the_best_of_one_is_no_finding() {
        let mut rows = rows(8);
        rows.retain(|row| row.arm != "poll");
        let text = for_people(&rows);
        assert!(
            text.starts_with(
                "\nc50/echo64 by requests/s, 8 blocks: only epoll can be ranked\n  select"
            ),
            "{text}"
        );
    }

    #[test]
    fn one_arm_is_not_compared() {
        let mut rows = rows(8);
        rows.retain(|row| row.arm == "epoll");
        assert_eq!(for_people(&rows), "");
    }

    #[test]
    fn growth_over_idle_is_told() {
        let mut rows = Vec::new();
        for (idle, block) in [(10, 1), (100, 2), (1000, 3), (10_000, 4)] {
            let mut row = self::rows(1)[0].clone();
            (row.idle, row.block, row.response_p99_ns) = (idle, block, Some(idle * 1000));
            rows.extend([row.clone(), row.clone(), row]);
        }
        let text = for_people(&rows);
        assert!(
            text.contains("epoll            grows as idle^1.00 (1.00 to 1.00) at 50 active"),
            "{text}"
        );
    }
}
