//! Which tasks wait for which keys, in the order in which they came, and which keys a node watches
//! for them: it says once when such a key changes (CLIENT TRACKING), and has to be asked again.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use slotway_protocol::engine::Instant;

use super::running::TaskId;

/// All keys that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// By the number of their database. Ones without any keys are not kept.
    databases: BTreeMap<u16, BTreeMap<Bytes, Waited>>,
    len: usize,
}

/// A key that somebody waits for.
#[derive(Debug)]
struct Waited {
    /// Who takes elements away: the first is served first.
    takers: VecDeque<TaskId>,
    /// Who only reads; all are told of each change.
    readers: Vec<TaskId>,
    tracking: Tracking,
    /// The taker that has been told and has not come back.
    trying: Option<TaskId>,
    /// When a node last said what it holds.
    checked: Instant,
}

/// Whether a node will say when a key changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    No,
    /// That backend was asked.
    Asked(usize),
    /// That backend will.
    Yes(usize),
}

impl Waiters {
    /// A task waits for the key from now on, or still.
    pub(crate) fn add(&mut self, database: u16, key: &Bytes, task: TaskId, takes: bool) {
        let keys = self.databases.entry(database).or_default();
        let waited = keys.entry(key.clone()).or_insert_with(|| {
            self.len += 1;
            Waited {
                takers: VecDeque::new(),
                readers: Vec::new(),
                tracking: Tracking::No,
                trying: None,
                checked: Instant::default(),
            }
        });
        if takes && !waited.takers.contains(&task) {
            waited.takers.push_back(task);
        } else if !takes && !waited.readers.contains(&task) {
            waited.readers.push(task);
        }
    }

    /// A task that was told of the key has found nothing.
    pub(crate) fn come_back(&mut self, database: u16, key: &[u8], task: TaskId) {
        if let Some(waited) = self.waited_mut(database, key) {
            waited.trying.take_if(|trying| *trying == task);
        }
    }

    /// A task waits no more. Says whether the next one has to look for itself, because nobody
    /// would say when there is more.
    pub(crate) fn remove(&mut self, database: u16, key: &[u8], task: TaskId) -> bool {
        let Some(waited) = self.waited_mut(database, key) else {
            return false;
        };
        waited.trying.take_if(|trying| *trying == task);
        waited.takers.retain(|taker| *taker != task);
        waited.readers.retain(|reader| *reader != task);
        if waited.takers.is_empty() && waited.readers.is_empty() {
            self.forget(database, key);
            return false;
        }
        waited.trying.is_none() && waited.tracking == Tracking::No
    }

    /// Whom to tell that the key may have changed. Until the taker among them has come back the
    /// others are not told.
    pub(crate) fn wake(&mut self, database: u16, key: &[u8], told: &mut Vec<TaskId>) {
        let Some(waited) = self.waited_mut(database, key) else {
            return;
        };
        told.extend(&waited.readers);
        if waited.trying.is_none() {
            waited.trying = waited.takers.front().copied();
            told.extend(waited.trying);
        }
    }

    /// What is known of the key; `None` when nobody waits for it.
    pub(crate) fn tracking(&self, database: u16, key: &[u8]) -> Option<Tracking> {
        self.waited(database, key).map(|waited| waited.tracking)
    }

    pub(crate) fn set_tracking(
        &mut self,
        database: u16,
        key: &[u8],
        tracking: Tracking,
        now: Instant,
    ) {
        if let Some(waited) = self.waited_mut(database, key) {
            waited.tracking = tracking;
            waited.checked = now;
        }
    }

    /// Whether somebody who was told of the key is at it.
    pub(crate) fn is_tried(&self, database: u16, key: &[u8]) -> bool {
        self.waited(database, key)
            .is_some_and(|waited| waited.trying.is_some())
    }

    /// Whether somebody waits who only reads.
    pub(crate) fn has_readers(&self, database: u16, key: &[u8]) -> bool {
        self.waited(database, key)
            .is_some_and(|waited| !waited.readers.is_empty())
    }

    /// A backend will say nothing any more.
    pub(crate) fn forget_backend(&mut self, backend: usize) {
        for waited in self.databases.values_mut().flat_map(BTreeMap::values_mut) {
            if matches!(waited.tracking, Tracking::Asked(by) | Tracking::Yes(by) if by == backend) {
                waited.tracking = Tracking::No;
            }
        }
    }

    /// The keys with what is known of them, and since when.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, &Bytes, Tracking, Instant)> {
        self.databases.iter().flat_map(|(database, keys)| {
            let keys = keys.iter();
            keys.map(|(key, waited)| (*database, key, waited.tracking, waited.checked))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    fn waited(&self, database: u16, key: &[u8]) -> Option<&Waited> {
        self.databases.get(&database)?.get(key)
    }

    fn waited_mut(&mut self, database: u16, key: &[u8]) -> Option<&mut Waited> {
        self.databases.get_mut(&database)?.get_mut(key)
    }

    fn forget(&mut self, database: u16, key: &[u8]) {
        let Some(keys) = self.databases.get_mut(&database) else {
            return;
        };
        if keys.remove(key).is_some() {
            self.len -= 1;
        }
        if keys.is_empty() {
            self.databases.remove(&database);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::running::TaskId;
    use super::*;

    fn told(waiters: &mut Waiters, key: &[u8]) -> Vec<TaskId> {
        let mut told = Vec::new();
        waiters.wake(0, key, &mut told);
        told
    }

    #[test]
    fn who_came_first_is_served_first_and_one_at_a_time() {
        let mut waiters = Waiters::default();
        let key = Bytes::from_static(b"k");
        let [first, second, reader] = [0, 1, 2].map(TaskId::for_test);
        waiters.add(0, &key, first, true);
        waiters.add(0, &key, second, true);
        waiters.add(0, &key, reader, false);
        assert_eq!(told(&mut waiters, b"k"), [reader, first]);
        assert_eq!(told(&mut waiters, b"k"), [reader], "the first is at it");
        assert!(waiters.remove(0, b"k", first), "the next one has to look");
        assert_eq!(told(&mut waiters, b"k"), [reader, second]);
        waiters.come_back(0, b"k", second);
        waiters.set_tracking(0, b"k", Tracking::Yes(0), Instant::default());
        assert!(!waiters.remove(0, b"k", second), "the node will say");
        assert!(!waiters.remove(0, b"k", reader));
        assert_eq!(waiters.len(), 0);
    }

    #[test]
    fn a_node_that_is_gone_says_nothing() {
        let mut waiters = Waiters::default();
        let key = Bytes::from_static(b"k");
        waiters.add(0, &key, TaskId::for_test(0), true);
        waiters.set_tracking(0, b"k", Tracking::Yes(3), Instant::default());
        waiters.forget_backend(2);
        assert_eq!(waiters.tracking(0, b"k"), Some(Tracking::Yes(3)));
        waiters.forget_backend(3);
        assert_eq!(waiters.tracking(0, b"k"), Some(Tracking::No));
    }

    #[test]
    fn a_key_is_another_one_in_another_database() {
        let mut waiters = Waiters::default();
        let key = Bytes::from_static(b"k");
        let [here, there] = [0, 1].map(TaskId::for_test);
        waiters.add(0, &key, here, true);
        waiters.add(3, &key, there, true);
        assert_eq!(waiters.len(), 2);
        let mut told = Vec::new();
        waiters.wake(3, b"k", &mut told);
        assert_eq!(told, [there]);
        assert!(waiters.is_tried(3, b"k") && !waiters.is_tried(0, b"k"));
        waiters.remove(3, b"k", there);
        waiters.remove(0, b"k", here);
        assert_eq!((waiters.len(), waiters.databases.len()), (0, 0));
    }
}
