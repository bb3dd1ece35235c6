//! The keyboard as one more descriptor to watch, for `select --stdin`.

use std::io;
use std::os::fd::RawFd;

use nix::unistd::read;

/// Longer lines than this say nothing: their beginning is forgotten.
const LONGEST: usize = 64;

/// What has been typed of the current line.
#[derive(Debug, Default)]
pub struct Keyboard {
    line: Vec<u8>,
    too_long: bool,
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

    /// read(2), once: part of a line, or several. Nothing is kept beside what the
    /// kernel holds, such as the buffer of `std::io::stdin`: what lies there is
    /// read already, so that select(2) would not tell of it.
    ///
    /// # Errors
    /// What the system says about reading standard input.
    pub fn read(&mut self) -> io::Result<Typed> {
        let mut typed = [0; 1024];
        match read(io::stdin(), &mut typed) {
            Ok(length) => Ok(self.take_in(&typed[..length])),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Ok(Typed::Other),
            // A terminal that belongs to others now.
            Err(nix::Error::EIO) => Ok(Typed::End),
            Err(error) => Err(error.into()),
        }
    }

    fn take_in(&mut self, typed: &[u8]) -> Typed {
        for &byte in typed {
            if byte != b'\n' {
                self.too_long |= self.line.len() == LONGEST;
                if !self.too_long {
                    self.line.push(byte);
                }
                continue;
            }
            let quits = !self.too_long && self.line.trim_ascii() == b"quit";
            (self.line, self.too_long) = (Vec::new(), false);
            if quits {
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
        let long = [b"quit".as_slice(), &[b' '; 5000], b"quit\n"].concat();
        assert_eq!(keyboard.take_in(&long), Typed::Other);
        assert!(keyboard.line.is_empty());
        assert_eq!(keyboard.take_in(b""), Typed::End);
    }
}
