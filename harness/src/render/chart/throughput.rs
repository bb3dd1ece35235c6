//! Requests completed per second by connections.

use super::canvas::{Scale, Texts};
use super::panel::Panel;
use super::{Chart, Measure, generator};
use crate::base::unit::Unit;
use loadgen::outcome::Floor;

pub fn draw(panel: &Panel, floor: Option<&Floor>) -> Option<Chart> {
    let texts = Texts {
        title: "Requests completed per second".into(),
        subtitle: panel.conditions(),
        caption: panel.captions(""),
    };
    let measure = Measure {
        name: "requests-per-second",
        label: "requests/s",
        unit: Unit::Count,
        scale: Scale::Linear,
        of: |row| row.requests_per_s,
        shade: generator::ceiling(floor, panel.row()),
    };
    measure.draw(panel, texts)
}
