//! The lines of a lab's table whose figures have one unit.

use crate::base::unit::Unit;
use crate::lab::finding::Line;

/// Lines of figures of one unit.
pub struct Table {
    unit: Unit,
    /// The lines so far.
    pub lines: Vec<Line>,
}

impl Table {
    /// An empty one.
    pub fn of(unit: Unit) -> Table {
        let lines = Vec::new();
        Table { unit, lines }
    }

    /// What is expected, give or take: the figure holds from `low` to `high` times that.
    pub fn about(&mut self, what: &str, expected: f64, found: f64, (low, high): (f64, f64)) {
        let holds = found >= expected * low && found <= expected * high;
        self.judged(
            what,
            format!("about {}", self.unit.words(expected)),
            found,
            holds,
        );
    }

    /// Exactly so many are expected.
    pub fn exactly(&mut self, what: &str, expected: u64, found: u64) {
        self.lines.push(Line::equal(what, &expected, &found));
    }

    /// From `low` to `high` is expected.
    pub fn between(&mut self, what: &str, (low, high): (f64, f64), found: f64) {
        let expected = format!("{} to {}", self.unit.words(low), self.unit.words(high));
        self.judged(what, expected, found, found >= low && found <= high);
    }

    /// No more than this is expected.
    pub fn at_most(&mut self, what: &str, most: f64, found: f64) {
        self.judged(
            what,
            format!("at most {}", self.unit.words(most)),
            found,
            found <= most,
        );
    }

    /// No less than this is expected.
    pub fn at_least(&mut self, what: &str, least: f64, found: f64) {
        self.judged(
            what,
            format!("at least {}", self.unit.words(least)),
            found,
            found >= least,
        );
    }

    /// A figure that is shown beside the others.
    pub fn shown(&mut self, what: &str, found: f64) {
        self.lines
            .push(Line::shown(what, "", self.unit.words(found)));
    }

    /// The same table with figures of another unit from here on.
    pub fn then_of(self, unit: Unit) -> Table {
        Table { unit, ..self }
    }

    fn judged(&mut self, what: &str, expected: String, found: f64, holds: bool) {
        let found = self.unit.words(found);
        self.lines.push(Line::judged(what, expected, found, holds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_holds_inside_its_band_and_nothing_that_is_no_number_does() {
        let mut table = Table::of(Unit::Duration);
        for found in [49.0, 50.0, 200.0, 201.0, f64::NAN] {
            table.about("x", 100.0, found, (0.5, 2.0));
        }
        table.at_most("x", 100.0, 100.0);
        table.at_least("x", 100.0, 99.0);
        table.shown("x", 1e6);
        let mut table = table.then_of(Unit::Ratio);
        table.at_least("x", 2.0, f64::INFINITY - f64::INFINITY);
        table.between("x", (1.0, 2.0), 1.5);
        table.between("x", (1.0, 2.0), 2.5);
        table.exactly("x", 1020, 1019);
        let holds: Vec<Option<bool>> = table.lines.iter().map(|line| line.holds).collect();
        let [yes, no] = [Some(true), Some(false)];
        assert_eq!(
            holds,
            [no, yes, yes, no, no, yes, no, None, no, yes, no, no]
        );
        assert_eq!(table.lines[7].measured, "1 ms");
        assert_eq!(table.lines[0].expected, "about 100 ns");
        assert_eq!(table.lines[11].measured, "1019");
    }
}
