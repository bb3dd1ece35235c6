//! The trials in which servers are looked into: how long they are.

use loadgen::load::Load;

/// At most so much load before the window, ns.
const WARMUP_NS: u64 = 500_000_000;
/// At most such a window, ns: calls per request need no more, and stacks are sampled a thousand times a second.
pub const WINDOW_NS: u64 = 3_000_000_000;

/// The same load for a shorter time.
pub fn shortened(load: &Load) -> Load {
    Load {
        warmup_ns: load.warmup_ns.min(WARMUP_NS),
        duration_ns: load.duration_ns.min(WINDOW_NS),
        ..load.clone()
    }
}
