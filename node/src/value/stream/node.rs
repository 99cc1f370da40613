//! A node of a log: some entries that follow each other, packed as redis-server packs them.
//!
//! The listpack begins with how many entries are alive, how many are marked as deleted, and the
//! fields of the first entry. Then come the entries: a mark, the distance of the ID from that of
//! the node, and the values; fields in between only where they are not those of the first entry;
//! last how many elements of the listpack that were.

use super::StreamId;
use crate::number::IntegerText;
use crate::value::listpack::{Cursor, Element, HEADER_LEN, Malformed, Writer};

/// Some entries. The ID that theirs are told from is kept beside it.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// A listpack that was made here or checked when it came.
    bytes: Vec<u8>,
}

/// What a node begins with.
#[derive(Debug, Clone, Copy)]
struct Header<'a> {
    alive: i64,
    deleted: i64,
    /// Behind the two counts.
    counts_end: usize,
    fields_len: i64,
    fields: Cursor<'a>,
    /// Where the first entry is.
    entries: Cursor<'a>,
}

/// An entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    pub(crate) id: StreamId,
    pub(crate) is_deleted: bool,
    /// Where its mark is.
    mark_at: usize,
    pub(crate) pairs_len: usize,
    has_same_fields: bool,
    fields: Cursor<'a>,
    values: Cursor<'a>,
}

impl Node {
    /// A node for a first entry of these fields and values, which take turns.
    pub(crate) fn new(id: StreamId, pairs: &[&[u8]]) -> Self {
        let mut writer = Writer::default();
        for count in [0, 0, pairs.len() as i64 / 2] {
            writer.push_integer(count);
        }
        for field in pairs.iter().step_by(2) {
            writer.push(field);
        }
        writer.push_integer(0);
        let mut node = Self {
            bytes: writer.into_bytes(),
        };
        node.append(id, id, pairs);
        node
    }

    /// A node of bytes from elsewhere, with the IDs of its entries told from `base`.
    pub(crate) fn from_bytes(bytes: &[u8], base: StreamId) -> Result<Self, Malformed> {
        check(bytes, base)?;
        Ok(Self {
            bytes: bytes.to_vec(),
        })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many entries are alive.
    pub(crate) fn alive(&self) -> u64 {
        self.header().alive as u64
    }

    /// How many entries it has, those that are deleted included.
    pub(crate) fn len(&self) -> u64 {
        let header = self.header();
        (header.alive + header.deleted) as u64
    }

    /// The bytes it has on the heap.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Adds an entry.
    pub(crate) fn append(&mut self, base: StreamId, id: StreamId, pairs: &[&[u8]]) {
        let header = self.header();
        let has_same_fields = header.has_fields(pairs);
        let (alive, deleted) = (header.alive + 1, header.deleted);
        self.set_counts(alive, deleted);
        let mut writer = Writer::open(std::mem::take(&mut self.bytes));
        let (ms, sequence) = base.distance_to(id);
        writer.push_integer(if has_same_fields { SAME_FIELDS } else { 0 });
        writer.push_integer(ms);
        writer.push_integer(sequence);
        let pairs_len = pairs.len() as i64 / 2;
        if has_same_fields {
            pairs
                .iter()
                .skip(1)
                .step_by(2)
                .for_each(|value| writer.push(value));
            writer.push_integer(pairs_len + FIXED_ELEMENTS);
        } else {
            writer.push_integer(pairs_len);
            pairs.iter().for_each(|element| writer.push(element));
            writer.push_integer(2 * pairs_len + FIXED_ELEMENTS + 1);
        }
        self.bytes = writer.into_bytes();
    }

    /// All entries, those that are deleted included.
    pub(crate) fn entries(&self, base: StreamId) -> Entries<'_> {
        let header = self.header();
        Entries {
            base,
            fields_len: header.fields_len,
            fields: header.fields,
            cursor: header.entries,
        }
    }

    /// Marks entries of this node as deleted that were not.
    pub(crate) fn delete(&mut self, marks: &[usize]) {
        for mark in marks {
            self.bytes[*mark] |= DELETED as u8;
        }
        let header = self.header();
        let count = marks.len() as i64;
        let (alive, deleted) = (header.alive - count, header.deleted + count);
        self.set_counts(alive, deleted);
    }

    fn header(&self) -> Header<'_> {
        match Header::read(Cursor::new(&self.bytes)) {
            Ok(header) => header,
            Err(_) => unreachable!("a node is a listpack that was checked"),
        }
    }

    fn set_counts(&mut self, alive: i64, deleted: i64) {
        let end = self.header().counts_end;
        let mut counts = Writer::default();
        counts.push_integer(alive);
        counts.push_integer(deleted);
        let counts = counts.elements();
        self.bytes.splice(HEADER_LEN..end, counts.iter().copied());
        let size = (self.bytes.len() as u32).to_le_bytes();
        self.bytes[..4].copy_from_slice(&size);
    }
}

impl<'a> Header<'a> {
    fn read(mut cursor: Cursor<'a>) -> Result<Self, Malformed> {
        let alive = count(&mut cursor)?;
        let deleted = count(&mut cursor)?;
        let counts_end = cursor.position();
        let fields_len = count(&mut cursor)?;
        let fields = cursor;
        for _ in 0..fields_len {
            element(&mut cursor)?;
        }
        if integer(&mut cursor)? != 0 {
            return Err(Malformed("a node of a stream that does not begin as one"));
        }
        Ok(Self {
            alive,
            deleted,
            counts_end,
            fields_len,
            fields,
            entries: cursor,
        })
    }

    /// Whether these are the fields of the first entry.
    fn has_fields(&self, pairs: &[&[u8]]) -> bool {
        let mut fields = self.fields;
        pairs.len() as i64 == 2 * self.fields_len
            && pairs.iter().step_by(2).all(|field| {
                let known = element(&mut fields);
                known.is_ok_and(|known| known.as_bytes(&mut IntegerText::default()) == *field)
            })
    }
}

/// The entries of a node from a place on.
#[derive(Debug, Clone)]
pub(crate) struct Entries<'a> {
    base: StreamId,
    fields_len: i64,
    fields: Cursor<'a>,
    cursor: Cursor<'a>,
}

impl<'a> Entries<'a> {
    fn read(&mut self) -> Result<Option<Entry<'a>>, Malformed> {
        let cursor = &mut self.cursor;
        let mark_at = cursor.position();
        let Some(mark) = cursor.next_element()? else {
            return Ok(None);
        };
        let Element::Integer(mark @ 0..=3) = mark else {
            return Err(Malformed("an entry of a stream with an unknown mark"));
        };
        let (ms, sequence) = (integer(cursor)?, integer(cursor)?);
        let has_same_fields = mark & SAME_FIELDS != 0;
        let (pairs_len, elements) = if has_same_fields {
            (self.fields_len, self.fields_len)
        } else {
            let pairs_len = count(cursor)?;
            (pairs_len, pairs_len.saturating_mul(2))
        };
        let values = *cursor;
        for _ in 0..elements {
            element(cursor)?;
        }
        let fixed = FIXED_ELEMENTS + i64::from(!has_same_fields);
        if integer(cursor)? != elements.saturating_add(fixed) {
            return Err(Malformed("an entry of a stream with a wrong length"));
        }
        Ok(Some(Entry {
            id: self.base.offset(ms, sequence),
            is_deleted: mark & DELETED != 0,
            mark_at,
            pairs_len: pairs_len as usize,
            has_same_fields,
            fields: self.fields,
            values,
        }))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        match self.read() {
            Ok(entry) => entry,
            Err(_) => unreachable!("a node is a listpack that was checked"),
        }
    }
}

impl<'a> Entry<'a> {
    /// What tells its node to mark it.
    pub(crate) fn mark(&self) -> usize {
        self.mark_at
    }

    /// Its fields with their values.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (Element<'a>, Element<'a>)> + use<'a> {
        let (mut fields, mut values) = (self.fields, self.values);
        let has_same_fields = self.has_same_fields;
        (0..self.pairs_len).map_while(move |_| {
            let cursor = if has_same_fields {
                &mut fields
            } else {
                &mut values
            };
            let field = element(cursor).ok()?;
            Some((field, element(&mut values).ok()?))
        })
    }
}

/// Whether bytes are a node: nothing in them may surprise later. The entries that are alive have
/// to be in order; those that are deleted are not always.
fn check(bytes: &[u8], base: StreamId) -> Result<(), Malformed> {
    let mut walk = Cursor::checked(bytes)?;
    let header = Header::read(walk)?;
    let mut entries = Entries {
        base,
        fields_len: header.fields_len,
        fields: header.fields,
        cursor: header.entries,
    };
    let (mut alive, mut deleted, mut last) = (0, 0, None);
    while let Some(entry) = entries.read()? {
        // A mark of more than one byte could not be changed in its place.
        if bytes[entry.mark_at] > 3 {
            return Err(Malformed("an entry of a stream with an unknown mark"));
        }
        if entry.is_deleted {
            deleted += 1;
            continue;
        }
        if last.is_some_and(|last| entry.id <= last) {
            return Err(Malformed("a node of a stream out of order"));
        }
        last = Some(entry.id);
        alive += 1;
    }
    if (alive, deleted) != (header.alive, header.deleted) {
        return Err(Malformed(
            "a node of a stream with a wrong number of entries",
        ));
    }
    let mut elements = 0;
    while walk.next_element()?.is_some() {
        elements += 1;
    }
    walk.check_end(elements)
}

fn element<'a>(cursor: &mut Cursor<'a>) -> Result<Element<'a>, Malformed> {
    (cursor.next_element()?).ok_or(Malformed("a node of a stream that ends too early"))
}

fn integer(cursor: &mut Cursor<'_>) -> Result<i64, Malformed> {
    match element(cursor)? {
        Element::Integer(integer) => Ok(integer),
        Element::Bytes(_) => Err(Malformed("text in the place of a number in a stream")),
    }
}

/// A number that is not negative.
fn count(cursor: &mut Cursor<'_>) -> Result<i64, Malformed> {
    let integer = integer(cursor)?;
    // Far from where adding could overflow.
    if !(0..=i64::from(u32::MAX)).contains(&integer) {
        return Err(Malformed("a negative number in a stream"));
    }
    Ok(integer)
}

/// Marks of entries.
const DELETED: i64 = 1;

const SAME_FIELDS: i64 = 2;

/// The elements of an entry besides fields and values: its mark and its two distances.
const FIXED_ELEMENTS: i64 = 3;
