//! The charts' SVG: plotters' primitives as elements, with groups of our own around them.
//!
//! plotters' own SVG backend knows no groups. The page switches arms off and shows figures under the pointer, so an
//! element must say whose it is (`data-arm`) and what it stands for (`title`, which browsers show by themselves
//! where a chart's file is opened on its own). Presentation attributes only: the page's policy allows no inline style,
//! and its sheet repaints them for dark screens by their colour.

use plotters::coord::Shift;
use plotters::prelude::{DrawingArea, DrawingBackend, IntoDrawingArea};
use plotters::style::RGBColor;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingErrorKind, FontTransform,
};
use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write;
use std::rc::Rc;

type Drawn = Result<(), DrawingErrorKind<Infallible>>;

/// What plotters draws on.
pub type Area = DrawingArea<Svg, Shift>;

/// An SVG that grows as it is drawn.
pub struct Svg {
    text: Rc<RefCell<String>>,
    size: (u32, u32),
}

/// The groups of an SVG that is being drawn.
#[derive(Clone)]
pub struct Groups(Rc<RefCell<String>>);

impl Svg {
    /// An area to draw on whose elements stand inside `<svg ATTRIBUTES>`, and the groups in it.
    pub fn begin(attributes: &[(&str, &str)], size: (i32, i32)) -> (Area, Groups) {
        let groups = Groups(Rc::default());
        groups.open("svg", attributes);
        let svg = Svg {
            text: Rc::clone(&groups.0),
            size: (size.0.max(1) as u32, size.1.max(1) as u32),
        };
        (svg.into_drawing_area(), groups)
    }

    fn element(&self, name: &str, attributes: &[(&str, &str)]) -> Drawn {
        let text = &mut *self.text.borrow_mut();
        begin_tag(text, name, attributes);
        text.push_str("/>\n");
        Ok(())
    }

    /// A shape's colour, which is its line's or its inside's, with its opacity where it has one.
    fn shape<S: BackendStyle>(
        &self,
        name: &str,
        geometry: &[(&str, &str)],
        style: &S,
        fill: bool,
    ) -> Drawn {
        let colour = style.color();
        if colour.alpha == 0.0 {
            return Ok(());
        }
        let (paint, opacity) = (hex(colour), format!("{:.3}", colour.alpha));
        let width = style.stroke_width().to_string();
        let mut attributes = geometry.to_vec();
        match fill {
            true => attributes.push(("fill", &paint)),
            false => attributes.extend([("fill", "none"), ("stroke", paint.as_str())]),
        }
        if !fill && width != "1" {
            attributes.push(("stroke-width", &width));
        }
        if colour.alpha < 1.0 {
            attributes.push(("opacity", &opacity));
        }
        self.element(name, &attributes)
    }
}

impl Groups {
    /// What is drawn inside belongs to an arm.
    pub fn arm<E>(&self, arm: &str, draw: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        self.open("g", &[("data-arm", arm)]);
        let drawn = draw();
        self.close("g");
        drawn
    }

    /// What is drawn inside stands for a figure, which is told where the pointer is near it.
    pub fn figure<E>(&self, words: &str, draw: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        self.open("g", &[("class", "figure")]);
        self.open("title", &[]);
        escape(&mut self.0.borrow_mut(), words);
        self.close("title");
        let drawn = draw();
        self.close("g");
        drawn
    }

    /// Rectangles (left, top, width, height) of one colour as a single element: a map of thousands of cells would be a
    /// megabyte of elements of their own.
    pub fn cells(&self, colour: RGBColor, opacity: f64, cells: &[(i32, i32, i32, i32)]) {
        if cells.is_empty() {
            return;
        }
        let mut d = String::new();
        for (left, top, width, height) in cells {
            // Writing to a String cannot fail.
            let _ = write!(d, "M{left} {top}h{width}v{height}h-{width}z");
        }
        let RGBColor(r, g, b) = colour;
        let (fill, opacity) = (format!("#{r:02x}{g:02x}{b:02x}"), format!("{opacity:.2}"));
        let mut attributes = vec![("d", d.as_str()), ("fill", fill.as_str())];
        if opacity != "1.00" {
            attributes.push(("opacity", opacity.as_str()));
        }
        let text = &mut *self.0.borrow_mut();
        begin_tag(text, "path", &attributes);
        text.push_str("/>\n");
    }

    /// The whole SVG; nothing is drawn after it.
    pub fn end(self) -> String {
        self.close("svg");
        self.0.take()
    }

    fn open(&self, name: &str, attributes: &[(&str, &str)]) {
        let text = &mut *self.0.borrow_mut();
        begin_tag(text, name, attributes);
        text.push('>');
    }

    fn close(&self, name: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0.borrow_mut(), "</{name}>");
    }
}

fn begin_tag(text: &mut String, name: &str, attributes: &[(&str, &str)]) {
    text.push('<');
    text.push_str(name);
    for (key, value) in attributes {
        text.push(' ');
        text.push_str(key);
        text.push_str("=\"");
        escape(text, value);
        text.push('"');
    }
}

fn escape(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '&' => text.push_str("&amp;"),
            '"' => text.push_str("&quot;"),
            other => text.push(other),
        }
    }
}

fn hex(colour: BackendColor) -> String {
    let (r, g, b) = colour.rgb;
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// `M1 2L3 4`: shorter than a list of points, and closed where it is an outline.
fn path(points: impl IntoIterator<Item = BackendCoord>, closed: bool) -> String {
    let mut d = String::new();
    for (i, (x, y)) in points.into_iter().enumerate() {
        let _ = write!(d, "{}{x} {y}", if i == 0 { 'M' } else { 'L' });
    }
    if closed {
        d.push('Z');
    }
    d
}

impl DrawingBackend for Svg {
    type ErrorType = Infallible;

    fn get_size(&self) -> (u32, u32) {
        self.size
    }

    fn ensure_prepared(&mut self) -> Drawn {
        Ok(())
    }

    fn present(&mut self) -> Drawn {
        Ok(())
    }

    fn draw_pixel(&mut self, (x, y): BackendCoord, colour: BackendColor) -> Drawn {
        let (x, y) = (x.to_string(), y.to_string());
        let geometry = [
            ("x", x.as_str()),
            ("y", &y),
            ("width", "1"),
            ("height", "1"),
        ];
        self.shape("rect", &geometry, &colour, true)
    }

    fn draw_line<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
    ) -> Drawn {
        self.draw_path([from, to], style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let [x, y, width, height] = [
            from.0.min(to.0),
            from.1.min(to.1),
            (to.0 - from.0).abs(),
            (to.1 - from.1).abs(),
        ]
        .map(|n| n.to_string());
        let geometry = [
            ("x", x.as_str()),
            ("y", &y),
            ("width", &width),
            ("height", &height),
        ];
        self.shape("rect", &geometry, style, fill)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        points: I,
        style: &S,
    ) -> Drawn {
        self.shape("path", &[("d", &path(points, false))], style, false)
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        (x, y): BackendCoord,
        radius: u32,
        style: &S,
        fill: bool,
    ) -> Drawn {
        let [x, y, r] = [x.to_string(), y.to_string(), radius.to_string()];
        let geometry = [("cx", x.as_str()), ("cy", &y), ("r", &r)];
        self.shape("circle", &geometry, style, fill)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        points: I,
        style: &S,
    ) -> Drawn {
        self.shape("path", &[("d", &path(points, true))], style, true)
    }

    fn draw_text<T: BackendTextStyle>(
        &mut self,
        words: &str,
        style: &T,
        (x, y): BackendCoord,
    ) -> Drawn {
        let anchor = style.anchor();
        let side = match anchor.h_pos {
            HPos::Left => "start",
            HPos::Center => "middle",
            HPos::Right => "end",
        };
        // Not `dominant-baseline`: what turns an SVG into a picture often does not know it.
        let lower = match anchor.v_pos {
            VPos::Top => 0.76,
            VPos::Center => 0.36,
            VPos::Bottom => -0.24,
        };
        let turned = match style.transform() {
            FontTransform::None => None,
            FontTransform::Rotate90 => Some(90),
            FontTransform::Rotate180 => Some(180),
            FontTransform::Rotate270 => Some(270),
        };
        let [x, y, dy, size] = [
            x.to_string(),
            y.to_string(),
            format!("{:.1}", lower * style.size()),
            format!("{:.1}", style.size()),
        ];
        let fill = hex(style.color());
        let turn = turned.map(|degrees| format!("rotate({degrees} {x} {y})"));
        let mut attributes = vec![
            ("x", x.as_str()),
            ("y", &y),
            ("dy", &dy),
            ("text-anchor", side),
            ("font-family", "sans-serif"),
            ("font-size", &size),
            ("fill", &fill),
        ];
        if let Some(turn) = &turn {
            attributes.push(("transform", turn));
        }
        let text = &mut *self.text.borrow_mut();
        begin_tag(text, "text", &attributes);
        text.push('>');
        escape(text, words);
        text.push_str("</text>\n");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plotters::prelude::*;

    #[test]
    fn elements_stand_in_their_groups_and_text_is_only_shown() {
        let (area, groups) = Svg::begin(&[("aria-label", "\"<&>")], (10, 20));
        let style = Color::stroke_width(&RGBColor(1, 2, 255), 2);
        let line = PathElement::new(vec![(1, 2), (3, 4)], style);
        groups
            .arm("a\"<b>", || groups.figure("1 < 2", || area.draw(&line)))
            .unwrap();
        assert_eq!(
            groups.end(),
            "<svg aria-label=\"&quot;&lt;&amp;&gt;\"><g data-arm=\"a&quot;&lt;b&gt;\"><g class=\"figure\"><title>1 &lt; 2\
             </title>\n<path d=\"M1 2L3 4\" fill=\"none\" stroke=\"#0102ff\" stroke-width=\"2\"/>\n</g>\n</g>\n</svg>\n"
        );
    }

    #[test]
    fn what_cannot_be_seen_is_no_element() {
        let (area, groups) = Svg::begin(&[], (10, 20));
        let nothing = Rectangle::new([(0, 0), (1, 1)], RGBColor(1, 2, 3).mix(0.0).filled());
        area.draw(&nothing).unwrap();
        let half = Rectangle::new([(3, 1), (0, 0)], RGBColor(1, 2, 3).mix(0.5).filled());
        area.draw(&half).unwrap();
        assert_eq!(
            groups.end(),
            "<svg><rect x=\"0\" y=\"0\" width=\"3\" height=\"1\" fill=\"#010203\" opacity=\"0.500\"/>\n</svg>\n"
        );
    }
}
