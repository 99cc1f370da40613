//! CLUSTER: what this node knows of its cluster, and changes to which slots are whose.

mod change;
mod manage;
mod show;

use slotway_protocol::cluster::Slot;

use super::{CLUSTER_DISABLED, Call, CommandError, Run};
use crate::cluster::Cluster;
use crate::number;

pub(super) use manage::{drop_messages, kill_links};

pub(super) const COMMANDS: &[(&str, Run)] = &[
    ("cluster|myid", show::myid),
    ("cluster|nodes", show::nodes),
    ("cluster|slots", show::slots),
    ("cluster|shards", show::shards),
    ("cluster|info", show::info),
    ("cluster|replicas", show::replicas),
    ("cluster|slaves", show::replicas),
    ("cluster|links", show::links),
    ("cluster|keyslot", keyslot),
    ("cluster|countkeysinslot", countkeysinslot),
    ("cluster|getkeysinslot", getkeysinslot),
    (
        "cluster|count-failure-reports",
        manage::count_failure_reports,
    ),
    ("cluster|meet", manage::meet),
    ("cluster|forget", manage::forget),
    ("cluster|replicate", manage::replicate),
    ("cluster|failover", manage::failover),
    ("cluster|reset", manage::reset),
    ("cluster|saveconfig", manage::saveconfig),
    ("cluster|addslots", change::addslots),
    ("cluster|addslotsrange", change::addslotsrange),
    ("cluster|delslots", change::delslots),
    ("cluster|delslotsrange", change::delslotsrange),
    ("cluster|flushslots", change::flushslots),
    ("cluster|setslot", change::setslot),
    ("cluster|bumpepoch", change::bumpepoch),
    ("cluster|set-config-epoch", change::set_config_epoch),
];

/// The cluster, on a node that is part of one.
fn cluster<'a>(call: &'a Call<'_>) -> Result<&'a Cluster, CommandError> {
    let cluster = call.server.cluster.as_ref();
    cluster.ok_or_else(|| CommandError::text(CLUSTER_DISABLED))
}

fn cluster_mut<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Cluster, CommandError> {
    let cluster = call.server.cluster.as_mut();
    cluster.ok_or_else(|| CommandError::text(CLUSTER_DISABLED))
}

fn unknown_node(id: &[u8]) -> CommandError {
    let id = String::from_utf8_lossy(id);
    CommandError::text(format!("ERR Unknown node {id}"))
}

/// A slot as the commands that change slots read it.
fn slot_arg(call: &Call<'_>, index: usize) -> Result<Slot, CommandError> {
    number::parse_i64(call.arg(index))
        .and_then(|number| u64::try_from(number).ok())
        .and_then(Slot::new)
        .ok_or_else(|| CommandError::text("ERR Invalid or out of range slot"))
}

/// Says OK once what was changed is in the cluster's file.
fn reply_ok_when_saved(call: &mut Call<'_>) {
    call.server.answers_when_saved = true;
    call.reply_ok();
}

fn keyslot(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster(call)?;
    let slot = Slot::of(call.arg(2));
    call.reply_integer(slot.number().into());
    Ok(())
}

fn countkeysinslot(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster(call)?;
    let slot = u64::try_from(call.integer_arg(2)?).ok().and_then(Slot::new);
    let slot = slot.ok_or_else(|| CommandError::text("ERR Invalid slot"))?;
    call.reply_len(call.keyspace.slot_len(slot));
    Ok(())
}

fn getkeysinslot(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster(call)?;
    let (slot, count) = (call.integer_arg(2)?, call.integer_arg(3)?);
    let slot = u64::try_from(slot).ok().and_then(Slot::new);
    let (Some(slot), Ok(count)) = (slot, usize::try_from(count)) else {
        return Err(CommandError::text("ERR Invalid slot or number of keys"));
    };
    let keys = call.keyspace.slot_keys_here(slot, count);
    slotway_protocol::resp::encode::array(call.out, keys.len());
    for key in keys {
        slotway_protocol::resp::encode::bulk(call.out, key);
    }
    Ok(())
}
