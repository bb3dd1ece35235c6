//! Requests completed per second by connections.

use super::canvas::{Drawn, Texts};
use super::{Chart, by_connections, conditions, count, trials_caption};
use crate::row::Row;

pub fn draw(rows: &[Row]) -> Drawn<Option<Chart>> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let texts = Texts {
        title: "Requests completed per second".into(),
        subtitle: conditions(first, None),
        caption: vec![trials_caption(rows)],
    };
    by_connections(
        "requests-per-second",
        rows,
        texts,
        "requests/s",
        |row| row.requests_per_s,
        count,
    )
}
