//! Figures out of the trials that a lab has made.

use super::draw;
use crate::analysis::summary;
use crate::base::unit::Unit;
use crate::lab::Place;
use crate::lab::finding::Finding;
use crate::lab::trouble::Trouble;
use crate::model::row::Row;
use crate::render::chart::Chart;
use crate::render::chart::canvas::Scale;

/// Makes trials with these flags of a run, written as a person would.
pub fn trials(place: &Place, flags: &str, and: &str) -> Result<Vec<Row>, Trouble> {
    place.trials(&[words(flags), words(and)].concat())
}

/// Flags as a person writes them.
pub fn words(flags: &str) -> Vec<&str> {
    flags.split_whitespace().collect()
}

/// A figure that no trial gave, and why: the lab is then not judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(String);

impl Missing {
    /// What was not measured, in a sentence's words.
    pub fn of(why: impl Into<String>) -> Missing {
        Missing(why.into())
    }
}

impl From<Missing> for Finding {
    fn from(Missing(why): Missing) -> Finding {
        let remedy = "run the lab again when the machine has less else to do; `tenk doctor` says what stands in the way";
        Finding::not_judged(Vec::new(), why, remedy)
    }
}

/// The median of a figure over the trials of an arm with these active and idle connections; or why there is none.
pub fn figure(
    rows: &[Row],
    arm: &str,
    (conns, idle): (u64, u64),
    of: impl Fn(&Row) -> Option<f64>,
) -> Result<f64, Missing> {
    let trials = rows
        .iter()
        .filter(|row| row.arm == arm && (row.conns, row.idle) == (conns, idle));
    let usable = trials.clone().filter(|row| row.is_usable());
    let mut found: Vec<f64> = usable.filter_map(of).filter(|v| v.is_finite()).collect();
    found.sort_by(f64::total_cmp);
    summary::median(&found).ok_or_else(|| {
        let size = conns + idle;
        let reasons = trials.map(|row| String::from(row.reasons.clone()));
        let reasons: Vec<String> = reasons.filter(|reason| !reason.is_empty()).collect();
        Missing(match reasons.is_empty() {
            true => format!("{arm} with {size} connections was not measured"),
            false => format!(
                "{arm} with {size} connections gave no figure: {}",
                reasons.join("; ")
            ),
        })
    })
}

/// The median of some figures; no number where there are none.
pub fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    summary::median(&figures).unwrap_or(f64::NAN)
}

/// A line of a chart: a figure of every usable trial of an arm, by another.
pub fn curve(
    rows: &[Row],
    arm: &str,
    x: impl Fn(&Row) -> u64,
    y: impl Fn(&Row) -> Option<f64>,
) -> (String, Vec<(f64, f64)>) {
    let own = rows.iter().filter(|row| row.arm == arm && row.is_usable());
    let mut points: Vec<(f64, f64)> = own
        .filter_map(|row| Some((x(row) as f64, y(row)?)))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    (arm.to_string(), points)
}

/// CPU of the server per request, ns.
pub fn cpu_ns(row: &Row) -> Option<f64> {
    row.server_cpu_us_per_request.map(|us| us * 1e3)
}

/// A chart of the CPU per request by a column of the rows, a line for each arm.
pub fn cpu_chart(
    rows: &[Row],
    arms: &[&str],
    by: &str,
    column: impl Fn(&Row) -> u64,
) -> Option<Chart> {
    let texts = draw::texts(
        &format!("CPU per request by {by}"),
        "server, closed loop",
        "",
    );
    let (x, y) = (
        (by, Scale::Log, Unit::Count),
        ("CPU per request", Scale::Log, Unit::Duration),
    );
    let series = arms.iter().map(|arm| curve(rows, arm, &column, cpu_ns));
    draw::lines("cpu-per-request", texts, x, y, series.collect())
}

/// A row as a trial makes it, for tests of judges.
#[cfg(test)]
pub fn row(arm: &str, (conns, idle): (u64, u64), cpu_us: f64) -> Row {
    Row {
        arm: arm.into(),
        model: arm.split(':').next().unwrap_or(arm).into(),
        conns,
        idle,
        conns_served: Some(conns + idle),
        requests_completed: Some(10_000),
        server_cpu_us_per_request: Some(cpu_us),
        wakeups_per_request: Some(1.0),
        ..Row::blank()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::not_judged;
    use crate::model::row::{Reason, Reasons, Verdict};

    #[test]
    fn a_figure_is_the_median_of_what_may_be_believed() {
        let rows = [3.0, 900.0, 5.0, 4.0].map(|us| Row {
            verdict: match us > 100.0 {
                true => Verdict::Invalid,
                false => Verdict::Valid,
            },
            ..row("poll", (1, 100), us)
        });
        let cpu = |row: &Row| row.server_cpu_us_per_request;
        assert_eq!(figure(&rows, "poll", (1, 100), cpu), Ok(4.0));
        assert!(figure(&rows, "poll", (1, 200), cpu).is_err());
    }

    #[test]
    fn why_there_is_no_figure_is_said() {
        let reason = Reason {
            code: "W05".into(),
            text: "EMFILE".into(),
        };
        let rows = [Row {
            verdict: Verdict::Invalid,
            reasons: Reasons(vec![reason]),
            ..row("poll", (1, 100), 3.0)
        }];
        let missing = figure(&rows, "poll", (1, 100), |row| row.requests_per_s).unwrap_err();
        let why = not_judged(&missing.into()).to_string();
        assert!(
            why.contains("poll with 101 connections") && why.contains("W05 EMFILE"),
            "{why}"
        );
    }
}
