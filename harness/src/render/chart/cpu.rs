//! CPU time of the server and its children per request, by connections.

use super::canvas::{Scale, Texts};
use super::panel::{Along, Panel};
use super::{Chart, Measure};
use crate::model::metrics::CPU_PER_REQUEST;

/// Who pays for what on loopback.
const LOOPBACK: &str = "On loopback the sender also pays for the receive path.";

/// The whole by connections, for panels that have several sizes.
pub fn draw(panel: &Panel) -> Option<Chart> {
    if panel.along == Along::Nothing {
        return None;
    }
    let texts = Texts {
        title: "Server CPU time per request".into(),
        subtitle: panel.conditions(),
        caption: panel.captions(&format!("Children included. {LOOPBACK}")),
    };
    let measure = Measure {
        name: "cpu-per-request",
        metric: CPU_PER_REQUEST,
        scale: Scale::Linear,
        shade: None,
    };
    measure.draw(panel, texts)
}
