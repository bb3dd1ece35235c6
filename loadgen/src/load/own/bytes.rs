//! Bytes as people type them: text with escapes, or hexadecimal digits.

/// The bytes of a text with escapes: `\r` `\n` `\t` `\0` `\\` `\xNN`.
pub(super) fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (byte, length) = escape(&rest[at..])?;
        bytes.push(byte);
        rest = &rest[at + length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// The byte that the escape at the beginning of a text stands for, and the escape's length.
pub(super) fn escape(text: &str) -> Result<(u8, usize), String> {
    let byte = match text.as_bytes().get(1) {
        Some(b'r') => b'\r',
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'0') => 0,
        Some(b'\\') => b'\\',
        Some(b'x') => {
            let digits = text.get(2..4).unwrap_or_default();
            return hex_byte(digits.as_bytes())
                .map(|byte| (byte, 4))
                .ok_or_else(|| format!("`\\x{digits}`: \\x takes two hexadecimal digits"));
        }
        _ => {
            let shown: String = text.chars().take(2).collect();
            return Err(format!(
                "`{shown}` is no escape: \\r \\n \\t \\0 \\\\ and \\xNN are"
            ));
        }
    };
    Ok((byte, 2))
}

/// The bytes of hexadecimal digits, two each, with blanks between them where one likes.
pub(super) fn of_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(hex_byte).collect();
    bytes.ok_or_else(|| {
        format!(
            "`hex:{}`: two hexadecimal digits make a byte, such as hex:00 0a ff",
            text.chars().take(40).collect::<String>()
        )
    })
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    Some((value(high)? * 16 + value(low)?) as u8)
}

/// Hexadecimal digits, from which [`of_hex`] makes the bytes again.
pub(super) fn in_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A byte as [`unescaped`] reads it.
pub(super) fn escaped(byte: u8) -> String {
    match byte {
        b'\r' => "\\r".into(),
        b'\n' => "\\n".into(),
        b'\t' => "\\t".into(),
        b'\\' => "\\\\".into(),
        b' '..=b'~' => char::from(byte).into(),
        _ => format!("\\x{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_are_read_and_all_others_are_refused() {
        let read = unescaped("a\\r\\n\\t\\0\\\\\\x7fé").expect("valid");
        assert_eq!(read, "a\r\n\t\0\\\x7fé".as_bytes());
        for bad in ["\\", "\\q", "\\x", "\\x1", "\\xg0", "\\x+1", "\\é", "\\xé"] {
            assert!(unescaped(bad).is_err(), "{bad}");
        }
        assert_eq!(of_hex("00 0A\nff"), Ok(vec![0, 10, 255]));
        for bad in ["0", "0g", "é0", "0x00"] {
            assert!(of_hex(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn bytes_survive_being_written(bytes in proptest::collection::vec(any::<u8>(), 0..50)) {
            let text: String = bytes.iter().copied().map(escaped).collect();
            prop_assert!(text.is_ascii());
            prop_assert_eq!(unescaped(&text), Ok(bytes.clone()));
            prop_assert_eq!(of_hex(&in_hex(&bytes)), Ok(bytes));
        }
    }
}
