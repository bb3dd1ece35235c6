//! Whether a run is to be believed, by the codes a generator can judge by itself.
//!
//! A pure function of the outcome: whoever knows more, such as the server's CPU
//! use, adds to its reasons.

use super::code::Code;
use super::outcome::{Failure, HOST_LOST, Outcome, PROCESS_LOST, Reason, Requests, Verdict};
use crate::base::syn::listen_queue_in_words;
use crate::base::units::{format_count, format_ns};

/// Useful CPU share from which a generator counts as saturated.
pub const SATURATED: f64 = 0.95;

/// Share of the window that a generator may have been kept from running, or have paused, where requests are due at their
/// own times: beyond it p99 is its own.
const STALLED: f64 = 0.01;

/// The same in a closed loop, where nothing is due meanwhile, latencies are only connections ÷ throughput, and
/// throughput is lower by as much.
const STALLED_CLOSED: f64 = 0.05;

/// The part of a response percentile that may be the generator's own slip.
const SLIP_SHARE: f64 = 0.25;

/// No slip below this is seen: it is what a wake-up takes.
const SLIP_SEEN_NS: u64 = 100_000;

/// The verdict that reasons amount to: the worst of theirs.
#[must_use]
pub fn of_reasons(reasons: &[Reason]) -> Verdict {
    let weight = |reason: &Reason| match Code::parse(&reason.code) {
        Some(code) => code.verdict(),
        None => Verdict::Suspect,
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
        ended_early(outcome)
            .or_else(|| load_not_delivered(outcome))
            .or_else(|| not_replaced(outcome)),
        schedule_slip(outcome).or_else(|| stalled(outcome)),
        backed_off(outcome),
        nothing_answered(outcome).or_else(|| little(outcome)),
        local_limits(outcome),
        outcome
            .complete
            .then(|| {
                // A supervisor has several trials, whose drifts have one sign or have not.
                let alone = || (!supervised).then(|| not_steady(outcome)).flatten();
                window_too_short(outcome).or_else(alone)
            })
            .flatten(),
        queue_overflow(outcome),
        degraded(outcome),
    ];
    checks.into_iter().flatten().collect()
}

fn reason(code: Code, text: String) -> Option<Reason> {
    Some(Reason::new(code, text))
}

fn generator_saturated(outcome: &Outcome) -> Option<Reason> {
    let used = outcome.generator.cpu_utilisation;
    if outcome.load.is_open_loop() {
        return None;
    }
    if let Some(hosts) = saturated_hosts(outcome) {
        let text =
            format!("{hosts}: unless the server was saturated too, throughput is a lower bound");
        return reason(Code::W01, text);
    }
    if used < SATURATED {
        return None;
    }
    let text = format!(
        "the generator used {:.0} % of its CPUs: unless the server was saturated too, throughput is a lower bound",
        used * 100.0
    );
    reason(Code::W01, text)
}

/// What was measured until then is what made it end: no figure of the load that was asked for.
fn ended_early(outcome: &Outcome) -> Option<Reason> {
    let aborted = outcome.aborted.as_ref()?;
    let text = format!("the run was ended early, as --abort-on asks: {aborted}");
    reason(Code::W02, text)
}

/// Load hosts that used up their CPUs, by name: one of them is enough to make the sum a lower bound.
#[must_use]
pub fn saturated_hosts(outcome: &Outcome) -> Option<String> {
    let hosts = outcome.hosts.iter();
    let used_up = hosts.filter(|host| host.cpu_utilisation >= SATURATED);
    let words =
        used_up.map(|host| format!("{} ({:.0} %)", host.name, host.cpu_utilisation * 100.0));
    let words: Vec<String> = words.collect();
    (!words.is_empty()).then(|| format!("load hosts used up their CPUs: {}", words.join(", ")))
}

/// What was lost is said, tolerated or not; a merge names each loss.
fn degraded(outcome: &Outcome) -> Option<Reason> {
    let is_lost = |failure: &&Failure| [PROCESS_LOST, HOST_LOST].contains(&failure.kind.as_str());
    let lost = outcome.failures.iter().filter(is_lost);
    let lost = lost.map(|failure| (failure.count, failure.first.as_str()));
    let (counts, words): (Vec<u64>, Vec<&str>) = lost.filter(|_| outcome.degraded).unzip();
    if words.is_empty() {
        return None;
    }
    let text = format!(
        "degraded: {} part(s) of the load are lost, as was tolerated, and the figures are those of the others: {}",
        counts.iter().sum::<u64>(),
        words.join("; ")
    );
    reason(Code::W11, text)
}

fn load_not_delivered(outcome: &Outcome) -> Option<Reason> {
    if !outcome.load.is_open_loop() {
        return None;
    }
    let is_short = |requests: &Requests| (requests.sent as f64) < 0.99 * requests.offered as f64;
    let said = |requests: &Requests, where_: &str| {
        let (sent, offered) = (format_count(requests.sent), format_count(requests.offered));
        reason(
            Code::W02,
            format!("{sent} of {offered} requests due {where_}were sent"),
        )
    };
    if is_short(&outcome.requests) {
        return said(&outcome.requests, "");
    }
    // What a stage lacks may be little of the whole.
    let mut stages = outcome.stages.iter().enumerate();
    let (index, stage) = stages.find(|(_, stage)| is_short(&stage.requests))?;
    said(&stage.requests, &format!("in stage {} ", index + 1))
}

/// `--reconnect-rate` is a load of its own.
fn not_replaced(outcome: &Outcome) -> Option<Reason> {
    let connections = &outcome.connections;
    let (due, missed) = (connections.reconnects_due, connections.reconnects_missed);
    if missed as f64 <= 0.01 * due as f64 {
        return None;
    }
    let text = format!(
        "{} of {} connections due to be replaced were not: each slot has to be connected and served before its turn \
         comes again (--reconnect-rate)",
        format_count(missed),
        format_count(due)
    );
    reason(Code::W02, text)
}

/// Nothing was in flight that was ever answered: there is no figure that could be believed.
fn nothing_answered(outcome: &Outcome) -> Option<Reason> {
    let answered =
        outcome.requests.completed + outcome.requests.completed_halves.iter().sum::<u64>();
    if answered > 0 {
        return None;
    }
    reason(Code::W04, "no request was answered in the window".into())
}

/// A generator that did not run sent late whatever became due meanwhile, and took the time of what it had not read yet.
fn stalled(outcome: &Outcome) -> Option<Reason> {
    let generator = &outcome.generator;
    let share = generator.stalled_s / (outcome.window_s * generator.threads.max(1) as f64);
    let (most, holds) = match outcome.load.is_open_loop() {
        true => (STALLED, "latencies hold its own pauses"),
        false => (STALLED_CLOSED, "throughput is a lower bound"),
    };
    if share <= most || !share.is_finite() {
        return None;
    }
    let text = format!(
        "the generator did not run for {:.1} % of the window, up to {} at a time: {holds}",
        share * 100.0,
        format_ns(generator.longest_stall_ns)
    );
    reason(Code::W03, text)
}

/// A pause of this generator's own is no property of the server, though the server gave occasion to it.
fn backed_off(outcome: &Outcome) -> Option<Reason> {
    let active = outcome.load.segment.share_of(outcome.load.conns);
    let share = outcome.generator.backoff_s / (outcome.window_s * active.max(1) as f64);
    if share <= STALLED || !share.is_finite() {
        return None;
    }
    let text = format!(
        "for {:.1} % of the window the connections waited in pauses of the generator's own, 10 ms and up to 1.28 s after \
         each that could not be had or had answered nothing: the server was asked for less than it may give",
        share * 100.0
    );
    reason(Code::W03, text)
}

/// How late requests were sent beside how long they took, each at the same percentile: a response time runs from when
/// its request was due, so that of a percentile as much may be this generator's own as it was late in as many requests.
/// On a machine that others use as well one request in a hundred is always late, and says nothing of the median.
fn schedule_slip(outcome: &Outcome) -> Option<Reason> {
    let (slip, response) = (&outcome.schedule_slip_ns, &outcome.latency_ns.response);
    let pairs = [
        ("p50", slip.p50, response.p50),
        ("p90", slip.p90, response.p90),
        ("p99", slip.p99, response.p99),
    ];
    let spoilt = |(name, slip, response): (&'static str, Option<u64>, Option<u64>)| {
        let (slip, response) = (slip?, response?);
        let matters = slip > SLIP_SEEN_NS && slip as f64 > SLIP_SHARE * response as f64;
        matters.then_some((name, slip, response))
    };
    let (name, slip, response) = pairs.into_iter().find_map(spoilt)?;
    let text = format!(
        "requests left late: of the response {name} of {} up to {} may be the generator's own (slip {name})",
        format_ns(response),
        format_ns(slip)
    );
    reason(Code::W03, text)
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
        || load.conn_stages.is_some()
        // A server that closes makes pauses, whatever the load asked for.
        || outcome.connections.established > outcome.connections.requested
        || !load.is_answered()
        || !undisturbed
        || !outcome.complete
        // What lost parts had in flight was asked for, and is in no figure.
        || outcome.degraded
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
        Code::W04,
        format!(
            "{seen:.1} requests were in flight on average, {asked:.0} should have been (Little's law)"
        ),
    )
}

fn local_limits(outcome: &Outcome) -> Option<Reason> {
    let limits = outcome.connections.local_failures.iter();
    let limits: Vec<String> = limits
        .filter(|(name, _)| ![PROCESS_LOST, HOST_LOST].contains(&name.as_str()))
        .map(|(name, count)| {
            let mut failures = outcome.failures.iter();
            let first = failures.find(|f| f.stage == "local" && f.kind == *name);
            let first = first.map_or_else(String::new, |f| format!(" ({})", f.first));
            format!("{name} × {}{first}", format_count(*count))
        })
        .collect();
    let met = (!limits.is_empty())
        .then(|| format!("this machine's limits were met: {}", limits.join(", ")));
    let lost = outcome.failures.iter();
    let lost = lost.filter(|f| f.kind == PROCESS_LOST && !outcome.degraded);
    let lost = lost.map(|f| format!("{} of the generator's processes lost: {}", f.count, f.first));
    let hosts = outcome
        .failures
        .iter()
        .filter(|f| f.kind == HOST_LOST && !outcome.degraded);
    let hosts = hosts.map(|f| format!("{} of the load hosts lost: {}", f.count, f.first));
    let words: Vec<String> = met.into_iter().chain(lost).chain(hosts).collect();
    (!words.is_empty()).then(|| reason(Code::W05, words.join("; ")))?
}

/// All connections of a closed loop begin at once; a window in which not even one request of each was answered
/// shows a part of that first wave, whatever its halves are.
fn window_too_short(outcome: &Outcome) -> Option<Reason> {
    let load = &outcome.load;
    let answered: u64 = outcome.requests.completed_halves.iter().sum();
    let active = load
        .segment
        .share_of(load.conns)
        .min(outcome.connections.served_at_barrier);
    let changes = load.churns() || load.conn_stages.is_some();
    if load.is_open_loop() || changes || answered == 0 || answered >= active {
        return None;
    }
    let text = format!(
        "{} requests were answered in the window, less than one for each of {} connections: a longer --warmup and \
         --duration would show more than their first",
        format_count(answered),
        format_count(active)
    );
    reason(Code::W06, text)
}

/// The halves of the window must agree to 10 %, chance (4 standard errors of a
/// count) allowed for.
fn not_steady(outcome: &Outcome) -> Option<Reason> {
    let [first, second] = outcome.requests.completed_halves;
    let total = (first + second) as f64;
    // A load that changes by plan is not meant to be steady.
    if total == 0.0 || outcome.load.any_stages().is_some() {
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
    reason(Code::W06, text)
}

fn queue_overflow(outcome: &Outcome) -> Option<Reason> {
    let overflows = outcome.connections.listen_overflows.unwrap_or(0);
    let retries = outcome.connections.syn_retries.unwrap_or(0);
    if overflows == 0 && retries == 0 {
        return None;
    }
    let counted =
        |count: Option<u64>| count.map_or_else(|| "an unknown number of".into(), format_count);
    let text = format!(
        "listen queue: {} overflows on this host, {} SYNs sent again by these connections ({} SYNs and SYN-ACKs by \
         the host); {}",
        counted(outcome.connections.listen_overflows),
        format_count(retries),
        counted(outcome.connections.syn_retransmits),
        listen_queue_in_words(&outcome.connections.syn_sent_again_after_s),
    );
    reason(Code::W08, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;
    use crate::load::flags::{LoadFlags, RunFlags, ShapeFlags};
    use crate::tally::outcome::{HostFigures, Quantiles};

    /// Ten long-lived connections: 10 000 requests of 1 ms in a window of a second.
    fn outcome(rate: Option<f64>) -> Outcome {
        let shape = ShapeFlags {
            conns: 10,
            rate,
            ..ShapeFlags::default()
        };
        let (flags, times) = (LoadFlags::default(), RunFlags::default());
        let load = Load::new("127.0.0.1:1", &shape, &flags, &times).expect("a valid load");
        let mut outcome = Outcome {
            complete: true,
            window_s: 1.0,
            ..Outcome::of_nothing(load)
        };
        outcome.connections.requested = 10;
        outcome.connections.served_at_barrier = 10;
        outcome.connections.listen_overflows = Some(0);
        outcome.generator.threads = 1;
        outcome.requests.completed_halves = [5000, 5000];
        outcome.requests.per_s = 10_000.0;
        (outcome.requests.offered, outcome.requests.sent) = (10_000, 10_000);
        outcome.fairness.connections = 10;
        outcome.latency_ns.service = all_at(1_000_000);
        outcome.latency_ns.response = all_at(1_000_000);
        outcome
    }

    fn all_at(ns: u64) -> Quantiles {
        Quantiles {
            count: 10_000,
            p50: Some(ns),
            p99: Some(ns),
            max: Some(ns),
            mean: Some(ns),
            ..Quantiles::default()
        }
    }

    /// The codes that an outcome earns once it is changed.
    fn codes(rate: Option<f64>, change: impl Fn(&mut Outcome)) -> Vec<String> {
        let mut outcome = outcome(rate);
        change(&mut outcome);
        let reasons = judge(&outcome, false);
        reasons.into_iter().map(|reason| reason.code).collect()
    }

    const CLOSED: Option<f64> = None;
    const OPEN: Option<f64> = Some(10_000.0);

    /// One host that is full makes the sum a lower bound, whatever the others have left.
    #[test]
    fn a_load_host_near_saturation_is_named() {
        let verdict_of = |rate: Option<f64>, utilisation: f64| {
            let mut outcome = outcome(rate);
            outcome.generator.cpu_utilisation = 0.5;
            let host = |name: &str, cpu_utilisation: f64| HostFigures {
                name: name.into(),
                cpu_utilisation,
                ..HostFigures::of(&outcome)
            };
            outcome.hosts = vec![host("h1", 0.2), host("h2", utilisation)];
            generator_saturated(&outcome)
        };
        let reason = verdict_of(None, 0.99).expect("h2 is full");
        assert_eq!(reason.code, Code::W01.name());
        let expected = "load hosts used up their CPUs: h2 (99 %): ";
        assert!(reason.text.starts_with(expected), "{}", reason.text);
        assert!(verdict_of(None, 0.5).is_none());
        // In an open loop lateness tells.
        assert!(verdict_of(Some(10_000.0), 0.99).is_none());
    }

    #[test]
    fn a_tolerated_loss_makes_suspect_and_not_invalid() {
        let mut lost = outcome(None);
        lost.requests.completed_halves = [3300, 3300];
        lost.requests.per_s = 6600.0;
        let of = |outcome: &Outcome| of_reasons(&judge(outcome, true));
        assert_eq!(of(&lost), Verdict::Invalid, "a third is not in flight");
        lost.degraded = true;
        lost.connections.local_failures = [(HOST_LOST.into(), 3)].into();
        lost.failures = vec![crate::tally::lost::lost_host("h2: gone".into())];
        let reasons = judge(&lost, true);
        assert_eq!(of_reasons(&reasons), Verdict::Suspect, "{reasons:?}");
        assert!(reasons[0].text.contains("h2: gone"), "{reasons:?}");
    }

    #[test]
    fn an_undisturbed_run_is_valid() {
        assert!(codes(CLOSED, |_| ()).is_empty());
        assert!(codes(OPEN, |_| ()).is_empty());
        assert_eq!(of_reasons(&[]), Verdict::Valid);
    }

    #[test]
    fn each_code_begins_where_its_rule_says() {
        let busy = |used| move |o: &mut Outcome| o.generator.cpu_utilisation = used;
        assert!(codes(CLOSED, busy(0.94)).is_empty());
        assert_eq!(codes(CLOSED, busy(0.95)), ["W01"]);
        assert!(codes(OPEN, busy(1.0)).is_empty());

        let sent = |sent| move |o: &mut Outcome| o.requests.sent = sent;
        assert!(codes(OPEN, sent(9900)).is_empty());
        assert_eq!(codes(OPEN, sent(9899)), ["W02"]);

        let slip = |ns| move |o: &mut Outcome| o.schedule_slip_ns = all_at(ns);
        assert!(codes(OPEN, slip(250_000)).is_empty());
        assert_eq!(codes(OPEN, slip(250_001)), ["W03"]);

        let stalled = |seconds| move |o: &mut Outcome| o.generator.stalled_s = seconds;
        assert!(codes(OPEN, stalled(0.01)).is_empty() && codes(CLOSED, stalled(0.05)).is_empty());
        assert_eq!(codes(OPEN, stalled(0.011)), ["W03"]);
        assert_eq!(codes(CLOSED, stalled(0.051)), ["W03"]);

        let mean = |ns| move |o: &mut Outcome| o.latency_ns.service.mean = Some(ns);
        assert!(codes(CLOSED, mean(950_000)).is_empty());
        assert_eq!(codes(CLOSED, mean(940_000)), ["W04"]);

        let halves = |halves| move |o: &mut Outcome| o.requests.completed_halves = halves;
        assert!(codes(CLOSED, halves([5250, 4750])).is_empty());
        assert_eq!(codes(CLOSED, halves([5300, 4700])), ["W06"]);
    }

    #[test]
    fn a_few_late_requests_do_not_spoil_a_median_nor_a_tail_that_is_longer() {
        let at = |p50, p99| Quantiles {
            p50: Some(p50),
            p99: Some(p99),
            ..all_at(p50)
        };
        // A busy machine: one request in a hundred left 0.3 ms late, beside a p50 of 50 µs and a p99 of 2 ms.
        let busy = |slip_p99| {
            move |o: &mut Outcome| {
                o.schedule_slip_ns = at(5_000, slip_p99);
                o.latency_ns.response = at(50_000, 2_000_000);
            }
        };
        assert!(codes(OPEN, busy(300_000)).is_empty());
        assert_eq!(codes(OPEN, busy(600_000)), ["W03"]);
        // Lateness that no percentile shows as its own is none.
        let quick = |o: &mut Outcome| {
            o.schedule_slip_ns = at(40_000, 90_000);
            o.latency_ns.response = at(50_000, 120_000);
        };
        assert!(codes(OPEN, quick).is_empty());
    }

    #[test]
    fn a_closed_loop_must_answer_everybody_once() {
        let answered = |halves| move |o: &mut Outcome| o.requests.completed_halves = halves;
        assert!(codes(CLOSED, answered([5, 5])).is_empty());
        assert_eq!(codes(CLOSED, answered([5, 4])), ["W06"]);
        assert!(codes(OPEN, answered([5, 4])).is_empty());
    }

    #[test]
    fn pauses_of_the_generator_are_named() {
        let paused = |seconds| move |o: &mut Outcome| o.generator.backoff_s = seconds;
        assert!(codes(CLOSED, paused(0.1)).is_empty());
        assert_eq!(codes(CLOSED, paused(0.101)), ["W03"]);
        assert_eq!(codes(OPEN, paused(0.101)), ["W03"]);
    }

    #[test]
    fn limits_and_queues_are_named() {
        let met = codes(CLOSED, |o| {
            o.connections.local_failures.insert("EMFILE".into(), 3);
        });
        assert_eq!(met, ["W05"]);
        let replaced = |missed| {
            move |o: &mut Outcome| {
                (
                    o.connections.reconnects_due,
                    o.connections.reconnects_missed,
                ) = (1000, missed);
            }
        };
        assert!(codes(CLOSED, replaced(10)).is_empty());
        assert_eq!(codes(CLOSED, replaced(11)), ["W02"]);
        assert_eq!(
            codes(CLOSED, |o| o.connections.syn_retries = Some(1)),
            ["W08"]
        );
        assert_eq!(
            codes(CLOSED, |o| o.connections.listen_overflows = Some(1)),
            ["W08"]
        );
    }

    #[test]
    fn an_overflow_is_told_with_the_times_of_the_settings_in_force_and_no_count_that_was_not_made()
    {
        let text = |times: &[u64]| {
            let mut outcome = outcome(CLOSED);
            outcome.connections.syn_retries = Some(2);
            outcome.connections.syn_sent_again_after_s = times.to_vec();
            outcome.connections.syn_retransmits = None;
            judge(&outcome, false).remove(0).text
        };
        assert!(text(&[1, 2, 3]).contains("times near 1 s, 2 s and 3 s are the kernel's"));
        assert!(text(&[1, 3, 7]).contains("times near 1 s, 3 s and 7 s are the kernel's"));
        assert!(text(&[1]).contains("the first byte is late instead"));
        assert!(text(&[1]).contains("an unknown number of SYNs and SYN-ACKs"));
    }

    #[test]
    fn the_worst_reason_decides() {
        let of = |codes: &[Code]| {
            let reasons = codes.iter().filter_map(|code| reason(*code, String::new()));
            of_reasons(&reasons.collect::<Vec<_>>())
        };
        assert_eq!(of(&[Code::W06, Code::W08]), Verdict::Suspect);
        assert_eq!(of(&[Code::W06, Code::W02]), Verdict::Invalid);
    }
}
