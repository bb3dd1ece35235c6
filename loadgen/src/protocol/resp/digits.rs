//! Numbers of a fixed width, as keys and values hold them.

use crate::load::commands::DIGITS;

/// The numbers below a hundred, as two digits.
const PAIRS: [[u8; 2]; 100] = {
    let (mut pairs, mut number) = ([[b'0'; 2]; 100], 0);
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// A number below 10 to the power of [`DIGITS`], with zeros in front.
pub(super) fn digits(number: u64) -> [u8; DIGITS] {
    const HALF: u64 = 1_000_000;
    let mut digits = [b'0'; DIGITS];
    let (pairs, _) = digits.as_chunks_mut::<2>();
    for (half, pairs) in [number / HALF, number % HALF]
        .into_iter()
        .zip(pairs.chunks_mut(3))
    {
        // In 32 bits, where dividing takes less.
        let half = half as u32;
        for (pair, number) in pairs.iter_mut().zip([half / 10_000, half / 100, half]) {
            *pair = PAIRS[(number % 100) as usize];
        }
    }
    digits
}
