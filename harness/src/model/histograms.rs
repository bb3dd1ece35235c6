//! The response times of trials, as they are kept: base64 of the V2 deflate encoding, the payload of an interval log's
//! line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::read::ZlibDecoder;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializeError, V2DeflateSerializer};
use loadgen::tally::blob::BlobError;
use loadgen::tally::buckets::Buckets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read};

/// Header of a packed histogram: cookie and length of what follows (HdrHistogram V2, big-endian).
const PACKED_COOKIE: u32 = 0x1c84_9304 | 0x10;
/// The longest histogram that is unpacked, bytes: beyond what [`Buckets::decode`] accepts, so that it is the one to refuse.
const MOST_UNPACKED: u64 = 512 * 1024;

/// Why a histogram cannot be packed or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum HistogramError {
    /// The encoder refuses it.
    #[error("cannot pack a histogram: {0}")]
    Pack(#[from] V2DeflateSerializeError),
    /// The text is not base64.
    #[error("not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// It has too few bytes for a header.
    #[error("{0} bytes are no histogram")]
    Short(usize),
    /// Its header does not say what follows.
    #[error("no packed histogram (V2 deflate), or one that was cut")]
    Header,
    /// It cannot be inflated.
    #[error("damaged histogram: {0}")]
    Inflate(#[from] io::Error),
    /// What was inflated is none.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

/// Packs a histogram.
///
/// # Errors
/// When the encoder refuses it.
pub fn packed(histogram: &Histogram<u64>) -> Result<String, HistogramError> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(histogram, &mut bytes)?;
    Ok(STANDARD.encode(bytes))
}

/// Unpacks a histogram, never to more than one of ours can take; the rest is checked as it is decoded.
///
/// # Errors
/// What is wrong with the text.
pub fn unpacked(payload: &str) -> Result<Buckets, HistogramError> {
    let packed = STANDARD.decode(payload)?;
    let (Some(header), Some(body)) = (packed.first_chunk::<8>(), packed.get(8..)) else {
        return Err(HistogramError::Short(packed.len()));
    };
    let [a, b, c, d, e, f, g, h] = *header;
    let (cookie, length) = (
        u32::from_be_bytes([a, b, c, d]),
        u32::from_be_bytes([e, f, g, h]),
    );
    if cookie != PACKED_COOKIE || length as usize != body.len() {
        return Err(HistogramError::Header);
    }
    let mut bytes = Vec::new();
    let mut reader = ZlibDecoder::new(body).take(MOST_UNPACKED);
    reader.read_to_end(&mut bytes)?;
    Ok(Buckets::decode(&bytes)?)
}

/// When a window was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// Its start, ns since the Unix epoch.
    pub start_unix_ns: u64,
    /// Its length, s.
    pub length_s: f64,
}

/// Response times by trial, each unpacked once.
#[derive(Debug, Clone, Default)]
pub struct Histograms(BTreeMap<u32, Recorded>);

/// A trial's response times.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// HdrHistogram V2 deflate, base64.
    pub packed: String,
    /// When they were measured.
    pub window: Window,
    /// From here on they are lower bounds, ns.
    pub censored_from_ns: Option<u64>,
    /// The same unpacked, ns.
    pub buckets: Buckets,
}

impl Recorded {
    /// Packed response times.
    ///
    /// # Errors
    /// When they cannot be unpacked.
    pub fn of(
        packed: &str,
        window: Window,
        censored_from_ns: Option<u64>,
    ) -> Result<Self, HistogramError> {
        Ok(Recorded {
            packed: packed.into(),
            window,
            censored_from_ns,
            buckets: unpacked(packed)?,
        })
    }
}

impl Histograms {
    /// Adds a trial's response times.
    ///
    /// # Errors
    /// When they are there already.
    pub fn insert(&mut self, trial: u32, recorded: Recorded) -> Result<(), String> {
        match self.0.insert(trial, recorded) {
            None => Ok(()),
            Some(_) => Err(format!("trial {trial} is there twice")),
        }
    }

    /// The response times of a trial, ns.
    pub fn get(&self, trial: u32) -> Option<&Buckets> {
        Some(&self.recorded(trial)?.buckets)
    }

    /// The same as it is kept.
    pub fn recorded(&self, trial: u32) -> Option<&Recorded> {
        self.0.get(&trial)
    }

    /// Leaves out the trials for which this is false.
    pub fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.0.retain(|trial, _| keep(*trial));
    }

    /// All of them, by trial.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Recorded)> {
        self.0.iter().map(|(trial, recorded)| (*trial, recorded))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    pub(crate) fn histogram() -> Histogram<u64> {
        let mut histogram = Histogram::new_with_bounds(
            1,
            loadgen::tally::latency::LATENCY_MAX_NS,
            loadgen::tally::latency::DIGITS,
        )
        .unwrap();
        (1..2000u64).for_each(|i| histogram.record(i * i).unwrap());
        histogram
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let text = packed(&histogram()).unwrap();
        assert!(text.starts_with("HISTFAAA"), "{text}");
        assert_eq!(unpacked(&text).unwrap(), Buckets::of(&histogram()));
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&vec![0; 50 << 20]).unwrap();
        let body = packer.finish().unwrap();
        let mut packed = PACKED_COOKIE.to_be_bytes().to_vec();
        packed.extend((body.len() as u32).to_be_bytes());
        packed.extend(body);
        let why = unpacked(&STANDARD.encode(packed)).unwrap_err().to_string();
        assert!(why.contains("524288 bytes are not a histogram"), "{why}");
    }

    proptest! {
        #[test]
        fn no_text_panics(payload in "HISTFAAA[A-Za-z0-9+/]{0,80}=?=?") {
            prop_assert!(unpacked(&payload).is_err());
        }
    }
}
