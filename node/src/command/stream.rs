//! The commands on streams: those on entries alone. Groups and reading have files of their own.

mod add;
mod claim;
mod effects;
mod group;
mod ids;
mod info;
mod pending;
mod range;
mod read;

use ids::strict_id;
pub(crate) use read::Reading;

use super::{Call, CommandError, Run};
use crate::value::stream::StreamId;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("xadd", add::xadd),
    ("xtrim", add::xtrim),
    ("xlen", xlen),
    ("xrange", |call| range::xrange(call, false)),
    ("xrevrange", |call| range::xrange(call, true)),
    ("xdel", xdel),
    ("xsetid", xsetid),
    ("xgroup|create", group::create),
    ("xgroup|setid", group::setid),
    ("xgroup|destroy", group::destroy),
    ("xgroup|createconsumer", group::createconsumer),
    ("xgroup|delconsumer", group::delconsumer),
    ("xack", group::xack),
    ("xclaim", claim::xclaim),
    ("xautoclaim", claim::xautoclaim),
    ("xpending", pending::xpending),
    ("xinfo|stream", info::stream),
    ("xinfo|groups", info::groups),
    ("xinfo|consumers", info::consumers),
    ("xread", |call| read::read(call, false)),
    ("xreadgroup", |call| read::read(call, true)),
];

fn xlen(call: &mut Call<'_>) -> Result<(), CommandError> {
    let stream = call.keyspace.stream_value(call.arg(1))?;
    let len = stream.map_or(0, |stream| stream.log.len());
    call.reply_integer(len as i64);
    Ok(())
}

fn xdel(call: &mut Call<'_>) -> Result<(), CommandError> {
    let request = call.request;
    let key = request.arg(1);
    let Some(stream) = call.keyspace.stream_mut(key)? else {
        call.reply_integer(0);
        return Ok(());
    };
    let ids = request.args(2).map(strict_id);
    let ids: Vec<StreamId> = ids.collect::<Result<_, _>>()?;
    let log = &mut stream.log;
    let deleted = ids.into_iter().filter(|id| log.delete(*id)).count();
    if deleted > 0 {
        log.end_deletion();
        call.keyspace.note_removal(key);
    }
    call.reply_len(deleted);
    Ok(())
}

fn xsetid(call: &mut Call<'_>) -> Result<(), CommandError> {
    let id = strict_id(call.arg(2))?;
    let (mut entries_added, mut max_deleted_id) = (None, StreamId::MIN);
    let mut index = 3;
    while index < call.len() {
        let has_value = index + 1 < call.len();
        if call.arg_is(index, "ENTRIESADDED") && has_value {
            let count = u64::try_from(call.integer_arg(index + 1)?)
                .map_err(|_| CommandError::text("ERR entries_added must be positive"))?;
            entries_added = Some(count);
        } else if call.arg_is(index, "MAXDELETEDID") && has_value {
            max_deleted_id = strict_id(call.arg(index + 1))?;
            if id < max_deleted_id {
                return Err(CommandError::text(
                    "ERR The ID specified in XSETID is smaller than the provided \
                     max_deleted_entry_id",
                ));
            }
        } else {
            return Err(CommandError::Syntax);
        }
        index += 2;
    }
    let stream = call.keyspace.stream_mut(call.arg(1))?;
    let log = &mut stream.ok_or(CommandError::NoSuchKey)?.log;
    if log.last_entry_id().is_some_and(|last| id < last) {
        return Err(CommandError::text(
            "ERR The ID specified in XSETID is smaller than the target stream top item",
        ));
    }
    if log.len() > 0 && entries_added.is_some_and(|added| added < log.len()) {
        return Err(CommandError::text(
            "ERR The entries_added specified in XSETID is smaller than the target stream length",
        ));
    }
    log.last_id = id;
    log.entries_added = entries_added.unwrap_or(log.entries_added);
    if max_deleted_id != StreamId::MIN {
        log.max_deleted_id = max_deleted_id;
    }
    call.keyspace.changes += 1;
    call.reply_ok();
    Ok(())
}
