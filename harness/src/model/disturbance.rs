//! How much of a machine others may use before a trial is disturbed.

use serde::{Deserialize, Serialize};

/// Steal beyond this share of the machine's CPU time disturbs a trial where nothing was calibrated: bench runners on
/// shared hosts stay below 1 % when they are quiet.
pub const STEAL: f64 = 0.02;

/// Foreign CPU time beyond this share of one CPU disturbs a trial where nothing was calibrated; 90 trials on a quiet
/// machine of two CPUs stayed below 5 %.
pub const FOREIGN_CPUS: f64 = 0.10;

/// What is beyond the ordinary in a trial.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Steal, as a share of the machine's CPU time.
    pub steal: f64,
    /// CPU time used by neither side, in CPUs.
    pub foreign_cpus: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            steal: STEAL,
            foreign_cpus: FOREIGN_CPUS,
        }
    }
}

impl Limits {
    /// Nothing is beyond the ordinary while that is being found out.
    pub const NONE: Limits = Limits {
        steal: f64::INFINITY,
        foreign_cpus: f64::INFINITY,
    };
}
