//! Slots and who has them, made anew here so that the tested code is not its own judge.

use crate::resp::Reply;

pub(crate) const SLOTS: usize = 16_384;

/// Which shard has each slot, as it was when the load began: shards keep their numbers for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shards {
    of_slot: Vec<u8>,
    pub(crate) count: usize,
}

impl Shards {
    /// From text such as `0-5460,5461-10922,10923-16383`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut shards = Self::none();
        for (shard, range) in text.split(',').enumerate() {
            let (first, last) = range.split_once('-')?;
            shards.give(first.parse().ok()?, last.parse().ok()?, shard)?;
        }
        shards.whole()
    }

    /// From the reply to CLUSTER SLOTS; the shards are in the order of their first slots.
    pub(crate) fn from_reply(reply: &Reply) -> Option<Self> {
        let Reply::Array(Some(lines)) = reply else {
            return None;
        };
        let mut ranges = Vec::new();
        for line in lines {
            let Reply::Array(Some(fields)) = line else {
                return None;
            };
            let [Reply::Integer(first), Reply::Integer(last), owner, ..] = fields.as_slice() else {
                return None;
            };
            ranges.push((
                usize::try_from(*first).ok()?,
                usize::try_from(*last).ok()?,
                owner,
            ));
        }
        ranges.sort_by_key(|range| range.0);
        let mut owners: Vec<&Reply> = Vec::new();
        let mut shards = Self::none();
        for (first, last, owner) in ranges {
            let known = owners.iter().position(|known| *known == owner);
            let shard = known.unwrap_or(owners.len());
            if known.is_none() {
                owners.push(owner);
            }
            shards.give(first, last, shard)?;
        }
        shards.whole()
    }

    pub(crate) fn of_key(&self, key: &[u8]) -> usize {
        usize::from(self.of_slot[slot_of(key)])
    }

    fn none() -> Self {
        Self {
            of_slot: vec![u8::MAX; SLOTS],
            count: 0,
        }
    }

    fn give(&mut self, first: usize, last: usize, shard: usize) -> Option<()> {
        let number = u8::try_from(shard)
            .ok()
            .filter(|number| *number < u8::MAX)?;
        self.of_slot.get_mut(first..=last)?.fill(number);
        self.count = self.count.max(shard + 1);
        Some(())
    }

    fn whole(self) -> Option<Self> {
        (self.count > 0 && !self.of_slot.contains(&u8::MAX)).then_some(self)
    }
}

pub(crate) fn slot_of(key: &[u8]) -> usize {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|start| {
        let rest = &key[start + 1..];
        let len = rest.iter().position(|byte| *byte == b'}')?;
        (len > 0).then_some(&rest[..len])
    });
    let mut crc: u16 = 0;
    for byte in tag.unwrap_or(key) {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            };
        }
    }
    usize::from(crc) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        // As `CLUSTER KEYSLOT` of redis-server 7.0.15 answers.
        assert_eq!(slot_of(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"foo"), 12_182);
        assert_eq!(slot_of(b"a{foo}b"), 12_182);
        assert_eq!(slot_of(b"{}foo"), slot_of(b"{}foo"));
        assert_ne!(slot_of(b"{}foo"), slot_of(b"foo"));
    }

    #[test]
    fn shards_come_from_text_or_a_node() {
        let text = Shards::parse("0-5460,5461-10922,10923-16383").unwrap();
        assert_eq!((text.count, text.of_key(b"foo")), (3, 2));
        assert_eq!(
            Shards::parse("0-5460,5461-10922"),
            None,
            "slots are missing"
        );
        let owner = |port| Reply::Array(Some(vec![Reply::Integer(port)]));
        let line = |first, last, port| {
            Reply::Array(Some(vec![
                Reply::Integer(first),
                Reply::Integer(last),
                owner(port),
            ]))
        };
        let lines = vec![
            line(10_923, 16_383, 3),
            line(0, 5460, 1),
            line(5461, 10_922, 2),
        ];
        assert_eq!(Shards::from_reply(&Reply::Array(Some(lines))), Some(text));
    }
}
