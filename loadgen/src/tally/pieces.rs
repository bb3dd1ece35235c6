//! Outcomes as lines of a log, and back: what a fleet's hosts leave where they share no folder.
//!
//! A line is `tenk-outcome PLAN SEGMENT CHECK PIECE BASE64`: the plan's digest, the segment as `i/N`, the beginning of
//! the SHA-256 of the outcome, the piece as `k/M`, and that piece of the deflated outcome. Lines are short enough for
//! launchers that cut longer ones (`srun` at 1 KiB), whatever they put in front of them; their order does not matter.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use hmac_sha256::Hash as Sha256;

use super::outcome::{Outcome, read};
use crate::load::Segment;

/// The word that a line begins with, wherever in its line it stands.
const MARK: &str = "tenk-outcome ";

/// The most characters of base64 in a line: with the rest it stays below 900 bytes.
const PIECE: usize = 720;

/// The most bytes of an outcome, unpacked.
const MOST_BYTES: u64 = 256 << 20;

/// The most pieces of an outcome: 256 MB that deflate to nothing better.
const MOST_PIECES: usize = 500_000;

/// An outcome as lines.
#[must_use]
pub fn lines(outcome: &Outcome) -> Vec<String> {
    let text = serde_json::to_vec(outcome).unwrap_or_default();
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    let packed = encoder.write_all(&text).and_then(|()| encoder.finish());
    let encoded = STANDARD.encode(packed.unwrap_or_default());
    let plan = outcome.load.plan_digest.as_deref().unwrap_or("none");
    let (segment, check) = (outcome.load.segment, check_of(&text));
    let pieces: Vec<&[u8]> = encoded.as_bytes().chunks(PIECE).collect();
    let line = |(index, piece): (usize, &&[u8])| {
        let piece = String::from_utf8_lossy(piece);
        let count = pieces.len();
        format!(
            "{MARK}{plan} {segment} {check} {}/{count} {piece}",
            index + 1
        )
    };
    pieces.iter().enumerate().map(line).collect()
}

fn check_of(text: &[u8]) -> String {
    let digest = Sha256::hash(text);
    digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// What one line says.
struct Piece<'a> {
    plan: &'a str,
    segment: Segment,
    check: &'a str,
    number: usize,
    count: usize,
    text: &'a str,
}

impl<'a> Piece<'a> {
    /// The piece of a line, if it has one; what a cut line has left of it is none.
    fn of(line: &'a str) -> Option<Self> {
        let at = line.find(MARK)?;
        let mut words = line[at + MARK.len()..].split_whitespace();
        let (plan, segment, check) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
        let (number, count) = words.next()?.split_once('/')?;
        let (number, count) = (number.parse().ok()?, count.parse().ok()?);
        let text = words.next()?;
        let is_sound = (1..=count).contains(&number)
            && count <= MOST_PIECES
            && check.len() == 16
            && (number == count || text.len() == PIECE)
            && text.len() <= PIECE;
        is_sound.then_some(Self {
            plan,
            segment,
            check,
            number,
            count,
            text,
        })
    }
}

/// Which outcome a piece is of: plan, segment (as numbers, so that they are in order) and check.
type Key = (String, (u32, u32), String);

/// Outcomes that come in pieces.
#[derive(Debug, Default)]
pub struct Gathered {
    /// By outcome: how many pieces it has, and those that came.
    parts: BTreeMap<Key, (usize, BTreeMap<usize, String>)>,
    /// Lines of ours.
    taken: u64,
    /// Lines that said what another had said.
    repeated: u64,
    /// Lines that contradict another, in words.
    faults: Vec<String>,
}

/// What was gathered.
#[derive(Debug, Default)]
pub struct Found {
    /// The outcomes that are whole.
    pub outcomes: Vec<Outcome>,
    /// What is wrong with the others, a sentence each.
    pub faults: Vec<String>,
    /// How many lines said what another had said.
    pub repeated: u64,
}

impl Gathered {
    /// Takes in a line of a log, whatever it is.
    pub fn take(&mut self, line: &str) {
        let Some(piece) = Piece::of(line) else { return };
        self.taken += 1;
        let Segment { index, count } = piece.segment;
        let key = (piece.plan.into(), (count, index), piece.check.into());
        let (pieces, parts) = self
            .parts
            .entry(key)
            .or_insert_with(|| (piece.count, BTreeMap::new()));
        let same = parts
            .get(&piece.number)
            .is_none_or(|known| known == piece.text);
        if !same || *pieces != piece.count {
            let (segment, number) = (piece.segment, piece.number);
            self.faults.push(format!(
                "segment {segment}, piece {number}: two lines say different things"
            ));
        } else if parts.insert(piece.number, piece.text.into()).is_some() {
            self.repeated += 1;
        }
    }

    /// How many lines of ours there were.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Puts the pieces together.
    #[must_use]
    pub fn finish(self) -> Found {
        let mut found = Found {
            repeated: self.repeated,
            faults: self.faults,
            ..Found::default()
        };
        for ((_, (count, index), check), (pieces, parts)) in self.parts {
            let segment = Segment { index, count };
            match whole(pieces, &parts, &check) {
                Ok(outcome) if outcome.load.segment == segment => found.outcomes.push(outcome),
                Ok(_) => found
                    .faults
                    .push(format!("segment {segment}: its lines are of another one")),
                Err(why) => found.faults.push(format!("segment {segment}: {why}")),
            }
        }
        found
    }
}

fn whole(pieces: usize, parts: &BTreeMap<usize, String>, check: &str) -> Result<Outcome, String> {
    if parts.len() < pieces {
        let missing = (1..=pieces)
            .find(|number| !parts.contains_key(number))
            .unwrap_or(0);
        let (held, missing_all) = (parts.len(), pieces - parts.len());
        return Err(format!(
            "{missing_all} of {pieces} lines are missing, number {missing} first ({held} are there)"
        ));
    }
    let encoded: String = parts.values().map(String::as_str).collect();
    let packed = STANDARD
        .decode(encoded)
        .map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    let unpacked = ZlibDecoder::new(&packed[..])
        .take(MOST_BYTES)
        .read_to_end(&mut text);
    unpacked.map_err(|error| error.to_string())?;
    if check_of(&text) != check {
        return Err("its lines do not add up to what was sent".into());
    }
    read(&text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::Load;
    use crate::load::flags::{LoadFlags, RunFlags, ShapeFlags};
    use crate::tally::latency::Latency;
    use crate::tally::second::second_of;

    fn outcome(index: u32, seconds: u64) -> Outcome {
        let run = RunFlags {
            segment: Some(Segment { index, count: 4 }),
            seed: Some(1),
            ..RunFlags::default()
        };
        let load = Load::new(
            "127.0.0.1:1",
            &ShapeFlags::default(),
            &LoadFlags::default(),
            &run,
        )
        .expect("a load");
        let mut outcome = Outcome::of_nothing(load);
        for second in 0..seconds {
            let mut latency = Latency::default();
            (0..200).for_each(|n| {
                latency.record(crate::base::hash::mix(second * 1000 + n) % 1_000_000)
            });
            outcome.series.push(second_of(second, &latency, 0));
        }
        outcome
    }

    #[test]
    fn lines_are_short_and_prefixes_do_not_matter() {
        let outcome = outcome(1, 5);
        let lines = lines(&outcome);
        assert!(lines.len() > 3 && lines.iter().all(|line| line.len() < 900));
        let mut gathered = Gathered::default();
        gathered.take("something else entirely");
        for line in lines.iter().rev() {
            gathered.take(&format!("2026-11-27T20:00:00Z 1: {line}\r"));
        }
        gathered.take(&lines[0]);
        let found = gathered.finish();
        assert_eq!((found.outcomes, found.repeated), (vec![outcome], 1));
        assert!(found.faults.is_empty(), "{:?}", found.faults);
    }

    #[test]
    fn what_is_missing_or_changed_is_said() {
        let lines = lines(&outcome(1, 5));
        let gather = |lines: &[String]| {
            let mut gathered = Gathered::default();
            lines.iter().for_each(|line| gathered.take(line));
            gathered.finish()
        };
        let found = gather(&lines[1..]);
        assert!(found.outcomes.is_empty());
        assert!(
            found.faults[0].starts_with("segment 1/4: 1 of "),
            "{:?}",
            found.faults
        );
        let mut changed = lines.clone();
        let last = changed[0].pop().expect("a letter");
        changed[0].push(if last == 'A' { 'B' } else { 'A' });
        assert!(gather(&changed).outcomes.is_empty());
        let both = [lines.clone(), changed].concat();
        let found = gather(&both);
        assert!(
            found.faults.iter().any(|fault| fault.contains("different")),
            "{:?}",
            found.faults
        );
        // A line that was cut is none.
        let cut = lines[0][..300].to_owned();
        assert!(
            !gather(&[vec![cut], lines[1..].to_vec()].concat())
                .faults
                .is_empty()
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_order_of_any_shards_gives_them_back(order in any::<u64>(), doubled in any::<bool>()) {
            let shards: Vec<Outcome> = (0..4).map(|index| outcome(index, u64::from(index))).collect();
            let mut all: Vec<String> = shards.iter().flat_map(lines).collect();
            if doubled {
                all.extend(all.clone());
            }
            fastrand::Rng::with_seed(order).shuffle(&mut all);
            let mut gathered = Gathered::default();
            all.iter().for_each(|line| gathered.take(line));
            let found = gathered.finish();
            prop_assert_eq!(found.outcomes, shards);
            prop_assert_eq!(found.repeated > 0, doubled);
        }

        #[test]
        fn no_line_is_too_odd(line in "(tenk-outcome )?\\PC{0,80}") {
            let mut gathered = Gathered::default();
            gathered.take(&line);
            let _ = gathered.finish();
        }
    }
}
