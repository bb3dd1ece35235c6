//! What the generator itself can do on this machine, against a server that does nothing: beyond it no server is seen.

use super::canvas::Shade;
use crate::model::row::Row;
use loadgen::tally::outcome::Floor;

/// The most requests per second, where the floor was measured under such a load; a load at a rate of its own may lie far
/// below it, and a chart that held both would show neither.
pub fn ceiling(floor: Option<&Floor>, row: &Row) -> Option<Shade> {
    let floor = floor.filter(|_| is_like_the_floors(row) && row.rate_per_s.is_none())?;
    Some(Shade {
        from: floor.requests_per_s,
        above: true,
        label: "above the generator's own ceiling: 50 connections to a null server".into(),
    })
}

/// The shortest response time: the median, or the 99th percentile.
pub fn floor(floor: Option<&Floor>, row: &Row, of: fn(&Floor) -> u64) -> Option<Shade> {
    let floor = floor.filter(|_| is_like_the_floors(row))?;
    Some(Shade {
        from: of(floor) as f64,
        above: false,
        label: "below the generator's own floor: one connection to a null server".into(),
    })
}

/// The floor is measured with one request of 64 bytes in flight on long-lived connections.
fn is_like_the_floors(row: &Row) -> bool {
    row.protocol == "echo"
        && row.payload_bytes == 64
        && row.pipeline == 1
        && row.requests_per_conn.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_load_like_the_floors_is_shaded() {
        let known = Floor {
            response_p50_ns: 12_000,
            response_p99_ns: 30_000,
            requests_per_s: 2e5,
            measured_unix_ns: 0,
        };
        let row = |payload_bytes| Row {
            protocol: "echo".into(),
            payload_bytes,
            pipeline: 1,
            ..Row::blank()
        };
        assert_eq!(ceiling(Some(&known), &row(64)).unwrap().from, 2e5);
        let shade = floor(Some(&known), &row(64), |f| f.response_p99_ns).unwrap();
        assert_eq!((shade.from, shade.above), (30_000.0, false));
        assert_eq!(ceiling(Some(&known), &row(1000)), None);
        let paced = Row {
            rate_per_s: Some(500.0),
            ..row(64)
        };
        assert_eq!(ceiling(Some(&known), &paced), None);
        assert!(floor(Some(&known), &paced, |f| f.response_p50_ns).is_some());
        assert_eq!(ceiling(None, &row(64)), None);
    }
}
