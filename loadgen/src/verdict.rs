//! Whether a run is to be believed, by the codes a generator can judge by itself.
//!
//! A pure function of the outcome: whoever knows more, such as the server's CPU
//! use, adds to its reasons.

use crate::outcome::{Outcome, Reason, Verdict};
use crate::units::{format_count, format_ns};

/// Useful CPU share from which a generator counts as saturated.
pub const SATURATED: f64 = 0.95;

/// The verdict that reasons amount to: the worst of theirs.
#[must_use]
pub fn of_reasons(reasons: &[Reason]) -> Verdict {
    let weight = |reason: &Reason| match reason.code.as_str() {
        "W02" | "W04" | "W05" | "W09" | "W10" => Verdict::Invalid,
        _ => Verdict::Suspect,
    };
    reasons.iter().map(weight).max().unwrap_or_default()
}

/// Judges an outcome. A supervised generator leaves W01 to its supervisor, who
/// knows whether the server was saturated as well.
#[must_use]
pub fn judge(outcome: &Outcome, supervised: bool) -> Vec<Reason> {
    let checks = [
        (!supervised)
            .then(|| generator_saturated(outcome))
            .flatten(),
        load_not_delivered(outcome),
        schedule_slip(outcome),
        little(outcome),
        local_limits(outcome),
        not_steady(outcome),
        queue_overflow(outcome),
    ];
    checks.into_iter().flatten().collect()
}

fn reason(code: &str, text: String) -> Option<Reason> {
    Some(Reason {
        code: code.into(),
        text,
    })
}

fn generator_saturated(outcome: &Outcome) -> Option<Reason> {
    let used = outcome.generator.cpu_utilisation;
    if outcome.load.is_open_loop() || used < SATURATED {
        return None;
    }
    let text = format!(
        "the generator used {:.0} % of its CPUs: unless the server was saturated too, throughput is a lower bound",
        used * 100.0
    );
    reason("W01", text)
}

fn load_not_delivered(outcome: &Outcome) -> Option<Reason> {
    let (sent, offered) = (outcome.requests.sent, outcome.requests.offered);
    if !outcome.load.is_open_loop() || offered == 0 || sent as f64 / offered as f64 >= 0.99 {
        return None;
    }
    let text = format!(
        "{} of {} requests due were sent",
        format_count(sent),
        format_count(offered)
    );
    reason("W02", text)
}

fn schedule_slip(outcome: &Outcome) -> Option<Reason> {
    let slip = outcome.schedule_slip_ns.p99?;
    let response = outcome.latency_ns.response.p50?;
    if slip <= 100_000 || slip as f64 <= 0.1 * response as f64 {
        return None;
    }
    reason(
        "W03",
        format!(
            "requests left late: slip p99 {} beside a response p50 of {}",
            format_ns(slip),
            format_ns(response)
        ),
    )
}

/// Little's law, N = X·(R + Z), in a closed loop. Requests cut by the window's
/// edges disturb it by about R / window, so it is asked only of windows of 40 R and more, and
/// one stall of all connections by as much as its share of the window.
fn little(outcome: &Outcome) -> Option<Reason> {
    let load = &outcome.load;
    let failed = outcome.requests.timed_out
        + outcome.requests.mismatched
        + outcome.requests.failed.values().sum::<u64>();
    let undisturbed = outcome.fairness.starved_connections == 0
        && outcome.fairness.connections > 0
        && failed == 0;
    if load.is_open_loop()
        || load.churns()
        || load.protocol == crate::flags::ProtocolName::Discard
        || !undisturbed
        || !outcome.complete
    {
        return None;
    }
    let cycle_s = (outcome.latency_ns.service.mean? + load.think_ns) as f64 / 1e9;
    if cycle_s * 40.0 > outcome.window_s {
        return None;
    }
    let asked = (load.segment.share_of(load.conns) * load.pipeline) as f64;
    let seen = outcome.requests.per_s * cycle_s;
    let stall = outcome.latency_ns.service.max? as f64 / 1e9 / outcome.window_s;
    if (seen - asked).abs() <= (0.05 + stall) * asked {
        return None;
    }
    reason(
        "W04",
        format!(
            "{seen:.1} requests were in flight on average, {asked:.0} should have been (Little's law)"
        ),
    )
}

fn local_limits(outcome: &Outcome) -> Option<Reason> {
    let failures = &outcome.connections.local_failures;
    if failures.is_empty() {
        return None;
    }
    let words: Vec<String> = failures
        .iter()
        .map(|(name, count)| format!("{name} × {}", format_count(*count)))
        .collect();
    reason(
        "W05",
        format!("this machine's limits were met: {}", words.join(", ")),
    )
}

/// The halves of the window must agree to 10 %, chance (4 standard errors of a
/// count) allowed for.
fn not_steady(outcome: &Outcome) -> Option<Reason> {
    let [first, second] = outcome.requests.completed_halves;
    let total = (first + second) as f64;
    if total == 0.0 {
        return None;
    }
    let difference = (first as f64 - second as f64).abs() / (total / 2.0);
    if difference <= 0.1_f64.max(8.0 / total.sqrt()) {
        return None;
    }
    let text = format!(
        "the halves of the window differ by {:.0} %: {} and {} requests",
        difference * 100.0,
        format_count(first),
        format_count(second)
    );
    reason("W06", text)
}

fn queue_overflow(outcome: &Outcome) -> Option<Reason> {
    let overflows = outcome.connections.listen_overflows.unwrap_or(0);
    let retries = outcome.connections.syn_retries;
    if overflows == 0 && retries == 0 {
        return None;
    }
    let text = format!(
        "listen queue: {} overflows on this host, {} SYNs sent again; connect times near 1 s, 3 s and 7 s are the queue's, not the server model's",
        format_count(overflows),
        format_count(retries)
    );
    reason("W08", text)
}
