//! Sets put together.

use std::collections::HashSet;

use super::query::Operation;

/// The members of the result, each once.
pub(super) fn combine<'a>(operation: Operation, sets: &[Vec<&'a [u8]>]) -> Vec<&'a [u8]> {
    match operation {
        Operation::Union => {
            let mut seen = HashSet::new();
            let all = sets.iter().flatten().copied();
            all.filter(|member| seen.insert(*member)).collect()
        }
        Operation::Intersection => {
            let mut sets: Vec<&Vec<&[u8]>> = sets.iter().collect();
            sets.sort_by_key(|set| set.len());
            let Some((smallest, others)) = sets.split_first() else {
                return Vec::new();
            };
            let mut left: HashSet<&[u8]> = smallest.iter().copied().collect();
            for other in others {
                let common = other.iter().copied();
                left = common.filter(|member| left.contains(member)).collect();
            }
            let members = smallest.iter().copied();
            members.filter(|member| left.contains(member)).collect()
        }
        Operation::Difference => {
            let Some((first, others)) = sets.split_first() else {
                return Vec::new();
            };
            let taken: HashSet<&[u8]> = others.iter().flatten().copied().collect();
            let members = first.iter().copied();
            members.filter(|member| !taken.contains(member)).collect()
        }
    }
}
