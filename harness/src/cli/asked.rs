//! What is asked of the servers, in a run as in a gate: every combination of these lists is a workload.

use crate::model::service::Service;
use crate::model::transport::Transport;
use clap::Args;
use loadgen::base::units::{parse_count, parse_duration};
use loadgen::load::PayloadSize;
use std::time::Duration;

/// What is asked of the servers.
#[derive(Args, Debug, Clone)]
pub struct AskedFlags {
    /// Connections, one or several numbers (10k = 10 000)
    #[arg(long, value_name = "COUNT,…", default_value = "50", value_delimiter = ',', value_parser = parse_count, help_heading = "What to compare")]
    pub conns: Vec<u64>,
    /// Requests before a connection is closed and replaced; absent: long-lived, 1: short-lived
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', value_parser = parse_count, help_heading = "What to compare")]
    pub requests_per_conn: Vec<u64>,
    /// Bytes per request [default: 64]
    #[arg(
        long,
        value_name = "BYTES,…",
        value_delimiter = ',',
        help_heading = "What to compare"
    )]
    pub payload: Vec<PayloadSize>,
    /// Silent connections beside the active ones
    #[arg(long, value_name = "COUNT,…", value_delimiter = ',', value_parser = parse_count, help_heading = "What to compare")]
    pub idle: Vec<u64>,
    /// What the servers do with bytes; sets the protocol [default: echo]
    #[arg(long, value_enum, help_heading = "What to compare")]
    pub service: Option<Service>,
    /// CPU work for every request, such as 50us or 400ns; calibrated once, the same iterations for every model
    #[arg(long, value_name = "TIME,…", value_delimiter = ',', value_parser = parse_duration, help_heading = "What to compare")]
    pub work: Vec<Duration>,
    /// A blocking call for every request, such as 1ms
    #[arg(long, value_name = "TIME,…", value_delimiter = ',', value_parser = parse_duration, help_heading = "What to compare")]
    pub block: Vec<Duration>,
    /// Over what clients come: tcp (127.0.0.1), tcp6 (::1) or unix; several compare every model over each of them
    /// (`epoll:transport=unix`) [default: tcp]
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        help_heading = "What to compare"
    )]
    pub transport: Vec<Transport>,
    /// Workers of models that have a pool, and processes or loops of those that have several
    #[arg(long, value_name = "COUNT", value_parser = parse_count, help_heading = "What to compare")]
    pub workers: Option<u64>,
}
