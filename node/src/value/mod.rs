//! What a key can hold.

pub(crate) mod digest;
pub(crate) mod hash;
pub(crate) mod list;
pub(crate) mod listpack;
pub(crate) mod set;
pub(crate) mod sorted_set;
pub(crate) mod stream;
pub(crate) mod text;

use hash::Hash;
use list::List;
use set::Set;
use sorted_set::SortedSet;
use stream::Stream;
use text::Text;

/// The value of a key. Large types are boxed so that a string's entry in the keyspace stays small.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    String(Text),
    Hash(Box<Hash>),
    List(Box<List>),
    Set(Box<Set>),
    SortedSet(Box<SortedSet>),
    Stream(Box<Stream>),
}

impl Value {
    /// The answer to TYPE.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "string",
            Self::Hash(_) => "hash",
            Self::List(_) => "list",
            Self::Set(_) => "set",
            Self::SortedSet(_) => "zset",
            Self::Stream(_) => "stream",
        }
    }

    /// The answer to OBJECT ENCODING.
    pub(crate) fn encoding(&self) -> &'static str {
        match self {
            Self::String(text) => text.encoding(),
            Self::Hash(hash) => hash.encoding(),
            Self::List(list) => list.encoding(),
            Self::Set(set) => set.encoding(),
            Self::SortedSet(sorted_set) => sorted_set.encoding(),
            Self::Stream(_) => "stream",
        }
    }

    /// The bytes it has on the heap.
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::String(text) => text.heap_bytes(),
            Self::Hash(hash) => hash.memory(),
            Self::List(list) => list.memory(),
            Self::Set(set) => set.memory(),
            Self::SortedSet(sorted_set) => sorted_set.memory(),
            Self::Stream(stream) => stream.memory(),
        }
    }

    /// Whether it is a collection without elements, which a keyspace never keeps.
    pub(crate) fn is_empty_collection(&self) -> bool {
        match self {
            // A stream without entries still has its groups and its last ID.
            Self::String(_) | Self::Stream(_) => false,
            Self::Hash(hash) => hash.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Set(set) => set.is_empty(),
            Self::SortedSet(sorted_set) => sorted_set.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_small() {
        assert_eq!(size_of::<Value>(), 24);
    }
}
