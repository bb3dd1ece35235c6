//! `--dry-run`: what a run would be, cell by cell, and how long it would take.

use super::rate;
use crate::analysis::answer::sentences::{REQUESTS_FOR_P99, duration_for_p99};
use crate::analysis::answer::words::{least, percent, plural};
use crate::analysis::noise::NoiseFloor;
use crate::analysis::stats::pooled::will_tell;
use crate::base::error::{Failure, OrFail};
use crate::base::text::{about, visible, wrapped};
use crate::cli::{Format, RunFlags};
use crate::model::arm::Arm;
use crate::model::metrics::CPU_PER_REQUEST;
use crate::model::row::csv_of;
use crate::plan::estimate::{self, seconds};
use crate::plan::{Plan, Scenario};
use crate::render::varied::{self, Varied};
use comfy_table::presets::{ASCII_MARKDOWN, NOTHING};
use comfy_table::{CellAlignment, Table, TableStyle};
use loadgen::base::units::{as_ns, format_count, format_ns, format_rate};
use loadgen::load::Load;
use serde::Serialize;

/// By how much trials scatter on a shared machine of two CPUs.
pub const USUAL_NOISE: f64 = 0.05;

/// The schema of what `--dry-run --format json` prints.
const SCHEMA: &str = "tenk.plan/1";

/// One arm under one workload.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Cell {
    arm: String,
    model: String,
    conns: u64,
    idle: u64,
    requests_per_conn: Option<u64>,
    payload_bytes: Option<String>,
    requests: Option<String>,
    rate_per_s: Option<f64>,
    capacity_fraction: Option<f64>,
    work_ns: Option<u64>,
    block_ns: Option<u64>,
    trials: u64,
    trial_s: f64,
}

const COLUMNS: &[&str] = &[
    "arm",
    "model",
    "conns",
    "idle",
    "requests_per_conn",
    "payload_bytes",
    "requests",
    "rate_per_s",
    "capacity_fraction",
    "work_ns",
    "block_ns",
    "trials",
    "trial_s",
];

impl Cell {
    fn new(plan: &Plan, arm: &Arm, scenario: &Scenario) -> Cell {
        let Scenario { load, cost, .. } = scenario;
        Cell {
            arm: arm.label.clone(),
            model: arm.subject.kind().to_string(),
            conns: load.conns,
            idle: load.idle,
            requests_per_conn: load.requests_per_conn,
            payload_bytes: load.payload.map(|payload| payload.to_string()),
            requests: load.requests_in_words(),
            rate_per_s: load.rate_per_s,
            capacity_fraction: scenario.share,
            work_ns: cost.work.map(as_ns),
            block_ns: cost.block.map(as_ns),
            trials: plan.repeat,
            trial_s: estimate::trial(plan, arm, &scenario.load).as_secs_f64(),
        }
    }
}

/// What would be run, in the format asked for.
pub fn describe(plan: &Plan, flags: &RunFlags, noise: Noise) -> Result<String, Failure> {
    let cells = plan
        .cells()
        .map(|(arm, scenario)| Cell::new(plan, arm, scenario));
    let cells: Vec<Cell> = cells.collect();
    const FAILED: &str = "cannot print the plan";
    match flags.output.format {
        Format::Table => Ok(for_people(plan, flags, noise, &cells, NOTHING)),
        Format::Md => Ok(for_people(plan, flags, noise, &cells, ASCII_MARKDOWN)),
        Format::Csv => {
            let csv = csv_of(COLUMNS, &cells).or_failed(FAILED)?;
            String::from_utf8(csv).or_failed(FAILED)
        }
        Format::Json => {
            let value = serde_json::json!({
                "schema": SCHEMA,
                "command": plan.command,
                "scenario": plan.scenario,
                "seed": flags.seed,
                "blocks": blocks(plan),
                "trials": plan.trial_count(),
                "estimated_s": estimate::run(plan).as_secs_f64(),
                "budget_s": plan.budget.map(|budget| budget.time.as_secs_f64()),
                "tells_from": will_tell(plan.arms.len(), plan.repeat as usize, noise.scatter().ln_1p())
                    .map(f64::exp_m1),
                "cells": cells,
            });
            let text = serde_json::to_string_pretty(&value);
            text.map(|text| text + "\n").or_failed(FAILED)
        }
    }
}

/// A block is one workload with every arm once.
fn blocks(plan: &Plan) -> u64 {
    plan.repeat * plan.scenarios.len() as u64
}

fn for_people(
    plan: &Plan,
    flags: &RunFlags,
    noise: Noise,
    cells: &[Cell],
    style: TableStyle,
) -> String {
    let seed = match flags.seed {
        Some(seed) => format!("seed {seed}"),
        None => "a seed drawn when it starts".into(),
    };
    let count = |n: usize, one: &str| match n {
        1 => format!("1 {one}"),
        n => format!("{} {one}s", format_count(n as u64)),
    };
    let search = || about(rate::search_time(plan));
    let rate = match (plan.rate_is_auto, plan.needs_capacities()) {
        (true, _) => format!(
            "The rate of every workload is found out first, in about {}: 70 % of what its slowest arm can do.\n",
            search()
        ),
        (_, true) => format!(
            "The rates are shares of what each arm can do, found out first by a short closed loop of each, in about \
             {}.\n",
            search()
        ),
        _ => String::new(),
    };
    let most = if plan.budget.is_some() {
        "At most "
    } else {
        ""
    };
    let lines = [
        format!(
            "{rate}{most}{} of {} in random order ({}), {seed}.",
            count(blocks(plan) as usize, "block"),
            count(plan.arms.len(), "arm"),
            count(plan.trial_count(), "trial"),
        ),
        looks(plan),
        takes(plan),
        tells(plan, noise).unwrap_or_default(),
        lacks_p99(plan).unwrap_or_default(),
    ];
    let lines = lines.iter().filter(|line| !line.is_empty());
    let lines: String = lines.map(|line| wrapped(line, 100)).collect();
    format!("{}\n{lines}", table(cells, style))
}

/// What a run will be, for whoever waits for it.
pub fn in_one_line(plan: &Plan) -> String {
    let (trials, time) = (
        plural(plan.trial_count(), "trial"),
        about(estimate::trials(plan)),
    );
    match plan.budget {
        None => format!("{trials}, about {time}"),
        Some(_) => format!("at most {trials}, at most about {time}"),
    }
}

/// What comes after the trials that count.
fn looks(plan: &Plan) -> String {
    match plan.looks.any() {
        true => "Then one more trial of each model and workload, shorter and not ranked, in which servers are looked into.",
        false => "",
    }
    .into()
}

/// How long it takes.
fn takes(plan: &Plan) -> String {
    let time = about(estimate::run(plan));
    let build = "what it takes to build the programs where they have changed";
    match plan.budget {
        None => {
            let (once, most) = estimate::bounds(plan);
            format!(
                "About {time}, and {build}. The trials alone take {} if nothing disturbs them, and up to {} if something \
                 does: then blocks are run again.",
                about(once),
                about(most)
            )
        }
        Some(budget) => format!(
            "About {time} (--budget {}), and {build}; less where every difference is known sooner, which is looked at \
             after 3, 4, 6 and 8 repeats and every fourth from there on. {} made in any case; a model that met its \
             known wall is not run again after that.",
            about(budget.time).replace(' ', ""),
            match budget.at_least {
                1 => "One is".to_string(),
                n => format!("{n} are"),
            }
        ),
    }
}

/// The differences that the blocks will tell.
fn tells(plan: &Plan, noise: Noise) -> Option<String> {
    let (scatter, arms) = (noise.scatter(), plan.arms.len());
    let from = match will_tell(arms, plan.repeat as usize, scatter.ln_1p()) {
        Some(from) => least(from.exp_m1(), false),
        None if arms > 1 => {
            return Some(
                "Will tell no difference: one block gives an order, --repeat 3 intervals.".into(),
            );
        }
        None => return None,
    };
    let found = match noise {
        Noise::Calibrated(_) => ", as they did when this machine was calibrated",
        Noise::Usual => " (`tenk calibrate` finds out by how much they do here)",
    };
    Some(format!(
        "Will tell differences from the best of {from} up in four of five such runs, where trials scatter by {}{found}.",
        percent(scatter)
    ))
}

/// The window that would have a 99th percentile, where a fixed rate sends too little for one.
fn lacks_p99(plan: &Plan) -> Option<String> {
    let requests = |load: &Load| Some(load.rate_per_s? * load.duration_ns as f64 / 1e9);
    let rates = plan.scenarios.iter().filter_map(|scenario| {
        let few = requests(&scenario.load)? < REQUESTS_FOR_P99;
        scenario.load.rate_per_s.filter(|_| few)
    });
    let lowest = rates.min_by(f64::total_cmp)?;
    Some(format!(
        "No p99 at {}: it takes {} requests in the window; --duration {} would have them.",
        format_rate(lowest),
        format_count(REQUESTS_FOR_P99 as u64),
        duration_for_p99(lowest)
    ))
}

/// By how much one trial's figure scatters beside its block and its arm, as a share.
#[derive(Debug, Clone, Copy)]
pub enum Noise {
    /// As this machine's calibration saw it.
    Calibrated(f64),
    /// As on a shared machine.
    Usual,
}

impl Noise {
    /// What a calibration says of the CPU time per request, which every ranking goes by.
    pub fn of(floor: Option<&NoiseFloor>) -> Noise {
        let scatter = floor.and_then(|floor| floor.metrics.get(CPU_PER_REQUEST.column));
        // Of a block's log-ratio, which holds the noise of two trials.
        let one = scatter.map(|scatter| (scatter.sd / 2f64.sqrt()).exp_m1());
        one.map_or(Noise::Usual, Noise::Calibrated)
    }

    fn scatter(self) -> f64 {
        match self {
            Noise::Calibrated(scatter) => scatter,
            Noise::Usual => USUAL_NOISE,
        }
    }
}

impl Cell {
    /// The default payload is worth no word.
    fn varied(&self) -> varied::Words {
        let varied = Varied {
            idle: self.idle,
            requests_per_conn: self.requests_per_conn,
            payload_bytes: self.payload_bytes.clone().filter(|bytes| bytes != "64"),
            rate_per_s: self.rate_per_s,
            share: self.capacity_fraction,
            work_ns: self.work_ns,
            block_ns: self.block_ns,
        };
        varied.words()
    }
}

fn table(cells: &[Cell], style: TableStyle) -> String {
    let varied: Vec<varied::Words> = cells.iter().map(Cell::varied).collect();
    let is_said = |column: &usize| varied.iter().any(|words| words[*column].is_some());
    let said: Vec<usize> = (0..varied::NAMES.len()).filter(is_said).collect();
    let mut table = Table::new();
    let names = said.iter().map(|column| varied::NAMES[*column]);
    let head = ["model", "conns"].into_iter().chain(names);
    table
        .load_style(style)
        .set_header(head.chain(["trials", "each", "together"]));
    for (cell, varied) in cells.iter().zip(varied) {
        let said = said
            .iter()
            .map(|column| varied[*column].clone().unwrap_or_default());
        let each = format_ns(as_ns(seconds(cell.trial_s)));
        let together = about(seconds(cell.trial_s * cell.trials as f64));
        let first = [visible(&cell.arm), format_count(cell.conns)];
        let last = [format_count(cell.trials), each, together];
        table.add_row(first.into_iter().chain(said).chain(last));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error::Exit;
    use crate::cli::Cli;
    use clap::Parser;

    fn described(words: &str) -> String {
        let words = format!("tenk {words}");
        let flags = Cli::try_parse_from(words.split(' ')).unwrap().run;
        describe(&Plan::new(&flags).unwrap(), &flags, Noise::Usual).unwrap()
    }

    #[test]
    fn a_cell_is_a_line_and_only_what_varies_is_a_column() {
        let text = described("--model epoll,poll --conns 5,1000 --repeat 2 --seed 7");
        assert_eq!(text.lines().count(), 1 + 4 + 1 + 5, "{text}");
        assert!(text.contains("1 000") && !text.contains("idle"), "{text}");
        assert!(
            text.contains("4 blocks of 2 arms in random order (8 trials), seed 7."),
            "{text}"
        );
        let text =
            described("--model epoll --idle 10 --rate 2k --payload 1k --work 50us --repeat 1");
        for word in [
            "idle",
            "2 000/s",
            "1000 B",
            "50.0 µs",
            "1 block of 1 arm",
            "a seed drawn",
        ] {
            assert!(text.contains(word), "{word}: {text}");
        }
    }

    #[test]
    fn it_says_what_will_be_told_and_what_not() {
        let told = |words: &str| described(words).replace('\n', " ");
        let text = told("--model epoll,poll --repeat 6");
        assert!(text.contains("Will tell differences from the best of ") && text.contains("5.0 %"));
        assert!(told("--model epoll,poll --repeat 1").contains("one block gives an order"));
        assert!(!told("--model epoll").contains("ill tell"));
        let text = told("--model epoll,poll --rate 200");
        assert!(
            text.contains("No p99 at 200/s") && text.contains("--duration 51s"),
            "{text}"
        );
        assert!(!told("--model epoll,poll --rate 10k --duration 2s").contains("No p99"));
        let noise = Noise::Calibrated(0.02);
        let flags = Cli::try_parse_from(["tenk", "--model", "epoll,poll"])
            .unwrap()
            .run;
        let text = describe(&Plan::new(&flags).unwrap(), &flags, noise).unwrap();
        assert!(
            text.replace('\n', " ").contains("scatter by 2.0 %"),
            "{text}"
        );
    }

    #[test]
    fn a_budget_is_filled_and_repeats_that_were_asked_for_are_made_in_any_case() {
        let load = "--model epoll,poll --conns 1 --warmup 1s --duration 3s";
        let text = described(&format!("{load} --budget 5m")).replace('\n', " ");
        // 300 s of rounds of 2 × 4.12 s.
        assert!(text.contains("At most 36 blocks of 2 arms"), "{text}");
        assert!(text.contains("(--budget 5m)") && text.contains("One is made in any case"));
        let text = described(&format!("{load} --budget 5m --repeat 50")).replace('\n', " ");
        assert!(text.contains("At most 50 blocks") && text.contains("50 are made in any case"));
        let text = described(&format!("{load} --budget 1s"));
        assert!(text.contains("At most 1 block"), "{text}");
        let words = format!("tenk {load} --budget 0s");
        let flags = Cli::try_parse_from(words.split(' ')).unwrap().run;
        assert_eq!(Plan::new(&flags).unwrap_err().exit, Exit::Usage);
    }

    #[test]
    fn programs_can_read_it_too() {
        let words = "--model epoll,poll --conns 5,6 --repeat 2 --format";
        let json: serde_json::Value =
            serde_json::from_str(&described(&format!("{words} json"))).unwrap();
        assert_eq!(
            (&json["schema"], &json["trials"]),
            (&SCHEMA.into(), &8.into())
        );
        let cells = json["cells"].as_array().unwrap();
        let together: f64 = cells
            .iter()
            .map(|c| c["trial_s"].as_f64().unwrap() * 2.0)
            .sum();
        let estimated_s = json["estimated_s"].as_f64().unwrap();
        // Of four blocks one may be run again.
        assert!(together < estimated_s && estimated_s < together * 1.25 + 2.0);
        assert_eq!(cells[0].as_object().unwrap().len(), COLUMNS.len());
        let csv = described(&format!("{words} csv"));
        assert_eq!(csv.lines().next(), Some(COLUMNS.join(",").as_str()));
        assert_eq!(csv.lines().count(), 5);
        assert!(described(&format!("{words} md")).contains("|--"));
    }

    #[test]
    fn the_search_for_rates_is_said_with_its_time() {
        let text = described("--model epoll,poll --rate 10%,50% --repeat 1");
        assert!(text.contains("shares of what each arm can do"), "{text}");
        assert!(text.contains("10 %") && text.contains("50 %"), "{text}");
        let flags = |words: &str| Cli::try_parse_from(words.split(' ')).unwrap().run;
        let time = |words: &str| rate::search_time(&Plan::new(&flags(words)).unwrap());
        let once = time("tenk --model epoll --rate 10%");
        assert_eq!(time("tenk --model epoll --rate 10%,50%,90%"), once);
        assert!(once > std::time::Duration::from_secs(1));
        assert_eq!(
            time("tenk --model epoll --rate 5k"),
            std::time::Duration::ZERO
        );
    }
}
