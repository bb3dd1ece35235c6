//! Whoever listens to a run, and the conditions under which it ends early.

use super::listener::Listener;
use crate::load::Load;
use crate::tally::abort::{Aborted, Watch};
use crate::tally::live::Live;
use crate::worker::control::Sum;

/// Looks at every second before it is passed on.
pub(super) struct Watcher<'a> {
    listener: &'a mut dyn Listener,
    load: Load,
    watch: Watch,
}

impl<'a> Watcher<'a> {
    /// Looks out for the conditions of this load.
    pub(super) fn of(load: &Load, listener: &'a mut dyn Listener) -> Self {
        Self {
            listener,
            load: load.clone(),
            watch: Watch::for_any_of(&load.abort_on),
        }
    }

    /// The condition that ends the run, once it was met.
    pub(super) fn met(&self) -> Option<&Aborted> {
        self.watch.met()
    }
}

impl Listener for Watcher<'_> {
    fn notice(&mut self, text: &str) {
        self.listener.notice(text);
    }

    fn wants_seconds(&self) -> bool {
        self.watch.is_needed() || self.listener.wants_seconds()
    }

    fn second(&mut self, live: &Live, sum: Sum) {
        let asked = self.load.asked_in_second(live.second.second);
        self.watch.take(live, asked);
        self.listener.second(live, sum);
    }
}
