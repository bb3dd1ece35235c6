//! The end of what ends with certain bytes, found over any split.

use memchr::memmem::Finder;

/// Looks for the first occurrence of some bytes in what comes in pieces. Between two pieces it need only be known how
/// many of the bytes that came last are a beginning of the delimiter (Knuth, Morris, Pratt, SIAM J. Comput. 1977).
#[derive(Clone, Debug)]
pub(super) struct Delimiter {
    finder: Finder<'static>,
    /// For each of its beginnings, how long the next shorter one is that it ends with.
    shorter: Vec<u32>,
}

impl Delimiter {
    pub(super) fn new(bytes: &[u8]) -> Self {
        let mut shorter = vec![0; bytes.len() + 1];
        let mut length = 0;
        for at in 1..bytes.len() {
            while length > 0 && bytes[at] != bytes[length] {
                length = shorter[length] as usize;
            }
            length += usize::from(bytes[at] == bytes[length]);
            shorter[at + 1] = length as u32;
        }
        Self {
            finder: Finder::new(bytes).into_owned(),
            shorter,
        }
    }

    /// Where it ends in a piece, before which `matched` bytes of it had come; or how many have come now.
    pub(super) fn find(&self, matched: u32, input: &[u8]) -> Result<usize, u32> {
        let (mut matched, mut at) = (matched, 0);
        // What began before this piece.
        while matched > 0 && at < input.len() {
            matched = self.step(matched, input[at]);
            at += 1;
            if matched as usize == self.finder.needle().len() {
                return Ok(at);
            }
        }
        if matched > 0 {
            return Err(matched);
        }
        let rest = &input[at..];
        if let Some(start) = self.finder.find(rest) {
            return Ok(at + start + self.finder.needle().len());
        }
        // What begins in it is shorter than the whole.
        let tail = &rest[rest.len().saturating_sub(self.finder.needle().len() - 1)..];
        Err(tail
            .iter()
            .fold(0, |matched, byte| self.step(matched, *byte)))
    }

    /// How many bytes of it have come after one more.
    fn step(&self, mut matched: u32, byte: u8) -> u32 {
        let bytes = self.finder.needle();
        while matched > 0 && bytes[matched as usize] != byte {
            matched = self.shorter[matched as usize];
        }
        matched + u32::from(bytes[matched as usize] == byte)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Of two letters, so that beginnings within beginnings are frequent.
        #[test]
        fn it_is_found_over_every_split(
            bytes in proptest::collection::vec(0u8..2, 1..8), text in proptest::collection::vec(0u8..2, 0..60),
            cuts in proptest::collection::vec(1usize..6, 1..20),
        ) {
            let delimiter = Delimiter::new(&bytes);
            let expected = text.windows(bytes.len()).position(|w| w == bytes).map(|at| at + bytes.len());
            let (mut matched, mut begin, mut found) = (0, 0, None);
            for cut in cuts.iter().cycle() {
                let piece = &text[begin..text.len().min(begin + cut)];
                match delimiter.find(matched, piece) {
                    Ok(end) => {
                        found = Some(begin + end);
                        break;
                    }
                    Err(so_far) => matched = so_far,
                }
                begin += piece.len();
                if begin == text.len() {
                    break;
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
