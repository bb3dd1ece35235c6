//! The values that a trial is made of and leaves behind: plain data, without a process or a socket.

pub mod arm;
pub mod disturbance;
pub mod gate_words;
pub mod histograms;
pub mod history;
pub mod instrumented;
pub mod latency_seconds;
pub mod load_hosts;
pub mod metrics;
pub mod network;
pub mod progress_line;
pub mod rate;
pub mod row;
pub mod server_host;
pub mod service;
pub mod stages;
pub mod timeline;
pub mod took;
pub mod transport;
pub mod workers;
pub mod workload;
