//! A safe face on io_uring(7) for sockets: every byte the kernel may read or
//! write belongs to the ring, which is never dropped, so no caller can take it
//! away too early.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering::Release};
use std::time::Duration;

use io_uring::types::{BufRingEntry, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, cqueue, opcode, squeue};
use nix::libc;

use crate::error::of_kind;

/// Length of a receive buffer: a page, since they are used in turn, and many
/// small messages touch all of them.
const BUFFER_SIZE: usize = 4096;

/// Number of receive buffers, a power of two: how many messages can be on their
/// way between a receive and the send that answers it.
const BUFFERS: u16 = 1024;

/// The buffer group the kernel takes receive buffers from.
const GROUP: u16 = 0;

/// Submissions gathered before they must be handed to the kernel.
const ENTRIES: u32 = 1024;

/// What an operation was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// [`Ring::accept`].
    Accept,
    /// [`Ring::recv`].
    Recv,
    /// [`Ring::send`].
    Send,
    /// Anything whose outcome is of no interest.
    Other,
}

const OPS: [Op; 4] = [Op::Accept, Op::Recv, Op::Send, Op::Other];

/// One result of an operation.
#[derive(Debug)]
pub struct Completion {
    /// Which operation.
    pub op: Op,
    /// On which descriptor.
    pub fd: RawFd,
    /// What the system call of that name would have returned.
    pub result: io::Result<u32>,
    /// Whether the operation goes on and will have further results.
    pub more: bool,
    /// The buffer with what was received.
    pub buffer: Option<Buffer>,
    /// The connection that was accepted.
    pub accepted: Option<OwnedFd>,
    /// What was being sent.
    pub outgoing: Option<Outgoing>,
}

/// A filled receive buffer: its holder must send it or give it back.
#[derive(Debug)]
pub struct Buffer {
    id: u16,
    length: usize,
}

/// What a send sends.
#[derive(Debug)]
pub enum Outgoing {
    /// What was received, from where it was received.
    Received(Buffer),
    /// Bytes of our own, from this offset on.
    Bytes(Vec<u8>, usize),
}

/// An io_uring with its receive buffers.
pub struct Ring {
    ring: IoUring,
    buffers: *mut u8,
    /// The buffer ring shared with the kernel; without one, buffers are provided
    /// by an operation each.
    entries: Option<*mut BufRingEntry>,
    tail: u16,
    multishot: bool,
    /// What is being sent on each descriptor.
    sending: Vec<Option<Outgoing>>,
}

impl Ring {
    /// Sets up a ring that lives as long as the process. Where the kernel has
    /// them, and `multishot` is wished for, operations stay armed over many
    /// results (5.19, for receives 6.0) and buffers are shared through a ring.
    ///
    /// # Errors
    /// Kind `Unsupported`, with the reason, if the kernel has no io_uring, keeps
    /// it from this process, or lacks an operation.
    pub fn io_uring_setup(multishot: bool) -> io::Result<&'static mut Ring> {
        let ring = set_up().map_err(unavailable)?;
        check_operations(&ring)?;
        let size = BUFFER_SIZE * usize::from(BUFFERS);
        let mut ring = Ring {
            ring,
            buffers: pages(size),
            entries: None,
            tail: 0,
            multishot,
            sending: Vec::new(),
        };
        if multishot {
            ring.entries = ring.register_buffers();
            ring.multishot = ring.entries.is_some();
        }
        for id in 0..BUFFERS {
            ring.give_back(Buffer { id, length: 0 })?;
        }
        Ok(Box::leak(Box::new(ring)))
    }

    /// Accepts connections until a completion says there will be no more.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    pub fn accept(&mut self, listener: RawFd) -> io::Result<()> {
        let flags = libc::SOCK_CLOEXEC;
        let entry = match self.multishot {
            true => opcode::AcceptMulti::new(Fd(listener)).flags(flags).build(),
            false => {
                let null = std::ptr::null_mut();
                opcode::Accept::new(Fd(listener), null, null.cast())
                    .flags(flags)
                    .build()
            }
        };
        self.push(entry, Op::Accept, listener)
    }

    /// Receives into the ring's buffers until a completion says there will be
    /// no more.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    pub fn recv(&mut self, fd: RawFd) -> io::Result<()> {
        let entry = match self.multishot {
            true => opcode::RecvMulti::new(Fd(fd), GROUP).build(),
            false => opcode::Recv::new(Fd(fd), std::ptr::null_mut(), BUFFER_SIZE as u32)
                .buf_group(GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
        };
        self.push(entry, Op::Recv, fd)
    }

    /// Ends the receive that is armed on a descriptor.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    pub fn cancel_recv(&mut self, fd: RawFd) -> io::Result<()> {
        self.push(
            opcode::AsyncCancel::new(token(Op::Recv, fd)).build(),
            Op::Other,
            fd,
        )
    }

    /// Sends; there may be one send at a time on a descriptor. A received buffer
    /// is sent only as far as there is room at once, since one that waited would
    /// be missing where the next message is to be received.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    pub fn send(&mut self, fd: RawFd, outgoing: Outgoing) -> io::Result<()> {
        let index = usize::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        if self.sending.len() <= index {
            self.sending.resize_with(index + 1, || None);
        }
        if self.sending[index].is_some() {
            return Err(io::Error::from_raw_os_error(libc::EALREADY));
        }
        let outgoing = self.sending[index].insert(outgoing);
        let (start, length, waits) = match outgoing {
            Outgoing::Received(buffer) => (
                address(self.buffers, buffer.id),
                buffer.length,
                libc::MSG_DONTWAIT,
            ),
            Outgoing::Bytes(bytes, from) => {
                (bytes[*from..].as_ptr().cast_mut(), bytes.len() - *from, 0)
            }
        };
        let entry = opcode::Send::new(Fd(fd), start, u32::try_from(length).unwrap_or(u32::MAX))
            .flags(libc::MSG_NOSIGNAL | waits)
            .build();
        self.push(entry, Op::Send, fd)
    }

    /// The bytes in a received buffer.
    pub fn bytes(&self, buffer: &Buffer) -> &[u8] {
        // SAFETY: the kernel has filled that many bytes of this buffer, which is
        // ours until it is given back, and `buffer` proves that it was not.
        unsafe { std::slice::from_raw_parts(address(self.buffers, buffer.id), buffer.length) }
    }

    /// Gives a buffer back to be received into.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    pub fn give_back(&mut self, buffer: Buffer) -> io::Result<()> {
        let start = address(self.buffers, buffer.id);
        let Some(entries) = self.entries else {
            let entry =
                opcode::ProvideBuffers::new(start, BUFFER_SIZE as i32, 1, GROUP, buffer.id).build();
            return self.push(entry, Op::Other, -1);
        };
        let place = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `place` is within the registered ring, and the kernel does not
        // look at this entry before the tail below says so.
        unsafe {
            let entry = &mut *entries.add(place);
            entry.set_addr(start as u64);
            entry.set_len(BUFFER_SIZE as u32);
            entry.set_bid(buffer.id);
        }
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies within the registered ring, aligned, and both
        // sides use it as an atomic.
        unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) }
            .store(self.tail, Release);
        Ok(())
    }

    /// Gives back the buffer of a result that nobody waits for any more.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    pub fn give_back_unused(&mut self, completion: Completion) -> io::Result<()> {
        completion
            .buffer
            .map_or(Ok(()), |buffer| self.give_back(buffer))
    }

    /// Stops using operations that stay armed: this kernel does not have them
    /// for receives. Says whether they were in use.
    pub fn give_up_multishot(&mut self) -> bool {
        std::mem::take(&mut self.multishot)
    }

    /// Hands over what was asked for, waits for a result, but not longer than
    /// `timeout`, and appends the results to `completions`.
    ///
    /// # Errors
    /// What io_uring_enter(2) says, interruptions aside.
    pub fn io_uring_enter(
        &mut self,
        timeout: Option<Duration>,
        completions: &mut Vec<Completion>,
    ) -> io::Result<()> {
        let waited = match timeout {
            None => self.ring.submit_and_wait(1),
            Some(limit) => {
                let limit = Timespec::from(limit);
                self.ring
                    .submitter()
                    .submit_with_args(1, &SubmitArgs::new().timespec(&limit))
            }
        };
        match waited.map_err(|error| (error.raw_os_error(), error)) {
            // EBUSY and EAGAIN ask to take results before more is asked for.
            Err((Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN), _)) | Ok(_) => {}
            Err((_, error)) => return Err(error),
        }
        let sending = &mut self.sending;
        completions.extend(self.ring.completion().map(|entry| read(entry, sending)));
        Ok(())
    }

    fn push(&mut self, entry: squeue::Entry, op: Op, fd: RawFd) -> io::Result<()> {
        let entry = entry.user_data(token(op, fd));
        loop {
            // SAFETY: the memory an entry refers to is a buffer of the ring's or
            // an `Outgoing` kept in `sending` until its completion has come, and
            // the ring is never dropped.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            match self.ring.submit() {
                Err(error) if error.raw_os_error() != Some(libc::EINTR) => return Err(error),
                _ => {}
            }
        }
    }

    /// Shares a ring of buffers with the kernel; none where it has no such.
    fn register_buffers(&self) -> Option<*mut BufRingEntry> {
        let entries = pages(usize::from(BUFFERS) * size_of::<BufRingEntry>());
        // SAFETY: the memory is aligned to a page, large enough, zeroed, and
        // never freed.
        let registered = unsafe {
            self.ring
                .submitter()
                .register_buf_ring_with_flags(entries as u64, BUFFERS, GROUP, 0)
        };
        registered.ok().map(|()| entries.cast())
    }
}

/// With results handed over when asked for, if the kernel can (6.1, 5.19), so
/// that it never interrupts this thread.
fn set_up() -> io::Result<IoUring> {
    let builder = || {
        let mut builder = IoUring::builder();
        builder.setup_clamp().setup_cqsize(16 * ENTRIES);
        builder
    };
    builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(ENTRIES)
        .or_else(|_| builder().setup_coop_taskrun().build(ENTRIES))
        .or_else(|_| builder().build(ENTRIES))
}

fn check_operations(ring: &IoUring) -> io::Result<()> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(unavailable)?;
    let needed = [
        (opcode::Accept::CODE, "accept"),
        (opcode::Recv::CODE, "recv"),
        (opcode::Send::CODE, "send"),
        (opcode::AsyncCancel::CODE, "cancel"),
        (opcode::ProvideBuffers::CODE, "provided buffers"),
    ];
    match needed.iter().find(|(code, _)| !probe.is_supported(*code)) {
        None if ring.params().is_feature_ext_arg() => Ok(()),
        None => Err(unsupported(
            "this kernel's io_uring has no timeouts (Linux 5.11)",
        )),
        Some((_, name)) => Err(unsupported(&format!(
            "this kernel's io_uring has no {name} (Linux 5.7)"
        ))),
    }
}

fn unavailable(error: io::Error) -> io::Error {
    let sentence = format!(
        "io_uring is not available here: {error}; see sysctl kernel.io_uring_disabled and the container's seccomp profile"
    );
    of_kind(io::ErrorKind::Unsupported, error, sentence)
}

fn unsupported(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, text)
}

fn read(entry: cqueue::Entry, sending: &mut [Option<Outgoing>]) -> Completion {
    let (result, flags) = (entry.result(), entry.flags());
    let length = usize::try_from(result).unwrap_or(0);
    let op = OPS[(entry.user_data() >> 32) as usize % OPS.len()];
    // SAFETY: the kernel has just made this descriptor for us.
    let accepted =
        (op == Op::Accept && result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
    let fd = entry.user_data() as u32 as RawFd;
    let sends = usize::try_from(fd).ok().filter(|_| op == Op::Send);
    Completion {
        op,
        accepted,
        outgoing: sends.and_then(|index| sending.get_mut(index)?.take()),
        fd,
        result: u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result)),
        more: cqueue::more(flags),
        buffer: cqueue::buffer_select(flags).map(|id| Buffer { id, length }),
    }
}

fn token(op: Op, fd: RawFd) -> u64 {
    (op as u64) << 32 | u64::from(fd as u32)
}

fn address(buffers: *mut u8, id: u16) -> *mut u8 {
    buffers.wrapping_add(usize::from(id) * BUFFER_SIZE)
}

/// Zeroed pages that are never freed.
fn pages(bytes: usize) -> *mut u8 {
    const PAGE: usize = 4096;
    let Ok(layout) = Layout::from_size_align(bytes.max(1), PAGE) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the layout is not empty.
    let start = unsafe { alloc_zeroed(layout) };
    if start.is_null() {
        handle_alloc_error(layout);
    }
    start
}
