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
use std::os::fd::{AsRawFd, RawFd};
use std::process::ExitCode;

use nix::libc::{POLLIN, SOCK_NONBLOCK, pollfd};
use servers::nonblocking::Connections;
use servers::program::{self, Server};
use servers::readiness::{Ready, Want, poll};
use servers::sys::memory::Buffer;

fn main() -> ExitCode {
    program::main("poll", serve)
}

fn serve(server: Server) -> io::Result<()> {
    let mut listener = server.socket(SOCK_NONBLOCK)?.bind()?.listen()?;
    let (mut buffer, mut handler) = (Buffer::new(), server.handler());
    let (mut connections, worker) = (Connections::new(), server.worker(0));
    let mut fds = vec![watch(listener.as_raw_fd())];
    loop {
        fds[0].events = if listener.is_open() { POLLIN } else { 0 };
        let mut unseen = poll(worker, &mut fds, connections.timeout(&listener))?;
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
            let Some(connection) = connections.get(fd) else {
                continue;
            };
            let ready = Ready::from_poll(revents);
            if ready.write {
                connection.send_waiting();
            }
            if ready.read
                && let Some(request) = connection.recv(&mut buffer)
            {
                let reply = handler.answer(&mut connection.session, request);
                connection.send(reply);
            }
            match connections.changed(fd) {
                Some(Want::Close) => {
                    connections.close(fd);
                    fds.swap_remove(at);
                }
                Some(want) => fds[at].events = want.poll_events(),
                None => {}
            }
        }
        if someone_waits {
            while let Some(accepted) = listener.accept4_nonblock()? {
                fds.push(watch(accepted.as_raw_fd()));
                connections.insert(accepted);
            }
        }
        let expired = connections.close_expired();
        if !expired.is_empty() {
            fds.retain(|entry| !expired.contains(&entry.fd));
        }
    }
}

fn watch(fd: RawFd) -> pollfd {
    pollfd {
        fd,
        events: POLLIN,
        revents: 0,
    }
}
