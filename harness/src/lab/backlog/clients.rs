//! More clients than the queue takes.

use super::{BACKLOG, Evidence, FIRST_FREED, LATE};
use crate::lab::Place;
use crate::lab::tools::counters::Counters;
use crate::lab::tools::sockets;
use crate::lab::trouble::Trouble;
use std::time::{Duration, Instant};

/// How far apart the late clients begin: SYNs that come at the same moment are all answered before the queue is full,
/// and a timer of a second fires in steps of 8 ticks.
const APART: Duration = Duration::from_millis(60);

/// Connects as many clients as there are places, then the others one after the other, and accepts one a second.
pub fn connected(place: &Place, limit: Duration) -> Result<Evidence, Trouble> {
    let clients = BACKLOG as usize + 1 + LATE;
    let (listener, addr) = sockets::listen(BACKLOG)?;
    listener.set_nonblocking(true)?;
    let before = Counters::read()?;
    let (mut waiting, mut began) = (Vec::new(), Instant::now());
    let (mut connected, mut connected_after_s) = (Vec::new(), Vec::new());
    for number in 0..clients {
        if number == clients - LATE {
            began = Instant::now();
        }
        let (started, client) = (Instant::now(), sockets::connect_started(addr)?);
        match sockets::is_connected(&client)? {
            true => {
                connected_after_s.push(started.elapsed().as_secs_f64());
                connected.push(client);
            }
            false => waiting.push((client, started)),
        }
        if number >= clients - LATE {
            std::thread::sleep(APART);
        }
    }
    let (mut accepted, mut looked, mut pause) = (Vec::new(), Instant::now(), Duration::ZERO);
    while !waiting.is_empty() && began.elapsed() < limit {
        pause = pause.max(looked.elapsed());
        looked = Instant::now();
        for (client, started) in std::mem::take(&mut waiting) {
            match sockets::is_connected(&client)? {
                true => {
                    connected_after_s.push(started.elapsed().as_secs_f64());
                    connected.push(client);
                }
                false => waiting.push((client, started)),
            }
        }
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
