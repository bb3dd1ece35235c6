//! One run in this process: ramp, barrier, warm-up, window, drain.
//!
//! This thread waits, announces phases and adds up; all traffic is the workers'.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::link::{Interruption, Link};
use super::watcher::Watcher;

pub use super::listener::Listener;
use crate::base::clock::{NEVER, now_ns, unix_now_ns};
use crate::base::limits::{ConnectTrouble, connections_possible};
use crate::base::syn::SynTimeouts;
use crate::base::units::format_count;
use crate::load::Load;
use crate::load::cpus::worker_cpus;
use crate::load::schedule::Schedule;
use crate::load::sources::SourcePool;
use crate::load::{Arrival, Segment};
use crate::protocol::Protocol;
use crate::protocol::tls::Client;
use crate::tally::Tally;
use crate::tally::assemble::{Facts, assemble, broken_laws};
use crate::tally::outcome::{Outcome, Second};
use crate::tally::series::Series;
use crate::worker::Worker;
use crate::worker::control::{Control, LEAD_NS, Progress, Sum};
use crate::worker::plan::{Plan, Share};

/// What a run ended with.
#[derive(Debug)]
pub struct Report {
    /// What was found.
    pub outcome: Outcome,
    /// Why it ended early, if it did.
    pub interruption: Option<Interruption>,
    /// Conservation laws that do not hold: bugs of this program.
    pub broken_laws: Vec<String>,
}

/// Runs a load.
///
/// # Errors
/// When threads or descriptors cannot be had, or a worker panicked.
pub fn run(load: Load, link: &mut Link, listener: &mut dyn Listener) -> io::Result<Report> {
    let before = ConnectTrouble::now();
    let mut watcher = Watcher::of(&load, listener);
    let mut workers = Workers::new(load, &mut watcher)?;
    let interruption = workers.go_through_phases(link, &mut watcher).err();
    workers.finish();
    let interruption = match interruption {
        Some(interruption) => {
            workers.await_workers_for(LAST_COUNTS);
            Some(interruption)
        }
        None => workers.await_workers(link).err(),
    };
    let (tally, seconds) = workers.join()?;
    // A supervisor that is told of the end has seen every connection closed.
    let interruption = interruption.or_else(|| link.announce("done").err());
    let facts = Facts {
        load: &workers.plan.load,
        tally,
        seconds,
        complete: interruption.is_none() && watcher.met().is_none(),
        aborted: watcher.met().cloned(),
        supervised: link.is_supervised(),
        ramp_ns: workers.ramp_ns,
        served_at_barrier: workers.served_at_barrier,
        window_start_unix_ns: workers.window_start_unix_ns,
        window_ns: workers.window_ns(),
        window_late_ns: workers.window_late_ns,
        told_late_ns: workers.told_late_ns,
        threads: workers.progress.len() as u64,
        cpus: workers.cpus,
        connect_trouble: ConnectTrouble::now().since(before),
        sources_used: workers.plan.sources.used(),
        syn_timeouts: SynTimeouts::in_force(),
    };
    let broken_laws = broken_laws(&facts.tally);
    Ok(Report {
        outcome: assemble(facts),
        interruption,
        broken_laws,
    })
}

/// How long the ramp goes on without one more connection served: longer than the kernel's gap between a SYN's
/// second and third retry (3 s to 7 s), and than a slow `--connect-rate` leaves between two.
///
/// Where the server is known to serve no more than are served already, standing still is what was to be expected, and
/// half a second tells it from one that serves more after all.
fn stall_ns(load: &Load, served: u64) -> u64 {
    if is_at_known_limit(load, served) {
        return STALL_AT_KNOWN_LIMIT_NS;
    }
    let gap_s = load.connect_rate_per_s.map_or(0.0, |rate| 3.0 / rate);
    ((10.0 + gap_s) * 1e9) as u64
}

/// Whether as many are served as the server is known to serve at a time.
fn is_at_known_limit(load: &Load, served: u64) -> bool {
    load.served_at_once.is_some_and(|most| served >= most)
}

/// How long the ramp goes on once as many are served as the server is known to serve at a time.
const STALL_AT_KNOWN_LIMIT_NS: u64 = 500_000_000;

/// How long before its window a load of stages announces it.
const STAGES_LEAD_NS: u64 = 250_000_000;

/// How long the workers of an interrupted run may go on counting.
const LAST_COUNTS: Duration = Duration::from_millis(500);

/// The workers and what this thread knows of them.
struct Workers {
    plan: Arc<Plan>,
    progress: Vec<Arc<Progress>>,
    workers: Vec<Worker>,
    handles: Vec<JoinHandle<Tally>>,
    series: Series,
    slots: u64,
    cpus: u64,
    ramp_ns: u64,
    served_at_barrier: u64,
    window_start_unix_ns: Option<u64>,
    /// How much later the window began than was planned.
    window_late_ns: u64,
    told_late_ns: u64,
}

impl Workers {
    /// Makes the workers; nothing is sent before [`Workers::ramp`].
    fn new(load: Load, listener: &mut dyn Listener) -> io::Result<Self> {
        let pins = worker_cpus(&load);
        let shares = shares(&load, &pins, listener);
        let cpus: BTreeSet<_> = pins.iter().flatten().collect();
        let cpus = if cpus.is_empty() {
            pins.len()
        } else {
            cpus.len()
        } as u64;
        let plan = Arc::new(Plan {
            protocol: Protocol::of(&load),
            tls: Client::of(&load).map_err(io::Error::other)?,
            schedule: Plan::schedule_of(&load),
            population: load.population_course(),
            stage_ends_ns: Plan::stage_ends_of(&load),
            reconnects: load
                .reconnect_rate_per_s
                .map(|rate| Schedule::new(Arrival::Fixed, load.population(), rate, load.seed)),
            sources: SourcePool::of(&load),
            control: Control::default(),
            load,
        });
        let (sender, receiver) = channel();
        let progress: Vec<_> = shares
            .iter()
            .map(|_| Arc::new(Progress::default()))
            .collect();
        let workers: io::Result<Vec<_>> = (shares.iter().zip(&progress))
            .map(|(share, progress)| {
                Worker::new(plan.clone(), *share, progress.clone(), sender.clone())
            })
            .collect();
        Ok(Self {
            series: Series::new(receiver, shares.len()),
            slots: shares.iter().map(|share| u64::from(share.slots)).sum(),
            handles: Vec::new(),
            workers: workers?,
            plan,
            progress,
            cpus,
            ramp_ns: 0,
            served_at_barrier: 0,
            window_start_unix_ns: None,
            window_late_ns: 0,
            told_late_ns: 0,
        })
    }

    fn go_through_phases(
        &mut self,
        link: &mut Link,
        listener: &mut Watcher<'_>,
    ) -> Result<(), Interruption> {
        link.announce("ramp")?;
        self.ramp(link)?;
        let agreed_ns = match link.announce("warmup")? {
            Some(ns) => Some(ns),
            None => planned_start_ns(&self.plan.load)?,
        };
        let warmup_ns = agreed_ns.unwrap_or(0).max(now_ns() + 2 * LEAD_NS);
        self.told_late_ns = agreed_ns.map_or(0, |agreed_ns| warmup_ns.saturating_sub(agreed_ns));
        self.plan.control.start_warmup(warmup_ns);
        // Announced early enough that without a supervisor the window opens when planned.
        let planned_ns = warmup_ns.saturating_add(self.plan.load.warmup_ns);
        self.watch(link, planned_ns - self.announcement_ns(link), listener)?;
        let agreed_ns = link.announce("window")?;
        let window_ns = agreed_ns.unwrap_or(planned_ns).max(now_ns() + LEAD_NS);
        self.window_start_unix_ns = Some(unix_now_ns() + window_ns.saturating_sub(now_ns()));
        self.window_late_ns = window_ns.saturating_sub(planned_ns);
        // Stages go on by the schedule, which began with the warm-up.
        let first_ns = match self.plan.load.any_stages() {
            Some(_) => planned_ns,
            None => window_ns,
        };
        let end_ns = first_ns
            .saturating_add(self.plan.load.duration_ns)
            .max(window_ns + LEAD_NS);
        self.plan.control.set_window(window_ns, end_ns);
        let end_ns = self.watch(link, end_ns, listener)?;
        link.announce("drain")?;
        let limit_ns = self.plan.load.response_limit_ns();
        let drained = self.drain(link, end_ns.saturating_add(limit_ns));
        // The window's last second is handed in after its end.
        let sum = self.sum();
        let seconds = self.series.collect().iter();
        seconds.for_each(|second| listener.second(second, sum));
        drained
    }

    /// How long before the window it is announced. Whoever reads a server's figures then takes some time for it, by which
    /// the window is late; what is planned to the second is announced earlier.
    fn announcement_ns(&self, link: &Link) -> u64 {
        match self.plan.load.any_stages() {
            Some(_) if link.is_supervised() => {
                STAGES_LEAD_NS.min(self.plan.load.warmup_ns + 2 * LEAD_NS)
            }
            _ => 2 * LEAD_NS,
        }
    }

    /// Starts the workers and waits until every slot was served or has failed, or the deadline.
    fn ramp(&mut self, link: &mut Link) -> Result<(), Interruption> {
        let start_ns = now_ns();
        for (index, worker) in self.workers.drain(..).enumerate() {
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            // Without its thread a worker's connections are missing; the barrier and the laws show it.
            self.handles.extend(thread.spawn(move || worker.run()));
        }
        let timeout_ns = start_ns.saturating_add(self.plan.load.ramp_limit_ns());
        let deadline_ns = planned_start_ns(&self.plan.load)?
            .map_or(timeout_ns, |planned_ns| planned_ns.min(timeout_ns));
        let (mut sum, mut progress_ns) = (Sum::default(), start_ns);
        while sum.settled < self.slots {
            let stall_ns = stall_ns(&self.plan.load, sum.served);
            if now_ns() >= deadline_ns.min(progress_ns.saturating_add(stall_ns)) {
                if is_at_known_limit(&self.plan.load, sum.served) {
                    self.plan.control.leave_others_waiting();
                }
                break;
            }
            link.rest_in_proportion(start_ns)?;
            let before = std::mem::replace(&mut sum, self.sum());
            if sum.settled > before.settled {
                progress_ns = now_ns();
            }
        }
        self.ramp_ns = now_ns() - start_ns;
        self.served_at_barrier = self.sum().served;
        Ok(())
    }

    /// Waits until an instant, passing on the seconds as they are completed; returns when it was over. A window ends
    /// earlier when the supervisor says so, or when a condition is met under which it is to.
    fn watch(
        &mut self,
        link: &mut Link,
        mut until_ns: u64,
        listener: &mut Watcher<'_>,
    ) -> Result<u64, Interruption> {
        let mut is_cut = false;
        while !link.rest_towards(until_ns)? {
            let sum = self.sum();
            let seconds = self.series.collect().iter();
            seconds.for_each(|second| listener.second(second, sum));
            let met = listener.met().is_some() && !is_cut;
            let cut_ns = link.told_to_cut().or(met.then(|| now_ns() + LEAD_NS));
            if let Some(cut_ns) = cut_ns {
                is_cut = true;
                until_ns = until_ns.min(cut_ns.max(now_ns() + LEAD_NS));
                self.plan.control.cut_window(until_ns);
            }
        }
        Ok(until_ns)
    }

    /// Waits until nothing is in flight, or the deadline.
    fn drain(&self, link: &mut Link, deadline_ns: u64) -> Result<(), Interruption> {
        let start_ns = now_ns();
        while !self
            .progress
            .iter()
            .all(|progress| progress.drained.load(Relaxed))
            && now_ns() < deadline_ns
        {
            link.rest_in_proportion(start_ns)?;
        }
        Ok(())
    }

    /// Tells the workers to close everything and to settle their accounts.
    fn finish(&self) {
        self.plan.control.cut_window(now_ns());
        self.plan.control.finish();
    }

    /// Waits until they have: what a schedule asked for and was never sent may take long to count, and whoever
    /// interrupts that is heard.
    fn await_workers(&self, link: &mut Link) -> Result<(), Interruption> {
        let start_ns = now_ns();
        while !self.handles.iter().all(JoinHandle::is_finished) {
            link.rest_in_proportion(start_ns)?;
        }
        Ok(())
    }

    /// Waits for them as long as somebody who has interrupted the run may be kept waiting.
    fn await_workers_for(&self, limit: Duration) {
        let start = Instant::now();
        while !self.handles.iter().all(JoinHandle::is_finished) && start.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Adds up what the workers counted; one that has not come to its end goes without what it did not count.
    fn join(&mut self) -> io::Result<(Tally, Vec<Second>)> {
        self.plan.control.hurry();
        let mut total = Tally::default();
        for handle in self.handles.drain(..) {
            let tally = handle
                .join()
                .map_err(|_| io::Error::other("a worker panicked: this is a bug in loadgen"))?;
            total.merge(&tally);
        }
        let seconds = self.series.finish();
        total.response.merge(&seconds.response);
        total.service.merge(&seconds.service);
        total.slip.merge(&seconds.slip);
        Ok((total, seconds.seconds))
    }

    fn sum(&self) -> Sum {
        Sum::of(self.progress.iter().map(Arc::as_ref))
    }

    /// Length of the window as it was, in nanoseconds.
    fn window_ns(&self) -> u64 {
        let edges = self.plan.control.edges();
        if edges.window_start_ns == NEVER {
            0
        } else {
            edges.window_end_ns.saturating_sub(edges.window_start_ns)
        }
    }
}

/// The instant of CLOCK_MONOTONIC that `--start-at` means.
///
/// # Errors
/// [`Interruption::TooLate`] when it has passed.
pub fn planned_start_ns(load: &Load) -> Result<Option<u64>, Interruption> {
    let Some(at_ns) = load.start_at_unix_ns else {
        return Ok(None);
    };
    match at_ns.checked_sub(unix_now_ns()) {
        Some(ahead_ns) => Ok(Some(now_ns().saturating_add(ahead_ns))),
        None => Err(Interruption::TooLate),
    }
}

/// Divides the load among threads: connection `c` belongs to segment `c mod N`
/// and, within it, to thread `(c div N) mod threads`, so that no remainder is lost.
fn shares(load: &Load, pins: &[Option<usize>], listener: &mut dyn Listener) -> Vec<Share> {
    let Segment { index, count } = load.segment;
    let stride = u64::from(count) * pins.len() as u64;
    let slots_of = |first: u64| load.population().saturating_sub(first).div_ceil(stride);
    let firsts = (0..pins.len() as u64).map(|thread| u64::from(index) + u64::from(count) * thread);
    let asked: u64 = firsts.clone().map(slots_of).sum();
    let possible = connections_possible(pins.len() as u64);
    if asked > possible {
        listener.notice(&format!(
            "{} connections are asked for, but the descriptor limit leaves this process {}: \
             {} will be counted as EMFILE (raise the hard limit: ulimit -Hn)",
            format_count(asked),
            format_count(possible),
            format_count(asked - possible)
        ));
    }
    let shares = firsts.zip(pins).map(|(first, cpu)| {
        let slots = slots_of(first);
        let descriptors = if asked > possible {
            slots * possible / asked
        } else {
            slots
        };
        let inflight = load
            .connect_inflight
            .saturating_sub(first)
            .div_ceil(stride)
            .max(1);
        Share {
            first,
            stride,
            slots: slots as u32,
            descriptors: descriptors as u32,
            inflight: inflight as u32,
            cpu: *cpu,
        }
    });
    shares.filter(|share| share.slots > 0).collect()
}
