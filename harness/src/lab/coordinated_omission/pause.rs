//! A load during which its server is stopped for a while.

use crate::base::unit::Unit;
use crate::lab::Place;
use crate::lab::tools::draw;
use crate::lab::trouble::{During, Trouble};
use crate::render::chart::Chart;
use crate::render::chart::canvas::Scale;
use loadgen::tally::blob;
use loadgen::tally::outcome::Outcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use std::thread::{scope, sleep};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When the pause begins after the generator was started, and how long it is.
const AFTER: Duration = Duration::from_millis(1_800);
const LENGTH: Duration = Duration::from_secs(1);
/// The generator's window holds all of it, unless the machine is so busy that it takes a second to start a program.
const TIMES: [&str; 4] = ["--warmup", "200ms", "--duration", "4s"];
const ATTEMPTS: usize = 3;
/// Points of the curve.
pub const STEPS: usize = 20;

/// What a generator saw of the pause.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Side {
    /// How long the server was stopped, s.
    pub pause_s: f64,
    /// The generator's window, s.
    pub window_s: f64,
    /// Requests in it.
    pub requests: u64,
    /// How many of them took longer than 1, 2, 3… twentieths of the pause.
    pub longer: Vec<u64>,
    /// Nine of ten were faster than this, ns.
    pub p90_ns: Option<u64>,
}

impl Side {
    /// Percent of the requests that took longer than so many twentieths of the pause.
    pub fn share(&self, step: usize) -> f64 {
        let longer = self.longer.get(step - 1);
        longer.map_or(f64::NAN, |n| *n as f64 / self.requests as f64 * 100.0)
    }

    /// What is expected of requests that come all the time: (P - x) / D.
    pub fn law(&self, step: usize) -> f64 {
        (1.0 - step as f64 / STEPS as f64) * self.pause_s / self.window_s * 100.0
    }
}

/// The shares by waiting time, beside the law's.
pub fn chart(open: &Side, closed: &Side) -> Option<Chart> {
    let curve = |of: &dyn Fn(usize) -> f64| {
        let x_ns = |step: usize| step as f64 / STEPS as f64 * open.pause_s * 1e9;
        (1..=STEPS).map(|step| (x_ns(step), of(step))).collect()
    };
    let lines = vec![
        ("(P - x) / D".to_string(), curve(&|step| open.law(step))),
        ("due on time".into(), curve(&|step| open.share(step))),
        ("closed loop".into(), curve(&|step| closed.share(step))),
    ];
    let title = "Requests that take longer than x";
    let texts = draw::texts(title, "the server stands still for one second of four", "");
    let x = ("x", Scale::Linear, Unit::Duration);
    let y = ("share of the requests", Scale::Linear, Unit::Percent);
    draw::lines("longer-than", texts, x, y, lines)
}

/// Loads a server of its own with these flags, and stops it meanwhile.
pub fn side(place: &Place, flags: &[&str]) -> Result<Side, Trouble> {
    for _ in 0..ATTEMPTS {
        place.say(&format!("a pause under {}", flags.join(" ")));
        let server = place.serve("epoll", &[])?;
        let pid = Pid::from_raw(server.pid as i32);
        let (outcome, pause) = scope(|scope| {
            let pause = scope.spawn(move || pause(pid));
            // What is started ends with the thread that started it: this one.
            let outcome = place.load(server.addr, &[&TIMES, flags].concat());
            (outcome, pause.join())
        });
        let pause = pause.map_err(|_| Trouble::failed("the server could not be stopped"))?;
        if let Some(side) = seen(&outcome?, pause?)? {
            return Ok(side);
        }
    }
    let why = "the generator was started so late that the pause was over before its window";
    Err(Trouble::denied(
        why,
        "run the lab when the machine has less else to do",
    ))
}

/// When the server was stopped, since 1970, and for how long.
type Pause = (Duration, Duration);

fn pause(server: Pid) -> Result<Pause, Trouble> {
    sleep(AFTER);
    let now = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .during("read the clock")
    };
    let began = now()?;
    kill(server, Signal::SIGSTOP).during("stop the server")?;
    sleep(LENGTH);
    kill(server, Signal::SIGCONT).during("let the server go on")?;
    Ok((began, now()?.saturating_sub(began)))
}

/// What was seen of a pause; `None` where it was not inside the window.
fn seen(outcome: &Outcome, (began, length): Pause) -> Result<Option<Side>, Trouble> {
    let start = Duration::from_nanos(outcome.window_start_unix_ns.unwrap_or(u64::MAX));
    let end = start.saturating_add(Duration::from_secs_f64(outcome.window_s));
    if began < start || began + length > end {
        return Ok(None);
    }
    let histogram = outcome
        .histograms
        .get("response")
        .map(|text| blob::decode(text));
    let histogram = histogram.ok_or_else(|| Trouble::failed("the generator kept no histogram"))?;
    let histogram = histogram.during("read the generator's histogram")?;
    let longer_than = |step: usize| {
        let ns = length.as_nanos() as u64 * step as u64 / STEPS as u64;
        histogram.len() - histogram.count_between(0, ns)
    };
    Ok(Some(Side {
        pause_s: length.as_secs_f64(),
        window_s: outcome.window_s,
        requests: histogram.len(),
        longer: (1..=STEPS).map(longer_than).collect(),
        p90_ns: outcome.latency_ns.response.p90,
    }))
}
