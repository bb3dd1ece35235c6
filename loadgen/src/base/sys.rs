//! The kernel interfaces that nix does not wrap, and the crate's only `unsafe`.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

/// Segments retransmitted on a connection so far, its SYNs included
/// (`tcpi_total_retrans`, tcp(7)).
///
/// # Errors
/// The errno of getsockopt(2).
pub fn total_retransmits(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` and `length` outlive the call and `length` is the size of `info`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed bytes are a valid tcp_info, a struct of integers, whatever the kernel left unwritten.
    Ok(unsafe { info.assume_init() }.tcpi_total_retrans)
}

/// Asks the CPU to fetch a value into its caches: with ten thousand connections
/// their state has left them between two events, and a miss costs more than
/// everything else that is done for a request in user space.
pub fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start = std::ptr::from_ref(value).cast::<i8>();
        for line in (0..size_of::<T>()).step_by(64) {
            // SAFETY: a prefetch reads nothing, and `start + line` lies within `value`.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Lets a signal do what it does by default, whatever this process inherited: a shell starts its background jobs with
/// SIGINT ignored.
pub fn restore_default(signal: nix::sys::signal::Signal) {
    let handler = nix::sys::signal::SigHandler::SigDfl;
    // SAFETY: the default action runs no code of this process.
    let _ = unsafe { nix::sys::signal::signal(signal, handler) };
}

/// Takes over a descriptor that was inherited by number.
///
/// # Errors
/// EBADF when it is not open. Call it once per number.
pub fn adopt_fd(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl(F_GETFD) reads flags of a descriptor number and touches no memory.
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is open and, by the caller's promise, nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a child that is about to be spawned inherit `fd` as descriptor `number`
/// and die with the thread that spawns it (PR_SET_PDEATHSIG, prctl(2)).
pub fn inherit_and_die_with_parent(command: &mut Command, fd: OwnedFd, number: RawFd) {
    let parent = nix::unistd::getpid();
    let prepare = move || {
        nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
        if nix::unistd::getppid() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // SAFETY: dup2 and fcntl are async-signal-safe and take plain numbers.
        // dup2 of a descriptor onto itself would leave its CLOEXEC set.
        let result = unsafe {
            if fd.as_raw_fd() == number {
                libc::fcntl(number, libc::F_SETFD, 0)
            } else {
                libc::dup2(fd.as_raw_fd(), number)
            }
        };
        match result {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    };
    // SAFETY: `prepare` makes only async-signal-safe system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}
