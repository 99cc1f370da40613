//! A short sum of keys and values, the same as redis-server has it for DEBUG DIGEST: whether two
//! nodes of any kind hold the same can be told from it.

use sha1_smol::Sha1;
use slotway_protocol::resp::{Protocol, encode};

use super::Value;
use super::stream::StreamId;
use super::text::Text;
use crate::number::IntegerText;

/// A sum under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Digest([u8; LEN]);

impl Digest {
    /// Adds bytes whose order among others does not matter.
    pub(crate) fn add(&mut self, bytes: &[u8]) {
        let hash = Sha1::from(bytes).digest().bytes();
        for (byte, other) in self.0.iter_mut().zip(hash) {
            *byte ^= other;
        }
    }

    /// Adds bytes whose place among others matters.
    pub(crate) fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::from(&self.0[..]).digest().bytes();
    }

    /// Adds a number whose place among others matters.
    pub(crate) fn mix_number(&mut self, number: u32) {
        self.mix(&number.to_be_bytes());
    }

    /// Adds another sum; its place among others does not matter.
    pub(crate) fn add_digest(&mut self, other: Self) {
        self.add(&other.0);
    }

    /// Adds a value, and whether it is going to expire.
    pub(crate) fn mix_value(&mut self, value: &Value, expires: bool) {
        self.mix_number(type_number(value));
        match value {
            Value::String(text) => self.mix_text(text),
            Value::List(list) => list.iter().for_each(|element| self.mix(element)),
            Value::Set(set) => {
                for member in set.iter() {
                    self.add(&member);
                }
            }
            Value::SortedSet(set) => {
                for (member, score) in set.range(0..set.len()) {
                    let mut pair = Self::default();
                    pair.mix(member);
                    pair.mix(&score_text(score));
                    self.add_digest(pair);
                }
            }
            Value::Hash(hash) => {
                for (field, value) in hash.iter() {
                    let mut pair = Self::default();
                    pair.mix(field);
                    pair.mix(value);
                    self.add_digest(pair);
                }
            }
            Value::Stream(stream) => {
                for entry in stream.log.range(StreamId::MIN, StreamId::MAX) {
                    let id = entry.id;
                    self.mix(format!("{}.{}", id.ms, id.sequence).as_bytes());
                    for (field, value) in entry.pairs() {
                        self.mix(field.as_bytes(&mut IntegerText::default()));
                        self.mix(value.as_bytes(&mut IntegerText::default()));
                    }
                }
            }
        }
        if expires {
            self.add(b"!!expire!!");
        }
    }

    fn mix_text(&mut self, text: &Text) {
        self.mix(text.as_bytes(&mut IntegerText::default()));
    }

    pub(crate) fn hexadecimal(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The numbers that redis-server has for types.
fn type_number(value: &Value) -> u32 {
    match value {
        Value::String(_) => 0,
        Value::List(_) => 1,
        Value::Set(_) => 2,
        Value::SortedSet(_) => 3,
        Value::Hash(_) => 4,
        Value::Stream(_) => 6,
    }
}

/// A score with 17 digits.
fn score_text(score: f64) -> Vec<u8> {
    let mut text = Vec::new();
    encode::double(&mut text, Protocol::Resp3, score);
    // Between the comma and the line end.
    text[1..text.len() - 2].to_vec()
}

const LEN: usize = 20;
