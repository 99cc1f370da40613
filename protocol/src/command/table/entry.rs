//! The notation of the table: builders that are run by the compiler.

use crate::command::flags::{Categories, Flags, KeyFlags};
use crate::command::keys::{BeginSearch, FindKeys, KeyRule, KeySpec};

/// A command as the table states it; what follows from that is worked out in the parent module.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) arity: i8,
    pub(super) since: &'static str,
    pub(super) flags: Flags,
    /// Those that do not follow from the flags.
    pub(super) categories: Categories,
    pub(super) tips: &'static [&'static str],
    pub(super) key_specs: &'static [KeySpec],
    pub(super) key_rule: KeyRule,
    /// In the order of their names.
    pub(super) subcommands: &'static [Self],
}

/// A command with its name in lower case, its arity and the version that brought it.
pub(super) const fn command(name: &'static str, arity: i8, since: &'static str) -> Entry {
    Entry {
        name,
        arity,
        since,
        flags: Flags::of(""),
        categories: Categories::of(""),
        tips: &[],
        key_specs: &[],
        key_rule: KeyRule::Specs,
        subcommands: &[],
    }
}

impl Entry {
    pub(super) const fn flags(mut self, words: &str) -> Self {
        self.flags = Flags::of(words);
        self
    }

    /// ACL categories that do not follow from the flags.
    pub(super) const fn acl(mut self, words: &str) -> Self {
        self.categories = Categories::of(words);
        self
    }

    pub(super) const fn tips(mut self, tips: &'static [&'static str]) -> Self {
        self.tips = tips;
        self
    }

    pub(super) const fn keys(mut self, specs: &'static [KeySpec]) -> Self {
        self.key_specs = specs;
        self
    }

    /// What the key specs can't say.
    pub(super) const fn rule(mut self, rule: KeyRule) -> Self {
        self.key_rule = rule;
        self
    }

    pub(super) const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }
}

/// One key, argument `index`.
pub(super) const fn key(index: u8, flags: &str) -> KeySpec {
    keys(index, 0, flags)
}

/// Every argument from `index` to `last`: so many more, or up to so many before the end.
pub(super) const fn keys(index: u8, last: i8, flags: &str) -> KeySpec {
    every(1, index, last, flags)
}

/// Every `step`th argument from `index` to `last`.
pub(super) const fn every(step: u8, index: u8, last: i8, flags: &str) -> KeySpec {
    KeySpec {
        flags: KeyFlags::of(flags),
        begin: BeginSearch::Index(index),
        find: FindKeys::Range {
            last,
            step,
            limit: 0,
        },
    }
}

/// Argument `index` is the number of keys; they follow it.
pub(super) const fn counted(index: u8, flags: &str) -> KeySpec {
    KeySpec {
        flags: KeyFlags::of(flags),
        begin: BeginSearch::Index(index),
        find: FindKeys::KeyNum {
            number: 0,
            first: 1,
            step: 1,
        },
    }
}

/// One key after a keyword, searched for from argument `from` on.
pub(super) const fn key_after(word: &'static str, from: i8, flags: &str) -> KeySpec {
    after(word, from, flags, (0, 0))
}

/// All arguments after a keyword.
pub(super) const fn all_after(word: &'static str, from: i8, flags: &str) -> KeySpec {
    after(word, from, flags, (-1, 0))
}

/// The first half of the arguments after a keyword.
pub(super) const fn half_after(word: &'static str, from: i8, flags: &str) -> KeySpec {
    after(word, from, flags, (-1, 2))
}

/// Keys that specs can't find.
pub(super) const fn somewhere(flags: &str) -> KeySpec {
    KeySpec {
        flags: KeyFlags::of(flags),
        begin: BeginSearch::Unknown,
        find: FindKeys::Unknown,
    }
}

const fn after(word: &'static str, from: i8, flags: &str, (last, limit): (i8, u8)) -> KeySpec {
    KeySpec {
        flags: KeyFlags::of(flags),
        begin: BeginSearch::Keyword { word, from },
        find: FindKeys::Range {
            last,
            step: 1,
            limit,
        },
    }
}
