//! Results for people: tables and pages.

pub mod comparison;
pub mod saved;
pub mod table;
