//! Words of a line as redis-server tells them apart, with its quotes and escapes, and the reverse.

/// The words of a line; `None` when quotes do not match.
pub(super) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line;
    loop {
        rest = rest.trim_ascii_start();
        if rest.is_empty() {
            return Some(words);
        }
        let mut word = Vec::new();
        rest = read_word(rest, &mut word)?;
        words.push(word);
    }
}

/// Reads a word from the front and returns what comes after it.
fn read_word<'a>(mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t' | 0, ..] => return Some(rest),
            [quote @ (b'"' | b'\''), after @ ..] => return read_quoted(*quote, after, word),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// Reads up to the closing quote, behind which the word has to end.
fn read_quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        match rest {
            [b'\\', b'x', high, low, after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex(*high) << 4 | hex(*low));
                rest = after;
            }
            [b'\\', byte, after @ ..] if quote == b'"' => {
                word.push(unescaped(*byte));
                rest = after;
            }
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] if *byte == quote => {
                let ends = after.first().is_none_or(u8::is_ascii_whitespace);
                return ends.then_some(after);
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
            [] => return None,
        }
    }
}

/// Appends a word, in quotes if it needs them.
pub(super) fn append(out: &mut Vec<u8>, word: &[u8]) {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if word.iter().all(is_plain) {
        return out.extend_from_slice(word);
    }
    out.push(b'"');
    for byte in word {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(*byte),
            _ => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
        }
    }
    out.push(b'"');
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        other => other.to_ascii_lowercase() - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart_as_in_the_server() {
        for (line, expected) in [
            ("a b  c", Some(vec!["a", "b", "c"])),
            ("", Some(vec![])),
            ("\"a b\" 'c d'", Some(vec!["a b", "c d"])),
            (r#""a\x41\n\"" 'it\'s'"#, Some(vec!["aA\n\"", "it's"])),
            (r#""\xzz""#, Some(vec!["xzz"])),
            ("a\"b\" c", Some(vec!["ab", "c"])),
            ("\"a\"b", None),
            ("\"a", None),
            ("'a", None),
        ] {
            let words = split(line.as_bytes());
            let expected =
                expected.map(|words| words.iter().map(|word| word.as_bytes().to_vec()).collect());
            assert_eq!(words, expected, "{line}");
        }
    }

    #[test]
    fn what_is_appended_is_split_the_same() {
        for byte in 0..=255u8 {
            let word = [b'a', byte, b'z'];
            let mut line = Vec::new();
            append(&mut line, &word);
            assert_eq!(split(&line), Some(vec![word.to_vec()]), "{byte}");
        }
    }
}
