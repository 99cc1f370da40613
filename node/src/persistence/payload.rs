//! What DUMP returns and RESTORE takes: a value with its kind in front, the version of RDB and a
//! checksum behind.

use super::crc64::Crc64;
use super::rdb::{Encoder, Input, READ_VERSION_MAX, RdbError, WRITE_VERSION};
pub(crate) use super::rdb::{FUNCTION, FUNCTION_PRE};
use crate::value::Value;

/// A value as DUMP returns it.
pub(crate) fn seal(encoder: &mut Encoder, value: &Value) -> Vec<u8> {
    let mut payload = Vec::new();
    encoder.kind(&mut payload, value);
    encoder.value(&mut payload, value);
    seal_bytes(payload)
}

/// Bytes of RDB as DUMP and FUNCTION DUMP return them.
pub(crate) fn seal_bytes(mut payload: Vec<u8>) -> Vec<u8> {
    payload.extend_from_slice(&WRITE_VERSION.to_le_bytes());
    let checksum = Crc64::of(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

/// The part of a payload that is the value; `None` when its version is too new or its checksum
/// wrong.
pub(crate) fn unseal(payload: &[u8]) -> Option<&[u8]> {
    let (summed, checksum) = payload.split_last_chunk()?;
    let (value, version) = summed.split_last_chunk()?;
    let is_known = u16::from_le_bytes(*version) <= READ_VERSION_MAX;
    let is_whole = || u64::from_le_bytes(*checksum) == Crc64::of(summed);
    (is_known && is_whole()).then_some(value)
}

/// Libraries of functions, as they stand in a file.
pub(crate) fn of_libraries<'a>(codes: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut encoder = Encoder::default();
    for code in codes {
        payload.push(FUNCTION);
        encoder.string(&mut payload, code);
    }
    payload
}

/// The libraries of a payload that was unsealed; an error is a reply's text.
pub(crate) fn libraries(unsealed: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut input = Input::new(unsealed);
    let mut codes = Vec::new();
    while input.position() < unsealed.len() {
        match input.byte() {
            Ok(FUNCTION) => {}
            Ok(FUNCTION_PRE) => return Err("ERR Pre-GA function format not supported"),
            _ => return Err("ERR given type is not a function"),
        }
        let code = input
            .string()
            .map_err(|_| "ERR Failed loading library data")?;
        codes.push(code.into_owned());
    }
    Ok(codes)
}

/// The value of a payload that was unsealed. As in redis-server, more may follow it.
pub(crate) fn value(unsealed: &[u8]) -> Result<Value, RdbError> {
    let mut input = Input::new(unsealed);
    let kind = input.byte()?;
    input.value(kind)
}
