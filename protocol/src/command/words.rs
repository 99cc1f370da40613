//! Sets of named bits that are written as words and read at compile time, so that the table stays
//! readable and a misspelt word does not compile.

/// Declares a set of bits whose members have the names of the server's replies, in the order in
/// which the server lists them.
macro_rules! word_set {
    (
        $(#[$doc:meta])*
        $visibility:vis struct $Set:ident {
            $($(#[$member_doc:meta])* $MEMBER:ident = $word:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        $visibility struct $Set(u32);

        #[allow(dead_code)]
        impl $Set {
            $($(#[$member_doc])* $visibility const $MEMBER: Self = Self::of($word);)*

            const WORDS: &'static [&'static str] = &[$($word),*];

            /// The set of these words, separated by single spaces. An unknown word stops the
            /// compiler, or panics at run time: only for words in the source.
            pub(super) const fn of(words: &str) -> Self {
                Self($crate::command::words::bits(words, Self::WORDS))
            }

            /// The set of one word; of none when a server says what is not known here.
            pub(super) fn of_word(word: &str) -> Self {
                let bit = Self::WORDS.iter().position(|known| *known == word);
                Self(bit.map_or(0, |bit| 1 << bit))
            }

            /// Whether every member of `other` is in it.
            #[inline]
            $visibility const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// Whether any member of `other` is in it.
            #[inline]
            $visibility const fn intersects(self, other: Self) -> bool {
                self.0 & other.0 != 0
            }

            #[inline]
            $visibility const fn is_empty(self) -> bool {
                self.0 == 0
            }

            $visibility const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            $visibility const fn without(self, other: Self) -> Self {
                Self(self.0 & !other.0)
            }

            /// The number of members.
            $visibility const fn len(self) -> usize {
                self.0.count_ones() as usize
            }

            /// The members' names in the server's order.
            $visibility fn words(self) -> impl Iterator<Item = &'static str> {
                Self::WORDS
                    .iter()
                    .enumerate()
                    .filter(move |(bit, _)| self.0 & (1 << bit) != 0)
                    .map(|(_, word)| *word)
            }
        }
    };
}

pub(super) use word_set;

/// Bit n is set when `names[n]` is one of `words`.
pub(super) const fn bits(words: &str, names: &[&str]) -> u32 {
    let words = words.as_bytes();
    let mut bits = 0;
    let mut start = 0;
    while start < words.len() {
        let mut end = start;
        while end < words.len() && words[end] != b' ' {
            end += 1;
        }
        bits |= 1 << position(words.split_at(end).0.split_at(start).1, names);
        start = end + 1;
    }
    bits
}

/// Whether two byte strings are the same; `==` can't be used at compile time.
pub(super) const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Whether `one` comes before `other` in the order of their bytes.
pub(super) const fn before(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() {
        if one[at] != other[at] {
            return one[at] < other[at];
        }
        at += 1;
    }
    one.len() < other.len()
}

const fn position(word: &[u8], names: &[&str]) -> usize {
    let mut at = 0;
    while at < names.len() {
        if same(word, names[at].as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("a word of the table has to be one of the names")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_words_in_any_order() {
        let names = ["one", "two", "three"];
        for (words, expected) in [("", 0), ("one", 1), ("three one", 5), ("two three", 6)] {
            assert_eq!(bits(words, &names), expected, "{words}");
        }
    }

    #[test]
    #[should_panic(expected = "has to be one of the names")]
    fn an_unknown_word_is_refused() {
        bits("one four", &["one", "two", "three"]);
    }

    #[test]
    fn orders_like_str() {
        let names = ["", "a", "ab", "abc", "b", "b_c", "bc"];
        for one in names {
            for other in names {
                assert_eq!(before(one, other), one < other, "{one} {other}");
                assert_eq!(same(one.as_bytes(), other.as_bytes()), one == other);
            }
        }
    }
}
