//! More clients than the queue takes.

use super::{BACKLOG, Evidence, FIRST_FREED, LATE};
use crate::lab::Place;
use crate::lab::tools::counters::Counters;
use crate::lab::tools::sockets;
use crate::lab::trouble::Trouble;
use socket2::Socket;
use std::time::{Duration, Instant};

/// Connects all clients at once, and accepts one a second.
pub fn connected(place: &Place, limit: Duration) -> Result<Evidence, Trouble> {
    let clients = BACKLOG as usize + 1 + LATE;
    let (listener, addr) = sockets::listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    let before = Counters::read()?;
    let began = Instant::now();
    let waiting: Result<Vec<Socket>, Trouble> = (0..clients)
        .map(|_| sockets::connect_started(addr))
        .collect();
    let (mut waiting, mut connected, mut accepted) = (waiting?, Vec::new(), Vec::new());
    let (mut connected_after_s, mut looked, mut pause) = (Vec::new(), began, Duration::ZERO);
    while !waiting.is_empty() && began.elapsed() < limit {
        pause = pause.max(looked.elapsed());
        looked = Instant::now();
        for client in std::mem::take(&mut waiting) {
            match sockets::is_connected(&client)? {
                true => connected.push(client),
                false => waiting.push(client),
            }
        }
        let new = connected.len() - connected_after_s.len();
        connected_after_s.extend(vec![began.elapsed().as_secs_f64(); new]);
        let freed = FIRST_FREED + Duration::from_secs(accepted.len() as u64);
        if began.elapsed() >= freed
            && let Ok((socket, _)) = listener.accept()
        {
            accepted.push(socket);
            place.say(&format!("{} of {clients} connected", connected.len()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let counted = Counters::read()?.since(&before);
    Ok(Evidence {
        clients,
        connected_after_s,
        listen_overflows: counted.get("TcpExt", "ListenOverflows"),
        syn_retransmissions: counted.get("TcpExt", "TCPSynRetrans"),
        longest_pause_s: pause.as_secs_f64(),
    })
}
