//! The bytes of a message, made for every request without allocating.

use super::super::{RequestId, copy_from};
use crate::load::own::{Counter, Form, Message, Piece};

/// A message, ready to be written.
#[derive(Clone, Debug)]
pub(super) enum Template {
    /// The same bytes for every request.
    Fixed(Vec<u8>),
    /// Bytes and numbers.
    Pieces(Vec<Piece>),
}

impl Default for Template {
    fn default() -> Self {
        Self::Fixed(Vec::new())
    }
}

impl Template {
    pub(super) fn of(message: &Message) -> Self {
        match message.pieces() {
            [] => Self::default(),
            [Piece::Bytes(bytes)] => Self::Fixed(bytes.clone()),
            pieces => Self::Pieces(pieces.to_vec()),
        }
    }

    pub(super) fn len(&self, id: RequestId) -> usize {
        match self {
            Self::Fixed(bytes) => bytes.len(),
            Self::Pieces(pieces) => pieces.iter().map(|piece| length(piece, id)).sum(),
        }
    }

    /// Writes the message from `offset` on into `out` and returns how many bytes that took.
    pub(super) fn fill(&self, id: RequestId, offset: usize, out: &mut [u8]) -> usize {
        let pieces = match self {
            Self::Fixed(bytes) => return copy_from(bytes, offset as u32, out),
            Self::Pieces(pieces) => pieces,
        };
        let (mut skip, mut filled) = (offset, 0);
        for piece in pieces {
            let mut number = Number::default();
            let bytes = match piece {
                Piece::Bytes(bytes) => bytes.as_slice(),
                Piece::Number(counter, form) => number.write(value(*counter, id), *form),
            };
            let rest = &bytes[skip.min(bytes.len())..];
            skip -= bytes.len() - rest.len();
            let length = rest.len().min(out.len() - filled);
            out[filled..filled + length].copy_from_slice(&rest[..length]);
            filled += length;
            if filled == out.len() {
                break;
            }
        }
        filled
    }

    /// Whether a piece of an answer is what stands there in the message.
    pub(super) fn is_at(&self, id: RequestId, from: usize, piece: &[u8]) -> bool {
        if let Self::Fixed(bytes) = self {
            return bytes[from..].starts_with(piece);
        }
        let mut expected = [0; 256];
        let mut at = from;
        piece.chunks(expected.len()).all(|chunk| {
            let filled = self.fill(id, at, &mut expected[..chunk.len()]);
            at += filled;
            expected[..filled] == *chunk
        })
    }
}

fn value(counter: Counter, id: RequestId) -> u64 {
    match counter {
        Counter::Connection => u64::from(id.connection),
        Counter::Sequence => id.sequence,
    }
}

fn length(piece: &Piece, id: RequestId) -> usize {
    match piece {
        Piece::Bytes(bytes) => bytes.len(),
        Piece::Number(_, Form::Padded(width)) => usize::from(*width),
        Piece::Number(_, Form::Binary(integer)) => usize::from(integer.width),
        Piece::Number(counter, Form::Decimal) => {
            value(*counter, id).checked_ilog10().unwrap_or(0) as usize + 1
        }
    }
}

/// Room for the digits of the longest number.
#[derive(Default)]
struct Number([u8; 20]);

impl Number {
    /// The number in this form.
    fn write(&mut self, value: u64, form: Form) -> &[u8] {
        match form {
            Form::Binary(integer) => {
                let (bytes, width) = integer.bytes_of(value);
                self.0[..8].copy_from_slice(&bytes);
                &self.0[..width]
            }
            Form::Decimal => {
                let digits = value.checked_ilog10().unwrap_or(0) as usize + 1;
                self.digits(value, digits)
            }
            Form::Padded(width) => self.digits(value, usize::from(width)),
        }
    }

    /// The last `count` decimal digits.
    fn digits(&mut self, mut value: u64, count: usize) -> &[u8] {
        for digit in self.0[..count].iter_mut().rev() {
            *digit = b'0' + (value % 10) as u8;
            value /= 10;
        }
        &self.0[..count]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn template(text: &str) -> Template {
        Template::of(&text.parse().expect(text))
    }

    fn whole(template: &Template, id: RequestId) -> Vec<u8> {
        let mut bytes = vec![0; template.len(id)];
        assert_eq!(template.fill(id, 0, &mut bytes), bytes.len());
        bytes
    }

    fn id(connection: u32, sequence: u64) -> RequestId {
        RequestId {
            connection,
            sequence,
            last: false,
        }
    }

    #[test]
    fn numbers_are_filled_in() {
        let filled = |text: &str, id| whole(&template(text), id);
        assert_eq!(filled("k{conn}/{seq}\\n", id(12, 0)), b"k12/0\n");
        assert_eq!(filled("{seq}", id(0, u64::MAX)), b"18446744073709551615");
        assert_eq!(filled("{seq:3}", id(0, 12_345)), b"345");
        assert_eq!(filled("{seq:20}", id(0, 7)), b"00000000000000000007");
        assert_eq!(
            filled("{conn:u16be}{seq:u16le}", id(0x0102, 3)),
            [1, 2, 3, 0]
        );
        assert_eq!(filled("", id(0, 0)), b"");
    }

    proptest! {
        #[test]
        fn pieces_from_any_offset_make_the_whole(
            connection in any::<u32>(), sequence in any::<u64>(), from in any::<prop::sample::Index>(),
            room in 1usize..30,
        ) {
            let template = template("GET /{conn}/{seq}?x={seq:6} \\r\\n{conn:u32be}end");
            let id = id(connection, sequence);
            let bytes = whole(&template, id);
            let from = from.index(bytes.len());
            let mut out = vec![0; room];
            let filled = template.fill(id, from, &mut out);
            let expected = &bytes[from..bytes.len().min(from + room)];
            prop_assert_eq!(&out[..filled], expected);
            prop_assert!(template.is_at(id, from, expected));
            out[filled - 1] ^= 1;
            prop_assert!(!template.is_at(id, from, &out[..filled]));
        }
    }
}
