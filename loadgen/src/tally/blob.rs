//! Histograms as text: base64 of the uncompressed V2 encoding.
//!
//! A blob read from a file is checked before the hdrhistogram crate sees it: its
//! decoder believes the header, and 40 hostile bytes make it allocate 1.1 GiB.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{DeserializeError, Deserializer, Serializer, V2Serializer};

use super::latency::{DIGITS, LATENCY_MAX_NS};

/// The header's length: cookie, payload length, offset, digits (4 bytes each),
/// lowest, highest value and ratio (8 bytes each); big-endian.
pub(super) const HEADER: usize = 40;

/// V2 with the word size that the format requires (0x10).
const V2_COOKIE: u32 = 0x1c84_9303 | 0x10;

/// The longest blob accepted. With this layout there are 29 000 buckets of at
/// most 9 bytes each.
const MAX_LENGTH: usize = 320 * 1024;

/// Samples of one value at most: those of all buckets of all segments together are still counted in 64 bits.
pub(super) const MOST_SAMPLES: u64 = 1 << 32;

/// Why a text is no histogram of ours.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// It has more characters than the largest of ours.
    #[error("a histogram of {0} characters is longer than any of ours")]
    TooLong(usize),
    /// It is not base64.
    #[error("not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    /// It has too few or too many bytes.
    #[error("{0} bytes are not a histogram")]
    NoHistogram(usize),
    /// A field of its header is not as [`encode`] writes it.
    #[error("histogram {what} is {found}, not {wanted}")]
    Header {
        /// Which field.
        what: &'static str,
        /// What stands there.
        found: u64,
        /// What had to.
        wanted: u64,
    },
    /// The counts behind the header are none.
    #[error("damaged histogram: {0}")]
    Damaged(#[from] DeserializeError),
    /// The counts behind the header end inside one, or are more than there are buckets.
    #[error("damaged histogram: its counts {0}")]
    Counts(&'static str),
    /// A count that no run reaches.
    #[error("damaged histogram: more samples than any run makes")]
    TooManySamples,
}

/// Encodes a histogram.
#[must_use]
pub fn encode(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    // Writing to memory cannot fail, and counts stay below the format's 2^63.
    match V2Serializer::new().serialize(histogram, &mut bytes) {
        Ok(_) => STANDARD.encode(bytes),
        Err(_) => String::new(),
    }
}

/// Decodes a histogram of exactly the layout that [`encode`] writes.
///
/// # Errors
/// What is wrong with the text.
pub fn decode(text: &str) -> Result<Histogram<u64>, BlobError> {
    if text.len() > MAX_LENGTH * 4 / 3 {
        return Err(BlobError::TooLong(text.len()));
    }
    decode_bytes(&STANDARD.decode(text)?)
}

/// The same without the base64.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode_bytes(bytes: &[u8]) -> Result<Histogram<u64>, BlobError> {
    check_header(bytes)?;
    let histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..])?;
    let largest = histogram
        .iter_recorded()
        .map(|step| step.count_at_value())
        .max();
    if largest.is_some_and(|count| count > MOST_SAMPLES) {
        return Err(BlobError::TooManySamples);
    }
    Ok(histogram)
}

/// Whether the header is as [`encode`] writes it.
pub(super) fn check_header(bytes: &[u8]) -> Result<(), BlobError> {
    let (Some(header), true) = (bytes.first_chunk::<HEADER>(), bytes.len() <= MAX_LENGTH) else {
        return Err(BlobError::NoHistogram(bytes.len()));
    };
    let (words, _) = header.as_chunks::<4>();
    let word = |index: usize| u32::from_be_bytes(words[index]);
    let long = |index: usize| (u64::from(word(index)) << 32) | u64::from(word(index + 1));
    let expected = [
        ("cookie", u64::from(word(0)), u64::from(V2_COOKIE)),
        (
            "payload length",
            u64::from(word(1)),
            (bytes.len() - HEADER) as u64,
        ),
        ("offset", u64::from(word(2)), 0),
        ("digits", u64::from(word(3)), u64::from(DIGITS)),
        ("lowest value", long(4), 1),
        ("highest value", long(6), LATENCY_MAX_NS),
        ("ratio", long(8), 1f64.to_bits()),
    ];
    match expected.iter().find(|(_, found, wanted)| found != wanted) {
        Some(&(what, found, wanted)) => Err(BlobError::Header {
            what,
            found,
            wanted,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tally::latency::new_histogram;

    fn hostile() -> Vec<u8> {
        let mut header = Vec::new();
        for word in [V2_COOKIE, 0x4000_0000, 0, 5] {
            header.extend_from_slice(&word.to_be_bytes());
        }
        for long in [1, u64::MAX, 0] {
            header.extend_from_slice(&u64::to_be_bytes(long));
        }
        header
    }

    #[test]
    fn a_hostile_header_is_refused_undecoded() {
        let error = decode(&STANDARD.encode(hostile())).expect_err("refused");
        assert!(error.to_string().contains("payload length"), "{error}");
        assert!(
            decode("").is_err()
                && decode("%%%").is_err()
                && decode(&"A".repeat(10_000_000)).is_err()
        );
    }

    #[test]
    fn another_layout_is_refused() {
        let other = Histogram::<u64>::new_with_bounds(1, 1_000_000, 2).expect("valid bounds");
        assert!(decode(&encode(&other)).is_err());
    }

    proptest! {
        #[test]
        fn histograms_survive(values in proptest::collection::vec(1..=LATENCY_MAX_NS, 0..200)) {
            let mut histogram = new_histogram();
            values.iter().for_each(|value| histogram.saturating_record(*value));
            prop_assert_eq!(decode(&encode(&histogram)).expect("ours"), histogram);
        }

        #[test]
        fn damage_is_an_error_or_another_histogram(at in any::<prop::sample::Index>(), flip in 1u8.., cut in 0usize..40) {
            let mut histogram = new_histogram();
            (1..500u64).for_each(|value| histogram.saturating_record(value * value * 997));
            let mut bytes = STANDARD.decode(encode(&histogram)).expect("base64");
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            bytes.truncate(bytes.len() - cut);
            if let Ok(decoded) = decode(&STANDARD.encode(&bytes)) {
                prop_assert_ne!(decoded, histogram);
            }
        }
    }
}
