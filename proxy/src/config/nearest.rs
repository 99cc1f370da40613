//! Guesses what a misspelt name was meant to be.

/// The candidate that takes the fewest edits to reach from `name`, if it is near enough to be
/// worth naming: at most one edit for each three letters, and never more than three.
pub(crate) fn nearest<'c>(
    name: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let edits_max = (name.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (edits(name, candidate), candidate))
        .filter(|(edits, _)| *edits <= edits_max)
        .min()
        .map(|(_, candidate)| candidate)
}

/// `; did you mean '...'?` for the nearest candidate, or nothing.
pub(crate) fn suggestion<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    match nearest(name, candidates) {
        Some(candidate) => format!("; did you mean '{candidate}'?"),
        None => String::new(),
    }
}

/// How many letters must be inserted, dropped, replaced or swapped with their neighbour to turn
/// one word into the other.
fn edits(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().collect();
    let to: Vec<char> = to.chars().collect();
    // Rows of the table of distances between all prefixes: the last two and the current one.
    let mut before_last = vec![0; to.len() + 1];
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 0..from.len() {
        let mut row = vec![i + 1; to.len() + 1];
        for j in 0..to.len() {
            let replaced = last[j] + usize::from(from[i] != to[j]);
            let mut fewest = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from[i] == to[j - 1] && from[i - 1] == to[j] {
                fewest = fewest.min(before_last[j - 1] + 1);
            }
            row[j + 1] = fewest;
        }
        before_last = core::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_edits() {
        for (from, to, expected) in [
            ("", "", 0),
            ("abc", "", 3),
            ("", "abc", 3),
            ("seedz", "seeds", 1),
            ("sedes", "seeds", 1),
            ("sees", "seeds", 1),
            ("seesd", "seeds", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(from, to), expected, "{from} {to}");
        }
    }

    #[test]
    fn names_only_what_is_near() {
        let names = ["listen", "workers", "seeds"];
        assert_eq!(nearest("seedz", names), Some("seeds"));
        assert_eq!(nearest("lisetn", names), Some("listen"));
        assert_eq!(nearest("threads", names), None);
        assert_eq!(nearest("x", names), None);
        assert_eq!(suggestion("worker", names), "; did you mean 'workers'?");
        assert_eq!(suggestion("threads", names), "");
    }
}
