//! What is learned stays until the process ends: commands and the words in them, each kept once.

use std::sync::OnceLock;

use crate::command::{Command, CommandId, KeySpec};

/// A command that may have been kept already.
pub(super) struct Draft<'a> {
    /// All but what stands beside it here, and the id, which is made when it is kept.
    pub(super) command: Command,
    pub(super) name: &'a str,
    pub(super) key_specs: Vec<KeySpec>,
    pub(super) tips: Vec<&'static str>,
    pub(super) categories: Vec<&'static str>,
}

/// The one copy of this command, kept now if it was not before. `None` when there is no room for
/// another one.
pub(super) fn keep(draft: &Draft<'_>) -> Option<&'static Command> {
    COMMANDS.keep(
        |kept| draft.is(kept),
        |place| Box::leak(Box::new(draft.at(place))),
    )
}

/// The one copy of a word: a tip, a category, a keyword.
pub(super) fn keep_word(word: &str) -> Option<&'static str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    WORDS.keep(|known| known == word, |_| word.to_owned().leak())
}

/// The learned command at that place in the order in which they were kept.
pub(in crate::command) fn kept(place: usize) -> Option<&'static Command> {
    COMMANDS.places.get(place)?.get().copied()
}

impl Draft<'_> {
    fn is(&self, kept: &Command) -> bool {
        let command = &self.command;
        let keys = |command: &Command| (command.first_key, command.last_key, command.key_step);
        kept.name == self.name
            && (kept.arity, kept.flags, kept.group) == (command.arity, command.flags, command.group)
            && keys(kept) == keys(command)
            && kept.key_specs == self.key_specs
            && kept.key_rule == command.key_rule
            && kept.tips == self.tips
            && kept.categories == self.categories
    }

    fn at(&self, place: usize) -> Command {
        Command {
            id: CommandId(CommandId::OTHER.0 + 1 + place as u16),
            name: self.name.to_owned().leak(),
            key_specs: self.key_specs.clone().leak(),
            tips: self.tips.clone().leak(),
            categories: self.categories.clone().leak(),
            ..self.command.clone()
        }
    }
}

/// A table that only grows, and that readers see without waiting for anyone.
struct Pool<T: ?Sized + 'static, const PLACES: usize> {
    places: [OnceLock<&'static T>; PLACES],
}

impl<T: ?Sized, const PLACES: usize> Pool<T, PLACES> {
    const fn new() -> Self {
        Self {
            places: [const { OnceLock::new() }; PLACES],
        }
    }

    /// What is the same, or else what `make` makes for the first free place.
    fn keep(
        &self,
        is_same: impl Fn(&T) -> bool,
        make: impl Fn(usize) -> &'static T,
    ) -> Option<&'static T> {
        let mut places = self.places.iter().enumerate();
        places.find_map(|(index, place)| {
            let kept = *place.get_or_init(|| make(index));
            is_same(kept).then_some(kept)
        })
    }
}

static COMMANDS: Pool<Command, COMMANDS_MAX> = Pool::new();
static WORDS: Pool<str, WORDS_MAX> = Pool::new();

/// The most commands that a process learns in its life. Redis 8 with all its modules has fewer
/// than 300 that the table lacks.
pub(super) const COMMANDS_MAX: usize = 2_048;

const WORDS_MAX: usize = 1_024;

const WORD_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_keeps_each_once_and_no_more_than_it_has_places_for() {
        let pool = Pool::<str, 2>::new();
        let keep = |word: &str| pool.keep(|known| known == word, |_| word.to_owned().leak());
        let first = keep("one").unwrap();
        assert!(core::ptr::eq(first, keep("one").unwrap()));
        assert_eq!(keep("two"), Some("two"));
        assert_eq!(keep("three"), None);
        assert_eq!(keep("two"), Some("two"));
    }

    #[test]
    fn two_that_learn_at_the_same_time_learn_the_same() {
        let pool = Pool::<str, 64>::new();
        let learn = || {
            let keep = |word: String| pool.keep(|known| known == word, |_| word.clone().leak());
            (0..64).map(|n| keep(n.to_string())).collect::<Vec<_>>()
        };
        let (one, other) = std::thread::scope(|scope| {
            let other = scope.spawn(learn);
            (learn(), other.join().unwrap())
        });
        for (one, other) in one.iter().zip(&other) {
            assert!(core::ptr::eq(one.unwrap(), other.unwrap()));
        }
    }

    #[test]
    fn long_words_are_not_kept() {
        assert!(keep_word(&"x".repeat(WORD_BYTES_MAX)).is_some());
        assert!(keep_word(&"x".repeat(WORD_BYTES_MAX + 1)).is_none());
    }
}
