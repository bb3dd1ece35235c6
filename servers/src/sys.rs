//! The crate's only `unsafe`: thin, sound wrappers over what neither std nor
//! nix offers safely. Each block says why it is sound.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

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
