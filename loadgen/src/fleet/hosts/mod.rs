//! A load from other hosts: a launcher for each of them, an agent at its other end, one barrier for all, one outcome.
//!
//! Instants are agreed on in each host's own CLOCK_MONOTONIC, whose distance from this host's is measured just before
//! the start; nothing depends on how well the hosts' clocks are set. Nobody replaces a host that is lost, and nobody
//! takes over its share.

mod check;
pub mod clock;
mod collect;
pub mod flags;
pub mod host;
pub mod state;

use std::io;

use super::link::{Interruption, Link};
use super::run::{Listener, Report, planned_start_ns};
use super::seconds::Seconds;
use super::watcher::Watcher;
use super::wire::Order;
use super::{PHASES, SHARED_LEAD_NS, longest_ns, patience_ns, segment_of};
use crate::base::clock::now_ns;
use crate::base::units::{SECOND_NS, format_count};
use crate::load::Load;
use crate::load::http::Contents;
use clock::Clocks;
use flags::{HostFlags, HostList};
use host::{Host, part_from};
use state::{Heard, Stage};

/// How often a host is asked for its clocks each time.
const EXCHANGES: u64 = 8;

/// How long that may take before it goes on with what is known.
const EXCHANGES_NS: u64 = SECOND_NS;

/// How long the head sleeps at most: it says four times a second that it is there.
const REST_NS: u64 = 50_000_000;

/// Why nothing was sent: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0}; nothing was sent")]
pub struct NotBegun(pub String);

impl From<NotBegun> for io::Error {
    fn from(why: NotBegun) -> Self {
        Self::other(why)
    }
}

/// Runs a load from the hosts of a list.
///
/// # Errors
/// [`NotBegun`], as the inner error, when not all hosts are there and fit; or the interruption before anything began.
pub fn run_on_hosts(
    load: &Load,
    hosts: &HostList,
    flags: &HostFlags,
    link: &mut Link,
    listener: &mut dyn Listener,
) -> io::Result<Report> {
    let names = hosts
        .hosts()
        .map_err(|why| NotBegun(format!("--load-hosts {hosts}: {why}")))?;
    check::divisible(load, &names, flags)?;
    let tells_seconds = listener.wants_seconds() || !load.abort_on.is_empty();
    let mut head = Head::call(load, &names, flags, tells_seconds)?;
    let mut watcher = Watcher::of(load, listener);
    let report = head.lead(load, flags, link, &mut watcher);
    part_from(&mut head.hosts);
    report
}

/// One host's share, and what became of it.
struct Member {
    /// Its share of the load.
    share: Load,
    /// Its clocks as they were before the ramp, and then as they were when the instant of the start was agreed.
    before: Option<Clocks>,
    /// Why it is lost, if it is, and the phase it had come to.
    lost: Option<String>,
    /// What it reported: the outcome as text, how its load ended, a law it found broken.
    report: Option<(Option<String>, String, Option<String>)>,
}

struct Head {
    /// In the order of the list, as are `members`.
    hosts: Vec<Host>,
    members: Vec<Member>,
    seconds: Seconds,
    tells_seconds: bool,
    /// How many hosts may be lost.
    tolerated: usize,
    /// Whether the load has begun.
    has_begun: bool,
}

impl Head {
    /// Starts all launchers.
    fn call(
        load: &Load,
        names: &[String],
        flags: &HostFlags,
        tells_seconds: bool,
    ) -> io::Result<Self> {
        let (via, agent) = (flags.via(), flags.agent());
        let (mut hosts, mut members) = (Vec::new(), Vec::new());
        for (index, name) in names.iter().enumerate() {
            let host = Host::start(name, via.command(name, &agent));
            hosts.push(host.map_err(|why| NotBegun(format!("{name}: {why}")))?);
            members.push(Member {
                share: share_of(load, index, names.len()),
                before: None,
                lost: None,
                report: None,
            });
        }
        Ok(Self {
            seconds: Seconds::of(hosts.len()),
            hosts,
            members,
            tells_seconds,
            tolerated: flags.tolerate_loss as usize,
            has_begun: false,
        })
    }

    fn lead(
        &mut self,
        load: &Load,
        flags: &HostFlags,
        link: &mut Link,
        listener: &mut Watcher<'_>,
    ) -> io::Result<Report> {
        self.gather(flags, link, listener)?;
        self.say_who_is_there(listener);
        let interruption = self.go_through_phases(load, link, listener).err();
        if let Some(interruption) = interruption.filter(|_| !self.has_opened()) {
            return Err(self.not_begun(interruption));
        }
        self.collect(load, interruption, link, listener)
    }

    /// Waits until all hosts have said who they are, and gives each its share once all of them fit.
    fn gather(
        &mut self,
        flags: &HostFlags,
        link: &mut Link,
        listener: &mut dyn Listener,
    ) -> io::Result<()> {
        while !self.all(|host| host.stage != Stage::Called) {
            self.pump(link, listener).map_err(io::Error::other)?;
        }
        self.check_there()?;
        check::alike(&self.hosts, flags.via().leads_elsewhere())?;
        for (host, member) in self.hosts.iter().zip(&self.members) {
            check::room(host, &member.share)?;
        }
        self.ask_clocks(link, listener).map_err(io::Error::other)?;
        for (host, member) in self.hosts.iter_mut().zip(&mut self.members) {
            member.before = host.clocks;
            host.say(&Order::Load {
                load: Box::new(member.share.clone()),
                seconds: self.tells_seconds,
            });
            host.stage.load();
        }
        Ok(())
    }

    /// Nothing is begun without all.
    fn check_there(&self) -> Result<(), NotBegun> {
        let complaints = self
            .hosts
            .iter()
            .zip(&self.members)
            .filter_map(|(host, member)| {
                let why = member.lost.as_ref()?;
                Some(format!("{}: {why}", host.name))
            });
        let complaints: Vec<String> = complaints.collect();
        match complaints.is_empty() {
            true => Ok(()),
            false => Err(NotBegun(complaints.join("; "))),
        }
    }

    fn not_begun(&self, interruption: Interruption) -> io::Error {
        match (interruption, self.check_there()) {
            (Interruption::HostLost, Err(why)) => why.into(),
            (interruption, _) => io::Error::other(interruption),
        }
    }

    fn say_who_is_there(&self, listener: &mut dyn Listener) {
        let cpus: u64 = self
            .hosts
            .iter()
            .filter_map(|host| Some(host.hello.as_ref()?.cpus))
            .sum();
        let names: Vec<&str> = self
            .hosts
            .iter()
            .take(8)
            .map(|host| host.name.as_str())
            .collect();
        let more = match self.hosts.len() - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        listener.notice(&format!(
            "load from {} hosts with {} CPUs: {}{more}",
            self.hosts.len(),
            format_count(cpus),
            names.join(", ")
        ));
    }

    fn go_through_phases(
        &mut self,
        load: &Load,
        link: &mut Link,
        listener: &mut Watcher<'_>,
    ) -> Result<(), Interruption> {
        planned_start_ns(load)?;
        let mut deadline_ns = now_ns() + patience_ns(load);
        for (index, phase) in PHASES.into_iter().enumerate() {
            self.await_all(index, deadline_ns, link, listener)?;
            let mut agreed_ns = link.announce(phase)?;
            if phase == "warmup" {
                // Clocks run apart; what was measured before the ramp may be minutes old.
                self.ask_clocks(link, listener)?;
                agreed_ns = agreed_ns.or(planned_start_ns(load)?);
            }
            let round_trips = self.hosts.iter().filter_map(|host| host.clocks);
            let slowest_ns = round_trips
                .map(|clocks| clocks.round_trip_ns)
                .max()
                .unwrap_or(0);
            let soonest_ns = now_ns() + SHARED_LEAD_NS + 2 * slowest_ns;
            let agreed_ns = agreed_ns.map_or(soonest_ns, |agreed_ns| agreed_ns.max(soonest_ns));
            self.release(phase, agreed_ns);
            self.has_begun |= phase == "warmup";
            deadline_ns = agreed_ns
                .saturating_add(longest_ns(phase, load))
                .saturating_add(patience_ns(load));
        }
        Ok(())
    }

    /// Gives all the word to go on, each the instant on its own clock.
    fn release(&mut self, phase: &str, agreed_ns: u64) {
        let has_instant = matches!(phase, "warmup" | "window");
        for (host, member) in self.hosts.iter_mut().zip(&mut self.members) {
            if member.lost.is_none() {
                if phase == "warmup" {
                    // How wrong the start may be is a matter of this exchange, not of a quicker one later.
                    member.before = host.clocks;
                }
                let at_ns = host
                    .clocks
                    .filter(|_| has_instant)
                    .map(|clocks| clocks.theirs(agreed_ns));
                host.say(&Order::Go { at_ns });
                host.stage.go();
            }
        }
    }

    /// Ends the window for all at one instant.
    fn cut(&mut self) {
        let at_ns = now_ns() + SHARED_LEAD_NS;
        for (host, member) in self.hosts.iter_mut().zip(&self.members) {
            if let Some(clocks) = host.clocks.filter(|_| member.lost.is_none()) {
                let at_ns = clocks.theirs(at_ns);
                host.say(&Order::Cut { at_ns });
            }
        }
    }

    /// Waits until every host that is left has come to a phase, and ends the run when too many are lost.
    fn await_all(
        &mut self,
        phase: usize,
        deadline_ns: u64,
        link: &mut Link,
        listener: &mut Watcher<'_>,
    ) -> Result<(), Interruption> {
        let mut is_cut = false;
        loop {
            self.check_losses()?;
            if PHASES[phase] == "drain" && listener.met().is_some() && !is_cut {
                is_cut = true;
                self.cut();
            }
            if self.all(|host| host.stage.has_come_to(phase)) {
                return Ok(());
            }
            if now_ns() > deadline_ns {
                for index in 0..self.hosts.len() {
                    if !self.hosts[index].stage.has_come_to(phase) {
                        self.lose(
                            index,
                            format!("it had not come to phase {} in time", PHASES[phase]),
                            listener,
                        );
                    }
                }
                continue;
            }
            self.pump(link, listener)?;
        }
    }

    fn check_losses(&self) -> Result<(), Interruption> {
        let lost = self
            .members
            .iter()
            .filter(|member| member.lost.is_some())
            .count();
        let most = if self.has_begun { self.tolerated } else { 0 };
        match lost > most || lost == self.members.len() {
            true => Err(Interruption::HostLost),
            false => Ok(()),
        }
    }

    /// Asks all hosts for their clocks, several times.
    fn ask_clocks(
        &mut self,
        link: &mut Link,
        listener: &mut dyn Listener,
    ) -> Result<(), Interruption> {
        let start_ns = now_ns();
        let goals: Vec<u64> = self
            .hosts
            .iter()
            .map(|host| host.answers() + EXCHANGES)
            .collect();
        self.hosts.iter_mut().for_each(|host| host.clocks = None);
        loop {
            let mut open = 0;
            for ((host, member), goal) in self.hosts.iter_mut().zip(&self.members).zip(&goals) {
                if member.lost.is_none() && host.answers() < *goal {
                    host.ask_clocks();
                    open += 1;
                }
            }
            if open == 0 || now_ns() - start_ns > EXCHANGES_NS {
                break;
            }
            self.pump(link, listener)?;
        }
        for (host, member) in self.hosts.iter_mut().zip(&self.members) {
            host.clocks = host.clocks.or(member.before);
        }
        Ok(())
    }

    /// Waits a little for whoever speaks, and takes in what is said.
    fn pump(&mut self, link: &mut Link, listener: &mut dyn Listener) -> Result<(), Interruption> {
        let sources: Vec<_> = self
            .hosts
            .iter()
            .zip(&self.members)
            .filter(|(_, member)| member.lost.is_none())
            .flat_map(|(host, _)| host.waits_for())
            .collect();
        let rested = link.rest_beside(&sources, REST_NS);
        drop(sources);
        for index in 0..self.hosts.len() {
            if self.members[index].lost.is_some() {
                continue;
            }
            self.hosts[index].tend();
            self.hear(index, listener);
        }
        rested
    }

    fn hear(&mut self, index: usize, listener: &mut dyn Listener) {
        loop {
            match self.hosts[index].hear() {
                Ok(None) => return,
                Ok(Some(Heard::Second(told))) => self.seconds.take(index, *told, listener),
                Ok(Some(Heard::Refused(why))) => {
                    return self.lose(index, format!("it refuses: {why}"), listener);
                }
                Ok(Some(Heard::Report {
                    text,
                    how,
                    broken_law,
                    is_due,
                })) => {
                    let early =
                        (!is_due).then(|| format!("its load ended before it was told to: {how}"));
                    self.members[index].report = Some((text, how, broken_law));
                    if let Some(why) = early {
                        return self.lose(index, why, listener);
                    }
                }
                Ok(Some(_)) => {}
                Err(why) => return self.lose(index, why, listener),
            }
        }
    }

    fn lose(&mut self, index: usize, why: String, listener: &mut dyn Listener) {
        if self.has_begun {
            listener.notice(&format!("{} is lost: {why}", self.hosts[index].name));
        }
        self.members[index].lost = Some(why);
        self.hosts[index].abandon();
        let left = self
            .members
            .iter()
            .filter(|member| member.lost.is_none())
            .count();
        self.seconds.expect(left);
    }

    /// Whether connections were opened.
    fn has_opened(&self) -> bool {
        let is_open = |host: &Host| {
            matches!(
                host.stage,
                Stage::Loading { released: 1.., .. } | Stage::Reporting | Stage::Reported
            )
        };
        self.hosts.iter().any(is_open)
    }

    /// Whether something holds of all hosts that are left.
    fn all(&self, holds: impl Fn(&Host) -> bool) -> bool {
        let mut left = self
            .hosts
            .iter()
            .zip(&self.members)
            .filter(|(_, member)| member.lost.is_none());
        left.all(|(host, _)| holds(host))
    }
}

/// One host's part: its segment of the segment. Threads, processes and CPUs are each host's own; the instant of the
/// start is told when all have come to it.
fn share_of(load: &Load, index: usize, hosts: usize) -> Load {
    Load {
        segment: segment_of(load.segment, index as u64, hosts as u64),
        start_at_unix_ns: None,
        // The head looks out for conditions, over all hosts together.
        abort_on: Vec::new(),
        // What requests say is in the flags, which each host reads for itself.
        contents: Contents::default(),
        ..load.clone()
    }
}
