//! `tenk list`: the registry of models, and the scenarios, for people.

use crate::base::text::about;
use crate::cli::Cli;
use crate::cli::config;
use crate::plan::Plan;
use crate::plan::estimate;
use crate::plan::pace::Pace;
use clap::Parser;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use servers::models::{MODELS, Model};

/// All models, a line each, or with everything that the registry says of them.
pub fn list(long: bool) -> String {
    if long {
        return MODELS.iter().map(describe).collect::<Vec<_>>().join("\n");
    }
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["model", "aliases", "what it is"]);
    for model in MODELS {
        table.add_row([model.name, &model.aliases.join(", "), model.summary]);
    }
    format!("{}\n\n{}\n", table.trim_fmt(), scenarios())
}

/// The scenarios that this program brings with it, and how long each takes here.
fn scenarios() -> String {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_header(["scenario", "takes", "what it is"]);
    for scenario in config::shipped() {
        // Where one makes no sense, such as on a machine without its CPUs, its time is unknown.
        let plan = plan_of(&scenario.words);
        let takes = plan.map_or("n/a".into(), |mut plan| {
            plan.set_pace(Pace::kept());
            about(estimate::run(&plan))
        });
        table.add_row([scenario.name, takes, scenario.about]);
    }
    table.trim_fmt()
}

fn plan_of(words: &[String]) -> Option<Plan> {
    let words = std::iter::once("tenk").chain(words.iter().map(String::as_str));
    Plan::new(&Cli::try_parse_from(words).ok()?.run).ok()
}

fn describe(model: &Model) -> String {
    let mut text = format!("{}: {}\n  {}\n", model.name, model.family, model.summary);
    let aliases = model.aliases.join(", ");
    let man = model.man.join(", ");
    let design = model.unp.map(|n| format!("design {n}")).unwrap_or_default();
    let facts = [
        ("aliases", aliases.as_str()),
        ("readiness", &model.readiness.to_string()),
        ("unit", &model.unit.to_string()),
        ("accept", &model.accept.to_string()),
        ("placement", model.placement),
        ("UNP ch. 30", &design),
        ("wall", &model.wall.to_string()),
        ("see", &man),
    ];
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        text.push_str(&format!("  {name:<10} {value}\n"));
    }
    for variant in model.variants {
        text.push_str(&format!("  variant    {variant}: {}\n", variant.doc));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::answer::sentences::REQUESTS_FOR_P99;
    use crate::analysis::stats::pooled::will_tell;
    use crate::cmd::dry_run::USUAL_NOISE;

    #[test]
    fn the_documents_say_how_long_the_scenarios_take() {
        let usage = include_str!("../../../docs/USAGE.md");
        let line = |scenario: &config::Shipped| {
            let plan = plan_of(&scenario.words).unwrap();
            let time = about(estimate::run(&plan));
            format!("| `{}` | {} | {time} |", scenario.name, scenario.about)
        };
        let shipped = config::shipped();
        let lines = shipped.iter().map(line);
        let missing: Vec<String> = lines.filter(|line| !usage.contains(line)).collect();
        assert!(missing.is_empty(), "{missing:#?}");
    }

    /// What every shipped scenario tells in four of five runs.
    const TOLD: f64 = 0.15;

    #[test]
    fn every_scenario_has_the_fewest_blocks_that_tell_what_it_is_to_tell() {
        for scenario in config::shipped() {
            let plan = plan_of(&scenario.words).unwrap();
            let told = |blocks: usize| {
                let least = will_tell(plan.arms.len(), blocks, USUAL_NOISE.ln_1p());
                least.map_or(f64::INFINITY, f64::exp_m1)
            };
            let fewest = (2..100).find(|&blocks| told(blocks) <= TOLD);
            assert_eq!(fewest, Some(plan.repeat as usize), "{}", scenario.name);
            for load in plan.scenarios.iter().map(|s| &s.load) {
                let seconds = load.duration_ns as f64 / 1e9;
                let requests = load.rate_per_s.map(|rate| rate * seconds);
                assert!(
                    requests.is_none_or(|n| n > REQUESTS_FOR_P99),
                    "{} has no p99",
                    scenario.name
                );
            }
        }
    }

    #[test]
    fn both_lists_name_every_model() {
        let (short, long) = (list(false), list(true));
        for model in MODELS {
            assert!(short.contains(model.name) && short.contains(model.summary));
            assert!(long.contains(model.wall.name) && long.contains(&model.readiness.to_string()));
        }
    }
}
