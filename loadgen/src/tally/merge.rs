//! Several outcomes of one load become one: counters are summed, histograms of
//! one layout are added, nothing is averaged. Outcomes that differ in anything
//! but their segment are refused.

use std::collections::{BTreeMap, BTreeSet};

use super::blob;
use super::latency::Latency;
use super::lost::{lost_process, nothing_of};
use super::merge_failure;
use super::outcome::{Latencies, Outcome, Quantiles, SCHEMA, Second};
use super::second::{latency_of, second_of};
use super::stretch::Kept;
use super::verdict;
use crate::base::units::format_ns;
use crate::load::http::HttpLoad;
use crate::load::{Load, Processes, Segment};

/// How far apart windows may begin, as a share of their length: clocks of several hosts differ by milliseconds.
const TOGETHER: f64 = 0.1;

/// Joins the outcomes of all segments of a load. `supervised` as in [`verdict::judge`].
///
/// # Errors
/// A sentence that says which outcome does not belong to the others, which
/// segment is missing or doubled, or which histogram is damaged.
pub fn merge(outcomes: &[Outcome], supervised: bool) -> Result<Outcome, String> {
    let Some((first, rest)) = outcomes.split_first() else {
        return Err("there is nothing to merge".into());
    };
    check_alike(first, rest)?;
    let mut merged = first.clone();
    merged.load.segment = union(outcomes)?;
    merged.load.processes = Processes::Auto;
    for outcome in rest {
        add(&mut merged, outcome);
    }
    merge_latencies(&mut merged, outcomes)?;
    merged.series = merge_series(outcomes)?;
    merge_stages(&mut merged, rest)?;
    derive(&mut merged);
    let broken = [
        merged.connections.broken_laws(),
        merged.requests.broken_laws("window"),
    ]
    .concat();
    if let Some(law) = broken.first() {
        return Err(format!("the counts do not add up: {law}"));
    }
    merged.reasons = verdict::judge(&merged, supervised);
    merged.verdict = verdict::of_reasons(&merged.reasons);
    Ok(merged)
}

/// Derives rates and ratios from the sums.
pub fn derive(merged: &mut Outcome) {
    let window_s = merged.window_s;
    merged.connections.set_rate(window_s);
    merged.requests.set_rates(window_s);
    merged
        .generator
        .set_ratios(merged.requests.completed_halves.iter().sum(), window_s);
    merged.fairness.set_index();
}

fn add(merged: &mut Outcome, other: &Outcome) {
    merged.complete &= other.complete;
    merged.aborted = merged.aborted.take().or_else(|| other.aborted.clone());
    // What one of them is called by says nothing of the others.
    let labels = &other.load.labels;
    merged
        .load
        .labels
        .retain(|key, value| labels.get(key) == Some(value));
    merged.degraded |= other.degraded;
    merged.hosts.extend_from_slice(&other.hosts);
    let starts = [merged.window_start_unix_ns, other.window_start_unix_ns];
    merged.window_start_unix_ns = starts.into_iter().flatten().min();
    merged.window_s = merged.window_s.max(other.window_s);
    merged.ramp_s = merged.ramp_s.max(other.ramp_s);
    merged.connections.merge(&other.connections);
    merged.requests.merge(&other.requests);
    merged.whole_run.merge(&other.whole_run);
    if let (Some(tls), Some(other)) = (&mut merged.tls, &other.tls) {
        tls.merge(other);
    }
    merged.generator.merge(&other.generator);
    merged.fairness.merge(&other.fairness);
    other
        .failures
        .iter()
        .for_each(|failure| merge_failure(&mut merged.failures, failure));
}

/// What of a load must agree: all but the segment, the place it ran in and what it is called by.
fn common(load: &Load) -> Load {
    Load {
        segment: Segment::WHOLE,
        processes: Processes::Auto,
        threads: 0,
        cpus: None,
        start_at_unix_ns: None,
        labels: BTreeMap::new(),
        http: load.http.as_ref().map(HttpLoad::without_places),
        ..load.clone()
    }
}

/// Whether two loads are one and the same but for the segment, and the place they ran in.
#[must_use]
pub fn is_of_the_same_load(load: &Load, other: &Load) -> bool {
    common(load) == common(other)
}

fn check_alike(first: &Outcome, rest: &[Outcome]) -> Result<(), String> {
    for outcome in rest.iter().chain([first]) {
        let segment = outcome.load.segment;
        if outcome.schema != SCHEMA {
            return Err(format!(
                "segment {segment} has schema {:?}, not {SCHEMA:?}",
                outcome.schema
            ));
        }
        let plans =
            [first, outcome].map(|outcome| outcome.load.plan_digest.as_deref().unwrap_or("none"));
        if plans[0] != plans[1] {
            return Err(format!(
                "segment {} is of plan {}, segment {segment} of plan {}",
                first.load.segment, plans[0], plans[1]
            ));
        }
        if common(&outcome.load) != common(&first.load) {
            return Err(format!(
                "segment {segment} ran another load than segment {}: same flags and --seed?",
                first.load.segment
            ));
        }
    }
    Ok(())
}

/// The segments of a plan's load of which there is no outcome, each as one of which nothing is known.
#[must_use]
pub fn missing(outcomes: &[Outcome]) -> Vec<Outcome> {
    let Some(first) = outcomes.first() else {
        return Vec::new();
    };
    let count = first.load.segment.count;
    let held: BTreeSet<u32> = outcomes.iter().map(|o| o.load.segment.index).collect();
    let lost = (0..count)
        .filter(|index| !held.contains(index))
        .map(|index| {
            let segment = Segment { index, count };
            let load = Load {
                segment,
                ..first.load.clone()
            };
            let complaint = format!("segment {segment}: there is no outcome of it");
            let mut outcome = nothing_of(load);
            outcome.failures.push(lost_process("ramp", complaint));
            outcome
        });
    lost.collect()
}

/// Rates are added up, and that only of windows that were one and the same. Processes that were led through their
/// phases together need not be asked; files do.
///
/// # Errors
/// A sentence that names the segment that ran apart.
pub fn check_together(outcomes: &[Outcome]) -> Result<(), String> {
    let Some((first, rest)) = outcomes.split_first() else {
        return Ok(());
    };
    let Some(start_ns) = first.window_start_unix_ns else {
        return Ok(());
    };
    for outcome in rest {
        let apart_ns = outcome
            .window_start_unix_ns
            .map_or(0, |ns| ns.abs_diff(start_ns));
        if apart_ns as f64 > first.window_s * 1e9 * TOGETHER {
            return Err(format!(
                "the window of segment {} began {} away from that of segment {}: only what ran together can be \
                 added up (--start-at)",
                outcome.load.segment,
                format_ns(apart_ns),
                first.load.segment
            ));
        }
    }
    Ok(())
}

/// The segment that several together make up: connections c with c mod n = i.
fn union(outcomes: &[Outcome]) -> Result<Segment, String> {
    let mut indices: Vec<u32> = outcomes
        .iter()
        .map(|outcome| outcome.load.segment.index)
        .collect();
    indices.sort_unstable();
    let count = outcomes[0].load.segment.count;
    if let Some(other) = outcomes
        .iter()
        .find(|outcome| outcome.load.segment.count != count)
    {
        return Err(format!(
            "segment {} is of another division than segment {}",
            other.load.segment, outcomes[0].load.segment
        ));
    }
    if let Some(pair) = indices.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("segment {}/{count} is there twice", pair[0]));
    }
    let parts = indices.len() as u32;
    let step = count / parts;
    let whole = Segment {
        index: indices[0],
        count: step,
    };
    let expected = (0..parts).map(|part| whole.index + part * step);
    match expected
        .zip(&indices)
        .find(|(expected, found)| expected != *found)
    {
        Some((missing, _)) => Err(format!("segment {missing}/{count} is missing")),
        None if step * parts == count => Ok(whole),
        None => Err(format!(
            "{parts} of {count} segments are no regular part of the load; some are missing"
        )),
    }
}

fn merge_latencies(merged: &mut Outcome, outcomes: &[Outcome]) -> Result<(), String> {
    let mut blobs = BTreeMap::new();
    let mut quantiles = |name: &str, of: fn(&Outcome) -> &Quantiles| {
        let latency = merge_latency(outcomes, name, of)?;
        if !latency.histogram.is_empty() {
            blobs.insert(name.to_owned(), blob::encode(&latency.histogram));
        }
        Ok::<_, String>(latency.quantiles())
    };
    merged.latency_ns = Latencies {
        response: quantiles("response", |outcome| &outcome.latency_ns.response)?,
        service: quantiles("service", |outcome| &outcome.latency_ns.service)?,
        connect: quantiles("connect", |outcome| &outcome.latency_ns.connect)?,
        first_byte: quantiles("first_byte", |outcome| &outcome.latency_ns.first_byte)?,
        handshake: quantiles("handshake", |outcome| &outcome.latency_ns.handshake)?,
    };
    merged.schedule_slip_ns = quantiles("slip", |outcome| &outcome.schedule_slip_ns)?;
    merged.histograms = blobs;
    Ok(())
}

fn merge_latency(
    outcomes: &[Outcome],
    name: &str,
    of: fn(&Outcome) -> &Quantiles,
) -> Result<Latency, String> {
    let mut total = Latency::default();
    for outcome in outcomes {
        let said = |error: &dyn std::fmt::Display| {
            format!("segment {}, {name}: {error}", outcome.load.segment)
        };
        let quantiles = of(outcome);
        let histogram = outcome
            .histograms
            .get(name)
            .map(|text| blob::decode(text))
            .transpose()
            .map_err(|error| said(&error))?;
        let count = histogram.as_ref().map_or(0, hdrhistogram::Histogram::len);
        if count != quantiles.count {
            return Err(said(&format!(
                "the histogram holds {count} samples, the record says {}",
                quantiles.count
            )));
        }
        if let Some(histogram) = histogram {
            let (censored, censored_from) = (quantiles.censored, quantiles.censored_from);
            total.merge(&Latency {
                histogram,
                censored,
                censored_from,
            });
        }
    }
    Ok(total)
}

fn merge_stages(merged: &mut Outcome, rest: &[Outcome]) -> Result<(), String> {
    for outcome in rest {
        for (index, stage) in outcome.stages.iter().enumerate() {
            let Some(sum) = merged.stages.get_mut(index) else {
                merged.stages.push(stage.clone());
                continue;
            };
            let segment = outcome.load.segment;
            sum.merge(stage)
                .map_err(|error| format!("segment {segment}, stage {}: {error}", index + 1))?;
        }
    }
    Ok(())
}

/// One second of all outcomes at a time: however many there are, few histograms are in memory. Where one has joined its
/// seconds, all others' are joined as far.
fn merge_series(outcomes: &[Outcome]) -> Result<Vec<Second>, String> {
    let all = || outcomes.iter().flat_map(|outcome| &outcome.series);
    let longest_s = all().map(|second| second.length_s).max().unwrap_or(1);
    let width = longest_s.max(1).next_power_of_two();
    let mut seconds: BTreeMap<u64, Vec<(Segment, &Second)>> = BTreeMap::new();
    for outcome in outcomes {
        for second in &outcome.series {
            let pieces = seconds.entry(second.second / width).or_default();
            pieces.push((outcome.load.segment, second));
        }
    }
    let mut kept = Kept::default();
    for pieces in seconds.values() {
        kept.push(merge_pieces(pieces)?);
    }
    Ok(kept.into_seconds())
}

fn merge_pieces(pieces: &[(Segment, &Second)]) -> Result<Second, String> {
    let (mut latency, mut errors) = (Latency::default(), 0);
    let (mut first, mut end) = (u64::MAX, 0);
    for (segment, second) in pieces {
        let piece = latency_of(second)
            .map_err(|error| format!("segment {segment}, second {}: {error}", second.second))?;
        latency.merge(&piece);
        errors += second.errors;
        first = first.min(second.second);
        end = end.max(second.second.saturating_add(second.length_s));
    }
    Ok(Second {
        length_s: end - first,
        ..second_of(first, &latency, errors)
    })
}
