//! The noise probe: a thread per CPU does nothing but read the clock, and every gap between two readings is time
//! that somebody else had: another process, the kernel, the hypervisor.

use super::{Check, Level};
use crate::analysis::noise::NoiseFloor;
use crate::model::metrics::METRICS;
use crate::trial::machine::MachineCpu;
use loadgen::base::units::{as_ns, format_ns};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// A timer tick takes a few microseconds; what takes longer is more than the machine's own housekeeping.
const GAP: Duration = Duration::from_micros(10);
/// More lost time than this, or stolen, makes figures uncertain: W07's limit before any calibration.
const MOST_LOST: f64 = 0.02;
/// CPUs probed at most.
const MOST_CPUS: usize = 64;

/// What one thread lost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Gaps {
    total: Duration,
    lost: Duration,
    longest: Duration,
    readings: u64,
}

impl Gaps {
    fn note(&mut self, gap: Duration) {
        self.total += gap;
        self.readings += 1;
        if gap > GAP {
            self.lost += gap;
            self.longest = self.longest.max(gap);
        }
    }

    fn and(self, other: Gaps) -> Gaps {
        Gaps {
            total: self.total + other.total,
            lost: self.lost + other.lost,
            longest: self.longest.max(other.longest),
            readings: self.readings + other.readings,
        }
    }
}

/// Spins for so long on every CPU allowed.
pub fn checks(duration: Duration) -> Vec<Check> {
    let own = [std::process::id()];
    let before = MachineCpu::read(&own);
    let gaps = spin_everywhere(duration);
    let machine = before.zip(MachineCpu::read(&own)).map(|(a, b)| b.since(a));
    vec![
        steal(machine.map(|time| time.steal_s / time.all_s)),
        noise(gaps),
        clock_cost(gaps),
    ]
}

/// Whether this machine's noise floor is known.
pub fn calibration() -> Check {
    match NoiseFloor::load() {
        Ok(Some(floor)) => {
            let metric = &METRICS[0];
            match floor.doubt(metric.column, metric.margin, SystemTime::now()) {
                None => Check::pass("calibration", floor.in_words()),
                Some(why) => Check::short(
                    "calibration",
                    Level::Warn,
                    format!("{}; gates do not use it: {why}", floor.in_words()),
                    "tenk calibrate",
                ),
            }
        }
        Ok(None) => Check::unknown(
            "calibration",
            "none kept; `tenk calibrate` makes one in about two minutes",
        ),
        Err(why) => Check::short("calibration", Level::Warn, why, "tenk calibrate"),
    }
}

fn spin_everywhere(duration: Duration) -> Gaps {
    let cpus: Vec<usize> = match sched_getaffinity(Pid::from_raw(0)) {
        Ok(set) => (0..CpuSet::count())
            .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
            .collect(),
        Err(_) => vec![0],
    };
    thread::scope(|scope| {
        let start = |cpu| {
            let thread = thread::Builder::new();
            thread
                .spawn_scoped(scope, move || spin_on(cpu, duration))
                .ok()
        };
        let cpus = cpus.into_iter().take(MOST_CPUS);
        let threads: Vec<_> = cpus.map_while(start).collect();
        // Where no thread is to be had, this one probes the CPU that it is on.
        if threads.is_empty() {
            return spin(duration);
        }
        let results = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_default());
        results.fold(Gaps::default(), Gaps::and)
    })
}

fn spin_on(cpu: usize, duration: Duration) -> Gaps {
    let mut set = CpuSet::new();
    // Where pinning fails the scheduler places the thread, and what it loses is counted all the same.
    let _ = set
        .set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set));
    spin(duration)
}

fn spin(duration: Duration) -> Gaps {
    let start = Instant::now();
    let (mut gaps, mut last) = (Gaps::default(), start);
    while last - start < duration {
        let now = Instant::now();
        gaps.note(now - last);
        last = now;
    }
    gaps
}

fn steal(share: Option<f64>) -> Check {
    let needed = format!("at most {:.0} %", MOST_LOST * 100.0);
    let percent = |share: f64| format!("{:.1} %", share.max(0.0) * 100.0);
    match share.filter(|share| share.is_finite()) {
        None => Check::unknown("steal", "cannot be read"),
        Some(share) if share <= MOST_LOST => Check::pass("steal", percent(share)).needing(needed),
        Some(share) => Check::short(
            "steal",
            Level::Warn,
            percent(share),
            "the hypervisor gives CPU time to others: choose dedicated CPUs, another host, or another hour",
        )
        .needing(needed),
    }
}

fn noise(gaps: Gaps) -> Check {
    let lost = gaps.lost.as_secs_f64() / gaps.total.as_secs_f64().max(f64::MIN_POSITIVE);
    let found = format!(
        "{:.2} % of the time lost in gaps, the longest {}",
        lost * 100.0,
        format_ns(as_ns(gaps.longest))
    );
    let needed = format!("at most {:.0} %", MOST_LOST * 100.0);
    match lost <= MOST_LOST {
        true => Check::pass("noise", found).needing(needed),
        false => Check::short(
            "noise",
            Level::Warn,
            found,
            "something else uses these CPUs (`top`, or a neighbour on the host): quieten it, or raise --repeat",
        )
        .needing(needed),
    }
}

/// What reading the clock costs, over the undisturbed time.
fn clock_cost(gaps: Gaps) -> Check {
    const MOST: Duration = Duration::from_nanos(500);
    let undisturbed = gaps.total.saturating_sub(gaps.lost);
    let Some(cost_ns) = as_ns(undisturbed).checked_div(gaps.readings) else {
        return Check::unknown("clock reading", "nothing was measured");
    };
    let found = format_ns(cost_ns);
    match Duration::from_nanos(cost_ns) <= MOST {
        true => Check::pass("clock reading", found),
        false => Check::short(
            "clock reading",
            Level::Warn,
            found,
            "the generator reads the clock twice a request; a faster clock source would help",
        )
        .needing(format!("at most {}", format_ns(as_ns(MOST)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_long_gaps_are_lost_time() {
        let mut gaps = Gaps::default();
        for micros in [1, 10, 11, 500, 2] {
            gaps.note(Duration::from_micros(micros));
        }
        assert_eq!(
            (gaps.lost, gaps.longest),
            (Duration::from_micros(511), Duration::from_micros(500))
        );
        assert_eq!((gaps.total, gaps.readings), (Duration::from_micros(524), 5));
        assert_eq!(noise(gaps).level, Level::Warn);
        assert!(noise(gaps).found.ends_with("the longest 500 µs"));
        assert_eq!(noise(Gaps::default()).level, Level::Pass);
    }

    #[test]
    fn steal_is_judged() {
        assert_eq!(steal(Some(0.004)).found, "0.4 %");
        assert_eq!(steal(Some(0.03)).level, Level::Warn);
        assert_eq!(steal(None).level, Level::Unknown);
        // The counter may step back a tick when a guest is moved.
        assert_eq!(steal(Some(-0.1)).found, "0.0 %");
    }

    #[test]
    fn the_clock_is_priced_without_the_gaps() {
        let gaps = |total_us, lost_us, readings| Gaps {
            total: Duration::from_micros(total_us),
            lost: Duration::from_micros(lost_us),
            longest: Duration::ZERO,
            readings,
        };
        assert_eq!(clock_cost(gaps(1030, 1000, 1000)).found, "30 ns");
        assert_eq!(clock_cost(gaps(1030, 0, 1000)).level, Level::Warn);
        assert_eq!(clock_cost(Gaps::default()).level, Level::Unknown);
    }

    #[test]
    fn every_cpu_is_probed() {
        let gaps = spin_everywhere(Duration::from_millis(5));
        assert!(gaps.readings > 0 && gaps.total >= Duration::from_millis(5));
        assert_eq!(checks(Duration::from_millis(1)).len(), 3);
    }
}
