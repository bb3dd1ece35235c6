//! One axis of a chart: how its values become positions, where its ticks are, and what they say.

use super::Series;
use crate::base::unit::Unit;
use serde::Serialize;

/// How values become positions along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// From zero.
    Linear,
    /// In decades; only positive values can be shown.
    Log,
}

/// One axis: its scale, its range and its words.
#[derive(Debug, Clone, Serialize)]
pub struct Axis {
    /// What is shown.
    pub label: String,
    /// What its values are.
    pub unit: Unit,
    /// Linear or logarithmic.
    pub scale: Scale,
    /// The first and the last value shown.
    pub range: (f64, f64),
    /// Where the ticks are, and what they say.
    pub ticks: Vec<(f64, String)>,
    /// Where no server can be seen.
    pub shade: Option<Shade>,
}

/// The part of an axis that lies beyond what the generator itself can do: no server is seen there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shade {
    /// Where it begins.
    pub from: f64,
    /// Whether it lies above that, or below.
    pub above: bool,
    /// What it is.
    pub label: String,
}

impl Axis {
    /// An axis for the parts of a whole, in percent, with a tick at every quarter.
    pub fn of_shares(label: &str) -> Axis {
        let ticks = [0.0, 25.0, 50.0, 75.0, 100.0].map(|share| (share, format!("{share} %")));
        Axis {
            label: label.to_string(),
            unit: Unit::Percent,
            scale: Scale::Linear,
            range: (0.0, 100.0),
            ticks: ticks.into(),
            shade: None,
        }
    }

    /// An axis that holds all values, with ticks at 1, 2 and 5 times powers of ten.
    pub fn over(label: &str, scale: Scale, values: impl Iterator<Item = f64>, unit: Unit) -> Axis {
        let usable = values.filter(|v| v.is_finite() && (*v > 0.0 || scale == Scale::Linear));
        let (low, high) = usable.fold((f64::INFINITY, 0.0f64), |(l, h), v| (l.min(v), h.max(v)));
        let (range, ticks) = match scale {
            Scale::Linear => linear_ticks(if high > 0.0 { high } else { 1.0 }, unit.steps()),
            Scale::Log if low.is_finite() && unit == Unit::Bytes => binary_ticks(low, high),
            Scale::Log if low.is_finite() => log_ticks(low, high),
            Scale::Log => log_ticks(1.0, 10.0),
        };
        let words = |t: f64| if t == 0.0 { "0".into() } else { unit.words(t) };
        let ticks = ticks.into_iter().map(|t| (t, words(t))).collect();
        Axis {
            label: label.to_string(),
            unit,
            scale,
            range,
            ticks,
            shade: None,
        }
    }

    /// The same axis linear where it is logarithmic, and the other way round; none where nothing could be shown.
    pub fn on_other_scale(&self, series: &[Series]) -> Option<Axis> {
        let scale = match self.scale {
            Scale::Linear => Scale::Log,
            Scale::Log => Scale::Linear,
        };
        let points = series.iter().flat_map(|s| &s.points);
        let ends = points.flat_map(|p| [Some(p.y), p.range.map(|r| r.0), p.range.map(|r| r.1)]);
        let limit = self.shade.as_ref().map(|shade| shade.from);
        let values: Vec<f64> = ends.flatten().chain(limit).collect();
        let usable = values.iter().any(|v| v.is_finite() && *v > 0.0);
        let axis = || Axis::over(&self.label, scale, values.iter().copied(), self.unit);
        usable.then(|| axis().shaded(self.shade.clone()))
    }

    /// The same with a part of it shaded.
    pub fn shaded(self, shade: Option<Shade>) -> Axis {
        Axis { shade, ..self }
    }

    /// Where a value lies between the ends of the axis, 0 to 1; `None` when it cannot be shown.
    pub(super) fn fraction(&self, value: f64) -> Option<f64> {
        let place = |v: f64| match self.scale {
            Scale::Linear => v,
            Scale::Log => v.log10(),
        };
        let (low, high) = (place(self.range.0), place(self.range.1));
        let fraction = (place(value) - low) / (high - low);
        (fraction.is_finite() && (-1e-9..=1.0 + 1e-9).contains(&fraction)).then_some(fraction)
    }
}

/// Zero to a little above `high`, in three to five round steps: multiples of a power of the base. The axis does not
/// go on to the next step: that could leave half of the chart empty.
fn linear_ticks(high: f64, (base, multiples): (f64, &[f64])) -> ((f64, f64), Vec<f64>) {
    let rough = high / 5.0;
    let power = base.powf(rough.log(base).floor());
    let step = multiples
        .iter()
        .map(|m| m * power)
        .find(|s| *s >= rough)
        .unwrap_or(base * power);
    let count = (high / step * 1.000_001) as usize;
    let ticks: Vec<f64> = (0..=count).map(|i| i as f64 * step).collect();
    ((0.0, high * 1.05), ticks)
}

/// From the step at or below `low` to the one at or above `high`; the finest steps that are not too many.
fn log_ticks(low: f64, high: f64) -> ((f64, f64), Vec<f64>) {
    const MOST: usize = 8;
    let steps = |multiples: &[f64]| -> Vec<f64> {
        let first = low.log10().floor() as i32;
        let last = high.log10().ceil() as i32;
        let all = (first..=last).flat_map(|e| multiples.iter().map(move |m| m * 10f64.powi(e)));
        let all: Vec<f64> = all.collect();
        let from = all.iter().rposition(|t| *t <= low * 1.000_001).unwrap_or(0);
        let to = all
            .iter()
            .position(|t| *t >= high * 0.999_999)
            .unwrap_or(all.len() - 1);
        all[from..=to.max(from + 1).min(all.len() - 1)].to_vec()
    };
    let candidates: [&[f64]; 3] = [&[1.0, 1.5, 2.0, 3.0, 5.0, 7.0], &[1.0, 2.0, 5.0], &[1.0]];
    let ticks = candidates
        .iter()
        .map(|multiples| steps(multiples))
        .find(|ticks| ticks.len() <= MOST)
        .unwrap_or_else(|| steps(&[1.0]));
    let range = (ticks[0], ticks[ticks.len() - 1]);
    (range, ticks)
}

/// Powers of 2, 4, 16 or 256 around both ends, the finest that are not too many.
fn binary_ticks(low: f64, high: f64) -> ((f64, f64), Vec<f64>) {
    let steps = |bits: f64| {
        let first = (low.log2() / bits).floor() as i32;
        let last = ((high.log2() / bits).ceil() as i32).max(first + 1);
        let ticks = (first..=last).map(|n| (bits * f64::from(n)).exp2());
        ticks.collect::<Vec<f64>>()
    };
    let finest = [1.0, 2.0, 4.0]
        .map(steps)
        .into_iter()
        .find(|ticks| ticks.len() <= 8);
    let ticks = finest.unwrap_or_else(|| steps(8.0));
    ((ticks[0], ticks[ticks.len() - 1]), ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_axes_hold_their_values_and_have_several_ticks() {
        for (low, high) in [(50.0, 1000.0), (3.0, 4.0), (1.0, 1e6), (10.0, 10.0)] {
            let (range, ticks) = log_ticks(low, high);
            assert!(
                range.0 <= low && range.1 >= high,
                "{low}..{high}: {range:?}"
            );
            assert!((2..=8).contains(&ticks.len()), "{low}..{high}: {ticks:?}");
        }
    }

    #[test]
    fn linear_axes_start_at_zero() {
        let ((low, high), ticks) = linear_ticks(134_000.0, Unit::Count.steps());
        assert_eq!((low, ticks[0]), (0.0, 0.0));
        assert!(high >= 134_000.0 && (3..=7).contains(&ticks.len()));
        for most in [1.0, 3.0, 206_000.0, 1e9] {
            let ((_, high), ticks) = linear_ticks(most, Unit::Count.steps());
            assert!((most..most * 1.1).contains(&high) && (3..=6).contains(&ticks.len()));
            assert!(ticks.iter().all(|tick| *tick <= high), "{ticks:?}");
        }
    }

    #[test]
    fn what_cannot_be_placed_has_no_place() {
        let axis = Axis::over("x", Scale::Log, [1.0, 100.0].into_iter(), Unit::Count);
        assert_eq!(axis.fraction(0.0), None);
        assert_eq!(axis.fraction(f64::NAN), None);
        assert_eq!(axis.fraction(1000.0), None);
        assert_eq!(axis.fraction(10.0), Some(0.5));
    }

    #[test]
    fn bytes_have_binary_ticks() {
        let axis = Axis::over("v", Scale::Log, [700.0, 150_000.0].into_iter(), Unit::Bytes);
        let words: Vec<&str> = axis.ticks.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(
            words,
            ["256 B", "1 KiB", "4 KiB", "16 KiB", "64 KiB", "256 KiB"]
        );
        let axis = Axis::over("v", Scale::Linear, [4500.0].into_iter(), Unit::Bytes);
        let words: Vec<&str> = axis.ticks.iter().map(|(_, words)| words.as_str()).collect();
        assert_eq!(words, ["0", "1 KiB", "2 KiB", "3 KiB", "4 KiB"]);
    }
}
