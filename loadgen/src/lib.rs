//! A TCP load generator that does not mislead.
//!
//! # Layout
//! - [`units`], [`flags`], [`load`]: from text to a validated value
//! - [`outcome`]: what a run returns, the record other programs read

pub mod flags;
pub mod load;
pub mod outcome;
pub mod units;
