//! loadgen as a library: a closed loop of ten connections against an echo server, and what it found.
//!
//! `cargo run --release -p loadgen --example closed_loop`

use std::error::Error;
use std::time::Duration;

use loadgen::base::null_server::NullServer;
use loadgen::base::units::{format_ns, format_rate};
use loadgen::fleet::link::Link;
use loadgen::fleet::run::{Listener, run};
use loadgen::load::Load;
use loadgen::load::flags::{LoadFlags, RunFlags, ShapeFlags};
use loadgen::tally::live;
use loadgen::tally::outcome::Outcome;
use loadgen::worker::control::Sum;

/// Prints each second of the window as it ends.
struct Live;

impl Listener for Live {
    fn notice(&mut self, text: &str) {
        eprintln!("{text}");
    }

    fn wants_seconds(&self) -> bool {
        true
    }

    fn second(&mut self, live: &live::Live, _: Sum) {
        let second = &live.second;
        println!(
            "second {}: {} requests answered",
            second.second, second.completed
        );
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    // Any server that returns every byte will do; this one comes with the library.
    let server = NullServer::start(None)?;
    let shape = ShapeFlags {
        conns: 10,
        ..ShapeFlags::default()
    };
    let times = RunFlags {
        warmup: Duration::from_millis(200),
        duration: Duration::from_secs(2),
        ..RunFlags::default()
    };
    let target = server.address().to_string();
    let load = Load::new(&target, &shape, &LoadFlags::default(), &times)?;

    // Listens for SIGINT and SIGTERM until it is dropped: an interrupted run reports what there was.
    let mut link = Link::new(None)?;
    let report = run(load, &mut link, &mut Live)?;
    if let Some(interruption) = report.interruption {
        eprintln!("{interruption}");
    }
    print(&report.outcome);
    Ok(())
}

fn print(outcome: &Outcome) {
    let response = &outcome.latency_ns.response;
    println!(
        "{} from {} connections: {}, {}",
        format_rate(outcome.requests.per_s),
        outcome.connections.served,
        outcome.verdict,
        match (response.p50, response.p99) {
            (Some(p50), Some(p99)) => format!("p50 {}, p99 {}", format_ns(p50), format_ns(p99)),
            _ => "too few answers for quantiles".into(),
        }
    );
    for reason in &outcome.reasons {
        println!("{} {}", reason.code, reason.text);
    }
}
