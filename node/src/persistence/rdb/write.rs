//! Values as RDB, in the forms that redis-server 7.0 writes with its usual limits.

use slotway_protocol::resp::{Protocol, encode};

use super::{coding, container, intset, kind, stream};
use crate::number::{self, IntegerText};
use crate::persistence::lzf::Compressor;
use crate::value::Value;
use crate::value::hash::Hash;
use crate::value::list::List;
use crate::value::listpack;
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;
use crate::value::text::Text;

/// Writes values as RDB. Keeps what it needs for that, so it is better used for many.
#[derive(Debug, Clone, Default)]
pub(crate) struct Encoder {
    compressor: Compressor,
    /// Whether long strings are written as they are.
    plain: bool,
}

impl Encoder {
    pub(crate) fn set_compression(&mut self, compress: bool) {
        self.plain = !compress;
    }

    /// Writes what kind of value it is.
    pub(crate) fn kind(&self, out: &mut Vec<u8>, value: &Value) {
        out.push(match value {
            Value::String(_) => kind::STRING,
            Value::List(_) => kind::QUICKLIST,
            Value::Set(set) if set.integers().is_some() => kind::SET_INTSET,
            Value::Set(_) => kind::SET,
            Value::Hash(hash) if hash.is_small() => kind::HASH_LISTPACK,
            Value::Hash(_) => kind::HASH,
            Value::SortedSet(set) if set.is_small() => kind::SORTED_SET_LISTPACK,
            Value::SortedSet(_) => kind::SORTED_SET,
            Value::Stream(_) => kind::STREAM_2,
        });
    }

    /// Writes a value without its kind.
    pub(crate) fn value(&mut self, out: &mut Vec<u8>, value: &Value) {
        match value {
            Value::String(text) => self.text(out, text),
            Value::List(list) => self.list(out, list),
            Value::Set(set) => self.set(out, set),
            Value::Hash(hash) => self.hash(out, hash),
            Value::SortedSet(set) => self.sorted_set(out, set),
            Value::Stream(value) => stream::write(self, out, value),
        }
    }

    /// Writes a length, or another number in that form.
    pub(crate) fn length(out: &mut Vec<u8>, len: u64) {
        match len {
            0..0x40 => out.push(len as u8),
            0x40..0x4000 => out.extend_from_slice(&(0x4000 | len as u16).to_be_bytes()),
            0x4000..=0xffff_ffff => {
                out.push(0x80);
                out.extend_from_slice(&(len as u32).to_be_bytes());
            }
            _ => {
                out.push(0x81);
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
    }

    /// Writes a string: as an integer if it is a short one, or compressed if that helps.
    pub(crate) fn string(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        if bytes.len() <= INTEGER_LEN_MAX
            && let Some(integer) = number::parse_i64(bytes)
            && coded_integer(out, integer)
        {
            return;
        }
        if !self.plain
            && bytes.len() > PLAIN_LEN_MAX
            && let Some(compressed) = self.compressor.compress(bytes, bytes.len() - 4)
        {
            out.push(coding::LZF);
            Self::length(out, compressed.len() as u64);
            Self::length(out, bytes.len() as u64);
            out.extend_from_slice(compressed);
            return;
        }
        Self::length(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }

    fn text(&mut self, out: &mut Vec<u8>, text: &Text) {
        self.string(out, text.as_bytes(&mut IntegerText::default()));
    }

    /// A list is cut into listpacks as if its elements had been pushed one after the other.
    fn list(&mut self, out: &mut Vec<u8>, list: &List) {
        let mut nodes = Nodes::default();
        for element in list.iter() {
            let size = nodes.open.size() + element.len() + LIST_NODE_OVERHEAD;
            if size > LIST_NODE_SIZE_MAX {
                self.end_node(&mut nodes);
            }
            if element.len() < PLAIN_NODE_LEN {
                nodes.open.push(element);
                continue;
            }
            Self::length(&mut nodes.written, container::PLAIN);
            self.string(&mut nodes.written, element);
            nodes.count += 1;
        }
        self.end_node(&mut nodes);
        Self::length(out, nodes.count);
        out.extend_from_slice(&nodes.written);
    }

    fn end_node(&mut self, nodes: &mut Nodes) {
        if !nodes.open.is_empty() {
            Self::length(&mut nodes.written, container::PACKED);
            self.string(&mut nodes.written, nodes.open.finish());
            nodes.open.clear();
            nodes.count += 1;
        }
    }

    fn set(&mut self, out: &mut Vec<u8>, set: &Set) {
        if let Some(integers) = set.integers() {
            let mut whole = Vec::new();
            intset::write(&mut whole, integers);
            return self.string(out, &whole);
        }
        Self::length(out, set.len() as u64);
        for member in set.iter() {
            self.string(out, &member);
        }
    }

    fn hash(&mut self, out: &mut Vec<u8>, hash: &Hash) {
        if hash.is_small() {
            let mut whole = listpack::Writer::default();
            for (field, value) in hash.iter() {
                whole.push(field);
                whole.push(value);
            }
            return self.string(out, whole.finish());
        }
        Self::length(out, hash.len() as u64);
        for (field, value) in hash.iter() {
            self.string(out, field);
            self.string(out, value);
        }
    }

    fn sorted_set(&mut self, out: &mut Vec<u8>, set: &SortedSet) {
        if set.is_small() {
            let mut whole = listpack::Writer::default();
            for (member, score) in set.range(0..set.len()) {
                whole.push(member);
                match as_integer(score) {
                    Some(integer) => whole.push_integer(integer),
                    None => whole.push(&text_of(score)),
                }
            }
            return self.string(out, whole.finish());
        }
        Self::length(out, set.len() as u64);
        // The server can add members in front faster than in the middle, so it reads them so.
        for (member, score) in set.range_reversed(0..set.len()) {
            self.string(out, member);
            out.extend_from_slice(&score.to_le_bytes());
        }
    }
}

/// The nodes of a list so far.
#[derive(Debug, Default)]
struct Nodes {
    count: u64,
    written: Vec<u8>,
    /// The one that gets the next element, if there is room.
    open: listpack::Writer,
}

/// Writes an integer of up to 32 bits in the place of a string; whether it is one.
fn coded_integer(out: &mut Vec<u8>, integer: i64) -> bool {
    if let Ok(integer) = i8::try_from(integer) {
        out.extend_from_slice(&[coding::INT8, integer as u8]);
    } else if let Ok(integer) = i16::try_from(integer) {
        out.push(coding::INT16);
        out.extend_from_slice(&integer.to_le_bytes());
    } else if let Ok(integer) = i32::try_from(integer) {
        out.push(coding::INT32);
        out.extend_from_slice(&integer.to_le_bytes());
    } else {
        return false;
    }
    true
}

/// A score as an integer where the server keeps it as one: without a fraction and not too large.
fn as_integer(score: f64) -> Option<i64> {
    let is_near = score.abs() <= (i64::MAX / 2) as f64;
    (is_near && score.fract() == 0.0).then_some(score as i64)
}

/// A score as seventeen digits tell it.
fn text_of(score: f64) -> Vec<u8> {
    let mut reply = Vec::new();
    encode::double(&mut reply, Protocol::Resp3, score);
    // Between the sign of a double and the end of its line.
    reply[1..reply.len() - 2].to_vec()
}

/// Longer strings are not looked at for a number; the longest of 32 bits has as many digits.
const INTEGER_LEN_MAX: usize = 11;

/// Shorter strings are not compressed.
const PLAIN_LEN_MAX: usize = 20;

/// What `list-max-listpack-size -2` of redis-server 7.0 means.
const LIST_NODE_SIZE_MAX: usize = 8_192;

/// What the server thinks an element takes besides its bytes.
const LIST_NODE_OVERHEAD: usize = 8;

/// So long an element has a node of a list for itself and without a listpack.
const PLAIN_NODE_LEN: usize = 1 << 30;
