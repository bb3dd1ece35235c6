//! The run folder. A trial is kept once, as a line of `trials.jsonl`; every other file is made from these lines.
//! Runs of older versions, which have `run.json` and `trials.csv` instead, are read as well.

pub mod folder;
pub mod history;
pub mod interval_log;
pub mod journal;
pub mod line;
mod lines;
pub mod older;
pub mod read;
pub mod run;
pub mod saved;
mod table;
