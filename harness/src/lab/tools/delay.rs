//! A delay of our own, for kernels without one: a network interface whose other end is this program. What the kernel
//! sends to [`FAR`] is held for a while and given back as if [`FAR`] had sent it to [`NEAR`], so that both ends of a
//! connection live in one namespace, a long way apart. Source and destination change places, which leaves every
//! checksum as it was.

mod end;

use crate::lab::trouble::Trouble;
use end::End;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Where the delayed end listens.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

/// Whom to connect to in order to reach it.
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// An IPv4 header without options, and a TCP header without.
const HEADERS: usize = 40;

/// A way that takes time. Dropping it ends it.
pub struct Delay {
    /// What it is made of.
    pub device: &'static str,
    passed: Arc<Mutex<Vec<Passed>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A TCP segment that has entered the way.
#[derive(Debug, Clone, Copy)]
pub struct Passed {
    /// When.
    pub at: Instant,
    /// From which port.
    pub from_port: u16,
    /// How many bytes of data it carries.
    pub data: usize,
}

impl Delay {
    /// Makes a way that takes so long in each direction.
    pub fn start(one_way: Duration) -> Result<Delay, Trouble> {
        let end = End::open()?;
        let (passed, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let device = end.in_words();
        let way = Way {
            end,
            one_way,
            under_way: VecDeque::new(),
            passed: Arc::clone(&passed),
        };
        let ends = Arc::clone(&stop);
        let thread = std::thread::spawn(move || way.carry(&ends));
        Ok(Delay {
            device,
            passed,
            stop,
            thread: Some(thread),
        })
    }

    /// The segments that have entered since this was last asked.
    pub fn take_passed(&self) -> Vec<Passed> {
        std::mem::take(&mut self.passed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Delay {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // Whatever became of it, nothing is carried any more.
            let _ = thread.join();
        }
    }
}

/// What the thread works on.
struct Way {
    end: End,
    one_way: Duration,
    under_way: VecDeque<(Instant, Vec<u8>)>,
    passed: Arc<Mutex<Vec<Passed>>>,
}

impl Way {
    fn carry(mut self, stop: &AtomicBool) {
        let mut buffer = vec![0; 64 * 1024];
        while !stop.load(Relaxed) {
            self.wait();
            // Looked for after each packet given back: it may have set off several.
            loop {
                while let Some(length) = self.end.read(&mut buffer) {
                    self.enter(Instant::now(), &buffer[..length]);
                }
                match self.under_way.front_mut() {
                    Some((due, packet)) if *due <= Instant::now() => self.end.write(packet),
                    _ => break,
                }
                self.under_way.pop_front();
            }
        }
    }

    /// Until something comes or is due, and not for so long that the end would be missed.
    fn wait(&self) {
        const LONGEST: Duration = Duration::from_millis(50);
        let due = self.under_way.front().map(|(due, _)| *due);
        let left = due.map_or(LONGEST, |due| due.saturating_duration_since(Instant::now()));
        let ms = left.min(LONGEST).as_micros().div_ceil(1000);
        let mut files = [PollFd::new(self.end.descriptor(), PollFlags::POLLIN)];
        let _ = poll(
            &mut files,
            PollTimeout::try_from(ms).unwrap_or(PollTimeout::ZERO),
        );
    }

    fn enter(&mut self, at: Instant, packet: &[u8]) {
        let Some((packet, passed)) = turned(at, packet) else {
            return;
        };
        self.under_way.push_back((at + self.one_way, packet));
        self.passed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(passed);
    }
}

/// A TCP segment over IPv4 on its way back; none of anything else.
fn turned(at: Instant, packet: &[u8]) -> Option<(Vec<u8>, Passed)> {
    const TCP: u8 = 6;
    let header = usize::from(packet.first()? & 0x0f) * 4;
    if packet[0] >> 4 != 4 || packet.len() < HEADERS || packet[9] != TCP || header != 20 {
        return None;
    }
    let mut turned = packet.to_vec();
    turned[12..16].copy_from_slice(&packet[16..20]);
    turned[16..20].copy_from_slice(&packet[12..16]);
    let tcp_header = usize::from(packet[header + 12] >> 4) * 4;
    let passed = Passed {
        at,
        from_port: u16::from_be_bytes([packet[header], packet[header + 1]]),
        data: packet.len().saturating_sub(header + tcp_header),
    };
    Some((turned, passed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(data: usize) -> Vec<u8> {
        let mut packet = vec![0; HEADERS + data];
        (packet[0], packet[9]) = (0x45, 6);
        packet[12..16].copy_from_slice(&NEAR.octets());
        packet[16..20].copy_from_slice(&FAR.octets());
        packet[20..22].copy_from_slice(&8080u16.to_be_bytes());
        packet[32] = 5 << 4;
        packet
    }

    #[test]
    fn a_segment_comes_back_from_whom_it_was_sent_to() {
        let (back, passed) = turned(Instant::now(), &segment(100)).unwrap();
        assert_eq!(
            (back[12..16].to_vec(), back[16..20].to_vec()),
            (FAR.octets().to_vec(), NEAR.octets().to_vec())
        );
        assert_eq!((passed.from_port, passed.data), (8080, 100));
    }

    #[test]
    fn what_is_no_tcp_over_ipv4_is_left_out() {
        for (at, byte) in [(0, 0x60), (0, 0x46), (9, 17)] {
            let mut packet = segment(0);
            packet[at] = byte;
            assert!(turned(Instant::now(), &packet).is_none());
        }
        assert!(turned(Instant::now(), &[]).is_none());
        assert!(turned(Instant::now(), &[0x45; 10]).is_none());
    }
}
