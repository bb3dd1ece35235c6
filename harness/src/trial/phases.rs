//! The handshake at the generator's phase changes: it says `phase NAME` and waits for `go`, so that the
//! harness can read its figures at the edges of the window and never inside it.

use std::io;
use std::os::fd::OwnedFd;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// The harness's end of the conversation.
#[derive(Debug)]
pub struct Phases {
    socket: BufReader<UnixStream>,
    /// What has come of a line whose end has not.
    line: Vec<u8>,
}

impl Phases {
    /// A connected pair: this end, and the one that becomes the generator's standard input.
    pub fn pair() -> io::Result<(Phases, OwnedFd)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = UnixStream::from_std(ours)?;
        let phases = Phases {
            socket: BufReader::new(ours),
            line: Vec::new(),
        };
        Ok((phases, theirs.into()))
    }

    /// The next phase's name; `None` when the generator has closed its end. May be dropped and asked for again: nothing
    /// of what has come is lost.
    pub async fn next(&mut self) -> io::Result<Option<String>> {
        let read = self.socket.read_until(b'\n', &mut self.line).await;
        let line = std::mem::take(&mut self.line);
        if read? == 0 {
            return Ok(None);
        }
        let line = String::from_utf8_lossy(&line);
        match line.trim().strip_prefix("phase ") {
            Some(name) => Ok(Some(name.to_string())),
            None => Err(io::Error::other(format!("it says {:?}", line.trim()))),
        }
    }

    /// Lets the generator go on.
    pub async fn go(&mut self) -> io::Result<()> {
        self.socket.get_mut().write_all(b"go\n").await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[tokio::test]
    async fn phases_are_read_and_answered() {
        let (mut ours, theirs) = Phases::pair().unwrap();
        let mut theirs = std::os::unix::net::UnixStream::from(theirs);
        theirs.write_all(b"phase ramp\nphase window\n").unwrap();
        assert_eq!(ours.next().await.unwrap().as_deref(), Some("ramp"));
        ours.go().await.unwrap();
        assert_eq!(ours.next().await.unwrap().as_deref(), Some("window"));
        let mut word = [0; 3];
        theirs.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"go\n");
        theirs.write_all(b"nonsense\n").unwrap();
        assert!(ours.next().await.is_err());
        drop(theirs);
        assert_eq!(ours.next().await.unwrap(), None);
    }
}
