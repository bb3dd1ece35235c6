//! A load that changes by plan: `10s@1k, 30s@1k..20k, 1m@20k`.
//!
//! Grammar: stages divided by commas, each TIME@VALUE, or TIME@VALUE..VALUE for a ramp, or TIME@VALUE..VALUE/STEPS for
//! a staircase. A value is a rate (requests per second) or a number of connections.
//!
//! All that follows from it is a pure function of whole numbers: how many events are due by an instant, when the n-th
//! is, and when a connection has a part in the load. Rates count in thousandths of an event per second, so that the
//! products of a day's stage fit in 128 bits exactly.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::MAX_CONNECTIONS;
use crate::base::hash::mix;
use crate::base::units::{MAX_DURATION, SECOND_NS, as_ns, parse_count, parse_duration, parse_rate};

/// The most stages of one load, steps included: each is kept with histograms of its own.
pub const MAX_STAGES: usize = 64;

/// The shortest stage, in nanoseconds.
const SHORTEST_NS: u64 = 1_000_000;

/// The longest: a day. With the highest rate its square still fits.
const LONGEST_NS: u64 = 24 * 3600 * SECOND_NS;

/// The steps of a ramp that is shuffled and does not say how many it has.
const SHUFFLED_STEPS: u32 = 10;

/// One stage: what it begins and ends with, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How long it lasts, in nanoseconds.
    pub length_ns: u64,
    /// The value at its beginning, in thousandths.
    pub from_milli: u64,
    /// The value at its end, in thousandths.
    pub to_milli: u64,
}

impl Stage {
    /// The value at its beginning.
    #[must_use]
    pub fn from(&self) -> f64 {
        self.from_milli as f64 / 1e3
    }

    /// The value at its end.
    #[must_use]
    pub fn to(&self) -> f64 {
        self.to_milli as f64 / 1e3
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = humantime::format_duration(Duration::from_nanos(self.length_ns)).to_string();
        write!(f, "{}@{}", time.replace(' ', ""), self.from())?;
        if self.from_milli != self.to_milli {
            write!(f, "..{}", self.to())?;
        }
        Ok(())
    }
}

/// Stages as they are typed: a ramp may still be a staircase.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Typed {
    stage: Stage,
    steps: Option<u32>,
}

/// The values that stages may have.
trait Value {
    /// What they are, for people.
    const WHAT: &'static str;
    /// What they are multiples of, in thousandths.
    const UNIT_MILLI: u64;
    /// Reads one, in thousandths.
    fn parse(text: &str) -> Result<u64, String>;
}

/// Requests per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates;

impl Value for Rates {
    const WHAT: &'static str = "a rate";
    const UNIT_MILLI: u64 = 1;

    fn parse(text: &str) -> Result<u64, String> {
        match text {
            "0" => Ok(0),
            _ => parse_rate(text).map(|rate| (rate * 1e3).round() as u64),
        }
    }
}

/// Active connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conns;

impl Value for Conns {
    const WHAT: &'static str = "a number of connections";
    const UNIT_MILLI: u64 = 1000;

    fn parse(text: &str) -> Result<u64, String> {
        match parse_count(text)? {
            count @ 0..=MAX_CONNECTIONS => Ok(count * Self::UNIT_MILLI),
            _ => Err(format!("`{text}`: at most {MAX_CONNECTIONS} connections")),
        }
    }
}

/// What `--stages` and `--conn-stages` take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedStages<V> {
    stages: Vec<Typed>,
    unit_milli: u64,
    of: PhantomData<V>,
}

impl FromStr for TypedStages<Rates> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self {
            stages: parse::<Rates>(text)?,
            unit_milli: Rates::UNIT_MILLI,
            of: PhantomData,
        })
    }
}

impl FromStr for TypedStages<Conns> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self {
            stages: parse::<Conns>(text)?,
            unit_milli: Conns::UNIT_MILLI,
            of: PhantomData,
        })
    }
}

impl<V> TypedStages<V> {
    /// The stages one after the other: a staircase step by step, and, `shuffled`, the steps of every ramp in an order
    /// drawn from the seed.
    ///
    /// # Errors
    /// When that is more than [`MAX_STAGES`], or a step is shorter than a stage may be.
    pub fn expand(&self, shuffled: bool, seed: u64) -> Result<Stages, String> {
        let mut all = Vec::new();
        for (index, typed) in self.stages.iter().enumerate() {
            let is_ramp = typed.stage.from_milli != typed.stage.to_milli;
            let steps = typed
                .steps
                .or((shuffled && is_ramp).then_some(SHUFFLED_STEPS));
            let Some(steps) = steps else {
                all.push(typed.stage);
                continue;
            };
            if typed.stage.length_ns / u64::from(steps) < SHORTEST_NS {
                let stage = typed.stage;
                return Err(format!(
                    "`{stage}` in {steps} steps: a step lasts at least 1ms"
                ));
            }
            let mut steps = staircase(&typed.stage, steps, self.unit_milli);
            if shuffled {
                let mut random = fastrand::Rng::with_seed(mix(mix(seed) ^ index as u64));
                random.shuffle(&mut steps);
            }
            all.extend(steps);
        }
        if all.len() > MAX_STAGES {
            return Err(format!(
                "{} stages, steps included: at most {MAX_STAGES}",
                all.len()
            ));
        }
        Ok(Stages(all))
    }
}

/// Steps of one length (to the nanosecond) from the ramp's first value to its last, in multiples of the unit.
fn staircase(ramp: &Stage, steps: u32, unit_milli: u64) -> Vec<Stage> {
    let count = u64::from(steps);
    let edge =
        |step: u64| (u128::from(ramp.length_ns) * u128::from(step) / u128::from(count)) as u64;
    let level = |step: u64| {
        let (from, to) = (ramp.from_milli as f64, ramp.to_milli as f64);
        let part = step as f64 / (count - 1).max(1) as f64;
        ((from + (to - from) * part) / unit_milli as f64).round() as u64 * unit_milli
    };
    let step = |step: u64| Stage {
        length_ns: edge(step + 1) - edge(step),
        from_milli: level(step),
        to_milli: level(step),
    };
    (0..count).map(step).collect()
}

fn parse<V: Value>(text: &str) -> Result<Vec<Typed>, String> {
    let stages: Result<Vec<Typed>, String> = text
        .split(',')
        .map(|stage| parse_one::<V>(stage.trim()))
        .collect();
    let stages = stages?;
    let total_ns: u64 = stages.iter().map(|typed| typed.stage.length_ns).sum();
    if stages.len() > MAX_STAGES {
        return Err(format!("{} stages: at most {MAX_STAGES}", stages.len()));
    }
    if total_ns > as_ns(MAX_DURATION) {
        return Err("the stages together last longer than a week".into());
    }
    if stages
        .iter()
        .all(|t| t.stage.from_milli == 0 && t.stage.to_milli == 0)
    {
        return Err(format!(
            "`{text}` asks for nothing: some stage has to be more than 0"
        ));
    }
    Ok(stages)
}

fn parse_one<V: Value>(text: &str) -> Result<Typed, String> {
    let (time, values) = text.split_once('@').ok_or_else(|| {
        format!("`{text}` is no stage: TIME@VALUE or TIME@FROM..TO, such as 30s@1k..20k")
    })?;
    let length_ns = as_ns(parse_duration(time.trim())?);
    if !(SHORTEST_NS..=LONGEST_NS).contains(&length_ns) {
        return Err(format!("`{text}`: a stage lasts from 1ms to 24h"));
    }
    let said = |error: String| format!("`{text}` needs {}: {error}", V::WHAT);
    let (values, steps) = match values.split_once('/').filter(|(_, tail)| *tail != "s") {
        None => (values, None),
        Some((values, steps)) => match steps.trim().parse() {
            Ok(steps @ 2..=64u32) => (values, Some(steps)),
            _ => return Err(format!("`{text}`: from 2 to {MAX_STAGES} steps")),
        },
    };
    let (from, to) = values.split_once("..").unwrap_or((values, values));
    let from_milli = V::parse(from.trim()).map_err(said)?;
    let to_milli = V::parse(to.trim()).map_err(said)?;
    if steps.is_some() && from_milli == to_milli {
        return Err(format!("`{text}`: only a ramp has steps"));
    }
    let stage = Stage {
        length_ns,
        from_milli,
        to_milli,
    };
    Ok(Typed { stage, steps })
}

/// Stages one after the other, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct Stages(pub Vec<Stage>);

impl Stages {
    /// How long all of them last, in nanoseconds.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.0.iter().map(|stage| stage.length_ns).sum()
    }

    /// The largest value.
    #[must_use]
    pub fn largest(&self) -> f64 {
        let values = self
            .0
            .iter()
            .flat_map(|stage| [stage.from_milli, stage.to_milli]);
        values.max().unwrap_or(0) as f64 / 1e3
    }

    /// When each ends, in nanoseconds from the beginning of the first.
    pub fn ends_ns(&self) -> impl Iterator<Item = u64> {
        self.0.iter().scan(0, |end_ns, stage| {
            *end_ns += stage.length_ns;
            Some(*end_ns)
        })
    }

    /// The course of the load: before the stages, for as long as the warm-up, what the first begins with; after them
    /// what the last ends with.
    #[must_use]
    pub fn course(&self, warmup_ns: u64) -> Course {
        let first = self.0.first().map_or(0, |stage| stage.from_milli);
        let warmup = Stage {
            length_ns: warmup_ns,
            from_milli: first,
            to_milli: first,
        };
        let mut pieces = Vec::new();
        let (mut start_ns, mut before) = (0, 0);
        for stage in std::iter::once(&warmup).chain(&self.0) {
            if stage.length_ns > 0 {
                pieces.push(Piece {
                    start_ns,
                    before,
                    stage: *stage,
                });
            }
            start_ns += stage.length_ns;
            before += i128::from(stage.length_ns)
                * (i128::from(stage.from_milli) + i128::from(stage.to_milli));
        }
        let last = self.0.last().map_or(0, |stage| stage.to_milli);
        Course {
            pieces,
            end_ns: start_ns,
            before_end: before,
            last_milli: i128::from(last),
        }
    }
}

impl fmt::Display for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stages: Vec<String> = self.0.iter().map(Stage::to_string).collect();
        f.write_str(&stages.join(","))
    }
}

impl From<Stages> for String {
    fn from(stages: Stages) -> Self {
        stages.to_string()
    }
}

impl TryFrom<String> for Stages {
    type Error = String;

    /// Of rates or of connections: both read numbers alike, and a record is not asked which it was.
    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<TypedStages<Rates>>() {
            Ok(rates) => rates.expand(false, 0),
            Err(_) => text.parse::<TypedStages<Conns>>()?.expand(false, 0),
        }
    }
}

/// What one event is in the units of a course: twice the product of thousandths per second and nanoseconds.
const EVENT: i128 = 2 * 1000 * SECOND_NS as i128;

/// One stage on its place in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    start_ns: u64,
    /// What is due before it, in [`EVENT`]s' units.
    before: i128,
    stage: Stage,
}

impl Piece {
    fn length(&self) -> i128 {
        i128::from(self.stage.length_ns)
    }

    fn from(&self) -> i128 {
        i128::from(self.stage.from_milli)
    }

    fn rise(&self) -> i128 {
        i128::from(self.stage.to_milli) - self.from()
    }

    /// What is due within the first `s_ns` of it, times its length: exactly.
    fn due_times_length(&self, s_ns: i128) -> i128 {
        self.rise() * s_ns * s_ns + 2 * self.from() * self.length() * s_ns
    }

    /// The first nanosecond by which `wanted`, more than 0, is due within it.
    fn reaches(&self, wanted: i128) -> i128 {
        let target = wanted * self.length();
        let guess = self.guess(wanted as f64).clamp(0.0, self.length() as f64) as i128;
        // The guess is off by nanoseconds, where the rate falls to nothing by microseconds: a bracket is grown around it
        // and halved.
        let is_reached = |s_ns: i128| self.due_times_length(s_ns) >= target;
        let (mut low, mut high, mut step) = (guess, guess, 1);
        while low > 0 && is_reached(low) {
            low = (low - step).max(0);
            step *= 2;
        }
        step = 1;
        while high < self.length() && !is_reached(high) {
            high = (high + step).min(self.length());
            step *= 2;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match is_reached(middle) {
                true => high = middle,
                false => low = middle,
            }
        }
        high
    }

    /// The root of the quadratic, in the form that loses nothing to cancellation.
    fn guess(&self, wanted: f64) -> f64 {
        let (from, rise) = (
            self.from() as f64,
            self.rise() as f64 / self.length() as f64,
        );
        let root = (from * from + rise * wanted).max(0.0).sqrt();
        match from + root {
            0.0 => 0.0,
            sum => wanted / sum,
        }
    }
}

/// How a load goes on in time, from the start of its warm-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    pieces: Vec<Piece>,
    /// When the last stage ends.
    end_ns: u64,
    /// What is due before that.
    before_end: i128,
    /// What goes on behind it.
    last_milli: i128,
}

impl Course {
    /// When event `position` of the whole is due, counted from 0: the first nanosecond by which as many were due.
    #[must_use]
    pub fn due_ns(&self, position: u64) -> u64 {
        self.reaches_ns(i128::from(position) * EVENT)
    }

    /// The same `events` (not a whole number) after an instant.
    #[must_use]
    pub fn after_ns(&self, at_ns: u64, events: f64) -> u64 {
        self.reaches_ns(self.due_by(at_ns) + (events * EVENT as f64) as i128)
    }

    /// How many events are due by an instant, rounded down.
    #[must_use]
    pub fn events_by(&self, at_ns: u64) -> u64 {
        (self.due_by(at_ns) / EVENT) as u64
    }

    /// How many events are due between two instants.
    #[must_use]
    pub fn events_between(&self, from_ns: u64, to_ns: u64) -> f64 {
        (self.due_by(to_ns) - self.due_by(from_ns)) as f64 / EVENT as f64
    }

    fn due_by(&self, at_ns: u64) -> i128 {
        if at_ns >= self.end_ns {
            return self.before_end + i128::from(at_ns - self.end_ns) * 2 * self.last_milli;
        }
        let index = self.pieces.partition_point(|piece| piece.start_ns <= at_ns);
        let Some(piece) = index
            .checked_sub(1)
            .and_then(|index| self.pieces.get(index))
        else {
            return 0;
        };
        let s_ns = i128::from(at_ns - piece.start_ns);
        piece.before + piece.due_times_length(s_ns) / piece.length()
    }

    fn reaches_ns(&self, wanted: i128) -> u64 {
        if wanted >= self.before_end {
            let beyond = wanted - self.before_end;
            return match (beyond, self.last_milli) {
                (0, _) => self.end_ns,
                (_, 0) => u64::MAX,
                (_, rate) => {
                    let ns = (beyond + 2 * rate - 1) / (2 * rate);
                    u64::try_from(ns).map_or(u64::MAX, |ns| self.end_ns.saturating_add(ns))
                }
            };
        }
        // The last that begins with as much: what asks for nothing is passed over.
        let index = self.pieces.partition_point(|piece| piece.before <= wanted);
        let Some(piece) = index
            .checked_sub(1)
            .and_then(|index| self.pieces.get(index))
        else {
            return 0;
        };
        let s_ns = match wanted - piece.before {
            0 => 0,
            wanted => piece.reaches(wanted),
        };
        piece.start_ns + s_ns as u64
    }

    /// When connection `number`, counted from 0, next has a part in the load, from an instant on; `u64::MAX`: never.
    #[must_use]
    pub fn next_active_ns(&self, number: u64, at_ns: u64) -> u64 {
        let wanted = (i128::from(number) + 1) * 1000;
        let first = self.pieces.partition_point(|piece| piece.start_ns <= at_ns);
        for piece in &self.pieces[first.saturating_sub(1)..] {
            let s_ns = i128::from(at_ns.saturating_sub(piece.start_ns));
            if s_ns >= piece.length() {
                continue;
            }
            let missing = (wanted - piece.from()) * piece.length();
            if piece.rise() * s_ns >= missing {
                return piece.start_ns + s_ns as u64;
            }
            if piece.rise() > 0 {
                let reached_ns = (missing + piece.rise() - 1) / piece.rise();
                if reached_ns < piece.length() {
                    return piece.start_ns + reached_ns as u64;
                }
            }
        }
        match self.last_milli >= wanted {
            true => at_ns.max(self.end_ns),
            false => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rates(text: &str) -> Stages {
        let typed: TypedStages<Rates> = text.parse().expect(text);
        typed.expand(false, 0).expect(text)
    }

    fn conns(text: &str) -> Stages {
        let typed: TypedStages<Conns> = text.parse().expect(text);
        typed.expand(false, 0).expect(text)
    }

    #[test]
    fn stages_are_read_and_written() {
        let stages = rates("10s@1k, 30s@1k..20k,1m@0.5");
        assert_eq!(stages.to_string(), "10s@1000,30s@1000..20000,1m@0.5");
        assert_eq!(
            (stages.total_ns(), stages.largest()),
            (100 * SECOND_NS, 20_000.0)
        );
        assert_eq!(rates("4s@1..3/2").to_string(), "2s@1,2s@3");
        assert_eq!(rates("1s@5/s").to_string(), "1s@5");
        assert_eq!(rates("1s@0,1s@5").to_string(), "1s@0,1s@5");
        for bad in [
            "",
            "10s",
            "@5",
            "10s@",
            "10s@x",
            "0s@5",
            "1us@5",
            "25h@5",
            "1s@0",
            "1s@1..2/1",
            "1s@1..2/65",
            "1s@5/3",
            "1s@1e9",
            "1s@-1",
            "1s@NaN",
            "1s@1,",
            "1s@1..x",
        ] {
            assert!(bad.parse::<TypedStages<Rates>>().is_err(), "{bad}");
        }
        for bad in ["1s@0.5", "1s@20m", "1s@1..x"] {
            assert!(bad.parse::<TypedStages<Conns>>().is_err(), "{bad}");
        }
        let many = ["24h@1"; 8].join(",");
        assert!(
            many.parse::<TypedStages<Rates>>().is_err(),
            "more than a week"
        );
        let many = ["1s@1..9/40"; 2].join(",");
        let typed: TypedStages<Rates> = many.parse().expect("two");
        assert!(typed.expand(false, 0).is_err(), "80 steps");
    }

    #[test]
    fn steps_are_stages_that_can_be_read_again() {
        let stages = conns("1s@0..16m/4");
        let levels: Vec<u64> = stages.0.iter().map(|stage| stage.to_milli).collect();
        assert_eq!(levels, [0, 5_333_333_000, 10_666_667_000, 16_000_000_000]);
        assert_eq!(Stages::try_from(stages.to_string()), Ok(stages));
        let short: TypedStages<Rates> = "5ms@1..9/6".parse().expect("a ramp");
        let error = short.expand(false, 1).expect_err("short");
        assert!(
            error.contains("in 6 steps: a step lasts at least 1ms"),
            "{error}"
        );
        let typed: TypedStages<Rates> = "9ms@1..9".parse().expect("a ramp");
        assert!(typed.expand(true, 1).is_err() && typed.expand(false, 1).is_ok());
    }

    #[test]
    fn a_shuffled_ramp_is_its_steps_in_another_order() {
        let typed: TypedStages<Rates> = "1s@1,10s@100..1000,1s@2".parse().expect("stages");
        let shuffled = typed.expand(true, 7).expect("expanded");
        assert_eq!(shuffled, typed.expand(true, 7).expect("expanded"));
        assert_ne!(shuffled, typed.expand(true, 8).expect("expanded"));
        assert_eq!(
            (shuffled.0.len(), shuffled.total_ns()),
            (12, 12 * SECOND_NS)
        );
        let mut levels: Vec<u64> = shuffled.0[1..11]
            .iter()
            .map(|s| s.from_milli / 1000)
            .collect();
        levels.sort_unstable();
        assert_eq!(levels, (1..=10).map(|n| n * 100).collect::<Vec<_>>());
    }

    #[test]
    fn a_ramp_from_nothing_is_half_done_when_a_quarter_is_due() {
        let course = rates("10s@0..100,5s@0,1s@10").course(0);
        assert_eq!(course.events_by(10 * SECOND_NS), 500);
        assert_eq!(course.due_ns(125), 5 * SECOND_NS);
        // What is due when nothing is asked for waits until something is.
        assert_eq!(course.due_ns(499) / SECOND_NS, 9);
        assert_eq!(course.due_ns(500), 15 * SECOND_NS);
        assert_eq!(course.due_ns(511), 16 * SECOND_NS + SECOND_NS / 10);
        let ends = rates("1s@10,1s@10..0").course(0);
        assert_eq!(ends.due_ns(15), 2 * SECOND_NS);
        assert_eq!(ends.due_ns(16), u64::MAX);
    }

    #[test]
    fn connections_join_and_leave_as_the_stages_say() {
        let course = conns("10s@0..10,10s@10..0,10s@5").course(0);
        assert_eq!(course.next_active_ns(0, 0), SECOND_NS);
        assert_eq!(course.next_active_ns(9, 0), 10 * SECOND_NS);
        assert_eq!(course.next_active_ns(9, 10 * SECOND_NS + 1), u64::MAX);
        assert_eq!(course.next_active_ns(4, 12 * SECOND_NS), 12 * SECOND_NS);
        assert_eq!(course.next_active_ns(4, 16 * SECOND_NS), 20 * SECOND_NS);
        assert_eq!(course.next_active_ns(4, 90 * SECOND_NS), 90 * SECOND_NS);
        let warm = conns("1s@2..4").course(SECOND_NS);
        assert_eq!(warm.next_active_ns(1, 0), 0);
        assert_eq!(warm.next_active_ns(2, 0), SECOND_NS + SECOND_NS / 2);
    }

    prop_compose! {
        fn some_stages()(list in proptest::collection::vec((1u64..20_000, 0u64..5_000_000, 0u64..5_000_000, any::<bool>()), 1..8))
            -> Stages {
            let stage = |(ms, from_milli, to_milli, flat): (u64, u64, u64, bool)| Stage {
                length_ns: ms * 1_000_000,
                from_milli,
                to_milli: if flat { from_milli } else { to_milli },
            };
            Stages(list.into_iter().map(stage).collect())
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "[0-9a-z@.,/ -]{0,30}") {
            let _ = text.parse::<TypedStages<Rates>>().map(|typed| typed.expand(true, 1));
            let _ = text.parse::<TypedStages<Conns>>().map(|typed| typed.expand(false, 1));
        }

        #[test]
        fn written_stages_are_read_back(stages in some_stages()) {
            prop_assume!(stages.largest() > 0.0);
            let text = stages.to_string();
            prop_assert_eq!(Stages::try_from(text), Ok(stages));
        }

        /// Exactly: one nanosecond earlier fewer were due, and then as many as the event's number.
        #[test]
        fn an_event_is_due_in_the_nanosecond_in_which_it_is_reached(stages in some_stages(), part in 0.0..1.2f64, warmup_ms in 0u64..500) {
            let course = stages.course(warmup_ms * 1_000_000);
            let total = course.events_by(warmup_ms * 1_000_000 + stages.total_ns());
            let position = (total as f64 * part) as u64;
            let due_ns = course.due_ns(position);
            if due_ns == u64::MAX {
                prop_assert!(stages.0.last().is_some_and(|last| last.to_milli == 0));
                return Ok(());
            }
            let wanted = i128::from(position) * EVENT;
            prop_assert!(course.due_by(due_ns) >= wanted);
            if due_ns > 0 && position > 0 {
                // What waits for the end of a pause was reached at its beginning.
                let before = course.due_by(due_ns - 1);
                prop_assert!(before < wanted || (before == wanted && course.due_by(due_ns) == wanted), "{} {}", before, wanted);
            }
            prop_assert!(course.due_ns(position + 1) >= due_ns);
        }

        #[test]
        fn a_connection_is_active_when_the_number_of_them_exceeds_its_own(stages in some_stages(), number in 0u64..5000, at in 0.0..1.1f64) {
            let course = stages.course(0);
            let at_ns = (stages.total_ns() as f64 * at) as u64;
            let next_ns = course.next_active_ns(number, at_ns);
            prop_assert!(next_ns >= at_ns);
            let value_milli = |at_ns: u64| {
                let mut start_ns = 0;
                for stage in &stages.0 {
                    if at_ns < start_ns + stage.length_ns {
                        let s = i128::from(at_ns - start_ns);
                        let rise = i128::from(stage.to_milli) - i128::from(stage.from_milli);
                        return i128::from(stage.from_milli) as f64 + rise as f64 * s as f64 / stage.length_ns as f64;
                    }
                    start_ns += stage.length_ns;
                }
                stages.0.last().map_or(0.0, |last| last.to_milli as f64)
            };
            let wanted = (number as f64 + 1.0) * 1000.0;
            if next_ns != u64::MAX {
                prop_assert!(value_milli(next_ns) >= wanted - 1e-3);
            }
            // Nowhere before.
            for part in 1..20u64 {
                let end_ns = next_ns.min(stages.total_ns().max(at_ns));
                let probe_ns = at_ns + (end_ns - at_ns) / 20 * part;
                if probe_ns < next_ns {
                    prop_assert!(value_milli(probe_ns) < wanted + 1e-3, "{} of {}", probe_ns, next_ns);
                }
            }
        }
    }
}
