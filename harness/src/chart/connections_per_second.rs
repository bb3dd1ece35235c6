//! Connections served per second: over the ramp when they are long-lived, over the window when they are short-lived.

use super::canvas::{Drawn, Texts};
use super::{Chart, by_connections, conditions, count, trials_caption};
use crate::row::Row;

pub fn draw(rows: &[Row]) -> Drawn<Option<Chart>> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let when = match first.requests_per_conn {
        Some(_) => "Connected, served and closed, over the window.",
        None => "From the first connect to the last first reply: how fast the ramp went.",
    };
    let texts = Texts {
        title: "Connections served per second".into(),
        subtitle: conditions(first, None),
        caption: vec![format!("{when} {}", trials_caption(rows))],
    };
    by_connections(
        "connections-per-second",
        rows,
        texts,
        "connections/s",
        |row| row.conns_per_s,
        count,
    )
}
