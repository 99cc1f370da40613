//! Patterns with `*`, `?`, `[a-c]`, `[^a]` and `\` as MATCH takes them.

/// Whether the whole of `text` matches `pattern`. An empty text matches only an empty pattern.
pub(crate) fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut pattern, mut text) = (pattern, text);
    // What follows the last `*`, and the text it was last tried on: going back to the last one is
    // enough, so the time is at most the product of the lengths.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            if rest.is_empty() {
                return true;
            }
            pattern = rest;
            retry = Some((rest, text));
            continue;
        }
        let matched = match (pattern.is_empty(), text) {
            (true, []) => return true,
            (false, [first, rest @ ..]) => match_one(pattern, *first).map(|p| (p, rest)),
            _ => None,
        };
        if let Some(next) = matched {
            (pattern, text) = next;
            continue;
        }
        match retry {
            Some((after_star, [_, rest @ ..])) => {
                (pattern, text) = (after_star, rest);
                retry = Some((after_star, rest));
            }
            _ => return false,
        }
    }
}

/// What is left of the pattern when its first part, which is not a `*`, matches `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match pattern {
        [b'?', rest @ ..] => Some(rest),
        [b'[', rest @ ..] => match_class(rest, byte),
        [b'\\', escaped, rest @ ..] => (*escaped == byte).then_some(rest),
        [literal, rest @ ..] => (*literal == byte).then_some(rest),
        [] => None,
    }
}

/// As [`match_one`] for what follows a `[`. A class that is not closed goes on to the end.
fn match_class(class: &[u8], byte: u8) -> Option<&[u8]> {
    let (is_negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut is_member = false;
    loop {
        rest = match rest {
            [] => break,
            [b']', after @ ..] => {
                rest = after;
                break;
            }
            [b'\\', escaped, after @ ..] => {
                is_member |= *escaped == byte;
                after
            }
            [from, b'-', to, after @ ..] => {
                is_member |= (*from.min(to)..=*from.max(to)).contains(&byte);
                after
            }
            [literal, after @ ..] => {
                is_member |= *literal == byte;
                after
            }
        };
    }
    (is_member != is_negated).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of these a pattern matches, as redis-server 7.0.15 answered.
    const TEXTS: [&str; 6] = ["", "a", "ab", "a]", "a-", "["];

    #[test]
    fn matches_as_the_server_does() {
        for (pattern, expected) in [
            ("**", &["a", "ab", "a]", "a-", "["][..]),
            ("?", &["a", "["]),
            ("[a", &["a"]),
            ("[^a", &["["]),
            ("[", &[]),
            ("a[]]", &[]),
            ("a[\\]]", &["a]"]),
            ("\\", &[]),
            ("[b-a]", &["a"]),
            ("[a-", &["a"]),
            ("a[+-", &["a-"]),
            ("a[b-", &["ab", "a-"]),
            ("", &[""]),
            ("a*", &["a", "ab", "a]", "a-"]),
            ("*b", &["ab"]),
            ("a*b*", &["ab"]),
            ("*a*]", &["a]"]),
        ] {
            let matched: Vec<&str> = TEXTS
                .into_iter()
                .filter(|text| glob_matches(pattern.as_bytes(), text.as_bytes()))
                .collect();
            assert_eq!(matched, expected, "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "a*".repeat(100) + "b";
        let text = "a".repeat(10_000);
        assert!(!glob_matches(pattern.as_bytes(), text.as_bytes()));
    }
}
