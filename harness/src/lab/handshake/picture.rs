//! Segments as lines of the table, and as a picture.

use crate::base::unit::Unit;
use crate::lab::Line;
use crate::lab::tools::capture::Segment;
use crate::lab::tools::draw;
use crate::render::chart::{Chart, canvas::Scale};

/// A segment as a line of the table.
pub fn shown(number: usize, segment: &Segment) -> Line {
    let way = if segment.from_client {
        "client → server"
    } else {
        "server → client"
    };
    let mut words = format!("{way}: {}, seq {}", segment.flags, segment.sequence);
    if segment.flags.contains('A') {
        words.push_str(&format!(", ack {}", segment.acknowledgement));
    }
    if segment.length > 0 {
        words.push_str(&format!(", {} bytes", segment.length));
    }
    Line::shown(format!("segment {number} (closed at once)"), "", words)
}

/// The numbers of one connection, segment by segment.
pub fn chart(segments: &[Segment]) -> Option<Chart> {
    let of = |from_client: bool| {
        let all = segments
            .iter()
            .enumerate()
            .filter(|(_, s)| s.from_client == from_client);
        all.map(|(n, s)| (n as f64 + 1.0, f64::from(s.sequence)))
            .collect::<Vec<_>>()
    };
    draw::lines(
        "handshake",
        draw::texts(
            "The sequence number of every segment of one connection",
            "10 bytes there and 10 back; the server closes 0.4 s after the client",
            "A number is the next byte's: it moves on by 1 after a SYN, by 10 after the data, by 1 after a FIN.",
        ),
        ("segment", Scale::Linear, Unit::Count),
        ("relative sequence number", Scale::Linear, Unit::Count),
        vec![
            ("client's".into(), of(true)),
            ("server's".into(), of(false)),
        ],
    )
}
