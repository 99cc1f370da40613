//! How a line of redis.conf is cut into words, and how a value is quoted so that it is one word.

/// Cuts a line at spaces. Double quotes know the escapes of C and `\xHH`, single quotes only `\'`.
/// `None` when a quote is not closed, or closed in the middle of a word.
pub(crate) fn split(line: &str) -> Option<Vec<String>> {
    let mut rest = line.as_bytes();
    let mut words = Vec::new();
    loop {
        while let [first, after @ ..] = rest
            && is_space(*first)
        {
            rest = after;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        rest = take_word(rest, &mut word)?;
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
}

/// Appends the word at the front, and returns what comes after it.
fn take_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some(rest),
            [b'"', after @ ..] => return take_double_quoted(after, word),
            [b'\'', after @ ..] => return take_single_quoted(after, word),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(digit(*high) * 16 + digit(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                });
                rest = after;
            }
            [b'"', after @ ..] => return ends_word(after),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [b'\'', after @ ..] => return ends_word(after),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

/// Nothing but a space may come after a closing quote.
fn ends_word(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [byte, ..] if !is_space(*byte) => None,
        _ => Some(rest),
    }
}

fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

fn digit(hexadecimal: u8) -> u8 {
    char::from(hexadecimal).to_digit(16).unwrap_or(0) as u8
}

/// The value in double quotes, in such a way that [`split`] gives it back.
pub(crate) fn quoted(value: &str) -> String {
    let mut text = String::from("\"");
    for byte in value.bytes() {
        match byte {
            b'\\' | b'"' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            7 => text.push_str("\\a"),
            8 => text.push_str("\\b"),
            b' '..=b'~' => text.push(char::from(byte)),
            other => text.push_str(&format!("\\x{other:02x}")),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_redis_server_cuts_them() {
        for (line, expected) in [
            ("", Some(vec![])),
            ("  port\t 7000 ", Some(vec!["port", "7000"])),
            (r#"a "b c" 'd e'"#, Some(vec!["a", "b c", "d e"])),
            (r#"a """#, Some(vec!["a", ""])),
            (r#"a "\x41\n\"\q""#, Some(vec!["a", "A\n\"q"])),
            (r#"a '\x41\''"#, Some(vec!["a", r"\x41'"])),
            (r#"a b"c""#, Some(vec!["a", "bc"])),
            (r#"a "b"#, None),
            (r#"a "b"c"#, None),
            ("a 'b'c", None),
        ] {
            let words = split(line);
            let words = words.as_ref().map(|words| words.iter().map(String::as_str));
            assert_eq!(words.map(Iterator::collect), expected, "{line}");
        }
    }

    #[test]
    fn what_is_quoted_is_one_word_again() {
        for value in ["", "a b", "\"\\\n\r\t\x07\x08\x01", "ü", "'"] {
            assert_eq!(split(&quoted(value)), Some(vec![value.to_owned()]));
        }
    }
}
