//! Processes: fork(2), waitpid(2), and a lock that they share.

use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{ForkResult, Pid, fork, getpid, getppid};

use super::memory::Mapping;

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
    pub fn waitpid_on_sigchld(&self) -> io::Result<()> {
        let flags = SaFlags::SA_RESTART | SaFlags::SA_NOCLDSTOP;
        let action = SigAction::new(SigHandler::Handler(waitpid_all), flags, SigSet::empty());
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

extern "C" fn waitpid_all(_signal: libc::c_int) {
    let errno = nix::errno::Errno::last_raw();
    // SAFETY: waitpid without a status pointer writes to no memory of ours.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
    nix::errno::Errno::set_raw(errno);
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
        let mutex = memory.start().cast::<libc::pthread_mutex_t>();
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
