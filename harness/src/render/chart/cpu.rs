//! CPU time of the server and its children per request: by connections, and divided into user and system time.

use super::canvas::{Axis, Point, Scale, Texts};
use super::panel::{Along, Panel};
use super::{Chart, Measure, Plot};
use crate::analysis::summary::Cell;
use crate::base::unit::Unit;
use crate::model::metrics::CPU_PER_REQUEST;
use crate::model::row::Row;

/// Who pays for what on loopback.
const LOOPBACK: &str = "On loopback the sender also pays for the receive path.";

/// The whole by connections, for panels that have several sizes.
pub fn draw(panel: &Panel) -> Option<Chart> {
    if panel.along == Along::Nothing {
        return None;
    }
    let texts = Texts {
        title: "Server CPU time per request".into(),
        subtitle: panel.conditions(),
        caption: panel.captions(&format!("Children included. {LOOPBACK}")),
    };
    let measure = Measure {
        name: "cpu-per-request",
        metric: CPU_PER_REQUEST,
        scale: Scale::Linear,
        shade: None,
    };
    measure.draw(panel, texts)
}

/// One bar per arm, the user part strong: a panel of one workload.
pub fn draw_split(panel: &Panel) -> Option<Chart> {
    let series = panel.series(|cell| split(panel, cell));
    let values = || series.iter().flat_map(|s| &s.points);
    let highest = values().flat_map(|p| [p.y, p.range.map_or(p.y, |(_, high)| high)]);
    let value = Axis::over(
        "CPU per request: user (strong), system (light)",
        Scale::Linear,
        highest,
        Unit::Duration,
    );
    (!series.is_empty()).then(|| Chart {
        name: format!("cpu-user-system{}", panel.suffix),
        texts: Texts {
            title: "Server CPU time per request, user and system".into(),
            subtitle: panel.conditions(),
            caption: panel.captions(&format!(
                "The division is sampled at clock ticks. {LOOPBACK}"
            )),
        },
        plot: Plot::Bars { value, series },
        table: None,
    })
}

fn split(panel: &Panel, cell: &Cell) -> Option<Point> {
    let mut point = panel.point(cell, cpu_ns)?;
    let user = panel.point(cell, user_share)?.y;
    point.part = Some(point.y * user);
    let share = format!("{:.0} % user", user * 100.0);
    point.note = Some(match point.note {
        Some(note) => format!("{share}, {note}"),
        None => share,
    });
    Some(point)
}

fn cpu_ns(row: &Row) -> Option<f64> {
    row.server_cpu_us_per_request.map(|us| us * 1e3)
}

fn user_share(row: &Row) -> Option<f64> {
    let (user, system) = (row.server_user_s?, row.server_system_s?);
    (user + system > 0.0).then(|| user / (user + system))
}
