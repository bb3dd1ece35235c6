//! What `--trace` prints: one line per connect, message and close, worded the
//! way the classic teaching servers word them.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::net::SocketAddr;

use encoding_rs::{Decoder, Encoding};

/// The trace of one connection. A message is what one read returned; the
/// decoder remembers a character that was cut in two between reads.
pub struct Trace {
    peer: SocketAddr,
    decoder: Decoder,
}

impl Trace {
    /// Prints nothing yet.
    pub fn new(peer: SocketAddr, encoding: &'static Encoding) -> Trace {
        Trace {
            peer,
            decoder: encoding.new_decoder_without_bom_handling(),
        }
    }

    /// Prints the connect line.
    pub fn connect(&self) {
        print(&format!("connect {}\n", self.peer));
    }

    /// Prints what was received, as text in the connection's encoding.
    pub fn message(&mut self, bytes: &[u8]) {
        let text = self.text(bytes);
        print(&format!("from {} : {text}\n", self.peer));
    }

    /// Prints the close line.
    pub fn close(&self) {
        print(&format!("close {}\n", self.peer));
    }

    /// Control characters are escaped, so that a message stays on its line and
    /// cannot reach the terminal.
    fn text(&mut self, bytes: &[u8]) -> String {
        let room = self
            .decoder
            .max_utf8_buffer_length(bytes.len())
            .unwrap_or(0);
        let mut text = String::with_capacity(room);
        let _ = self.decoder.decode_to_string(bytes, &mut text, false);
        let mut line = String::with_capacity(text.len());
        for letter in text.chars() {
            if letter.is_control() {
                let _ = write!(line, "{}", letter.escape_default());
            } else {
                line.push(letter);
            }
        }
        line
    }
}

/// A line goes out in one piece, since processes and threads share stdout. If
/// nobody reads it any more there is nobody to tell.
fn print(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout
        .write_all(line.as_bytes())
        .and_then(|()| stdout.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(label: &str) -> Trace {
        let encoding = Encoding::for_label(label.as_bytes()).unwrap();
        Trace::new("127.0.0.1:9".parse().unwrap(), encoding)
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
        assert_eq!(utf8.text(b"\xFF!"), "\u{FFFD}!");
    }
}
