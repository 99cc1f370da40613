//! Splits an inline command, a line as one types it into telnet, into its words.

use super::error::RequestError;

/// Calls `add` with the bytes of each word of `line`, unquoted. `scratch` is only memory to use.
///
/// The rules are redis-server's: any white space separates words, though only space, tab and line
/// ends end one; double quotes may start inside a word and know `\xHH`, `\n`, `\r`, `\t`, `\b`,
/// `\a` and a backslash before any other byte; single quotes know `\'` only; a closing quote ends
/// the word, so white space or nothing must follow it.
pub(super) fn split(
    line: &[u8],
    scratch: &mut Vec<u8>,
    mut add: impl FnMut(&[u8]),
) -> Result<(), RequestError> {
    let mut rest = trim_start(line);
    while !rest.is_empty() {
        scratch.clear();
        rest = trim_start(word(rest, scratch)?);
        add(scratch);
    }
    Ok(())
}

/// Appends the word at the front of `line` to `word` and returns what is behind it.
fn word<'a>(line: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], RequestError> {
    let mut rest = line;
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', quoted @ ..] => return closed(double_quoted(quoted, word)?),
            [b'\'', quoted @ ..] => return closed(single_quoted(quoted, word)?),
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// Appends what is quoted and returns what is behind the closing quote.
fn double_quoted<'a>(line: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], RequestError> {
    let mut rest = line;
    loop {
        match rest {
            [] => return Err(RequestError::UnbalancedQuotes),
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'x', high, low, after @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                word.push(hex_value(*high) * 16 + hex_value(*low));
                rest = after;
            }
            [b'\\', escaped, after @ ..] => {
                word.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                });
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

/// Appends what is quoted and returns what is behind the closing quote.
fn single_quoted<'a>(line: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], RequestError> {
    let mut rest = line;
    loop {
        match rest {
            [] => return Err(RequestError::UnbalancedQuotes),
            [b'\'', after @ ..] => return Ok(after),
            [b'\\', b'\'', after @ ..] => {
                word.push(b'\'');
                rest = after;
            }
            [byte, after @ ..] => {
                word.push(*byte);
                rest = after;
            }
        }
    }
}

fn closed(rest: &[u8]) -> Result<&[u8], RequestError> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(RequestError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

/// White space as C has it: unlike `u8::is_ascii_whitespace` with the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn trim_start(line: &[u8]) -> &[u8] {
    let spaces = line.iter().take_while(|byte| is_space(**byte)).count();
    &line[spaces..]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words joined by `|`, `!` for unbalanced quotes.
    fn words(line: &[u8]) -> Vec<u8> {
        let mut words = Vec::new();
        let split = split(line, &mut Vec::new(), |word| words.push(word.to_vec()));
        split.map_or_else(|_| b"!".to_vec(), |()| words.join(&b'|'))
    }

    #[test]
    fn splits_as_the_server_does() {
        let table: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b"  \t\r ", b""),
            (b"PING", b"PING"),
            (b"  SET  a\tb ", b"SET|a|b"),
            (b"a\rb", b"a|b"),
            (
                b"ECHO \"\\x41\\n\\r\\t\\b\\a\\q\\\\\\\"\\x4\"",
                b"ECHO|A\n\r\t\x08\x07q\\\"x4",
            ),
            (b"\"\\xfF\\xA0\"", b"\xff\xa0"),
            (b"\"\\xg0\"", b"xg0"),
            (b"ECHO 'a\\'b\\n'", b"ECHO|a'b\\n"),
            (b"ECHO foo\"bar\"", b"ECHO|foobar"),
            (b"ECHO foo'b r'", b"ECHO|foob r"),
            (b"ECHO foo\"bar\"'q'", b"!"),
            (b"ECHO \"\" ", b"ECHO|"),
            (b"ECHO ''", b"ECHO|"),
            (b"'' ''", b"|"),
            (b"ECHO \"a", b"!"),
            (b"ECHO 'a", b"!"),
            (b"ECHO \"a\"b", b"!"),
            (b"ECHO 'a'b", b"!"),
            (b"ECHO \"abc\\", b"!"),
            (b"ECHO \"abc\\\"", b"!"),
            (b"ECHO a\\ b", b"ECHO|a\\|b"),
            (b"\x0bECHO\x0ba\x0b b", b"ECHO\x0ba\x0b|b"),
            (b"ECHO \x0ba\x0cb", b"ECHO|a\x0cb"),
            (b"ECHO \"a\"\x0b", b"ECHO|a"),
        ];
        for (line, expected) in table {
            let found = words(line);
            assert_eq!(
                found.escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{}",
                line.escape_ascii()
            );
        }
    }
}
