//! When keys expire: reading and changing their date, and removing them when nobody asks.

use super::table::Table;
use super::{ExpiryRule, Keyspace};

impl Keyspace {
    /// When a key expires, Unix time in milliseconds: `None` without the key, 0 for never.
    pub(crate) fn expires_at(&self, key: &[u8]) -> Option<u64> {
        self.live_entry(key).map(|entry| entry.expires_at)
    }

    /// Changes when a key expires, 0 for never; whether the key is there. A date that has passed
    /// is not looked at here.
    pub(crate) fn set_expires_at(&mut self, key: &[u8], expires_at: u64) -> bool {
        let hash = self.hash(key);
        let Some(place) = self.live_place(hash, key) else {
            return false;
        };
        let table = &mut self.tables[self.selected];
        let entry = table.at_mut(place);
        let expired_before = usize::from(entry.expires_at != 0);
        entry.expires_at = expires_at;
        table.expiring = table.expiring + usize::from(expires_at != 0) - expired_before;
        self.note_change(key);
        true
    }

    /// The average time to live of the keys that expire, in milliseconds, from a sample.
    pub(super) fn average_ttl_ms(&self, tables: &[Table]) -> u64 {
        let tables = tables.iter().filter(|table| table.expiring > 0);
        let ttls = tables
            .flat_map(|table| table.iter())
            .filter(|entry| entry.expires_at > self.now_ms)
            .take(SAMPLE)
            .map(|entry| entry.expires_at - self.now_ms);
        let (sum, count) = ttls.fold((0u64, 0u64), |(sum, count), ttl| {
            (sum.saturating_add(ttl), count + 1)
        });
        sum.checked_div(count).unwrap_or(0)
    }

    /// Removes expired keys that nobody asks for: looks at the next keys in turn, and goes on
    /// while it finds many, at most until it has seen all once. Returns at how many keys it
    /// looked. Bounded work, meant to be called ten times a second.
    pub(crate) fn expire_some(&mut self) -> usize {
        let mut looked_at = 0;
        if self.expiry == ExpiryRule::Keep {
            return looked_at;
        }
        let mut tables_left = self.tables.len();
        while looked_at < LOOK_MAX && tables_left > 0 {
            let (index, position) = self.expiry_cursor;
            if index & self.slot_mask() == 0 && self.databases[index >> self.slot_bits].len == 0 {
                let width = self.slot_mask() + 1;
                self.expiry_cursor = ((index + width) % self.tables.len(), 0);
                tables_left = tables_left.saturating_sub(width);
                continue;
            }
            if self.tables[index].expiring == 0 {
                self.expiry_cursor = ((index + 1) % self.tables.len(), 0);
                tables_left -= 1;
                continue;
            }
            let (seen, removed, at_end) = self.expire_batch(index, position);
            looked_at += seen;
            tables_left -= usize::from(at_end);
            if looked_at >= LOOK_USUALLY && removed * 10 < seen {
                break;
            }
        }
        looked_at
    }

    /// Looks at a batch of one table. Returns how many keys it saw and removed, and whether it
    /// came to the table's end.
    fn expire_batch(&mut self, index: usize, position: u64) -> (usize, usize, bool) {
        let now_ms = self.now_ms;
        let mut seen = 0;
        let mut expired: Vec<Box<[u8]>> = Vec::new();
        let next = self.walk_table(index, position, BATCH, &mut |entry| {
            seen += 1;
            if entry.is_expired(now_ms) {
                expired.push(entry.key.as_bytes().into());
            }
        });
        let selected = self.selected;
        self.selected = index;
        for key in &expired {
            self.remove(key);
        }
        self.selected = selected;
        self.expiry_cursor = match next {
            Some(next) => (index, next),
            None => ((index + 1) % self.tables.len(), 0),
        };
        (seen, expired.len(), next.is_none())
    }
}

/// How many keys are looked at in one go.
const BATCH: usize = 256;

/// How many keys are looked at in one call when few of them have expired.
const LOOK_USUALLY: usize = 4_096;

/// How many keys are looked at in one call at most; takes a few milliseconds.
const LOOK_MAX: usize = 65_536;

/// How many keys an average is taken of.
const SAMPLE: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;
    use crate::value::text::Text;

    fn filled(clustered: bool, keys: u64) -> Keyspace {
        let mut keyspace = Keyspace::new(clustered, 1);
        keyspace.set_now(1_000);
        for index in 0..keys {
            let key = format!("key:{index}");
            let expires_at = if index % 2 == 0 { 1_500 + index } else { 0 };
            keyspace.select(slotway_protocol::cluster::Slot::of(key.as_bytes()));
            keyspace.replace(key.as_bytes(), Value::String(Text::new(b"v")), expires_at);
        }
        keyspace
    }

    #[test]
    fn removes_all_that_expired_and_nothing_else() {
        let expiring = |keyspace: &Keyspace| keyspace.database_infos()[0].expiring;
        for clustered in [false, true] {
            let mut keyspace = filled(clustered, 2_000);
            assert_eq!(expiring(&keyspace), 1_000);
            keyspace.expire_some();
            assert_eq!(keyspace.len(), 2_000);
            keyspace.set_now(2_500);
            for _ in 0..20 {
                keyspace.expire_some();
            }
            let left = expiring(&keyspace);
            assert_eq!(left, 1_000 - 501, "clustered: {clustered}");
            assert_eq!(keyspace.len(), 1_000 + left);
            assert_eq!(keyspace.expired, 501);
        }
    }

    #[test]
    fn looks_at_each_key_once_a_call_at_most() {
        for clustered in [false, true] {
            let mut keyspace = filled(clustered, 100);
            assert!(keyspace.expire_some() <= 100, "clustered: {clustered}");
            let mut keyspace = filled(clustered, 20_000);
            let looked_at = keyspace.expire_some();
            assert!((LOOK_USUALLY..2 * LOOK_USUALLY).contains(&looked_at));
        }
    }

    #[test]
    fn a_read_does_not_show_an_expired_key_and_finish_removes_it() {
        let mut keyspace = filled(false, 10);
        keyspace.set_now(10_000);
        assert!(keyspace.get(b"key:0").is_none());
        assert!(keyspace.get(b"key:1").is_some());
        assert_eq!(keyspace.len(), 10);
        keyspace.finish();
        assert_eq!(keyspace.len(), 9);
        assert_eq!(keyspace.expired, 1);
    }
}
