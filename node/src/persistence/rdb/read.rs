//! Values from RDB, in every form that Redis has given them so far.

use super::{Input, RdbError, container, intset, kind, ziplist, zipmap};
use crate::number::{self, IntegerText};
use crate::value::Value;
use crate::value::hash::Hash;
use crate::value::list::{End, List};
use crate::value::listpack::{self, Element};
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;
use crate::value::text::Text;

impl Input<'_> {
    /// A value of that kind, which is never an empty collection.
    pub(crate) fn value(&mut self, kind: u8) -> Result<Value, RdbError> {
        let value = match kind {
            kind::STRING => Value::String(Text::new(&self.string()?)),
            kind::LIST | kind::LIST_ZIPLIST | kind::QUICKLIST_ZIPLISTS | kind::QUICKLIST => {
                Value::List(Box::new(self.list(kind)?))
            }
            kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => {
                Value::Set(Box::new(self.set(kind)?))
            }
            kind::HASH | kind::HASH_ZIPMAP | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
                Value::Hash(Box::new(self.hash(kind)?))
            }
            kind::SORTED_SET
            | kind::SORTED_SET_TEXT
            | kind::SORTED_SET_ZIPLIST
            | kind::SORTED_SET_LISTPACK => Value::SortedSet(Box::new(self.sorted_set(kind)?)),
            kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => {
                Value::Stream(Box::new(self.stream(kind)?))
            }
            kind::MODULE_OLD | kind::MODULE => {
                return Err(RdbError::Unsupported("values of modules"));
            }
            kind::HASH_TTL_PRE..=kind::HASH_LISTPACK_TTL => {
                return Err(RdbError::Unsupported("hashes whose fields expire"));
            }
            _ => return Err(RdbError::Corrupt("an unknown type of value")),
        };
        if value.is_empty_collection() {
            return Err(RdbError::Empty);
        }
        Ok(value)
    }

    fn list(&mut self, kind: u8) -> Result<List, RdbError> {
        let mut list = List::default();
        let parts = if kind == kind::LIST_ZIPLIST {
            1
        } else {
            self.length()?
        };
        for _ in 0..parts {
            let is_plain = match kind {
                kind::LIST => true,
                kind::QUICKLIST => match self.length()? {
                    container::PLAIN => true,
                    container::PACKED => false,
                    _ => return Err(RdbError::Corrupt("a quicklist node of unknown form")),
                },
                _ => false,
            };
            let part = self.string()?;
            if is_plain {
                list.push(End::Right, &part);
                continue;
            }
            let elements = if kind == kind::QUICKLIST {
                listpack::read(&part)?
            } else {
                ziplist::read(&part)?
            };
            for element in elements {
                list.push(End::Right, element.as_bytes(&mut IntegerText::default()));
            }
        }
        Ok(list)
    }

    fn set(&mut self, kind: u8) -> Result<Set, RdbError> {
        let mut set = Set::default();
        let mut add = |member: &[u8]| match set.add(member) {
            true => Ok(()),
            false => Err(RdbError::Corrupt("a set with a member twice")),
        };
        if kind == kind::SET {
            for _ in 0..self.length()? {
                add(&self.string()?)?;
            }
            return Ok(set);
        }
        let whole = self.string()?;
        if kind == kind::SET_INTSET {
            for integer in intset::read(&whole)? {
                add(IntegerText::default().write(integer))?;
            }
        } else {
            for element in listpack::read(&whole)? {
                add(element.as_bytes(&mut IntegerText::default()))?;
            }
        }
        Ok(set)
    }

    fn hash(&mut self, kind: u8) -> Result<Hash, RdbError> {
        let mut hash = Hash::default();
        let mut set = |field: &[u8], value: &[u8]| match hash.set(field, value) {
            true => Ok(()),
            false => Err(RdbError::Corrupt("a hash with a field twice")),
        };
        if kind == kind::HASH {
            for _ in 0..self.length()? {
                let (field, value) = (self.string()?, self.string()?);
                set(&field, &value)?;
            }
            return Ok(hash);
        }
        let whole = self.string()?;
        if kind == kind::HASH_ZIPMAP {
            for (field, value) in zipmap::read(&whole)? {
                set(field, value)?;
            }
            return Ok(hash);
        }
        for [field, value] in pairs(&whole, kind == kind::HASH_LISTPACK)? {
            let (mut field_text, mut value_text) = (IntegerText::default(), IntegerText::default());
            set(
                field.as_bytes(&mut field_text),
                value.as_bytes(&mut value_text),
            )?;
        }
        Ok(hash)
    }

    fn sorted_set(&mut self, kind: u8) -> Result<SortedSet, RdbError> {
        if kind == kind::SORTED_SET || kind == kind::SORTED_SET_TEXT {
            let mut set = SortedSet::large();
            for _ in 0..self.length()? {
                let member = self.string()?;
                let score = if kind == kind::SORTED_SET {
                    f64::from_le_bytes(self.array()?)
                } else {
                    self.score_text()?
                };
                insert(&mut set, &member, score)?;
            }
            set.compact();
            return Ok(set);
        }
        let whole = self.string()?;
        let mut set = SortedSet::default();
        for [member, score] in pairs(&whole, kind == kind::SORTED_SET_LISTPACK)? {
            let score = match score {
                Element::Integer(integer) => integer as f64,
                Element::Bytes(text) => number::parse_f64(text).unwrap_or(f64::NAN),
            };
            insert(
                &mut set,
                member.as_bytes(&mut IntegerText::default()),
                score,
            )?;
        }
        Ok(set)
    }

    /// A score as decimal text, the way of Redis before 4.0.
    fn score_text(&mut self) -> Result<f64, RdbError> {
        Ok(match self.byte()? {
            255 => f64::NEG_INFINITY,
            254 => f64::INFINITY,
            253 => f64::NAN,
            len => number::parse_f64(self.take(usize::from(len))?).unwrap_or(f64::NAN),
        })
    }
}

fn insert(set: &mut SortedSet, member: &[u8], score: f64) -> Result<(), RdbError> {
    if score.is_nan() {
        return Err(RdbError::Corrupt("a score that is not a number"));
    }
    match set.insert(member, score) {
        None => Ok(()),
        Some(_) => Err(RdbError::Corrupt("a sorted set with a member twice")),
    }
}

/// The elements of a listpack or a ziplist by twos.
fn pairs(bytes: &[u8], is_listpack: bool) -> Result<Vec<[Element<'_>; 2]>, RdbError> {
    let elements = if is_listpack {
        listpack::read(bytes)?
    } else {
        ziplist::read(bytes)?
    };
    match elements.as_chunks() {
        (pairs, []) => Ok(pairs.to_vec()),
        _ => Err(RdbError::Corrupt("an element without its other half")),
    }
}
