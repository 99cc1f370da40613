//! XRANGE and XREVRANGE, and entries in replies.

use slotway_protocol::resp::encode;

use super::ids::{range_end, range_start};
use crate::command::{Call, CommandError};
use crate::number::IntegerText;
use crate::value::stream::{Entry, StreamId};

pub(super) fn xrange(call: &mut Call<'_>, is_reversed: bool) -> Result<(), CommandError> {
    let (start, end) = if is_reversed { (3, 2) } else { (2, 3) };
    let start = range_start(call.arg(start))?;
    let end = range_end(call.arg(end))?;
    let mut count = None;
    let mut index = 4;
    while index < call.len() {
        if !call.arg_is(index, "COUNT") || index + 1 >= call.len() {
            return Err(CommandError::Syntax);
        }
        count = Some(usize::try_from(call.integer_arg(index + 1)?).unwrap_or(0));
        index += 2;
    }
    let Some(stream) = call.keyspace.stream_value(call.request.arg(1))? else {
        call.reply_array(0);
        return Ok(());
    };
    if count == Some(0) {
        call.reply_null_array();
        return Ok(());
    }
    let count = count.unwrap_or(usize::MAX);
    if is_reversed {
        let entries = stream.log.range_reversed(start, end).take(count);
        reply_entries(call.out, entries);
    } else {
        let entries = stream.log.range(start, end).take(count);
        reply_entries(call.out, entries);
    }
    Ok(())
}

/// An array of entries; how many there are is known when they are written.
pub(super) fn reply_entries<'a>(
    out: &mut Vec<u8>,
    entries: impl Iterator<Item = Entry<'a>>,
) -> usize {
    let start = out.len();
    let mut len = 0;
    for entry in entries {
        reply_entry(out, &entry);
        len += 1;
    }
    insert_len(out, start, len);
    len
}

/// Puts the head of an array before what was written since `start`.
pub(super) fn insert_len(out: &mut Vec<u8>, start: usize, len: usize) {
    let mut head = Vec::new();
    encode::array(&mut head, len);
    out.splice(start..start, head);
}

pub(super) fn reply_entry(out: &mut Vec<u8>, entry: &Entry<'_>) {
    encode::array(out, 2);
    reply_id(out, entry.id);
    encode::array(out, 2 * entry.pairs_len);
    for (field, value) in entry.pairs() {
        encode::bulk(out, field.as_bytes(&mut IntegerText::default()));
        encode::bulk(out, value.as_bytes(&mut IntegerText::default()));
    }
}

pub(super) fn reply_id(out: &mut Vec<u8>, id: StreamId) {
    encode::bulk(out, id.to_string().as_bytes());
}
