//! Which commands --verify-values is for, and what is wrong with others.

use super::words::{Piece, Word};

/// Whether a command is `GET` of one key, whose answer can be compared.
#[must_use]
pub fn is_verified(words: &[Word]) -> bool {
    match words {
        [name, key] => is_named(name, "GET") && numbers(key) == 1 && has(key, &Piece::Key),
        _ => false,
    }
}

/// Checks that every value has one key that says what it is, and that there is a value or an answer to compare.
pub(super) fn check(commands: &[String], all: &[Vec<Word>]) -> Result<(), String> {
    let with_value = |words: &&Vec<Word>| words.iter().any(|word| has(word, &Piece::Value));
    for (command, words) in commands
        .iter()
        .zip(all)
        .filter(|(_, words)| with_value(words))
    {
        let key = words.iter().position(|word| has(word, &Piece::Key));
        let values = words.iter().enumerate();
        let mut values = values.filter(|(_, word)| has(word, &Piece::Value));
        let first = values.next();
        let is_after_key = first.is_some_and(|(at, _)| key.is_some_and(|key| key < at));
        let is_alone = first.is_some_and(|(_, word)| word.len() == 1) && values.next().is_none();
        let one_number = words.iter().map(numbers).sum::<usize>() == 1;
        if !(is_after_key && is_alone && one_number) {
            return Err(format!(
                "--verify-values: in `{command}` not one __key__ says what __value__ is: a command with a value has one \
                 __key__ and after it __value__ as a word of its own, such as SET __key__ __value__"
            ));
        }
    }
    match all.iter().any(|words| with_value(&words) || is_verified(words)) {
        true => Ok(()),
        false => Err(
            "--verify-values: no command sets the __value__ of a __key__ or is GET __key__, whose answer is compared"
                .into(),
        ),
    }
}

fn has(word: &Word, piece: &Piece) -> bool {
    word.contains(piece)
}

/// How many numbers are filled into a word.
fn numbers(word: &Word) -> usize {
    let is_number = |piece: &&Piece| matches!(piece, Piece::Key | Piece::Number);
    word.iter().filter(is_number).count()
}

fn is_named(word: &Word, name: &str) -> bool {
    matches!(word.as_slice(), [Piece::Text(text)] if text.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::super::words::parse;
    use super::*;

    fn checked(commands: &[&str]) -> Result<(), String> {
        let commands: Vec<String> = commands.iter().map(|text| (*text).to_owned()).collect();
        let all: Result<Vec<_>, _> = commands.iter().map(|text| parse(text)).collect();
        check(&commands, &all.expect("commands"))
    }

    #[test]
    fn a_value_needs_one_key_before_it() {
        let accepted: [&[&str]; 5] = [
            &["SET __key__ __value__", "GET __key__"],
            &["SETEX __key__ 100 __value__"],
            &["get a:__key__:b"],
            &["SET __key__ __value__ EX 100", "GET __key__", "PING"],
            &["LPUSH list a", "GET __key__"],
        ];
        for commands in accepted {
            assert_eq!(checked(commands), Ok(()), "{commands:?}");
        }
        let values = [
            "SET a __value__",
            "SET __key__ x__value__",
            "MSET __key__ __value__ __key__ __value__",
            "SET __key__ __value__ EX __rand_int__",
            "SET __key__ __value__ __value__",
            "EVAL __value__ 1 __key__",
        ];
        for command in values {
            let error = checked(&[command, "GET __key__"]).expect_err(command);
            assert!(error.contains("not one __key__ says"), "{error}");
        }
        for command in [
            "GET a",
            "MGET __key__",
            "GET __key____key__",
            "GETEX __key__ EX 5",
        ] {
            let error = checked(&[command]).expect_err(command);
            assert!(error.contains("no command sets the __value__"), "{error}");
        }
    }
}
