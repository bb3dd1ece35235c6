//! Transfers over a way that takes time, each on a connection of its own.

use super::{Evidence, ONE_WAY, SEGMENTS, Transfer};
use crate::base::sys;
use crate::lab::tools::client::Client;
use crate::lab::tools::delay::{Delay, FAR, NEAR, Passed};
use crate::lab::trouble::During;
use crate::lab::{Place, Trouble};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// Room for the longest transfer, on both sides: nothing but the congestion window is to limit it.
const BUFFERS: &str = "4096 4194304 6291456";
/// Whatever else runs here can only delay a transfer, so the shortest counts.
const ATTEMPTS: usize = 3;
/// Nothing is under way for longer.
const SILENCE: Duration = Duration::from_secs(3);

/// Measures all of them.
pub fn measure(place: &Place) -> Result<Evidence, Trouble> {
    place.set("net/ipv4/tcp_rmem", BUFFERS)?;
    place.set("net/ipv4/tcp_wmem", BUFFERS)?;
    // What one connection has learned about the way is not to help the next.
    place.set("net/ipv4/tcp_no_metrics_save", "1")?;
    let delay = Delay::start(ONE_WAY)?;
    let listener = listen()?;
    let port = listener.local_addr()?.port();
    let mut evidence = Evidence {
        device: delay.device.into(),
        segment_bytes: 0,
        initial_window: 0,
        round_trip_ns: u64::MAX,
        transfers: Vec::new(),
        by_round: Vec::new(),
    };
    for segments in SEGMENTS {
        let mut took_ns = u64::MAX;
        for attempt in 1..=ATTEMPTS {
            place.say(&format!("{segments} segments, {attempt} of {ATTEMPTS}"));
            let one = transfer(&listener, segments)?;
            let passed = delay.take_passed();
            evidence.segment_bytes = one.segment_bytes;
            evidence.initial_window = one.initial_window;
            evidence.round_trip_ns = evidence.round_trip_ns.min(one.round_trip_ns);
            if one.took_ns < took_ns {
                took_ns = one.took_ns;
                evidence.by_round = by_round(&passed, port, one.asked, one.round_trip_ns);
            }
        }
        evidence.transfers.push(Transfer { segments, took_ns });
    }
    Ok(evidence)
}

/// A listener whose connections use the congestion control of the textbook.
fn listen() -> Result<TcpListener, Trouble> {
    let open = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_tcp_congestion(b"reno")?;
        socket.bind(&SocketAddr::from((NEAR, 0)).into())?;
        socket.listen(16)?;
        Ok::<TcpListener, std::io::Error>(socket.into())
    };
    open().during("listen with reno")
}

/// One transfer.
struct One {
    segment_bytes: u64,
    initial_window: u64,
    round_trip_ns: u64,
    asked: Instant,
    took_ns: u64,
}

fn transfer(listener: &TcpListener, segments: u64) -> Result<One, Trouble> {
    let to = SocketAddr::from((FAR, listener.local_addr()?.port()));
    let began = Instant::now();
    let mut client = Client::connect_from(NEAR, to)?;
    let round_trip_ns = began.elapsed().as_nanos() as u64;
    let (mut server, _) = listener.accept()?;
    let segment_bytes = u64::from(SockRef::from(&server).tcp_mss()?);
    let initial_window = u64::from(sys::congestion_window(&server)?);
    let bytes = vec![7; (segments * segment_bytes) as usize];
    let asked = Instant::now();
    client.send(b"?")?;
    server.set_read_timeout(Some(SILENCE))?;
    server.read_exact(&mut [0])?;
    server.write_all(&bytes)?;
    let got = client.receive(bytes.len(), SILENCE);
    let took_ns = asked.elapsed().as_nanos() as u64;
    match got == bytes.len() {
        true => Ok(One {
            segment_bytes,
            initial_window,
            round_trip_ns,
            asked,
            took_ns,
        }),
        false => Err(Trouble::failed(format!(
            "{got} of {} bytes came over the way",
            bytes.len()
        ))),
    }
}

/// How many segments with data the server sent in each round trip: the first begins half of one after the question.
fn by_round(passed: &[Passed], port: u16, asked: Instant, round_trip_ns: u64) -> Vec<u64> {
    let mut rounds = Vec::new();
    for one in passed
        .iter()
        .filter(|one| one.from_port == port && one.data > 0)
    {
        let round =
            (one.at.duration_since(asked).as_nanos() as u64 / round_trip_ns.max(1)) as usize;
        if rounds.len() <= round {
            rounds.resize(round + 1, 0);
        }
        rounds[round] += 1;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_belong_to_the_round_trip_in_which_they_were_sent() {
        let asked = Instant::now();
        let sent = |ms, from_port, data| Passed {
            at: asked + Duration::from_millis(ms),
            from_port,
            data,
        };
        let passed = [
            sent(50, 80, 1448),
            sent(51, 80, 1448),
            sent(52, 80, 0),
            sent(150, 80, 1448),
            sent(150, 9, 1),
        ];
        assert_eq!(by_round(&passed, 80, asked, 100_000_000), [2, 1]);
    }
}
