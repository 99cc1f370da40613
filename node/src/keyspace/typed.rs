//! Values of one type: what a key holds when the command knows what it wants.

use super::Keyspace;
use crate::command::CommandError;
use crate::value::Value;
use crate::value::hash::Hash;
use crate::value::list::List;
use crate::value::set::Set;
use crate::value::sorted_set::SortedSet;
use crate::value::stream::Stream;

/// Three methods for one type: to read, to change what is there, and to change what is there or
/// begin with nothing.
macro_rules! typed {
    ($variant:ident, $type:ty, $read:ident, $change:ident, $create:ident) => {
        /// The value of a key, for a command that reads; counted as a hit or a miss. Several can
        /// be held at once.
        pub(crate) fn $read(&self, key: &[u8]) -> Result<Option<&$type>, CommandError> {
            match self.get(key) {
                None => Ok(None),
                Some(Value::$variant(value)) => Ok(Some(value)),
                Some(_) => Err(CommandError::WrongType),
            }
        }

        /// The value of a key to change. Call `note_change` when it was changed, and
        /// `remove_if_empty` when elements were taken out.
        pub(crate) fn $change(&mut self, key: &[u8]) -> Result<Option<&mut $type>, CommandError> {
            match self.get_mut(key) {
                None => Ok(None),
                Some(Value::$variant(value)) => Ok(Some(value)),
                Some(_) => Err(CommandError::WrongType),
            }
        }

        /// The value of a key to change, an empty one when there is none. Call `note_change`
        /// when it was changed, and `remove_if_empty` unless something was added for sure.
        pub(crate) fn $create(&mut self, key: &[u8]) -> Result<&mut $type, CommandError> {
            match self.get_or_create(key, || Value::$variant(Box::default())) {
                Value::$variant(value) => Ok(value),
                _ => Err(CommandError::WrongType),
            }
        }
    };
}

impl Keyspace {
    typed!(Hash, Hash, hash_value, hash_mut, hash_or_create);
    typed!(List, List, list_value, list_mut, list_or_create);
    typed!(Set, Set, set_value, set_mut, set_or_create);
    typed!(Stream, Stream, stream_value, stream_mut, stream_or_create);
    typed!(
        SortedSet,
        SortedSet,
        sorted_set_value,
        sorted_set_mut,
        sorted_set_or_create
    );
}
