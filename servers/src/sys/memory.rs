//! Memory that processes share, that is touched beforehand, that is received into.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::libc;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// A shared mapping of whole words, zero where nobody has written yet. Forked
/// children see the same memory. Unmapped when dropped.
pub struct Mapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the memory is only ever reached as atomics, and the mapping stays in
// place for as long as the value lives, whichever thread holds it.
unsafe impl Send for Mapping {}
// SAFETY: as for Send; `&Mapping` gives out nothing but `&[AtomicU64]`.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `words` zeroed words that only this process and its children share.
    pub fn anonymous(words: NonZeroUsize) -> io::Result<Mapping> {
        let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice
        // aliases nothing.
        let start = unsafe { mmap_anonymous(None, bytes(words)?, prot, MapFlags::MAP_SHARED)? };
        Ok(Mapping {
            start: start.cast(),
            words: words.get(),
        })
    }

    /// Maps the first `words` words of a file that is at least that long,
    /// for reading and writing.
    pub fn of_file(file: &File, words: NonZeroUsize) -> io::Result<Mapping> {
        Mapping::map(file, words, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)
    }

    /// The same for reading only: a store through it would be a fault, so the
    /// caller may only load.
    pub fn of_file_to_read(file: &File, words: NonZeroUsize) -> io::Result<Mapping> {
        Mapping::map(file, words, ProtFlags::PROT_READ)
    }

    /// Where it begins: at a page's beginning.
    pub(super) fn start(&self) -> NonNull<AtomicU64> {
        self.start
    }

    fn map(file: &File, words: NonZeroUsize, prot: ProtFlags) -> io::Result<Mapping> {
        let length = bytes(words)?;
        if file.metadata()?.len() < length.get() as u64 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
        // SAFETY: a fresh mapping at an address of the kernel's choice. The file
        // was long enough a moment ago; if someone truncates it, an access ends
        // in SIGBUS, which is a crash and not undefined behaviour.
        let start = unsafe { mmap(None, length, prot, MapFlags::MAP_SHARED, file, 0)? };
        Ok(Mapping {
            start: start.cast(),
            words: words.get(),
        })
    }
}

fn bytes(words: NonZeroUsize) -> io::Result<NonZeroUsize> {
    words
        .checked_mul(const { NonZeroUsize::new(size_of::<AtomicU64>()).unwrap() })
        .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}

impl Deref for Mapping {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping is `words` words long, page-aligned, initialised by
        // the kernel, and lives as long as `self`. Every bit pattern is a valid
        // AtomicU64, and atomics may be shared with other processes.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let length = self.words * size_of::<AtomicU64>();
        // SAFETY: this is the mapping made at construction, and no reference
        // into it outlives `self`. A failure could only leak it.
        let _ = unsafe { munmap(self.start.cast(), length) };
    }
}

/// Takes and fills memory that stays until the process ends. In small pages: a
/// parent with huge ones would be cheap to fork, which most are not.
///
/// # Errors
/// What the system says about mapping so much.
pub fn touch(bytes: usize) -> io::Result<()> {
    let Some(length) = NonZeroUsize::new(bytes) else {
        return Ok(());
    };
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a fresh private mapping of `length` bytes, which is advised on and
    // filled before anyone else knows it.
    unsafe {
        let start = mmap_anonymous(None, length, prot, MapFlags::MAP_PRIVATE)?;
        madvise(start, bytes, MmapAdvise::MADV_NOHUGEPAGE)?;
        start.write_bytes(1, bytes);
    }
    Ok(())
}

/// How many bytes one recv(2) asks for, in every model.
pub const RECV_SIZE: usize = 64 * 1024;

/// A buffer to receive into that is never filled with zeros first, so that it
/// costs an idle thread or process the pages it used and no more.
pub struct Buffer {
    bytes: Box<[MaybeUninit<u8>]>,
    filled: usize,
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::new()
    }
}

impl Buffer {
    /// A buffer of [`RECV_SIZE`] bytes.
    pub fn new() -> Buffer {
        Buffer {
            bytes: Box::new_uninit_slice(RECV_SIZE),
            filled: 0,
        }
    }

    /// What one recv(2) returns: no bytes at the end of the stream.
    ///
    /// # Errors
    /// What the system says, an interruption by a signal aside.
    pub fn recv(&mut self, socket: impl AsFd) -> io::Result<&[u8]> {
        self.recv_at_most(socket, RECV_SIZE)
    }

    /// The same, of one that asks for so many bytes.
    ///
    /// # Errors
    /// The same.
    pub fn recv_at_most(&mut self, socket: impl AsFd, length: usize) -> io::Result<&[u8]> {
        let length = length.min(RECV_SIZE);
        self.filled = 0;
        let fd = socket.as_fd().as_raw_fd();
        let start = self.bytes.as_mut_ptr();
        loop {
            // SAFETY: `start` points to RECV_SIZE writable bytes of our own, which
            // is the most that `length` can be.
            let got = unsafe { libc::recv(fd, start.cast(), length, 0) };
            if let Ok(length) = usize::try_from(got) {
                self.filled = length;
                return Ok(self.filled());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }

    /// What the last call received.
    pub fn filled(&self) -> &[u8] {
        // SAFETY: recv has initialised the first `filled` bytes, which are ours.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().cast(), self.filled) }
    }
}
