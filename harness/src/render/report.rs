//! What a report is made from.

use super::chart::canvas::Scale;
use super::chart::{Chart, Evidence};
use super::flame::Flame;
use super::gate_words::GateWords;
use crate::analysis::answer::Answer;
use crate::model::load_hosts::LoadHostRow;
use crate::model::row::Row;
use serde_json::Value;

/// What a report is made from.
pub struct Report<'a> {
    /// Rows and what stands beside them.
    pub evidence: Evidence<'a>,
    /// The `environment` of `run.json`.
    pub environment: &'a Value,
    /// What the run says.
    pub answer: &'a Answer,
    /// What else the reader must know.
    pub notes: Vec<String>,
    /// The hosts that the load came from, where those were others.
    pub hosts: &'a [LoadHostRow],
    /// What a gate says of it.
    pub gate: Option<&'a GateWords>,
}

/// A chart's drawings for the page on each of its scales, the one that is shown first in front.
pub type Drawings = Vec<(Scale, String)>;

/// What both reports are made from, computed once.
pub struct Made<'a> {
    /// The run.
    pub report: &'a Report<'a>,
    /// Its charts with their drawings.
    pub charts: Vec<(Chart, Drawings)>,
    /// Its flame graphs.
    pub flames: Vec<Flame>,
}

impl Made<'_> {
    /// The run's rows.
    pub fn rows(&self) -> &[Row] {
        self.report.evidence.rows
    }
}
