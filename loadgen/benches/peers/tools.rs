//! Programs: loadgen itself and the tools people use.

use std::fmt::Display;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use loadgen::base::address::Address;
use loadgen::tally::outcome::{Outcome, Quantiles};

use crate::contest::{Score, Setup};

/// Loadgen in a closed loop over long-lived connections.
pub fn closed_loop(setup: &Setup, conns: usize) -> Result<Score, String> {
    let outcome = loadgen(setup, &["--conns", &conns.to_string()])?;
    Ok(Score {
        figure: outcome.requests.per_s,
        cpu_us: outcome.generator.cpu_us_per_request,
    })
}

/// Requests of an open loop for each second of CPU time that the whole program uses, with every second told as JSON and as
/// metrics, and a condition looked at, or without.
pub fn told(setup: &Setup, conns: usize, tell: bool) -> Result<Score, String> {
    let folder = std::env::temp_dir().join(format!("tenk-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let place = |name: &str| folder.join(name).display().to_string();
    let (conns, lines, metrics) = (conns.to_string(), place("seconds"), place("tenk.prom"));
    let mut args = vec!["--conns", &conns, "--rate", "40k"];
    if tell {
        args.extend(["--progress-json", &lines, "--metrics-file", &metrics]);
        args.extend(["--abort-on", "response_p99_ns>1m over 10s"]);
    }
    let before_s = children_cpu_s()?;
    let outcome = loadgen(setup, &args);
    let used_s = children_cpu_s()? - before_s;
    let _ = std::fs::remove_dir_all(&folder);
    let completed = outcome?.whole_run.completed as f64;
    Ok(Score {
        figure: completed / used_s,
        cpu_us: Some(used_s * 1e6 / completed),
    })
}

/// What loadgen reaches, and the CPU time of its whole process for each request, as it is measured of the others.
pub fn ours(setup: &Setup, target: impl Display, args: &[&str]) -> Result<Score, String> {
    let before_s = children_cpu_s()?;
    let outcome = loadgen_against(setup, target, args)?;
    let used_s = children_cpu_s()? - before_s;
    Ok(Score {
        figure: outcome.requests.per_s,
        cpu_us: Some(used_s * 1e6 / outcome.whole_run.completed as f64),
    })
}

/// Runs another's program to its end; what it says is read by `read`, as requests and seconds.
pub fn theirs(
    setup: &Setup,
    command: &mut Command,
    read: impl FnOnce(&str) -> Result<(f64, f64), String>,
) -> Result<Done, String> {
    let before_s = children_cpu_s()?;
    let text = output_of(setup, command)?;
    let cpu_s = children_cpu_s()? - before_s;
    let (requests, seconds) = read(&text)?;
    Ok(Done {
        requests,
        seconds,
        cpu_s,
    })
}

/// CPU time of the children that have ended, in seconds.
fn children_cpu_s() -> Result<f64, String> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| error.to_string())?;
    let us = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(us as f64 / 1e6)
}

/// The same over a protocol of one's own, of 64 bytes a message: numbers in them, and this rule for the echo.
pub fn own_protocol(setup: &Setup, conns: usize, expect: &str) -> Result<Score, String> {
    let send = format!("{{conn:8}} {{seq:20}} {}\\n", "x".repeat(33));
    let expect = expect.replace("SENT", &send);
    let conns = conns.to_string();
    let outcome = loadgen(
        setup,
        &["--conns", &conns, "--send", &send, "--expect", &expect],
    )?;
    Ok(Score {
        figure: outcome.requests.per_s,
        cpu_us: outcome.generator.cpu_us_per_request,
    })
}

/// Loadgen with one request per connection.
pub fn short_lived(setup: &Setup, in_flight: usize) -> Result<Score, String> {
    let outcome = loadgen(
        setup,
        &[
            "--conns",
            &in_flight.to_string(),
            "--requests-per-conn",
            "1",
        ],
    )?;
    Ok(Score {
        figure: outcome.connections.per_s,
        cpu_us: outcome.generator.cpu_us_per_request,
    })
}

/// How fast loadgen's ramp goes.
pub fn ramp(setup: &Setup, conns: usize) -> Result<Score, String> {
    let outcome = loadgen(
        setup,
        &[
            "--conns",
            &conns.to_string(),
            "--duration",
            "100ms",
            "--warmup",
            "0",
        ],
    )?;
    Ok(Score::of(conns as f64 / outcome.ramp_s))
}

/// How fast loadgen's ramp goes in as many processes as the connections need.
pub fn ramp_of_processes(setup: &Setup, conns: usize) -> Result<Score, String> {
    let server = setup.start_many_processes()?;
    let conns_text = conns.to_string();
    let args = [
        "--conns",
        &conns_text,
        "--duration",
        "100ms",
        "--warmup",
        "0",
    ];
    let outcome = loadgen_against(setup, server.address(), &args)?;
    let bytes = outcome.generator.max_rss_kib as f64 * 1024.0 / conns as f64;
    println!(
        "  loadgen: {} processes, {bytes:.0} bytes of memory per connection, all included",
        outcome.generator.processes
    );
    Ok(Score::of(conns as f64 / outcome.ramp_s))
}

/// What loadgen's resident memory grows by with every connection.
pub fn memory(setup: &Setup, conns: usize) -> Result<Score, String> {
    let rss_bytes = |conns: usize| -> Result<f64, String> {
        let outcome = loadgen(
            setup,
            &[
                "--conns",
                &conns.to_string(),
                "--duration",
                "500ms",
                "--warmup",
                "100ms",
            ],
        )?;
        Ok(outcome.generator.max_rss_kib as f64 * 1024.0)
    };
    Ok(Score::of(
        (rss_bytes(conns)? - rss_bytes(10)?) / (conns - 10) as f64,
    ))
}

/// Half of what loadgen gets out of a closed loop, requests/s.
pub fn half_of_maximum(setup: &Setup, conns: usize) -> Result<f64, String> {
    let outcome = loadgen(setup, &["--conns", &conns.to_string()])?;
    Ok(outcome.requests.per_s / 2.0)
}

/// How late loadgen sends in an open loop.
pub fn slip(
    setup: &Setup,
    conns: usize,
    rate_per_s: f64,
    quantile: fn(&Quantiles) -> Option<u64>,
) -> Result<Score, String> {
    let (conns, rate) = (conns.to_string(), format!("{rate_per_s:.0}"));
    let outcome = loadgen(
        setup,
        &["--conns", &conns, "--rate", &rate, "--arrival", "poisson"],
    )?;
    let delivered = outcome.requests.sent as f64 / outcome.requests.offered as f64;
    if delivered < 0.999 {
        return Err(format!(
            "only {delivered:.5} of what was offered at {rate}/s was sent"
        ));
    }
    let slip_ns =
        quantile(&outcome.schedule_slip_ns).ok_or("too few samples: make the window longer")?;
    Ok(Score::of(slip_ns as f64 / 1000.0))
}

/// Loadgen as an HTTP client.
pub fn http(setup: &Setup, conns: usize, keep_alive: bool) -> Result<Score, String> {
    let server = setup.start_http()?;
    let duration = format!("{}ms", beyond(setup, conns).as_millis());
    let conns = conns.to_string();
    let mut args = vec!["--protocol", "http", "--conns", &conns];
    args.extend(["--warmup", "500ms", "--duration", &duration]);
    if !keep_alive {
        args.extend(["--requests-per-conn", "1", "--close", "server"]);
    }
    // Without the ramp, as of those whose longer run is compared with a shorter one.
    let outcome = loadgen_against(setup, server.address(), &args)?;
    Ok(Score {
        figure: outcome.requests.per_s,
        cpu_us: outcome.generator.cpu_us_per_request,
    })
}

/// The same over IPv6.
pub fn http_over_ipv6(setup: &Setup, conns: usize) -> Result<Score, String> {
    let server = setup.start_at::<SocketAddr>("[::1]:0", "http")?;
    let args = ["--protocol", "http", "--conns", &conns.to_string()];
    ours(setup, server.address, &args)
}

/// `wrk` over IPv6.
pub fn wrk_over_ipv6(setup: &Setup, conns: usize) -> Result<Score, String> {
    let server = setup.start_at::<SocketAddr>("[::1]:0", "http")?;
    wrk_at(setup, conns, &format!("http://{}/", server.address), &[])
}

/// A name for a Unix socket of this run.
fn unix_socket() -> String {
    let name = format!("tenk-bench-{}.sock", std::process::id());
    format!("unix:{}", std::env::temp_dir().join(name).display())
}

/// Loadgen over a Unix socket.
pub fn echo_over_unix(setup: &Setup, conns: usize) -> Result<Score, String> {
    let server = setup.start_at::<Address>(&unix_socket(), "echo")?;
    ours(setup, &server.address, &["--conns", &conns.to_string()])
}

/// `redis-benchmark` over a Unix socket.
pub fn redis_benchmark_over_unix(setup: &Setup, conns: usize) -> Result<Score, String> {
    let server = setup.start_at::<Address>(&unix_socket(), "echo")?;
    let path = server.address.to_string();
    let path = path.trim_start_matches("unix:");
    let requests = requests_for(setup.window, 60_000.0, conns);
    let mut command = Command::new("redis-benchmark");
    command.args(["-s", path, "-q", "-c", &conns.to_string()]);
    command.args(["-n", &requests.to_string(), "PING"]);
    theirs(setup, &mut command, |text| {
        redis_benchmark_did(text, requests)
    })
    .map(Done::score)
}

/// `wrk`, one thread.
pub fn wrk(setup: &Setup, conns: usize, keep_alive: bool) -> Result<Score, String> {
    let server = setup.start_http()?;
    beyond_the_ramp(setup, conns, |length| {
        let mut command = wrk_command(conns, length);
        if !keep_alive {
            command.args(["-H", "Connection: close"]);
        }
        command.arg(format!("http://{}/", server.address()));
        theirs(setup, &mut command, wrk_did)
    })
}

/// `wrk` with what else it is told.
fn wrk_at(setup: &Setup, conns: usize, url: &str, args: &[&str]) -> Result<Score, String> {
    let mut command = wrk_command(conns, setup.window);
    command.args(args).arg(url);
    theirs(setup, &mut command, wrk_did).map(Done::score)
}

fn wrk_command(conns: usize, length: Duration) -> Command {
    let mut command = Command::new("wrk");
    let seconds = length.as_secs().max(1);
    command.args(["-t1", &format!("-c{conns}"), &format!("-d{seconds}s")]);
    command
}

/// What `wrk` says of its run.
fn wrk_did(text: &str) -> Result<(f64, f64), String> {
    let line = text.lines().find(|line| line.contains(" requests in "));
    line.and_then(|line| {
        let mut words = line.split_whitespace();
        let requests = words.next()?.parse().ok()?;
        let seconds = words.nth(2)?.strip_suffix("s,")?.parse().ok()?;
        Some((requests, seconds))
    })
    .ok_or_else(|| format!("wrk said {text:?}"))
}

/// What the headers of a request say that has some.
const HEADERS: [&str; 4] = [
    "Accept: application/json",
    "Authorization: Bearer 0123456789abcdef",
    "Content-Type: application/json",
    "X-Request-Id: 550e8400-e29b-41d4-a716-446655440000",
];

/// Loadgen with headers and a body.
pub fn http_said(setup: &Setup, conns: usize) -> Result<Score, String> {
    let server = setup.start_http()?;
    let (conns, body) = (conns.to_string(), "x".repeat(1024));
    let mut args = vec!["--protocol", "http", "--conns", &conns, "--body", &body];
    args.extend(HEADERS.iter().flat_map(|header| ["-H", header]));
    ours(setup, server.address(), &args)
}

/// `wrk` with the same.
pub fn wrk_said(setup: &Setup, conns: usize) -> Result<Score, String> {
    let server = setup.start_http()?;
    let mut script = "wrk.method = \"POST\"\nwrk.body = string.rep(\"x\", 1024)\n".to_owned();
    for (name, value) in HEADERS.iter().filter_map(|header| header.split_once(": ")) {
        script.push_str(&format!("wrk.headers[\"{name}\"] = \"{value}\"\n"));
    }
    let path = std::env::temp_dir().join(format!("tenk-bench-{}.lua", std::process::id()));
    std::fs::write(&path, script).map_err(|error| format!("{}: {error}", path.display()))?;
    let (url, script) = (
        format!("http://{}/", server.address()),
        path.display().to_string(),
    );
    let score = wrk_at(setup, conns, &url, &["-s", &script]);
    // What stays behind is small and in the place for such things.
    let _ = std::fs::remove_file(&path);
    score
}

/// Loadgen over TLS.
pub fn https(setup: &Setup, conns: usize, path: &str) -> Result<Score, String> {
    if !loadgen::load::tls::IS_BUILT_IN {
        return Err("without TLS: cargo bench -p loadgen --features tls --bench peers".into());
    }
    let server = Nginx::start_with(setup, true)?;
    let conns = conns.to_string();
    let args = [
        "--protocol",
        "http",
        "--tls",
        "--insecure",
        "--path",
        path,
        "--conns",
        &conns,
    ];
    ours(setup, server.address, &args)
}

/// `wrk` over TLS.
pub fn wrk_https(setup: &Setup, conns: usize, path: &str) -> Result<Score, String> {
    let server = Nginx::start_with(setup, true)?;
    wrk_at(
        setup,
        conns,
        &format!("https://{}{path}", server.address),
        &[],
    )
}

/// `ab`, with `-k` or without.
pub fn ab(setup: &Setup, conns: usize, keep_alive: bool) -> Result<Score, String> {
    let server = setup.start_http()?;
    beyond_the_ramp(setup, conns, |length| {
        let requests = requests_for(length, 30_000.0, conns);
        let mut command = Command::new("ab");
        command.args(["-q", "-c", &conns.to_string(), "-n", &requests.to_string()]);
        if keep_alive {
            command.arg("-k");
        }
        command.arg(format!("http://{}/", server.address()));
        theirs(setup, &mut command, |text| {
            let requests = figure_after(text, "Complete requests:")?;
            Ok((requests, figure_after(text, "Time taken for tests:")?))
        })
    })
}

/// `redis-benchmark -q PING`: an echo server returns the command, which is a valid answer.
pub fn redis_benchmark(setup: &Setup, conns: usize) -> Result<Score, String> {
    let server = setup.start_server()?;
    beyond_the_ramp(setup, conns, |length| {
        let requests = requests_for(length, 60_000.0, conns);
        let mut command = Command::new("redis-benchmark");
        command.args(["-p", &server.address().port().to_string(), "-q"]);
        command.args(["-c", &conns.to_string(), "-n", &requests.to_string()]);
        theirs(setup, command.arg("PING"), |text| {
            redis_benchmark_did(text, requests)
        })
    })
}

/// What `redis-benchmark -q` did, of which it says the requests per second.
pub fn redis_benchmark_did(text: &str, requests: usize) -> Result<(f64, f64), String> {
    let said = text
        .rsplit(['\r', '\n'])
        .find_map(|line| line.split_once(" requests per second"));
    let per_s: Option<f64> = said.and_then(|(head, _)| head.rsplit(' ').next()?.parse().ok());
    per_s
        .map(|per_s| (requests as f64, requests as f64 / per_s))
        .ok_or_else(|| format!("redis-benchmark said {text:?}"))
}

/// What a tool says of one run, and the CPU time that it took.
#[derive(Clone, Copy)]
pub struct Done {
    requests: f64,
    seconds: f64,
    cpu_s: f64,
}

impl Done {
    pub fn score(self) -> Score {
        Score {
            figure: self.requests / self.seconds,
            cpu_us: Some(self.cpu_s * 1e6 / self.requests),
        }
    }
}

/// These tools count from their first connect on. Where that takes long, two runs are made, and what the longer one
/// did more is the pace beyond the ramp, which is what loadgen's window shows. A difference is less certain than what it
/// is made of, so the window is longer then.
fn beyond_the_ramp(
    setup: &Setup,
    conns: usize,
    run: impl Fn(Duration) -> Result<Done, String>,
) -> Result<Score, String> {
    if conns < MANY {
        return run(setup.window).map(Done::score);
    }
    let short = run(RAMP)?;
    let long = run(RAMP + beyond(setup, conns))?;
    let more = Done {
        requests: long.requests - short.requests,
        seconds: long.seconds - short.seconds,
        cpu_s: long.cpu_s - short.cpu_s,
    };
    Ok(more.score())
}

/// How long the pace is looked at.
fn beyond(setup: &Setup, conns: usize) -> Duration {
    setup.window * if conns < MANY { 1 } else { 4 }
}

/// From so many connections on a tool's ramp shows in its figure.
const MANY: usize = 1000;

/// Longer than any of these tools takes to connect ten thousand times.
const RAMP: Duration = Duration::from_secs(3);

/// About so many requests as a tool of this pace makes in this time, and some for each connection.
fn requests_for(length: Duration, per_s: f64, conns: usize) -> usize {
    ((per_s * length.as_secs_f64()) as usize).max(conns * 4)
}

fn figure_after(text: &str, label: &str) -> Result<f64, String> {
    let rest = text.split_once(label).map(|(_, rest)| rest.trim_start());
    rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .ok_or_else(|| format!("no `{label}` in {text:?}"))
}

/// nginx with one worker on the server's CPU.
pub struct Nginx {
    child: Child,
    pub address: SocketAddr,
    directory: PathBuf,
}

impl Nginx {
    pub fn start(setup: &Setup) -> Result<Self, String> {
        Self::start_with(setup, false)
    }

    /// Over TLS, with a certificate that is made for it.
    pub fn start_with(setup: &Setup, tls: bool) -> Result<Self, String> {
        let said = |error: std::io::Error| format!("nginx: {error}");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(said)?
            .port();
        let directory =
            std::env::temp_dir().join(format!("tenk-bench-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory).map_err(said)?;
        std::fs::write(directory.join("index.html"), "hello, world\n").map_err(said)?;
        std::fs::write(directory.join("large"), "0123456789abcdef".repeat(4096)).map_err(said)?;
        let config = format!(
            "daemon off; master_process off; pid nginx.pid; worker_rlimit_nofile 19000;\n\
             events {{ worker_connections 18000; }}\n\
             http {{ access_log off; keepalive_requests 1000000000; \
             server {{ listen 127.0.0.1:{port} backlog=4096{}; root {}; }} }}\n",
            match tls {
                // One cipher, so that both sides work with the same.
                true =>
                    " ssl; ssl_certificate cert.pem; ssl_certificate_key key.pem; ssl_protocols TLSv1.3; \
                     ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384",
                false => "",
            },
            directory.display()
        );
        if tls {
            let mut command = Command::new("openssl");
            command.args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
            ]);
            command.args([
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
                "-subj",
                "/CN=localhost",
            ]);
            let made = command.current_dir(&directory).output();
            made.map_err(|error| format!("openssl: {error}"))?;
        }
        std::fs::write(directory.join("nginx.conf"), config).map_err(said)?;
        let mut command = Command::new("nginx");
        command
            .arg("-p")
            .arg(&directory)
            .args(["-c", "nginx.conf", "-e", "error.log"]);
        let child = setup
            .spawn_on(setup.server_cpu, &mut command)
            .map_err(said)?;
        let server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            directory,
        };
        for _ in 0..500 {
            if TcpStream::connect(server.address).is_ok() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err("nginx does not listen".into())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        crate::contest::end(&mut self.child);
        // A directory that stays behind is small and in the place for such things.
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn loadgen(setup: &Setup, args: &[&str]) -> Result<Outcome, String> {
    let server = setup.start_server()?;
    loadgen_against(setup, server.address(), args)
}

pub fn loadgen_against(
    setup: &Setup,
    target: impl Display,
    args: &[&str],
) -> Result<Outcome, String> {
    let target = target.to_string();
    let cpu = setup.client_cpu.to_string();
    let window = format!("{}ms", setup.window.as_millis());
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadgen"));
    command.args(["--target", &target, "--cpus", &cpu, "--format", "json"]);
    if !args.contains(&"--duration") {
        command.args(["--warmup", "500ms", "--duration", &window]);
    }
    command.args(args);
    let text = output_of(setup, &mut command)?;
    let outcome: Outcome =
        serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    let c = &outcome.connections;
    if c.served_at_barrier < c.requested || !outcome.failures.is_empty() {
        return Err(format!(
            "{} of {} served, {:?}",
            c.served_at_barrier, c.requested, outcome.failures
        ));
    }
    Ok(outcome)
}

/// Runs a program on the client's CPU to its end and returns what it printed.
pub fn output_of(setup: &Setup, command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child =
        setup
            .spawn_on(setup.client_cpu, command)
            .map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => format!("{name} is not installed"),
                _ => format!("{name}: {error}"),
            })?;
    let mut text = String::new();
    if let Some(stdout) = &mut child.stdout {
        stdout
            .read_to_string(&mut text)
            .map_err(|error| error.to_string())?;
    }
    let status = child.wait().map_err(|error| error.to_string())?;
    if !status.success() {
        let mut complaint = String::new();
        if let Some(stderr) = &mut child.stderr {
            stderr
                .read_to_string(&mut complaint)
                .map_err(|error| error.to_string())?;
        }
        return Err(format!("{name}: {status}: {complaint}"));
    }
    Ok(text)
}
