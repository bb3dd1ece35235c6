//! poll(2): one loop sleeps until an array of descriptors has a ready one.
//!
//! As `select`, without its wall: an array has no highest number. But the whole
//! array is still copied into the kernel and scanned by both sides on every
//! turn, so one busy connection among 10 000 idle ones pays for all of them.
//! With most connections busy that is no loss, and `poll` may beat `epoll`,
//! which tells the kernel about changes one system call at a time.
//!
//! A handler that computes or waits (`--work-iters`, `--block`) stalls every
//! connection.

use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use nix::libc::{POLLIN, POLLOUT, pollfd};
use servers::nonblocking::{Connections, Ready, Want, woken};
use servers::program::{self, Server};
use servers::sys;

fn main() -> ExitCode {
    program::main("poll", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut door = server.listen_nonblocking()?;
    let mut connections = Connections::new(server.service);
    let listener = door.as_raw_fd();
    let mut fds = vec![pollfd {
        fd: listener,
        events: POLLIN,
        revents: 0,
    }];
    loop {
        fds[0].events = if door.is_open() { POLLIN } else { 0 };
        let mut unseen = woken(sys::poll(&mut fds, connections.timeout(&door)))?;
        server.slot().wakeups(1);
        let someone_waits = unseen > 0 && fds[0].revents != 0;
        unseen -= usize::from(someone_waits);
        // Backwards, so that the last entry can take the place of a closed one.
        for at in (1..fds.len()).rev() {
            if unseen == 0 {
                break;
            }
            let pollfd { fd, revents, .. } = fds[at];
            if revents == 0 {
                continue;
            }
            unseen -= 1;
            match connections.on_ready(fd, readiness(revents), |_, _| Ok(())) {
                Want::Close => drop(fds.swap_remove(at)),
                want => fds[at].events = events(want),
            }
        }
        if someone_waits {
            while let Some(guest) = door.try_accept()? {
                let fd = guest.stream.as_raw_fd();
                connections.insert(guest, |_| Ok(()));
                fds.push(pollfd {
                    fd,
                    events: events(Want::Read),
                    revents: 0,
                });
            }
        }
        let expired = connections.expire();
        if !expired.is_empty() {
            fds.retain(|entry| !expired.contains(&entry.fd));
        }
    }
}

fn events(want: Want) -> i16 {
    let read = if want.reads() { POLLIN } else { 0 };
    let write = if want.writes() { POLLOUT } else { 0 };
    read | write
}

/// An error or a hang-up shows in the next call, so any such flag allows both.
fn readiness(revents: i16) -> Ready {
    let fault = revents & !(POLLIN | POLLOUT) != 0;
    Ready {
        read: fault || revents & POLLIN != 0,
        write: fault || revents & POLLOUT != 0,
    }
}
