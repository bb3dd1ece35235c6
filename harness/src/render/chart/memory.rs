//! Memory of the server per connection.

use super::canvas::{Scale, Texts};
use super::panel::Panel;
use super::{Chart, Measure};
use crate::base::unit::Unit;

pub fn draw(panel: &Panel) -> Option<Chart> {
    let texts = Texts {
        title: "Server memory per connection".into(),
        subtitle: panel.conditions(),
        caption: panel.captions("What the server has more than when it was ready, its children and the kernel's part included."),
    };
    let measure = Measure {
        name: "memory-per-connection",
        label: "memory per connection",
        unit: Unit::Bytes,
        scale: Scale::Log,
        of: |row| row.server_memory_per_conn_bytes,
        shade: None,
    };
    measure.draw(panel, texts)
}
