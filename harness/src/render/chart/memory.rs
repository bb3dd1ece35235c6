//! Memory of the server per connection.

use super::canvas::{Scale, Texts};
use super::panel::Panel;
use super::{Chart, Measure};
use crate::model::metrics::MEMORY;

pub fn draw(panel: &Panel) -> Option<Chart> {
    let texts = Texts {
        title: "Server memory per connection".into(),
        subtitle: panel.conditions(),
        caption: panel.captions("What the server has more than when it was ready, its children and the kernel's part included."),
    };
    let measure = Measure {
        name: "memory-per-connection",
        metric: MEMORY,
        scale: Scale::Log,
        shade: None,
    };
    measure.draw(panel, texts)
}
