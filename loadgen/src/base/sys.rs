//! The kernel interfaces that nix does not wrap, and the crate's only `unsafe`.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::libc;

/// The most CPUs a mask is grown for: Linux can be built for 8 192.
const MOST_CPUS: usize = 1 << 16;

/// The CPUs the calling thread may run on, in ascending order. The C library's mask ends at 1 024, and a kernel built
/// for more refuses it (EINVAL, `sched_getaffinity(2)`), so the mask grows until the kernel takes it.
///
/// # Errors
/// The errno of `sched_getaffinity(2)`.
pub fn affinity() -> io::Result<Vec<usize>> {
    let mut words = CPU_WORDS;
    loop {
        let mut mask = vec![0u64; words];
        // SAFETY: the mask is writable and as long as is said, and 0 is the calling thread.
        let result = unsafe { libc::sched_getaffinity(0, words * 8, mask.as_mut_ptr().cast()) };
        if result >= 0 {
            return Ok(cpus_in(&mask));
        }
        match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::EINVAL) && words * 64 < MOST_CPUS => words *= 2,
            e => return Err(e),
        }
    }
}

/// Restricts the calling thread, and what it starts, to these CPUs.
///
/// # Errors
/// EINVAL if there are none of them here, or the errno of `sched_setaffinity(2)`.
pub fn set_affinity(cpus: &[usize]) -> io::Result<()> {
    let mask = mask_of(cpus).ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: the mask is readable and as long as is said, and 0 is the calling thread.
    match unsafe { libc::sched_setaffinity(0, mask.len() * 8, mask.as_ptr().cast()) } {
        0.. => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Words of the C library's own mask.
const CPU_WORDS: usize = 16;

fn cpus_in(mask: &[u64]) -> Vec<usize> {
    let is_set = |cpu: &usize| mask[cpu / 64] >> (cpu % 64) & 1 == 1;
    (0..mask.len() * 64).filter(is_set).collect()
}

fn mask_of(cpus: &[usize]) -> Option<Vec<u64>> {
    let most = *cpus.iter().max()?;
    let mut mask = vec![0u64; (most / 64 + 1).max(CPU_WORDS)];
    if most >= MOST_CPUS {
        return None;
    }
    for cpu in cpus {
        mask[cpu / 64] |= 1 << (cpu % 64);
    }
    Some(mask)
}

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

/// Makes a child that is about to be spawned get a signal when the thread that spawns it ends (PR_SET_PDEATHSIG,
/// prctl(2)).
pub fn die_with_parent(command: &mut Command, signal: nix::sys::signal::Signal) {
    let parent = nix::unistd::getpid();
    let prepare = move || {
        nix::sys::prctl::set_pdeathsig(signal)?;
        match nix::unistd::getppid() == parent {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    };
    // SAFETY: `prepare` makes only async-signal-safe system calls and allocates nothing.
    unsafe { command.pre_exec(prepare) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_holds_more_cpus_than_the_c_librarys() {
        let cpus = [0, 63, 64, 1023, 1024, 4095];
        let mask = mask_of(&cpus).unwrap();
        assert_eq!((mask.len(), cpus_in(&mask)), (64, cpus.to_vec()));
        assert_eq!(mask_of(&[1]).map(|mask| mask.len()), Some(CPU_WORDS));
        assert_eq!((mask_of(&[]), mask_of(&[MOST_CPUS])), (None, None));
    }

    #[test]
    fn this_thread_runs_where_it_was_put() {
        let before = affinity().unwrap();
        let last = *before.last().unwrap();
        set_affinity(&[last]).unwrap();
        assert_eq!(affinity().unwrap(), [last]);
        set_affinity(&before).unwrap();
        assert_eq!(affinity().unwrap(), before);
        assert!(
            set_affinity(&[MOST_CPUS - 1]).is_err(),
            "there is no such CPU"
        );
    }
}
