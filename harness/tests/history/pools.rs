//! How often a history finds a change, where there is one and where there is none: histories drawn from the pools of
//! trials in results/gate, in which one server ran against itself and against itself with more work.

use harness::analysis::history::changes_of;
use harness::model::metrics::CPU_PER_REQUEST;
use harness::store::read::load;
use std::path::Path;

/// Histories drawn in which nothing changes.
pub const UNCHANGED: usize = 1000;
/// Histories drawn in which something does.
pub const CHANGED: usize = 100;
/// Runs of a history.
pub const RUNS: usize = 30;
/// Trials of a run.
pub const TRIALS: usize = 8;

/// The pools, and what people call the machine that they were measured on.
pub const POOLS: [(&str, &str); 3] = [
    ("quiet", "a quiet machine"),
    ("loaded", "a loaded one"),
    ("busy-hour", "one in a busy hour"),
];

/// The costs of one pool's trials.
pub struct Pool {
    /// Of each of the two equal arms, in the order of time.
    pub equal: [Vec<f64>; 2],
    /// With 5 % and with 10 % more work.
    pub more: [Vec<f64>; 2],
}

impl Pool {
    pub fn read(name: &str) -> Pool {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../results/gate")
            .join(name);
        let rows = load(&folder).unwrap().run.rows;
        let of = |arm: &str| -> Vec<f64> {
            let own = rows.iter().filter(|row| row.arm == arm && row.is_usable());
            own.filter_map(|row| CPU_PER_REQUEST.cost(row)).collect()
        };
        Pool {
            equal: ["epoll", "epoll#2"].map(of),
            more: ["epoll#3", "epoll#4"].map(of),
        }
    }

    /// The share of so many histories in which a change is found; from the middle on they are drawn from `later`.
    pub fn found(&self, later: &[f64], histories: usize) -> f64 {
        let mut random = fastrand::Rng::with_seed(1);
        let before = [&self.equal[0][..], &self.equal[1][..]].concat();
        let mut one = || {
            let logs: Vec<f64> = (0..RUNS)
                .map(|run| {
                    let pool = if run < RUNS / 2 { &before[..] } else { later };
                    median(
                        (0..TRIALS)
                            .map(|_| pool[random.usize(..pool.len())])
                            .collect(),
                    )
                })
                .collect();
            !changes_of(&logs, CPU_PER_REQUEST.margin).is_empty()
        };
        (0..histories).filter(|_| one()).count() as f64 / histories as f64
    }

    /// The same where nothing changes.
    pub fn false_alarms(&self) -> f64 {
        self.found(
            &[&self.equal[0][..], &self.equal[1][..]].concat(),
            UNCHANGED,
        )
    }

    /// Changes in the two equal arms as they were measured, so many trials in a row being a run.
    pub fn in_order(&self) -> [usize; 2] {
        [0, 1].map(|arm| {
            let runs = self.equal[arm].chunks_exact(TRIALS / 2);
            let logs: Vec<f64> = runs.map(|run| median(run.to_vec())).collect();
            changes_of(&logs, CPU_PER_REQUEST.margin).len()
        })
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    (values[half] + values[values.len() - 1 - half]) / 2.0
}

/// What the page of every history says of it.
pub fn sentence() -> String {
    let pools: Vec<(Pool, &str)> = POOLS
        .iter()
        .map(|(name, words)| (Pool::read(name), *words))
        .collect();
    let shares = |of: &dyn Fn(&Pool) -> f64| {
        let shares = pools
            .iter()
            .map(|(pool, words)| format!("{:.1} % on {words}", of(pool) * 100.0));
        shares.collect::<Vec<_>>().join(", ")
    };
    format!(
        "In histories of {RUNS} runs of {TRIALS} trials, drawn from tenk's own pools of one server measured against itself \
         (results/gate), a change of CPU per request was found where there is none in {} ({UNCHANGED} of each); about 5 % \
         more from the middle on was found in {}, about 10 % more in {} ({CHANGED} of each).",
        shares(&Pool::false_alarms),
        shares(&|pool: &Pool| pool.found(&pool.more[0], CHANGED)),
        shares(&|pool: &Pool| pool.found(&pool.more[1], CHANGED)),
    )
}
