//! Segments that do not reach a socket: a classic BPF program on it takes them away (socket(7): SO_ATTACH_FILTER). It needs
//! no privilege, and a listener's is asked for the last segment of each handshake too.

use crate::lab::trouble::{During, Trouble};
use socket2::{SockFilter, SockRef};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;

/// Where the IPv4 head begins, for a filter that is shown the TCP head (SKF_NET_OFF, linux/filter.h).
const NETWORK_HEAD: u32 = -0x0010_0000i32 as u32;
/// The sender's address in it.
const SOURCE: u32 = 12;
/// The byte of a TCP head that holds the flags; FIN, SYN, RST, PSH and ACK, and ACK alone.
const FLAGS: u32 = 13;
const ALL: u32 = 0x1f;
const ACK: u32 = 0x10;

// Instructions (linux/bpf_common.h): load a byte, load a word, and, jump if equal, return.
const LOAD_BYTE: u16 = 0x30;
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// From now on no segment from this address that is an ACK and nothing else reaches the socket.
pub fn drop_bare_acks(socket: &impl AsFd, from: Ipv4Addr) -> Result<(), Trouble> {
    let program = [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, ALL),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, ACK),
        SockFilter::new(LOAD_WORD, 0, 0, NETWORK_HEAD.wrapping_add(SOURCE)),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from(from)),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ];
    SockRef::from(socket)
        .attach_filter(&program)
        .during("attach a filter to a socket")
}

/// All segments reach the socket again.
pub fn drop_nothing(socket: &impl AsFd) -> Result<(), Trouble> {
    SockRef::from(socket)
        .detach_filter()
        .during("detach a socket's filter")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::tools::sockets::{self, State};
    use std::net::{Ipv4Addr, TcpStream};
    use std::time::Duration;

    #[test]
    fn a_handshake_whose_last_segment_is_taken_away_stays_half_open() {
        let (listener, addr) = sockets::listen(4).unwrap();
        drop_bare_acks(&listener, Ipv4Addr::new(127, 0, 0, 2)).unwrap();
        let silent = sockets::connect_started_from(Ipv4Addr::new(127, 0, 0, 2), addr).unwrap();
        let half_open = || sockets::count(addr.port(), State::SYN_RECV).unwrap() == 1;
        assert!(sockets::wait_until(Duration::from_secs(5), half_open));
        assert!(sockets::is_connected(&silent).unwrap(), "it cannot know");
        let _honest = TcpStream::connect(addr).unwrap();
        listener.set_nonblocking(true).unwrap();
        let accepted = || listener.accept().is_ok();
        assert!(
            sockets::wait_until(Duration::from_secs(5), accepted),
            "from another address"
        );
        assert!(listener.accept().is_err(), "the silent one is not there");
        drop_nothing(&listener).unwrap();
    }
}
