//! When events are due: pure functions of (seed, connection, index), in
//! nanoseconds from the start of the load.
//!
//! Nothing here ticks or remembers: threads, processes and segments can each
//! evaluate their own connections and together send exactly the single plan.

use super::Arrival;
use crate::base::hash::mix;

/// The schedule of each of `streams` connections that share one rate.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    arrival: Arrival,
    streams: u64,
    rate_per_s: f64,
    seed: u64,
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
        }
    }

    /// When event 0 of `stream` is due.
    #[must_use]
    pub fn first(&self, stream: u64) -> u64 {
        match self.arrival {
            Arrival::Fixed => self.fixed(stream, 0),
            Arrival::Poisson => self.gap(stream, 0),
        }
    }

    /// When event `index` ≥ 1 of `stream` is due, given when its predecessor was.
    #[must_use]
    pub fn next(&self, stream: u64, index: u64, previous_ns: u64) -> u64 {
        match self.arrival {
            Arrival::Fixed => self.fixed(stream, index),
            Arrival::Poisson => previous_ns.saturating_add(self.gap(stream, index)),
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

    /// The due times of `stream`, in order, without end.
    pub fn walk(&self, stream: u64) -> impl Iterator<Item = u64> + use<> {
        let schedule = *self;
        let mut index = 0;
        std::iter::successors(Some(schedule.first(stream)), move |previous_ns| {
            index += 1;
            Some(schedule.next(stream, index, *previous_ns))
        })
    }

    /// Event `index` of stream `s` is event `index · streams + s` of the whole, so
    /// the streams are de-phased and their union is evenly spaced.
    fn fixed(&self, stream: u64, index: u64) -> u64 {
        let position = index as f64 * self.streams as f64 + stream as f64;
        (position * (1e9 / self.rate_per_s)).round() as u64
    }

    fn fixed_before(&self, stream: u64, end_ns: u64) -> u64 {
        let period_ns = self.streams as f64 * 1e9 / self.rate_per_s;
        let mut count = (end_ns as f64 / period_ns) as u64;
        // The division may be off by one through rounding; the definition decides.
        while self.fixed(stream, count) < end_ns {
            count += 1;
        }
        while count > 0 && self.fixed(stream, count - 1) >= end_ns {
            count -= 1;
        }
        count
    }

    /// An exponential gap with mean streams/rate, by inversion (Devroye 1986, §II.2).
    fn gap(&self, stream: u64, index: u64) -> u64 {
        let mean_ns = self.streams as f64 * 1e9 / self.rate_per_s;
        (-uniform(self.seed, stream, index).ln() * mean_ns).round() as u64
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

    fn union(schedule: Schedule, streams: impl Iterator<Item = u64>, end_ns: u64) -> Vec<u64> {
        let mut all: Vec<u64> = streams
            .flat_map(|stream| schedule.walk(stream).take_while(move |due| *due < end_ns))
            .collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn fixed_arrivals_are_evenly_spaced_over_all_connections() {
        let due = union(Schedule::new(Arrival::Fixed, 7, 1000.0, 1), 0..7, SECOND_NS);
        assert_eq!(due.len(), 1000);
        assert!(due.windows(2).all(|pair| pair[1] - pair[0] == 1_000_000));
    }

    /// One-sample Kolmogorov–Smirnov statistic of the gaps against the exponential
    /// distribution; its 0.1 % critical value is 1.95/√n.
    #[test]
    fn poisson_gaps_are_exponential() {
        let schedule = Schedule::new(Arrival::Poisson, 50, 50_000.0, 42);
        let due = union(schedule, 0..50, SECOND_NS);
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
            let due = union(schedule, 0..streams, end_ns);
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
        fn segments_together_are_the_single_plan(
            poisson in any::<bool>(), streams in 1u64..40, segments in 1u64..9, seed in any::<u64>(),
        ) {
            let arrival = if poisson { Arrival::Poisson } else { Arrival::Fixed };
            let schedule = Schedule::new(arrival, streams, 5000.0, seed);
            let whole = union(schedule, 0..streams, SECOND_NS / 10);
            let mut parts: Vec<u64> = (0..segments)
                .flat_map(|index| union(schedule, (0..streams).filter(move |s| s % segments == index), SECOND_NS / 10))
                .collect();
            parts.sort_unstable();
            prop_assert_eq!(whole, parts);
        }
    }
}
