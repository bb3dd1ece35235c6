//! CPUs: how many, how fast, whose, and by which clock.

use super::{Check, Level, read};
use crate::base::limits;
use crate::base::settings::governors;
use std::thread::available_parallelism;

/// Two loops of a server and two workers of the generator: the fewest that show whether a model scales.
const CPUS: f64 = 4.0;
/// Tasks waiting for a CPU in more than this share of the last ten seconds are somebody else's load, in per cent.
const PRESSURE_PERCENT: f64 = 10.0;

/// All that can be read; what must be measured is in `noise`.
pub fn checks() -> Vec<Check> {
    let allowed = available_parallelism().ok().map(|n| n.get());
    vec![
        cpus(allowed, limits::cpu_quota()),
        governor(&governors()),
        clock_source(
            read("/sys/devices/system/clocksource/clocksource0/current_clocksource").as_deref(),
        ),
    ]
}

fn cpus(allowed: Option<usize>, quota: Option<(String, f64)>) -> Check {
    let Some(allowed) = allowed else {
        return Check::unknown("CPUs", "cannot be read");
    };
    let (usable, found) = match quota.filter(|(_, quota)| *quota < allowed as f64) {
        Some((what, quota)) => (
            quota,
            format!("{allowed}, but {what} allows the time of {quota:.1}"),
        ),
        None => (allowed as f64, allowed.to_string()),
    };
    let check = match usable {
        n if n >= CPUS => Check::pass("CPUs", found),
        n if n >= 2.0 => Check::short(
            "CPUs",
            Level::Warn,
            found,
            "one for the server, the rest for the generator: models with several loops cannot show their scaling; \
             use a machine with more CPUs for that question",
        ),
        _ => Check::short(
            "CPUs",
            Level::Warn,
            found,
            "server and generator share one CPU: compare CPU per request, not throughput",
        ),
    };
    check.needing(format!("{CPUS:.0}"))
}

fn governor(governors: &[String]) -> Check {
    match governors.iter().find(|governor| *governor != "performance") {
        _ if governors.is_empty() => Check::unknown(
            "CPU governor",
            "not shown to this machine (usual in a guest)",
        ),
        None => Check::pass("CPU governor", "performance"),
        Some(other) => Check::short(
            "CPU governor",
            Level::Warn,
            other,
            "the clock rate will follow the load; `cpupower frequency-set -g performance`",
        )
        .needing("performance"),
    }
}

/// The `some avg10` of /proc/pressure/cpu: the share of time in which a task waited for a CPU (proc_pressure(5)).
pub fn pressure(text: Option<&str>) -> Check {
    const NAME: &str = "CPU pressure";
    let percent = text.and_then(|text| {
        let some = text.lines().find_map(|line| line.strip_prefix("some "))?;
        let value = some
            .split_whitespace()
            .find_map(|word| word.strip_prefix("avg10="))?;
        value.parse::<f64>().ok()
    });
    let needed = format!("at most {PRESSURE_PERCENT:.0} %");
    match percent {
        None => Check::unknown(NAME, "not counted by this kernel (boot with psi=1)"),
        Some(percent) if percent <= PRESSURE_PERCENT => {
            Check::pass(NAME, format!("{percent:.1} % of the last 10 s")).needing(needed)
        }
        Some(percent) => Check::short(
            NAME,
            Level::Warn,
            format!("{percent:.1} % of the last 10 s"),
            "something else is running: end it (`top` names it), or expect suspect trials (W07)",
        )
        .needing(needed),
    }
}

/// Clocks that are read without entering the kernel or the hypervisor; the others cost a microsecond or more.
fn clock_source(source: Option<&str>) -> Check {
    const FAST: [&str; 6] = [
        "tsc",
        "kvm-clock",
        "hyperv_clocksource_tsc_page",
        "arch_sys_counter",
        "riscv_clocksource",
        "timebase",
    ];
    match source {
        None => Check::unknown("clock source", "cannot be read"),
        Some(source) if FAST.contains(&source) => Check::pass("clock source", source),
        Some(source) => Check::short(
            "clock source",
            Level::Warn,
            source,
            "reading the time is slow and loads the generator; if available_clocksource lists tsc: `echo tsc > \
             /sys/devices/system/clocksource/clocksource0/current_clocksource`",
        )
        .needing("tsc or kvm-clock"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_less_than_the_cpus_it_is_spread_over() {
        assert_eq!(cpus(Some(8), None).level, Level::Pass);
        assert_eq!(cpus(Some(2), None).level, Level::Warn);
        let capped = cpus(Some(8), Some(("cpu.max of /jobs".into(), 1.5)));
        assert_eq!(
            capped.found,
            "8, but cpu.max of /jobs allows the time of 1.5"
        );
        assert!(capped.remedy.unwrap().contains("share one CPU"));
        assert_eq!(cpus(None, None).level, Level::Unknown);
    }

    #[test]
    fn one_slow_governor_is_enough() {
        let all = |word: &str| vec![word.to_string(); 2];
        assert_eq!(governor(&[]).level, Level::Unknown);
        assert_eq!(governor(&all("performance")).level, Level::Pass);
        let mixed = ["performance".to_string(), "powersave".to_string()];
        assert_eq!(governor(&mixed).found, "powersave");
    }

    #[test]
    fn pressure_is_the_last_ten_seconds() {
        let text = |avg10: &str| {
            format!("some avg10={avg10} avg60=45.86 avg300=27.29 total=2\nfull avg10=0.00\n")
        };
        assert_eq!(pressure(Some(&text("9.99"))).level, Level::Pass);
        let high = pressure(Some(&text("49.99")));
        assert_eq!(
            (high.level, high.found.as_str()),
            (Level::Warn, "50.0 % of the last 10 s")
        );
        assert_eq!(pressure(Some("nonsense")).level, Level::Unknown);
        assert_eq!(pressure(None).level, Level::Unknown);
    }

    #[test]
    fn slow_clocks_are_known() {
        assert_eq!(clock_source(Some("tsc")).level, Level::Pass);
        assert_eq!(clock_source(Some("acpi_pm")).level, Level::Warn);
        assert_eq!(clock_source(None).level, Level::Unknown);
    }
}
