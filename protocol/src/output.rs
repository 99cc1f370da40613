//! The bytes on their way to one connection: small ones in one contiguous buffer, large ones by
//! reference. A connection to a node also keeps what it has written until the answer is there, so
//! that a redirected request can be sent again without a second copy.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

/// A queue of bytes with up to three marks in it: `released <= written <= end`.
///
/// Bytes before `released` are gone. Bytes from `released` to `written` are kept for a retry; only
/// a retaining output has any. Bytes from `written` to `end` wait for the kernel.
#[derive(Debug, Default)]
pub struct Output {
    /// Older bytes, in order, each a large value or a buffer that a large value cut off.
    shared: VecDeque<Bytes>,
    /// The sum of the lengths in `shared`.
    shared_len: usize,
    /// Newer bytes, after all of `shared`.
    tail: Vec<u8>,
    /// Counted from the front of `shared`.
    released: usize,
    /// Counted from the front of `shared`.
    written: usize,
    /// How many pieces of `shared` are written whole, and their length; so that a write need not
    /// look for its beginning among all that is kept.
    written_pieces: usize,
    written_pieces_len: usize,
    retaining: bool,
}

impl Output {
    /// An output that keeps what was written until [`Output::release`].
    pub fn retaining() -> Self {
        Self {
            retaining: true,
            ..Self::default()
        }
    }

    /// The buffer that small bytes are appended to. Only append to it.
    #[inline]
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.tail
    }

    /// Appends a copy of `bytes`.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) {
        if self.retaining && bytes.len() >= SEPARATE_BYTES {
            return self.append_shared(Bytes::copy_from_slice(bytes));
        }
        self.tail.extend_from_slice(bytes);
    }

    /// Appends `bytes` by reference; worth it from [`LARGE_BYTES`] on.
    pub fn push_shared(&mut self, bytes: Bytes) {
        if bytes.len() < LARGE_BYTES {
            return self.push(&bytes);
        }
        self.append_shared(bytes);
    }

    fn append_shared(&mut self, bytes: Bytes) {
        if !self.tail.is_empty() {
            let tail = std::mem::take(&mut self.tail);
            self.shared_len += tail.len();
            self.shared.push_back(Bytes::from(tail));
        }
        self.shared_len += bytes.len();
        self.shared.push_back(bytes);
    }

    /// Whether nothing waits to be written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.written == self.end()
    }

    /// How many bytes wait to be written.
    #[inline]
    pub fn len(&self) -> usize {
        self.end() - self.written
    }

    /// How many written bytes are kept for a retry.
    #[inline]
    pub fn retained_len(&self) -> usize {
        self.written - self.released
    }

    /// Fills `slices` with what waits to be written, from the front, and returns how many it used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        let mut skip = self.written - self.written_pieces_len;
        let shared = self.shared.range(self.written_pieces..);
        let parts = shared.map(|bytes| &bytes[..]);
        for part in parts.chain(std::iter::once(&self.tail[..])) {
            if skip >= part.len() {
                skip -= part.len();
                continue;
            }
            if used == slices.len() {
                break;
            }
            slices[used] = IoSlice::new(&part[skip..]);
            used += 1;
            skip = 0;
        }
        used
    }

    /// Notes that the kernel took `count` bytes.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        self.written += count;
        assert!(
            self.written <= self.end(),
            "no more is written than there was"
        );
        if !self.retaining {
            self.released = self.written;
        }
        self.settle();
    }

    /// Forgets `count` written or unwritten bytes at the front: their answer is there, or they are
    /// not wanted any more.
    #[inline]
    pub fn release(&mut self, count: usize) {
        self.released += count;
        assert!(
            self.released <= self.end(),
            "no more is released than there was"
        );
        self.written = self.written.max(self.released);
        self.settle();
    }

    /// Copies `count` bytes from `offset` after the released mark to the end of `into`.
    pub fn copy_retained(&self, offset: usize, count: usize, into: &mut Vec<u8>) {
        let mut skip = self.released + offset;
        let mut count = count;
        for part in self.parts() {
            if skip >= part.len() {
                skip -= part.len();
                continue;
            }
            let take = count.min(part.len() - skip);
            into.extend_from_slice(&part[skip..skip + take]);
            count -= take;
            skip = 0;
            if count == 0 {
                break;
            }
        }
        assert!(count == 0, "only bytes that are still kept are copied");
    }

    /// Drops all bytes, written or not.
    pub fn clear(&mut self) {
        *self = Self {
            retaining: self.retaining,
            ..Self::default()
        };
    }

    /// Gives back the memory of an empty buffer.
    pub fn shrink(&mut self) {
        if self.released == self.end() {
            self.clear();
        }
    }

    /// The bytes of memory held, for the limits on it.
    pub fn memory(&self) -> usize {
        self.shared_len + self.tail.capacity()
    }

    #[inline]
    fn end(&self) -> usize {
        self.shared_len + self.tail.len()
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.shared
            .iter()
            .map(|bytes| &bytes[..])
            .chain(std::iter::once(&self.tail[..]))
    }

    /// Lets go of what is released, after a mark has moved.
    #[inline]
    fn settle(&mut self) {
        if self.released == self.end() && self.shared.is_empty() {
            self.tail.clear();
            self.released = 0;
            self.written = 0;
            if self.tail.capacity() > KEPT_BYTES {
                self.tail = Vec::new();
            }
        } else if self.released >= COMPACT_BYTES || !self.shared.is_empty() {
            self.discard_slowly();
        }
    }

    #[cold]
    fn discard_slowly(&mut self) {
        while let Some(piece) = self.shared.get(self.written_pieces)
            && self.written_pieces_len + piece.len() <= self.written
        {
            self.written_pieces += 1;
            self.written_pieces_len += piece.len();
        }
        while let Some(front) = self.shared.front()
            && front.len() <= self.released
        {
            let len = front.len();
            self.shared.pop_front();
            self.shared_len -= len;
            self.released -= len;
            self.written -= len;
            // What is released is written, so the piece was among the written ones.
            self.written_pieces -= 1;
            self.written_pieces_len -= len;
        }
        if self.shared.is_empty() && self.released * 2 >= self.tail.len() {
            self.tail.drain(..self.released);
            self.written -= self.released;
            self.released = 0;
        }
    }
}

/// From here on a reference is cheaper than a copy.
pub const LARGE_BYTES: usize = 32 * 1024;

/// From here on a retaining output keeps bytes in a piece of their own: in the contiguous buffer
/// they would be moved once more whenever the released front is cut off.
const SEPARATE_BYTES: usize = 4 * 1024;

/// An empty buffer keeps no more than this.
const KEPT_BYTES: usize = 256 * 1024;

/// Released bytes at the front are cut off once they are this many and half of the buffer.
const COMPACT_BYTES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn unwritten(output: &Output) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 16];
        let used = output.slices(&mut slices);
        slices[..used]
            .iter()
            .flat_map(|slice| slice.to_vec())
            .collect()
    }

    #[test]
    fn keeps_the_order_of_small_and_large() {
        let mut output = Output::default();
        output.push(b"abc");
        output.push_shared(Bytes::from(vec![b'x'; LARGE_BYTES]));
        output.push(b"def");
        assert_eq!(output.len(), LARGE_BYTES + 6);
        output.advance(2);
        let bytes = unwritten(&output);
        assert_eq!(&bytes[..2], b"cx");
        assert!(bytes.ends_with(b"xdef"));
        output.advance(LARGE_BYTES + 3);
        assert_eq!(unwritten(&output), b"f");
        output.advance(1);
        assert!(output.is_empty());
    }

    #[test]
    fn a_retaining_output_gives_written_bytes_back() {
        let mut output = Output::retaining();
        output.push(b"first");
        output.push(b"second");
        output.advance(8);
        assert_eq!((output.len(), output.retained_len()), (3, 8));
        let mut copy = Vec::new();
        output.copy_retained(5, 6, &mut copy);
        assert_eq!(copy, b"second");
        output.release(5);
        assert_eq!(unwritten(&output), b"ond");
        output.release(6);
        assert!(output.is_empty());
    }

    #[test]
    fn stays_small_while_never_empty() {
        let mut output = Output::retaining();
        output.push(&[b'a'; 100]);
        for _ in 0..10_000 {
            output.push(&[b'b'; 100]);
            output.advance(output.len());
            output.release(100);
        }
        assert!(output.memory() < 4 * COMPACT_BYTES, "{}", output.memory());
        assert_eq!(output.retained_len(), 100);
    }

    /// Random operations on an output and on a plain vector.
    #[test]
    fn agrees_with_a_simple_model() {
        let mut random = 1u64;
        let mut below = |bound: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % bound
        };
        for retaining in [false, true] {
            let mut output = Output {
                retaining,
                ..Output::default()
            };
            let mut model: Vec<u8> = Vec::new();
            let (mut released, mut written) = (0, 0);
            for step in 0..20_000 {
                let size = [3, 100, SEPARATE_BYTES + 1, LARGE_BYTES + 1][below(4)];
                let bytes = vec![step as u8; 1 + below(size)];
                match below(4) {
                    0 => output.push(&bytes),
                    1 => output.push_shared(Bytes::from(bytes.clone())),
                    _ => {}
                }
                if output.end() - output.released > model.len() - released {
                    model.extend_from_slice(&bytes);
                }
                let take = below(model.len() - written + 1);
                assert_eq!(
                    unwritten(&output)[..take.min(1)],
                    model[written..][..take.min(1)]
                );
                output.advance(take);
                written += take;
                if retaining {
                    let release = below(model.len() - released + 1);
                    let mut copy = Vec::new();
                    output.copy_retained(0, release, &mut copy);
                    assert_eq!(copy, model[released..released + release]);
                    output.release(release);
                    released += release;
                    written = written.max(released);
                } else {
                    released = written;
                }
                assert_eq!(output.len(), model.len() - written);
                assert_eq!(output.retained_len(), written - released);
                model.drain(..released);
                (released, written) = (0, written - released);
            }
        }
    }
}
