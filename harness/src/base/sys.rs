//! The crate's only `unsafe`: network interfaces of a namespace of our own, and what the kernel knows of a connection.

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

nix::ioctl_readwrite_bad!(get_interface_flags, libc::SIOCGIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);
nix::ioctl_readwrite_bad!(set_tun_interface, libc::TUNSETIFF, libc::ifreq);

/// Sets `IFF_UP` on `lo` in the calling thread's network namespace (netdevice(7)).
pub fn bring_loopback_up() -> io::Result<()> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut request = interface_request("lo", 0);
    // SAFETY: `request` is a fully initialised ifreq with a NUL-terminated name, and
    // SIOCGIFFLAGS writes nothing but its flags.
    unsafe { get_interface_flags(socket.as_raw_fd(), &mut request)? };
    // SAFETY: SIOCGIFFLAGS has just filled in `ifru_flags`, so that is the live field of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: the kernel only reads the request, which outlives the call.
    unsafe { set_interface_flags(socket.as_raw_fd(), &request)? };
    Ok(())
}

/// Makes an open `/dev/net/tun` the other end of a new interface of this name, which carries bare IP packets.
pub fn make_tun(tun: &File, name: &str) -> io::Result<()> {
    let mut request = interface_request(name, libc::IFF_TUN | libc::IFF_NO_PI);
    // SAFETY: the kernel reads and writes an ifreq, which `request` is and which outlives the call.
    unsafe { set_tun_interface(tun.as_raw_fd(), &mut request)? };
    Ok(())
}

fn interface_request(name: &str, flags: libc::c_int) -> libc::ifreq {
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru {
            ifru_flags: flags as libc::c_short,
        },
    };
    // The last byte stays NUL.
    let letters = name.bytes().take(libc::IFNAMSIZ - 1);
    for (slot, byte) in request.ifr_name.iter_mut().zip(letters) {
        *slot = byte as libc::c_char;
    }
    request
}

/// How many segments may be under way on a connection now (TCP_INFO, tcp(7)).
pub fn congestion_window(socket: impl AsFd) -> io::Result<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which is that long.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut length,
        )
    };
    nix::errno::Errno::result(result)?;
    // SAFETY: it is made of integers, for which zeros are as good as what the kernel has written.
    Ok(unsafe { info.assume_init() }.tcpi_snd_cwnd)
}
