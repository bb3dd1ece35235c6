//! A connection for each way, the link taken down, and a thread that waits at each.

use super::ways::{IDLE, Way};
use super::{WATCHED, Watched};
use crate::lab::tools::veth::{Cable, NEAR};
use crate::lab::trouble::During;
use crate::lab::{Place, Trouble};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// All ways at once, since most of it is waiting.
pub fn measure(place: &Place) -> Result<Vec<Watched>, Trouble> {
    let cable = Cable::lay()?;
    let listener = TcpListener::bind((NEAR, 0)).during("listen")?;
    let address = listener.local_addr()?;
    let listen = format!("{NEAR}:0");
    let idle = format!("{}s", IDLE.as_secs());
    let server = place.serve("thread", &["--listen", &listen, "--idle-timeout", &idle])?;
    let mut pairs = Vec::new();
    for way in Way::ALL {
        if way != Way::IdleTimeout {
            let client = cable.connect(address)?;
            pairs.push((way, client, listener.accept()?.0));
        }
    }
    let mut served = cable.connect(server.addr)?;
    // The last word of every client; their timers begin.
    let said = Instant::now();
    for (way, client, connection) in &mut pairs {
        way.set(connection).during(way.words())?;
        client.write_all(b"!")?;
        connection.read_exact(&mut [0])?;
    }
    served.write_all(b"!")?;
    served.read_exact(&mut [0])?;
    cable.cut()?;
    place.say("the link is down");
    let (mut clients, mut waiting) = (vec![served], Vec::new());
    for (way, client, mut connection) in pairs {
        clients.push(client);
        let since = if way.sends() { Instant::now() } else { said };
        if way.sends() {
            connection.write_all(b"?")?;
        }
        waiting.push((
            way,
            std::thread::spawn(move || notice(&mut connection, since)),
        ));
    }
    let mut all = Vec::new();
    let closed = || server.tally().closed > 0;
    while said.elapsed() < WATCHED && !closed() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let closed_after_ns = closed().then(|| said.elapsed().as_nanos() as u64);
    for (way, thread) in waiting {
        let noticed = thread
            .join()
            .map_err(|_| Trouble::failed("a waiting thread has failed"))?;
        let (noticed_after_ns, said) = noticed.during("wait")?;
        all.push(Watched {
            way,
            noticed_after_ns,
            said,
        });
    }
    all.push(Watched {
        way: Way::IdleTimeout,
        noticed_after_ns: closed_after_ns,
        said: "the server closed it".into(),
    });
    Ok(all)
}

/// Waits until recv(2) has something to say, and not for longer than anybody watches.
fn notice(connection: &mut TcpStream, since: Instant) -> std::io::Result<(Option<u64>, String)> {
    connection.set_read_timeout(Some(WATCHED))?;
    let result = connection.read(&mut [0; 1]);
    let after_ns = since.elapsed().as_nanos() as u64;
    Ok(match result {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            (None, String::new())
        }
        Err(e) => (Some(after_ns), e.kind().to_string()),
        Ok(length) => (Some(after_ns), format!("{length} bytes")),
    })
}
