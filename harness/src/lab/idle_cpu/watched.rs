//! A server that is watched while its clients are silent.

use crate::lab::Place;
use crate::lab::tools::tasks::ran_and_waited_s;
use crate::lab::trouble::{During, Trouble};
use serde::{Deserialize, Serialize};
use servers::models::{MODELS, Readiness};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Silent clients.
const CLIENTS: usize = 20;
/// How long the server has until it has noticed them, and is watched then.
const SETTLE: Duration = Duration::from_millis(200);
const TIME: Duration = Duration::from_millis(1_000);

/// Every model there is.
pub const ALL: &[&str] = &{
    let mut names = [""; MODELS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = MODELS[at].name;
        at += 1;
    }
    names
};

/// What one server used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Idle {
    /// Which.
    pub model: String,
    /// For how long.
    pub watched_s: f64,
    /// CPU time of the whole family.
    pub cpu_s: f64,
    /// How long its main thread was ready and had to wait for a CPU.
    pub waited_s: f64,
    /// Turns of its loop.
    pub wakeups: u64,
}

impl Idle {
    /// Percent of a CPU that it used.
    pub fn used(&self) -> f64 {
        self.cpu_s / self.watched_s * 100.0
    }

    /// Percent of the time in which it was kept from a CPU.
    pub fn waited(&self) -> f64 {
        self.waited_s / self.watched_s * 100.0
    }
}

/// Whether a model never sleeps.
pub fn sweeps(model: &str) -> bool {
    let own = MODELS.iter().find(|known| known.name == model);
    own.is_some_and(|own| own.readiness == Readiness::Sweep)
}

/// Watches a server of this model.
pub fn watched(place: &Place, model: &str) -> Result<Idle, Trouble> {
    place.say(model);
    let server = place.serve(model, &[])?;
    let clients = (0..CLIENTS).map(|_| TcpStream::connect(server.addr));
    let _silent = clients.collect::<Result<Vec<_>, _>>().during("connect")?;
    sleep(SETTLE);
    let (began, wakeups) = (Instant::now(), server.tally().wakeups);
    let (cpu_s, waited_s) = (server.cpu_s()?, ran_and_waited_s(server.pid)?.1);
    sleep(TIME);
    Ok(Idle {
        model: model.into(),
        cpu_s: server.cpu_s()? - cpu_s,
        waited_s: ran_and_waited_s(server.pid)?.1 - waited_s,
        watched_s: began.elapsed().as_secs_f64(),
        wakeups: server.tally().wakeups - wakeups,
    })
}
