//! Glob-style patterns as Redis has them.

/// Whether the whole of `text` matches `pattern`, in any case: `*`, `?`, `[a-c]`, `[^x]` and `\`
/// before a byte that stands for itself.
pub fn matches_any_case(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    // Where to go on when something after the last star does not match: the pattern behind the
    // star, and one byte more of the text eaten by it.
    let mut star = None;
    loop {
        let step = match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, position));
                continue;
            }
            Some(_) => text
                .get(position)
                .and_then(|&byte| match_one(&pattern[at..], byte)),
            None if position == text.len() => return true,
            None => None,
        };
        if let Some(len) = step {
            at += len;
            position += 1;
            continue;
        }
        match star {
            Some((behind, eaten)) if eaten < text.len() => {
                star = Some((behind, eaten + 1));
                (at, position) = (behind, eaten + 1);
            }
            _ => return false,
        }
    }
}

/// The length of the first element of `pattern`, which is not a star, when it matches `byte`.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => match_class(class, byte).map(|len| len + 1),
        [b'\\', literal, ..] => same(*literal, byte).then_some(2),
        [literal, ..] => same(*literal, byte).then_some(1),
        [] => None,
    }
}

/// The length of a class without its opening bracket, when it matches. A class that is not closed
/// ends with the pattern.
fn match_class(class: &[u8], byte: u8) -> Option<usize> {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match &class[at..] {
            [] | [b']', ..] => break,
            [b'\\', literal, ..] => {
                found |= same(*literal, byte);
                at += 2;
            }
            [from, b'-', to, ..] => {
                found |= in_range(*from, *to, byte);
                at += 3;
            }
            [literal, ..] => {
                found |= same(*literal, byte);
                at += 1;
            }
        }
    }
    let len = (at + 1).min(class.len());
    (found != negated).then_some(len)
}

fn in_range(from: u8, to: u8, byte: u8) -> bool {
    let (from, to) = (from.min(to), from.max(to));
    let range = from.to_ascii_lowercase()..=to.to_ascii_lowercase();
    range.contains(&byte.to_ascii_lowercase())
}

fn same(one: u8, other: u8) -> bool {
    one.eq_ignore_ascii_case(&other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_like_the_server() {
        let yes = [
            ("", ""),
            ("*", ""),
            ("*", "get"),
            ("g*", "GET"),
            ("G?T", "get"),
            ("*t*", "get"),
            ("h[abg]et", "hget"),
            ("[a-h]GET", "hget"),
            ("[^a]get", "hget"),
            ("\\get", "get"),
            ("config|*", "config|set"),
            ("*a*b*c", "xaxbxbc"),
            ("[h-a]get", "hget"),
            ("[ge", "g"),
            ("**", "x"),
            ("[\\]]", "]"),
        ];
        for (pattern, text) in yes {
            assert!(
                matches_any_case(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
        let no = [
            ("", "a"),
            ("?", ""),
            ("get", "gett"),
            ("gett", "get"),
            ("[^h]get", "hget"),
            ("*x", "get"),
            ("[]", "a"),
            ("a*b", "ac"),
            ("\\*", "x"),
        ];
        for (pattern, text) in no {
            assert!(
                !matches_any_case(pattern.as_bytes(), text.as_bytes()),
                "{pattern} {text}"
            );
        }
    }
}
