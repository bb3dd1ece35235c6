//! The crate's only `unsafe`: bringing the loopback interface up in a fresh network namespace.

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::AsRawFd;

nix::ioctl_readwrite_bad!(get_interface_flags, libc::SIOCGIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);

/// Sets `IFF_UP` on `lo` in the calling thread's network namespace (netdevice(7)).
pub fn bring_loopback_up() -> io::Result<()> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 },
    };
    for (slot, byte) in request.ifr_name.iter_mut().zip(b"lo") {
        *slot = *byte as libc::c_char;
    }
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
