//! A connection served by blocking reads and writes, its deadlines included.
//! Compare with [`nonblocking`](crate::nonblocking): the same life as a state
//! machine.

use std::io::{self, Write};
use std::time::Instant;

use crate::accept::Guest;
use crate::service::{Session, Workbench};

/// Serves one connection until either side closes it. An error is this client's
/// own: it ends the connection and nothing else.
pub fn serve(mut guest: Guest, bench: &mut Workbench) {
    let _ = converse(&mut guest, bench);
}

fn converse(guest: &mut Guest, bench: &mut Workbench) -> io::Result<()> {
    let Workbench {
        service,
        scratch,
        out,
    } = bench;
    if service.idle_timeout.is_some() {
        guest.stream.set_read_timeout(service.idle_timeout)?;
        guest.stream.set_write_timeout(service.idle_timeout)?;
    }
    let mut session = Session::default();
    let mut last_request = Instant::now();
    loop {
        let input = scratch.receive(&guest.stream)?;
        guest.slot.wakeups(1);
        guest.received(input);
        if input.is_empty() {
            return Ok(());
        }
        let answer = service.answer(&mut session, input, out);
        service.block(answer.requests);
        guest.stream.write_all(answer.bytes)?;
        guest.slot.bytes_out(answer.bytes.len() as u64);
        if answer.last {
            return Ok(());
        }
        // Bytes that never make a request are no sign of life: a client that
        // sends one header byte a second would otherwise stay for ever.
        if let Some(timeout) = service.idle_timeout {
            if answer.requests > 0 {
                last_request = Instant::now();
            } else if last_request.elapsed() > timeout {
                return Ok(());
            }
        }
    }
}
