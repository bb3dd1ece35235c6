//! `--progress-json`: one object a second, each a line that is written at once.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, IntoRawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use serde::Serialize;

use super::super::place::Place;
use crate::base::error::in_a_sentence;
use crate::base::sys::adopt_fd;

/// Lines of JSON.
#[derive(Debug)]
pub struct Lines {
    file: File,
    name: String,
    left_out: u64,
    is_broken: bool,
}

impl Lines {
    /// Opens the place.
    ///
    /// # Errors
    /// Why it cannot be, with its name.
    pub fn open(place: &Place) -> io::Result<Self> {
        let (file, name) = match place {
            Place::File(path) => (File::create(path), path.display().to_string()),
            Place::Descriptor(number) => (copy_of(*number), format!("fd:{number}")),
        };
        let file = file.map_err(|error| named(&name, error))?;
        Ok(Self {
            file,
            name,
            left_out: 0,
            is_broken: false,
        })
    }

    /// Writes a record, unless its reader has left no room: the run does not wait for it.
    ///
    /// # Errors
    /// Why it cannot be; nothing is written any more after that.
    pub fn write(&mut self, record: &impl Serialize) -> io::Result<()> {
        if self.is_broken {
            return Ok(());
        }
        if !self.has_room() {
            self.left_out += 1;
            return Ok(());
        }
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let written = self.file.write_all(&line);
        self.is_broken = written.is_err();
        written.map_err(|error| named(&self.name, error))
    }

    /// How many records found no room.
    #[must_use]
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// A pipe that is writable takes 4 KiB at once (pipe(7)), a file always does.
    fn has_room(&self) -> bool {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        let ready = poll(&mut fds, PollTimeout::ZERO);
        ready.is_err() || fds[0].any().unwrap_or(true)
    }
}

/// A descriptor of our own to what `number` leads to: what is printed there besides stays possible.
fn copy_of(number: i32) -> io::Result<File> {
    let given = adopt_fd(number)?;
    let copy = given.try_clone();
    // It was not ours to close.
    let _ = given.into_raw_fd();
    copy.map(File::from)
}

fn named(name: &str, error: io::Error) -> io::Error {
    let sentence = format!("--progress-json {name}: {error}");
    in_a_sentence(error, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_file_or_a_descriptor() {
        assert_eq!("fd:3".parse(), Ok(Place::Descriptor(3)));
        assert_eq!("a/fd:3".parse(), Ok(Place::File("a/fd:3".into())));
        for bad in ["fd:", "fd:0", "fd:-1", "fd:x"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
