//! select(2) and poll(2), on sets the caller keeps.

use std::os::fd::RawFd;

use nix::libc;
use nix::poll::PollTimeout;

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
