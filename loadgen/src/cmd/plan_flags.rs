//! `plan`'s flags.

use clap::{Args, Subcommand};

use crate::base::units::parse_duration;

/// `plan`'s flags.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct PlanCommand {
    /// What to make of a plan.
    #[command(subcommand)]
    pub make: Make,
}

/// What can be made of a plan.
#[derive(Subcommand, Clone, Debug, PartialEq)]
pub enum Make {
    /// Check a plan and say what it asks of each host, with its digest
    Show {
        /// The plan (JSON); - is stdin
        plan: std::path::PathBuf,
    },
    /// Print a batch script for sbatch: one job step with a task for each segment, never a job array
    Slurm(SlurmFlags),
    /// Print an Indexed Job and its ConfigMap for kubectl apply
    Kubernetes(KubernetesFlags),
}

/// How a plan becomes a Slurm script.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct SlurmFlags {
    /// The plan (JSON); - is stdin
    pub plan: std::path::PathBuf,
    /// Start so long after the job does, where the plan names no instant
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    pub start_in: std::time::Duration,
    /// The program on the hosts
    #[arg(long, value_name = "PATH", default_value = "tenk")]
    pub program: String,
}

/// How a plan becomes a Kubernetes manifest.
#[derive(Args, Clone, Debug, PartialEq)]
pub struct KubernetesFlags {
    /// The plan (JSON); - is stdin
    pub plan: std::path::PathBuf,
    /// The image, which has tenk as its entry point
    #[arg(long, value_name = "IMAGE")]
    pub image: String,
    /// The name of the Job
    #[arg(long, value_name = "NAME", default_value = "tenk-load", value_parser = parse_name)]
    pub name: String,
    /// Start so long after now, where the plan names no instant: all pods have to be ready by then
    #[arg(long, value_name = "TIME", default_value = "3m", value_parser = parse_duration)]
    pub start_in: std::time::Duration,
    /// CPU of each pod
    #[arg(long, value_name = "CPUS", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub cpu: u32,
    /// Memory of each pod, MiB
    #[arg(long, value_name = "MIB", default_value = "1024", value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    pub memory_mib: u32,
}

/// Reads the name of a Job: a DNS label (RFC 1123), short enough for the names of its pods.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = !text.is_empty()
        && text.len() <= 40
        && text.chars().all(is_inner)
        && !text.starts_with('-')
        && !text.ends_with('-');
    match is_label {
        true => Ok(text.into()),
        false => Err(format!(
            "`{text}`: lower-case letters, digits and - within, at most 40"
        )),
    }
}
