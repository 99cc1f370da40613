//! What may become of a key that sessions watch, read and set to one more: each value is left for
//! the next one once.

use std::collections::{BTreeMap, BTreeSet};

use super::checker::require;

/// A key that is set only while it is watched.
#[derive(Debug, Default)]
pub(super) struct Swaps {
    /// The sessions that wanted to set it, by the value that they had read.
    attempts: BTreeMap<u64, BTreeSet<u64>>,
    won: BTreeSet<u64>,
    /// Values that somebody may have left for the next one.
    unknown: BTreeSet<u64>,
    /// The highest value that was seen.
    pub(super) highest: u64,
    final_read: Option<u64>,
}

impl Swaps {
    pub(super) fn attempt(&mut self, session: u64, base: u64) {
        self.attempts.entry(base).or_default().insert(session);
    }

    /// A session has set it to one more than `base`.
    pub(super) fn win(&mut self, base: u64, floor: u64) -> Result<(), String> {
        require(base >= floor, "the value was changed before")?;
        require(self.won.insert(base), "the value was changed by another")?;
        self.highest = self.highest.max(base + 1);
        Ok(())
    }

    /// A session was told that it was changed by another: was it?
    pub(super) fn lose(&self, session: u64, base: u64) -> Result<(), String> {
        let mut tried = (base.saturating_sub(1)..=base).filter_map(|base| self.attempts.get(&base));
        require(
            tried.any(|sessions| sessions.iter().any(|other| *other != session)),
            "nobody has changed the value",
        )
    }

    pub(super) fn unknown(&mut self, base: u64) {
        self.unknown.insert(base);
    }

    pub(super) fn read(&mut self, value: u64, floor: u64, is_final: bool) -> Result<(), String> {
        require(value >= floor, "less than what was seen before")?;
        require(
            value == 0 || self.attempts.contains_key(&(value - 1)),
            "nobody has set that",
        )?;
        self.highest = self.highest.max(value);
        if is_final {
            self.final_read = Some(value);
        }
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), String> {
        let value = self.final_read.ok_or("never read at the end")?;
        require(
            self.won.last().is_none_or(|base| *base < value),
            "a change was lost",
        )?;
        let mut bases = 0..value;
        match bases.find(|base| !self.won.contains(base) && !self.unknown.contains(base)) {
            Some(base) => Err(format!("nobody was told that it changed {base}")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_change_is_seen() {
        let mut swaps = Swaps::default();
        swaps.attempt(1, 0);
        swaps.attempt(2, 0);
        assert!(swaps.win(0, 0).is_ok());
        assert!(swaps.win(0, 0).is_err(), "both have read the same value");
        assert!(swaps.win(0, 1).is_err(), "another was seen before");
        assert!(swaps.read(0, 1, false).is_err());
        assert!(swaps.read(1, 1, true).is_ok());
        assert!(swaps.finish().is_ok());
        assert!(swaps.read(2, 1, true).is_err(), "nobody has set it");
        assert!(swaps.finish().is_ok());
        swaps.final_read = Some(0);
        assert!(swaps.finish().is_err());
    }

    #[test]
    fn only_others_make_a_session_lose() {
        let mut swaps = Swaps::default();
        swaps.attempt(1, 4);
        assert!(swaps.lose(1, 4).is_err());
        swaps.attempt(2, 3);
        assert!(swaps.lose(1, 4).is_ok());
        assert!(swaps.lose(1, 2).is_err());
    }

    #[test]
    fn a_change_without_an_answer_may_have_happened() {
        let mut swaps = Swaps::default();
        swaps.attempt(1, 0);
        swaps.final_read = Some(1);
        assert!(swaps.finish().is_err());
        swaps.unknown(0);
        assert!(swaps.finish().is_ok());
        swaps.final_read = Some(0);
        assert!(swaps.finish().is_ok());
    }
}
