//! The clocks: CLOCK_MONOTONIC for everything measured, CLOCK_REALTIME for labels only.

/// An instant that lies after every other.
pub const NEVER: u64 = u64::MAX;

/// Nanoseconds of CLOCK_MONOTONIC, through the vDSO.
#[must_use]
pub fn now_ns() -> u64 {
    clock_ns(nix::time::ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds of CLOCK_REALTIME since the Unix epoch: for labels only.
#[must_use]
pub fn unix_now_ns() -> u64 {
    clock_ns(nix::time::ClockId::CLOCK_REALTIME)
}

fn clock_ns(clock: nix::time::ClockId) -> u64 {
    // clock_gettime fails only for an unknown clock; these two exist on every Linux.
    nix::time::clock_gettime(clock).map_or(0, |time| {
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    })
}
