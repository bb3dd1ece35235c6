//! What the rows say: pure functions of what the store holds.

pub mod answer;
pub mod comparable;
pub mod decide;
pub mod history;
pub mod load_curve;
pub mod noise;
pub mod precision;
pub mod request_cost;
pub mod stats;
pub mod steadiness;
pub mod summary;
pub mod threshold;
