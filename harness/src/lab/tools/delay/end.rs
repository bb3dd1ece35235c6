//! The end of a network interface that is this program: of a TUN device, or, where that may not be opened, of a pair of
//! virtual interfaces (veth) with a packet socket at it. Both give and take bare IP packets, one by one.

use super::{FAR, NEAR};
use crate::base::sys;
use crate::lab::tools::command;
use crate::lab::trouble::{During, Trouble};
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto, socket,
};
use socket2::SockRef;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

/// Ethernet's number for IPv4, in network order.
const IPV4: u16 = 0x0800_u16.to_be();

/// What the kernel calls a packet that this machine sends.
const OUTGOING: u8 = 4;

/// The end.
pub enum End {
    /// Of a TUN device.
    Tun(File),
    /// Of a veth pair: the socket, the interface's index, and how to reach the other one.
    Packets(OwnedFd, usize, Option<LinkAddr>),
}

impl End {
    /// Makes the interface, with the near address and a way to the far one.
    pub fn open() -> Result<End, Trouble> {
        tun().or_else(|first| {
            packets().map_err(|second| {
                let ((first, remedy), (second, _)) = (first.in_words(), second.in_words());
                Trouble::denied(format!("{first}; {second}"), remedy)
            })
        })
    }

    /// What it is made of.
    pub fn in_words(&self) -> &'static str {
        match self {
            End::Tun(_) => "TUN device",
            End::Packets(..) => "veth pair, with a packet socket at its end",
        }
    }

    /// What to wait for.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            End::Tun(file) => file.as_fd(),
            End::Packets(socket, ..) => socket.as_fd(),
        }
    }

    /// The length of the next packet that the kernel has sent; none if there is none now.
    pub fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match self {
            End::Tun(file) => file.read(buffer).ok(),
            End::Packets(socket, index, near) => loop {
                let (length, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), buffer).ok()?;
                let sent_here = |from: &LinkAddr| {
                    from.ifindex() == *index
                        && from.pkttype() != OUTGOING
                        && from.protocol() == IPV4
                };
                if let Some(from) = from.filter(sent_here) {
                    *near = Some(from);
                    return Some(length);
                }
            },
        }
    }

    /// Gives the kernel a packet. What it will not take is lost, as on any way.
    pub fn write(&mut self, packet: &mut [u8]) {
        match self {
            End::Tun(file) => drop(file.write(packet)),
            End::Packets(_, _, None) => {}
            End::Packets(socket, _, Some(near)) => {
                // The interface was to compute it, and nobody has.
                set_tcp_checksum(packet);
                let _ = sendto(socket.as_raw_fd(), packet, near, MsgFlags::empty());
            }
        }
    }
}

fn tun() -> Result<End, Trouble> {
    let mut options = OpenOptions::new();
    let options = options.read(true).write(true);
    let file = options
        .custom_flags(nix::libc::O_NONBLOCK)
        .open("/dev/net/tun");
    let file = file.map_err(|e| {
        let remedy =
            "run as root, or `sudo chmod 0666 /dev/net/tun`, which is what most systems have";
        Trouble::denied(format!("cannot open /dev/net/tun: {e}"), remedy)
    })?;
    sys::make_tun(&file, "near").during("make a TUN device")?;
    bring_up("near")?;
    Ok(End::Tun(file))
}

fn packets() -> Result<End, Trouble> {
    command::run(
        "ip",
        &["link", "add", "near", "type", "veth", "peer", "name", "far"],
    )?;
    // Segments are to come one by one, as they do from a device that cannot cut them up.
    command::run("ip", &["link", "set", "near", "gso_max_segs", "1"])?;
    command::run("ip", &["link", "set", "far", "up"])?;
    bring_up("near")?;
    let far = command::run("ip", &["-oneline", "link", "show", "far"])?;
    let address = far
        .split("link/ether ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next());
    let address = address.ok_or_else(|| Trouble::failed(format!("no link address in {far:?}")))?;
    let far = FAR.to_string();
    command::run(
        "ip",
        &[
            "neighbour",
            "replace",
            &far,
            "lladdr",
            address,
            "dev",
            "near",
            "nud",
            "permanent",
        ],
    )?;
    let opened = socket(
        AddressFamily::Packet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
        SockProtocol::EthAll,
    );
    let index = if_nametoindex("far").during("find the far interface")?;
    let socket = opened.during("open a packet socket")?;
    // As much as may be had: a window's segments come at once.
    SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    Ok(End::Packets(socket, index as usize, None))
}

/// With as long a queue as the largest burst: none is to be lost here.
fn bring_up(name: &str) -> Result<(), Trouble> {
    command::run(
        "ip",
        &["address", "add", &format!("{NEAR}/24"), "dev", name],
    )?;
    command::run("ip", &["link", "set", name, "txqueuelen", "10000", "up"])?;
    Ok(())
}

/// Computes the checksum of the TCP segment in an IPv4 packet without options (RFC 9293 3.1).
fn set_tcp_checksum(packet: &mut [u8]) {
    const TCP: u32 = 6;
    const CHECKSUM: std::ops::Range<usize> = 36..38;
    let Some(field) = packet.get_mut(CHECKSUM) else {
        return;
    };
    field.fill(0);
    let words = |bytes: &[u8]| -> u32 {
        let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        bytes.chunks(2).map(word).sum()
    };
    let length = packet.len() as u32 - 20;
    let mut sum = words(&packet[12..20]) + TCP + length + words(&packet[20..]);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[CHECKSUM].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_whose_checksum_is_set_adds_up() {
        // An acknowledgement with nonsense for a checksum.
        let mut packet: Vec<u8> = vec![
            0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1, 0x1f, 0x90,
            0x30, 0x39, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 2, 0, 0xff, 0xff, 0, 0,
        ];
        set_tcp_checksum(&mut packet);
        let add = |sum: u32, pair: &[u8]| sum + (u32::from(pair[0]) << 8 | u32::from(pair[1]));
        let pseudo = 6 + 20;
        let mut sum = packet[12..].chunks(2).fold(pseudo, add);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        assert_eq!(
            sum, 0xffff,
            "with its checksum every sum is all ones (RFC 1071)"
        );
        set_tcp_checksum(&mut [0; 10]);
    }
}
