//! Every ranking in full, and the growth over idle connections.

use crate::analysis::answer::words::{figure, least, percent, plural, standing};
use crate::analysis::stats::growth::{Growth, over_idle};
use crate::analysis::stats::ranking::{Place, Ranking};
use crate::base::text::visible;
use crate::model::row::Row;

/// All rankings, then what grows; empty when there is nothing to compare.
pub fn for_people(rows: &[Row], rankings: &[Ranking]) -> String {
    let text: String = rankings.iter().map(ranking).collect();
    text + &growths(rows)
}

/// How response times grow with idle connections; empty where nothing does.
pub fn growths(rows: &[Row]) -> String {
    let growths = over_idle(rows, |row| row.response_p99_ns);
    if growths.is_empty() {
        return String::new();
    }
    let lines: String = growths.iter().map(growth).collect();
    format!("\nResponse p99 by idle connections:\n{lines}")
}

/// What a ranking is of: `c50/echo64 by requests/s, 3 blocks; told from 12 % up`.
pub fn title(ranking: &Ranking) -> String {
    let mut text = format!(
        "{} by {}, {}",
        visible(&ranking.name),
        ranking.title,
        plural(ranking.blocks, "block")
    );
    if let Some(from) = ranking.tells_from {
        let margin = percent(ranking.margin);
        text.push_str(&format!(
            "; told from {} up, equal within {margin}",
            least(from, ranking.more_is_better)
        ));
    }
    text
}

fn ranking(ranking: &Ranking) -> String {
    let mut text = format!("\n{}", title(ranking));
    match ranking.places.as_slice() {
        [] => text.push_str(": no arm can be ranked\n"),
        // The best of one is no finding.
        [one] => text.push_str(&format!(": only {} can be ranked\n", visible(&one.arm))),
        places => {
            text.push_str(":\n");
            for place in places {
                text.push_str(&line(&place.arm, &standing(place, ranking)));
            }
        }
    }
    for apart in &ranking.apart {
        text.push_str(&line(&apart.arm, &format!("not ranked: {}", apart.why)));
    }
    text
}

fn line(arm: &str, words: &str) -> String {
    format!("  {:<16} {}\n", visible(arm), visible(words))
}

/// The figure of a place: `123 456 (120 000 to 125 000)`.
pub fn figure_in_words(ranking: &Ranking, place: &Place) -> String {
    let words = |value: f64| figure(ranking.column, value);
    let shown = &place.figure;
    format!(
        "{} ({} to {})",
        words(shown.median),
        words(shown.min),
        words(shown.max)
    )
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
    use crate::analysis::stats::ranking::rankings;
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

    fn told(rows: &[Row]) -> String {
        for_people(rows, &rankings(rows))
    }

    #[test]
    fn the_best_and_the_rest_are_told() {
        let text = told(&rows(8));
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert!(
            lines[0].starts_with("c50/echo64 by requests/s, 8 blocks; told from "),
            "{text}"
        );
        assert!(lines[0].ends_with(" % up, equal within 5.0 %:"), "{text}");
        assert_eq!(lines[1], "  epoll            best");
        assert!(
            lines[2].starts_with("  poll             worse: 2.0 times less ("),
            "{text}"
        );
        assert_eq!(lines[3], "  select\\u{1b}[1m  not ranked: limited");
    }

    #[test]
    fn one_block_is_an_order() {
        let text = told(&rows(1));
        let expected = "\nc50/echo64 by requests/s, 1 block:\n  epoll            ahead (1 block, provisional)\n  poll             \
                        behind (provisional): 2.0 times less\n  select\\u{1b}[1m  not ranked: limited\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_empty_ranking_says_why() {
        let mut rows = rows(2);
        for row in &mut rows {
            row.verdict = Verdict::Invalid;
        }
        let text = told(&rows);
        assert!(
            text.starts_with("\nc50/echo64 by requests/s, 0 blocks: no arm can be ranked\n  "),
            "{text}"
        );
    }

    #[test]
    fn the_best_of_one_is_no_finding() {
        let mut rows = rows(8);
        rows.retain(|row| row.arm != "poll");
        let text = told(&rows);
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
        assert_eq!(told(&rows), "");
    }

    #[test]
    fn growth_over_idle_is_told() {
        let mut rows = Vec::new();
        for (idle, block) in [(10, 1), (100, 2), (1000, 3), (10_000, 4)] {
            let mut row = self::rows(1)[0].clone();
            (row.idle, row.block, row.response_p99_ns) = (idle, block, Some(idle * 1000));
            rows.extend([row.clone(), row.clone(), row]);
        }
        let text = told(&rows);
        assert!(
            text.contains("epoll            grows as idle^1.00 (1.00 to 1.00) at 50 active"),
            "{text}"
        );
    }
}
