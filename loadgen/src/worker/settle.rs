//! The end of a run: what is still open, unanswered or unsent is counted.

use super::Worker;
use super::connection::State;
use crate::base::clock::{NEVER, now_ns};
use crate::load::Phase;
use crate::load::schedule::Event;
use crate::tally::latency::least_equivalent;

impl Worker {
    /// The run is over: counts what is still open, unanswered or unsent.
    pub(super) fn settle_accounts(&mut self) {
        self.clock.now_ns = now_ns();
        self.clock.edges = self.plan.control.edges();
        if self.clock.next_interval_ns != NEVER {
            self.end_interval(); // The window was cut short.
        }
        self.settle_pauses();
        self.name_answers();
        for slot in 0..self.share.slots {
            self.settle_requests(slot);
            self.settle_reconnects(slot);
            let connection = self.slots.slot(slot);
            match connection.state {
                State::Connecting => {
                    self.tally.connections.pending += 1;
                    self.count_syn_retries(slot);
                }
                State::Open | State::Closing => {
                    self.tally.connections.open_at_end += 1;
                    self.shut(slot);
                }
                State::Free | State::Dead => {}
            }
            let connection = self.slots.slot(slot);
            let completed = u64::from(connection.completed_in_window);
            // How many each answered says nothing where each was active for another time.
            let comparable = self.plan.population.is_none();
            if comparable && (connection.active || completed > 0) {
                self.tally
                    .fairness
                    .add(completed, connection.refused_in_window);
            }
        }
        if self.plan.schedule.is_some() && self.plan.control.hurried() {
            // What a broken-off run left uncounted is neither offered nor dropped.
            let stages = self
                .tally
                .stages
                .iter_mut()
                .map(|stage| &mut stage.requests);
            for requests in self.tally.phases.iter_mut().chain(stages) {
                requests.offered = requests.sent + requests.dropped;
            }
            self.tally.fail("request", Phase::Drain, "UNCOUNTED", || {
                "the run was broken off before all requests that were due and never sent were counted".into()
            });
        }
    }

    /// Puts the answers that were counted by number beside those that were counted by name.
    fn name_answers(&mut self) {
        for phase in Phase::ALL {
            let by_status = &mut self.tally.phases[phase as usize].by_status;
            for (status, count) in self.answers.of(phase) {
                let name = self.plan.protocol.status_name(status).into_owned();
                *by_status.entry(name).or_default() += count;
            }
        }
    }

    fn settle_requests(&mut self, slot: u32) {
        let connection = self.slots.slot(slot);
        for sequence in connection.answered..connection.begun {
            let entry = self.slots.in_flight(slot, sequence);
            let phase = entry.phase;
            self.count_of(phase, entry.due_ns, |counts| counts.unanswered_at_end += 1);
            self.censor(phase, entry.due_ns, entry.sent_ns);
        }
        self.settle_schedule(slot);
    }

    /// Counts what the schedule asked for, from the schedule alone, and apart from
    /// that what was never sent: so the law between them and the requests says something.
    fn settle_schedule(&mut self, slot: u32) {
        let connection = self.slots.slot(slot);
        let plan = self.plan.clone();
        let Some(schedule) = plan
            .schedule
            .as_ref()
            .filter(|_| self.clock.running && connection.active && !plan.control.hurried())
        else {
            return;
        };
        let (stream, next_due_ns) = (u64::from(connection.stream), connection.next_due_ns);
        let index = connection.index;
        let (edges, now_ns) = (self.clock.edges, self.clock.now_ns);
        let start_ns = edges.warmup_start_ns;
        let end_ns = edges.window_end_ns.min(now_ns);
        let window_ns = edges.window_start_ns.min(end_ns);
        let go_on = || !plan.control.hurried();
        let [window_load_ns, end_load_ns] =
            [window_ns, end_ns].map(|at_ns| at_ns.saturating_sub(start_ns));
        let instants = plan.edges_within(window_load_ns, end_load_ns);
        let next = Event {
            index,
            due_ns: next_due_ns.saturating_sub(start_ns),
        };
        let tally = &mut self.tally;
        let group_end = |due_ns: u64| {
            let at_ns = start_ns.saturating_add(due_ns);
            if at_ns < window_ns {
                return window_ns - start_ns;
            }
            // Those that have waited as long, to the histogram, as this one, and belong to one stage.
            let least_ns = least_equivalent(now_ns - at_ns);
            let stage_ends = plan.stage_at(due_ns).and_then(|s| instants.get(s + 1));
            let end_ns = now_ns.saturating_sub(least_ns).saturating_sub(start_ns) + 1;
            stage_ends.map_or(end_ns, |stage_end_ns| end_ns.min(*stage_end_ns))
        };
        let counts = schedule.account(stream, &instants, next, group_end, go_on, |group| {
            let [first_ns, last_ns] =
                [group.first_ns, group.last_ns].map(|ns| start_ns.saturating_add(ns));
            let phase = if first_ns < window_ns {
                Phase::Warmup
            } else {
                Phase::Window
            };
            tally.phases[phase as usize].dropped += group.count;
            if phase == Phase::Window {
                let (longest_ns, least_ns) = (now_ns - first_ns, now_ns - last_ns);
                tally
                    .response
                    .record_censored_group(group.count, longest_ns, least_ns);
                if let Some(stage) = plan.stage_at(group.first_ns) {
                    let stage = tally.stage(stage);
                    stage.requests.dropped += group.count;
                    stage
                        .response
                        .record_censored_group(group.count, longest_ns, least_ns);
                }
            }
        });
        // Nobody waits for the counts of a run that was broken off.
        let Some(counts) = counts else { return };
        let (warmup, all) = (counts[0], counts[counts.len() - 1]);
        tally.phases[Phase::Warmup as usize].offered += warmup;
        tally.phases[Phase::Window as usize].offered += all - warmup;
        if !plan.stage_ends_ns.is_empty() {
            for (stage, ends) in counts.windows(2).enumerate() {
                tally.stage(stage).requests.offered += ends[1] - ends[0];
            }
        }
    }
}
