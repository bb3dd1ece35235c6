//! Which segments took how many sequence numbers.

use crate::lab::Line;
use crate::lab::tools::capture::Segment;

/// The segments from the first FIN on.
pub fn to_close(segments: &[Segment]) -> &[Segment] {
    let first = segments.iter().position(|s| s.flags.contains('F'));
    first.map_or(&[], |first| &segments[first..])
}

/// How many sequence numbers SYN, data and FIN took, the client's and the server's.
pub struct Numbers {
    /// By SYN.
    pub syn: [Option<u32>; 2],
    /// By data.
    pub data: [Option<u32>; 2],
    /// By FIN.
    pub fin: [Option<u32>; 2],
}

impl Numbers {
    /// What the peer acknowledged last, after each of them.
    pub fn of(segments: &[Segment]) -> Numbers {
        let of = |from_client: bool| {
            let own = |s: &&Segment| s.from_client == from_client;
            let fin = segments
                .iter()
                .filter(own)
                .find(|s| s.flags.contains('F'))?
                .sequence;
            let data = segments.iter().filter(own).find(|s| s.length > 0)?;
            let last = segments
                .iter()
                .filter(|s| !own(s))
                .map(|s| s.acknowledgement)
                .max()?;
            Some((
                data.sequence,
                fin.checked_sub(data.sequence)?,
                last.checked_sub(fin)?,
            ))
        };
        let both = [of(true), of(false)];
        Numbers {
            syn: both.map(|n| n.map(|n| n.0)),
            data: both.map(|n| n.map(|n| n.1)),
            fin: both.map(|n| n.map(|n| n.2)),
        }
    }

    /// A line of the table.
    pub fn line(
        &self,
        what: &str,
        expected: &str,
        found: [Option<u32>; 2],
        right: [u32; 2],
    ) -> Line {
        let words = found.map(|n| n.map_or("none seen".into(), |n| n.to_string()));
        Line::judged(
            format!("{what}, client and server"),
            expected,
            words.join(" and "),
            found == right.map(Some),
        )
    }
}
