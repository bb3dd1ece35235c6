//! One fixed look per model, as the registry has it, in the terms of what draws.

use plotters::style::RGBColor;
use serde::{Serialize, Serializer};
use servers::models;

/// How one model is drawn in every chart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Look {
    /// The family's hue.
    #[serde(serialize_with = "as_hex")]
    pub colour: RGBColor,
    /// The marker at each point.
    pub marker: Marker,
    /// Whether its line is dashed.
    pub dashed: bool,
}

/// The shape of a marker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Marker {
    /// ●
    Circle,
    /// ■
    Square,
    /// ▲
    Triangle,
    /// ◆
    Diamond,
}

/// As CSS writes it: `#3c3c3c`.
fn as_hex<S: Serializer>(colour: &RGBColor, serializer: S) -> Result<S::Ok, S::Error> {
    let RGBColor(r, g, b) = colour;
    serializer.serialize_str(&format!("#{r:02x}{g:02x}{b:02x}"))
}

/// The look of an arm: its model's, whatever its variant.
pub fn of(model: &str) -> Look {
    let look = models::find(model).map_or(models::FOREIGN_LOOK, |model| model.look);
    let [r, g, b] = look.colour;
    Look {
        colour: RGBColor(r, g, b),
        marker: match look.marker {
            models::Marker::Circle => Marker::Circle,
            models::Marker::Square => Marker::Square,
            models::Marker::Triangle => Marker::Triangle,
            models::Marker::Diamond => Marker::Diamond,
        },
        dashed: look.dashed,
    }
}

/// The look of one arm. A gate's two sides have one model: its base is paler and dashed otherwise than its head.
pub fn of_arm(arm: &str, model: &str) -> Look {
    let look = of(model);
    if arm.rsplit('@').next() != Some("base") {
        return look;
    }
    let RGBColor(r, g, b) = look.colour;
    let paler = |part: u8| part + (255 - part) / 2;
    Look {
        colour: RGBColor(paler(r), paler(g), paler(b)),
        dashed: !look.dashed,
        ..look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arm_looks_like_its_model_and_no_other_server_does() {
        let looks: Vec<Look> = models::MODELS.iter().map(|m| of(m.name)).collect();
        let unknown = of("a server of one's own");
        assert!(!looks.contains(&unknown));
        assert_eq!(of("fork"), of("process"));
        for (base, head, model) in [
            ("epoll@base", "epoll@head", "epoll"),
            ("base", "head", "command"),
        ] {
            let (base, head) = (of_arm(base, model), of_arm(head, model));
            assert!(base.colour != head.colour && base.dashed != head.dashed);
            assert_eq!(head, of(model));
        }
        assert_eq!(of("epoll").colour, RGBColor(0, 104, 168));
    }
}
