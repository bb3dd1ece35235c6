//! The echo payload: bytes that say which connection and request they belong to.
//!
//! Word `i` of a payload is `key + i·φ`, where the key is a bijection of
//! (connection, sequence): from 8 bytes up no two requests share a payload, so
//! swapped, reordered, stale and damaged answers are all seen.

use super::{Framing, Received, RequestId, match_piece};
use crate::base::hash::mix;
use crate::load::PayloadSize;

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Payloads of one load.
#[derive(Clone, Copy, Debug)]
pub struct Payload {
    size: PayloadSize,
    seed: u64,
}

impl Payload {
    /// Payloads of these sizes; which request has which size depends on the seed.
    #[must_use]
    pub fn new(size: PayloadSize, seed: u64) -> Self {
        Self { size, seed }
    }

    /// Length of this request's payload in bytes, uniform between the two sizes.
    #[must_use]
    pub fn len(&self, id: RequestId) -> u32 {
        let span = u64::from(self.size.max - self.size.min) + 1;
        if span == 1 {
            return self.size.min;
        }
        // Multiply-shift maps 32 random bits onto the span (Lemire, TOMACS 2019).
        let random = mix(self.seed ^ key(id)) >> 32;
        self.size.min + ((random * span) >> 32) as u32
    }

    /// Writes the payload from `offset` on into `out` and returns how many bytes that took.
    pub fn fill(&self, id: RequestId, offset: u32, out: &mut [u8]) -> usize {
        let length = ((self.len(id) - offset) as usize).min(out.len());
        Words::new(id, offset).write(&mut out[..length]);
        length
    }

    /// Compares a piece of an answer with the payload.
    pub fn receive(&self, framing: &mut Framing, id: RequestId, input: &[u8]) -> Received {
        match_piece(
            framing,
            self.len(id) as usize,
            input,
            |from, piece| Words::new(id, from as u32).same(piece),
            |from, out| self.fill(id, from as u32, out),
        )
    }
}

/// The payload as a sequence of little-endian words, from some offset on.
struct Words {
    word: u64,
    skip: usize,
}

impl Words {
    fn new(id: RequestId, offset: u32) -> Self {
        let index = u64::from(offset / 8);
        Self {
            word: key(id).wrapping_add(index.wrapping_mul(STEP)),
            skip: (offset % 8) as usize,
        }
    }

    fn next_word(&mut self) -> [u8; 8] {
        let bytes = self.word.to_le_bytes();
        self.word = self.word.wrapping_add(STEP);
        bytes
    }

    fn same(&mut self, mut piece: &[u8]) -> bool {
        if self.skip > 0 {
            let skip = std::mem::take(&mut self.skip);
            let word = self.next_word();
            let (head, rest) = piece.split_at((8 - skip).min(piece.len()));
            if *head != word[skip..skip + head.len()] {
                return false;
            }
            piece = rest;
        }
        let (whole, tail) = piece.as_chunks::<8>();
        let equal = whole.iter().all(|chunk| *chunk == self.next_word());
        equal && *tail == self.next_word()[..tail.len()]
    }

    fn write(&mut self, mut out: &mut [u8]) {
        while !out.is_empty() {
            let skip = std::mem::take(&mut self.skip);
            let word = self.next_word();
            let (head, rest) = out.split_at_mut((8 - skip).min(out.len()));
            head.copy_from_slice(&word[skip..skip + head.len()]);
            out = rest;
        }
    }
}

fn key(id: RequestId) -> u64 {
    // Sequences repeat after 2^32 requests on one connection, hours apart.
    mix((u64::from(id.connection) << 32) | (id.sequence & 0xffff_ffff))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(connection: u32, sequence: u64) -> RequestId {
        RequestId {
            connection,
            sequence,
            last: false,
        }
    }

    fn bytes_of(payload: Payload, id: RequestId) -> Vec<u8> {
        let mut bytes = vec![0; payload.len(id) as usize];
        assert_eq!(payload.fill(id, 0, &mut bytes), bytes.len());
        bytes
    }

    #[test]
    fn another_connections_or_requests_bytes_are_a_mismatch() {
        let payload = Payload::new(PayloadSize { min: 8, max: 8 }, 1);
        let own = bytes_of(payload, id(3, 7));
        assert_eq!(
            payload.receive(&mut Framing::default(), id(3, 7), &own),
            Received::Done {
                consumed: 8,
                ok: true,
                closes: false
            }
        );
        for other in [id(4, 7), id(3, 8), id(7, 3)] {
            assert_eq!(
                payload.receive(&mut Framing::default(), other, &own),
                Received::Mismatch
            );
        }
    }

    #[test]
    fn a_mismatch_says_from_which_byte_on_and_what_should_have_come() {
        let payload = Payload::new(PayloadSize { min: 20, max: 20 }, 1);
        let mut own = bytes_of(payload, id(3, 7));
        own[17..].copy_from_slice(b"!!!");
        let mut framing = Framing::default();
        assert_eq!(
            payload.receive(&mut framing, id(3, 7), &own[..10]),
            Received::More
        );
        assert_eq!(
            payload.receive(&mut framing, id(3, 7), &own[10..]),
            Received::Mismatch
        );
        let words = framing.take_words();
        assert!(
            words.starts_with("from byte 17 of 20 on received \"!!!\", expected \""),
            "{words}"
        );
    }

    proptest! {
        #[test]
        fn payloads_are_recognised_over_every_split(
            min in 1u32..200, more in 0u32..200, seed in any::<u64>(), connection in any::<u32>(),
            sequence in any::<u64>(), cuts in proptest::collection::vec(1usize..40, 1..20),
        ) {
            let payload = Payload::new(PayloadSize { min, max: min + more }, seed);
            let id = id(connection, sequence);
            let bytes = bytes_of(payload, id);
            prop_assert!((min..=min + more).contains(&(bytes.len() as u32)));
            let mut framing = Framing::default();
            let mut rest = bytes.as_slice();
            for cut in cuts.iter().cycle() {
                let piece = &rest[..(*cut).min(rest.len())];
                rest = &rest[piece.len()..];
                let received = payload.receive(&mut framing, id, piece);
                if rest.is_empty() {
                    let done = Received::Done { consumed: piece.len(), ok: true, closes: false };
                    prop_assert_eq!(received, done);
                    break;
                }
                prop_assert_eq!(received, Received::More);
            }
        }

        #[test]
        fn pieces_sent_from_any_offset_make_the_whole(
            length in 1u32..300, cuts in proptest::collection::vec(1usize..40, 1..20),
        ) {
            let payload = Payload::new(PayloadSize { min: length, max: length }, 0);
            let whole = bytes_of(payload, id(1, 2));
            let mut sent = Vec::new();
            for cut in cuts.iter().cycle() {
                let mut out = vec![0; *cut];
                let filled = payload.fill(id(1, 2), sent.len() as u32, &mut out);
                sent.extend_from_slice(&out[..filled]);
                if sent.len() == whole.len() {
                    break;
                }
            }
            prop_assert_eq!(sent, whole);
        }

        #[test]
        fn one_wrong_byte_is_seen(length in 1u32..300, at in any::<prop::sample::Index>(), flip in 1u8..) {
            let payload = Payload::new(PayloadSize { min: length, max: length }, 0);
            let mut bytes = bytes_of(payload, id(1, 2));
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert_eq!(payload.receive(&mut Framing::default(), id(1, 2), &bytes), Received::Mismatch);
        }
    }
}
