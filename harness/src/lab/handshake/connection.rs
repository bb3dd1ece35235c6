//! One connection, captured, and the states of its ends.

use crate::lab::tools::capture::{Capture, Segment};
use crate::lab::tools::sockets;
use crate::lab::trouble::Trouble;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::sleep;
use std::time::Duration;

/// Bytes of the request, and of the answer.
pub const DATA: usize = 10;
/// How long the server still has something to do after the client's FIN: longer than an acknowledgement is delayed.
pub const BUSY: Duration = Duration::from_millis(400);

/// One connection: 10 bytes there, 10 bytes back, the client's end, and after so long the server's.
pub fn connection(
    busy: Duration,
    states: &mut Vec<(String, String)>,
) -> Result<Vec<Segment>, Trouble> {
    let (listener, addr) = sockets::listen(4)?;
    let capture = Capture::start(addr.port())?;
    let mut client = TcpStream::connect(addr)?;
    let mut server: TcpStream = listener.accept()?.0.into();
    let own = client.local_addr()?.port();
    let mut look = || -> Result<(), Trouble> {
        let state = |from, to| sockets::state_of(from, to);
        let words = |found: Option<sockets::State>| found.map_or("none".into(), |s| s.to_string());
        let both = (
            words(state(own, addr.port())?),
            words(state(addr.port(), own)?),
        );
        states.push(both);
        Ok(())
    };
    look()?;
    let mut bytes = [0; DATA];
    client.write_all(&[1; DATA])?;
    server.read_exact(&mut bytes)?;
    server.write_all(&[2; DATA])?;
    client.read_exact(&mut bytes)?;
    client.shutdown(Shutdown::Write)?;
    server.read_to_end(&mut Vec::new())?;
    if !busy.is_zero() {
        sleep(busy);
        look()?;
    }
    drop(server);
    client.read_to_end(&mut Vec::new())?;
    drop(client);
    sleep(Duration::from_millis(100));
    look()?;
    capture.finish()
}
