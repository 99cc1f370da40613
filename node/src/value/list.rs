//! The value of a list key: a sequence of byte strings, quick at both ends.

use std::collections::VecDeque;

use super::hash::compact::CompactBytes;

/// A sequence of byte strings.
#[derive(Debug, Clone, Default)]
pub(crate) struct List {
    elements: VecDeque<CompactBytes>,
    /// What the elements hold on the heap.
    heap_bytes: usize,
}

/// One end of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Left,
    Right,
}

impl List {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.elements.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    /// The answer of OBJECT ENCODING; redis-server 7.0 has just one for lists.
    pub(crate) fn encoding(&self) -> &'static str {
        "quicklist"
    }

    /// The bytes of memory held.
    pub(crate) fn memory(&self) -> usize {
        size_of::<Self>() + self.elements.capacity() * size_of::<CompactBytes>() + self.heap_bytes
    }

    #[inline]
    pub(crate) fn push(&mut self, end: End, element: &[u8]) {
        let element = CompactBytes::from(element);
        self.heap_bytes += element.heap_bytes();
        match end {
            End::Left => self.elements.push_front(element),
            End::Right => self.elements.push_back(element),
        }
    }

    #[inline]
    pub(crate) fn pop(&mut self, end: End) -> Option<CompactBytes> {
        let element = match end {
            End::Left => self.elements.pop_front(),
            End::Right => self.elements.pop_back(),
        }?;
        self.heap_bytes -= element.heap_bytes();
        self.shrink();
        Some(element)
    }

    pub(crate) fn get(&self, index: usize) -> Option<&[u8]> {
        self.elements.get(index).map(|element| &element[..])
    }

    /// Replaces an element; whether there is one at `index`.
    pub(crate) fn set(&mut self, index: usize, element: &[u8]) -> bool {
        let Some(old) = self.elements.get_mut(index) else {
            return false;
        };
        let element = CompactBytes::from(element);
        self.heap_bytes += element.heap_bytes();
        self.heap_bytes -= old.heap_bytes();
        *old = element;
        true
    }

    /// Puts an element before the one at `index`, which is at most the length.
    ///
    /// # Panics
    /// When `index` is greater than the length.
    pub(crate) fn insert(&mut self, index: usize, element: &[u8]) {
        let element = CompactBytes::from(element);
        self.heap_bytes += element.heap_bytes();
        self.elements.insert(index, element);
    }

    /// The elements of a range that lies within the length.
    ///
    /// # Panics
    /// When the range ends after the length.
    pub(crate) fn range(
        &self,
        range: core::ops::Range<usize>,
    ) -> impl ExactSizeIterator<Item = &[u8]> {
        self.elements.range(range).map(|element| &element[..])
    }

    /// All elements, from both ends.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &[u8]> + ExactSizeIterator {
        self.elements.iter().map(|element| &element[..])
    }

    /// Keeps only the elements of a range that lies within the length.
    ///
    /// # Panics
    /// When the range ends after the length.
    pub(crate) fn trim(&mut self, range: core::ops::Range<usize>) {
        let cut_back: usize = self
            .elements
            .range(range.end..)
            .map(CompactBytes::heap_bytes)
            .sum();
        self.elements.truncate(range.end);
        let cut_front: usize = self
            .elements
            .drain(..range.start)
            .map(|e| e.heap_bytes())
            .sum();
        self.heap_bytes -= cut_back + cut_front;
        self.shrink();
    }

    /// Removes up to `max` elements that equal `element`, the nearest to `end` first; how many.
    pub(crate) fn remove(&mut self, end: End, element: &[u8], max: usize) -> usize {
        let equal = self.elements.iter().filter(|e| e[..] == *element).count();
        let removed = equal.min(max);
        // Counted from the left, the equal elements that stay come first or last.
        let mut skip = if end == End::Right {
            equal - removed
        } else {
            0
        };
        let mut left = removed;
        let mut freed = 0;
        if removed > 0 {
            self.elements.retain(|e| {
                if left == 0 || e[..] != *element {
                    return true;
                }
                if skip > 0 {
                    skip -= 1;
                    return true;
                }
                left -= 1;
                freed += e.heap_bytes();
                false
            });
        }
        self.heap_bytes -= freed;
        self.shrink();
        removed
    }

    /// Gives back room that is no longer needed.
    #[inline]
    fn shrink(&mut self) {
        let (len, capacity) = (self.elements.len(), self.elements.capacity());
        if capacity > SHRINK_CAPACITY_MIN && len * 8 < capacity {
            self.elements.shrink_to(len * 2);
        }
    }
}

/// Smaller queues are not worth being shrunk.
const SHRINK_CAPACITY_MIN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(elements: &str) -> List {
        let mut list = List::default();
        for element in elements.split_whitespace() {
            list.push(End::Right, element.as_bytes());
        }
        list
    }

    fn check(list: &List, expected: &str) {
        let elements: Vec<_> = list.iter().map(String::from_utf8_lossy).collect();
        assert_eq!(elements.join(" "), expected);
        let heap_bytes: usize = list.elements.iter().map(CompactBytes::heap_bytes).sum();
        assert_eq!(list.heap_bytes, heap_bytes);
    }

    #[test]
    fn pushes_and_pops_at_both_ends() {
        let mut list = list("b c");
        list.push(End::Left, b"a");
        check(&list, "a b c");
        assert_eq!(list.pop(End::Right).as_deref(), Some(&b"c"[..]));
        assert_eq!(list.pop(End::Left).as_deref(), Some(&b"a"[..]));
        assert_eq!(list.pop(End::Left).as_deref(), Some(&b"b"[..]));
        assert_eq!(list.pop(End::Left), None);
        check(&list, "");
    }

    #[test]
    fn changes_in_the_middle() {
        let long = "x".repeat(50);
        let mut list = list(&format!("a {long} b {long} c"));
        assert_eq!(list.get(1), Some(long.as_bytes()));
        assert!(list.set(1, b"n"));
        assert!(!list.set(5, b"n"));
        check(&list, &format!("a n b {long} c"));
        list.insert(5, long.as_bytes());
        list.insert(0, long.as_bytes());
        check(&list, &format!("{long} a n b {long} c {long}"));
        list.trim(1..6);
        check(&list, &format!("a n b {long} c"));
        let middle: Vec<_> = list.range(1..3).collect();
        assert_eq!(middle, [&b"n"[..], b"b"]);
    }

    #[test]
    fn removes_from_either_end() {
        for (end, max, expected, count) in [
            (End::Left, usize::MAX, "b c", 3),
            (End::Left, 2, "b c a", 2),
            (End::Right, 2, "a b c", 2),
            (End::Right, 1, "a b a c", 1),
            (End::Left, 0, "a b a c a", 0),
        ] {
            let mut list = list("a b a c a");
            assert_eq!(list.remove(end, b"a", max), count);
            check(&list, expected);
        }
        assert_eq!(list("a b").remove(End::Left, b"z", 1), 0);
    }

    #[test]
    fn gives_memory_back() {
        let mut list = List::default();
        for i in 0..10_000 {
            list.push(End::Left, format!("{i}").as_bytes());
        }
        let full = list.memory();
        while list.len() > 10 {
            list.pop(End::Right);
        }
        assert!(list.memory() < full / 50);
    }
}
