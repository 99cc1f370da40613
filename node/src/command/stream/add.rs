//! XADD and XTRIM.

use super::ids::{strict_id, wished_id};
use crate::command::{Call, CommandError};
use crate::config::Config;
use crate::engine::session::{Kind, Sessions};
use crate::value::stream::{AppendError, IdWish, Log, NodeLimits, StreamId, Trim, TrimBy};

/// The options of XADD and XTRIM.
#[derive(Debug, Clone, Copy, Default)]
struct Options {
    /// How to trim, and where the length or the ID stands.
    trim: Option<(Trim, usize)>,
    /// How many entries may be trimmed, if that was given.
    limit: Option<u64>,
    /// A stream that is not there is not begun.
    no_create: bool,
    /// The ID of XADD, and where it stands.
    id: Option<(IdWish, usize)>,
}

pub(super) fn xadd(call: &mut Call<'_>) -> Result<(), CommandError> {
    let options = Options::parse(call, true)?;
    let Some((wish, id_at)) = options.id else {
        return Err(CommandError::WrongArity);
    };
    let request = call.request;
    let pairs: Vec<&[u8]> = request.args(id_at + 1).collect();
    if pairs.is_empty() || !pairs.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity);
    }
    if wish == IdWish::Exact(StreamId::MIN) {
        return Err(CommandError::text(
            "ERR The ID specified in XADD must be greater than 0-0",
        ));
    }
    let key = request.arg(1);
    if options.no_create && call.keyspace.stream_mut(key)?.is_none() {
        call.reply_null();
        return Ok(());
    }
    let now_ms = call.keyspace.now_ms();
    let log = &mut call.keyspace.stream_or_create(key)?.log;
    if log.last_id == StreamId::MAX {
        return Err(CommandError::text(
            "ERR The stream has exhausted the last possible ID, unable to add more items",
        ));
    }
    let limits = NodeLimits::of(&call.server.config);
    let id = log.append(wish, &pairs, limits, now_ms).map_err(refusal)?;
    let trimmed = options.trim.map(|(trim, at)| {
        log.trim(&trim);
        (rest_after(log, &trim), at)
    });
    call.keyspace.note_change(key);
    let id = id.to_string();
    call.reply_bulk(id.as_bytes());
    let exact = matches!(wish, IdWish::Exact(_));
    let id = Some((id, id_at)).filter(|_| !exact);
    propagate(call, id, trimmed);
    Ok(())
}

pub(super) fn xtrim(call: &mut Call<'_>) -> Result<(), CommandError> {
    let options = Options::parse(call, false)?;
    let Some((trim, at)) = options.trim else {
        unreachable!("XTRIM is not taken without telling how to trim");
    };
    let key = call.arg(1);
    let Some(stream) = call.keyspace.stream_mut(key)? else {
        call.reply_integer(0);
        return Ok(());
    };
    let removed = stream.log.trim(&trim);
    let rest = rest_after(&stream.log, &trim);
    if removed > 0 {
        call.keyspace.note_removal(key);
        propagate(call, None, Some((rest, at)));
    }
    call.reply_integer(removed as i64);
    Ok(())
}

fn refusal(error: AppendError) -> CommandError {
    CommandError::text(match error {
        AppendError::NotGreater => {
            "ERR The ID specified in XADD is equal or smaller than the target stream top item"
        }
        AppendError::TooLarge => "ERR Elements are too large to be stored",
    })
}

/// What trimming has left, as an argument that leaves the same elsewhere; `None` where the
/// argument that was given does.
fn rest_after(log: &Log, trim: &Trim) -> Option<String> {
    trim.is_approximate.then(|| match trim.by {
        TrimBy::Length(_) => log.len().to_string(),
        TrimBy::Id(_) => log.first_id_of_nodes().unwrap_or(StreamId::MAX).to_string(),
    })
}

/// Says what was done with the ID that was chosen and the length that was reached.
fn propagate(
    call: &mut Call<'_>,
    id: Option<(String, usize)>,
    trimmed: Option<(Option<String>, usize)>,
) {
    if !call.server.propagation.is_heard() {
        return;
    }
    let mut args: Vec<&[u8]> = call.request.args(0).collect();
    let trimmed = trimmed.and_then(|(rest, at)| Some((rest?, at)));
    if id.is_none() && trimmed.is_none() {
        return;
    }
    if let Some((id, at)) = &id {
        args[*at] = id.as_bytes();
    }
    if let Some((rest, at)) = &trimmed {
        args[at - 1] = b"=";
        args[*at] = rest.as_bytes();
    }
    call.propagate(&args);
}

impl Options {
    fn parse(call: &Call<'_>, is_add: bool) -> Result<Self, CommandError> {
        let mut options = Self::default();
        let mut index = 2;
        while index < call.len() {
            let has_value = index + 1 < call.len();
            if is_add && call.arg(index) == b"*" {
                options.id = Some((IdWish::Auto, index));
                break;
            } else if has_value && (call.arg_is(index, "MAXLEN") || call.arg_is(index, "MINID")) {
                index = options.parse_trim(call, index)?;
            } else if has_value && call.arg_is(index, "LIMIT") {
                index += 1;
                let limit = u64::try_from(call.integer_arg(index)?)
                    .map_err(|_| CommandError::text("ERR The LIMIT argument must be >= 0."))?;
                options.limit = Some(limit);
            } else if is_add && call.arg_is(index, "NOMKSTREAM") {
                options.no_create = true;
            } else if is_add {
                options.id = Some((wished_id(call.arg(index))?, index));
                break;
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        options.check_limit(call, is_add)?;
        Ok(options)
    }

    /// MAXLEN or MINID; the index of the last argument that belongs to it.
    fn parse_trim(&mut self, call: &Call<'_>, index: usize) -> Result<usize, CommandError> {
        if self.trim.is_some() {
            return Err(CommandError::text(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let has_two = index + 2 < call.len();
        let is_approximate = has_two && call.arg(index + 1) == b"~";
        let has_sign = is_approximate || (has_two && call.arg(index + 1) == b"=");
        let at = index + 1 + usize::from(has_sign);
        let by = if call.arg_is(index, "MAXLEN") {
            let len = u64::try_from(call.integer_arg(at)?)
                .map_err(|_| CommandError::text("ERR The MAXLEN argument must be >= 0."))?;
            TrimBy::Length(len)
        } else {
            TrimBy::Id(strict_id(call.arg(at))?)
        };
        let trim = Trim {
            by,
            is_approximate,
            limit: 0,
        };
        self.trim = Some((trim, at));
        Ok(at)
    }

    /// Limits what is trimmed at once, unless it was done the same elsewhere already.
    fn check_limit(&mut self, call: &Call<'_>, is_add: bool) -> Result<(), CommandError> {
        let limit = self.limit;
        if self.trim.is_none() && limit.is_some_and(|limit| limit > 0) {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
            ));
        }
        if self.trim.is_none() && !is_add {
            return Err(CommandError::text(
                "ERR syntax error, XTRIM must be called with a trimming strategy",
            ));
        }
        let session = &call.sessions[call.client];
        if call.client == Sessions::INTERNAL || session.kind == Kind::Primary {
            return Ok(());
        }
        let approximate = self.trim.as_mut().map(|(trim, _)| trim);
        let approximate = approximate.filter(|trim| trim.is_approximate);
        if limit.is_some() && approximate.is_none() {
            return Err(CommandError::text(
                "ERR syntax error, LIMIT cannot be used without the special ~ option",
            ));
        }
        if let Some(trim) = approximate {
            let entries_max = call.server.config.stream_node_max_entries;
            trim.limit = match (limit, entries_max.saturating_mul(100)) {
                (Some(limit), _) => limit,
                (None, 0) => LIMIT_DEFAULT,
                (None, entries) => entries.min(LIMIT_MAX),
            };
        }
        Ok(())
    }
}

impl NodeLimits {
    fn of(config: &Config) -> Self {
        Self {
            bytes: config.stream_node_max_bytes,
            entries: config.stream_node_max_entries,
        }
    }
}

/// How many entries are trimmed at once where nodes have no limit.
const LIMIT_DEFAULT: u64 = 10_000;

const LIMIT_MAX: u64 = 1_000_000;
