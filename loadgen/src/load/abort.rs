//! Conditions under which a run ends early: `errors>1% over 5s`, `response_p99_ns>50ms over 10s`.
//!
//! Grammar: METRIC OP VALUE over TIME. METRIC is `errors`, a cause of failure (`TIMEOUT`, `ECONNRESET`, …), `rate`, or
//! a quantile of the response time, the service time or the slip; OP is one of `< <= > >=`; TIME is whole seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::units::{as_ns, parse_count, parse_duration, parse_rate};

/// The most conditions of one run.
pub const MAX_CONDITIONS: usize = 16;

/// The longest time a condition may look back, in seconds.
pub const MAX_OVER_S: u64 = 3600;

/// What latencies a condition may be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Response times.
    Response,
    /// Service times.
    Service,
    /// How late requests were sent.
    Slip,
}

impl Kind {
    const ALL: [(&str, Self); 3] = [
        ("response", Self::Response),
        ("service", Self::Service),
        ("slip", Self::Slip),
    ];
}

/// The parts of a distribution a condition may be about.
const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p999", 0.999),
    ("max", 1.0),
];

/// What a condition is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Metric {
    /// Requests and connections that failed.
    Errors,
    /// Of those, the ones with this cause.
    Cause(String),
    /// Requests completed per second.
    Rate,
    /// A quantile of latencies; 1 is the largest of them.
    Latency(Kind, f64),
}

/// The value that a metric is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// A share in percent: of all that ended, for failures; of the rate asked for, for a rate.
    Percent(f64),
    /// A number of failures.
    Count(u64),
    /// Requests per second.
    PerS(f64),
    /// A time, in nanoseconds.
    Ns(u64),
}

/// How the metric compares with its limit when the condition is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<=`
    AtMost,
    /// `>=`
    AtLeast,
    /// `<`
    Less,
    /// `>`
    More,
}

impl Comparison {
    /// Longer signs before those they begin with.
    const ALL: [(&str, Self); 4] = [
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("<", Self::Less),
        (">", Self::More),
    ];

    /// Whether it holds between a value and its limit.
    #[must_use]
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Self::AtMost => value <= limit,
            Self::AtLeast => value >= limit,
            Self::Less => value < limit,
            Self::More => value > limit,
        }
    }

    /// Whether it speaks of values above the limit, which a lower bound may prove.
    #[must_use]
    pub fn is_above(self) -> bool {
        matches!(self, Self::AtLeast | Self::More)
    }
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct Condition {
    /// Of what.
    pub metric: Metric,
    /// How.
    pub comparison: Comparison,
    /// Compared with what.
    pub limit: Limit,
    /// Over how many seconds, at least 1.
    pub over_s: u64,
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (comparison, over) = text
            .split_once(" over ")
            .ok_or_else(|| format!("`{text}` has no time: try `{} over 5s`", text.trim()))?;
        let at = comparison
            .find(['<', '>'])
            .ok_or_else(|| format!("`{text}` has no comparison, one of < <= > >="))?;
        let (name, rest) = comparison.split_at(at);
        let (sign, sense) = Comparison::ALL
            .into_iter()
            .find(|(sign, _)| rest.starts_with(sign))
            .ok_or_else(|| format!("`{text}` has no comparison, one of < <= > >="))?;
        let metric = metric_of(name.trim())?;
        Ok(Self {
            limit: limit_of(&metric, rest[sign.len()..].trim())?,
            metric,
            comparison: sense,
            over_s: whole_seconds(over.trim())?,
        })
    }
}

fn metric_of(name: &str) -> Result<Metric, String> {
    match name {
        "errors" => return Ok(Metric::Errors),
        "rate" => return Ok(Metric::Rate),
        _ => {}
    }
    let is_cause = name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.len() <= 32
        && name
            .bytes()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == b'_');
    if is_cause {
        return Ok(Metric::Cause(name.into()));
    }
    let latency = || {
        let (kind, quantile) = name.strip_suffix("_ns")?.split_once('_')?;
        let (_, kind) = Kind::ALL.into_iter().find(|(known, _)| *known == kind)?;
        let (_, q) = QUANTILES
            .into_iter()
            .find(|(known, _)| *known == quantile)?;
        Some(Metric::Latency(kind, q))
    };
    latency().ok_or_else(|| {
        format!(
            "`{name}` is none of errors, rate, a cause of failure such as TIMEOUT or ECONNRESET, \
             response_p99_ns, service_p99_ns, slip_p99_ns (p50, p90, p99, p999, max)"
        )
    })
}

fn limit_of(metric: &Metric, text: &str) -> Result<Limit, String> {
    if let Some(percent) = text.strip_suffix('%')
        && !matches!(metric, Metric::Latency(..))
    {
        let percent = percent.trim().parse::<f64>().ok();
        let known = percent.filter(|percent| (0.0..=1e4).contains(percent));
        return known
            .map(Limit::Percent)
            .ok_or_else(|| format!("`{text}` is no share, such as 1%"));
    }
    match metric {
        Metric::Errors | Metric::Cause(_) => parse_count(text).map(Limit::Count),
        Metric::Rate => parse_rate(text).map(Limit::PerS),
        Metric::Latency(..) => match text.parse() {
            Ok(ns) => Ok(Limit::Ns(ns)),
            Err(_) => parse_duration(text).map(as_ns).map(Limit::Ns),
        },
    }
}

fn whole_seconds(text: &str) -> Result<u64, String> {
    let duration = parse_duration(text)?;
    match (duration.as_secs(), duration.subsec_nanos()) {
        (seconds @ 1..=MAX_OVER_S, 0) => Ok(seconds),
        _ => Err(format!(
            "over {text}: whole seconds, from 1s to {MAX_OVER_S}s"
        )),
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Errors => f.write_str("errors"),
            Self::Rate => f.write_str("rate"),
            Self::Cause(cause) => f.write_str(cause),
            Self::Latency(kind, quantile) => {
                let kind = Kind::ALL.iter().find(|(_, known)| known == kind);
                let quantile = QUANTILES.iter().find(|(_, known)| known == quantile);
                let names = kind.zip(quantile).map(|((kind, _), (q, _))| (kind, q));
                let (kind, quantile) = names.unwrap_or((&"", &""));
                write!(f, "{kind}_{quantile}_ns")
            }
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Count(count) => write!(f, "{count}"),
            Self::PerS(rate) => write!(f, "{rate}"),
            Self::Ns(ns) => {
                let time = Duration::from_nanos(*ns);
                let words = humantime::format_duration(time).to_string();
                f.write_str(&words.replace(' ', ""))
            }
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Comparison::ALL.iter().find(|(_, c)| *c == self.comparison);
        let sign = known.map_or("", |(sign, _)| sign);
        let (metric, limit) = (&self.metric, &self.limit);
        write!(f, "{metric}{sign}{limit} over {}s", self.over_s)
    }
}

crate::base::text::kept_as_text!(Condition);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn condition(text: &str) -> Condition {
        text.parse().expect(text)
    }

    #[test]
    fn conditions_are_read() {
        assert_eq!(
            condition("errors>1% over 5s"),
            Condition {
                metric: Metric::Errors,
                comparison: Comparison::More,
                limit: Limit::Percent(1.0),
                over_s: 5,
            }
        );
        let latency = condition("response_p99_ns >= 50ms over 10s");
        assert_eq!(latency.metric, Metric::Latency(Kind::Response, 0.99));
        assert_eq!((latency.limit, latency.over_s), (Limit::Ns(50_000_000), 10));
        assert_eq!(condition("TIMEOUT>3 over 1m").limit, Limit::Count(3));
        assert_eq!(condition("rate<95% over 5s").limit, Limit::Percent(95.0));
        assert_eq!(condition("rate<5k over 5s").limit, Limit::PerS(5000.0));
        for bad in [
            "",
            "errors",
            "errors>1%",
            "errors over 5s",
            "errors=1 over 5s",
            "errors>1% over 500ms",
            "errors>1% over 1500ms",
            "errors>1% over 2h",
            "errors>-1% over 5s",
            "errors>NaN% over 5s",
            "errors>5ms over 5s",
            "response_p98_ns>1ms over 5s",
            "response_p99_ns>1% over 5s",
            "response_p99>1ms over 5s",
            "timeout>1 over 5s",
            "rate<fast over 5s",
            "rate<0 over 5s",
        ] {
            assert!(bad.parse::<Condition>().is_err(), "{bad}");
        }
    }

    fn metrics() -> impl Strategy<Value = (Metric, Limit)> {
        let shares = || (0.0..1e4f64).prop_map(Limit::Percent);
        let failures = prop_oneof![shares(), any::<u64>().prop_map(Limit::Count)];
        let rates = prop_oneof![
            shares(),
            (1u32..10_000_000).prop_map(|n| Limit::PerS(n.into()))
        ];
        let kinds = prop_oneof![Just(Kind::Response), Just(Kind::Service), Just(Kind::Slip)];
        let quantiles = (0..QUANTILES.len()).prop_map(|index| QUANTILES[index].1);
        let times = (0u64..600_000_000_000).prop_map(Limit::Ns);
        prop_oneof![
            failures.prop_map(|limit| (Metric::Errors, limit)),
            shares().prop_map(|limit| (Metric::Cause("ECONNRESET".into()), limit)),
            rates.prop_map(|limit| (Metric::Rate, limit)),
            (kinds, quantiles, times)
                .prop_map(|(kind, quantile, limit)| (Metric::Latency(kind, quantile), limit)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back((metric, limit) in metrics(), sign in 0usize..4, over_s in 1..=MAX_OVER_S) {
            let condition = Condition { metric, comparison: Comparison::ALL[sign].1, limit, over_s };
            let text = condition.to_string();
            prop_assert_eq!(text.parse::<Condition>(), Ok(condition));
        }

        #[test]
        fn no_text_is_too_odd(text in "\\PC{0,40}") {
            let _ = text.parse::<Condition>();
        }
    }
}
