//! Which tasks wait for which keys, in the order in which they came, and which keys a node watches
//! for them: it says once when such a key changes (CLIENT TRACKING), and has to be asked again.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use slotway_protocol::engine::Instant;

use super::running::TaskId;

/// All keys that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    keys: BTreeMap<Bytes, Waited>,
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
    pub(crate) fn add(&mut self, key: &Bytes, task: TaskId, takes: bool) {
        let waited = self.keys.entry(key.clone()).or_insert_with(|| Waited {
            takers: VecDeque::new(),
            readers: Vec::new(),
            tracking: Tracking::No,
            trying: None,
            checked: Instant::default(),
        });
        if takes && !waited.takers.contains(&task) {
            waited.takers.push_back(task);
        } else if !takes && !waited.readers.contains(&task) {
            waited.readers.push(task);
        }
    }

    /// A task that was told of the key has found nothing.
    pub(crate) fn come_back(&mut self, key: &[u8], task: TaskId) {
        if let Some(waited) = self.keys.get_mut(key) {
            waited.trying.take_if(|trying| *trying == task);
        }
    }

    /// A task waits no more. Says whether the next one has to look for itself, because nobody
    /// would say when there is more.
    pub(crate) fn remove(&mut self, key: &[u8], task: TaskId) -> bool {
        let Some(waited) = self.keys.get_mut(key) else {
            return false;
        };
        waited.trying.take_if(|trying| *trying == task);
        waited.takers.retain(|taker| *taker != task);
        waited.readers.retain(|reader| *reader != task);
        if waited.takers.is_empty() && waited.readers.is_empty() {
            self.keys.remove(key);
            return false;
        }
        waited.trying.is_none() && waited.tracking == Tracking::No
    }

    /// Whom to tell that the key may have changed. Until the taker among them has come back the
    /// others are not told.
    pub(crate) fn wake(&mut self, key: &[u8], told: &mut Vec<TaskId>) {
        let Some(waited) = self.keys.get_mut(key) else {
            return;
        };
        told.extend(&waited.readers);
        if waited.trying.is_none() {
            waited.trying = waited.takers.front().copied();
            told.extend(waited.trying);
        }
    }

    /// What is known of the key; `None` when nobody waits for it.
    pub(crate) fn tracking(&self, key: &[u8]) -> Option<Tracking> {
        self.keys.get(key).map(|waited| waited.tracking)
    }

    pub(crate) fn set_tracking(&mut self, key: &[u8], tracking: Tracking, now: Instant) {
        if let Some(waited) = self.keys.get_mut(key) {
            waited.tracking = tracking;
            waited.checked = now;
        }
    }

    /// Whether somebody who was told of the key is at it.
    pub(crate) fn is_tried(&self, key: &[u8]) -> bool {
        self.keys
            .get(key)
            .is_some_and(|waited| waited.trying.is_some())
    }

    /// Whether somebody waits who only reads.
    pub(crate) fn has_readers(&self, key: &[u8]) -> bool {
        self.keys
            .get(key)
            .is_some_and(|waited| !waited.readers.is_empty())
    }

    /// A backend will say nothing any more.
    pub(crate) fn forget_backend(&mut self, backend: usize) {
        for waited in self.keys.values_mut() {
            if matches!(waited.tracking, Tracking::Asked(by) | Tracking::Yes(by) if by == backend) {
                waited.tracking = Tracking::No;
            }
        }
    }

    /// The keys with what is known of them, and since when.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Bytes, Tracking, Instant)> {
        let keys = self.keys.iter();
        keys.map(|(key, waited)| (key, waited.tracking, waited.checked))
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::running::TaskId;
    use super::*;

    fn told(waiters: &mut Waiters, key: &[u8]) -> Vec<TaskId> {
        let mut told = Vec::new();
        waiters.wake(key, &mut told);
        told
    }

    #[test]
    fn who_came_first_is_served_first_and_one_at_a_time() {
        let mut waiters = Waiters::default();
        let key = Bytes::from_static(b"k");
        let [first, second, reader] = [0, 1, 2].map(TaskId::for_test);
        waiters.add(&key, first, true);
        waiters.add(&key, second, true);
        waiters.add(&key, reader, false);
        assert_eq!(told(&mut waiters, b"k"), [reader, first]);
        assert_eq!(told(&mut waiters, b"k"), [reader], "the first is at it");
        assert!(waiters.remove(b"k", first), "the next one has to look");
        assert_eq!(told(&mut waiters, b"k"), [reader, second]);
        waiters.come_back(b"k", second);
        waiters.set_tracking(b"k", Tracking::Yes(0), Instant::default());
        assert!(!waiters.remove(b"k", second), "the node will say");
        assert!(!waiters.remove(b"k", reader));
        assert_eq!(waiters.len(), 0);
    }

    #[test]
    fn a_node_that_is_gone_says_nothing() {
        let mut waiters = Waiters::default();
        let key = Bytes::from_static(b"k");
        waiters.add(&key, TaskId::for_test(0), true);
        waiters.set_tracking(b"k", Tracking::Yes(3), Instant::default());
        waiters.forget_backend(2);
        assert_eq!(waiters.tracking(b"k"), Some(Tracking::Yes(3)));
        waiters.forget_backend(3);
        assert_eq!(waiters.tracking(b"k"), Some(Tracking::No));
    }
}
