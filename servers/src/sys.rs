//! The crate's only `unsafe`: thin, sound wrappers over what neither std nor
//! nix offers safely. Each block says why it is sound.

pub mod uring;

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use nix::libc;
use nix::poll::PollTimeout;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};
use nix::sys::prctl;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
    sendmsg, socketpair,
};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

use tokio::io::unix::AsyncFd;

use crate::accept::{Door, Guest};

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

/// How many bytes one read asks for, in every model.
pub const READ_SIZE: usize = 64 * 1024;

/// A read buffer that is never filled with zeros first, so that it costs an
/// idle thread or process the pages it used and no more.
pub struct Scratch {
    bytes: Box<[MaybeUninit<u8>]>,
}

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch::new()
    }
}

impl Scratch {
    /// A buffer of [`READ_SIZE`] bytes.
    pub fn new() -> Scratch {
        Scratch {
            bytes: Box::new_uninit_slice(READ_SIZE),
        }
    }

    /// What one recv(2) returns: no bytes at the end of the stream.
    ///
    /// # Errors
    /// What the system says, an interruption by a signal aside.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<&[u8]> {
        let start = self.bytes.as_mut_ptr();
        loop {
            // SAFETY: `start` points to READ_SIZE writable bytes of our own.
            let got = unsafe { libc::recv(socket.as_fd().as_raw_fd(), start.cast(), READ_SIZE, 0) };
            if let Ok(length) = usize::try_from(got) {
                // SAFETY: recv has initialised the first `length` of those bytes.
                return Ok(unsafe { std::slice::from_raw_parts(start.cast(), length) });
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

/// Which side of a fork this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The new process.
    Child,
    /// The process that made it, told which.
    Parent(Pid),
}

/// A single-threaded process, which may therefore fork.
pub struct Parent {
    pid: Pid,
}

impl Parent {
    /// This process.
    ///
    /// # Errors
    /// If it already has a second thread: a child could inherit a lock that
    /// nobody will ever release.
    pub fn new() -> io::Result<Parent> {
        if std::fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other(
                "a process with more than one thread must not fork",
            ));
        }
        Ok(Parent { pid: getpid() })
    }

    /// From now on reaps every child that has ended, in a handler of SIGCHLD.
    /// It loops, as one signal may stand for many (signal(7)). None stays a
    /// zombie, and their CPU time is added to this process's account.
    ///
    /// # Errors
    /// What the system says about installing the handler.
    pub fn reap_children(&self) -> io::Result<()> {
        let flags = SaFlags::SA_RESTART | SaFlags::SA_NOCLDSTOP;
        let action = SigAction::new(SigHandler::Handler(reap), flags, SigSet::empty());
        // SAFETY: the handler calls nothing but waitpid, which is async-signal-safe.
        unsafe { sigaction(Signal::SIGCHLD, &action)? };
        Ok(())
    }

    /// Forks. The child is killed when this process dies: the wish is not
    /// inherited from the parent (prctl(2)), so each child makes it anew, and
    /// ends at once if its parent was faster.
    ///
    /// # Errors
    /// EAGAIN at a limit on processes, ENOMEM.
    pub fn fork(&self) -> io::Result<Fork> {
        // SAFETY: this process has a single thread, see `new`; the pages that
        // fork start none.
        match unsafe { fork()? } {
            ForkResult::Parent { child } => Ok(Fork::Parent(child)),
            ForkResult::Child => {
                if prctl::set_pdeathsig(Signal::SIGKILL).is_err() || getppid() != self.pid {
                    std::process::exit(1);
                }
                Ok(Fork::Child)
            }
        }
    }
}

extern "C" fn reap(_signal: libc::c_int) {
    let errno = nix::errno::Errno::last_raw();
    // SAFETY: waitpid without a status pointer writes to no memory of ours.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
    nix::errno::Errno::set_raw(errno);
}

/// poll(2) on an array the caller keeps.
///
/// # Errors
/// What the system says, EINTR included.
pub fn poll(fds: &mut [libc::pollfd], timeout: PollTimeout) -> nix::Result<usize> {
    let count = fds.len() as libc::nfds_t;
    // SAFETY: the pointer and the count describe one exclusively borrowed slice.
    let ready = unsafe { libc::poll(fds.as_mut_ptr(), count, i32::from(timeout)) };
    Ok(nix::errno::Errno::result(ready)? as usize)
}

/// The bitmap of select(2): descriptors from 0 to `FD_SETSIZE` − 1. Numbers
/// beyond are no member and cannot become one.
#[derive(Clone, Copy)]
pub struct FdSet {
    bits: libc::fd_set,
}

impl FdSet {
    /// The first descriptor number that does not fit: 1024.
    pub const SIZE: RawFd = libc::FD_SETSIZE as RawFd;

    /// The empty set.
    pub fn new() -> FdSet {
        // SAFETY: fd_set is an array of integers; all zero is the empty set.
        let bits = unsafe { std::mem::zeroed() };
        FdSet { bits }
    }

    /// Adds a descriptor or takes it out.
    pub fn set(&mut self, fd: RawFd, member: bool) {
        if !(0..FdSet::SIZE).contains(&fd) {
            return;
        }
        match member {
            // SAFETY: `fd` is within the bitmap.
            true => unsafe { libc::FD_SET(fd, &mut self.bits) },
            // SAFETY: `fd` is within the bitmap.
            false => unsafe { libc::FD_CLR(fd, &mut self.bits) },
        }
    }

    /// Takes a descriptor out. Says whether it was a member.
    pub fn take(&mut self, fd: RawFd) -> bool {
        let member = self.contains(fd);
        self.set(fd, false);
        member
    }

    /// Whether a descriptor is a member.
    pub fn contains(&self, fd: RawFd) -> bool {
        // SAFETY: `fd` is within the bitmap by the time it is looked up.
        (0..FdSet::SIZE).contains(&fd) && unsafe { libc::FD_ISSET(fd, &self.bits) }
    }
}

impl Default for FdSet {
    fn default() -> FdSet {
        FdSet::new()
    }
}

/// select(2) on the descriptors below `end`, which replaces the sets by what is
/// ready.
///
/// # Errors
/// What the system says, EINTR included.
pub fn select(
    end: RawFd,
    read: &mut FdSet,
    write: &mut FdSet,
    timeout: PollTimeout,
) -> nix::Result<usize> {
    // Negative stands for no limit. (`PollTimeout::duration` panics on that.)
    let millis = i64::from(i32::from(timeout));
    let mut limit = (millis >= 0).then_some(libc::timeval {
        tv_sec: millis / 1000,
        tv_usec: millis % 1000 * 1000,
    });
    let limit = limit
        .as_mut()
        .map_or(std::ptr::null_mut(), |limit| &raw mut *limit);
    let end = end.clamp(0, FdSet::SIZE);
    // SAFETY: both bitmaps are exclusively borrowed and hold more bits than `end`;
    // the time limit is null or a local that outlives the call.
    let ready = unsafe {
        libc::select(
            end,
            &mut read.bits,
            &mut write.bits,
            std::ptr::null_mut(),
            limit,
        )
    };
    Ok(nix::errno::Errno::result(ready)? as usize)
}

/// A lock that processes forked from this one share. If its holder dies, the
/// next one gets it.
pub struct ProcessMutex {
    mutex: NonNull<libc::pthread_mutex_t>,
}

impl ProcessMutex {
    /// An unlocked mutex in memory of its own, which is never unmapped.
    ///
    /// # Errors
    /// What the system says about the memory or the mutex.
    pub fn new() -> io::Result<ProcessMutex> {
        let words =
            const { NonZeroUsize::new(size_of::<libc::pthread_mutex_t>().div_ceil(8)).unwrap() };
        let memory: &'static Mapping = Box::leak(Box::new(Mapping::anonymous(words)?));
        let mutex = memory.start.cast::<libc::pthread_mutex_t>();
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: the attributes are initialised before they are used, and the
        // memory is zeroed, large enough, aligned to a page and ours alone.
        let results = unsafe {
            [
                libc::pthread_mutexattr_init(attributes.as_mut_ptr()),
                libc::pthread_mutexattr_setpshared(
                    attributes.as_mut_ptr(),
                    libc::PTHREAD_PROCESS_SHARED,
                ),
                libc::pthread_mutexattr_setrobust(
                    attributes.as_mut_ptr(),
                    libc::PTHREAD_MUTEX_ROBUST,
                ),
                libc::pthread_mutex_init(mutex.as_ptr(), attributes.as_ptr()),
            ]
        };
        match results.into_iter().find(|&result| result != 0) {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(ProcessMutex { mutex }),
        }
    }

    /// Runs `work` while holding the lock.
    ///
    /// # Errors
    /// What the system says about the lock.
    pub fn holding<T>(&self, work: impl FnOnce() -> T) -> io::Result<T> {
        // SAFETY: the mutex was initialised in `new` and its memory stays.
        match unsafe { libc::pthread_mutex_lock(self.mutex.as_ptr()) } {
            0 => {}
            // The holder died; the lock guards no data that could be broken.
            libc::EOWNERDEAD => {
                // SAFETY: this thread holds the mutex now.
                let _ = unsafe { libc::pthread_mutex_consistent(self.mutex.as_ptr()) };
            }
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
        let result = work();
        // SAFETY: this thread has locked the mutex above.
        unsafe { libc::pthread_mutex_unlock(self.mutex.as_ptr()) };
        Ok(result)
    }
}

/// Two connected Unix sockets that keep messages apart (unix(7)).
///
/// # Errors
/// What socketpair(2) says.
pub fn message_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

/// Sends a copy of a descriptor to whoever receives at the other end of a Unix
/// socket (SCM_RIGHTS, unix(7)).
///
/// # Errors
/// What sendmsg(2) says.
pub fn send_descriptor(socket: impl AsFd, descriptor: impl AsFd) -> io::Result<()> {
    let rights = [descriptor.as_fd().as_raw_fd()];
    let message = [ControlMessage::ScmRights(&rights)];
    // One byte of data must carry the descriptor.
    let data = [io::IoSlice::new(b"c")];
    sendmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &data,
        &message,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    Ok(())
}

/// Waits for a descriptor at the end of a Unix socket.
///
/// # Errors
/// What recvmsg(2) says; `UnexpectedEof` if the other end is closed, or if the
/// descriptor was lost because this process has too many.
pub fn receive_descriptor(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut data = [io::IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!(RawFd);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(
        socket.as_fd().as_raw_fd(),
        &mut data,
        Some(&mut space),
        flags,
    )?;
    let received = message.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    });
    let descriptor = received.ok_or(io::ErrorKind::UnexpectedEof)?;
    // SAFETY: the kernel has just made this descriptor for us, and there was
    // room for no other.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// What owns one descriptor, the same one for as long as it lives.
///
/// # Safety
/// `as_raw_fd` must always return that descriptor, open.
pub unsafe trait OwnsDescriptor: AsRawFd {}

// SAFETY: a door's listener is never replaced, and is closed only with it.
unsafe impl OwnsDescriptor for Door {}
// SAFETY: a guest's connection is never replaced, and is closed only with it.
unsafe impl OwnsDescriptor for Guest {}

/// Registers a descriptor with the tokio runtime this is called in.
///
/// # Errors
/// What epoll_ctl(2) says; the descriptor is then closed.
pub fn register<T: OwnsDescriptor>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor stays open, and the same, until the AsyncFd drops
    // its owner.
    Ok(unsafe { AsyncFd::register(owner)? })
}
