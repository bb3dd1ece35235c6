//! When events are due: pure functions of (seed, connection, index), in
//! nanoseconds from the start of the load.
//!
//! Nothing here ticks or remembers: threads, processes and segments can each
//! evaluate their own connections and together send exactly the single plan.

use std::sync::Arc;

use super::Arrival;
use super::stages::Course;
use crate::base::hash::mix;

/// The schedule of each of `streams` connections that share one rate, or one course of it.
#[derive(Clone, Debug)]
pub struct Schedule {
    arrival: Arrival,
    streams: u64,
    rate_per_s: f64,
    seed: u64,
    course: Option<Arc<Course>>,
}

/// How many events are walked before it is asked whether to go on: about a millisecond's.
const ASKED_EVERY: u64 = 1 << 16;

/// One event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number, from 0.
    pub index: u64,
    /// When it is due.
    pub due_ns: u64,
}

/// Events of a stream that are due one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// When the first is due.
    pub first_ns: u64,
    /// When the last is due.
    pub last_ns: u64,
    /// How many there are.
    pub count: u64,
}

impl Schedule {
    /// `rate_per_s` events per second over `streams` streams.
    #[must_use]
    pub fn new(arrival: Arrival, streams: u64, rate_per_s: f64, seed: u64) -> Self {
        Self {
            arrival,
            streams,
            rate_per_s,
            seed,
            course: None,
        }
    }

    /// Events over `streams` streams whose rate takes this course.
    #[must_use]
    pub fn along(course: Course, arrival: Arrival, streams: u64, seed: u64) -> Self {
        Self {
            course: Some(Arc::new(course)),
            ..Self::new(arrival, streams, 0.0, seed)
        }
    }

    /// When event 0 of `stream` is due.
    #[must_use]
    pub fn first(&self, stream: u64) -> u64 {
        match self.arrival {
            Arrival::Fixed => self.fixed(stream, 0),
            Arrival::Poisson => self.after_gap(stream, 0, 0),
        }
    }

    /// When event `index` ≥ 1 of `stream` is due, given when its predecessor was.
    #[must_use]
    pub fn next(&self, stream: u64, index: u64, previous_ns: u64) -> u64 {
        match self.arrival {
            Arrival::Fixed => self.fixed(stream, index),
            Arrival::Poisson => self.after_gap(stream, index, previous_ns),
        }
    }

    /// How many events of `stream` are due before `end_ns`. Constant time for
    /// fixed arrivals; Poisson streams are walked, about 20 ns an event.
    #[must_use]
    pub fn count_before(&self, stream: u64, end_ns: u64) -> u64 {
        match self.arrival {
            Arrival::Fixed => self.fixed_before(stream, end_ns),
            Arrival::Poisson => self
                .walk(stream)
                .take_while(|due_ns| *due_ns < end_ns)
                .count() as u64,
        }
    }

    /// How many events of `stream` are due before each of some instants, in their order; and those from `from` on that
    /// are due before the last one, handed on in groups: the events from one on that are due before what `group_end`
    /// says of it. `None` if `go_on`, which is asked now and then, says no before the end.
    ///
    /// Fixed arrivals are counted without looking at each. Poisson arrivals depend each on the one before, so they are
    /// walked, once for everything: about 20 ns an event.
    #[must_use]
    pub fn account(
        &self,
        stream: u64,
        instants: &[u64],
        from: Event,
        group_end: impl Fn(u64) -> u64,
        go_on: impl Fn() -> bool,
        each: impl FnMut(Group),
    ) -> Option<Vec<u64>> {
        let end_ns = instants.last().copied().unwrap_or(0);
        match self.arrival {
            Arrival::Fixed => {
                self.fixed_groups(stream, from, end_ns, group_end, each);
                let counts = instants
                    .iter()
                    .map(|at_ns| self.fixed_before(stream, *at_ns));
                Some(counts.collect())
            }
            Arrival::Poisson => {
                let mut groups = Groups::new(end_ns, group_end, each);
                let (mut counts, mut index) = (Vec::with_capacity(instants.len()), 0u64);
                for due_ns in self.walk(stream).take_while(|due_ns| *due_ns < end_ns) {
                    while instants[counts.len()] <= due_ns {
                        counts.push(index);
                    }
                    if index >= from.index {
                        groups.add(due_ns);
                    }
                    index += 1;
                    if index.is_multiple_of(ASKED_EVERY) && !go_on() {
                        return None;
                    }
                }
                groups.end();
                counts.resize(instants.len(), index);
                Some(counts)
            }
        }
    }

    fn fixed_groups(
        &self,
        stream: u64,
        from: Event,
        end_ns: u64,
        group_end: impl Fn(u64) -> u64,
        mut each: impl FnMut(Group),
    ) {
        let Event {
            mut index,
            mut due_ns,
        } = from;
        while due_ns < end_ns {
            let until_ns = group_end(due_ns).clamp(due_ns + 1, end_ns);
            let before = self.fixed_before(stream, until_ns);
            let count = before.saturating_sub(index).max(1);
            each(Group {
                first_ns: due_ns,
                last_ns: self.fixed(stream, index + count - 1),
                count,
            });
            index += count;
            due_ns = self.fixed(stream, index);
        }
    }

    /// The due times of `stream`, in order, without end.
    pub fn walk(&self, stream: u64) -> impl Iterator<Item = u64> + use<> {
        let schedule = self.clone();
        let mut index = 0;
        std::iter::successors(Some(schedule.first(stream)), move |previous_ns| {
            index += 1;
            Some(schedule.next(stream, index, *previous_ns))
        })
    }

    /// Event `index` of stream `s` is event `index · streams + s` of the whole, so
    /// the streams are de-phased and their union is evenly spaced.
    fn fixed(&self, stream: u64, index: u64) -> u64 {
        if let Some(course) = &self.course {
            return course.due_ns(index.saturating_mul(self.streams).saturating_add(stream));
        }
        let position = index as f64 * self.streams as f64 + stream as f64;
        (position * (1e9 / self.rate_per_s)).round() as u64
    }

    fn fixed_before(&self, stream: u64, end_ns: u64) -> u64 {
        let mut count = match &self.course {
            Some(course) => course.events_by(end_ns).saturating_sub(stream) / self.streams,
            None => {
                let period_ns = self.streams as f64 * 1e9 / self.rate_per_s;
                (end_ns as f64 / period_ns) as u64
            }
        };
        // That may be off by one through rounding; the definition decides.
        while self.fixed(stream, count) < end_ns {
            count += 1;
        }
        while count > 0 && self.fixed(stream, count - 1) >= end_ns {
            count -= 1;
        }
        count
    }

    /// What lies an exponential gap with mean streams/rate behind an instant, by inversion (Devroye 1986, §II.2); along a
    /// course, one of as many events (time rescaling: Lewis & Shedler 1979).
    fn after_gap(&self, stream: u64, index: u64, previous_ns: u64) -> u64 {
        let means = -uniform(self.seed, stream, index).ln();
        match &self.course {
            Some(course) => course.after_ns(previous_ns, means * self.streams as f64),
            None => {
                let mean_ns = self.streams as f64 * 1e9 / self.rate_per_s;
                previous_ns.saturating_add((means * mean_ns).round() as u64)
            }
        }
    }
}

/// Puts events that come one by one, in order, into groups.
struct Groups<E, F> {
    end_ns: u64,
    group_end: E,
    each: F,
    /// The group that grows, and until when.
    growing: Option<(Group, u64)>,
}

impl<E: Fn(u64) -> u64, F: FnMut(Group)> Groups<E, F> {
    fn new(end_ns: u64, group_end: E, each: F) -> Self {
        Self {
            end_ns,
            group_end,
            each,
            growing: None,
        }
    }

    fn add(&mut self, due_ns: u64) {
        if let Some((group, until_ns)) = &mut self.growing
            && due_ns < *until_ns
        {
            group.count += 1;
            group.last_ns = due_ns;
            return;
        }
        self.end();
        let until_ns = (self.group_end)(due_ns).clamp(due_ns + 1, self.end_ns);
        let group = Group {
            first_ns: due_ns,
            last_ns: due_ns,
            count: 1,
        };
        self.growing = Some((group, until_ns));
    }

    fn end(&mut self) {
        if let Some((group, _)) = self.growing.take() {
            (self.each)(group);
        }
    }
}

/// A number in (0, 1] that depends on nothing but its arguments.
fn uniform(seed: u64, stream: u64, index: u64) -> f64 {
    let hash = mix(mix(mix(seed) ^ stream) ^ index);
    ((hash >> 11) + 1) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::units::SECOND_NS;
    use crate::load::stages::{Stage, Stages};

    #[test]
    fn a_hundred_million_undue_events_are_counted_in_a_few_steps() {
        let schedule = Schedule::new(Arrival::Fixed, 1, 1e7, 1);
        let (mut steps, mut events) = (0, 0);
        let first = Event {
            index: 0,
            due_ns: 0,
        };
        let group_end = |due_ns: u64| due_ns + SECOND_NS / 100;
        let instants = [SECOND_NS, 10 * SECOND_NS];
        let counts = schedule.account(
            0,
            &instants,
            first,
            group_end,
            || true,
            |group| {
                steps += 1;
                events += group.count;
            },
        );
        assert_eq!((steps, events), (1000, 100_000_000));
        assert_eq!(counts, Some(vec![10_000_000, 100_000_000]));
    }

    #[test]
    fn a_walk_ends_when_nobody_waits_for_it() {
        let schedule = Schedule::new(Arrival::Poisson, 1, 1e7, 1);
        let year_ns = 365 * 86_400 * SECOND_NS;
        let first = Event {
            index: 0,
            due_ns: 0,
        };
        let (asked, mut groups) = (std::cell::Cell::new(0), 0);
        let go_on = || {
            asked.set(asked.get() + 1);
            asked.get() < 3
        };
        let counts = schedule.account(
            0,
            &[0, year_ns],
            first,
            |due_ns| due_ns,
            go_on,
            |_| groups += 1,
        );
        assert_eq!((counts, asked.get()), (None, 3));
        // Each a group of its own, but for those that are due in one and the same nanosecond.
        assert!(
            (2 * ASKED_EVERY..3 * ASKED_EVERY).contains(&groups),
            "{groups}"
        );
    }

    fn union(schedule: &Schedule, streams: impl Iterator<Item = u64>, end_ns: u64) -> Vec<u64> {
        let mut all: Vec<u64> = streams
            .flat_map(|stream| schedule.walk(stream).take_while(move |due| *due < end_ns))
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn fixed_arrivals_are_evenly_spaced_over_all_connections() {
        let due = union(
            &Schedule::new(Arrival::Fixed, 7, 1000.0, 1),
            0..7,
            SECOND_NS,
        );
        assert_eq!(due.len(), 1000);
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000));
    }

    /// One-sample Kolmogorov–Smirnov statistic of the gaps against the exponential
    /// distribution; its 0.1 % critical value is 1.95/√n.
    #[test]
    fn poisson_gaps_are_exponential() {
        let schedule = Schedule::new(Arrival::Poisson, 50, 50_000.0, 42);
        let due = union(&schedule, 0..50, SECOND_NS);
        let mut gaps: Vec<f64> = due
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as f64 / 20_000.0)
            .collect();
        gaps.sort_by(f64::total_cmp);
        let n = gaps.len() as f64;
        let distance = gaps.iter().enumerate().map(|(rank, gap)| {
            let expected = 1.0 - (-gap).exp();
            (expected - rank as f64 / n)
                .abs()
                .max(((rank + 1) as f64 / n - expected).abs())
        });
        let worst = distance.fold(0.0, f64::max);
        assert!(worst < 1.95 / n.sqrt(), "KS distance {worst} over {n} gaps");
        assert!((n - 50_000.0).abs() < 5.0 * 50_000f64.sqrt(), "{n} events");
    }

    proptest! {
        #[test]
        fn due_times_never_decrease_and_keep_the_rate(
            poisson in any::<bool>(), streams in 1u64..50, rate in 10.0..1e6f64, seed in any::<u64>(),
        ) {
            let arrival = if poisson { Arrival::Poisson } else { Arrival::Fixed };
            let schedule = Schedule::new(arrival, streams, rate, seed);
            let end_ns = (2000.0 / rate * 1e9) as u64;
            let due = union(&schedule, 0..streams, end_ns);
            let expected = 2000.0;
            let tolerance = if poisson { 6.0 * f64::sqrt(expected) } else { 1.0 };
            prop_assert!((due.len() as f64 - expected).abs() <= tolerance, "{} events", due.len());
            for stream in 0..streams {
                let own: Vec<u64> = schedule.walk(stream).take(100).collect();
                prop_assert!(own.windows(2).all(|pair| pair[0] <= pair[1]));
                prop_assert_eq!(schedule.count_before(stream, end_ns),
                    schedule.walk(stream).take_while(|due| *due < end_ns).count() as u64);
            }
        }

        #[test]
        fn groups_are_what_one_by_one_would_be(
            poisson in any::<bool>(), streams in 1u64..9, rate in 1000.0..1e7f64, seed in any::<u64>(),
            from in 0usize..50, width in 1u64..1_000_000,
        ) {
            let arrival = if poisson { Arrival::Poisson } else { Arrival::Fixed };
            let schedule = Schedule::new(arrival, streams, rate, seed);
            let end_ns = (3000.0 / rate * 1e9) as u64;
            let singly: Vec<u64> = schedule.walk(0).take_while(|due_ns| *due_ns < end_ns).collect();
            prop_assume!(from < singly.len());
            let event = Event { index: from as u64, due_ns: singly[from] };
            let mut at = from;
            let middle_ns = end_ns / 3;
            let group_end = |due_ns| due_ns / width * width + width;
            let counts = schedule.account(0, &[middle_ns, end_ns], event, group_end, || true, |group| {
                let members = &singly[at..at + group.count as usize];
                assert_eq!((members[0], members[members.len() - 1]), (group.first_ns, group.last_ns));
                assert_eq!(group.first_ns / width, group.last_ns / width);
                at += group.count as usize;
                // As large as it may be.
                assert!(singly.get(at).is_none_or(|next_ns| next_ns / width > group.first_ns / width));
            });
            prop_assert_eq!(at, singly.len());
            prop_assert_eq!(counts, Some(vec![schedule.count_before(0, middle_ns), singly.len() as u64]));
        }

        #[test]
        fn segments_together_are_the_single_plan(
            poisson in any::<bool>(), streams in 1u64..40, segments in 1u64..9, seed in any::<u64>(),
        ) {
            let arrival = if poisson { Arrival::Poisson } else { Arrival::Fixed };
            let schedule = Schedule::new(arrival, streams, 5000.0, seed);
            let whole = union(&schedule, 0..streams, SECOND_NS / 10);
            let mut parts: Vec<u64> = (0..segments)
                .flat_map(|index| union(&schedule, (0..streams).filter(move |s| s % segments == index), SECOND_NS / 10))
                .collect();
            parts.sort_unstable();
            prop_assert_eq!(whole, parts);
        }

        /// Whatever the course, threads, processes and hosts that each take a part send exactly the whole; and what is
        /// counted without looking at each event is what one by one would be.
        #[test]
        fn segments_of_a_course_together_are_the_whole(
            poisson in any::<bool>(), streams in 1u64..30, segments in 1u64..7, seed in any::<u64>(), warmup_ms in 0u64..300,
            parts in proptest::collection::vec((1u64..800, 0u64..3000, 0u64..3000), 1..6),
        ) {
            let stages = parts.iter().map(|(ms, from, to)| Stage {
                length_ns: ms * 1_000_000,
                from_milli: from * 1000,
                to_milli: to * 1000,
            });
            let stages = Stages(stages.collect());
            let course = stages.course(warmup_ms * 1_000_000);
            let end_ns = warmup_ms * 1_000_000 + stages.total_ns();
            let expected = course.events_between(0, end_ns);
            let arrival = if poisson { Arrival::Poisson } else { Arrival::Fixed };
            let schedule = Schedule::along(course, arrival, streams, seed);
            let whole = union(&schedule, 0..streams, end_ns);
            let mut together: Vec<u64> = (0..segments)
                .flat_map(|index| union(&schedule, (0..streams).filter(move |s| s % segments == index), end_ns))
                .collect();
            together.sort_unstable();
            prop_assert_eq!(&whole, &together);
            let tolerance = if poisson { 6.0 * expected.sqrt() + 6.0 } else { 1.0 };
            prop_assert!((whole.len() as f64 - expected).abs() <= tolerance, "{} of {}", whole.len(), expected);
            for stream in 0..streams {
                let one_by_one = schedule.walk(stream).take_while(|due_ns| *due_ns < end_ns).count() as u64;
                prop_assert_eq!(schedule.count_before(stream, end_ns), one_by_one);
                let middle_ns = end_ns / 2;
                let first = Event { index: 0, due_ns: schedule.first(stream) };
                let mut groups = 0;
                let counts = schedule.account(stream, &[0, middle_ns, end_ns], first, |due_ns| due_ns + 1, || true, |group| groups += group.count);
                prop_assert_eq!(counts, Some(vec![0, schedule.count_before(stream, middle_ns), one_by_one]));
                prop_assert_eq!(groups, one_by_one);
            }
        }
    }
}
