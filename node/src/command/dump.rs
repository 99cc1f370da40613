//! Values as bytes to carry from one server to another: DUMP and RESTORE.

use super::{Call, CommandError, Run};
use crate::persistence::payload;
use crate::persistence::rdb::RdbError;

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("dump", dump),
    ("restore", restore),
    ("restore-asking", restore),
];

fn dump(call: &mut Call<'_>) -> Result<(), CommandError> {
    match call.keyspace.get(call.arg(1)) {
        Some(value) => {
            let compress = call.server.config.rdbcompression;
            call.server.encoder.set_compression(compress);
            let payload = payload::seal(&mut call.server.encoder, value);
            call.reply_bulk(&payload);
        }
        None => call.reply_null(),
    }
    Ok(())
}

fn restore(call: &mut Call<'_>) -> Result<(), CommandError> {
    let options = Options::parse(call)?;
    let key = call.arg(1);
    if !options.replace && call.keyspace.contains(key) {
        return Err(CommandError::text(
            "BUSYKEY Target key name already exists.",
        ));
    }
    let ttl = call.integer_arg(2)?;
    if ttl < 0 {
        return Err(CommandError::text("ERR Invalid TTL value, must be >= 0"));
    }
    let unsealed = payload::unseal(call.arg(3))
        .ok_or_else(|| CommandError::text("ERR DUMP payload version or checksum are wrong"))?;
    let value = payload::value(unsealed).map_err(|error| match error {
        RdbError::Unsupported(_) => CommandError::text(format!("ERR {error}")),
        _ => CommandError::text("ERR Bad data format"),
    })?;
    let now_ms = call.keyspace.now_ms();
    let expires_at = match ttl {
        0 => None,
        date if options.absolute => Some(date),
        // One too far away comes out in the past, as it does in the server.
        ttl => Some(ttl.wrapping_add(now_ms as i64)),
    };
    if expires_at.is_some_and(|date| date <= now_ms as i64) {
        if options.replace {
            call.keyspace.remove(key);
            call.propagate(&[b"DEL", key]);
        }
    } else {
        let expires_at = expires_at.map_or(0, i64::unsigned_abs);
        call.keyspace.replace(key, value, expires_at);
        propagate(call, expires_at, options);
    }
    call.reply_ok();
    Ok(())
}

/// The key's expiry becomes a date, so that it is the same wherever and whenever this runs.
fn propagate(call: &mut Call<'_>, expires_at: u64, options: Options) {
    let after: [&[u8]; 3] = [call.arg(3), b"ABSTTL", b"REPLACE"];
    let after = &after[..2 + usize::from(options.replace)];
    call.propagate_number(&[b"RESTORE", call.arg(1)], expires_at, after);
}

#[derive(Debug, Clone, Copy, Default)]
struct Options {
    replace: bool,
    /// The time to live is a date.
    absolute: bool,
}

impl Options {
    /// How long a key was not used and how often it was is read and forgotten: nothing is evicted.
    fn parse(call: &Call<'_>) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let (mut idle, mut frequency) = (false, false);
        let mut index = 4;
        while index < call.len() {
            let has_value = index + 1 < call.len();
            if call.arg_is(index, "REPLACE") {
                options.replace = true;
            } else if call.arg_is(index, "ABSTTL") {
                options.absolute = true;
            } else if call.arg_is(index, "IDLETIME") && has_value && !frequency {
                index += 1;
                if call.integer_arg(index)? < 0 {
                    return Err(CommandError::text(
                        "ERR Invalid IDLETIME value, must be >= 0",
                    ));
                }
                idle = true;
            } else if call.arg_is(index, "FREQ") && has_value && !idle {
                index += 1;
                if !(0..=255).contains(&call.integer_arg(index)?) {
                    return Err(CommandError::text(
                        "ERR Invalid FREQ value, must be >= 0 and <= 255",
                    ));
                }
                frequency = true;
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(options)
    }
}
