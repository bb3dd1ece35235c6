//! What this machine's figures do when nothing has changed: `tenk calibrate` measures one server as both sides of a
//! gate, and keeps how far apart they came out. A gate's margins are raised to it where the
//! gate's own equal pairs bear it out, and a trial that was disturbed
//! more than the calibration was is suspect (W07).

use crate::analysis::decide::Question;
use crate::analysis::stats::{ALPHA, power, signed_rank};
use crate::model::disturbance::{FOREIGN_CPUS, Limits, STEAL};
use crate::model::row::Row;
use loadgen::base::cache::{self, cache_file};
use loadgen::base::units::format_count;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The schema of the file.
const SCHEMA: &str = "tenk.noise/1";

/// No machine on which more than this is ordinary can measure anything: a calibration beside a build or another run is
/// no licence for the next one.
const MOST_STEAL: f64 = 0.25;
const MOST_FOREIGN_CPUS: f64 = 0.5;

/// A calibration is of the machine as it was then: kernels, neighbours and settings change.
const MOST_AGE: Duration = Duration::from_secs(14 * 24 * 3600);

/// A floor beyond so many margins would blind a gate instead of keeping it from crying wolf.
const MOST_MARGINS: f64 = 2.0;

/// What a calibration saw in 95 of 100 trials, doubled, and never less than the defaults: a machine that was very
/// quiet then may be a little less so today.
fn limits_of(rows: &[Row], cpus: f64) -> Limits {
    let beyond = |of: &dyn Fn(&Row) -> Option<f64>, least: f64, most: f64| {
        let values: Vec<f64> = rows.iter().filter_map(of).collect();
        quantile_95(values).map_or(least, |seen| (2.0 * seen).clamp(least, most))
    };
    Limits {
        steal: beyond(&|row| row.steal_fraction, STEAL, MOST_STEAL),
        foreign_cpus: beyond(
            &|row| Some(row.foreign_cpu_fraction? * cpus),
            FOREIGN_CPUS,
            MOST_FOREIGN_CPUS,
        ),
    }
}

/// The smallest value that 95 % of them do not exceed.
fn quantile_95(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let rank = (0.95 * values.len() as f64).ceil() as usize;
    values.get(rank.checked_sub(1)?).copied()
}

/// How one figure scatters where nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scatter {
    /// Standard deviation of a block's log-ratio.
    pub sd: f64,
    /// The difference that the calibration's blocks together leave possible, relative: the farther end of the 95 %
    /// interval around none.
    pub floor: f64,
}

/// A machine's noise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseFloor {
    /// [`SCHEMA`].
    schema: String,
    /// When it was measured.
    pub measured: String,
    /// What was measured, in words.
    pub cell: String,
    /// In how many blocks.
    pub blocks: usize,
    /// By column.
    pub metrics: BTreeMap<String, Scatter>,
    /// What is beyond the ordinary.
    pub limits: Limits,
}

impl NoiseFloor {
    /// What the questions of an A/A gate say; none without a figure over six blocks.
    pub fn of(questions: &[Question], rows: &[Row], cpus: f64) -> Option<NoiseFloor> {
        let scatter = |question: &Question| {
            let interval = signed_rank::interval(&question.log_ratios, ALPHA / 2.0)?;
            let scatter = Scatter {
                sd: power::standard_deviation(&question.log_ratios)?,
                floor: interval.low.abs().max(interval.high.abs()).exp_m1(),
            };
            Some((question.metric.column.to_string(), scatter))
        };
        let metrics: BTreeMap<_, _> = questions.iter().filter_map(scatter).collect();
        let first = questions.first().filter(|_| !metrics.is_empty())?;
        Some(NoiseFloor {
            schema: SCHEMA.into(),
            measured: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            cell: first.cell.clone(),
            blocks: first.log_ratios.len(),
            metrics,
            limits: limits_of(rows, cpus),
        })
    }

    /// What was kept for this machine; `Err` says what is wrong with the file.
    pub fn load() -> Result<Option<NoiseFloor>, String> {
        let Some(path) = cache_file("noise") else {
            return Ok(None);
        };
        let Ok(bytes) = std::fs::read(&path) else {
            return Ok(None);
        };
        let read = NoiseFloor::parse(&bytes);
        read.map(Some).map_err(|why| {
            format!(
                "{}: {why} (`tenk calibrate` writes it anew)",
                path.display()
            )
        })
    }

    fn parse(bytes: &[u8]) -> Result<NoiseFloor, String> {
        let floor: NoiseFloor = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let sound = |s: &Scatter| s.sd.is_finite() && (0.0..1e3).contains(&s.floor);
        match floor.schema == SCHEMA && floor.metrics.values().all(sound) {
            true => Ok(floor),
            false => Err(format!("not a {SCHEMA}")),
        }
    }

    /// Whether the machine was too busy for this to be its noise.
    pub fn is_of_a_busy_machine(&self) -> bool {
        self.limits.steal >= MOST_STEAL || self.limits.foreign_cpus >= MOST_FOREIGN_CPUS
    }

    /// Keeps it for later runs; returns where.
    pub fn keep(&self) -> std::io::Result<PathBuf> {
        cache::keep("noise", serde_json::to_string_pretty(self)?.as_bytes())
    }

    /// Why it is not used for a figure that is held to this margin, if it is not.
    pub fn doubt(&self, column: &str, margin: f64, now: SystemTime) -> Option<String> {
        let measured = humantime::parse_rfc3339(&self.measured).ok();
        let age = measured.and_then(|then| now.duration_since(then).ok());
        let floor = self.floor_of(column)?;
        match age {
            None => Some(format!(
                "it says that it is of {}, which is not past",
                self.measured
            )),
            Some(age) if age > MOST_AGE => {
                let days = age.as_secs() / (24 * 3600);
                Some(format!("it is {days} days old"))
            }
            Some(_) if floor > MOST_MARGINS * margin => Some(format!(
                "something else used the machine then: its floor of {:.1} % would blind a gate whose margin is {:.1} %",
                floor * 100.0,
                margin * 100.0
            )),
            Some(_) => None,
        }
    }

    /// The relative difference of a figure below which this machine shows none.
    pub fn floor_of(&self, column: &str) -> Option<f64> {
        self.metrics.get(column).map(|scatter| scatter.floor)
    }

    /// One line: when, where, and what was seen.
    pub fn in_words(&self) -> String {
        let floors = self
            .metrics
            .iter()
            .map(|(column, scatter)| format!("{column} {:.1} %", scatter.floor * 100.0));
        format!(
            "{} in {} blocks of {}: {}",
            self.measured,
            format_count(self.blocks as u64),
            self.cell,
            floors.collect::<Vec<_>>().join(", ")
        )
    }
}

/// What was kept, or nothing; a file that cannot be used is said on stderr.
pub fn kept(quiet: bool) -> Option<NoiseFloor> {
    NoiseFloor::load().unwrap_or_else(|why| {
        if !quiet {
            crate::base::terminal::eprintln(&format!("note: the calibration is not used: {why}"));
        }
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::decide::tests::question;

    fn floor() -> NoiseFloor {
        let ratios = vec![0.01, -0.01, 0.02, -0.02, 0.005, -0.005, 0.0];
        NoiseFloor::of(&[question(ratios)], &[], 2.0).unwrap()
    }

    #[test]
    fn the_floor_is_the_farther_end_of_the_interval() {
        let floor = floor();
        let found = floor.floor_of("server_cpu_us_per_request").unwrap();
        assert!((0.005..0.0203).contains(&found), "{found}");
        assert_eq!(floor.floor_of("requests_per_s"), None);
        assert_eq!((floor.blocks, floor.limits), (7, Limits::default()));
        assert!(NoiseFloor::of(&[question(vec![0.0; 5])], &[], 2.0).is_none());
    }

    #[test]
    fn a_floor_that_is_old_or_would_blind_the_gate_is_not_used() {
        let mut floor = floor();
        let now = SystemTime::now();
        let doubt = |floor: &NoiseFloor, now| floor.doubt("server_cpu_us_per_request", 0.03, now);
        assert_eq!(doubt(&floor, now), None);
        let later = doubt(&floor, now + Duration::from_secs(30 * 24 * 3600));
        assert_eq!(later.unwrap(), "it is 30 days old");
        assert!(
            doubt(&floor, SystemTime::UNIX_EPOCH)
                .unwrap()
                .contains("not past")
        );
        for scatter in floor.metrics.values_mut() {
            scatter.floor = 0.6;
        }
        let busy = doubt(&floor, now).unwrap();
        assert!(busy.contains("floor of 60.0 % would blind"), "{busy}");
        assert_eq!(
            floor.doubt("requests_per_s", 0.03, now),
            None,
            "it has no floor"
        );
    }

    #[test]
    fn a_busy_machine_raises_its_limits() {
        let row = |foreign| Row {
            steal_fraction: Some(0.001),
            foreign_cpu_fraction: Some(foreign),
            ..Row::blank()
        };
        let rows: Vec<Row> = (0..20).map(|i| row(f64::from(i) / 200.0)).collect();
        let limits = limits_of(&rows, 2.0);
        // The 19th of 20 values is 0.09 of two CPUs.
        assert!((limits.foreign_cpus - 0.36).abs() < 1e-9, "{limits:?}");
        assert_eq!(limits.steal, STEAL);
    }

    #[test]
    fn what_is_kept_is_read_back_and_anything_else_is_refused() {
        let text = serde_json::to_string(&floor()).unwrap();
        assert_eq!(NoiseFloor::parse(text.as_bytes()), Ok(floor()));
        for bad in [
            "",
            "{}",
            &text.replace(SCHEMA, "tenk.noise/9"),
            &text[..text.len() / 2],
        ] {
            assert!(NoiseFloor::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
