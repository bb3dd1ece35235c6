//! Results for people: tables and pages.

pub mod answer;
pub mod comparison;
pub mod hand_over;
pub mod page;
pub mod pull_request;
pub mod read_back;
pub mod saved;
pub mod table;
pub mod varied;
pub mod write;
