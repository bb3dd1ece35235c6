//! Requests completed per second by connections.

use super::canvas::{Scale, Texts};
use super::panel::Panel;
use super::{Chart, Measure, generator};
use crate::model::metrics::THROUGHPUT;
use loadgen::tally::outcome::Floor;

pub fn draw(panel: &Panel, floor: Option<&Floor>) -> Option<Chart> {
    let texts = Texts {
        title: "Requests completed per second".into(),
        subtitle: panel.conditions(),
        caption: panel.captions(""),
    };
    let measure = Measure {
        name: "requests-per-second",
        metric: THROUGHPUT,
        scale: Scale::Linear,
        shade: generator::ceiling(floor, panel.row()),
    };
    measure.draw(panel, texts)
}
