//! One fixed look per model: a hue per family, marker and dash within it. Fifteen colours that everyone can
//! tell apart do not exist, so colour is never the only difference. The hues are Okabe and Ito's.

use plotters::style::RGBColor;
use serde::{Serialize, Serializer};

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

const BLACK: RGBColor = RGBColor(60, 60, 60);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const ORANGE: RGBColor = RGBColor(214, 143, 0);
const PURPLE: RGBColor = RGBColor(176, 86, 140);
const GREEN: RGBColor = RGBColor(0, 140, 102);
const BLUE: RGBColor = RGBColor(0, 104, 168);
const SKY: RGBColor = RGBColor(62, 160, 216);

/// The look of an arm: its model's, whatever its variant.
pub fn of(model: &str) -> Look {
    use Marker::{Circle, Diamond, Square, Triangle};
    let (colour, marker, dashed) = match model {
        "iterative" => (BLACK, Circle, false),
        "nonblocking" => (BLACK, Square, true),
        "process" => (VERMILION, Circle, false),
        "prefork" => (VERMILION, Square, true),
        "thread" => (ORANGE, Circle, false),
        "thread-pool" => (ORANGE, Square, true),
        "select" => (GREEN, Circle, false),
        "poll" => (GREEN, Square, true),
        "epoll" => (BLUE, Circle, false),
        "epoll-et" => (BLUE, Square, true),
        "epoll-oneshot" => (BLUE, Triangle, false),
        "reuseport" => (BLUE, Diamond, true),
        "io-uring" => (PURPLE, Circle, false),
        "tokio" => (SKY, Circle, false),
        "tokio-multi" => (SKY, Square, true),
        _ => (PURPLE, Diamond, true),
    };
    Look {
        colour,
        marker,
        dashed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_models_look_the_same() {
        let looks: Vec<Look> = servers::models::MODELS.iter().map(|m| of(m.name)).collect();
        for (i, look) in looks.iter().enumerate() {
            assert!(
                !looks[..i].contains(look),
                "{}",
                servers::models::MODELS[i].name
            );
        }
        let unknown = of("a server of one's own");
        assert!(!looks.contains(&unknown));
    }
}
