//! Text that came from somewhere else, made safe to show; figures in words.

use loadgen::base::hash::mix;
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
    for word in words(text) {
        let is_empty = line.trim().is_empty();
        if !is_empty && line.chars().count() + 1 + word.chars().count() > width {
            lines.push_str(&(line + "\n"));
            line = indent.clone();
        } else if !is_empty {
            line.push(' ');
        }
        line.push_str(&word);
    }
    lines + &line + "\n"
}

/// The words of a text; a number in groups of digits, `45 000/s`, is one, with its unit: `120 µs`.
fn words(text: &str) -> Vec<String> {
    const UNITS: [&str; 9] = ["%", "ns", "µs", "ms", "s", "B", "KiB", "MiB", "GiB"];
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let bare = word.trim_end_matches(|c: char| ",.;:()".contains(c));
        let digits = word.chars().take_while(char::is_ascii_digit).count();
        let goes_on = digits == 3 || UNITS.contains(&bare);
        match words.last_mut() {
            Some(last) if goes_on && last.ends_with(|c: char| c.is_ascii_digit()) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.into()),
        }
    }
    words
}

/// Text as part of a file's name; of what is too long for one the beginning, and a digest of all.
pub fn file_name(text: &str) -> String {
    const MOST: usize = 120;
    let allowed = |c: char| {
        if c.is_ascii_alphanumeric() || "-._=".contains(c) {
            c
        } else {
            '_'
        }
    };
    let name: String = text.replace('%', "pct").chars().map(allowed).collect();
    if name.len() <= MOST {
        return name;
    }
    let digest = text
        .bytes()
        .fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
    format!("{}-{digest:016x}", &name[..MOST])
}

/// `5, 6` as `5,6`.
pub fn without_blanks(list: &str, delimiter: char) -> String {
    let items: Vec<&str> = list.split(delimiter).map(str::trim).collect();
    items.join(&delimiter.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_too_long_for_a_file_and_none_is_anothers() {
        assert_eq!(file_name("a/b 5%"), "a_b_5pct");
        let long = |last: &str| file_name(&("stage,".repeat(100) + last));
        assert!(long("a").len() < 150 && long("a") != long("b"));
    }

    #[test]
    fn lines_end_between_words_and_never_within_a_number() {
        let text = "  it holds 45 000/s in 120 µs, or 1 234 567 of them";
        for width in 10..60 {
            let lines = wrapped(text, width);
            for whole in ["45 000/s", "120 µs,", "1 234 567"] {
                assert!(lines.contains(whole), "{width}: {lines}");
            }
            assert!(lines.lines().all(|line| line.starts_with("  ")), "{lines}");
        }
        assert_eq!(wrapped("a b c", 3), "a b\nc\n");
    }
}
