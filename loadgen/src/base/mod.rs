//! What everything else stands on: units, clocks, files, and what this machine allows.

pub mod address;
pub mod cache;
pub mod clock;
pub mod error;
pub mod file;
pub mod hash;
pub mod limits;
pub mod machine;
pub mod null_server;
pub mod syn;
pub mod sys;
pub mod text;
pub mod units;
