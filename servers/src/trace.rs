//! Who does what: the counters of one worker, and what `--trace` prints of it.
//! The lines of a connection are worded the way the classic teaching servers
//! word them, behind when and who:
//!
//! ```text
//! 12:03:04.123456Z 4242:4243 fd 5 connect 127.0.0.1:50312
//! ```

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use encoding_rs::{Decoder, Encoding};
use nix::unistd::{getpid, gettid};

use crate::ledger::Slot;

/// One worker of a server, for whoever acts in its name: its counters, and
/// whether, and in which encoding, its doings are traced.
#[derive(Clone, Copy)]
pub struct Worker {
    /// The worker's counters.
    pub slot: Slot,
    trace: Option<&'static Encoding>,
}

impl Worker {
    /// A worker that counts into `slot`.
    pub fn new(slot: Slot, trace: Option<&'static Encoding>) -> Worker {
        Worker { slot, trace }
    }

    /// Counts that a call that waits for several descriptors has come back.
    pub fn woke(&self, call: &str, ready: usize) {
        self.slot.wakeups(1);
        if self.trace.is_some() {
            print(format_args!("wakeup {call}: {ready} ready"));
        }
    }

    /// Counts one round of a sweep that never waits.
    pub fn swept(&self) {
        self.slot.wakeups(1);
    }

    /// Says that a call on a descriptor failed, EAGAIN included.
    pub fn failed(&self, fd: RawFd, call: &str, error: &io::Error) {
        if self.trace.is_some() {
            print(format_args!("fd {fd} {call}: {}", errno_name(error)));
        }
    }

    /// The trace of a connection; none unless it is wished for.
    pub fn trace(&self, fd: RawFd, peer: SocketAddr) -> Option<Box<Trace>> {
        let encoding = self.trace?;
        Some(Box::new(Trace {
            fd,
            peer: match peer.ip().is_unspecified() {
                // A client of a Unix socket.
                true => "unnamed".to_owned(),
                false => peer.to_string(),
            },
            decoder: encoding.new_decoder_without_bom_handling(),
            nothing_new: false,
        }))
    }

    /// Whether anything is printed.
    pub fn is_traced(&self) -> bool {
        self.trace.is_some()
    }
}

/// The trace of one connection. A message is what one recv returned; the decoder
/// remembers a character that was cut in two between them.
pub struct Trace {
    fd: RawFd,
    peer: String,
    decoder: Decoder,
    /// The last line was about EAGAIN. A busy sweep would print nothing else.
    nothing_new: bool,
}

impl Trace {
    /// Prints the connect line.
    pub fn connect(&self) {
        print(format_args!("fd {} connect {}", self.fd, self.peer));
    }

    /// Prints what was received, as text in the connection's encoding.
    pub fn message(&mut self, bytes: &[u8]) {
        self.nothing_new = false;
        let text = self.text(bytes);
        print(format_args!("fd {} from {} : {text}", self.fd, self.peer));
    }

    /// Prints that a blocking call has come back.
    pub fn woke(&self, call: &str) {
        print(format_args!("wakeup fd {} {call}", self.fd));
    }

    /// Prints that a call failed; EAGAIN once, until something else happens.
    pub fn failed(&mut self, call: &str, error: &io::Error) {
        let again = error.kind() == io::ErrorKind::WouldBlock;
        if !(again && self.nothing_new) {
            print(format_args!("fd {} {call}: {}", self.fd, errno_name(error)));
        }
        self.nothing_new = again;
    }

    /// Prints the close line.
    pub fn close(&self) {
        print(format_args!("fd {} close {}", self.fd, self.peer));
    }

    /// Control characters are escaped, and what turns the direction of writing,
    /// so that a message stays on its line and cannot reach the terminal.
    fn text(&mut self, bytes: &[u8]) -> String {
        let room = self
            .decoder
            .max_utf8_buffer_length(bytes.len())
            .unwrap_or(0);
        let mut text = String::with_capacity(room);
        let _ = self.decoder.decode_to_string(bytes, &mut text, false);
        let mut line = String::with_capacity(text.len());
        for letter in text.chars() {
            let turns = matches!(letter, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}');
            if letter.is_control() || turns {
                let _ = write!(line, "{}", letter.escape_default());
            } else {
                line.push(letter);
            }
        }
        line
    }
}

/// `EAGAIN`, as in the manual pages.
fn errno_name(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("{:?}", nix::errno::Errno::from_raw(number)),
        None => error.to_string(),
    }
}

/// A line goes out in one piece, since processes and threads share stdout. If
/// nobody reads it any more there is nobody to tell.
fn print(what: fmt::Arguments<'_>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let clock = Clock(now.unwrap_or_default());
    let line = format!("{clock} {}:{} {what}\n", getpid(), gettid());
    let mut stdout = io::stdout().lock();
    let _ = stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush());
}

/// Time since 1970, displayed as the time of day in UTC.
struct Clock(Duration);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs() % 86_400;
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let micros = self.0.subsec_micros();
        write!(f, "{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    fn trace(label: &str) -> Box<Trace> {
        let encoding = Encoding::for_label(label.as_bytes()).unwrap();
        let slot = Ledger::create(None, "test", 1).unwrap().slot(0);
        let worker = Worker::new(slot, Some(encoding));
        worker.trace(5, "127.0.0.1:9".parse().unwrap()).unwrap()
    }

    #[test]
    fn text_is_decoded_across_reads() {
        let mut gbk = trace("gbk");
        let bytes = [0xC4, 0xE3, 0xBA, 0xC3];
        let whole: String = bytes.iter().map(|byte| gbk.text(&[*byte])).collect();
        assert_eq!(whole, "你好");
    }

    #[test]
    fn control_characters_and_nonsense_stay_harmless() {
        let mut utf8 = trace("utf-8");
        assert_eq!(utf8.text(b"a\nb\x1b[31m"), "a\\nb\\u{1b}[31m");
        assert_eq!(utf8.text("a\u{202e}b".as_bytes()), "a\\u{202e}b");
        assert_eq!(utf8.text(b"\xFF!"), "\u{FFFD}!");
    }

    #[test]
    fn times_and_errors_are_named() {
        let late = Duration::from_micros((86_400 + 23 * 3600 + 59 * 60 + 7) * 1_000_000 + 42);
        assert_eq!(Clock(late).to_string(), "23:59:07.000042Z");
        let error = io::Error::from_raw_os_error(nix::libc::EMFILE);
        assert_eq!(errno_name(&error), "EMFILE");
    }
}
