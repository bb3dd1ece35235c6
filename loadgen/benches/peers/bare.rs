//! The least a client can do in an epoll loop: no verification, no clock per
//! request, no histogram, no time-outs. It registers its sockets the way loadgen
//! does (once, edge-triggered), so that what differs is only what loadgen adds.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, connect, getsockopt,
    setsockopt, socket, sockopt,
};

use crate::contest::{Score, Setup};
use loadgen::base::limits::pin;

const MESSAGE: [u8; 64] = [b'x'; 64];
const WARM_UP: Duration = Duration::from_millis(500);

/// How many connections are on their way at once.
const IN_FLIGHT: usize = 256;

/// One message back and forth on each of `conns` connections.
pub fn ping_pong(setup: &Setup, conns: usize) -> Result<Score, String> {
    on_client_cpu(setup, move |address, window| {
        let mut client = Client::new(address)?;
        client.connect_all(conns)?;
        for slot in 0..conns {
            client.send(slot)?;
        }
        client.measure(window, |client, slot| {
            if client.receive(slot)? {
                client.send(slot)?;
                client.done += 1;
            }
            Ok(())
        })
    })
}

/// Connect, one message back and forth, close, again; `in_flight` at a time.
pub fn churn(setup: &Setup, in_flight: usize) -> Result<Score, String> {
    on_client_cpu(setup, move |address, window| {
        let mut client = Client::new(address)?;
        client.spread = true;
        for slot in 0..in_flight {
            client.open(slot)?;
        }
        client.measure(window, |client, slot| {
            if !client.connected[slot] {
                client.finish_connect(slot)?;
                return client.send(slot);
            }
            if client.receive(slot)? {
                client.sockets[slot] = None;
                client.done += 1;
                client.open(slot)?;
            }
            Ok(())
        })
    })
}

/// Connections established and served, per second, until all are.
pub fn connect_all(setup: &Setup, conns: usize) -> Result<Score, String> {
    on_client_cpu(setup, move |address, _| {
        let mut client = Client::new(address)?;
        let start = Instant::now();
        client.connect_all(conns)?;
        Ok(Score::of(conns as f64 / start.elapsed().as_secs_f64()))
    })
}

/// The first argument of a process of a bare fleet; then come the server's address, its number and its connections.
pub const MEMBER: &str = "bare-member";

/// Connections established and served, per second, by as many processes as their descriptors need.
pub fn connect_fleet(setup: &Setup, conns: usize) -> Result<Score, String> {
    let said = |error: std::io::Error| format!("bare fleet: {error}");
    let server = setup.start_many_processes()?;
    let processes = conns.div_ceil(loadgen::base::limits::connections_possible(1) as usize);
    let start = Instant::now();
    let mut members = Vec::new();
    for number in 0..processes {
        let share = (conns + number) / processes;
        let mut command = Command::new(std::env::current_exe().map_err(said)?);
        command.arg(MEMBER).arg(server.address().to_string());
        command.args([number, processes, share].map(|n| n.to_string()));
        command.stdin(Stdio::piped());
        let child = setup.spawn_on(setup.client_cpu, &mut command);
        members.push(Member(child.map_err(said)?));
    }
    let mut took = Duration::ZERO;
    for Member(child) in &mut members {
        let mut line = String::new();
        if let Some(stdout) = child.stdout.as_mut() {
            BufReader::new(stdout).read_line(&mut line).map_err(said)?;
        }
        if line != "served\n" {
            return Err(format!("bare fleet: a process said {line:?}"));
        }
        took = start.elapsed();
    }
    Ok(Score::of(conns as f64 / took.as_secs_f64()))
}

/// A process of a bare fleet; it ends when dropped.
struct Member(Child);

impl Drop for Member {
    fn drop(&mut self) {
        crate::contest::end(&mut self.0);
    }
}

/// What a process of a bare fleet does: connect its share, say so, and hold it until its input ends.
pub fn be_member(args: &[String]) -> Result<(), String> {
    let [address, number, processes, conns] = args else {
        return Err(format!("{MEMBER} ADDRESS NUMBER PROCESSES CONNECTIONS"));
    };
    let count = |text: &String| text.parse::<usize>().map_err(|e| e.to_string());
    let address: SocketAddr = address.parse().map_err(|e| format!("{address}: {e}"))?;
    let (number, processes, conns) = (count(number)?, count(processes)?, count(conns)?);
    let _ = loadgen::base::limits::connections_possible(1);
    let said = |errno: Errno| format!("bare loop: {errno}");
    let mut client = Client::new(address).map_err(said)?;
    client.spread = true;
    client.opened = (number * conns) as u32;
    client.in_flight = IN_FLIGHT.div_ceil(processes);
    client.connect_all(conns).map_err(said)?;
    println!("served");
    let mut nothing = String::new();
    std::io::stdin()
        .read_line(&mut nothing)
        .map(|_| ())
        .map_err(|e| e.to_string())
}

/// How late a loop that only polls, sends and receives notices what is due at random instants, in microseconds.
pub fn slip(setup: &Setup, conns: usize, rate_per_s: f64, quantile: f64) -> Result<Score, String> {
    on_client_cpu(setup, move |address, window| {
        let mut client = Client::new(address)?;
        client.connect_all(conns)?;
        score_of(
            client.send_at_random(rate_per_s, WARM_UP, window)?,
            quantile,
        )
    })
}

/// How late a thread that does nothing but read the clock notices random instants, in microseconds: what this machine
/// takes of every program's time, and so the least that anybody's slip can be.
pub fn clock(setup: &Setup, rate_per_s: f64, quantile: f64) -> Result<Score, String> {
    on_client_cpu(setup, move |_, window| {
        let (mut gaps, mut lateness_ns) = (Gaps::new(rate_per_s), Vec::new());
        let (start, mut due) = (Instant::now(), gaps.next());
        while due < window {
            let now = start.elapsed();
            while due < now {
                lateness_ns.push((now - due).as_nanos() as u64);
                due += gaps.next();
            }
        }
        score_of(lateness_ns, quantile)
    })
}

fn score_of(mut lateness_ns: Vec<u64>, quantile: f64) -> Result<Score, Errno> {
    lateness_ns.sort_unstable();
    let rank = (lateness_ns.len() as f64 * quantile) as usize;
    let late_ns = lateness_ns.get(rank).ok_or(Errno::ENODATA)?;
    Ok(Score::of(*late_ns as f64 / 1000.0))
}

/// Exponential gaps.
struct Gaps {
    random: fastrand::Rng,
    rate_per_s: f64,
}

impl Gaps {
    fn new(rate_per_s: f64) -> Self {
        let random = fastrand::Rng::with_seed(1);
        Self { random, rate_per_s }
    }

    fn next(&mut self) -> Duration {
        Duration::from_secs_f64(-(1.0 - self.random.f64()).ln() / self.rate_per_s)
    }
}

fn on_client_cpu(
    setup: &Setup,
    body: impl FnOnce(SocketAddr, Duration) -> Result<Score, Errno> + Send,
) -> Result<Score, String> {
    let server = setup.start_server()?;
    // The limit of descriptors is raised for this whole process on the way.
    let _ = loadgen::base::limits::connections_possible(1);
    let (address, window, cpu) = (server.address(), setup.window, setup.client_cpu);
    let result = thread::scope(|scope| {
        let client = scope.spawn(move || {
            pin(&[cpu]);
            body(address, window)
        });
        client.join()
    });
    match result {
        Ok(score) => score.map_err(|errno| format!("bare loop: {errno}")),
        Err(_) => Err("bare loop: panicked".into()),
    }
}

struct Client {
    epoll: Epoll,
    address: SocketAddr,
    sockets: Vec<Option<OwnedFd>>,
    connected: Vec<bool>,
    /// Whether to spread connections over source addresses, as ports in TIME_WAIT make necessary.
    spread: bool,
    opened: u32,
    in_flight: usize,
    done: u64,
    buffer: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr) -> Result<Self, Errno> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            address,
            sockets: Vec::new(),
            connected: Vec::new(),
            spread: false,
            opened: 0,
            in_flight: IN_FLIGHT,
            done: 0,
            buffer: vec![0; 64 * 1024],
        })
    }

    fn open(&mut self, slot: usize) -> Result<(), Errno> {
        if self.sockets.len() <= slot {
            self.sockets.resize_with(slot + 1, || None);
            self.connected.resize(slot + 1, false);
        }
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(
            AddressFamily::Inet,
            SockType::Stream,
            flags,
            SockProtocol::Tcp,
        )?;
        setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
        self.opened += 1;
        if self.spread {
            let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 1, 1)) + self.opened % 250);
            setsockopt(&fd, sockopt::IpBindAddressNoPort, &true)?;
            bind(
                fd.as_raw_fd(),
                &SockaddrStorage::from(SocketAddr::from((source, 0))),
            )?;
        }
        match connect(fd.as_raw_fd(), &SockaddrStorage::from(self.address)) {
            Ok(()) | Err(Errno::EINPROGRESS) => {}
            Err(errno) => return Err(errno),
        }
        let interest = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        self.epoll
            .add(&fd, EpollEvent::new(interest, slot as u64))?;
        self.connected[slot] = false;
        self.sockets[slot] = Some(fd);
        Ok(())
    }

    fn finish_connect(&mut self, slot: usize) -> Result<(), Errno> {
        let Some(fd) = &self.sockets[slot] else {
            return Ok(());
        };
        self.connected[slot] = true;
        match getsockopt(fd, sockopt::SocketError)? {
            0 => Ok(()),
            raw => Err(Errno::from_raw(raw)),
        }
    }

    fn send(&mut self, slot: usize) -> Result<(), Errno> {
        let Some(fd) = &self.sockets[slot] else {
            return Ok(());
        };
        nix::unistd::write(fd, &MESSAGE).map(|_| ())
    }

    fn receive(&mut self, slot: usize) -> Result<bool, Errno> {
        let Some(fd) = &self.sockets[slot] else {
            return Ok(false);
        };
        match nix::unistd::read(fd, &mut self.buffer) {
            Ok(0) => Err(Errno::ECONNRESET),
            Ok(_) => Ok(true),
            Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Opens connections, each served once before its place is given on.
    fn connect_all(&mut self, conns: usize) -> Result<(), Errno> {
        let (mut opened, mut served) = (conns.min(self.in_flight), 0);
        for slot in 0..opened {
            self.open(slot)?;
        }
        let mut events = [EpollEvent::empty(); 64];
        while served < conns {
            let count = self.epoll.wait(&mut events, EpollTimeout::from(255u8))?;
            for event in &events[..count] {
                let slot = event.data() as usize;
                if !self.connected[slot] {
                    self.finish_connect(slot)?;
                    self.send(slot)?;
                } else if self.receive(slot)? {
                    served += 1;
                    if opened < conns {
                        self.open(opened)?;
                        opened += 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// Sends with exponential gaps, always on the connection that has been free for longest; returns how late each
    /// message left that was due in the window, from when it was due and its connection free.
    fn send_at_random(
        &mut self,
        rate_per_s: f64,
        warm_up: Duration,
        window: Duration,
    ) -> Result<Vec<u64>, Errno> {
        let mut free: VecDeque<_> = (0..self.sockets.len())
            .map(|slot| (slot, Duration::ZERO))
            .collect();
        let (mut gaps, mut lateness_ns) = (Gaps::new(rate_per_s), Vec::new());
        let (start, mut due) = (Instant::now(), Duration::ZERO);
        let mut events = [EpollEvent::empty(); 64];
        while due < warm_up + window {
            let count = self.epoll.wait(&mut events, EpollTimeout::ZERO)?;
            for index in 0..=count {
                while start.elapsed() > due
                    && let Some((slot, since)) = free.pop_front()
                {
                    if due > warm_up {
                        lateness_ns.push((start.elapsed() - due.max(since)).as_nanos() as u64);
                    }
                    self.send(slot)?;
                    due += gaps.next();
                }
                if let Some(event) = events[..count].get(index)
                    && self.receive(event.data() as usize)?
                {
                    free.push_back((event.data() as usize, start.elapsed()));
                }
            }
        }
        Ok(lateness_ns)
    }

    /// Lets the loop run for the warm-up and the window; the clock is read once a batch.
    fn measure(
        &mut self,
        window: Duration,
        mut act: impl FnMut(&mut Self, usize) -> Result<(), Errno>,
    ) -> Result<Score, Errno> {
        let mut events = [EpollEvent::empty(); 64];
        let (mut start, mut cpu_before, mut warm) = (Instant::now(), 0.0, false);
        loop {
            let count = self.epoll.wait(&mut events, EpollTimeout::from(255u8))?;
            for event in &events[..count] {
                act(self, event.data() as usize)?;
            }
            let elapsed = start.elapsed();
            if !warm && elapsed >= WARM_UP {
                (start, cpu_before, warm, self.done) = (Instant::now(), thread_cpu_s(), true, 0);
            } else if warm && elapsed >= window {
                let done = self.done as f64;
                let cpu_us = (thread_cpu_s() - cpu_before) * 1e6 / done;
                return Ok(Score {
                    figure: done / elapsed.as_secs_f64(),
                    cpu_us: Some(cpu_us),
                });
            }
        }
    }
}

fn thread_cpu_s() -> f64 {
    let seconds =
        |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0.0, |usage| {
        seconds(usage.user_time()) + seconds(usage.system_time())
    })
}
