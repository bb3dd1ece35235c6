//! Whoever wants to be told of a run.

use crate::tally::live::Live;
use crate::worker::control::Sum;

/// What the run tells while it lasts.
pub trait Listener {
    /// Something the user should know before the run.
    fn notice(&mut self, text: &str);
    /// Whether anything is done with the seconds: in a fleet they cost something to gather.
    fn wants_seconds(&self) -> bool {
        false
    }
    /// A second of the window is complete.
    fn second(&mut self, second: &Live, sum: Sum);
}
