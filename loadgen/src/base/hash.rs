//! Numbers that look random and depend on nothing but what they are made of.

/// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection on
/// 64 bits whose output looks random.
#[must_use]
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
