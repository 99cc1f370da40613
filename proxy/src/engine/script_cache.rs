//! The scripts that were used lately, by the SHA-1 that names each: what is needed to help a node
//! that does not know one of them. Knows nothing of nodes and clients.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

/// Scripts up to a number of bytes; those that were not used for longest go first.
#[derive(Debug, Default)]
pub(crate) struct ScriptCache {
    scripts: HashMap<Digest, Script>,
    /// SHA-1 takes its time, so it is computed when a body is seen first and looked up later.
    digests: HashMap<Bytes, Digest>,
    /// Which script was used when, the one unused for longest first.
    order: BTreeMap<u64, Digest>,
    /// Counts uses.
    clock: u64,
    /// What all scripts take.
    bytes: usize,
}

#[derive(Debug)]
struct Script {
    body: Bytes,
    used: u64,
}

/// The SHA-1 of a script's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 20]);

impl Digest {
    /// As a client writes it, in letters of either size; `None` for what no script can have.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut digest = [0; 20];
        if text.len() != 2 * digest.len() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(digest))
    }

    fn of(body: &[u8]) -> Self {
        Self(sha1_smol::Sha1::from(body).digest().bytes())
    }
}

fn nibble(letter: u8) -> Option<u8> {
    let value = char::from(letter).to_digit(16)?;
    u8::try_from(value).ok()
}

impl ScriptCache {
    /// Notes that a script is used. Gives the body when it is new, and is now kept.
    pub(crate) fn note(&mut self, body: &[u8], bytes_max: usize) -> Option<Bytes> {
        if bytes_of(body) > bytes_max {
            return None;
        }
        if let Some(digest) = self.digests.get(body).copied() {
            self.touch(digest);
            return None;
        }
        let digest = Digest::of(body);
        let body = Bytes::copy_from_slice(body);
        self.bytes += bytes_of(&body);
        self.clock += 1;
        self.order.insert(self.clock, digest);
        self.digests.insert(body.clone(), digest);
        let script = Script {
            body: body.clone(),
            used: self.clock,
        };
        self.scripts.insert(digest, script);
        Some(body)
    }

    /// The body of a script, which so is used.
    pub(crate) fn find(&mut self, digest: Digest) -> Option<Bytes> {
        let body = self.scripts.get(&digest)?.body.clone();
        self.touch(digest);
        Some(body)
    }

    /// Forgets scripts until the rest takes no more than that; says how many.
    pub(crate) fn trim(&mut self, bytes_max: usize) -> usize {
        let before = self.len();
        while self.bytes > bytes_max
            && let Some((_, digest)) = self.order.pop_first()
            && let Some(script) = self.scripts.remove(&digest)
        {
            self.digests.remove(&script.body);
            self.bytes -= bytes_of(&script.body);
        }
        before - self.len()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn len(&self) -> usize {
        self.scripts.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn touch(&mut self, digest: Digest) {
        let Some(script) = self.scripts.get_mut(&digest) else {
            return;
        };
        if script.used == self.clock {
            return;
        }
        self.clock += 1;
        self.order.remove(&script.used);
        script.used = self.clock;
        self.order.insert(self.clock, digest);
    }
}

/// The memory that a script takes.
fn bytes_of(body: &[u8]) -> usize {
    body.len() + ENTRY_BYTES
}

/// About what the maps take for each script.
const ENTRY_BYTES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM_FOR_TWO: usize = 2 * (ENTRY_BYTES + 1);

    fn note(cache: &mut ScriptCache, body: &str) -> usize {
        cache.note(body.as_bytes(), ROOM_FOR_TWO);
        cache.trim(ROOM_FOR_TWO)
    }

    fn has(cache: &ScriptCache, body: &str) -> bool {
        let known = cache.digests.contains_key(body.as_bytes());
        let digest = Digest::of(body.as_bytes());
        assert_eq!(known, cache.scripts.contains_key(&digest));
        known
    }

    /// What redis-server replies to `SCRIPT LOAD`.
    #[test]
    fn a_script_is_found_by_its_sha1() {
        let mut cache = ScriptCache::default();
        assert!(cache.note(b"return 1", 1000).is_some());
        assert!(cache.note(b"return 1", 1000).is_none());
        for name in [
            &b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db"[..],
            b"E0E1F9FABFC9D4800C877A703B823AC0578FF8DB",
        ] {
            let body = cache.find(Digest::parse(name).unwrap());
            assert_eq!(body.as_deref(), Some(&b"return 1"[..]));
        }
        assert_eq!(
            Digest::parse(b"e0e1f9fabfc9d4800c877a703b823ac0578ff8d"),
            None
        );
        assert_eq!(
            Digest::parse(b"g0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
            None
        );
        assert_eq!(
            Digest::parse(b"+0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
            None
        );
    }

    #[test]
    fn what_was_unused_for_longest_goes_first() {
        let mut cache = ScriptCache::default();
        assert_eq!(note(&mut cache, "a"), 0);
        assert_eq!(note(&mut cache, "b"), 0);
        assert_eq!(note(&mut cache, "a"), 0);
        assert_eq!(note(&mut cache, "c"), 1);
        assert!(has(&cache, "a") && !has(&cache, "b") && has(&cache, "c"));
        assert!(cache.find(Digest::of(b"a")).is_some());
        assert_eq!(note(&mut cache, "d"), 1);
        assert!(has(&cache, "a") && !has(&cache, "c") && has(&cache, "d"));
        assert_eq!((cache.len(), cache.bytes()), (2, ROOM_FOR_TWO));
        assert_eq!(cache.trim(0), 2);
        assert_eq!(
            (cache.bytes(), cache.order.len(), cache.digests.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn what_is_larger_than_all_room_is_not_kept() {
        let mut cache = ScriptCache::default();
        assert_eq!(note(&mut cache, "a"), 0);
        assert!(cache.note(&[b'x'; 1000], ROOM_FOR_TWO).is_none());
        assert_eq!(cache.len(), 1);
    }
}
