//! Connections served per second: over the ramp when they are long-lived, over the window when they are short-lived.

use super::canvas::{Scale, Texts};
use super::panel::{Along, Panel};
use super::{Chart, Measure};
use crate::model::metrics::{CONNECTIONS, Metric};
use crate::model::row::{Row, Status};

/// A shorter ramp is over before the server is: its pace is the generator's.
const SHORTEST_RAMP_S: f64 = 0.1;

pub fn draw(panel: &Panel) -> Option<Chart> {
    if panel.along == Along::Rate && panel.row().requests_per_conn.is_none() {
        // The ramp is over before there is a rate.
        return None;
    }
    let when = match panel.row().requests_per_conn {
        Some(_) => "Connected, served and closed, over the window.",
        None => {
            "From the first connect to the last first reply; of all that were asked for. Ramps of less than 100 ms \
             are left out: they show the generator's pace."
        }
    };
    let texts = Texts {
        title: "Connections served per second".into(),
        subtitle: panel.conditions(),
        caption: panel.captions(when),
    };
    let measure = Measure {
        name: "connections-per-second",
        metric: Metric {
            of: pace,
            ..CONNECTIONS
        },
        scale: Scale::Linear,
        shade: None,
    };
    let chart = measure.draw(panel, texts)?;
    // Where all others were too quick, one alone would look like the only one.
    let several = panel.cells.iter().any(|c| c.arm != panel.cells[0].arm);
    (!several || chart.arms() > 1).then_some(chart)
}

/// Connections served per second, where that is a figure of the server's.
fn pace(row: &Row) -> Option<f64> {
    let per_s = row.conns_per_s?;
    let served = row.conns_served? as f64;
    let whole = row.status == Status::Ok && served >= per_s * SHORTEST_RAMP_S;
    (row.requests_per_conn.is_some() || whole).then_some(per_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_that_is_over_at_once_has_no_pace() {
        let row = |served, per_s, requests_per_conn| Row {
            conns_served: Some(served),
            conns_per_s: Some(per_s),
            requests_per_conn,
            ..Row::blank()
        };
        assert_eq!(pace(&row(50, 6600.0, None)), None);
        assert_eq!(pace(&row(1000, 6600.0, None)), Some(6600.0));
        assert_eq!(pace(&row(50, 6600.0, Some(1))), Some(6600.0));
        let starved = Row {
            status: Status::Starved,
            ..row(1000, 6600.0, None)
        };
        assert_eq!(pace(&starved), None, "its last connection was never served");
    }
}
