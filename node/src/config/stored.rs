//! What can be a field of the settings: it gives its value in the form that kinds read and show,
//! and takes it back.

use slotway_protocol::engine::Address;

use super::kind::Value;
use super::special::{OutputLimit, OutputLimits, SavePoint};

/// A field. It only ever gets values that its directive's kind has accepted.
pub(crate) trait Stored {
    fn load(&self) -> Value;
    fn store(&mut self, value: Value);
}

impl Stored for bool {
    fn load(&self) -> Value {
        Value::Bool(*self)
    }

    fn store(&mut self, value: Value) {
        let Value::Bool(value) = value else {
            unreachable!("yes or no is stored in its field");
        };
        *self = value;
    }
}

impl Stored for String {
    fn load(&self) -> Value {
        Value::Text(self.clone())
    }

    fn store(&mut self, value: Value) {
        let Value::Text(value) = value else {
            unreachable!("text is stored in its field");
        };
        *self = value;
    }
}

macro_rules! numbers {
    ($($type:ty),*) => {
        $(impl Stored for $type {
            fn load(&self) -> Value {
                Value::Number(*self as i64)
            }

            fn store(&mut self, value: Value) {
                let Value::Number(number) = value else {
                    unreachable!("a number is stored in its field");
                };
                // The kind has checked that it fits; of u64 the bits are given.
                *self = number as Self;
            }
        })*
    };
}

numbers!(u8, u16, u32, u64, i32, i64);

fn words(value: Value) -> Vec<String> {
    let Value::Words(words) = value else {
        unreachable!("words are stored in their field");
    };
    words
}

fn number<T: core::str::FromStr + Default>(word: &str) -> T {
    // The kind has checked that it is one.
    word.parse().unwrap_or_default()
}

impl Stored for Vec<String> {
    fn load(&self) -> Value {
        Value::Words(self.clone())
    }

    fn store(&mut self, value: Value) {
        *self = words(value);
    }
}

impl Stored for Vec<SavePoint> {
    fn load(&self) -> Value {
        let numbers = self.iter().flat_map(|point| [point.seconds, point.changes]);
        Value::Words(numbers.map(|number| number.to_string()).collect())
    }

    fn store(&mut self, value: Value) {
        let words = words(value);
        let points = words.chunks_exact(2).map(|pair| SavePoint {
            seconds: number(&pair[0]),
            changes: number(&pair[1]),
        });
        *self = points.collect();
    }
}

impl Stored for OutputLimits {
    fn load(&self) -> Value {
        let classes = [
            ("normal", self.normal),
            ("slave", self.replica),
            ("pubsub", self.pubsub),
        ];
        let words = classes.into_iter().flat_map(|(name, limit)| {
            [
                name.to_owned(),
                limit.hard_bytes.to_string(),
                limit.soft_bytes.to_string(),
                limit.soft_seconds.to_string(),
            ]
        });
        Value::Words(words.collect())
    }

    fn store(&mut self, value: Value) {
        let words = words(value);
        let classes = [&mut self.normal, &mut self.replica, &mut self.pubsub];
        for (class, four) in classes.into_iter().zip(words.chunks_exact(4)) {
            *class = OutputLimit {
                hard_bytes: number(&four[1]),
                soft_bytes: number(&four[2]),
                soft_seconds: number(&four[3]),
            };
        }
    }
}

impl Stored for [i32; 3] {
    fn load(&self) -> Value {
        Value::Words(self.iter().map(ToString::to_string).collect())
    }

    fn store(&mut self, value: Value) {
        for (place, word) in self.iter_mut().zip(words(value)) {
            *place = number(&word);
        }
    }
}

impl Stored for Option<Address> {
    fn load(&self) -> Value {
        let words = self
            .iter()
            .flat_map(|address| [address.host.to_string(), address.port.to_string()]);
        Value::Words(words.collect())
    }

    fn store(&mut self, value: Value) {
        *self = match &words(value)[..] {
            [host, port] => Some(Address::new(host.as_str(), number(port))),
            _ => None,
        };
    }
}
