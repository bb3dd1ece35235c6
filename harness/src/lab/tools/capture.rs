//! TCP segments as they pass over the loopback interface (packet(7)).

use crate::lab::trouble::Trouble;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket,
};
use serde::{Deserialize, Serialize};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// A segment. Sequence numbers are relative to the first of their direction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// When it was read, since the capture began, µs.
    pub at_us: u64,
    /// Whether the client sent it.
    pub from_client: bool,
    /// The client's port: which connection it belongs to.
    pub client_port: u16,
    /// Its flags, a letter each: S, A, F, R, P.
    pub flags: String,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgement number; 0 without the flag A.
    pub acknowledgement: u32,
    /// Bytes of data.
    pub length: u32,
}

/// A packet socket that sees all that passes over the loopback interface.
pub struct Capture {
    socket: OwnedFd,
    port: u16,
    began: Instant,
    frames: Vec<(u64, Frame)>,
}

/// What is read from a frame; sequence numbers as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    from_port: u16,
    to_port: u16,
    flags: u8,
    sequence: u32,
    acknowledgement: u32,
    length: u32,
}

impl Capture {
    /// Captures from now on what a server's port sends and receives.
    pub fn start(port: u16) -> Result<Capture, Trouble> {
        let opened = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::EthAll,
        );
        let socket = opened.map_err(|e| {
            Trouble::denied(
                format!("cannot open a packet socket: {e}"),
                "run the lab as root, on a kernel with packet sockets (CONFIG_PACKET)",
            )
        })?;
        Ok(Capture {
            socket,
            port,
            began: Instant::now(),
            frames: Vec::new(),
        })
    }

    /// Takes what has passed so far, and waits until nothing has come for a while: at most as long as that.
    pub fn settle(&mut self, quiet: Duration) -> Result<(), Trouble> {
        let mut last = Instant::now();
        while last.elapsed() < quiet {
            match self.read()? {
                true => last = Instant::now(),
                false => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(())
    }

    /// Takes what passes for so long.
    pub fn watch(&mut self, time: Duration) -> Result<(), Trouble> {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if !self.read()? {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(())
    }

    /// Takes one frame; false where there is none.
    fn read(&mut self) -> Result<bool, Trouble> {
        /// Only the heads are looked at; the rest of a frame is cut off.
        const HEAD: usize = 256;
        let mut bytes = [0; HEAD];
        let (length, from) = match recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut bytes) {
            Err(Errno::EAGAIN) => return Ok(false),
            other => other?,
        };
        // Over the loopback interface each frame passes twice: out, and in.
        let is_outgoing =
            from.is_some_and(|from| i32::from(from.pkttype()) == nix::libc::PACKET_OUTGOING as i32);
        let frame = Frame::parse(&bytes[..length]).filter(|_| !is_outgoing);
        if let Some(frame) = frame.filter(|f| f.from_port == self.port || f.to_port == self.port) {
            let at_us = self.began.elapsed().as_micros() as u64;
            self.frames.push((at_us, frame));
        }
        Ok(true)
    }

    /// The segments, with relative numbers.
    pub fn finish(mut self) -> Result<Vec<Segment>, Trouble> {
        self.settle(Duration::from_millis(50))?;
        Ok(relative(&self.frames, self.port))
    }
}

/// Numbers count from the first of their direction and connection, as every protocol analyser shows them.
fn relative(frames: &[(u64, Frame)], port: u16) -> Vec<Segment> {
    let first_of = |from: u16, to: u16| {
        let same = |(_, f): &&(u64, Frame)| (f.from_port, f.to_port) == (from, to);
        frames
            .iter()
            .find(same)
            .map_or(0, |(_, frame)| frame.sequence)
    };
    let segment = |(at_us, frame): &(u64, Frame)| {
        let from_client = frame.to_port == port;
        let base = first_of(frame.from_port, frame.to_port);
        let peers = first_of(frame.to_port, frame.from_port);
        let acknowledges = frame.flags & 0x10 != 0;
        Segment {
            at_us: *at_us,
            from_client,
            client_port: if from_client {
                frame.from_port
            } else {
                frame.to_port
            },
            flags: letters(frame.flags),
            sequence: frame.sequence.wrapping_sub(base),
            acknowledgement: match acknowledges {
                true => frame.acknowledgement.wrapping_sub(peers),
                false => 0,
            },
            length: frame.length,
        }
    };
    frames.iter().map(segment).collect()
}

fn letters(flags: u8) -> String {
    let all = [
        (0x02, 'S'),
        (0x01, 'F'),
        (0x04, 'R'),
        (0x08, 'P'),
        (0x10, 'A'),
    ];
    let set = all.iter().filter(|(bit, _)| flags & bit != 0);
    set.map(|(_, letter)| letter).collect()
}

impl Frame {
    /// Ethernet, then IPv4, then TCP; `None` for anything else.
    fn parse(bytes: &[u8]) -> Option<Frame> {
        const ETHERNET: usize = 14;
        let short = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let long = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let is_ipv4 = short(12)? == 0x0800 && bytes.get(ETHERNET)? >> 4 == 4;
        if !is_ipv4 || *bytes.get(ETHERNET + 9)? != 6 {
            return None;
        }
        let ip_head = usize::from(bytes.get(ETHERNET)? & 0x0f) * 4;
        let tcp = ETHERNET + ip_head;
        let tcp_head = usize::from(bytes.get(tcp + 12)? >> 4) * 4;
        let total = usize::from(short(ETHERNET + 2)?);
        Some(Frame {
            from_port: short(tcp)?,
            to_port: short(tcp + 2)?,
            sequence: long(tcp + 4)?,
            acknowledgement: long(tcp + 8)?,
            flags: *bytes.get(tcp + 13)?,
            length: total.checked_sub(ip_head + tcp_head)? as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(
        from_port: u16,
        to_port: u16,
        flags: u8,
        sequence: u32,
        acknowledgement: u32,
    ) -> Frame {
        Frame {
            from_port,
            to_port,
            flags,
            sequence,
            acknowledgement,
            length: 0,
        }
    }

    #[test]
    fn heads_are_read_and_anything_else_is_not() {
        let mut bytes = vec![0u8; 14];
        bytes[12] = 8;
        // IPv4, 20 bytes of head, 50 in all; TCP, 20 bytes of head: 10 of data.
        bytes.extend([
            0x45, 0, 0, 50, 0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1,
        ]);
        bytes.extend([
            0x1f, 0x90, 0xc3, 0x50, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x18, 0, 0, 0, 0, 0, 0,
        ]);
        let read = Frame::parse(&bytes).unwrap();
        assert_eq!(
            (read.from_port, read.to_port, read.sequence),
            (8080, 50_000, 7)
        );
        assert_eq!(
            (read.acknowledgement, read.length, read.flags),
            (9, 10, 0x18)
        );
        for length in 0..bytes.len() - 7 {
            assert_eq!(Frame::parse(&bytes[..length]), None, "{length}");
        }
        bytes[23] = 17;
        assert_eq!(Frame::parse(&bytes), None, "UDP");
    }

    #[test]
    fn numbers_are_relative_to_the_first_of_their_direction() {
        let frames = [
            (0, frame(50_000, 80, 0x02, u32::MAX, 0)),
            (5, frame(80, 50_000, 0x12, 500, 0)),
            (9, frame(50_000, 80, 0x10, 0, 501)),
        ];
        let segments = relative(&frames, 80);
        let told: Vec<(bool, &str, u32, u32)> = segments
            .iter()
            .map(|s| {
                (
                    s.from_client,
                    s.flags.as_str(),
                    s.sequence,
                    s.acknowledgement,
                )
            })
            .collect();
        let expected = [(true, "S", 0, 0), (false, "SA", 0, 1), (true, "A", 1, 1)];
        assert_eq!(told, expected);
    }
}
