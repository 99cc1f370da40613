//! What may be read from one key, given all that was asked of it. A request without an answer may
//! have been executed, and may still be executed later, but only once.

use std::collections::{BTreeMap, BTreeSet};

use super::checker::require;

/// A list that is only appended to: the reply to RPUSH is the place of the item.
#[derive(Debug, Default)]
pub(super) struct List {
    /// What acknowledgements say is there, by place, counted from 0.
    places: BTreeMap<u64, String>,
    /// All items ever sent, and the session and order in which that was.
    sent: BTreeMap<String, (u64, usize)>,
    acknowledged: BTreeSet<String>,
    /// Items that come directly behind another, since they were sent together.
    followers: BTreeMap<String, String>,
    /// Items that are not there.
    refused: BTreeSet<String>,
    longest_read: Vec<String>,
    final_read: Option<Vec<String>>,
}

/// A counter that is only incremented.
#[derive(Debug, Default)]
pub(super) struct Counter {
    pub(super) invoked: u64,
    /// The highest count that was seen.
    pub(super) highest: u64,
    counts: BTreeSet<u64>,
    by_session: BTreeMap<u64, u64>,
    final_read: Option<u64>,
}

/// A key that all sessions set.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// For each value when it was sent and, if so, acknowledged.
    writes: BTreeMap<String, (u64, Option<u64>)>,
    /// When the latest of the acknowledged ones was sent.
    latest: u64,
}

/// A key that one session has for itself.
#[derive(Debug)]
pub(super) struct Private {
    /// What it can be.
    possible: Vec<Option<String>>,
    /// Writes without an answer that may still happen.
    ghosts: Vec<Option<String>>,
}

impl List {
    pub(super) fn invoke(&mut self, item: &str, session: u64) {
        let order = self.sent.len();
        self.sent.insert(item.to_owned(), (session, order));
    }

    /// These are appended together, with nothing in between.
    pub(super) fn join(&mut self, items: &[String]) {
        let pairs = items.windows(2);
        let pairs = pairs.map(|pair| (pair[0].clone(), pair[1].clone()));
        self.followers.extend(pairs);
    }

    /// These were not appended.
    pub(super) fn refuse(&mut self, items: &[String]) {
        self.refused.extend(items.iter().cloned());
    }

    /// Whether it is there at the end.
    pub(super) fn has(&self, item: &String) -> bool {
        let items = self.final_read.as_ref();
        items.is_some_and(|items| items.contains(item))
    }

    /// The length that was certainly reached.
    pub(super) fn floor(&self) -> u64 {
        self.places
            .last_key_value()
            .map_or(0, |(place, _)| place + 1)
    }

    pub(super) fn acknowledge(
        &mut self,
        items: &[String],
        len: u64,
        floor: u64,
    ) -> Result<(), String> {
        let first = len
            .checked_sub(items.len() as u64)
            .ok_or("shorter than what was appended")?;
        require(
            first >= floor,
            "a place before one that was given out earlier",
        )?;
        for (item, place) in items.iter().zip(first..) {
            self.acknowledged.insert(item.clone());
            if let Some(other) = self.places.insert(place, item.clone()) {
                return Err(format!("place {place} was given to {other} before"));
            }
        }
        Ok(())
    }

    pub(super) fn read(
        &mut self,
        items: Vec<String>,
        floor: u64,
        is_final: bool,
    ) -> Result<(), String> {
        require(items.len() as u64 >= floor, "shorter than it was")?;
        let common = items.len().min(self.longest_read.len());
        require(
            items[..common] == self.longest_read[..common],
            "not what was read before",
        )?;
        let torn = items.last().and_then(|item| self.followers.get(item));
        require(torn.is_none(), "a part of what was appended together")?;
        if items.len() > self.longest_read.len() {
            self.longest_read.clone_from(&items);
        }
        if is_final {
            self.final_read = Some(items);
        }
        Ok(())
    }

    /// The items as read last are those sent, each at most once and in its place, and those of a
    /// session in their order unless one of them was left without an answer.
    pub(super) fn finish(&self, is_ordered: bool) -> Result<(), String> {
        let items = self.final_read.as_ref().ok_or("never read at the end")?;
        require(
            items.len() >= self.longest_read.len(),
            "shorter than it was read before",
        )?;
        let mut seen = BTreeSet::new();
        let mut last = BTreeMap::new();
        for (place, item) in (0..).zip(items) {
            let (session, order) = *self
                .sent
                .get(item)
                .ok_or_else(|| format!("{item} was never sent"))?;
            require(seen.insert(item), &format!("{item} is there twice"))?;
            require(
                !self.refused.contains(item),
                &format!("{item} is there although it was refused"),
            )?;
            let next = self.followers.get(item);
            require(
                next.is_none() || next == items.get(place as usize + 1),
                &format!("{item} is not followed by {next:?}"),
            )?;
            let expected = self.places.get(&place);
            require(
                expected.is_none_or(|expected| expected == item),
                &format!("{item} is at place {place}, which was given to {expected:?}"),
            )?;
            if is_ordered && self.acknowledged.contains(item) {
                let before = last.insert(session, order);
                require(
                    before.is_none_or(|before| before < order),
                    &format!("{item} is behind one that its session sent later"),
                )?;
            }
        }
        let lost = self.acknowledged.iter().find(|item| !seen.contains(item));
        lost.map_or(Ok(()), |item| {
            Err(format!("{item} was acknowledged and is lost"))
        })
    }
}

impl Counter {
    pub(super) fn acknowledge(
        &mut self,
        session: Option<u64>,
        count: u64,
        floor: u64,
    ) -> Result<(), String> {
        require(count > floor, "not more than what was seen before")?;
        require(
            self.counts.insert(count),
            "a count that was given out before",
        )?;
        let before = session.and_then(|session| self.by_session.insert(session, count));
        require(
            before.is_none_or(|before| before < count),
            "a session's requests out of order",
        )?;
        self.see(count)
    }

    pub(super) fn read(&mut self, count: u64, floor: u64, is_final: bool) -> Result<(), String> {
        require(count >= floor, "less than what was seen before")?;
        if is_final {
            self.final_read = Some(count);
        }
        self.see(count)
    }

    pub(super) fn finish(&self) -> Result<(), String> {
        let count = self.final_read.ok_or("never read at the end")?;
        require(count >= self.counts.len() as u64, "increments were lost")?;
        require(count >= self.highest, "less than what was seen before")
    }

    fn see(&mut self, count: u64) -> Result<(), String> {
        self.highest = self.highest.max(count);
        require(count <= self.invoked, "more than was ever added")
    }
}

impl Shared {
    pub(super) fn invoke(&mut self, value: &str, at: u64) {
        self.writes.insert(value.to_owned(), (at, None));
    }

    pub(super) fn acknowledge(&mut self, value: &str, at: u64) {
        if let Some((invoked, acknowledged)) = self.writes.get_mut(value) {
            *acknowledged = Some(at);
            self.latest = self.latest.max(*invoked);
        }
    }

    /// A write that was acknowledged before this time is overwritten for every later reader.
    pub(super) fn floor(&self) -> u64 {
        self.latest
    }

    pub(super) fn read(&self, value: Option<&str>, floor: u64) -> Result<(), String> {
        let Some(value) = value else {
            return require(floor == 0, "nothing after a write");
        };
        let (_, acknowledged) = self
            .writes
            .get(value)
            .ok_or("a value that was never sent")?;
        let stale = acknowledged.is_some_and(|acknowledged| acknowledged < floor);
        require(!stale, "a value that was overwritten before")
    }
}

impl Private {
    pub(super) fn set(&mut self, value: Option<&str>) {
        self.possible = vec![value.map(str::to_owned)];
    }

    /// A write that may happen or not, now or later.
    pub(super) fn ghost(&mut self, value: Option<&str>) {
        self.ghosts.push(value.map(str::to_owned));
    }

    pub(super) fn read(&mut self, value: Option<&str>) -> Result<(), String> {
        let value = value.map(str::to_owned);
        if !self.possible.contains(&value) {
            let ghost = self.ghosts.iter().position(|ghost| *ghost == value);
            let wrong = || format!("not one of {:?}, {:?}", self.possible, self.ghosts);
            self.ghosts.remove(ghost.ok_or_else(wrong)?);
        }
        self.possible = vec![value];
        Ok(())
    }

    /// Whether it may be there, and whether it may not be there.
    pub(super) fn presence(&self) -> (bool, bool) {
        let mut all = self.possible.iter().chain(&self.ghosts);
        (all.clone().any(Option::is_some), all.any(Option::is_none))
    }
}

impl Default for Private {
    fn default() -> Self {
        Self {
            possible: vec![None],
            ghosts: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn list() -> List {
        let mut list = List::default();
        for (item, session) in [("a", 1), ("b", 1), ("c", 2)] {
            list.invoke(item, session);
        }
        list
    }

    #[test]
    fn a_list_shows_loss_doubles_and_disorder() {
        for (read, right) in [
            (&["a", "b", "c"][..], true),
            (&["c", "a", "b"], true),
            (&["a", "b"], true),
            (&["a", "c"], false),
            (&["b", "a"], false),
            (&["a", "b", "c", "c"], false),
            (&["a", "b", "x"], false),
        ] {
            let mut list = list();
            list.acknowledged.extend(items(&["a", "b"]));
            list.final_read = Some(items(read));
            assert_eq!(list.finish(true).is_ok(), right, "{read:?}");
        }
    }

    #[test]
    fn a_place_is_given_once_and_kept() {
        let mut list = list();
        assert!(list.acknowledge(&items(&["a"]), 1, 0).is_ok());
        assert!(list.acknowledge(&items(&["b"]), 1, 0).is_err());
        assert!(list.acknowledge(&items(&["c"]), 1, 1).is_err());
        list.final_read = Some(items(&["b", "a"]));
        assert!(list.finish(true).is_err());
    }

    #[test]
    fn a_counter_shows_loss_and_doubles() {
        let mut counter = Counter {
            invoked: 3,
            ..Counter::default()
        };
        assert!(counter.acknowledge(Some(1), 1, 0).is_ok());
        assert!(counter.acknowledge(Some(2), 1, 0).is_err());
        assert!(counter.acknowledge(None, 4, 1).is_err());
        counter.final_read = Some(0);
        assert!(counter.finish().is_err());
    }

    #[test]
    fn a_stale_read_is_seen() {
        let mut shared = Shared::default();
        shared.invoke("old", 1);
        shared.acknowledge("old", 2);
        shared.invoke("new", 3);
        assert!(shared.read(Some("old"), shared.floor()).is_ok());
        shared.acknowledge("new", 4);
        assert!(shared.read(Some("old"), shared.floor()).is_err());
        assert!(shared.read(Some("new"), shared.floor()).is_ok());
        assert!(shared.read(None, shared.floor()).is_err());
    }

    #[test]
    fn a_ghost_appears_at_most_once() {
        let mut private = Private::default();
        private.set(Some("a"));
        private.ghost(Some("b"));
        assert!(private.read(Some("a")).is_ok());
        assert!(private.read(Some("b")).is_ok());
        assert!(private.read(Some("a")).is_err());
        private.set(Some("c"));
        assert!(private.read(Some("b")).is_err());
    }
}
