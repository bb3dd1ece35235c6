//! How a figure, a difference and a list are told.

use crate::analysis::stats::Interval;
use crate::analysis::stats::ranking::{Difference, Place, Ranking, Standing};
use crate::base::text::visible;
use crate::base::unit::{Unit, count};
use crate::model::metrics::{CONNECTIONS, CPU_PER_CONNECTION, CPU_PER_REQUEST, MEMORY};
use loadgen::base::units::{format_bytes, format_count, format_ns};

/// Names that a list holds at most.
const MOST_NAMES: usize = 3;

/// From this factor on a difference is told as one: `3.1 times`, not `213 % more`.
const FACTOR_FROM: f64 = 1.95;

/// A least difference of more than this is none.
const NOTHING_FROM: f64 = 1000.0;

/// A name in a sentence.
pub fn name(arm: &str) -> String {
    format!("`{}`", visible(arm))
}

/// `a, b, c and 3 more`; a rest of one is named.
pub fn enumerated(mut words: Vec<String>) -> String {
    if words.len() > MOST_NAMES + 1 {
        let more = words.split_off(MOST_NAMES).len();
        return format!("{} and {more} more", words.join(", "));
    }
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((last, _)) => last.clone(),
        None => String::new(),
    }
}

/// `1 block`, `3 blocks`.
pub fn plural(n: usize, what: &str) -> String {
    let n_words = Unit::Count.words(n as f64);
    match n {
        1 => format!("{n_words} {what}"),
        _ => format!("{n_words} {what}s"),
    }
}

/// A figure of this column as people read it.
pub fn figure(column: &str, value: f64) -> String {
    match column {
        "bytes_per_s" => format!("{}/s", format_bytes(value)),
        c if c.ends_with("_bytes") => format_bytes(value),
        c if c.ends_with("_ns") => format_ns(value.round() as u64),
        c if c.contains("_us_per_") => format_ns((value * 1e3).round() as u64),
        _ if value >= 1e5 => count(value),
        _ => format_count(value.round() as u64),
    }
}

/// What is counted, after `12 % more` or `3 times the`.
fn noun(title: &'static str) -> &'static str {
    let written_out = [CPU_PER_REQUEST, CPU_PER_CONNECTION, MEMORY, CONNECTIONS];
    let metric = written_out.iter().find(|metric| metric.title == title);
    metric.map_or(title, |metric| metric.label)
}

/// The criterion in a sentence that begins with `By`.
pub fn by(ranking: &Ranking) -> &str {
    noun(ranking.title)
}

/// How much worse than the best: `needs 41 % more CPU per request (28 to 56 %)`, `has 54 times the p99 (41 to 70)`.
pub fn behind(difference: &Difference, ranking: &Ranking) -> String {
    let what = noun(ranking.title);
    let Amount { words, is_factor } = amount(difference, ranking.more_is_better);
    match (ranking.more_is_better, is_factor, ranking.title) {
        (true, false, _) => format!("does {} fewer {what}{}", words.0, words.1),
        (true, true, _) => format!("does {} times fewer {what}{}", words.0, words.1),
        (false, false, "p50" | "p99") => format!("has a {what} {} longer{}", words.0, words.1),
        (false, true, "p50" | "p99") => format!("has {} times the {what}{}", words.0, words.1),
        (false, false, _) => format!("needs {} more {what}{}", words.0, words.1),
        (false, true, _) => format!("needs {} times the {what}{}", words.0, words.1),
    }
}

/// The least relative difference that is told: `12 %`, `a factor of 2.4`.
pub fn least(difference: f64, more_is_better: bool) -> String {
    let change = match more_is_better {
        true => -difference,
        false => difference,
    };
    match ratio(change, more_is_better) {
        // Two trials that scatter by a factor of ten tell nothing, and not something from six digits up.
        factor if factor > NOTHING_FROM => format!("a factor of more than {NOTHING_FROM}"),
        factor if factor >= FACTOR_FROM => format!("a factor of {}", digits(factor)),
        _ => percent(difference),
    }
}

/// How many times as good the best is.
fn ratio(change: f64, more_is_better: bool) -> f64 {
    match more_is_better {
        true => 1.0 / (1.0 + change),
        false => 1.0 + change,
    }
}

/// What may be said of an arm: `worse: 33 % less (31 to 35 %)`.
pub fn standing(place: &Place, ranking: &Ranking) -> String {
    if let Some(unread) = &ranking.unread
        && (place.standing == Standing::Worse || place.difference.is_none())
    {
        let limit = figure(ranking.column, unread.less_than);
        return match place.standing {
            Standing::Worse => format!("worse: others need less than {limit}"),
            _ => format!("not told apart from those that need less than {limit}"),
        };
    }
    let Some(difference) = place.difference else {
        return match ranking.is_provisional() && ranking.places.len() > 1 {
            true => "ahead (1 block, provisional)".into(),
            false => "best".into(),
        };
    };
    let Amount { words, is_factor } = amount(&difference, ranking.more_is_better);
    let than = match (is_factor, ranking.more_is_better) {
        (true, true) => " times less",
        (true, false) => " times as much",
        (false, true) => " less",
        (false, false) => " more",
    };
    let by = format!("{}{than}{}", words.0, words.1);
    match place.standing {
        Standing::Best => "best".into(),
        Standing::Tied => format!("equal within {:.0} %: {by}", ranking.margin * 100.0),
        Standing::NotToldApart => format!("not told apart: {by}"),
        Standing::Worse => format!("worse: {by}"),
        Standing::Provisional => format!("behind (provisional): {by}"),
    }
}

/// A difference and its interval, as percentages or as factors.
struct Amount {
    words: (String, String),
    is_factor: bool,
}

fn amount(difference: &Difference, more_is_better: bool) -> Amount {
    let ratio = |change| ratio(change, more_is_better);
    let sign = if more_is_better { -100.0 } else { 100.0 };
    let is_factor = ratio(difference.change) >= FACTOR_FROM;
    let one = |change: f64| match is_factor {
        true => digits(ratio(change)),
        false => digits(change * sign),
    };
    let unit = if is_factor { "" } else { " %" };
    let interval = difference.interval.map(|Interval { low, high }| {
        let (a, b) = match more_is_better {
            true => (high, low),
            false => (low, high),
        };
        format!(" ({} to {}{unit})", one(a), one(b))
    });
    Amount {
        words: (
            format!("{}{unit}", one(difference.change)),
            interval.unwrap_or_default(),
        ),
        is_factor,
    }
}

/// Two digits at least, none that mean nothing: `0.4`, `5.3`, `41`.
fn digits(value: f64) -> String {
    let text = match value.abs() < 9.95 {
        true => format!("{value:.1}"),
        false => format!("{value:.0}"),
    };
    // What rounds to nothing has no sign.
    match text.as_str() {
        "-0.0" => "0.0".into(),
        _ => text.replace('-', "−"),
    }
}

/// A share as a percentage: `12 %`.
pub fn percent(share: f64) -> String {
    format!("{} %", digits(share * 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(title: &'static str, more_is_better: bool) -> Ranking {
        Ranking {
            name: String::new(),
            column: "",
            title,
            more_is_better,
            margin: 0.05,
            blocks: 3,
            noise: Some(0.05),
            tells_from: Some(0.1),
            places: Vec::new(),
            unread: None,
            apart: Vec::new(),
        }
    }

    #[test]
    fn differences_are_told_as_percentages_and_from_two_up_as_factors() {
        let told = |title, more, change, low, high| {
            let interval = Some(Interval { low, high });
            behind(&Difference { change, interval }, &ranking(title, more))
        };
        assert_eq!(
            told("CPU/request", false, 0.41, 0.28, 0.56),
            "needs 41 % more CPU per request (28 to 56 %)"
        );
        assert_eq!(
            told("p99", false, 53.0, 40.0, 69.0),
            "has 54 times the p99 (41 to 70)"
        );
        assert_eq!(
            told("requests/s", true, -0.33, -0.351, -0.052),
            "does 33 % fewer requests/s (5.2 to 35 %)"
        );
        assert_eq!(
            told("requests/s", true, -0.75, -0.8, -0.7),
            "does 4.0 times fewer requests/s (3.3 to 5.0)"
        );
    }

    #[test]
    fn the_least_difference_is_told_as_differences_are() {
        assert_eq!(least(0.12, true), "12 %");
        assert_eq!(least(0.6, false), "60 %");
        // The best does 2.5 times as much as who does 60 % less.
        assert_eq!(least(0.6, true), "a factor of 2.5");
        assert_eq!(least(1.39, false), "a factor of 2.4");
        assert_eq!(least(6.7e8, false), "a factor of more than 1000");
    }

    #[test]
    fn a_list_names_a_few() {
        let list = |n: usize| enumerated((0..n).map(|i| i.to_string()).collect());
        assert_eq!((list(1), list(2)), ("0".into(), "0 and 1".into()));
        assert_eq!(
            (list(4), list(6)),
            ("0, 1, 2 and 3".into(), "0, 1, 2 and 3 more".into())
        );
    }

    #[test]
    fn figures_have_their_units() {
        for (column, value, words) in [
            ("requests_per_s", 174_321.0, "174k"),
            ("server_cpu_us_per_request", 9.31, "9.31 µs"),
            ("response_p99_ns", 5e6, "5.00 ms"),
            ("server_memory_per_conn_bytes", 2048.0, "2.00 KiB"),
        ] {
            assert_eq!(figure(column, value), words);
        }
    }
}
