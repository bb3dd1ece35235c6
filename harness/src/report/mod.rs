//! Results for people: tables and pages.

pub mod table;
