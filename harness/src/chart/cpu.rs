//! CPU time of the server and its children per request.

use super::canvas::{Drawn, Texts};
use super::{Chart, by_connections, conditions, duration, trials_caption};
use crate::row::Row;

pub fn draw(rows: &[Row]) -> Drawn<Option<Chart>> {
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let texts = Texts {
        title: "Server CPU time per request".into(),
        subtitle: conditions(first, None),
        caption: vec![format!(
            "User and system time, children included; on loopback the sender also pays for the receive path. {}",
            trials_caption(rows)
        )],
    };
    let ns = |row: &Row| row.server_cpu_us_per_request.map(|us| us * 1e3);
    by_connections(
        "cpu-per-request",
        rows,
        texts,
        "CPU per request",
        ns,
        duration,
    )
}
