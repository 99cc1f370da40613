//! Which keys are asked for most. Of the requests of a worker some are looked at, chosen by chance,
//! and their keys counted in a table of fixed size by the rule of Space-Saving: a key that is not
//! in it takes the place of the one with the fewest, and its count. So a key that has more than its
//! share cannot be missed, and no count is too low. Besides, which values are very large.

use core::time::Duration;
use std::sync::Arc;

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::keys::each_key;
use slotway_protocol::command::{Command, Flags};
use slotway_protocol::engine::Instant;
use slotway_protocol::resp::Request;

use super::Proxy;
use super::large_keys::hash;

/// What one worker knows of hot keys.
#[derive(Debug)]
pub(super) struct HotKeys {
    /// Requests until the next one that is looked at.
    left: u32,
    now: Sketch,
    /// Of the window before.
    before: Sketch,
    /// When this window began, and whether there was one before.
    began: Instant,
    is_first: bool,
    large: Vec<LargeValue>,
    /// Something has changed since it was shown.
    is_new: bool,
}

/// Counts of one window of time. The three lists have the same order.
#[derive(Debug, Default)]
struct Sketch {
    hashes: Vec<u64>,
    counts: Vec<u32>,
    about: Vec<About>,
}

#[derive(Debug, Clone, Default)]
struct About {
    key: Vec<u8>,
    /// How long the whole key is.
    key_len: usize,
    slot: u16,
    command: &'static str,
    writes: u32,
    /// By how much the count may be too high.
    over: u32,
}

/// What is shown of one worker's hot keys and large values.
#[derive(Debug, Default)]
pub struct Hot {
    /// The hottest first.
    pub keys: Vec<HotKey>,
    /// The largest first.
    pub large: Vec<LargeValue>,
}

/// A key that is often asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct HotKey {
    /// No more than its first 256 bytes.
    pub key: Vec<u8>,
    pub key_len: usize,
    pub slot: u16,
    /// What was asked last.
    pub command: &'static str,
    /// Requests a second, and by how much that may be too high.
    pub per_second: f64,
    pub over_per_second: f64,
    /// Those of them that write.
    pub writes_per_second: f64,
}

/// A request or a reply that was large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LargeValue {
    pub key: Vec<u8>,
    pub slot: u16,
    pub command: &'static str,
    pub is_reply: bool,
    /// The largest of those of the key.
    pub bytes: usize,
    pub count: u64,
    /// When the last one was.
    pub unix_ms: u64,
}

impl Default for HotKeys {
    fn default() -> Self {
        Self {
            left: 1,
            now: Sketch::default(),
            before: Sketch::default(),
            began: Instant::default(),
            is_first: true,
            large: Vec::new(),
            is_new: false,
        }
    }
}

impl HotKeys {
    /// Whether the request is to be looked at.
    #[inline(always)]
    pub(super) fn is_due(&mut self) -> bool {
        self.left = self.left.wrapping_sub(1);
        self.left == 0
    }

    fn note_large(&mut self, value: LargeValue) {
        self.is_new = true;
        let same =
            |known: &&mut LargeValue| known.key == value.key && known.is_reply == value.is_reply;
        if let Some(known) = self.large.iter_mut().find(same) {
            known.bytes = known.bytes.max(value.bytes);
            known.count += 1;
            known.unix_ms = value.unix_ms;
            known.command = value.command;
            return;
        }
        if self.large.len() >= LARGE_MAX
            && let Some(least) = (0..self.large.len()).min_by_key(|at| self.large[*at].bytes)
        {
            self.large.swap_remove(least);
        }
        self.large.push(value);
    }

    /// What is known of the last seconds; each key that was looked at stands for `every`.
    fn show(&self, every: u32, now: Instant) -> Hot {
        let whole = if self.is_first {
            0.0
        } else {
            WINDOW.as_secs_f64()
        };
        let seconds = (whole + now.since(self.began).as_secs_f64()).max(1.0);
        let rate = |count: u32| f64::from(count) * f64::from(every) / seconds;
        let mut sums: Vec<(u32, About)> = Vec::new();
        let mut hashes: Vec<u64> = Vec::new();
        for sketch in [&self.now, &self.before] {
            for (index, hash) in sketch.hashes.iter().enumerate() {
                let about = &sketch.about[index];
                match hashes.iter().position(|known| known == hash) {
                    Some(place) => {
                        sums[place].0 += sketch.counts[index];
                        sums[place].1.writes += about.writes;
                        sums[place].1.over += about.over;
                    }
                    None => {
                        hashes.push(*hash);
                        sums.push((sketch.counts[index], about.clone()));
                    }
                }
            }
        }
        sums.sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.key.cmp(&b.key)));
        sums.truncate(SHOWN_MAX);
        let keys = sums.into_iter().map(|(count, about)| HotKey {
            key: about.key,
            key_len: about.key_len,
            slot: about.slot,
            command: about.command,
            per_second: rate(count),
            over_per_second: rate(about.over),
            writes_per_second: rate(about.writes),
        });
        let mut large = self.large.clone();
        large.sort_by_key(|value| core::cmp::Reverse(value.bytes));
        Hot {
            keys: keys.collect(),
            large,
        }
    }

    fn turn(&mut self, now: Instant, unix_ms: u64) {
        std::mem::swap(&mut self.now, &mut self.before);
        self.now.clear();
        self.is_first = now.since(self.began) >= 2 * WINDOW;
        if self.is_first {
            // Nobody has looked for long: what there is may be of any age.
            self.before.clear();
        }
        self.began = now;
        let kept = LARGE_KEPT.as_millis() as u64;
        self.large
            .retain(|value| value.unix_ms.saturating_add(kept) > unix_ms);
    }
}

impl Sketch {
    fn clear(&mut self) {
        self.hashes.clear();
        self.counts.clear();
        self.about.clear();
    }

    fn add(&mut self, hash: u64, key: &[u8], slot: Slot, command: &Command) {
        let index = match self.hashes.iter().position(|known| *known == hash) {
            Some(index) => index,
            None => self.take_place(hash, key, slot),
        };
        self.counts[index] = self.counts[index].saturating_add(1);
        let about = &mut self.about[index];
        about.command = command.name;
        about.writes += u32::from(command.flags.contains(Flags::WRITE));
    }

    /// A free place, or that of the key with the fewest.
    fn take_place(&mut self, hash: u64, key: &[u8], slot: Slot) -> usize {
        let shown = &key[..key.len().min(KEY_BYTES_MAX)];
        if self.hashes.len() < KEYS_MAX {
            self.hashes.push(hash);
            self.counts.push(0);
            self.about.push(About {
                key: shown.to_vec(),
                key_len: key.len(),
                slot: slot.number(),
                ..About::default()
            });
            return self.hashes.len() - 1;
        }
        let counts = self.counts.iter().enumerate();
        let least = counts.min_by_key(|(_, count)| **count);
        let index = least.map_or(0, |(index, _)| index);
        self.hashes[index] = hash;
        let about = &mut self.about[index];
        about.over = self.counts[index];
        about.writes = 0;
        about.slot = slot.number();
        about.key_len = key.len();
        about.key.clear();
        about.key.extend_from_slice(shown);
        index
    }
}

impl Proxy {
    /// Looks at a key, and says how many requests may pass until the next one.
    #[cold]
    pub(super) fn note_key(&mut self, key: &[u8], command: &Command) {
        self.choose_next();
        self.count_key(key, command);
    }

    /// The same for a request that may have several keys.
    #[cold]
    pub(super) fn note_keys(&mut self, request: &Request<'_>, command: &'static Command) {
        self.choose_next();
        let mut looked_at = 0;
        // What has no keys, or none that can be told, has none.
        let _ = each_key(command, request, &mut |position| {
            if looked_at < KEYS_OF_REQUEST_MAX {
                looked_at += 1;
                self.count_key(request.arg(position), command);
            }
        });
    }

    /// By chance, so that no pattern in the requests hides a key, or shows it too often.
    fn choose_next(&mut self) {
        let every = self.options.hot_key_sample as u64;
        self.watched.hot.left = match every {
            // Looked at again when this many have passed: it may have been turned on.
            0 => 1 << 16,
            every => 1 + (self.random() % (2 * every - 1)) as u32,
        };
    }

    fn count_key(&mut self, key: &[u8], command: &Command) {
        if self.options.hot_key_sample > 0 {
            let hash = hash(self.options.random_seed, key);
            self.watched.hot.now.add(hash, key, Slot::of(key), command);
            self.watched.hot.is_new = true;
            self.stats.key_samples.inc();
        }
    }

    /// A request or a reply for the key was large.
    pub(super) fn note_large_value(
        &mut self,
        key: &[u8],
        bytes: usize,
        command: &Command,
        is_reply: bool,
    ) {
        if bytes < self.options.large_value_bytes {
            return;
        }
        self.stats.large_values[usize::from(is_reply)].inc();
        self.watched.hot.note_large(LargeValue {
            key: key[..key.len().min(KEY_BYTES_MAX)].to_vec(),
            slot: Slot::of(key).number(),
            command: command.name,
            is_reply,
            bytes,
            count: 1,
            unix_ms: self.unix_ms,
        });
    }

    /// Shows what is known by now.
    pub(super) fn show_hot(&mut self, now: Instant) {
        if !self.watched.hot.is_new {
            return;
        }
        if now.since(self.watched.hot.began) >= WINDOW {
            self.watched.hot.turn(now, self.unix_ms);
        }
        let every = u32::try_from(self.options.hot_key_sample).unwrap_or(u32::MAX);
        let hot = self.watched.hot.show(every, now);
        self.watched.hot.is_new = !hot.keys.is_empty() || !hot.large.is_empty();
        self.stats.hot.store(Arc::new(hot));
    }
}

/// All workers' hot keys and large values, the hottest and the largest first.
pub fn hot_of(workers: &[Arc<super::Stats>]) -> Hot {
    let mut sum = Hot::default();
    for stats in workers {
        let hot = stats.hot.load();
        for key in &hot.keys {
            match sum.keys.iter_mut().find(|known| known.key == key.key) {
                Some(known) => {
                    known.per_second += key.per_second;
                    known.over_per_second += key.over_per_second;
                    known.writes_per_second += key.writes_per_second;
                }
                None => sum.keys.push(key.clone()),
            }
        }
        for value in &hot.large {
            let same = |known: &&mut LargeValue| {
                known.key == value.key && known.is_reply == value.is_reply
            };
            match sum.large.iter_mut().find(same) {
                Some(known) => {
                    known.bytes = known.bytes.max(value.bytes);
                    known.count += value.count;
                    known.unix_ms = known.unix_ms.max(value.unix_ms);
                }
                None => sum.large.push(value.clone()),
            }
        }
    }
    sum.keys
        .sort_by(|one, other| other.per_second.total_cmp(&one.per_second));
    sum.large
        .sort_by_key(|value| core::cmp::Reverse(value.bytes));
    sum
}

/// Keys that one worker counts at a time. One that has more than a share of 1/256 of a worker's
/// requests is among them.
const KEYS_MAX: usize = 256;

/// Keys that one worker shows.
const SHOWN_MAX: usize = 100;

/// Of one request no more keys are looked at.
const KEYS_OF_REQUEST_MAX: usize = 16;

/// What is kept of a key.
pub(crate) const KEY_BYTES_MAX: usize = 256;

/// Large values that one worker remembers.
const LARGE_MAX: usize = 64;

/// What is shown is of one to two of these.
const WINDOW: Duration = Duration::from_secs(10);

/// For how long a large value is shown.
const LARGE_KEPT: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use slotway_protocol::command::lookup;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn add(hot: &mut HotKeys, key: &str, command: &str) {
        let command = lookup(command.as_bytes()).unwrap();
        let hash = hash(7, key.as_bytes());
        hot.now
            .add(hash, key.as_bytes(), Slot::of(key.as_bytes()), command);
    }

    #[test]
    fn a_hot_key_stands_out_of_very_many() {
        let mut hot = HotKeys::default();
        for number in 0..100_000 {
            add(&mut hot, &format!("cold:{number}"), "get");
            if number % 20 == 0 {
                add(
                    &mut hot,
                    "hot",
                    if number % 40 == 0 { "set" } else { "get" },
                );
            }
        }
        assert!(hot.now.hashes.len() <= KEYS_MAX);
        let shown = hot.show(64, at(5));
        let first = &shown.keys[0];
        assert_eq!(
            (&first.key[..], first.slot),
            (&b"hot"[..], Slot::of(b"hot").number())
        );
        let rate = 5_000.0 * 64.0 / 5.0;
        let least = first.per_second - first.over_per_second;
        assert!(least <= rate && rate <= first.per_second, "{first:?}");
        assert!(first.writes_per_second > 0.4 * rate, "{first:?}");
    }

    #[test]
    fn what_was_hot_is_forgotten() {
        let mut hot = HotKeys::default();
        add(&mut hot, "a", "get");
        hot.turn(at(10), 0);
        add(&mut hot, "b", "get");
        add(&mut hot, "b", "get");
        let names = |hot: &HotKeys, now| -> Vec<Vec<u8>> {
            let shown = hot.show(1, now).keys.into_iter();
            shown.map(|key| key.key).collect()
        };
        assert_eq!(names(&hot, at(15)), [b"b", b"a"]);
        assert!((hot.show(1, at(15)).keys[0].per_second - 2.0 / 15.0).abs() < 1e-9);
        hot.turn(at(20), 0);
        assert_eq!(names(&hot, at(21)), [b"b"]);
        hot.turn(at(90), 0);
        assert!(names(&hot, at(91)).is_empty());
    }

    #[test]
    fn few_large_values_are_kept_and_not_for_long() {
        let mut hot = HotKeys::default();
        let value = |key: usize, bytes| LargeValue {
            key: key.to_string().into_bytes(),
            slot: 0,
            command: "get",
            is_reply: true,
            bytes,
            count: 1,
            unix_ms: 1_000,
        };
        for key in 0..=LARGE_MAX {
            hot.note_large(value(key, 1000 + key));
        }
        hot.note_large(value(5, 10));
        let shown = hot.show(1, at(1)).large;
        assert_eq!(shown.len(), LARGE_MAX);
        assert_eq!(shown[0].bytes, 1000 + LARGE_MAX);
        let fifth = shown.iter().find(|value| value.key == b"5").unwrap();
        assert_eq!((fifth.bytes, fifth.count), (1005, 2));
        hot.turn(at(10), 601_001);
        assert!(hot.show(1, at(11)).large.is_empty());
    }
}
