//! What a server prints: drained without being in its way, cheaply, and of all of it only the end kept.

use crate::base::text::one_line;
use nix::fcntl::{FcntlArg, fcntl};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// How much of a server's last words is kept.
const TAIL_BYTES: usize = 2048;
/// What a pipe is asked to hold, and is read in one go: the most that a user may ask for (pipe(7), pipe-max-size).
const PIPE_BYTES: usize = 1 << 20;
/// A pipe is read no more often than this, unless it is filling up: each reading wakes the harness, on the CPUs that
/// the generator needs.
const PAUSE: Duration = Duration::from_millis(20);
/// How long the last words of a process that has ended may be on their way.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// The last bytes of one or several streams, collected in the background.
#[derive(Debug, Default)]
pub struct Tail {
    kept: Arc<Mutex<Kept>>,
    readers: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Kept {
    end: Vec<u8>,
    bytes: u64,
}

impl Tail {
    /// Reads the stream to its end in the background.
    pub fn follow(&mut self, stream: Option<impl AsyncReadExt + Unpin + Send + 'static>) {
        let kept = Arc::clone(&self.kept);
        self.readers
            .extend(stream.map(|stream| tokio::spawn(drain(stream, kept))));
    }

    /// Bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.kept.lock().map_or(0, |kept| kept.bytes)
    }

    /// Waits for the rest of what a process that has ended printed; not for what it left behind.
    pub async fn finish(&mut self) {
        let all = async {
            for reader in &mut self.readers {
                let _ = reader.await;
            }
        };
        let _ = timeout(LAST_WORDS, all).await;
        self.readers.retain(|reader| !reader.is_finished());
    }

    /// What was kept, as one line of printable text.
    pub fn text(&self) -> String {
        let end = self
            .kept
            .lock()
            .map(|kept| kept.end.clone())
            .unwrap_or_default();
        one_line(&String::from_utf8_lossy(&end))
    }
}

impl Kept {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        let new = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
        self.end.extend_from_slice(new);
        let excess = self.end.len().saturating_sub(TAIL_BYTES);
        self.end.drain(..excess);
    }
}

async fn drain(mut stream: impl AsyncReadExt + Unpin, kept: Arc<Mutex<Kept>>) {
    let mut chunk = vec![0; PIPE_BYTES / 4];
    let mut last = None;
    while let Ok(n @ 1..) = stream.read(&mut chunk).await {
        if let Ok(mut kept) = kept.lock() {
            kept.push(&chunk[..n]);
        }
        let often = last.is_some_and(|last: Instant| last.elapsed() < PAUSE);
        if often && n < chunk.len() {
            sleep(PAUSE).await;
        }
        last = Some(Instant::now());
    }
}

/// Lets a pipe hold as much as this user may have; less where the kernel refuses.
pub fn widen(pipe: Option<&impl AsFd>) {
    if let Some(pipe) = pipe {
        let _ = fcntl(pipe, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES as i32));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tail_keeps_the_end_and_no_control_characters() {
        let mut tail = Tail::default();
        let printed = [vec![b'x'; 400_000], b"\x1b[31mthe end\n".to_vec()].concat();
        let length = printed.len() as u64;
        tail.follow(Some(std::io::Cursor::new(printed)));
        tail.finish().await;
        let text = tail.text();
        assert!(text.ends_with(r"\u{1b}[31mthe end"), "{text}");
        assert!(text.len() <= TAIL_BYTES + 6 && !text.contains('\x1b'));
        assert_eq!(tail.bytes(), length);
    }

    /// A line a request, as `--trace` prints them: few readings, and nothing lost.
    #[tokio::test]
    async fn many_small_lines_are_few_readings() {
        let (ours, theirs) = nix::unistd::pipe().unwrap();
        widen(Some(&ours));
        let writer = std::thread::spawn(move || {
            let mut pipe = std::fs::File::from(theirs);
            for _ in 0..10_000 {
                std::io::Write::write_all(&mut pipe, b"a line for every request\n").unwrap();
            }
        });
        let mut tail = Tail::default();
        let before = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD);
        tail.follow(Some(
            tokio::net::unix::pipe::Receiver::from_owned_fd(ours).unwrap(),
        ));
        while !writer.is_finished() {
            sleep(PAUSE).await;
        }
        tail.finish().await;
        assert_eq!(tail.bytes(), 250_000);
        let after = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_THREAD);
        let waits = after.unwrap().voluntary_context_switches()
            - before.unwrap().voluntary_context_switches();
        assert!(waits < 2_000, "woken {waits} times for 10 000 lines");
    }
}
