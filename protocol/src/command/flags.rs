//! Command flags, ACL categories and key flags, each as a set of bits.

use super::words::word_set;

word_set! {
    /// What is true of a command, in the words of `COMMAND INFO`.
    pub struct Flags {
        WRITE = "write",
        READONLY = "readonly",
        /// Refused when memory is short.
        DENYOOM = "denyoom",
        /// A module brought it.
        MODULE = "module",
        ADMIN = "admin",
        PUBSUB = "pubsub",
        /// Not allowed in scripts.
        NOSCRIPT = "noscript",
        /// May hold its reply back until something happens.
        BLOCKING = "blocking",
        /// Allowed while the data set is being loaded.
        LOADING = "loading",
        /// Allowed on a replica that lost its primary and does not serve stale data.
        STALE = "stale",
        SKIP_MONITOR = "skip_monitor",
        SKIP_SLOWLOG = "skip_slowlog",
        /// Counts as if ASKING had come before it.
        ASKING = "asking",
        FAST = "fast",
        /// Allowed before authentication.
        NO_AUTH = "no_auth",
        /// May well have no keys at all.
        NO_MANDATORY_KEYS = "no_mandatory_keys",
        NO_ASYNC_LOADING = "no_async_loading",
        /// Not allowed between MULTI and EXEC.
        NO_MULTI = "no_multi",
        /// The legacy triple of first key, last key and step does not find all keys.
        MOVABLEKEYS = "movablekeys",
        /// Allowed while a script or function has kept the server busy for long.
        ALLOW_BUSY = "allow_busy",
    }
}

word_set! {
    /// ACL categories, in the server's order.
    pub(super) struct Categories {
        KEYSPACE = "@keyspace",
        READ = "@read",
        WRITE = "@write",
        SET = "@set",
        SORTEDSET = "@sortedset",
        LIST = "@list",
        HASH = "@hash",
        STRING = "@string",
        BITMAP = "@bitmap",
        HYPERLOGLOG = "@hyperloglog",
        GEO = "@geo",
        STREAM = "@stream",
        PUBSUB = "@pubsub",
        ADMIN = "@admin",
        FAST = "@fast",
        SLOW = "@slow",
        BLOCKING = "@blocking",
        DANGEROUS = "@dangerous",
        CONNECTION = "@connection",
        TRANSACTION = "@transaction",
        SCRIPTING = "@scripting",
    }
}

word_set! {
    /// What a command does with a key, in the words of `COMMAND INFO`.
    pub struct KeyFlags {
        /// Reads it.
        RO = "RO",
        /// Reads and writes it.
        RW = "RW",
        /// Overwrites it, whatever it held.
        OW = "OW",
        /// Removes it.
        RM = "RM",
        /// Returns, copies or uses what the value holds.
        ACCESS = "access",
        UPDATE = "update",
        INSERT = "insert",
        DELETE = "delete",
        /// Not a key, but routed like one: a shard channel.
        NOT_KEY = "not_key",
        /// There may be more keys than the spec finds.
        INCOMPLETE = "incomplete",
        /// What is done with the key depends on other arguments.
        VARIABLE_FLAGS = "variable_flags",
    }
}

impl Categories {
    /// The categories that a command is in because of its flags.
    pub(super) const fn implied_by(flags: Flags, explicit: Self) -> Self {
        let mut implied = if flags.contains(Flags::FAST) {
            Self::FAST
        } else {
            Self::SLOW
        };
        if flags.contains(Flags::WRITE) {
            implied = implied.union(Self::WRITE);
        }
        if flags.contains(Flags::READONLY) && !explicit.contains(Self::SCRIPTING) {
            implied = implied.union(Self::READ);
        }
        if flags.contains(Flags::ADMIN) {
            implied = implied.union(Self::ADMIN).union(Self::DANGEROUS);
        }
        if flags.contains(Flags::PUBSUB) {
            implied = implied.union(Self::PUBSUB);
        }
        if flags.contains(Flags::BLOCKING) {
            implied = implied.union(Self::BLOCKING);
        }
        implied
    }

    /// Puts the members' names into `names` from `at` on and returns the place after them.
    pub(super) const fn write_words(self, names: &mut [&'static str], at: usize) -> usize {
        let (mut at, mut bit) = (at, 0);
        while bit < Self::WORDS.len() {
            if self.0 & (1 << bit) != 0 {
                names[at] = Self::WORDS[bit];
                at += 1;
            }
            bit += 1;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_what_they_are_made_of() {
        let flags = Flags::of("write fast");
        assert_eq!(flags, Flags::WRITE.union(Flags::FAST));
        assert!(flags.contains(Flags::FAST) && !flags.contains(Flags::READONLY));
        assert!(flags.intersects(Flags::FAST.union(Flags::READONLY)));
        assert!(!flags.contains(Flags::FAST.union(Flags::READONLY)));
        assert_eq!(flags.words().collect::<Vec<_>>(), ["write", "fast"]);
        assert_eq!((flags.len(), flags.is_empty()), (2, false));
        assert!(Flags::default().is_empty());
    }

    #[test]
    fn categories_follow_from_flags() {
        let of = |flags, explicit| {
            let explicit = Categories::of(explicit);
            let all = explicit.union(Categories::implied_by(Flags::of(flags), explicit));
            all.words().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of("write fast", "@string"), "@write @string @fast");
        assert_eq!(of("readonly", "@scripting"), "@slow @scripting");
        assert_eq!(of("readonly", ""), "@read @slow");
        assert_eq!(
            of("admin blocking", ""),
            "@admin @slow @blocking @dangerous"
        );
    }
}
