//! Connections served per second: over the ramp when they are long-lived, over the window when they are short-lived.

use super::canvas::{Scale, Texts};
use super::panel::Panel;
use super::{Chart, Measure};
use crate::base::unit::Unit;

pub fn draw(panel: &Panel) -> Option<Chart> {
    let when = match panel.row().requests_per_conn {
        Some(_) => "Connected, served and closed, over the window.",
        None => "From the first connect to the last first reply: how fast the ramp went.",
    };
    let texts = Texts {
        title: "Connections served per second".into(),
        subtitle: panel.conditions(),
        caption: panel.captions(when),
    };
    let measure = Measure {
        name: "connections-per-second",
        label: "connections/s",
        unit: Unit::Count,
        scale: Scale::Linear,
        of: |row| row.conns_per_s,
        shade: None,
    };
    measure.draw(panel, texts)
}
