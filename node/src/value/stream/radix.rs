//! How many nodes a radix tree has that redis-server would keep keys of the same length in: XINFO
//! shows it.

use super::ID_LEN;

/// The number of nodes for keys in order: an inner node where keys part, one for each run of bytes
/// between, and one for each key at its end.
pub(super) fn nodes_len(keys: &[[u8; ID_LEN]]) -> usize {
    if keys.is_empty() {
        return 1;
    }
    nodes_below(keys, 0)
}

fn nodes_below(keys: &[[u8; ID_LEN]], depth: usize) -> usize {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else {
        return 0;
    };
    if keys.len() == 1 {
        return 1 + usize::from(depth < ID_LEN);
    }
    // What the first and the last key share, all share.
    let pairs = first[depth..].iter().zip(&last[depth..]);
    let shared = pairs.take_while(|(one, other)| one == other).count();
    let fork = depth + shared;
    let branches = keys.chunk_by(|one, other| one[fork] == other[fork]);
    let below = branches.map(|branch| nodes_below(branch, fork + 1));
    1 + usize::from(shared > 0) + below.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a redis-server says in XINFO STREAM for streams with nodes of these IDs.
    #[test]
    fn nodes_are_counted_as_in_a_server() {
        let keys = |ids: &[u128]| ids.iter().map(|id| id.to_be_bytes()).collect::<Vec<_>>();
        for (ids, expected) in [
            (&[][..], 1),
            (&[7][..], 2),
            (&[7, 8][..], 4),
            (&[7, 0x107][..], 6),
            (&[7, 8, 0x107][..], 7),
        ] {
            assert_eq!(nodes_len(&keys(ids)), expected, "{ids:?}");
        }
    }
}
