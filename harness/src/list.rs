//! `harness list`: the registry of models for people.

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
    table.trim_fmt() + "\n"
}

fn describe(model: &Model) -> String {
    let mut text = format!("{}: {}\n  {}\n", model.name, model.family, model.summary);
    let aliases = model.aliases.join(", ");
    let man = model.man.join(", ");
    let design = model.unp.map(|n| format!("design {n}")).unwrap_or_default();
    let facts = [
        ("aliases", aliases.as_str()),
        ("readiness", model.readiness),
        ("unit", model.unit),
        ("accept", model.accept),
        ("placement", model.placement),
        ("UNP ch. 30", &design),
        ("wall", model.wall),
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

    #[test]
    fn both_lists_name_every_model() {
        let (short, long) = (list(false), list(true));
        for model in MODELS {
            assert!(short.contains(model.name) && short.contains(model.summary));
            assert!(long.contains(model.wall) && long.contains(model.readiness));
        }
    }
}
