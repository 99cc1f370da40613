//! Tells waiting tasks when their keys have changed. The node is asked over its feed to say so; as
//! long as it can't be, the first who waits looks for itself now and then.

use core::time::Duration;

use bytes::Bytes;
use slotway_protocol::cluster::Slot;
use slotway_protocol::engine::Instant;
use slotway_protocol::resp::encode;
use slotway_protocol::resp::value::{Token, TokenReader};

use super::feed::Owner;
use super::running::{News, TaskId};
use super::waiters::Tracking;
use super::{NO_OWNER, Proxy};

impl Proxy {
    /// A task waits for news of its keys.
    pub(super) fn await_keys(&mut self, id: TaskId, keys: Vec<Bytes>, takes: bool, now: Instant) {
        let Some(running) = self.tasks.get(id) else {
            return;
        };
        running.keys.clone_from(&keys);
        let lane = running.lane;
        let (_, database) = self.about_lane(lane);
        for key in &keys {
            self.waiters.add(database, key, id, takes);
            self.waiters.come_back(database, key, id);
        }
        for key in keys {
            let tracking = self.waiters.tracking(database, &key);
            if tracking == Some(Tracking::No) && !self.waiters.is_tried(database, &key) {
                self.track(database, &key, now);
            }
        }
    }

    /// A task that may have waited for keys has ended: the next in line has its turn.
    pub(super) fn stop_waiting(&mut self, id: TaskId, lane: usize, keys: Vec<Bytes>, now: Instant) {
        let (_, database) = self.about_lane(lane);
        for key in keys {
            if self.waiters.remove(database, &key, id) {
                self.wake_waiters(database, &key, now);
            }
        }
    }

    fn wake_waiters(&mut self, database: u16, key: &Bytes, now: Instant) {
        let mut told = Vec::new();
        self.waiters.wake(database, key, &mut told);
        for task in told {
            self.tell(task, News::KeyChanged(key.clone()), now);
        }
    }

    /// Asks the key's owner to say when the key changes, and what it is now. Feeds are in database
    /// 0, so keys of others are looked at now and then.
    fn track(&mut self, database: u16, key: &Bytes, now: Instant) {
        if database > 0 {
            return;
        }
        let owner = self.owners[Slot::of(key).index()];
        if owner == NO_OWNER {
            return;
        }
        let backend = owner as usize;
        let mut frame = Vec::new();
        if !self.feeds[backend].tracks {
            encode::request(&mut frame, &["CLIENT", "TRACKING", "ON"]);
            if !self.ask_feed(backend, &frame, Owner::Tracking, now) {
                return;
            }
            self.feeds[backend].tracks = true;
            frame.clear();
        }
        encode::request(&mut frame, &[&b"EXISTS"[..], key]);
        if self.ask_feed(backend, &frame, Owner::Key(key.clone()), now) {
            self.waiters
                .set_tracking(database, key, Tracking::Asked(backend), now);
        }
    }

    /// The node has said whether the key exists; from now on it says when that changes.
    pub(super) fn key_answered(
        &mut self,
        backend: usize,
        key: &Bytes,
        answer: &[u8],
        now: Instant,
    ) {
        if self.waiters.tracking(0, key) != Some(Tracking::Asked(backend)) {
            return;
        }
        let Ok(Some(Token::Integer(exists))) = TokenReader::new(answer).next_token() else {
            // The slot is elsewhere, or on its way.
            self.topology_is_stale();
            return self.waiters.set_tracking(0, key, Tracking::No, now);
        };
        // Of what whoever is at it leaves over the node would say nothing.
        let tracking = if exists > 0 && self.waiters.is_tried(0, key) {
            Tracking::No
        } else {
            Tracking::Yes(backend)
        };
        self.waiters.set_tracking(0, key, tracking, now);
        // What came between the last look and now would be missed. A stream always exists.
        if exists > 0 || self.waiters.has_readers(0, key) {
            self.wake_waiters(0, key, now);
        }
    }

    /// The node says that keys have changed; without any it means all.
    pub(super) fn keys_changed(&mut self, backend: usize, push: &[u8], now: Instant) {
        let mut reader = TokenReader::new(push);
        let mut changed = Vec::new();
        let (_, _) = (reader.next_token(), reader.next_token());
        match reader.next_token() {
            Ok(Some(Token::Array(count))) => {
                for _ in 0..count {
                    if let Ok(Some(Token::Bulk(key))) = reader.next_token() {
                        changed.push(Bytes::copy_from_slice(key));
                    }
                }
            }
            _ => {
                let keys = self.waiters.iter();
                let tracked = keys.filter(|(database, ..)| *database == 0);
                changed.extend(tracked.map(|(_, key, ..)| key.clone()));
            }
        }
        for key in changed {
            if self.waiters.tracking(0, &key) == Some(Tracking::Yes(backend)) {
                self.waiters.set_tracking(0, &key, Tracking::No, now);
                self.wake_waiters(0, &key, now);
                if !self.waiters.is_tried(0, &key) {
                    self.track(0, &key, now);
                }
            }
        }
    }

    /// The feed of a backend is lost.
    pub(super) fn forget_tracking(&mut self, backend: usize) {
        self.waiters.forget_backend(backend);
    }

    /// Looks after the keys that nobody watches, or whose home has changed.
    pub(super) fn sweep_waiters(&mut self, now: Instant) {
        let mut unwatched = Vec::new();
        for (database, key, tracking, checked) in self.waiters.iter() {
            let owner = self.owners[Slot::of(key).index()] as usize;
            let is_well = match tracking {
                Tracking::No => false,
                Tracking::Asked(by) => by == owner,
                Tracking::Yes(by) => by == owner && now.since(checked) < CHECKED_EVERY,
            };
            if !is_well {
                unwatched.push((database, key.clone(), tracking == Tracking::No));
            }
        }
        for (database, key, look) in unwatched {
            if self.waiters.is_tried(database, &key) {
                continue;
            }
            self.waiters.set_tracking(database, &key, Tracking::No, now);
            self.track(database, &key, now);
            // It was not watched for a while, and may not be for a while.
            if look {
                self.wake_waiters(database, &key, now);
            }
        }
        self.stats.waiting_keys.set(self.waiters.len() as i64);
    }
}

/// A key is asked about again after this time, though its node should say when it changes.
const CHECKED_EVERY: Duration = Duration::from_secs(10);
