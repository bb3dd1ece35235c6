//! `run.json`: a run as one document, with what is made of its rows. Its schema is `schemas/run.schema.json`.

use crate::analysis::answer::Answer;
use crate::analysis::request_cost::{self, RequestCost};
use crate::analysis::stats::ranking::Ranking;
use crate::analysis::summary::{SummaryEntry, summarise};
use crate::base::error::{Failure, OrFail};
use crate::model::row::Row;
use crate::store::run::Run;
use crate::trial::environment::Environment;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::path::Path;

/// The schema of `run.json` that this program writes.
pub use crate::store::older::SCHEMA;

/// What `run.json` holds.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunDocument<'a> {
    /// The version of this document.
    schema: &'static str,
    /// The run's folder.
    run_dir: String,
    /// False when the run was interrupted, or is still going on.
    complete: bool,
    /// Where the run was made.
    #[schemars(with = "Environment")]
    environment: &'a Value,
    /// The trials that count.
    trials: &'a [Row],
    /// The medians of each arm under each workload.
    summary: Vec<SummaryEntry>,
    /// Who leads under each workload.
    ranking: &'a [Ranking],
    /// What the run says.
    answer: &'a Answer,
    /// What a request costs, where servers were looked into.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    request_costs: Vec<RequestCost>,
}

/// The text of `run.json` for a run in this folder.
pub fn run_json(run: &Run, answer: &Answer, folder: &Path) -> Result<String, Failure> {
    let document = RunDocument {
        schema: SCHEMA,
        run_dir: folder.display().to_string(),
        complete: run.complete,
        environment: &run.environment,
        trials: &run.rows,
        summary: summarise(&run.rows),
        ranking: &answer.rankings,
        answer,
        request_costs: request_cost::of_instrumented(&run.rows, &run.instrumented),
    };
    let text = serde_json::to_string_pretty(&document);
    text.map(|text| text + "\n").or_failed("run.json")
}
