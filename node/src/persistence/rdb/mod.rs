//! RDB, the format in which Redis writes values: to files, to replicas, and for DUMP.
//!
//! It is read up to version 12, as redis-server 7.0 to 8.0 write it, and written in version 10,
//! which redis-server 7.0 reads.

mod input;
mod intset;
mod load;
mod read;
mod save;
mod stream;
mod write;
mod ziplist;
mod zipmap;

pub(crate) use input::Input;
pub(crate) use load::{LoadedKey, LoadedPosition, Loader};
pub(crate) use opcode::{FUNCTION, FUNCTION_PRE};
pub(crate) use save::{About, Saver, StreamPosition};
pub(crate) use write::Encoder;

use crate::value::listpack::Malformed;

/// Why bytes can't be read. Where redis-server has words for it, these are they.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RdbError {
    #[error("Wrong signature trying to load DB from file")]
    Signature,
    #[error("Can't handle RDB format version {0}")]
    Version(u32),
    /// The bytes end too early: as many are needed at least, from where the reading began.
    #[error("Short read or OOM loading DB. Unrecoverable error, aborting now.")]
    Cut { needed: usize },
    #[error("Wrong RDB checksum expected: ({expected:x}) but got ({found:x}). Aborting now.")]
    Checksum { expected: u64, found: u64 },
    #[error(
        "FATAL: Data file was created with a Redis server configured to handle more than \
             {0} databases. Exiting"
    )]
    Databases(u32),
    /// Something that may be right and that this node does not have.
    #[error("{0} are not supported by this node yet")]
    Unsupported(&'static str),
    #[error("Internal error in RDB: {0}")]
    Corrupt(&'static str),
    /// A collection without elements, which redis-server skips in files.
    #[error("Internal error in RDB: a collection without elements")]
    Empty,
}

impl From<Malformed> for RdbError {
    fn from(Malformed(what): Malformed) -> Self {
        Self::Corrupt(what)
    }
}

/// The newest version that is read.
pub(crate) const READ_VERSION_MAX: u16 = 12;

/// The version that is written.
pub(crate) const WRITE_VERSION: u16 = 10;

/// What kind of value follows. Redis has never changed what a number means.
mod kind {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const SORTED_SET_TEXT: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const SORTED_SET: u8 = 5;
    pub(super) const MODULE_OLD: u8 = 6;
    pub(super) const MODULE: u8 = 7;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const SORTED_SET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const QUICKLIST_ZIPLISTS: u8 = 14;
    pub(super) const STREAM: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const SORTED_SET_LISTPACK: u8 = 17;
    pub(super) const QUICKLIST: u8 = 18;
    pub(super) const STREAM_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_3: u8 = 21;
    pub(super) const HASH_TTL_PRE: u8 = 22;
    pub(super) const HASH_LISTPACK_TTL: u8 = 25;
}

/// What stands where a kind of value could, and says what follows instead.
mod opcode {
    pub(super) const SLOT_INFO: u8 = 244;
    pub(crate) const FUNCTION: u8 = 245;
    pub(crate) const FUNCTION_PRE: u8 = 246;
    pub(super) const MODULE_AUX: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQUENCY: u8 = 249;
    pub(super) const AUX: u8 = 250;
    pub(super) const RESIZE: u8 = 251;
    pub(super) const EXPIRES_MS: u8 = 252;
    pub(super) const EXPIRES_SECONDS: u8 = 253;
    pub(super) const DATABASE: u8 = 254;
    pub(super) const END: u8 = 255;
}

/// How a node of a quicklist holds its elements.
mod container {
    pub(super) const PLAIN: u64 = 1;
    pub(super) const PACKED: u64 = 2;
}

/// What stands in the place of a string's length when the string is coded.
mod coding {
    pub(super) const INT8: u8 = 0xc0;
    pub(super) const INT16: u8 = 0xc1;
    pub(super) const INT32: u8 = 0xc2;
    pub(super) const LZF: u8 = 0xc3;
}

#[cfg(test)]
mod tests;
