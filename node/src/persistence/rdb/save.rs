//! An RDB file, written piece by piece: the keys of one database after the other.

use super::{Encoder, WRITE_VERSION, opcode};
use crate::persistence::crc64::Crc64;
use crate::value::Value;

/// A file that is being written. What is appended is for the driver to take away, so that not all
/// of it has to be kept.
#[derive(Debug)]
pub(crate) struct Saver {
    encoder: Encoder,
    out: Vec<u8>,
    /// So much of `out` is part of the checksum.
    summed: usize,
    checksum: Crc64,
    checks: bool,
    /// The database whose keys come now.
    database: Option<u32>,
}

/// What is said of a node at the beginning of its file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) server_version: &'a str,
    pub(crate) unix_seconds: u64,
    pub(crate) memory: usize,
    pub(crate) position: Option<StreamPosition<'a>>,
    /// Whether the file is the base of an append-only file.
    pub(crate) is_aof_base: bool,
}

/// The id of the stream of writes, how far in it the keys are, and the database that what comes
/// next is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamPosition<'a> {
    pub(crate) id: &'a str,
    pub(crate) offset: u64,
    pub(crate) database: u32,
}

impl Saver {
    /// Begins a file; without `compress` long strings are written as they are, and without
    /// `checks` the checksum at the end is 0.
    pub(crate) fn new(about: About<'_>, compress: bool, checks: bool) -> Self {
        let mut saver = Self {
            encoder: Encoder::default(),
            out: Vec::new(),
            summed: 0,
            checksum: Crc64::default(),
            checks,
            database: None,
        };
        saver.encoder.set_compression(compress);
        saver
            .out
            .extend_from_slice(format!("REDIS{WRITE_VERSION:04}").as_bytes());
        saver.aux("redis-ver", about.server_version);
        saver.aux("redis-bits", &usize::BITS.to_string());
        saver.aux("ctime", &about.unix_seconds.to_string());
        saver.aux("used-mem", &about.memory.to_string());
        if let Some(position) = about.position {
            saver.aux("repl-stream-db", &position.database.to_string());
            saver.aux("repl-id", position.id);
            saver.aux("repl-offset", &position.offset.to_string());
        }
        saver.aux("aof-base", if about.is_aof_base { "1" } else { "0" });
        saver
    }

    /// Writes libraries of functions; they come before all keys.
    pub(crate) fn libraries<'a>(&mut self, codes: impl Iterator<Item = &'a [u8]>) {
        for code in codes {
            self.out.push(opcode::FUNCTION);
            self.encoder.string(&mut self.out, code);
        }
    }

    /// Says how many keys a database has, and how many of them expire, before they come. The
    /// numbers only serve to make room.
    pub(crate) fn database(&mut self, number: u32, keys: usize, expiring: usize) {
        self.select(number);
        self.out.push(opcode::RESIZE);
        Encoder::length(&mut self.out, keys as u64);
        Encoder::length(&mut self.out, expiring as u64);
    }

    /// Writes a key; `expires_at` is Unix time in milliseconds, 0 for never.
    pub(crate) fn key(&mut self, database: u32, key: &[u8], value: &Value, expires_at: u64) {
        if self.database != Some(database) {
            self.select(database);
        }
        if expires_at != 0 {
            self.out.push(opcode::EXPIRES_MS);
            self.out.extend_from_slice(&expires_at.to_le_bytes());
        }
        self.encoder.kind(&mut self.out, value);
        self.encoder.string(&mut self.out, key);
        self.encoder.value(&mut self.out, value);
    }

    /// How many bytes wait to be taken.
    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// The bytes that were written since.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.sum();
        self.summed = 0;
        std::mem::take(&mut self.out)
    }

    /// Writes the end of the file.
    pub(crate) fn end(&mut self) {
        self.out.push(opcode::END);
        self.sum();
        let checksum = if self.checks {
            self.checksum.value()
        } else {
            0
        };
        self.out.extend_from_slice(&checksum.to_le_bytes());
        self.summed = self.out.len();
    }

    fn select(&mut self, number: u32) {
        self.out.push(opcode::DATABASE);
        Encoder::length(&mut self.out, u64::from(number));
        self.database = Some(number);
    }

    fn aux(&mut self, name: &str, value: &str) {
        self.out.push(opcode::AUX);
        self.encoder.string(&mut self.out, name.as_bytes());
        self.encoder.string(&mut self.out, value.as_bytes());
    }

    fn sum(&mut self) {
        if self.checks {
            self.checksum.update(&self.out[self.summed..]);
        }
        self.summed = self.out.len();
    }
}
