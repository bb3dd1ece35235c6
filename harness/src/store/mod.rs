//! The run folder: how a run is kept, and how any run is read back.

pub mod folder;
pub mod load_rows;
pub mod read_back;
