//! XGROUP, which makes groups and changes them, and XACK.

use super::ids::{id_or_end, strict_id};
use crate::command::{Call, CommandError, unknown_or_wrong_arguments};
use crate::value::stream::{Group, Stream, StreamId, UNKNOWN_COUNT};

/// The options of XGROUP CREATE and XGROUP SETID.
#[derive(Debug, Clone, Copy)]
struct Options {
    creates_stream: bool,
    entries_read: i64,
}

pub(super) fn create(call: &mut Call<'_>) -> Result<(), CommandError> {
    let options = Options::parse(call, true)?;
    let (key, name) = (call.arg(2), call.arg(3));
    let last_id = call
        .keyspace
        .stream_mut(key)?
        .map(|stream| stream.log.last_id);
    if last_id.is_none() && !options.creates_stream {
        return Err(no_stream());
    }
    if call.len() > 8 {
        return Err(unknown_or_wrong_arguments(call, "XGROUP"));
    }
    let id = match call.arg(4) {
        b"$" => last_id.unwrap_or(StreamId::MIN),
        text => strict_id(text)?,
    };
    let stream = call.keyspace.stream_or_create(key)?;
    if stream.groups.contains_key(name) {
        return Err(CommandError::text(
            "BUSYGROUP Consumer Group name already exists",
        ));
    }
    let group = Group::new(id, options.entries_read);
    stream.groups.insert(name.into(), group);
    if last_id.is_none() {
        call.keyspace.note_change(key);
    } else {
        call.keyspace.changes += 1;
    }
    call.reply_ok();
    Ok(())
}

pub(super) fn setid(call: &mut Call<'_>) -> Result<(), CommandError> {
    let options = Options::parse(call, false)?;
    let stream = stream_with_group(call)?;
    let last_id = stream.log.last_id;
    if !matches!(call.len(), 5 | 7) {
        return Err(unknown_or_wrong_arguments(call, "XGROUP"));
    }
    let id = match call.arg(4) {
        b"$" => last_id,
        text => id_or_end(text, 0)?,
    };
    let group = group_mut(call)?;
    group.last_id = id;
    group.entries_read = options.entries_read;
    call.keyspace.changes += 1;
    call.reply_ok();
    Ok(())
}

pub(super) fn destroy(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (key, name) = (call.arg(2), call.arg(3));
    let stream = call.keyspace.stream_mut(key)?.ok_or_else(no_stream)?;
    let is_destroyed = stream.groups.remove(name).is_some();
    if is_destroyed {
        call.keyspace.changes += 1;
        // Those who wait for entries in its name are told.
        call.keyspace.note_ready(key);
    }
    call.reply_integer(i64::from(is_destroyed));
    Ok(())
}

pub(super) fn createconsumer(call: &mut Call<'_>) -> Result<(), CommandError> {
    let now_ms = call.keyspace.now_ms() as i64;
    stream_with_group(call)?;
    let consumer = call.arg(4);
    let is_new = group_mut(call)?.create_consumer(consumer, now_ms);
    call.keyspace.changes += u64::from(is_new);
    call.reply_integer(i64::from(is_new));
    Ok(())
}

pub(super) fn delconsumer(call: &mut Call<'_>) -> Result<(), CommandError> {
    stream_with_group(call)?;
    let consumer = call.arg(4);
    let pending = group_mut(call)?.delete_consumer(consumer);
    call.keyspace.changes += u64::from(pending.is_some());
    call.reply_len(pending.unwrap_or(0));
    Ok(())
}

pub(super) fn xack(call: &mut Call<'_>) -> Result<(), CommandError> {
    let request = call.request;
    let stream = call.keyspace.stream_mut(request.arg(1))?;
    let Some(group) = stream.and_then(|stream| stream.groups.get_mut(request.arg(2))) else {
        call.reply_integer(0);
        return Ok(());
    };
    let ids = request.args(3).map(strict_id);
    let ids: Vec<StreamId> = ids.collect::<Result<_, _>>()?;
    let acknowledged = ids.into_iter().filter(|id| group.acknowledge(*id)).count();
    call.keyspace.changes += acknowledged as u64;
    call.reply_len(acknowledged);
    Ok(())
}

impl Options {
    fn parse(call: &Call<'_>, is_create: bool) -> Result<Self, CommandError> {
        let mut options = Self {
            creates_stream: false,
            entries_read: UNKNOWN_COUNT,
        };
        let mut index = 5;
        while index < call.len() {
            if is_create && call.arg_is(index, "MKSTREAM") {
                options.creates_stream = true;
                index += 1;
            } else if call.arg_is(index, "ENTRIESREAD") && index + 1 < call.len() {
                options.entries_read = call.integer_arg(index + 1)?;
                if options.entries_read < UNKNOWN_COUNT {
                    return Err(CommandError::text(
                        "ERR value for ENTRIESREAD must be positive or -1",
                    ));
                }
                index += 2;
            } else {
                return Err(unknown_or_wrong_arguments(call, "XGROUP"));
            }
        }
        Ok(options)
    }
}

/// The stream in argument 2, when it has the group in argument 3.
fn stream_with_group<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Stream, CommandError> {
    let (key, name) = (call.arg(2), call.arg(3));
    let stream = call.keyspace.stream_mut(key)?.ok_or_else(no_stream)?;
    if stream.groups.contains_key(name) {
        return Ok(stream);
    }
    Err(no_group(key, name))
}

/// The group in argument 3 of the stream in argument 2.
fn group_mut<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Group, CommandError> {
    let (key, name) = (call.arg(2), call.arg(3));
    let stream = stream_with_group(call)?;
    (stream.groups.get_mut(name)).ok_or_else(|| no_group(key, name))
}

fn no_stream() -> CommandError {
    CommandError::text(
        "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want \
         to use the MKSTREAM option to create an empty stream automatically.",
    )
}

#[cold]
pub(super) fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::text(format!(
        "NOGROUP No such consumer group '{}' for key name '{}'",
        String::from_utf8_lossy(group),
        String::from_utf8_lossy(key)
    ))
}

/// The same where the key may be what is missing; `context` comes behind.
#[cold]
pub(super) fn no_key_or_group(key: &[u8], group: &[u8], context: &str) -> CommandError {
    CommandError::text(format!(
        "NOGROUP No such key '{}' or consumer group '{}'{context}",
        String::from_utf8_lossy(key),
        String::from_utf8_lossy(group)
    ))
}
