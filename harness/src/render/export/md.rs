//! `--export md`: the answer, the table and its notes as Markdown, for a pull request or `$GITHUB_STEP_SUMMARY`.

use super::Source;
use crate::analysis::answer::Answer;
use crate::base::text::visible;
use crate::model::row::{Reasons, Row};
use crate::render::chart::plot::Table;
use crate::render::table;

/// A gate's verdict, where the run is one, else the answer; then all figures.
pub fn of(source: &Source) -> String {
    match source.gate {
        Some(gate) => gate.markdown() + "\n" + &figures(source.rows),
        None => render(source.rows, source.answer),
    }
}

/// The answer, then all figures.
pub fn render(rows: &[Row], answer: Option<&Answer>) -> String {
    let told = answer.map(|answer| self::answer(answer) + "\n");
    told.unwrap_or_default() + &figures(rows)
}

/// The answer's sentences, a paragraph for all workloads and one for each.
pub fn answer(answer: &Answer) -> String {
    answer
        .text()
        .lines()
        .map(|line| escaped(line) + "\n")
        .collect()
}

/// The table and its notes.
pub fn figures(rows: &[Row]) -> String {
    let escaped: Vec<Row> = rows.iter().map(escaped_row).collect();
    table::markdown(&escaped)
}

/// The texts that the table shows, without anything that Markdown or HTML would obey.
fn escaped_row(row: &Row) -> Row {
    let mut row = row.clone();
    row.arm = escaped(&row.arm);
    row.labels = row.labels.as_deref().map(escaped);
    let mut reasons = row.reasons.0;
    for reason in &mut reasons {
        reason.text = escaped(&reason.text);
    }
    row.reasons = Reasons(reasons);
    row
}

/// A chart's figures.
pub fn table(table: &Table) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule = format!("|{}\n", "---|".repeat(table.header.len()));
    let lines = table.lines.iter().map(|cells| line(cells));
    line(&table.header) + &rule + &lines.collect::<String>()
}

/// Text without anything that Markdown or HTML would obey.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in visible(text).chars() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '|' | '`' | '*' | '_' | '[' | ']' | '\\' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;

    #[test]
    fn a_label_cannot_leave_its_cell() {
        assert_eq!(escaped("a|b<i>`x`\n"), r"a\|b&lt;i>\`x\`\\u{a}");
        let text = render(&rows(), None);
        assert!(text.contains(r"=cmd\|a b\\u{1b}\[1m"), "{text}");
        assert!(!text.contains("<b>"));
        let widths = text.lines().filter(|line| line.starts_with('|'));
        let cells: Vec<usize> = widths
            .map(|line| line.replace(r"\|", "").matches('|').count())
            .collect();
        assert!(
            cells.len() >= 4 && cells.iter().all(|n| *n == cells[0]),
            "{text}"
        );
    }
}
