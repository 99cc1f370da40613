//! XCLAIM and XAUTOCLAIM: entries that were delivered to one consumer go to another one.

use super::effects::{Effects, GroupName};
use super::group::no_key_or_group;
use super::ids::{range_start, strict_id};
use super::range::{insert_len, reply_entry, reply_id};
use crate::command::{Call, CommandError};
use crate::keyspace::Keyspace;
use crate::number::parse_i64;
use crate::value::stream::{Group, Log, Stream, StreamId};

/// What XCLAIM and XAUTOCLAIM do with an entry.
#[derive(Debug, Clone, Copy)]
struct Claim<'a> {
    consumer: &'a [u8],
    now_ms: i64,
    /// What was delivered more lately stays where it is.
    min_idle_ms: i64,
    /// When it counts as delivered.
    delivered_ms: i64,
    /// How often it counts as delivered, if not once more than before.
    deliveries: Option<u64>,
    /// Entries become pending that were not.
    force: bool,
    /// Only IDs are replied, and the entry counts as often delivered as before.
    just_id: bool,
    last_id: StreamId,
}

/// What came of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Claimed,
    /// It is not there any more, and nobody has it any more.
    Gone,
    /// Nobody had it, or not for long enough.
    Left,
}

pub(super) fn xclaim(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (request, now_ms) = (call.request, call.keyspace.now_ms() as i64);
    let name = GroupName {
        key: request.arg(1),
        group: request.arg(2),
    };
    find(call.keyspace, name)?;
    let min_idle_ms = integer(call, 4, "ERR Invalid min-idle-time argument for XCLAIM")?;
    let ids = request.args(5).map_while(|text| strict_id(text).ok());
    let ids: Vec<StreamId> = ids.collect();
    let mut claim = Claim::new(request.arg(3), min_idle_ms, now_ms);
    claim.parse_options(call, 5 + ids.len())?;
    let mut effects = Effects::new(name, &call.server.propagation);
    let (log, group) = find(call.keyspace, name)?;
    let is_moved = claim.last_id > group.last_id;
    group.last_id = group.last_id.max(claim.last_id);
    let start = call.out.len();
    let (mut claimed, mut gone) = (0, 0);
    for id in ids {
        match claim.apply((log, group), id, call.out, &mut effects) {
            Outcome::Claimed => claimed += 1,
            Outcome::Gone => gone += 1,
            Outcome::Left => {}
        }
    }
    insert_len(call.out, start, claimed);
    if is_moved && claimed + gone == 0 {
        effects.move_group(group);
    }
    call.keyspace.changes += (claimed + gone + usize::from(is_moved)) as u64;
    effects.say(call.keyspace, &mut call.server.propagation);
    Ok(())
}

pub(super) fn xautoclaim(call: &mut Call<'_>) -> Result<(), CommandError> {
    let (request, now_ms) = (call.request, call.keyspace.now_ms() as i64);
    let min_idle_ms = integer(call, 4, "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let mut next = Some(range_start(call.arg(5))?);
    let mut claim = Claim::new(request.arg(3), min_idle_ms, now_ms);
    let mut count = claim.parse_auto_options(call)?;
    let name = GroupName {
        key: request.arg(1),
        group: request.arg(2),
    };
    let mut effects = Effects::new(name, &call.server.propagation);
    let (log, group) = find(call.keyspace, name)?;
    let (mut attempts, mut claimed, mut gone) = (count * ATTEMPTS_FACTOR, 0, Vec::new());
    let mut entries = Vec::new();
    let next_pending =
        |group: &Group, from: Option<StreamId>| group.pending_from(from?).next().map(|(id, _)| id);
    while attempts > 0 && count > 0 {
        attempts -= 1;
        let Some(id) = next_pending(group, next) else {
            break;
        };
        match claim.apply((log, group), id, &mut entries, &mut effects) {
            Outcome::Claimed => {
                claimed += 1;
                count -= 1;
            }
            Outcome::Gone => {
                gone.push(id);
                count -= 1;
            }
            Outcome::Left => {}
        }
        next = id.next();
    }
    let next = next_pending(group, next).unwrap_or_default();
    call.keyspace.changes += (claimed + gone.len()) as u64;
    call.reply_array(3);
    reply_id(call.out, next);
    call.reply_array(claimed);
    call.out.extend_from_slice(&entries);
    call.reply_array(gone.len());
    gone.iter().for_each(|id| reply_id(call.out, *id));
    effects.say(call.keyspace, &mut call.server.propagation);
    Ok(())
}

impl<'a> Claim<'a> {
    fn new(consumer: &'a [u8], min_idle_ms: i64, now_ms: i64) -> Self {
        Self {
            consumer,
            now_ms,
            min_idle_ms,
            delivered_ms: now_ms,
            deliveries: None,
            force: false,
            just_id: false,
            last_id: StreamId::MIN,
        }
    }

    /// The options of XCLAIM from that argument on.
    fn parse_options(&mut self, call: &Call<'_>, first: usize) -> Result<(), CommandError> {
        let mut delivered_ms = self.now_ms;
        let mut index = first;
        while index < call.len() {
            let has_value = index + 1 < call.len();
            let (at, mut used) = (index + 1, 2);
            if call.arg_is(index, "FORCE") {
                (self.force, used) = (true, 1);
            } else if call.arg_is(index, "JUSTID") {
                (self.just_id, used) = (true, 1);
            } else if call.arg_is(index, "IDLE") && has_value {
                let idle_ms = integer(call, at, "ERR Invalid IDLE option argument for XCLAIM")?;
                delivered_ms = self.now_ms.wrapping_sub(idle_ms);
            } else if call.arg_is(index, "TIME") && has_value {
                delivered_ms = integer(call, at, "ERR Invalid TIME option argument for XCLAIM")?;
            } else if call.arg_is(index, "RETRYCOUNT") && has_value {
                let text = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
                self.deliveries = u64::try_from(integer(call, at, text)?).ok();
            } else if call.arg_is(index, "LASTID") && has_value {
                self.last_id = strict_id(call.arg(at))?;
            } else {
                let option = String::from_utf8_lossy(call.arg(index));
                return Err(CommandError::text(format!(
                    "ERR Unrecognized XCLAIM option '{option}'"
                )));
            }
            index += used;
        }
        // A time that can't be is no reason to refuse: clocks differ.
        if (0..=self.now_ms).contains(&delivered_ms) {
            self.delivered_ms = delivered_ms;
        }
        Ok(())
    }

    /// The options of XAUTOCLAIM; how many entries are wanted.
    fn parse_auto_options(&mut self, call: &Call<'_>) -> Result<usize, CommandError> {
        let (mut count, mut index) = (COUNT_DEFAULT, 6);
        while index < call.len() {
            if call.arg_is(index, "COUNT") && index + 1 < call.len() {
                index += 1;
                count = parse_i64(call.arg(index))
                    .filter(|count| (1..=COUNT_MAX).contains(count))
                    .ok_or_else(|| CommandError::text("ERR COUNT must be > 0"))?;
            } else if call.arg_is(index, "JUSTID") {
                self.just_id = true;
            } else {
                return Err(CommandError::Syntax);
            }
            index += 1;
        }
        Ok(count as usize)
    }

    /// Gives an entry to the consumer, if it can be, and replies with it.
    fn apply(
        &self,
        (log, group): (&Log, &mut Group),
        id: StreamId,
        out: &mut Vec<u8>,
        effects: &mut Effects<'_>,
    ) -> Outcome {
        let pending = group.pending_entry(id).cloned();
        let Some(entry) = log.entry(id) else {
            let Some(pending) = pending else {
                return Outcome::Left;
            };
            effects.claim(id, &pending, group.last_id);
            group.acknowledge(id);
            return Outcome::Gone;
        };
        let deliveries = match pending {
            None if self.force => 1,
            None => return Outcome::Left,
            Some(pending) => {
                let idle_ms = self.now_ms.wrapping_sub(pending.delivered_ms);
                if self.min_idle_ms > 0 && idle_ms < self.min_idle_ms {
                    return Outcome::Left;
                }
                pending.deliveries
            }
        };
        if !group.see(self.consumer, self.now_ms) {
            group.create_consumer(self.consumer, self.now_ms);
        }
        let deliveries = match self.deliveries {
            Some(deliveries) => deliveries,
            None => deliveries.wrapping_add(u64::from(!self.just_id)),
        };
        group.assign(id, self.consumer, self.delivered_ms, deliveries);
        if self.just_id {
            reply_id(out, id);
        } else {
            reply_entry(out, &entry);
        }
        if let Some(pending) = group.pending_entry(id) {
            effects.claim(id, pending, group.last_id);
        }
        Outcome::Claimed
    }
}

/// A stream's entries, and a group of it.
fn find<'a>(
    keyspace: &'a mut Keyspace,
    name: GroupName<'_>,
) -> Result<(&'a Log, &'a mut Group), CommandError> {
    let missing = || no_key_or_group(name.key, name.group, "");
    let Stream { log, groups } = keyspace.stream_mut(name.key)?.ok_or_else(missing)?;
    Ok((log, groups.get_mut(name.group).ok_or_else(missing)?))
}

fn integer(call: &Call<'_>, index: usize, error: &'static str) -> Result<i64, CommandError> {
    parse_i64(call.arg(index)).ok_or_else(|| CommandError::text(error))
}

/// How many entries XAUTOCLAIM claims if it is not told.
const COUNT_DEFAULT: i64 = 100;

const COUNT_MAX: i64 = i64::MAX / 16;

/// So many entries are looked at for each that is wanted.
const ATTEMPTS_FACTOR: usize = 10;
