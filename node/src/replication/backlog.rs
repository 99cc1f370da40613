//! The last bytes of the stream of writes, so that a replica that was away can go on where it was.

/// A ring of the bytes that were produced last.
#[derive(Debug)]
pub(crate) struct Backlog {
    ring: Vec<u8>,
    /// Where in the ring the next byte goes.
    next: usize,
    /// How many bytes are there, at most as many as the ring has.
    len: usize,
    /// The number of the byte that comes next; the first one of a stream is number 1.
    next_offset: u64,
}

impl Backlog {
    /// An empty one; the next byte is the one after `offset`.
    pub(crate) fn new(size: u64, offset: u64) -> Self {
        let size = usize::try_from(size).unwrap_or(SIZE_MIN).max(SIZE_MIN);
        Self {
            ring: vec![0; size],
            next: 0,
            len: 0,
            next_offset: offset + 1,
        }
    }

    /// How many bytes it can keep.
    pub(crate) fn size(&self) -> usize {
        self.ring.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The number of the oldest byte.
    pub(crate) fn first_offset(&self) -> u64 {
        self.next_offset - self.len as u64
    }

    pub(crate) fn append(&mut self, bytes: &[u8]) {
        self.next_offset += bytes.len() as u64;
        let skipped = bytes.len().saturating_sub(self.ring.len());
        let mut rest = &bytes[skipped..];
        while !rest.is_empty() {
            let room = self.ring.len() - self.next;
            let (now, later) = rest.split_at(rest.len().min(room));
            self.ring[self.next..self.next + now.len()].copy_from_slice(now);
            self.next = (self.next + now.len()) % self.ring.len();
            self.len = (self.len + now.len()).min(self.ring.len());
            rest = later;
        }
    }

    /// All bytes from that one on, in two pieces; `None` when they are not all there. The byte that
    /// comes next may be asked for.
    pub(crate) fn from(&self, offset: u64) -> Option<(&[u8], &[u8])> {
        if !(self.first_offset()..=self.next_offset).contains(&offset) {
            return None;
        }
        let wanted = usize::try_from(self.next_offset - offset).ok()?;
        let start = (self.next + self.ring.len() - wanted) % self.ring.len();
        if wanted == 0 {
            Some((&[], &[]))
        } else if start < self.next {
            Some((&self.ring[start..self.next], &[]))
        } else {
            Some((&self.ring[start..], &self.ring[..self.next]))
        }
    }

    /// Keeps another number of bytes from now on, the newest of those that are there.
    pub(crate) fn resize(&mut self, size: u64) {
        let mut resized = Self::new(size, self.next_offset - 1);
        if let Some((first, second)) = self.from(self.first_offset()) {
            let kept = first.len() + second.len();
            resized.next_offset -= kept as u64;
            resized.append(first);
            resized.append(second);
        }
        *self = resized;
    }
}

/// The least that redis-server keeps as well.
const SIZE_MIN: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_last_bytes_and_knows_which_they_are() {
        let stream: Vec<u8> = (0..100_000u32).map(|number| (number % 251) as u8).collect();
        for step in [1, 7, 1_000, 16_384, 20_000, 60_000] {
            let mut backlog = Backlog::new(0, 500);
            let mut produced = 0;
            for piece in stream.chunks(step) {
                backlog.append(piece);
                produced += piece.len();
                let first = backlog.first_offset();
                assert_eq!(backlog.len(), produced.min(SIZE_MIN));
                assert_eq!(first, 501 + (produced - backlog.len()) as u64);
                let next = 501 + produced as u64;
                for offset in [first, first + 1, next - 1, next] {
                    let (one, two) = backlog.from(offset).unwrap();
                    let expected = &stream[(offset - 501) as usize..produced];
                    assert!([one, two].concat() == expected, "{step} {offset}");
                }
                assert!(backlog.from(first - 1).is_none());
                assert!(backlog.from(next + 1).is_none());
            }
            backlog.resize(20_000);
            assert_eq!((backlog.size(), backlog.len()), (20_000, SIZE_MIN));
            let (one, two) = backlog.from(backlog.first_offset()).unwrap();
            assert!([one, two].concat() == stream[stream.len() - SIZE_MIN..]);
        }
    }
}
