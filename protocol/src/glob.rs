//! Glob patterns as KEYS, SCAN and CONFIG GET know them: `*`, `?`, `[a-c]`, `[^x]` and `\`.

/// Whether `text` matches `pattern`. Needs no recursion and, whatever the pattern, at most a fixed
/// number of steps for each byte of both; a match that would take more is given up as none.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut steps = STEPS_MIN + STEPS_PER_BYTE.saturating_mul(pattern.len() + text.len());
    let (mut at, mut position) = (0, 0);
    // Where to go on when what follows the last star does not match: one byte later.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if steps == 0 {
            return false;
        }
        steps -= 1;
        if pattern.get(at) == Some(&b'*') {
            at += 1;
            if at == pattern.len() {
                return true;
            }
            star = Some((at, position));
            continue;
        }
        if position == text.len() {
            // Only stars match nothing, and the last one is behind us.
            return at == pattern.len();
        }
        let after = (at < pattern.len())
            .then(|| match_one(pattern, at, text[position]))
            .flatten();
        match (after, star) {
            (Some(after), _) => {
                at = after;
                position += 1;
            }
            (None, Some((after_star, from))) => {
                star = Some((after_star, from + 1));
                at = after_star;
                position = from + 1;
            }
            (None, None) => return false,
        }
    }
}

/// Matches one byte with what is at `at` in the pattern; where the pattern goes on.
fn match_one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern[at] {
        b'?' => Some(at + 1),
        b'[' => match_class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        literal => (literal == byte).then_some(at + 1),
    }
}

/// Matches one byte with the class whose content begins at `at`. One that is not closed reaches
/// to the pattern's end.
fn match_class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    while at < pattern.len() && pattern[at] != b']' {
        if pattern[at] == b'\\' && at + 1 < pattern.len() {
            found |= pattern[at + 1] == byte;
            at += 2;
        } else if at + 2 < pattern.len() && pattern[at + 1] == b'-' {
            let (one, other) = (pattern[at], pattern[at + 2]);
            found |= (one.min(other)..=one.max(other)).contains(&byte);
            at += 3;
        } else {
            found |= pattern[at] == byte;
            at += 1;
        }
    }
    (found != negated).then_some((at + 1).min(pattern.len()))
}

const STEPS_MIN: usize = 10_000;

const STEPS_PER_BYTE: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_the_server_does() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("*", "abc", true),
            ("", "", true),
            ("", "a", false),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c*f", "abcde", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("h[ae]llo", "hello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("a\\*c", "a*c", true),
            ("a\\*c", "abc", false),
            ("a\\", "a\\", true),
            ("[\\]]", "]", true),
            ("[a", "a", true),
            ("[", "[", false),
            ("**a**", "bab", true),
            ("key:*", "key", false),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_pattern_ends_soon() {
        let pattern = "*a".repeat(5_000) + "b";
        assert!(!matches(pattern.as_bytes(), &[b'a'; 20_000]));
    }
}
