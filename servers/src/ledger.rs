//! The ledger: counters in one shared mapping, written by every worker of a
//! server and read live by the harness.
//!
//! A header of 128 bytes, then one slot of 128 bytes per worker, so that two
//! workers never write to the same (or the adjacently prefetched) cache line.
//! All fields are 64-bit words in native byte order, changed with relaxed
//! atomics: each counter is exact, two counters read together may be a moment
//! apart. The pools use a slot per worker; the models that start a process or
//! thread per connection all add to slot 0.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;
use std::iter::Sum;
use std::num::NonZeroUsize;
use std::ops::Add;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use nix::libc;

use crate::error::in_a_sentence;
use crate::models::MAX_WORKERS;
use crate::sys::memory::Mapping;

/// Layout version: raised whenever a word changes its place or meaning.
pub const VERSION: u32 = 1;

const MAGIC: u64 = u64::from_le_bytes(*b"tenkledg");
const SLOT_WORDS: usize = 16;
const ACCEPT_ERRORS_AT: usize = 6;
/// Where in a slot the shortages are counted, in the order of [`Shortage::ALL`].
const SHORTAGES_AT: usize = 7;
const NAME_AT: usize = 4;
const NAME_WORDS: usize = 8;

/// Which build wrote the ledger. Only release builds are fit to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Built with debug assertions.
    Debug,
    /// Built without.
    Release,
}

/// The profile this very code was built with.
pub const PROFILE: Profile = if cfg!(debug_assertions) {
    Profile::Debug
} else {
    Profile::Release
};

/// What a ledger says about the server that writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The server's build profile.
    pub profile: Profile,
    /// How many workers have a slot.
    pub workers: usize,
    /// Process id of the server (its parent process, in the models that fork).
    pub pid: u32,
    /// Name of the model.
    pub model: String,
}

/// What one worker, or all together, have counted.
///
/// `accepted` − `closed` connections are open. `shed` ones were accepted and
/// closed at once because a limit was reached: they are in all three counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that accept(2) handed over, shed ones included.
    pub accepted: u64,
    /// Connections closed at once, unserved, because a limit was reached.
    pub shed: u64,
    /// Connections closed, by whichever side, shed ones included.
    pub closed: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Times the worker came back from waiting: from `epoll_wait` and its like,
    /// from a blocking read, or around the busy sweep.
    pub wakeups: u64,
    /// Times accepting (or starting a process or thread, or having a connection
    /// watched) failed for want of a resource.
    pub accept_errors: u64,
    /// Which resource it was, in the order of [`Shortage::ALL`].
    pub by_shortage: [u64; Shortage::ALL.len()],
}

/// What was short when a server could not accept, or could not start a process
/// or thread: the errno that it was told. Displayed as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// The process has as many descriptors as it may.
    Emfile,
    /// The machine has.
    Enfile,
    /// No memory.
    Enomem,
    /// No memory for socket buffers.
    Enobufs,
    /// A limit on processes and threads.
    Eagain,
    /// As many descriptors are watched by epoll as may be.
    Enospc,
    /// Anything else.
    Other,
}

impl Shortage {
    /// All there are.
    pub const ALL: [Shortage; 7] = [
        Shortage::Emfile,
        Shortage::Enfile,
        Shortage::Enomem,
        Shortage::Enobufs,
        Shortage::Eagain,
        Shortage::Enospc,
        Shortage::Other,
    ];

    /// Which one an error stands for.
    pub fn of(error: &io::Error) -> Shortage {
        match error.raw_os_error() {
            Some(libc::EMFILE) => Shortage::Emfile,
            Some(libc::ENFILE) => Shortage::Enfile,
            Some(libc::ENOMEM) => Shortage::Enomem,
            Some(libc::ENOBUFS) => Shortage::Enobufs,
            Some(libc::EAGAIN) => Shortage::Eagain,
            Some(libc::ENOSPC) => Shortage::Enospc,
            _ => Shortage::Other,
        }
    }

    /// What bounds it, as a person would look for it.
    pub fn limit(self) -> &'static str {
        match self {
            Shortage::Emfile => "RLIMIT_NOFILE of the server",
            Shortage::Enfile => "fs.file-max of the machine",
            Shortage::Enomem => "memory",
            Shortage::Enobufs => "memory for socket buffers",
            Shortage::Eagain => "processes and threads (RLIMIT_NPROC, pids.max, kernel.pid_max)",
            Shortage::Enospc => "fs.epoll.max_user_watches of the machine",
            Shortage::Other => "an error of accept, fork or thread start",
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Shortage::Emfile => "EMFILE",
            Shortage::Enfile => "ENFILE",
            Shortage::Enomem => "ENOMEM",
            Shortage::Enobufs => "ENOBUFS",
            Shortage::Eagain => "EAGAIN",
            Shortage::Enospc => "ENOSPC",
            Shortage::Other => "another error",
        })
    }
}

impl Tally {
    /// How often each shortage was met, those that were; together they are
    /// `accept_errors`.
    pub fn shortages(&self) -> impl Iterator<Item = (Shortage, u64)> {
        let counted = Shortage::ALL.into_iter().zip(self.by_shortage);
        counted.filter(|(_, count)| *count > 0)
    }

    /// The shortage that was met most often.
    pub fn main_shortage(&self) -> Option<Shortage> {
        let most = self.shortages().max_by_key(|(_, count)| *count);
        most.map(|(shortage, _)| shortage)
    }

    /// Connections open now. Zero if a close was read before its accept.
    pub fn open(&self) -> u64 {
        self.accepted.saturating_sub(self.closed)
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(self, other: Tally) -> Tally {
        Tally {
            accepted: self.accepted.wrapping_add(other.accepted),
            shed: self.shed.wrapping_add(other.shed),
            closed: self.closed.wrapping_add(other.closed),
            bytes_in: self.bytes_in.wrapping_add(other.bytes_in),
            bytes_out: self.bytes_out.wrapping_add(other.bytes_out),
            wakeups: self.wakeups.wrapping_add(other.wakeups),
            accept_errors: self.accept_errors.wrapping_add(other.accept_errors),
            by_shortage: std::array::from_fn(|at| {
                self.by_shortage[at].wrapping_add(other.by_shortage[at])
            }),
        }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Tally>>(tallies: I) -> Tally {
        tallies.fold(Tally::default(), Add::add)
    }
}

/// The writer's side. Its mapping is never unmapped, so that slots may be
/// copied freely into threads and forked children.
#[derive(Clone, Copy)]
pub struct Ledger {
    words: &'static [AtomicU64],
}

impl Ledger {
    /// A ledger of `workers` slots, all zero, for the model of this name. With
    /// a path it is that file (made anew if it was there), else memory that
    /// this process and its future children share.
    ///
    /// # Errors
    /// More than [`MAX_WORKERS`] or no workers, or what the system says about
    /// the file or the mapping.
    pub fn create(path: Option<&Path>, model: &str, workers: usize) -> io::Result<Ledger> {
        let words = words_for(workers).ok_or_else(|| {
            let text = format!("a ledger has 1 to {MAX_WORKERS} workers, not {workers}");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let mapping = match path {
            None => Mapping::anonymous(words)?,
            Some(path) => {
                let mut options = OpenOptions::new();
                let file = options
                    .read(true)
                    .write(true)
                    .create(true)
                    .truncate(true)
                    .open(path)?;
                file.set_len(bytes(words))?;
                Mapping::of_file(&file, words)?
            }
        };
        let forever: &'static Mapping = Box::leak(Box::new(mapping));
        let ledger = Ledger { words: forever };
        ledger.write_header(model, workers);
        Ok(ledger)
    }

    /// The counters of worker `index`. Workers beyond the last share its slot,
    /// so that no index is out of range.
    pub fn slot(&self, index: usize) -> Slot {
        let start = SLOT_WORDS * (1 + index.min(self.workers() - 1));
        Slot {
            words: &self.words[start..start + SLOT_WORDS],
        }
    }

    /// How many workers have a slot.
    pub fn workers(&self) -> usize {
        workers_in(self.words)
    }

    /// The magic comes last: whoever sees it sees a whole header.
    fn write_header(&self, model: &str, workers: usize) {
        self.words[1].store(u64::from(VERSION) | (PROFILE as u64) << 32, Relaxed);
        self.words[2].store(workers as u64, Relaxed);
        self.words[3].store(u64::from(std::process::id()), Relaxed);
        for (word, letters) in self.words[NAME_AT..NAME_AT + NAME_WORDS]
            .iter()
            .zip(model.as_bytes().chunks(8))
        {
            let mut eight = [0; 8];
            eight[..letters.len()].copy_from_slice(letters);
            word.store(u64::from_ne_bytes(eight), Relaxed);
        }
        self.words[0].store(MAGIC, Release);
    }
}

/// One worker's counters: a cheap handle, usable from any thread and after fork.
#[derive(Clone, Copy)]
pub struct Slot {
    words: &'static [AtomicU64],
}

macro_rules! counters {
    ($($index:literal $name:ident: $doc:literal),+ $(,)?) => {
        impl Slot {
            $(#[doc = $doc] pub fn $name(&self, more: u64) {
                self.words[$index].fetch_add(more, Relaxed);
            })+

            /// What has been counted so far.
            pub fn tally(&self) -> Tally {
                tally(self.words)
            }
        }

        fn tally(words: &[AtomicU64]) -> Tally {
            Tally {
                accept_errors: words[ACCEPT_ERRORS_AT].load(Relaxed),
                $($name: words[$index].load(Relaxed),)+
                by_shortage: std::array::from_fn(|at| words[SHORTAGES_AT + at].load(Relaxed)),
            }
        }
    };
}

counters! {
    0 accepted: "Adds to [`Tally::accepted`].",
    1 shed: "Adds to [`Tally::shed`].",
    2 closed: "Adds to [`Tally::closed`].",
    3 bytes_in: "Adds to [`Tally::bytes_in`].",
    4 bytes_out: "Adds to [`Tally::bytes_out`].",
    5 wakeups: "Adds to [`Tally::wakeups`].",
}

impl Slot {
    /// Counts that accepting, or starting a process or thread, failed.
    pub fn accept_failed(&self, shortage: Shortage) {
        self.words[ACCEPT_ERRORS_AT].fetch_add(1, Relaxed);
        self.words[SHORTAGES_AT + shortage as usize].fetch_add(1, Relaxed);
    }

    /// Moves one accepted connection to another worker's account: the one that
    /// accepted it has handed it over. The sum over all slots stays the same.
    pub fn hand_over(&self, to: Slot) {
        to.accepted(1);
        self.accepted(u64::MAX);
    }
}

/// The reader's side: a ledger file, mapped for reading, followed live.
pub struct Reader {
    words: Mapping,
    header: Header,
}

impl Reader {
    /// Opens a ledger that a server has made.
    ///
    /// # Errors
    /// What the system says about the file; or `InvalidData`, with a sentence,
    /// if it is no ledger, is of another layout version, or is not as long as
    /// its number of workers says.
    pub fn open(path: &Path) -> io::Result<Reader> {
        let named = |error: io::Error| {
            let text = format!("ledger {}: {error}", path.display());
            in_a_sentence(error, text)
        };
        let file = File::open(path).map_err(named)?;
        Reader::of_file(&file).map_err(named)
    }

    fn of_file(file: &File) -> io::Result<Reader> {
        let length = file.metadata()?.len();
        let header_words = const { NonZeroUsize::new(SLOT_WORDS).unwrap() };
        if length < bytes(header_words) {
            return Err(invalid("this file is not a server's ledger".to_owned()));
        }
        let header = read_header(&Mapping::of_file_to_read(file, header_words)?)?;
        let words = words_for(header.workers)
            .filter(|words| bytes(*words) == length)
            .ok_or_else(|| {
                let workers = header.workers;
                invalid(format!(
                    "its {length} bytes do not fit its {workers} workers"
                ))
            })?;
        let words = Mapping::of_file_to_read(file, words)?;
        Ok(Reader { words, header })
    }

    /// What the ledger says about its server.
    pub fn header(&self) -> Header {
        self.header.clone()
    }

    /// Every worker's counters as they stand now.
    pub fn workers(&self) -> Vec<Tally> {
        self.words[SLOT_WORDS..]
            .chunks_exact(SLOT_WORDS)
            .map(tally)
            .collect()
    }

    /// The sum over the workers as it stands now.
    pub fn total(&self) -> Tally {
        self.workers().into_iter().sum()
    }
}

fn read_header(words: &[AtomicU64]) -> io::Result<Header> {
    if words[0].load(Acquire) != MAGIC {
        return Err(invalid("this file is not a server's ledger".to_owned()));
    }
    let version_and_profile = words[1].load(Relaxed);
    let version = version_and_profile as u32;
    if version != VERSION {
        return Err(invalid(format!(
            "layout version {version}, but this program reads {VERSION}: build servers and harness together"
        )));
    }
    let name: Vec<u8> = words[NAME_AT..NAME_AT + NAME_WORDS]
        .iter()
        .flat_map(|word| word.load(Relaxed).to_ne_bytes())
        .take_while(|&letter| letter != 0)
        .collect();
    Ok(Header {
        profile: match version_and_profile >> 32 {
            0 => Profile::Debug,
            _ => Profile::Release,
        },
        workers: usize::try_from(words[2].load(Relaxed)).unwrap_or(usize::MAX),
        pid: u32::try_from(words[3].load(Relaxed)).unwrap_or(0),
        model: String::from_utf8_lossy(&name).into_owned(),
    })
}

/// How long a ledger of so many workers is; none for a number it cannot have.
fn words_for(workers: usize) -> Option<NonZeroUsize> {
    let allowed = (1..=MAX_WORKERS).contains(&workers);
    NonZeroUsize::new(SLOT_WORDS * (1 + workers.min(MAX_WORKERS))).filter(|_| allowed)
}

fn bytes(words: NonZeroUsize) -> u64 {
    (words.get() * size_of::<u64>()) as u64
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn workers_in(words: &[AtomicU64]) -> usize {
    words.len() / SLOT_WORDS - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file() -> tempfile::NamedTempFile {
        tempfile::NamedTempFile::new().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let file = file();
        let ledger = Ledger::create(Some(file.path()), "epoll-oneshot", 3).unwrap();
        let reader = Reader::open(file.path()).unwrap();
        let header = reader.header();
        assert_eq!(
            (header.model.as_str(), header.workers),
            ("epoll-oneshot", 3)
        );
        assert_eq!((header.pid, header.profile), (std::process::id(), PROFILE));
        assert_eq!(reader.total(), Tally::default());

        ledger.slot(0).accepted(2);
        ledger.slot(2).bytes_in(64);
        ledger.slot(2).closed(1);
        let workers = reader.workers();
        assert_eq!(workers.len(), 3);
        assert_eq!(
            (workers[0].accepted, workers[1], workers[2].bytes_in),
            (2, Tally::default(), 64)
        );
        assert_eq!(reader.total().open(), 1);
    }

    #[test]
    fn threads_lose_no_count() {
        let ledger = Ledger::create(None, "thread", 1).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let slot = ledger.slot(0);
                scope.spawn(move || (0..10_000).for_each(|_| slot.wakeups(1)));
            }
        });
        assert_eq!(ledger.slot(0).tally().wakeups, 40_000);
    }

    #[test]
    fn handing_over_keeps_the_sum() {
        let ledger = Ledger::create(None, "thread-pool", 2).unwrap();
        ledger.slot(0).accepted(3);
        ledger.slot(0).hand_over(ledger.slot(1));
        assert_eq!(
            [ledger.slot(0), ledger.slot(1)].map(|slot| slot.tally().accepted),
            [2, 1]
        );
    }

    #[test]
    fn a_shortage_is_counted_by_its_cause() {
        let slot = Ledger::create(None, "thread", 1).unwrap().slot(0);
        assert_eq!(slot.tally().main_shortage(), None);
        slot.accept_failed(Shortage::Other);
        for errno in [libc::EMFILE, libc::EMFILE, libc::EAGAIN] {
            slot.accept_failed(Shortage::of(&io::Error::from_raw_os_error(errno)));
        }
        let tally = slot.tally() + Tally::default();
        assert_eq!(tally.main_shortage(), Some(Shortage::Emfile));
        assert_eq!(tally.shortages().map(|(_, count)| count).sum::<u64>(), 4);
        assert_eq!(tally.accept_errors, 4);
        assert_eq!(Shortage::Emfile.to_string(), "EMFILE");
    }

    #[test]
    fn the_number_of_workers_is_bounded() {
        assert!(Ledger::create(None, "x", 0).is_err());
        assert!(Ledger::create(None, "x", MAX_WORKERS + 1).is_err());
        let ledger = Ledger::create(None, "x", MAX_WORKERS).unwrap();
        ledger.slot(usize::MAX).shed(1);
        assert_eq!(ledger.slot(MAX_WORKERS - 1).tally().shed, 1);
    }

    #[test]
    fn a_truncated_ledger_is_refused() {
        let file = file();
        Ledger::create(Some(file.path()), "poll", 2).unwrap();
        let whole = std::fs::read(file.path()).unwrap();
        for length in (0..whole.len()).step_by(8) {
            let cut = self::file();
            std::fs::write(cut.path(), &whole[..length]).unwrap();
            assert!(
                Reader::open(cut.path()).is_err(),
                "{length} of {} bytes",
                whole.len()
            );
        }
        assert!(Reader::open(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn another_version_says_so() {
        let file = file();
        Ledger::create(Some(file.path()), "poll", 1).unwrap();
        let mut bytes = std::fs::read(file.path()).unwrap();
        bytes[8] = 99;
        std::fs::write(file.path(), bytes).unwrap();
        let Err(error) = Reader::open(file.path()) else {
            panic!("a foreign version was read")
        };
        assert!(error.to_string().contains("layout version 99"));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), sign: bool) {
            if sign && bytes.len() >= 16 {
                bytes[..8].copy_from_slice(b"tenkledg");
                bytes[8..12].copy_from_slice(&VERSION.to_ne_bytes());
            }
            let file = file();
            std::fs::write(file.path(), &bytes).unwrap();
            if let Ok(reader) = Reader::open(file.path()) {
                prop_assert_eq!(reader.workers().len(), reader.header().workers);
            }
        }
    }
}
