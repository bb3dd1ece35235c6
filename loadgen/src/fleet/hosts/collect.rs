//! What the hosts report, and the one outcome that it makes.

use std::io;

use super::super::link::{Interruption, Link};
use super::super::run::{Listener, Report};
use super::super::watcher::Watcher;
use super::super::{LAST_WORDS_NS, patience_ns};
use super::clock::Clocks;
use super::host::Host;
use super::state::Stage;
use super::{Head, Member};
use crate::base::clock::now_ns;
use crate::base::units::SECOND_NS;
use crate::load::{Load, PER_CONNECTION_NS};
use crate::tally::lost::{lost_host, nothing_of_host};
use crate::tally::merge::{derive, is_of_the_same_load, merge};
use crate::tally::outcome::{self, HostFigures, Outcome};
use crate::tally::verdict;

/// How long hosts may take to report once one of them is lost, besides [`PER_CONNECTION_NS`] for each connection.
const AFTER_LOSS_NS: u64 = SECOND_NS;

impl Head {
    /// Waits for all reports, and merges them. A host that does not report is lost.
    pub(super) fn collect(
        &mut self,
        load: &Load,
        interruption: Option<Interruption>,
        link: &mut Link,
        listener: &mut Watcher<'_>,
    ) -> io::Result<Report> {
        if interruption.is_some() {
            for host in &mut self.hosts {
                if host.stage.stop() {
                    host.say(&super::Order::Stop);
                }
            }
        }
        self.await_reports(load, interruption, link, listener);
        // What the clocks did meanwhile; a host that does not answer any more has reported all the same.
        if self.ask_clocks(link, listener).is_err() {
            listener.notice("interrupted again: the clocks were not compared once more");
        }
        let (mut outcomes, mut figures, mut broken_laws) = (Vec::new(), Vec::new(), Vec::new());
        for (host, member) in self.hosts.iter().zip(&mut self.members) {
            broken_laws.extend(member.broken_law(&host.name));
            let outcome = member.outcome(&host.name, self.tolerated > 0, listener);
            figures.push(figures_of(host, member, &outcome));
            outcomes.push(outcome);
        }
        let lost = self
            .members
            .iter()
            .filter(|member| member.lost.is_some())
            .count();
        // Without any of them nothing is left to be degraded.
        let is_tolerated = lost <= self.tolerated && lost < self.members.len();
        let interruption = interruption.or((!is_tolerated).then_some(Interruption::HostLost));
        let mut outcome = merge_all(&outcomes, load, link.is_supervised())?;
        outcome.hosts = figures;
        outcome.degraded = lost > 0 && is_tolerated;
        outcome.aborted = listener.met().cloned();
        outcome.complete &= interruption.is_none() && outcome.aborted.is_none();
        outcome.reasons = verdict::judge(&outcome, link.is_supervised());
        outcome.verdict = verdict::of_reasons(&outcome.reasons);
        Ok(Report {
            outcome,
            interruption,
            broken_laws,
        })
    }

    fn await_reports(
        &mut self,
        load: &Load,
        interruption: Option<Interruption>,
        link: &mut Link,
        listener: &mut dyn Listener,
    ) {
        let each_ns = load.population() * PER_CONNECTION_NS;
        let limit_ns = match interruption {
            Some(Interruption::HostLost) => AFTER_LOSS_NS + each_ns,
            Some(_) => LAST_WORDS_NS + each_ns,
            None => patience_ns(load),
        };
        let deadline_ns = now_ns() + limit_ns;
        while !self.all(|host| host.stage == Stage::Reported) {
            // Whoever asks a second time will not wait.
            if now_ns() > deadline_ns || self.pump(link, listener).is_err() {
                break;
            }
        }
        for index in 0..self.hosts.len() {
            if self.members[index].lost.is_none() && self.hosts[index].stage != Stage::Reported {
                self.lose(index, "it did not report in time".into(), listener);
            }
        }
    }
}

impl Member {
    fn broken_law(&self, name: &str) -> Option<String> {
        let law = self.report.as_ref()?.2.as_ref()?;
        Some(format!("{name}: {law}"))
    }

    /// The host's outcome; what is none of ours, or none of this share, is not counted.
    fn outcome(&mut self, name: &str, is_tolerant: bool, listener: &mut dyn Listener) -> Outcome {
        let read = match self.report.take() {
            Some((Some(text), ..)) => {
                read(&text, &self.share).map_err(|why| format!("its report: {why}"))
            }
            Some((None, how, _)) => Err(format!("its load left no outcome: {how}")),
            None => Err("it did not report".into()),
        };
        let (mut outcome, why) = match (read, self.lost.clone()) {
            (Ok(outcome), None) => return outcome,
            (Ok(outcome), Some(why)) => (outcome, why),
            (Err(_), Some(why)) => (nothing_of_host(self.share.clone()), why),
            (Err(why), None) => {
                listener.notice(&format!("{name} is lost: {why}"));
                (nothing_of_host(self.share.clone()), why)
            }
        };
        // Where that is tolerated the others' figures are not partial for it.
        outcome.complete |= is_tolerant;
        outcome.failures.push(lost_host(format!("{name}: {why}")));
        self.lost = Some(why);
        outcome
    }
}

/// Reads what a host reports as it would a stranger's file.
fn read(text: &str, share: &Load) -> Result<Outcome, String> {
    let outcome = outcome::read(text.as_bytes()).map_err(|error| error.to_string())?;
    if outcome.load.segment != share.segment {
        return Err(format!(
            "it is of segment {}, not {}",
            outcome.load.segment, share.segment
        ));
    }
    if !outcome.hosts.is_empty() {
        return Err("it is of several hosts".into());
    }
    if !is_of_the_same_load(&outcome.load, share) {
        return Err("it is of another load".into());
    }
    // What can be merged alone can be merged with the others.
    merge(std::slice::from_ref(&outcome), true).map(|_| outcome)
}

fn merge_all(outcomes: &[Outcome], load: &Load, supervised: bool) -> io::Result<Outcome> {
    let mut outcome = merge(outcomes, supervised).map_err(io::Error::other)?;
    outcome.load = load.clone();
    derive(&mut outcome);
    Ok(outcome)
}

fn figures_of(host: &Host, member: &Member, outcome: &Outcome) -> HostFigures {
    let after = host.clocks.filter(|_| member.lost.is_none());
    let ahead = |clocks: Option<Clocks>| clocks.map(|clocks| clocks.unix_ahead_ns);
    HostFigures {
        name: host.name.clone(),
        lost: member.lost.clone(),
        clock_ahead_before_ns: ahead(member.before),
        clock_ahead_after_ns: ahead(after),
        round_trip_ns: member.before.map(|clocks| clocks.round_trip_ns),
        machine: host.hello.as_ref().map(|hello| hello.machine.clone()),
        ..HostFigures::of(outcome)
    }
}
