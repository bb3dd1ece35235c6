//! Commands that a person wrote for a shell: what is filled in never becomes part of the shell's language.

use super::text::visible;

/// The variable in which a command finds its folder.
pub const FOLDER: &str = "TENK_DIR";

/// Where in a command a place stands.
#[derive(Clone, Copy, PartialEq)]
enum Context {
    Plain,
    Double,
    Single,
    /// Inside `$(…)` or `(…)`.
    Parentheses,
    Backticks,
}

/// A command with every `{dir}` as a reference to [`FOLDER`], which the shell expands to one word whatever is in it:
/// outside quotes, inside double and inside single ones. A value in the text itself would be split, or executed.
pub fn with_folder(command: &str) -> String {
    let mut filled = String::new();
    let mut contexts = vec![Context::Plain];
    let mut rest = command;
    while let Some(c) = rest.chars().next() {
        let context = contexts.last().copied().unwrap_or(Context::Plain);
        if let Some(after) = rest.strip_prefix("{dir}") {
            filled.push_str(&match context {
                Context::Double => format!("${{{FOLDER}}}"),
                Context::Single => format!("'\"${{{FOLDER}}}\"'"),
                _ => format!("\"${{{FOLDER}}}\""),
            });
            rest = after;
            continue;
        }
        let mut length = c.len_utf8();
        match (context, c) {
            (Context::Single, '\'') | (Context::Double, '"') => drop(contexts.pop()),
            (Context::Single, _) => {}
            (_, '\\') => length += rest[length..].chars().next().map_or(0, char::len_utf8),
            (Context::Backticks, '`') => drop(contexts.pop()),
            (_, '`') => contexts.push(Context::Backticks),
            (_, '$') if rest[length..].starts_with('(') => {
                length += 1;
                contexts.push(Context::Parentheses);
            }
            (Context::Double, _) => {}
            (_, '\'') => contexts.push(Context::Single),
            (_, '"') => contexts.push(Context::Double),
            (_, '(') => contexts.push(Context::Parentheses),
            (Context::Parentheses, ')') => drop(contexts.pop()),
            _ => {}
        }
        filled.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    filled
}

/// A word as a person would type it to a shell. One with characters that cannot be seen has them written out, which
/// bash, zsh and ksh understand.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.to_string(),
        false if visible(word) != word => {
            format!("$'{}'", word.chars().map(typed).collect::<String>())
        }
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// A character inside `$'…'`.
fn typed(c: char) -> String {
    let text = c.to_string();
    match c {
        '\'' | '\\' => format!("\\{c}"),
        _ if visible(&text) != text => text.bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// What a shell makes of a command whose `{dir}` is this.
    fn words(command: &str, folder: &str) -> String {
        let output = Command::new("/bin/sh")
            .args(["-c", &with_folder(command)])
            .env(FOLDER, folder)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_folder_is_one_word_in_every_kind_of_quotes_and_is_never_executed() {
        for folder in [
            "/a b",
            "/q$(echo gone)",
            "/it's",
            "/a\"b",
            "/back`echo x`tick",
            "/line\nfeed",
            "/é\\n*",
            "/dir{dir}",
        ] {
            for command in [
                "printf '<%s>' {dir}/x",
                "printf '<%s>' \"{dir}/x\"",
                "printf '<%s>' '{dir}/x'",
                "printf '<%s>' \"$(printf %s {dir})/x\"",
                "printf '<%s>' \"$(printf %s \"{dir}\")\"/x",
                "(printf '<%s>' {dir}/x)",
                "printf '<%s>' it\\'s >/dev/null; printf '<%s>' {dir}/x",
                "printf '<%s>' \"\\\"\" >/dev/null; printf '<%s>' \"{dir}/x\"",
            ] {
                assert_eq!(words(command, folder), format!("<{folder}/x>"), "{command}");
            }
        }
        assert_eq!(
            words("printf '<%s>' \"`printf %s {dir}`/x\"", "/a b"),
            "</a b/x>"
        );
    }

    #[test]
    fn anything_else_stays_as_it_was_written() {
        for command in ["", "./server {port} $X \\", "a 'b \"c", "é ${x} `", ")"] {
            assert_eq!(with_folder(command), command);
        }
    }

    #[test]
    fn a_quoted_word_is_that_word_again() {
        for word in ["main", "feat/$(x)", "it's", "", "a b"] {
            let output = Command::new("/bin/sh")
                .args(["-c", &format!("printf %s {}", quoted(word))])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
        assert_eq!(quoted("origin/main"), "origin/main");
    }

    #[test]
    fn what_cannot_be_seen_is_written_out_and_bash_reads_it_back() {
        let word = "a\u{1b}b\u{202e}it's\\ é\n";
        let shown = quoted(word);
        assert_eq!(shown, r"$'a\x1bb\xe2\x80\xaeit\'s\\ é\x0a'");
        let command = format!("printf '%s|' {shown}");
        let Ok(output) = Command::new("bash").args(["-c", &command]).output() else {
            println!("skipped: there is no bash here");
            return;
        };
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!("{word}|")
        );
    }
}
