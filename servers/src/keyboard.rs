//! The keyboard as one more descriptor to watch, for `select --stdin`.

use std::io::{self, Read};
use std::os::fd::RawFd;

/// What has been typed of the current line.
#[derive(Debug, Default)]
pub struct Keyboard {
    line: Vec<u8>,
}

/// What reading the keyboard brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typed {
    /// The line `quit`.
    Quit,
    /// The end of the input.
    End,
    /// Anything else.
    Other,
}

impl Keyboard {
    /// The descriptor of standard input.
    pub const FD: RawFd = 0;

    /// Reads once, and takes in what was typed: part of a line, or several.
    ///
    /// # Errors
    /// What the system says about reading standard input.
    pub fn read_line(&mut self) -> io::Result<Typed> {
        let mut typed = [0; 1024];
        let length = io::stdin().read(&mut typed)?;
        Ok(self.take_in(&typed[..length]))
    }

    fn take_in(&mut self, typed: &[u8]) -> Typed {
        self.line.extend_from_slice(typed);
        while let Some(end) = self.line.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            if line.trim_ascii() == b"quit" {
                return Typed::Quit;
            }
        }
        if typed.is_empty() {
            Typed::End
        } else {
            Typed::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_line_that_says_quit_quits() {
        let mut keyboard = Keyboard::default();
        assert_eq!(keyboard.take_in(b"hello\nqu"), Typed::Other);
        assert_eq!(keyboard.take_in(b"it"), Typed::Other);
        assert_eq!(keyboard.take_in(b"\n"), Typed::Quit);
        assert_eq!(keyboard.take_in(b"quitter\n"), Typed::Other);
        assert_eq!(keyboard.take_in(b""), Typed::End);
    }
}
