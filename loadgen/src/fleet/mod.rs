//! Beyond one process's descriptors: the program runs itself once per share of
//! the connections, leads all of them through the phases together, and merges
//! their outcomes.
//!
//! Each child is an ordinary run of one segment; its `--phase-fd` is held by this
//! process, which gives the word when all have reached a phase, and with it the
//! instant at which the load starts or the window opens.

pub mod agent;
pub mod hosts;
pub mod link;
mod listener;
mod member;
mod program;
pub mod run;
mod seconds;
mod watcher;
pub mod wire;

use std::io;

use crate::base::clock::now_ns;
use crate::base::error::in_a_sentence;
use crate::base::limits::connections_possible;
use crate::base::units::{SECOND_NS, format_count, format_ns};
use crate::load::cpus::worker_cpus;
use crate::load::{CpuList, Load, MAX_SEGMENTS, PER_CONNECTION_NS, Poll, Processes, Segment};
use crate::tally::lost::{lost_process, nothing_of};
use crate::tally::merge::{derive, merge};
use crate::tally::outcome::Outcome;
use hosts::flags::HostFlags;
use hosts::run_on_hosts;
use link::{Interruption, Link};
use run::{Listener, Report, planned_start_ns, run};

use member::{End, Heard, Member};
use seconds::{MESSAGE_MAX, Seconds};
use watcher::Watcher;

pub use program::Program;
pub use seconds::Teller;

/// The phases that are announced, in order.
const PHASES: [&str; 5] = ["ramp", "warmup", "window", "drain", "done"];

/// How far ahead the instant is that all processes share.
const SHARED_LEAD_NS: u64 = 100_000_000;

/// How much longer than it can take a phase may last, [`PER_CONNECTION_NS`] for each connection besides: a process that
/// has not come to its end by then will never do.
const PATIENCE_NS: u64 = 30 * SECOND_NS;

/// How long processes that are to stop at once may take to report.
const LAST_WORDS_NS: u64 = 10 * SECOND_NS;

/// How often the head and an agent each say that they are there.
const ALIVE_NS: u64 = SECOND_NS / 4;

/// Where a load runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// The program of which as many processes are started as it takes.
    pub program: Program,
    /// The hosts they are started on, if not this one.
    pub hosts: HostFlags,
}

/// Runs a load on the hosts that are named, or here in as many processes as it needs; most need one, this one.
///
/// # Errors
/// When a process cannot be started or ends without an outcome; [`hosts::NotBegun`] when a host is not there or not fit.
pub fn run_everywhere(
    load: Load,
    place: &Place,
    link: &mut Link,
    listener: &mut dyn Listener,
) -> io::Result<Report> {
    if let Some(hosts) = &place.hosts.load_hosts {
        return run_on_hosts(&load, hosts, &place.hosts, link, listener);
    }
    let processes = processes_for(&load);
    if processes <= 1 {
        return run(load, link, listener);
    }
    let connections = load.segment.share_of(load.population());
    listener.notice(&format!(
        "{} connections in {processes} processes",
        format_count(connections)
    ));
    let mut watcher = Watcher::of(&load, listener);
    let mut fleet = Fleet::launch(&load, &place.program, processes, watcher.wants_seconds())?;
    let interruption = fleet.go_through_phases(&load, link, &mut watcher).err();
    fleet.collect(&load, interruption, link, &mut watcher)
}

/// How many processes a load takes: those asked for, or as many as its
/// connections need descriptors, and never more than there are connections or
/// than segments may be divided into.
fn processes_for(load: &Load) -> u64 {
    let connections = load.segment.share_of(load.population());
    let most = u64::from(MAX_SEGMENTS / load.segment.count).min(connections);
    match load.processes {
        Processes::Count(count) => u64::from(count).min(most),
        // Each costs this process two descriptors and one while it starts.
        Processes::Auto => {
            let possible = connections_possible(1).max(1);
            let needed = connections.div_ceil(possible);
            needed.min((possible / 3).max(1)).min(most)
        }
    }
}

struct Fleet {
    members: Vec<Member>,
    seconds: Seconds,
    /// What a member says is read into this.
    buffer: Box<[u8; MESSAGE_MAX]>,
}

impl Fleet {
    fn launch(load: &Load, program: &Program, processes: u64, seconds: bool) -> io::Result<Self> {
        let pins = worker_cpus(load);
        let mut members = Vec::new();
        for index in 0..processes {
            let share = share_of(load, index, processes, &pins);
            let started = Member::start(share, program, seconds).map_err(|error| {
                let advice = "raise the limits (ulimit -n, ulimit -u) or use fewer --processes";
                let number = index + 1;
                let sentence = format!(
                    "process {number} of {processes} could not be started: {error}; {advice}"
                );
                in_a_sentence(error, sentence)
            });
            members.push(started?);
        }
        Ok(Self {
            seconds: Seconds::of(members.len()),
            members,
            buffer: Box::new([0; MESSAGE_MAX]),
        })
    }

    fn go_through_phases(
        &mut self,
        load: &Load,
        link: &mut Link,
        listener: &mut Watcher<'_>,
    ) -> Result<(), Interruption> {
        // Each process asks for itself, but what it says is only that it is gone.
        planned_start_ns(load)?;
        let mut deadline_ns = now_ns() + patience_ns(load);
        let mut planned_window_ns = 0;
        for (index, phase) in PHASES.into_iter().enumerate() {
            self.await_all(index, deadline_ns, link, listener)?;
            let mut agreed_ns = link.announce(phase)?;
            if phase == "warmup" && agreed_ns.is_none() {
                agreed_ns = planned_start_ns(load)?;
            }
            let agreed_ns = agreed_ns.unwrap_or_else(|| {
                let soon_ns = now_ns() + SHARED_LEAD_NS;
                match load.any_stages() {
                    // Stages go on by the schedule, which began with the warm-up: so does the window.
                    Some(_) if phase == "window" => {
                        planned_window_ns.max(now_ns() + SHARED_LEAD_NS / 4)
                    }
                    _ => soon_ns,
                }
            });
            if phase == "warmup" {
                planned_window_ns = agreed_ns.saturating_add(load.warmup_ns);
            }
            let word = match phase {
                "warmup" | "window" => format!("go {agreed_ns}\n"),
                _ => "go\n".into(),
            };
            self.members.iter().for_each(|member| member.say(&word));
            deadline_ns = agreed_ns
                .saturating_add(longest_ns(phase, load))
                .saturating_add(patience_ns(load));
        }
        Ok(())
    }

    /// Waits until every member has come to a phase. One that is gone, or that is not there in time, ends the run: what
    /// goes on without it is not the load that was asked for.
    fn await_all(
        &mut self,
        phase: usize,
        deadline_ns: u64,
        link: &mut Link,
        listener: &mut Watcher<'_>,
    ) -> Result<(), Interruption> {
        let start_ns = now_ns();
        let mut is_cut = false;
        loop {
            self.hear_all(listener)?;
            if PHASES[phase] == "drain" && listener.met().is_some() && !is_cut {
                is_cut = true;
                let word = format!("cut {}\n", now_ns() + SHARED_LEAD_NS);
                self.members.iter().for_each(|member| member.say(&word));
            }
            let mut late = self
                .members
                .iter_mut()
                .filter(|m| m.process.phases <= phase);
            if now_ns() > deadline_ns {
                let why = format!("it had not come to phase {} in time", PHASES[phase]);
                late.for_each(|member| member.process.end(&why));
                return Err(Interruption::ProcessLost);
            }
            if late.next().is_none() {
                return Ok(());
            }
            link.rest_in_proportion(start_ns)?;
        }
    }

    fn hear_all(&mut self, listener: &mut dyn Listener) -> Result<(), Interruption> {
        for (index, member) in self.members.iter_mut().enumerate() {
            loop {
                match member.hear(&mut self.buffer) {
                    Heard::Phase => {}
                    Heard::Second(told) => self.seconds.take(index, *told, listener),
                    Heard::Nothing => break,
                    Heard::Gone => {
                        member.process.gone = true;
                        return Err(Interruption::ProcessLost);
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads and merges the outcomes. Members whose link is closed stop at once
    /// and report what they have; for one that cannot, its connections are counted as lost.
    fn collect(
        self,
        load: &Load,
        interruption: Option<Interruption>,
        link: &mut Link,
        listener: &mut Watcher<'_>,
    ) -> io::Result<Report> {
        let ends = self.gather(load, interruption, link, listener)?;
        if ends.iter().all(|end| end.outcome.is_err()) {
            let complaint = ends.into_iter().find_map(|end| end.outcome.err());
            return Err(io::Error::other(complaint.unwrap_or_default()));
        }
        let (mut outcomes, mut broken_laws) = (Vec::new(), Vec::new());
        for end in ends {
            broken_laws.extend(end.broken_law);
            let phase = PHASES[..end.phases].last().copied().unwrap_or("ramp");
            let (mut outcome, lost) = match end.outcome {
                Ok(outcome) => (outcome, end.gone),
                Err(complaint) => (nothing_of(end.load), Some(complaint)),
            };
            if let Some(complaint) = lost {
                listener.notice(&complaint);
                outcome.failures.push(lost_process(phase, complaint));
            }
            outcomes.push(outcome);
        }
        let mut outcome = merge_all(&outcomes, load, link.is_supervised())?;
        let lost = !outcome.complete && interruption.is_none();
        if let Some(aborted) = listener.met() {
            outcome.complete = false;
            outcome.aborted = Some(aborted.clone());
            judge_anew(&mut outcome, link.is_supervised());
        }
        let interruption = interruption.or(lost.then_some(Interruption::ProcessLost));
        Ok(Report {
            outcome,
            interruption,
            broken_laws,
        })
    }

    /// Waits for all members' last words, and not for ever: one that is stopped says none.
    fn gather(
        self,
        load: &Load,
        interruption: Option<Interruption>,
        link: &mut Link,
        listener: &mut dyn Listener,
    ) -> io::Result<Vec<End>> {
        let start_ns = now_ns();
        let limit_ns = match interruption {
            Some(_) => LAST_WORDS_NS + load.population() * PER_CONNECTION_NS,
            None => patience_ns(load),
        };
        let mut parting: Vec<_> = self.members.into_iter().map(Member::dismiss).collect();
        let (mut waited_ns, mut is_said) = (0, interruption.is_none());
        while !parting.iter().all(member::Parting::is_over)
            && waited_ns < limit_ns
            // Whoever asks a second time will not wait.
            && link.rest_in_proportion(start_ns).is_ok()
        {
            waited_ns = now_ns() - start_ns;
            if !is_said && waited_ns > SECOND_NS {
                let silent = parting.iter().filter(|member| !member.is_over()).count();
                listener.notice(&format!(
                    "waiting for the reports of {silent} processes, {} at most; another SIGINT ends them",
                    format_ns(limit_ns)
                ));
                is_said = true;
            }
        }
        let why = format!("it did not report within {}", format_ns(waited_ns));
        let late = parting.iter_mut().filter(|member| !member.is_over());
        late.for_each(|member| member.process.end(&why));
        parting.into_iter().map(member::Parting::collect).collect()
    }
}

fn patience_ns(load: &Load) -> u64 {
    PATIENCE_NS + load.population() * PER_CONNECTION_NS
}

/// How long a phase can last.
fn longest_ns(phase: &str, load: &Load) -> u64 {
    match phase {
        "ramp" => load.ramp_limit_ns(),
        "warmup" => load.warmup_ns,
        "window" => load.duration_ns,
        _ => load.response_limit_ns(),
    }
}

fn merge_all(outcomes: &[Outcome], load: &Load, supervised: bool) -> io::Result<Outcome> {
    let mut outcome = merge(outcomes, supervised).map_err(io::Error::other)?;
    outcome.generator.cpus = distinct_cpus(load);
    outcome.load.processes = load.processes;
    outcome.load.threads = load.threads;
    outcome.load.poll = load.poll;
    outcome.load.cpus.clone_from(&load.cpus);
    outcome.load.abort_on.clone_from(&load.abort_on);
    derive(&mut outcome);
    judge_anew(&mut outcome, supervised);
    Ok(outcome)
}

fn judge_anew(outcome: &mut Outcome, supervised: bool) {
    outcome.reasons = crate::tally::verdict::judge(outcome, supervised);
    outcome.verdict = crate::tally::verdict::of_reasons(&outcome.reasons);
}

fn distinct_cpus(load: &Load) -> u64 {
    let mut cpus = worker_cpus(load);
    cpus.sort_unstable();
    cpus.dedup();
    cpus.len() as u64
}

/// A part of so many of a segment: connections c with c mod n = i.
fn segment_of(outer: Segment, index: u64, count: u64) -> Segment {
    Segment {
        index: outer.index + outer.count * index as u32,
        count: outer.count * count as u32,
    }
}

/// One process's part: its segment of the segment, its part of the threads.
fn share_of(load: &Load, index: u64, processes: u64, pins: &[Option<usize>]) -> Load {
    let segment = segment_of(load.segment, index, processes);
    let own: Vec<u32> = pins
        .iter()
        .skip(index as usize % pins.len())
        .step_by(processes as usize)
        .flatten()
        .map(|cpu| *cpu as u32)
        .collect();
    let threads = own.len().max(1) as u64;
    let cpus = if own.is_empty() {
        load.cpus.clone()
    } else {
        Some(CpuList(own))
    };
    // Processes that share a CPU would only keep each other from it by polling.
    let crowded = load.poll == Poll::Auto && processes > distinct_cpus(load);
    let poll = if crowded { Poll::Sleep } else { load.poll };
    Load {
        segment,
        threads,
        cpus,
        poll,
        processes: Processes::Count(1),
        // Only all of them together can tell whether one is met.
        abort_on: Vec::new(),
        ..load.clone()
    }
}
