//! The crate's only `unsafe`: network interfaces of a namespace of our own, what the kernel knows of a connection, locks on
//! files, counters of the kernel's tracepoints, and the file system that has their numbers.

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::ffi::{c_int, c_long};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

nix::ioctl_readwrite_bad!(get_interface_flags, libc::SIOCGIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);
nix::ioctl_write_ptr_bad!(add_address, SIOCSIFADDR, libc::in6_ifreq);
nix::ioctl_readwrite_bad!(set_tun_interface, libc::TUNSETIFF, libc::ifreq);
nix::ioctl_read_bad!(get_window_size, libc::TIOCGWINSZ, libc::winsize);

/// Of an IPv6 socket: adds an address to an interface (linux/sockios.h).
const SIOCSIFADDR: libc::c_int = 0x8916;

/// The number of every namespace's `lo` (LOOPBACK_IFINDEX, net/flow.h).
const LOOPBACK: libc::c_int = 1;

/// How many columns a terminal has (ioctl_tty(2)); none where it does not say.
pub fn columns(terminal: impl AsFd) -> Option<usize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes a winsize, which `size` is and which outlives the call.
    unsafe { get_window_size(terminal.as_fd().as_raw_fd(), &mut size) }.ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Locks an open file, or unlocks it, as flock(2) calls the operation.
pub fn flock(file: impl AsFd, operation: c_int) -> io::Result<()> {
    // SAFETY: two numbers, of which the first is a descriptor that is open as long as `file` is borrowed.
    match unsafe { libc::flock(file.as_fd().as_raw_fd(), operation) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

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

/// Adds addresses to `lo` in the calling thread's network namespace.
pub fn add_to_loopback(addresses: &[Ipv6Addr]) -> io::Result<()> {
    let socket = socket(
        AddressFamily::Inet6,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    for address in addresses {
        let request = libc::in6_ifreq {
            ifr6_addr: libc::in6_addr {
                s6_addr: address.octets(),
            },
            ifr6_prefixlen: 128,
            ifr6_ifindex: LOOPBACK,
        };
        // SAFETY: the kernel only reads the request, which outlives the call.
        unsafe { add_address(socket.as_raw_fd(), &request)? };
    }
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

/// `struct perf_event_attr` as far as its first version goes (linux/perf_event.h, PERF_ATTR_SIZE_VER0): what follows in
/// later ones is zero for the kernel.
#[repr(C)]
#[derive(Default)]
struct PerfEventAttr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    config1: u64,
}

/// Counts how often a task, and every task that it starts from now on, passes a tracepoint (perf_event_open(2)): in the
/// kernel, without samples. What is read of it is one number of eight bytes.
pub fn count_tracepoint(id: u64, task: u32) -> io::Result<OwnedFd> {
    const PERF_TYPE_TRACEPOINT: u32 = 2;
    const INHERIT: u64 = 1 << 1;
    const PERF_FLAG_FD_CLOEXEC: c_long = 1 << 3;
    const ANY_CPU: c_long = -1;
    const NO_GROUP: c_long = -1;
    let attr = PerfEventAttr {
        kind: PERF_TYPE_TRACEPOINT,
        size: size_of::<PerfEventAttr>() as u32,
        config: id,
        flags: INHERIT,
        ..PerfEventAttr::default()
    };
    // SAFETY: the kernel reads as many bytes of `attr` as its `size` says, which are initialised and outlive the call.
    let made = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attr,
            c_long::from(task),
            ANY_CPU,
            NO_GROUP,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    owned(made)
}

/// The kernel's tracing files (tracefs) in a mount that nobody else sees and that ends with its descriptor
/// (fsopen(2), fsmount(2)); for the superuser only.
pub fn tracing_files() -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: c_long = 1;
    const FSCONFIG_CMD_CREATE: c_long = 6;
    const FSMOUNT_CLOEXEC: c_long = 1;
    const MOUNT_ATTR_RDONLY: c_long = 1;
    // SAFETY: the name is a NUL-terminated string that outlives the call.
    let context =
        owned(unsafe { libc::syscall(libc::SYS_fsopen, c"tracefs".as_ptr(), FSOPEN_CLOEXEC) })?;
    let number = c_long::from(context.as_raw_fd());
    // SAFETY: this command takes neither key nor value, which are therefore null, and no memory is touched.
    let created = unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            number,
            FSCONFIG_CMD_CREATE,
            std::ptr::null::<u8>(),
            std::ptr::null::<u8>(),
            0 as c_long,
        )
    };
    if created != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: three numbers, of which the first is an open descriptor.
    owned(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            number,
            FSMOUNT_CLOEXEC,
            MOUNT_ATTR_RDONLY,
        )
    })
}

/// The descriptor that a system call has made, or its error.
fn owned(returned: c_long) -> io::Result<OwnedFd> {
    match i32::try_from(returned) {
        // SAFETY: the system call has just made this descriptor, and nobody else has it.
        Ok(fd @ 0..) => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
