//! The CPUs that a load's threads are pinned to.

use super::{CpuList, Load};
use crate::base::limits::{own_cpus, pin};

/// Whether `--cpus` names CPUs that threads can be pinned to.
///
/// # Errors
/// A sentence that names one that they cannot.
pub fn check_cpus(load: &Load) -> Result<(), String> {
    let before = own_cpus();
    let listed = load.cpus.iter().flat_map(|list| &list.0);
    let wrong = listed.copied().find(|cpu| !pin(&[*cpu as usize]));
    // What was allowed before is allowed again.
    pin(&before);
    match wrong {
        Some(cpu) => Err(format!(
            "--cpus {cpu}: there is no such CPU, or this process may not use it (it runs on {})",
            CpuList(before.iter().map(|cpu| *cpu as u32).collect())
        )),
        None => Ok(()),
    }
}

/// The CPU of each worker thread. Without `--cpus` the last of this process's
/// CPUs are taken; without `--threads` there is one thread for each CPU of
/// `--cpus`, or for half of this process's: on one machine the server needs the rest.
#[must_use]
pub fn worker_cpus(load: &Load) -> Vec<Option<usize>> {
    let listed = load
        .cpus
        .as_ref()
        .map(|list| list.0.iter().map(|cpu| *cpu as usize).collect::<Vec<_>>());
    let own = own_cpus();
    let default = match &listed {
        Some(list) => list.len(),
        None if load.target.is_local() => own.len() / 2,
        None => own.len(),
    };
    let threads = if load.threads > 0 {
        load.threads as usize
    } else {
        default.max(1)
    };
    let cpus = listed.unwrap_or_else(|| own[own.len().saturating_sub(threads)..].to_vec());
    (0..threads)
        .map(|thread| cpus.get(thread % cpus.len().max(1)).copied())
        .collect()
}
