//! Results for people and for other programs: tables, pages, charts, exports.

pub mod chart;
pub mod comparison;
pub mod costs;
pub mod export;
pub mod facts;
pub mod flame;
pub mod gate_words;
pub mod history;
pub mod load_hosts;
pub mod load_table;
pub mod page;
pub mod pull_request;
pub mod report;
pub mod run_json;
pub mod screen;
pub mod table;
pub mod varied;
pub mod write;
