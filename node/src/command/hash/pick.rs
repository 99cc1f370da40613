//! Random choices out of a collection, for the commands that take a count: distinct elements when
//! it is positive, any number of times the same when it is negative.

use crate::command::{Call, CommandError, Random};
use crate::number::parse_i64;

/// How many elements are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(i64);

impl Count {
    /// The count in argument `index`.
    pub(crate) fn parse(call: &Call<'_>, index: usize) -> Result<Self, CommandError> {
        match parse_i64(call.arg(index)) {
            None => Err(CommandError::NotAnInteger),
            Some(i64::MIN) => Err(CommandError::text(
                "ERR value is out of range, value must between -9223372036854775807 and \
                 9223372036854775807",
            )),
            Some(count) if count < -REPEATED_MAX => Err(out_of_range()),
            Some(count) => Ok(Self(count)),
        }
    }

    /// To be asked for when two replies are written for each element.
    pub(crate) fn check_pairs(self) -> Result<(), CommandError> {
        if self.0.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(out_of_range());
        }
        Ok(())
    }

    /// The positions of the chosen ones among `len` elements; `len` is not 0.
    pub(crate) fn pick(self, len: usize, random: &mut Random) -> Vec<usize> {
        let count = usize::try_from(self.0.unsigned_abs()).unwrap_or(usize::MAX);
        if self.0 < 0 {
            return (0..count).map(|_| random.below(len)).collect();
        }
        distinct(count, len, random)
    }
}

/// Distinct positions below `len`: as many as wanted, or all in their order.
pub(crate) fn distinct(count: usize, len: usize, random: &mut Random) -> Vec<usize> {
    if count >= len {
        return (0..len).collect();
    }
    if count * 3 > len {
        // Most are wanted: shuffle only as far as needed.
        let mut positions: Vec<usize> = (0..len).collect();
        for at in 0..count {
            positions.swap(at, at + random.below(len - at));
        }
        positions.truncate(count);
        return positions;
    }
    let mut chosen = std::collections::HashSet::with_capacity(count);
    let mut positions = Vec::with_capacity(count);
    while positions.len() < count {
        let position = random.below(len);
        if chosen.insert(position) {
            positions.push(position);
        }
    }
    positions
}

/// The number of at least 1 in argument `index`, or that error.
pub(crate) fn positive(
    call: &Call<'_>,
    index: usize,
    error: &'static str,
) -> Result<usize, CommandError> {
    match parse_i64(call.arg(index)).map(usize::try_from) {
        Some(Ok(number)) if number > 0 => Ok(number),
        _ => Err(CommandError::text(error)),
    }
}

/// The `COUNT number` at the end of LMPOP and ZMPOP, from argument `first` on; 1 when it is not
/// there.
pub(crate) fn pop_count(call: &Call<'_>, first: usize) -> Result<usize, CommandError> {
    let mut count = None;
    let mut index = first;
    while index < call.len() {
        if count.is_some() || index + 1 == call.len() || !call.arg_is(index, "count") {
            return Err(CommandError::Syntax);
        }
        count = Some(positive(
            call,
            index + 1,
            "ERR count should be greater than 0",
        )?);
        index += 2;
    }
    Ok(count.unwrap_or(1))
}

/// How many elements may be asked for with repetitions, since nothing else bounds the reply.
const REPEATED_MAX: i64 = 1 << 24;

fn out_of_range() -> CommandError {
    CommandError::text("ERR value is out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_positions_are_fair_and_differ() {
        let mut random = Random::new(5);
        for (count, len) in [(1, 10), (3, 10), (9, 10), (2, 100)] {
            let mut seen = vec![0; len];
            for _ in 0..2000 {
                let positions = distinct(count, len, &mut random);
                assert_eq!(positions.len(), count);
                positions.iter().for_each(|position| seen[*position] += 1);
                let mut sorted = positions;
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len(), count);
            }
            let expected = 2000 * count / len;
            assert!(
                seen.iter()
                    .all(|n| (expected / 2..expected * 2).contains(n)),
                "{seen:?}"
            );
        }
        assert_eq!(distinct(7, 5, &mut random), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn negative_counts_repeat() {
        let mut random = Random::new(5);
        let positions = Count(-20).pick(3, &mut random);
        assert_eq!(positions.len(), 20);
        assert!((0..3).all(|position| positions.contains(&position)));
        assert_eq!(Count(20).pick(3, &mut random).len(), 3);
        assert_eq!(Count(0).pick(3, &mut random).len(), 0);
    }
}
