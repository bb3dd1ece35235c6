//! `tenk doctor`: what this machine allows, what a measurement needs, and the command that mends the difference.
//!
//! It changes nothing. What it must try out to know (a network namespace, a control group, an io_uring) is gone
//! again when it has been tried.

mod kernel;
mod limits;
mod network;
mod noise;
mod processor;

use crate::base::error::{Exit, Failure, OrFail};
use crate::base::terminal::say;
use crate::cli::{DoctorFlags, DoctorFormat};
use loadgen::base::units::format_count;
use serde::Serialize;
use std::fs;
use std::time::Duration;

/// How long the noise probe spins.
const NOISE_PROBE: Duration = Duration::from_secs(3);

/// How well a need is met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// Met.
    Pass,
    /// This machine does not say.
    Unknown,
    /// Some models will be limited, or some figures less certain.
    Warn,
    /// What was asked for cannot be had here.
    Fail,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Level::Pass => "PASS",
            Level::Unknown => "UNKNOWN",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        }
    }
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How well it is met.
    pub level: Level,
    /// What there is.
    pub found: String,
    /// What there should be; none where nothing in particular is.
    pub needed: Option<String>,
    /// What mends it, when it is not met.
    pub remedy: Option<String>,
}

impl Check {
    /// Something that is as it should be.
    fn pass(name: &'static str, found: impl Into<String>) -> Check {
        Check {
            name,
            level: Level::Pass,
            found: found.into(),
            needed: None,
            remedy: None,
        }
    }

    /// Something that this machine does not say.
    fn unknown(name: &'static str, found: impl Into<String>) -> Check {
        Check {
            level: Level::Unknown,
            ..Check::pass(name, found)
        }
    }

    /// Something that is not as it should be.
    fn short(
        name: &'static str,
        level: Level,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Check {
        Check {
            level,
            remedy: Some(remedy.into()),
            ..Check::pass(name, found)
        }
    }

    fn needing(mut self, needed: impl Into<String>) -> Check {
        self.needed = Some(needed.into());
        self
    }
}

/// A number that should be at least so many: met, missed at this level, or unknown.
fn at_least(
    name: &'static str,
    found: Option<u64>,
    needed: Option<u64>,
    missed: Level,
    remedy: impl FnOnce(u64) -> String,
) -> Check {
    let Some(found) = found else {
        return Check::unknown(name, "cannot be read");
    };
    let words = format_count(found);
    match needed {
        None => Check::pass(name, words),
        Some(needed) if found >= needed => Check::pass(name, words).needing(format_count(needed)),
        Some(needed) => {
            Check::short(name, missed, words, remedy(needed)).needing(format_count(needed))
        }
    }
}

/// Looks at everything, prints it, and says how the program ends: with 3 when something fails.
pub async fn doctor(flags: &DoctorFlags) -> Result<Exit, Failure> {
    if flags.conns == Some(0) || flags.workers == Some(0) {
        return Err(Failure::usage("--conns and --workers: at least 1"));
    }
    let needs = flags.conns.map(|conns| Needs {
        conns,
        processes: flags.workers.unwrap_or(1),
    });
    let checks = examine(needs).await;
    say(&match flags.format {
        DoctorFormat::Table => for_people(&checks, flags.conns),
        DoctorFormat::Json => json(&checks, flags.conns)?,
    })?;
    let failed = checks.iter().any(|check| check.level == Level::Fail);
    Ok(if failed { Exit::Preflight } else { Exit::Done })
}

/// What is to be held.
#[derive(Debug, Clone, Copy)]
struct Needs {
    conns: u64,
    /// Processes of the server that share them.
    processes: u64,
}

async fn examine(needs: Option<Needs>) -> Vec<Check> {
    // Read first: the noise probe is load, too.
    let pressure = processor::pressure(read("/proc/pressure/cpu").as_deref());
    let mut checks = limits::checks(needs);
    checks.extend(network::checks(needs.map(|needs| needs.conns)).await);
    checks.extend(kernel::checks());
    checks.extend(processor::checks());
    checks.push(pressure);
    checks.extend(noise::checks(NOISE_PROBE));
    checks.push(noise::calibration());
    checks
}

/// A file of /proc or /sys, without the line feed at its end.
fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim_end().to_string())
}

/// A sysctl that is one number.
fn number(text: Option<&str>) -> Option<u64> {
    text?.trim().parse().ok()
}

fn for_people(checks: &[Check], conns: Option<u64>) -> String {
    let mut text = match conns {
        Some(n) => format!("For {} connections:\n", format_count(n)),
        None => "With --conns N, this says what N connections would need.\n".into(),
    };
    for check in checks {
        let needed = match &check.needed {
            Some(needed) => format!(" (needs {needed})"),
            None => String::new(),
        };
        text.push_str(&format!(
            "{:<8}{:<22}{}{needed}\n",
            check.level.word(),
            check.name,
            check.found
        ));
        if let Some(remedy) = &check.remedy {
            text.push_str(&format!("{:<30}→ {remedy}\n", ""));
        }
    }
    let count = |level| checks.iter().filter(|check| check.level == level).count();
    text.push_str(&format!(
        "{} pass, {} warn, {} fail, {} unknown\n",
        count(Level::Pass),
        count(Level::Warn),
        count(Level::Fail),
        count(Level::Unknown)
    ));
    text
}

fn json(checks: &[Check], conns: Option<u64>) -> Result<String, Failure> {
    let value = serde_json::json!({
        "schema": "tenk.doctor/1",
        "conns": conns,
        "level": checks.iter().map(|check| check.level).max(),
        "checks": checks,
    });
    let text = serde_json::to_string_pretty(&value);
    text.map(|text| text + "\n").or_failed("doctor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_met_missed_or_unknown() {
        let check =
            |found, needed| at_least("x", found, needed, Level::Fail, |n| format!("set x={n}"));
        assert_eq!(check(Some(10), Some(10)).level, Level::Pass);
        assert_eq!(check(Some(10), None).needed, None);
        assert_eq!(check(None, Some(1)).level, Level::Unknown);
        let missed = check(Some(9), Some(10_000));
        assert_eq!(missed.level, Level::Fail);
        assert_eq!(missed.needed.as_deref(), Some("10 000"));
        assert_eq!(missed.remedy.as_deref(), Some("set x=10000"));
    }

    #[test]
    fn both_forms_tell_everything() {
        let checks = [
            Check::pass("a", "1"),
            Check::short("b", Level::Warn, "2", "`mend b`").needing("3"),
            Check::unknown("c", "nothing said"),
        ];
        let expected = "\
For 10 000 connections:
PASS    a                     1
WARN    b                     2 (needs 3)
                              → `mend b`
UNKNOWN c                     nothing said
1 pass, 1 warn, 0 fail, 1 unknown
";
        assert_eq!(for_people(&checks, Some(10_000)), expected);
        let value: serde_json::Value = serde_json::from_str(&json(&checks, None).unwrap()).unwrap();
        assert_eq!(value["level"], "WARN");
        assert_eq!(value["checks"][1]["remedy"], "`mend b`");
        assert!(value["conns"].is_null() && value["checks"][0]["needed"].is_null());
    }

    #[test]
    fn this_machine_is_examined_and_more_than_it_has_fails() {
        let names = |checks: &[Check]| checks.iter().map(|check| check.name).collect::<Vec<_>>();
        let needs = |conns| {
            let processes = 1;
            Some(Needs { conns, processes })
        };
        let (few, many) = (limits::checks(needs(1)), limits::checks(needs(1 << 40)));
        assert_eq!(names(&few), names(&many));
        assert!(many.iter().any(|check| check.level == Level::Fail));
        assert!(
            many.iter()
                .all(|check| check.level != Level::Fail || check.remedy.is_some())
        );
    }
}
