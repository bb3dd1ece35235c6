//! The same over a way that takes time, where a connection costs a round trip of its own.

use crate::base::unit::Unit;
use crate::lab::Place;
use crate::lab::finding::Line;
use crate::lab::tools::delay::{Delay, FAR, NEAR};
use crate::lab::tools::rows::{median, words};
use crate::lab::tools::table::Table;
use crate::lab::trouble::{During, Trouble};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a segment takes there, or back.
const ONE_WAY: Duration = Duration::from_millis(25);
/// Requests of each kind.
const REQUESTS: usize = 11;

/// How long a request takes, its connection included.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Far {
    /// There and back.
    pub round_trip_ns: f64,
    /// Over a connection that is there, median.
    pub long_ns: f64,
    /// Over a new one, median.
    pub short_ns: f64,
}

/// Asks a server that is far away.
pub fn asked(place: &Place) -> Result<Far, Trouble> {
    place.say("over a way that takes time");
    let _way = Delay::start(ONE_WAY)?;
    let server = place.serve("epoll", &words(&format!("--listen {NEAR}:0")))?;
    let addr = SocketAddr::from((FAR, server.addr.port()));
    let connect = || -> Result<TcpStream, Trouble> {
        let client = TcpStream::connect(addr).during("connect to the far server")?;
        client.set_nodelay(true)?;
        Ok(client)
    };
    let (mut long_ns, mut short_ns) = (Vec::new(), Vec::new());
    let mut stays = connect()?;
    for _ in 0..REQUESTS {
        let began = Instant::now();
        ask(&mut stays)?;
        long_ns.push(began.elapsed().as_nanos() as f64);
        let began = Instant::now();
        ask(&mut connect()?)?;
        short_ns.push(began.elapsed().as_nanos() as f64);
    }
    Ok(Far {
        round_trip_ns: 2.0 * ONE_WAY.as_nanos() as f64,
        long_ns: median(long_ns),
        short_ns: median(short_ns),
    })
}

/// What is expected of it: a round trip for a request, and another for a connection.
pub fn lines(far: &Result<Far, String>) -> Vec<Line> {
    const BAND: (f64, f64) = (0.98, 1.4);
    let mut table = Table::of(Unit::Duration);
    match far {
        Ok(far) => {
            let once_ns = far.round_trip_ns;
            table.about("far away, long: one round trip", once_ns, far.long_ns, BAND);
            table.about("far away, short: two", 2.0 * once_ns, far.short_ns, BAND);
        }
        Err(why) => table.lines.push(Line::shown(
            "far away",
            "one round trip, and two",
            format!("not measured: {why}"),
        )),
    }
    table.lines
}

fn ask(client: &mut TcpStream) -> Result<(), Trouble> {
    client.set_read_timeout(Some(Duration::from_secs(5)))?;
    client.write_all(b"far?").during("ask the far server")?;
    client
        .read_exact(&mut [0; 4])
        .during("hear from the far server")
}
