//! What a node keeps beyond its life, as bytes: the RDB format, with its checksum and compression.
//! No file is opened here; a driver writes and reads them.

pub(crate) mod aof;
mod crc64;
mod lzf;
pub(crate) mod payload;
pub(crate) mod rdb;
pub(crate) mod saving;
