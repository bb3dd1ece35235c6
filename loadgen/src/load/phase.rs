//! The phases of a run.

/// The phases of a run. A request belongs to the one in which it was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Until all connections are served.
    Ramp,
    /// Load that is not reported.
    Warmup,
    /// Load that is.
    Window,
    /// After the window: nothing new is due.
    Drain,
}

impl Phase {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Ramp, Self::Warmup, Self::Window, Self::Drain];

    /// Its name in records and on the phase socket.
    #[must_use]
    pub fn name(self) -> &'static str {
        ["ramp", "warmup", "window", "drain"][self as usize]
    }
}
