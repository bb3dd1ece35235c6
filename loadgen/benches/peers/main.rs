//! Loadgen beside its peers: bare epoll loops that record nothing, and the
//! tools people use. Client on the last CPU, server on the first; the contestants
//! take turns round by round, and what counts is the median of the rounds' ratios.
//!
//! `cargo bench -p loadgen --bench peers [-- FILTER | -- --list]`: a filter is a part of a contest's title.
//! `TENK_BENCH_ROUNDS` and `TENK_BENCH_SECONDS` make it longer or shorter, `TENK_SERVER` names the echo server; https
//! needs `--features tls`.
//!
//! Requests per second are the server's limit as soon as its one CPU is busy, whoever asks. What a client is able to do
//! is then in *per CPU second*: its requests for each second of CPU time of its whole process, start and end included
//! (wait4(2)), ours and the peer's alike.

mod bare;
mod commands;
mod contest;
mod tools;

use commands::{Against, Asked};
use contest::{Contest, Setup};
use loadgen::tally::outcome::Quantiles;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|word| word == bare::MEMBER) {
        if let Err(complaint) = bare::be_member(&args[1..]) {
            println!("{complaint}");
        }
        return;
    }
    if args.iter().any(|word| word == "--list" || word == "--help") {
        println!("cargo bench -p loadgen --bench peers -- FILTER, a part of one of these:");
        return contests()
            .iter()
            .for_each(|contest| println!("  {}", contest.title));
    }
    // cargo passes --bench; whatever else is given selects contests by their title.
    let filter = args
        .into_iter()
        .find(|word| !word.starts_with("--"))
        .unwrap_or_default();
    let setup = Setup::from_env();
    println!("{}", setup.describe());
    for contest in contests() {
        if contest.title.contains(&filter) {
            contest.run(&setup);
        }
    }
}

fn contests() -> Vec<Contest> {
    let mut contests = Vec::new();
    for (conns, redis_ratio) in [(50usize, 2.0), (10_000, 1.6)] {
        contests.push(
            Contest::new(
                format!("closed loop, 64 bytes, {conns} connections"),
                "requests/s",
            )
            .ours(move |setup| tools::closed_loop(setup, conns))
            .peer("bare epoll loop", Some(0.95), move |setup| {
                bare::ping_pong(setup, conns)
            })
            .peer("redis-benchmark", Some(redis_ratio), move |setup| {
                tools::redis_benchmark(setup, conns)
            }),
        );
    }
    contests.push(
        Contest::new(
            "10 000 connections established and served".into(),
            "connections/s",
        )
        .ours(|setup| tools::ramp(setup, 10_000))
        .peer("bare connect loop", Some(1.0 / 1.3), |setup| {
            bare::connect_all(setup, 10_000)
        }),
    );
    contests.push(
        Contest::new(
            "short-lived connections, 50 in flight".into(),
            "connections/s",
        )
        .ours(|setup| tools::short_lived(setup, 50))
        .peer(
            "bare connect-send-receive-close loop",
            Some(0.93),
            |setup| bare::churn(setup, 50),
        ),
    );
    contests.push(
        Contest::new(
            "1 000 000 connections established and served, processes on both sides".into(),
            "connections/s",
        )
        .rounds_at_most(3)
        .ours(|setup| tools::ramp_of_processes(setup, 1_000_000))
        .peer("bare connect loops", Some(1.0 / 1.5), |setup| {
            bare::connect_fleet(setup, 1_000_000)
        }),
    );
    contests.push(
        Contest::new("memory beyond the base".into(), "bytes/connection")
            .at_most(250.0)
            .ours(|setup| tools::memory(setup, 10_000)),
    );
    contests.push(told_contest());
    contests.extend(own_protocol_contests());
    contests.extend(slip_contests());
    contests.extend(http_contests());
    contests.extend(family_contests());
    contests.extend(https_contests());
    contests.push(said_contest());
    contests.extend(command_contests());
    contests
}

/// What it costs to tell of every second.
fn told_contest() -> Contest {
    Contest::new(
        "every second told while the run lasts, open loop, 100 connections".into(),
        "requests/CPU s",
    )
    .ours(|setup| tools::told(setup, 100, true))
    .peer("loadgen that tells nothing", Some(0.99), |setup| {
        tools::told(setup, 100, false)
    })
}

/// HTTP with headers and a body of its own.
fn said_contest() -> Contest {
    Contest::new(
        "http, POST with 4 headers and 1 KiB, 50 connections".into(),
        "requests/s",
    )
    .ours(|setup| tools::http_said(setup, 50))
    .peer("wrk", Some(1.1), |setup| tools::wrk_said(setup, 50))
}

/// Commands for Redis: against an echo server, which returns the command, a valid answer, and so shows the clients; and
/// against Redis, which shows what users see. Redis is what is full there: clients are compared by their CPU time.
fn command_contests() -> Vec<Contest> {
    let cases = [
        (Against::Echo, "echo server", 1),
        (Against::Redis, "redis-server", 1),
        (Against::Redis, "redis-server", 16),
    ];
    let contest = |name: &'static str, (against, server, pipeline): (Against, &str, usize)| {
        let asked = Asked {
            against,
            name,
            pipeline,
        };
        let piped = match pipeline {
            1 => String::new(),
            _ => format!(", {pipeline} in a pipeline"),
        };
        let contest = Contest::new(
            format!("resp, {name} of 100 000 keys, {server}, 50 connections{piped}"),
            "requests/s",
        )
        .ours(move |setup| commands::ours(setup, asked))
        .peer_by_cpu("redis-benchmark", 1.8, move |setup| {
            commands::redis_benchmark(setup, asked)
        });
        match against {
            Against::Echo => contest,
            Against::Redis => contest.peer("memtier_benchmark", None, move |setup| {
                commands::memtier(setup, asked)
            }),
        }
    };
    let contests = ["SET", "GET"].into_iter();
    contests
        .flat_map(|name| cases.map(|case| contest(name, case)))
        .collect()
}

/// Over other address families than IPv4.
fn family_contests() -> [Contest; 2] {
    const CONNS: usize = 50;
    [
        Contest::new(
            format!("http over IPv6, keep-alive, {CONNS} connections"),
            "requests/s",
        )
        .ours(|setup| tools::http_over_ipv6(setup, CONNS))
        .peer("wrk", Some(1.2), |setup| tools::wrk_over_ipv6(setup, CONNS)),
        Contest::new(
            format!("echo over a Unix socket, 64 bytes, {CONNS} connections"),
            "requests/s",
        )
        .ours(|setup| tools::echo_over_unix(setup, CONNS))
        .peer_by_cpu("redis-benchmark", 1.8, |setup| {
            tools::redis_benchmark_over_unix(setup, CONNS)
        }),
    ]
}

/// Protocols of one's own beside the built-in echo, over the same bytes.
fn own_protocol_contests() -> [Contest; 3] {
    const CONNS: usize = 50;
    ["text:SENT", "delimiter:\\n", "line:x$"].map(|rule| {
        let kind = rule.split(':').next().unwrap_or_default();
        Contest::new(
            format!("own protocol, {kind}, 64 bytes, {CONNS} connections"),
            "requests/s",
        )
        .ours(move |setup| tools::own_protocol(setup, CONNS, rule))
        .peer("its own echo", Some(0.95), move |setup| {
            tools::closed_loop(setup, CONNS)
        })
    })
}

/// How late requests leave at half the closed-loop maximum, with a CPU of its own.
fn slip_contests() -> [Contest; 2] {
    const CONNS: usize = 100;
    let slip = |quantile: f64, limit_us, of: fn(&Quantiles) -> Option<u64>| {
        Contest::new(
            format!(
                "open loop at half the maximum, 100 connections: slip p{}",
                quantile * 100.0
            ),
            "µs",
        )
        .at_most(limit_us)
        .ours(move |setup| tools::slip(setup, CONNS, tools::half_of_maximum(setup, CONNS)?, of))
        .peer("bare loop that only polls", None, move |setup| {
            let rate_per_s = tools::half_of_maximum(setup, CONNS)?;
            bare::slip(setup, CONNS, rate_per_s, quantile)
        })
        .peer("thread that only reads the clock", None, move |setup| {
            bare::clock(setup, 50_000.0, quantile)
        })
    };
    [
        slip(0.99, 50.0, |slip| slip.p99),
        slip(0.999, 200.0, |slip| slip.p999),
    ]
}

/// Against one nginx over TLS, a small page and one of 64 KiB.
fn https_contests() -> [Contest; 2] {
    const CONNS: usize = 50;
    [("/", "a small page"), ("/large", "a page of 64 KiB")].map(|(path, what)| {
        Contest::new(format!("https, {what}, {CONNS} connections"), "requests/s")
            .ours(move |setup| tools::https(setup, CONNS, path))
            .peer("wrk", Some(1.0), move |setup| {
                tools::wrk_https(setup, CONNS, path)
            })
    })
}

/// Against one HTTP responder, with keep-alive and without.
fn http_contests() -> Vec<Contest> {
    let cases = [(50, true, 1.2), (10_000, true, 1.5), (50, false, 1.1)];
    let contest = |(conns, keep_alive, ratio): (usize, bool, f64)| {
        let mode = if keep_alive {
            "keep-alive"
        } else {
            "a connection per request"
        };
        Contest::new(format!("http, {mode}, {conns} connections"), "requests/s")
            .ours(move |setup| tools::http(setup, conns, keep_alive))
            .peer("wrk", Some(ratio), move |setup| {
                tools::wrk(setup, conns, keep_alive)
            })
            .peer("ab", (!keep_alive).then_some(ratio), move |setup| {
                tools::ab(setup, conns, keep_alive)
            })
    };
    cases.into_iter().map(contest).collect()
}
