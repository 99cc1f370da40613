//! The 16,384 slots in few characters: a letter for each shard, as in the table of nodes.

use slotway_protocol::cluster::SLOTS;

use super::model::Topology;
use super::nodes::letter;

/// Whose some slots in a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All of them one shard's.
    Of(usize),
    Mixed,
    /// At least one of them has no node.
    Uncovered,
}

impl Part {
    pub(super) fn symbol(self) -> char {
        match self {
            Self::Of(shard) => letter(Some(shard)),
            Self::Mixed => '+',
            Self::Uncovered => '!',
        }
    }
}

/// The slots in so many parts of about the same length.
pub(super) fn map(topology: Option<&Topology>, parts: usize) -> Vec<Part> {
    let owners = owners(topology);
    let parts = parts.min(SLOTS);
    let bound = |part: usize| part * SLOTS / parts;
    (0..parts)
        .map(|part| part_of(&owners[bound(part)..bound(part + 1)]))
        .collect()
}

fn owners(topology: Option<&Topology>) -> Vec<Option<usize>> {
    let mut owners = vec![None; SLOTS];
    let shards = topology.map(|topology| topology.shards.iter().enumerate());
    for (place, shard) in shards.into_iter().flatten() {
        for (first, last) in &shard.slots {
            let range = usize::from(*first)..=usize::from(*last);
            for slot in range.filter(|slot| *slot < SLOTS) {
                owners[slot] = Some(place);
            }
        }
    }
    owners
}

fn part_of(owners: &[Option<usize>]) -> Part {
    if owners.contains(&None) {
        return Part::Uncovered;
    }
    match owners.first() {
        Some(Some(first)) if owners.iter().all(|owner| *owner == Some(*first)) => Part::Of(*first),
        _ => Part::Mixed,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::{Printable, Shard};
    use super::*;

    fn text(topology: Option<&Topology>, parts: usize) -> String {
        map(topology, parts).into_iter().map(Part::symbol).collect()
    }

    #[test]
    fn parts_say_whose_they_are() {
        let shard = |slots: &[(u16, u16)]| Shard {
            primary: Printable::of("a:1"),
            replicas: Vec::new(),
            slots: slots.into(),
        };
        let mut topology = Topology {
            shards: vec![shard(&[(0, 8_191)]), shard(&[(8_192, 16_383)])],
            ..Topology::default()
        };
        assert_eq!(text(Some(&topology), 8), "AAAABBBB");
        assert_eq!(text(Some(&topology), 3), "A+B");
        assert_eq!(text(Some(&topology), 0), "");
        assert_eq!(text(Some(&topology), 20_000).len(), SLOTS);
        topology.shards[1].slots = vec![(8_192, 16_382), (16_384, u16::MAX)];
        assert_eq!(text(Some(&topology), 8), "AAAABBB!");
        assert_eq!(text(None, 4), "!!!!");
    }
}
