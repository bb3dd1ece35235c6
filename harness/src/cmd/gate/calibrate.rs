//! `tenk calibrate`: a gate of one server against itself, kept as this machine's noise floor.

use super::blocks::{Blocks, Until};
use super::side::{BASE, HEAD, Side};
use super::{pairs, plan, prepare};
use crate::analysis::noise::NoiseFloor;
use crate::base::child::captured;
use crate::base::error::{Exit, Failure, OrFail};
use crate::base::machine::available_cpus;
use crate::base::terminal::{Signals, eprintln, say};
use crate::base::text::one_line;
use crate::cli::calibrate::CalibrateFlags;
use crate::cli::gate::GateFlags;
use crate::cli::{AskedFlags, OutputFlags};
use crate::cmd::record::Record;
use crate::cmd::run::begin;
use crate::cmd::told::Told;
use crate::model::disturbance::Limits;
use crate::trial::Context;
use crate::trial::environment::Environment;
use crate::trial::launch::pin;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;

/// Measures and keeps the noise floor; says how the program ends.
pub async fn calibrate(flags: &CalibrateFlags) -> Result<Exit, Failure> {
    if flags.blocks < 6 {
        return Err(Failure::usage(format!(
            "--blocks {}: an interval needs at least 6",
            flags.blocks
        )));
    }
    let gate = as_gate(flags)?;
    let mut sides = [BASE, HEAD].map(|name| Side::of_command(name, &flags.model));
    let cpus = available_cpus()?;
    let mut plan = plan(&gate, &sides)?;
    plan.disturbed = Limits::NONE;
    let mut signals = Signals::listen()?;
    let preparing = prepare(&gate, &mut plan, &mut sides);
    let (folder, prepared) = match begin(&flags.results, &mut signals, preparing).await {
        Ok(begun) => begun,
        Err(ended) => return ended.into(),
    };
    let binaries = prepared.binaries;
    let environment = Environment::read(&plan, &binaries);
    let mut record = Record::new(folder, environment)?;
    let context = Context {
        plan: &plan,
        binaries: &binaries,
        work_ns_per_iteration: None,
    };
    let mut blocks = Blocks {
        context: &context,
        flags: &gate,
        sides: &mut sides,
        record: &mut record,
        signals: &mut signals,
        told: &Told::nothing(),
        same: None,
    };
    if let Err(ended) = blocks.run(Until::AllAreMade).await {
        record.finish(false);
        return ended.into();
    }
    record.finish(true);
    let questions = pairs::questions(record.rows(), &[]);
    let machine = crate::base::machine::machine_cpus();
    let floor = NoiseFloor::of(&questions, record.rows(), machine).ok_or_else(|| {
        Failure::failed(format!(
            "no figure was measured in six blocks or more: nothing is kept (see {})",
            record.run_dir()
        ))
    })?;
    if floor.is_of_a_busy_machine() {
        eprintln(
            "note: something else used this machine while it was calibrated; what is kept is capped, and says little: \
             calibrate again when it is idle",
        );
    }
    let kept = floor.keep();
    // The floor's server and generator choose CPUs of their own.
    pin(&cpus).map_err(|e| Failure::from_error(Exit::Failed, e))?;
    if let Err(failure) = measure_floor(&context).await {
        eprintln(&format!("note: {failure}"));
    }
    say_found(&floor, kept.as_deref().ok(), &record)?;
    // Whoever calibrates wants it kept; it was measured and shown all the same.
    kept.or_failed("cannot keep the noise floor")?;
    Ok(record.exit_code(Exit::Done))
}

fn say_found(floor: &NoiseFloor, kept: Option<&Path>, record: &Record) -> Result<(), Failure> {
    let place = match kept {
        Some(path) => format!("Kept in {}", path.display()),
        None => "Not kept".into(),
    };
    say(&format!(
        "{}\n{place}; the trials are in {}\n",
        table(floor),
        record.run_dir()
    ))
}

/// The generator's own floor and ceiling, which charts of later runs shade.
async fn measure_floor(context: &Context<'_>) -> Result<(), Failure> {
    const WHAT: &str = "the generator's floor";
    let mut command = Command::new(context.binaries.path("loadgen"));
    let output = captured(command.arg("floor")).await.or_failed(WHAT)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(Failure::failed(format!(
            "{WHAT}: {}",
            one_line(&String::from_utf8_lossy(&output.stderr))
        ))),
    }
}

/// The gate's own defaults, with what was asked for.
fn as_gate(flags: &CalibrateFlags) -> Result<GateFlags, Failure> {
    let gate = GateFlags::defaults("HEAD")?;
    Ok(GateFlags {
        base: None,
        model: vec![flags.model.clone()],
        asked: AskedFlags {
            conns: vec![flags.conns],
            ..gate.asked
        },
        blocks: flags.blocks,
        // As long as it takes.
        budget: Duration::MAX,
        warmup: flags.warmup,
        duration: flags.duration,
        output: OutputFlags {
            results: flags.results.clone(),
            quiet: flags.quiet,
            ..gate.output
        },
        ..gate
    })
}

fn table(floor: &NoiseFloor) -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["figure", "a block scatters by", "noise floor"]);
    for (column, scatter) in &floor.metrics {
        table.add_row([
            column.clone(),
            format!("{:.2} %", scatter.sd * 100.0),
            format!("{:.2} %", scatter.floor * 100.0),
        ]);
    }
    format!(
        "{}, {} blocks of the same server against itself\n\n{}\n\ndisturbed (W07) is a trial in which something else \
         used more than {:.0} % of a CPU,\nor the hypervisor took more than {:.1} % of the CPU time (steal)",
        floor.cell,
        floor.blocks,
        table.trim_fmt(),
        floor.limits.foreign_cpus * 100.0,
        floor.limits.steal * 100.0
    )
}
