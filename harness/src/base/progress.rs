//! How far a run is: one line on stderr that the next one takes the place of, only on a terminal and only when wanted.

use super::sys::columns;
use super::terminal::{erase_live, show_live};
use super::text::about;
use loadgen::base::units::format_count;
use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::Duration;

/// How many characters the bar has.
const BAR: usize = 24;

/// Where a terminal does not say how wide it is.
const COLUMNS: usize = 80;

/// A line that stands until the next one takes its place, or nothing at all.
#[derive(Debug)]
pub struct LiveLine {
    is_shown: bool,
}

impl LiveLine {
    /// Nothing yet; and never anything when `quiet` or when stderr is no terminal.
    pub fn new(quiet: bool) -> LiveLine {
        LiveLine {
            is_shown: !quiet && std::io::stderr().is_terminal(),
        }
    }

    /// Shows a line, as much of it as the terminal has columns: one that wrapped could not be taken away again.
    pub fn show(&self, text: &str) {
        if self.is_shown {
            let most = columns(std::io::stderr()).unwrap_or(COLUMNS) - 1;
            show_live(&text.chars().take(most).collect::<String>());
        }
    }

    /// Takes the line away.
    pub fn erase(&self) {
        erase_live();
    }
}

/// A bar over the trials, or nothing at all.
#[derive(Debug)]
pub struct Progress {
    line: LiveLine,
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    trials: usize,
    made: usize,
    left: Option<Duration>,
    phase: String,
}

impl Progress {
    /// A bar for so many trials; hidden when `quiet` or when stderr is no terminal.
    pub fn new(trials: usize, quiet: bool) -> Progress {
        let state = State {
            trials,
            made: 0,
            left: None,
            phase: String::new(),
        };
        Progress {
            line: LiveLine::new(quiet),
            state: RefCell::new(state),
        }
    }

    /// Says what is being done in which trial.
    pub fn phase(&self, arm: &str, conns: u64, phase: &str) {
        let conns = format_count(conns);
        self.change(|state| state.phase = format!("{arm} at {conns}: {phase}"));
    }

    /// Says how long the rest takes.
    pub fn left(&self, left: Duration) {
        self.change(|state| state.left = Some(left));
    }

    /// One trial is over.
    pub fn trial_done(&self) {
        self.change(|state| state.made += 1);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.borrow_mut();
        change(&mut state);
        self.line.show(&state.line());
    }

    /// Removes the bar.
    pub fn finish(&self) {
        self.line.erase();
    }
}

impl State {
    fn line(&self) -> String {
        let full = (BAR * self.made.min(self.trials)) / self.trials.max(1);
        let left = self
            .left
            .map_or(String::new(), |left| format!(", {} left", about(left)));
        format!(
            "{}{} {}/{} trials{left}  {}",
            "█".repeat(full),
            "░".repeat(BAR - full),
            self.made,
            self.trials,
            self.phase
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_how_far_the_run_is_and_what_is_done() {
        let progress = Progress::new(4, true);
        progress.phase("epoll", 10_000, "window");
        progress.trial_done();
        progress.left(Duration::from_secs(90));
        let line = progress.state.borrow().line();
        assert!(
            line.starts_with("██████░░░░░░░░░░░░░░░░░░ 1/4 trials, "),
            "{line}"
        );
        assert!(line.ends_with(" left  epoll at 10 000: window"), "{line}");
        (0..9).for_each(|_| progress.trial_done());
        assert!(progress.state.borrow().line().starts_with(&"█".repeat(24)));
        assert!(!progress.state.borrow().line().contains('░'));
        let nothing = format!("{} 0/0 trials  ", "░".repeat(24));
        assert_eq!(Progress::new(0, true).state.borrow().line(), nothing);
    }
}
