//! A server that does as little as an epoll server can: it returns what it
//! reads. What loadgen measures against it is this machine's floor and ceiling,
//! and loadgen's own cost.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, accept4, bind,
    getsockname, listen, setsockopt, socket, sockopt,
};

use super::limits::pin;

const LISTENER: u64 = u64::MAX;

/// How often the server looks whether it is to stop, in milliseconds.
const LOOK_MS: u8 = 20;

/// A null server on a thread of its own; it ends when dropped.
#[derive(Debug)]
pub struct NullServer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl NullServer {
    /// Listens on a free port of 127.0.0.1, on `cpu` if given.
    ///
    /// # Errors
    /// When the kernel grants no socket or thread.
    pub fn start(cpu: Option<usize>) -> io::Result<Self> {
        let (listener, address) = listener()?;
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = stop.clone();
        let thread = std::thread::Builder::new()
            .name("null-server".into())
            .spawn(move || {
                if let Some(cpu) = cpu {
                    // Unpinned it serves as well, only less predictably.
                    pin(&[cpu]);
                }
                // A loop that cannot go on leaves clients without answers, which they count.
                let _ = serve(&listener, &theirs);
            })?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to return.
            let _ = thread.join();
        }
    }
}

fn listener() -> io::Result<(OwnedFd, SocketAddr)> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(
        AddressFamily::Inet,
        SockType::Stream,
        flags,
        SockProtocol::Tcp,
    )?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    bind(
        fd.as_raw_fd(),
        &SockaddrStorage::from(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
    )?;
    // As long as net.core.somaxconn allows: the largest number that libc names differs between glibc and musl.
    listen(&fd, Backlog::MAXALLOWABLE)?;
    let name: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    let port = name.as_sockaddr_in().map_or(0, |address| address.port());
    Ok((fd, SocketAddr::from((Ipv4Addr::LOCALHOST, port))))
}

fn serve(listener: &OwnedFd, stop: &AtomicBool) -> io::Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut clients: Vec<Option<OwnedFd>> = Vec::new();
    let (mut events, mut buffer) = ([EpollEvent::empty(); 256], vec![0; 64 * 1024]);
    while !stop.load(Relaxed) {
        let count = match epoll.wait(&mut events, EpollTimeout::from(LOOK_MS)) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        for event in &events[..count] {
            match event.data() {
                LISTENER => accept_all(&epoll, listener, &mut clients),
                token => answer(&mut clients[token as usize], &mut buffer),
            }
        }
    }
    Ok(())
}

fn accept_all(epoll: &Epoll, listener: &OwnedFd, clients: &mut Vec<Option<OwnedFd>>) {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    while let Ok(fd) = accept4(listener.as_raw_fd(), flags) {
        let Ok(client) = super::sys::adopt_fd(fd) else {
            continue;
        };
        let slot = client.as_raw_fd() as usize;
        if clients.len() <= slot {
            clients.resize_with(slot + 1, || None);
        }
        let ready = setsockopt(&client, sockopt::TcpNoDelay, &true).and_then(|()| {
            epoll.add(
                client.as_fd(),
                EpollEvent::new(EpollFlags::EPOLLIN, slot as u64),
            )
        });
        if ready.is_ok() {
            clients[slot] = Some(client);
        }
    }
}

/// Returns what was read. A client that lets answers pile up is dropped: a null
/// server keeps no buffers.
fn answer(client: &mut Option<OwnedFd>, buffer: &mut [u8]) {
    let Some(fd) = client else { return };
    let returned = match nix::unistd::read(&*fd, buffer) {
        Ok(0) => false,
        Ok(length) => {
            nix::unistd::write(&*fd, &buffer[..length]).is_ok_and(|written| written == length)
        }
        Err(errno) => matches!(errno, Errno::EAGAIN | Errno::EINTR),
    };
    if !returned {
        *client = None;
    }
}
