//! Whole numbers as they lie on the wire.

use std::fmt;
use std::str::FromStr;

/// The width and the byte order of an unsigned whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer {
    /// How many bytes it takes: 1, 2, 3, 4 or 8.
    pub width: u8,
    /// Whether the most significant byte comes first.
    pub is_big_endian: bool,
}

/// What can be typed.
pub(super) const NAMES: &str = "u8, u16be, u24be, u32be, u64be, and the same with le";

impl Integer {
    /// The bytes of a value, of which those that do not fit are cut off.
    #[must_use]
    pub fn bytes_of(self, value: u64) -> ([u8; 8], usize) {
        let width = usize::from(self.width);
        if self.is_big_endian {
            ((value << (64 - 8 * width)).to_be_bytes(), width)
        } else {
            (value.to_le_bytes(), width)
        }
    }
}

impl FromStr for Integer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (bits, is_big_endian) = match (text.strip_suffix("be"), text.strip_suffix("le")) {
            (Some(bits), _) => (bits, true),
            (_, Some(bits)) => (bits, false),
            // One byte has no order.
            _ if text == "u8" => (text, true),
            _ => return Err(format!("`{text}` is none of {NAMES}")),
        };
        let width = match bits {
            "u8" => 1,
            "u16" => 2,
            "u24" => 3,
            "u32" => 4,
            "u64" => 8,
            _ => return Err(format!("`{text}` is none of {NAMES}")),
        };
        Ok(Self {
            width,
            is_big_endian: is_big_endian || width == 1,
        })
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let order = match (self.width, self.is_big_endian) {
            (1, _) => "",
            (_, true) => "be",
            (_, false) => "le",
        };
        write!(f, "u{}{order}", u32::from(self.width) * 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_both_orders() {
        let bytes = |name: &str, value| {
            let integer: Integer = name.parse().expect(name);
            assert_eq!(integer.to_string().parse(), Ok(integer));
            let (bytes, width) = integer.bytes_of(value);
            bytes[..width].to_vec()
        };
        assert_eq!(bytes("u16be", 0x0102), [1, 2]);
        assert_eq!(bytes("u16le", 0x0102), [2, 1]);
        assert_eq!(bytes("u24be", 0x0102_0304), [2, 3, 4]);
        assert_eq!(bytes("u64be", 1), [0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(bytes("u8", 0x1ff), [0xff]);
        for bad in ["", "u", "u16", "u32", "i8", "u12be", "be", "u9"] {
            assert!(bad.parse::<Integer>().is_err(), "{bad}");
        }
    }
}
