//! What this machine's kernel does to a load, and what is said of it.

use socket2::{Domain, Socket, Type};

use crate::common::{loadgen, outcome_of};

/// A server that never accepts, with room for one connection.
fn full_queue() -> (Socket, std::net::SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any_port: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any_port.into()).expect("bound");
    socket.listen(0).expect("listening");
    let address = socket.local_addr().expect("an address").as_socket();
    (socket, address.expect("an IP address"))
}

#[test]
fn syns_sent_again_are_counted_although_no_connect_succeeded() {
    let (_server, address) = full_queue();
    let args = [
        "--conns",
        "4",
        "--connect-timeout",
        "1500ms",
        "--ramp-timeout",
        "2s",
        "--warmup",
        "0",
        "--duration",
        "100ms",
        "--request-timeout",
        "100ms",
    ];
    let (outcome, _) = outcome_of(&mut loadgen(address, &args));
    let connections = &outcome.connections;
    assert!(connections.timed_out >= 2, "{connections:?}");
    // Each that timed out after 1.5 s has sent its SYN again after one.
    assert!(
        connections.syn_retries >= connections.timed_out,
        "{connections:?}"
    );
    assert!(connections.syn_retransmits.expect("readable") >= connections.syn_retries);
    assert_eq!(connections.syn_sent_again_after_s, [1]);
    let text = outcome.reasons.iter().find(|reason| reason.code == "W08");
    let text = &text.expect("W08").text;
    assert!(
        text.contains("SYNs sent again by these connections"),
        "{text}"
    );
    assert!(
        text.contains("connect times near 1 s are the kernel's"),
        "{text}"
    );
}
