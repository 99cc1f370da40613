//! Changes to who belongs to the cluster, and in which part.

use super::super::unknown_or_wrong_arguments;
use super::{Call, CommandError, cluster, cluster_mut, reply_ok_when_saved, unknown_node};
use crate::cluster::bus::Kind;
use crate::cluster::{FailoverError, FailoverForm, MeetError};
use crate::number;

pub(super) fn meet(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster(call)?;
    if call.len() > 5 {
        return Err(unknown_or_wrong_arguments(call, "CLUSTER"));
    }
    let shown = |index| String::from_utf8_lossy(call.arg(index)).into_owned();
    let number = |index, name| {
        number::parse_i64(call.arg(index)).ok_or_else(|| {
            let given = shown(index);
            CommandError::text(format!("ERR Invalid TCP {name} port specified: {given}"))
        })
    };
    let port = number(3, "base")?;
    let bus_port = if call.len() == 5 {
        number(4, "bus")?
    } else {
        port.saturating_add(10_000)
    };
    let (host, given_port) = (shown(2), shown(3));
    let invalid = || {
        CommandError::text(format!(
            "ERR Invalid node address specified: {host}:{given_port}"
        ))
    };
    let port = u16::try_from(port).map_err(|_| invalid())?;
    let bus_port = u16::try_from(bus_port).map_err(|_| invalid())?;
    let now = call.now;
    match cluster_mut(call)?.meet(&host, port, bus_port, now) {
        Ok(()) => {}
        Err(MeetError::Address) => return Err(invalid()),
        Err(MeetError::NoBus) => {
            return Err(CommandError::text("ERR This node has no cluster bus"));
        }
    }
    call.reply_ok();
    Ok(())
}

pub(super) fn forget(call: &mut Call<'_>) -> Result<(), CommandError> {
    let id = known_id(call)?;
    let cluster = cluster(call)?;
    if id == cluster.me() {
        return Err(CommandError::text(
            "ERR I tried hard but I can't forget myself...",
        ));
    }
    if cluster.my_info().primary.as_ref() == Some(&id) {
        return Err(CommandError::text("ERR Can't forget my master!"));
    }
    let now = call.now;
    cluster_mut(call)?.forget(&id, now);
    reply_ok_when_saved(call);
    Ok(())
}

pub(super) fn replicate(call: &mut Call<'_>) -> Result<(), CommandError> {
    let id = known_id(call)?;
    let cluster = cluster(call)?;
    if id == cluster.me() {
        return Err(CommandError::text("ERR Can't replicate myself"));
    }
    let is_replica =
        |node: &crate::cluster::NodeInfo| node.role == slotway_protocol::cluster::Role::Replica;
    if cluster.view().node(&id).is_some_and(is_replica) {
        return Err(CommandError::text(
            "ERR I can only replicate a master, not a replica.",
        ));
    }
    let has_slots = cluster.view().slot_count(cluster.my_index()) > 0;
    if cluster.is_primary() && (has_slots || call.keyspace.len() > 0) {
        return Err(CommandError::text(
            "ERR To set a master the node must be empty and without assigned slots.",
        ));
    }
    let now = call.now;
    let cluster = cluster_mut(call)?;
    cluster.become_replica_of(&id);
    cluster.announce(now);
    reply_ok_when_saved(call);
    Ok(())
}

pub(super) fn failover(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster(call)?;
    let form = match call.len() {
        2 => FailoverForm::Agreed,
        3 if call.arg_is(2, "FORCE") => FailoverForm::Force,
        3 if call.arg_is(2, "TAKEOVER") => FailoverForm::Takeover,
        3 => return Err(CommandError::Syntax),
        _ => return Err(unknown_or_wrong_arguments(call, "CLUSTER")),
    };
    let now = call.now;
    cluster_mut(call)?.fail_over(form, now).map_err(|error| {
        CommandError::text(match error {
            FailoverError::IsPrimary => "ERR You should send CLUSTER FAILOVER to a replica",
            FailoverError::PrimaryUnknown => "ERR I'm a replica but my master is unknown to me",
            FailoverError::PrimaryDown => {
                "ERR Master is down or failed, please use CLUSTER FAILOVER FORCE"
            }
        })
    })?;
    call.reply_ok();
    Ok(())
}

pub(super) fn reset(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster(call)?;
    let hard = match call.len() {
        2 => false,
        3 if call.arg_is(2, "HARD") => true,
        3 if call.arg_is(2, "SOFT") => false,
        3 => return Err(CommandError::Syntax),
        _ => return Err(unknown_or_wrong_arguments(call, "CLUSTER")),
    };
    if cluster(call)?.is_primary() && call.keyspace.len() > 0 {
        return Err(CommandError::text(
            "ERR CLUSTER RESET can't be called with master nodes containing keys",
        ));
    }
    cluster_mut(call)?.reset(hard);
    reply_ok_when_saved(call);
    Ok(())
}

pub(super) fn saveconfig(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster_mut(call)?.save_now();
    reply_ok_when_saved(call);
    Ok(())
}

pub(super) fn count_failure_reports(call: &mut Call<'_>) -> Result<(), CommandError> {
    let id = known_id(call)?;
    let cluster = cluster(call)?;
    let age_max = cluster.settings().node_timeout * 2;
    let node = cluster.view().node(&id);
    let count = node.map_or(0, |node| node.contact.reports(call.now.instant, age_max));
    call.reply_len(count);
    Ok(())
}

/// DEBUG DROP-CLUSTER-PACKET-FILTER: ignores messages of one type from now on, or of none.
pub(crate) fn drop_messages(call: &mut Call<'_>) -> Result<(), CommandError> {
    let kind = u16::try_from(call.integer_arg(2)?).ok();
    if let Some(cluster) = &mut call.server.cluster {
        cluster.ignored = kind.and_then(Kind::from_number);
    }
    call.reply_ok();
    Ok(())
}

/// DEBUG CLUSTERLINK KILL: closes links to or from a node.
pub(crate) fn kill_links(call: &mut Call<'_>) -> Result<(), CommandError> {
    let unknown = || unknown_node(call.arg(4));
    let id = core::str::from_utf8(call.arg(4)).map_err(|_| unknown())?;
    if cluster(call)?.view().node(id).is_none() {
        return Err(unknown());
    }
    let (to, from) = match call.arg(3).to_ascii_lowercase().as_slice() {
        b"to" => (true, false),
        b"from" => (false, true),
        b"all" => (true, true),
        _ => {
            let direction = String::from_utf8_lossy(call.arg(3)).into_owned();
            return Err(CommandError::text(format!(
                "ERR Unknown direction {direction}"
            )));
        }
    };
    cluster_mut(call)?.close_links(id, to, from);
    call.reply_ok();
    Ok(())
}

/// The id of a node, from argument 2.
fn known_id(call: &Call<'_>) -> Result<String, CommandError> {
    let cluster = cluster(call)?;
    let id = core::str::from_utf8(call.arg(2)).ok();
    let node = id.and_then(|id| cluster.view().node(id));
    node.map(|node| node.id.clone())
        .ok_or_else(|| unknown_node(call.arg(2)))
}
