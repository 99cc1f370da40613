//! The order in real time: what was over before something else began comes before it.

use crate::history::Span;

/// The ranks of operations that were over before one of a lower rank began; operations of the same
/// rank may have any order.
pub(super) fn out_of_order(operations: &mut [(u64, Span)]) -> Vec<u64> {
    operations.sort_unstable_by_key(|(rank, _)| *rank);
    let mut wrong = Vec::new();
    let mut latest_start = 0;
    for group in operations.chunk_by(|left, right| left.0 == right.0) {
        if group.iter().any(|(_, span)| span.end < latest_start) {
            wrong.push(group[0].0);
        }
        let starts = group.iter().map(|(_, span)| span.start);
        latest_start = starts.max().unwrap_or(0).max(latest_start);
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_over_before_must_come_before() {
        let span = |start, end| Span { start, end };
        let mut good = [
            (1, span(0, 10)),
            (2, span(5, 12)),
            (3, span(1, 6)),
            (3, span(13, 14)),
        ];
        assert_eq!(out_of_order(&mut good), [0; 0]);
        let mut bad = [(2, span(0, 4)), (1, span(5, 12))];
        assert_eq!(out_of_order(&mut bad), [2]);
    }
}
