//! Text that came from somewhere else, made safe to show; figures in words.

pub use loadgen::base::text::{one_line, visible};
use std::time::Duration;

/// A relative change with its sign: `+9.8 %`.
pub fn percent(change: f64) -> String {
    // What rounds to nothing has no sign.
    let tenths = (change * 1000.0).round() / 10.0;
    format!("{:+.1} %", tenths + 0.0)
}

/// A length of time as precise as an estimate is: `45s`, `4m 10s`, `1h 20m`.
pub fn about(time: Duration) -> String {
    let exact_s = time.as_secs_f64().round() as u64;
    let step_s = match exact_s {
        0..120 => 1,
        120..600 => 10,
        600..7200 => 60,
        _ => 600,
    };
    let rounded_s = exact_s.saturating_add(step_s / 2) / step_s * step_s;
    humantime::format_duration(Duration::from_secs(rounded_s)).to_string()
}

/// Lines of at most so many characters, broken between words; what goes on is indented as the first line is.
pub fn wrapped(text: &str, width: usize) -> String {
    let indent: String = text.chars().take_while(|c| *c == ' ').collect();
    let (mut lines, mut line) = (String::new(), indent.clone());
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let is_empty = line.trim().is_empty();
        if !is_empty && line.chars().count() + 1 + word.chars().count() > width {
            lines.push_str(&(line + "\n"));
            line = indent.clone();
        } else if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines + &line + "\n"
}

/// Text as part of a file's name.
pub fn file_name(text: &str) -> String {
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || "-._=".contains(c) {
            c
        } else {
            '_'
        }
    };
    text.chars().map(allowed).collect()
}

/// `5, 6` as `5,6`.
pub fn without_blanks(list: &str, delimiter: char) -> String {
    let items: Vec<&str> = list.split(delimiter).map(str::trim).collect();
    items.join(&delimiter.to_string())
}
