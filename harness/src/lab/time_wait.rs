//! Who closes first keeps the connection in TIME_WAIT for a minute, and its pair of addresses with it.

mod closing;
mod table;

use super::tools::draw;
use super::tools::sockets::{self, State};
use super::{About, Finding, Lab, Place, Settings, Trouble};
use crate::base::unit::Unit;
use closing::{Closed, First, end, going_on, last_ack_lost, one_after_the_other};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// Local ports that clients have: few, so that they run out.
const PORTS: usize = 500;
const RANGE: &str = "40000 40499";
/// The first of the servers' ports: none of the clients'.
const SERVER: u16 = 2000;
/// Connections asked for where nothing should run out.
const MANY: usize = 3 * PORTS;
/// How long clients go on where ports come back.
const GOING_ON: Duration = Duration::from_secs(4);
/// TCP_TIMEWAIT_LEN, include/net/tcp.h: no setting changes it.
const LENGTH_S: f64 = 60.0;

/// The lab.
pub struct TimeWait;

/// What was seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Evidence {
    by_client: Closed,
    by_server: Closed,
    by_reset: Closed,
    /// With tcp_tw_reuse 1: connections, and in how many seconds.
    reuse: (usize, f64),
    /// Whose last ACK was taken away: FINs of the server's, and ACKs of the client's in TIME_WAIT.
    last_ack_lost: (usize, usize),
    /// How long one TIME_WAIT lasted, s; none where it was still there at the end.
    lasted_s: Option<f64>,
}

impl Lab for TimeWait {
    type Evidence = Evidence;

    const ABOUT: About = About {
        name: "time-wait",
        question: "Who pays for closing first, for how long, and how many connections per second does that allow?",
        claim: "The side that closes first keeps the connection in TIME_WAIT for 2 MSL, so that a FIN that is sent again can be \
                acknowledged again. A client that closes first can make no more connections to one server than it has ports in \
                that time; with tcp_tw_reuse it has a port back after a second.",
        sources: &[
            "Stevens, UNIX Network Programming 1, 2.7",
            "Kerrisk, The Linux Programming Interface, 61.6.7",
            "RFC 9293 3.6.1, RFC 6191",
            "Linux: Documentation/networking/ip-sysctl.rst, tcp_tw_reuse and tcp_tw_reuse_delay",
        ],
        prediction: "A client has 500 local ports. It connects to one server and closes, again and again, as fast as it can. How \
                     many connections does it make before something fails, and with which error? And if the server closes first?",
        done: "Clients with 500 local ports connect and close: first themselves (tcp_tw_reuse 0), then the server first, then with a \
               reset, then themselves with tcp_tw_reuse 1 for 4 s. The last ACKs of one connection are kept from the server for 1.5 s. \
               One TIME_WAIT is watched until it is gone.",
        answer: "A TIME_WAIT holds the pair of addresses, and to one server that is one of the client's ports: 500 ports ÷ 60 s are 8 \
                 connections per second, and the 28 000 of a usual range are 470. If the server closes first, the waiting is on its \
                 side, costs memory but no ports, and a new SYN of the same client ends it. A reset leaves nothing. With \
                 tcp_tw_reuse the kernel gives a port away after a second, since time stamps tell old segments from new.",
        next: &[
            "tenk lab reuseaddr",
            "tenk lab resets",
            "tenk lab long-vs-short",
        ],
        settings: &[
            "net/ipv4/ip_local_port_range",
            "net/ipv4/tcp_tw_reuse",
            "net/ipv4/tcp_tw_reuse_delay",
            "net/ipv4/tcp_timestamps",
            "net/ipv4/tcp_max_tw_buckets",
        ],
        programs: &[],
        limit: Duration::from_secs(90),
    };

    fn measure(place: &Place) -> Result<Evidence, Trouble> {
        let (watched, watched_addr) = sockets::listen_on(SERVER)?;
        end(&watched, watched_addr, First::Client)?;
        let closed = Instant::now();
        place.set("net/ipv4/ip_local_port_range", RANGE)?;
        place.set("net/ipv4/tcp_tw_reuse", "0")?;
        let series = |port, first, name: &str| {
            place.say(&format!("closed first by {name}"));
            one_after_the_other(port, first, MANY)
        };
        let by_client = series(SERVER + 1, First::Client, "the client")?;
        let by_server = series(SERVER + 2, First::Server, "the server")?;
        let by_reset = series(SERVER + 3, First::Reset, "a reset")?;
        place.say("with tcp_tw_reuse");
        place.set("net/ipv4/tcp_tw_reuse", "1")?;
        let reuse = going_on(SERVER + 4, GOING_ON)?;
        let last_ack_lost = last_ack_lost(SERVER + 5)?;
        let mut lasted_s = None;
        while lasted_s.is_none() && closed.elapsed().as_secs_f64() < LENGTH_S * 1.125 + 4.0 {
            std::thread::sleep(Duration::from_millis(100));
            place.say(&format!(
                "watching one TIME_WAIT, {} of 60 s",
                closed.elapsed().as_secs()
            ));
            let is_gone = sockets::count(watched_addr.port(), State::TIME_WAIT)? == 0;
            lasted_s = is_gone.then(|| closed.elapsed().as_secs_f64());
        }
        Ok(Evidence {
            by_client,
            by_server,
            by_reset,
            reuse,
            last_ack_lost,
            lasted_s,
        })
    }

    fn judge(settings: &Settings, evidence: &Evidence) -> Finding {
        table::judge(settings, evidence).with_chart(draw::bars(
            "time-wait",
            draw::texts(
                "Connections that a client with 500 ports could make",
                "to one server, one after the other; at most 1500 were asked for, with tcp_tw_reuse for 4 s",
                "",
            ),
            "connections",
            Unit::Count,
            vec![
                ("client closes first".into(), evidence.by_client.connections as f64),
                ("server closes first".into(), evidence.by_server.connections as f64),
                ("closed by a reset".into(), evidence.by_reset.connections as f64),
                ("client, tcp_tw_reuse 1".into(), evidence.reuse.0 as f64),
            ],
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::testing::{as_expected, not_as_expected, settings};

    fn closed(
        connections: usize,
        ports_ran_out: bool,
        of_clients: usize,
        of_server: usize,
    ) -> Closed {
        Closed {
            connections,
            ports_ran_out,
            time_wait_of_clients: of_clients,
            time_wait_of_server: of_server,
        }
    }

    fn evidence() -> Evidence {
        Evidence {
            by_client: closed(PORTS, true, PORTS, 0),
            by_server: closed(MANY, false, 0, PORTS),
            by_reset: closed(MANY, false, 0, 0),
            reuse: (1990, 4.0),
            last_ack_lost: (3, 3),
            lasted_s: Some(61.4),
        }
    }

    #[test]
    fn who_closes_first_pays() {
        as_expected(&TimeWait::judge(&settings(&[]), &evidence()));
    }

    #[test]
    fn ports_that_do_not_run_out_contradict() {
        let endless = Evidence {
            by_client: closed(MANY, false, 0, 0),
            ..evidence()
        };
        let finding = TimeWait::judge(&settings(&[]), &endless);
        assert!(not_as_expected(&finding).contains("1500, where 500, then EADDRNOTAVAIL"));
        let short = Evidence {
            lasted_s: Some(30.0),
            ..evidence()
        };
        assert!(not_as_expected(&TimeWait::judge(&settings(&[]), &short)).contains("30.0 s"));
        let once = Evidence {
            last_ack_lost: (1, 1),
            ..evidence()
        };
        assert!(not_as_expected(&TimeWait::judge(&settings(&[]), &once)).contains("1 FINs"));
    }

    #[test]
    fn reuse_is_judged_only_where_time_stamps_and_a_delay_make_it_so() {
        let too_many = Evidence {
            reuse: (9000, 4.0),
            ..evidence()
        };
        let finding = TimeWait::judge(&settings(&[]), &too_many);
        assert!(not_as_expected(&finding).contains("9000"));
        let other = settings(&[("net/ipv4/tcp_tw_reuse_delay", "10")]);
        as_expected(&TimeWait::judge(&other, &too_many));
    }
}
