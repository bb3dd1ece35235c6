//! The terminal that the program runs in: what is written to it, and the signals that come from it.

use super::error::{Exit, Failure, OrFail};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether the last line of stderr is live: shown until the next one takes its place.
static IS_LIVE: AtomicBool = AtomicBool::new(false);

/// Back to the line's beginning, and everything after it away (ECMA-48, EL).
const ERASE: &str = "\r\x1b[2K";

/// Shows a line on stderr until the next one takes its place; only for a terminal.
pub fn show_live(line: &str) {
    let _ = write!(io::stderr().lock(), "{ERASE}{line}");
    IS_LIVE.store(true, Ordering::Relaxed);
}

/// Takes the live line away, so that what comes next stands alone.
pub fn erase_live() {
    if IS_LIVE.swap(false, Ordering::Relaxed) {
        let _ = write!(io::stderr().lock(), "{ERASE}");
    }
}

/// Writes to stdout; a reader that has gone is no error.
pub fn say(text: &str) -> Result<(), Failure> {
    erase_live();
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(e).or_failed("cannot write to stdout")
        }
        _ => Ok(()),
    }
}

/// A line on stderr; where even that is closed, there is nobody to tell.
pub fn eprintln(text: &str) {
    erase_live();
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// SIGINT and SIGTERM.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on.
    pub fn listen() -> Result<Signals, Failure> {
        let listen = |kind| signal(kind).or_failed("cannot listen for signals");
        Ok(Signals {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// How the next signal ends the run.
    pub async fn next(&mut self) -> Exit {
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}
