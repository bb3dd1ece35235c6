//! Descriptors: passed between processes, and registered with tokio.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    self, AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType,
    recvmsg, sendmsg,
};
use socket2::Socket;
use tokio::io::unix::AsyncFd;

/// Two connected Unix sockets that keep messages apart (unix(7)).
///
/// # Errors
/// What socketpair(2) says.
pub fn socketpair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socket::socketpair(
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
pub fn sendmsg_descriptor(socket: impl AsFd, descriptor: impl AsFd) -> io::Result<()> {
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
pub fn recvmsg_descriptor(socket: impl AsFd) -> io::Result<OwnedFd> {
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

mod sealed {
    pub trait Sealed {}
    impl Sealed for std::net::TcpStream {}
    impl Sealed for socket2::Socket {}
}

/// A socket whose descriptor stays the same for as long as it is only shared.
pub trait KeepsDescriptor: AsRawFd + AsFd + sealed::Sealed {}
impl KeepsDescriptor for TcpStream {}
impl KeepsDescriptor for Socket {}

/// A socket that the tokio runtime watches. It is never lent to be changed, so
/// that its descriptor stays the one that is watched.
pub struct Registered<S: KeepsDescriptor>(AsyncFd<S>);

impl<S: KeepsDescriptor> Registered<S> {
    /// Registers a socket with the runtime this is called in: epoll_ctl(2).
    ///
    /// # Errors
    /// What epoll_ctl(2) says; the socket is then closed.
    pub fn new(socket: S) -> io::Result<Registered<S>> {
        // SAFETY: the two kinds of socket there are close their descriptor only
        // when dropped, and change it only through `&mut`, which nobody gets.
        Ok(Registered(unsafe { AsyncFd::register(socket)? }))
    }

    /// Where to wait for it.
    pub fn watched(&self) -> &AsyncFd<S> {
        &self.0
    }

    /// The socket.
    pub fn socket(&self) -> &S {
        self.0.get_ref()
    }
}

impl<S: KeepsDescriptor> AsFd for Registered<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().as_fd()
    }
}
