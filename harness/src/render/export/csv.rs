//! `--export csv`: the rows for a spreadsheet. Unlike `trials.csv`, which is read back exactly, no cell holds a
//! control character or begins like a formula: a spreadsheet would run `=cmd|…` from a model's label.

use crate::base::error::{Failure, OrFail};
use crate::base::text::visible;
use crate::model::row::{Row, to_csv_of_texts};

pub fn render(rows: &[Row]) -> Result<String, Failure> {
    let csv = to_csv_of_texts(rows, harmless);
    let csv = csv.or_failed("--export csv")?;
    Ok(String::from_utf8_lossy(&csv).into_owned())
}

fn harmless(text: &str) -> String {
    let text = visible(text);
    match text.starts_with(['=', '+', '-', '@']) {
        true => format!("'{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::rows;
    use super::*;

    #[test]
    fn formulas_and_control_characters_are_defused() {
        let text = render(&rows()).unwrap();
        let line = text.lines().nth(7).unwrap();
        let cell = r#""'=cmd|a b\u{1b}[1m"",\u{a}<b>""#;
        assert!(
            line.starts_with(&format!("run-1,1,1,42,{cell},{cell},,,echo,")),
            "{line}"
        );
        assert!(
            text.lines()
                .nth(1)
                .unwrap()
                .starts_with("run-1,1,1,42,epoll-et,epoll-et,,,echo,echo,10000,0,64,")
        );
        assert_eq!(text.lines().count(), 10);
    }
}
