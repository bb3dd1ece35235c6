//! A gate's result in words, made once when it ends: stdout, Markdown, annotations, report.html and exports say the
//! same, and so does a report that is made again.

use crate::base::text::visible;
pub use crate::model::gate_words::GateWords;
use crate::render::chart::plot::Table;
use crate::render::export::md;
use comfy_table::presets::{ASCII_MARKDOWN, NOTHING};
use comfy_table::{CellAlignment, TableStyle};

impl GateWords {
    /// For a terminal.
    pub fn for_people(&self) -> String {
        let table = self.drawn(NOTHING, &visible);
        let lines = [&self.notes[..], &self.sentences].concat().join("\n");
        shown_lines(&format!(
            "{}: {}\n\n{table}\n{lines}\n",
            self.verdict, self.headline
        ))
    }

    /// For a pull request.
    pub fn markdown(&self) -> String {
        let mut text = format!(
            "### tenk gate: {}\n\n{}: {}\n\n{}\n",
            md::escaped(&self.verdict),
            md::escaped(&self.verdict),
            md::escaped(&self.headline),
            self.drawn(ASCII_MARKDOWN, &md::escaped)
        );
        for line in self.notes.iter().chain(&self.sentences) {
            text.push_str(&format!("- {}\n", md::escaped(line)));
        }
        text
    }

    /// The sentences that stand first in a report.
    pub fn answer(&self) -> Vec<String> {
        let first = format!("{}: {}", self.verdict, self.headline);
        let all = std::iter::once(&first)
            .chain(&self.notes)
            .chain(&self.sentences);
        all.map(|line| visible(line)).collect()
    }

    /// The figures of a report.
    pub fn table(&self) -> Table {
        let line = |line: &Vec<String>| line.iter().map(|cell| visible(cell)).collect();
        Table {
            header: line(&self.header),
            lines: self.lines.iter().map(line).collect(),
        }
    }

    fn drawn(&self, style: TableStyle, safe: &dyn Fn(&str) -> String) -> String {
        let safe = |cells: &Vec<String>| cells.iter().map(|cell| safe(cell)).collect::<Vec<_>>();
        let mut table = comfy_table::Table::new();
        table.load_style(style).set_header(safe(&self.header));
        for line in &self.lines {
            table.add_row(safe(line));
        }
        for column in 2..self.header.len().saturating_sub(1) {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt()
    }
}

/// Printable text, line by line.
fn shown_lines(text: &str) -> String {
    text.split('\n').map(visible).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_says_the_verdict_and_obeys_no_text() {
        let words = GateWords {
            verdict: "REGRESSED".into(),
            headline: "head is `x|<b>\u{1b}[31m`".into(),
            header: ["cell", "figure", "base", "head"].map(String::from).into(),
            lines: vec![["a|b", "CPU", "1", "2"].map(String::from).into()],
            sentences: vec!["got worse".into()],
            notes: Vec::new(),
        };
        for text in [
            words.for_people(),
            words.markdown(),
            words.answer().join("\n"),
        ] {
            assert!(
                text.contains("REGRESSED") && text.contains("got worse"),
                "{text}"
            );
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
        assert!(!words.markdown().contains("<b>") && words.markdown().contains(r"a\|b"));
        assert_eq!(words.table().lines.len(), 1);
    }
}
