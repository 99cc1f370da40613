//! Changes to which slots are whose, as operators and redis-cli make them. The others learn of them
//! from this node's next messages.

use slotway_protocol::cluster::Slot;

use super::{Call, CommandError, cluster, cluster_mut, reply_ok_when_saved, slot_arg};
use crate::number;

pub(super) fn addslots(call: &mut Call<'_>) -> Result<(), CommandError> {
    change_slots(call, Change::Add, Form::Single)
}

pub(super) fn addslotsrange(call: &mut Call<'_>) -> Result<(), CommandError> {
    change_slots(call, Change::Add, Form::Ranges)
}

pub(super) fn delslots(call: &mut Call<'_>) -> Result<(), CommandError> {
    change_slots(call, Change::Remove, Form::Single)
}

pub(super) fn delslotsrange(call: &mut Call<'_>) -> Result<(), CommandError> {
    change_slots(call, Change::Remove, Form::Ranges)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Add,
    Remove,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Single,
    Ranges,
}

/// Changes all given slots or none.
fn change_slots(call: &mut Call<'_>, change: Change, form: Form) -> Result<(), CommandError> {
    cluster(call)?;
    if form == Form::Ranges && !call.len().is_multiple_of(2) {
        return Err(CommandError::WrongArity);
    }
    let mut slots: Vec<Slot> = Vec::new();
    let step = if form == Form::Ranges { 2 } else { 1 };
    for index in (2..call.len()).step_by(step) {
        let first = slot_arg(call, index)?;
        let last = slot_arg(call, index + step - 1)?;
        if first > last {
            return Err(CommandError::text(format!(
                "ERR start slot number {first} is greater than end slot number {last}"
            )));
        }
        slots.extend(Slot::all().filter(|slot| (first..=last).contains(slot)));
    }
    let cluster = cluster_mut(call)?;
    let mut seen = vec![false; slotway_protocol::cluster::SLOTS];
    for slot in &slots {
        let owned = cluster.view().owner(*slot).is_some();
        match change {
            Change::Add if owned => {
                return Err(CommandError::text(format!(
                    "ERR Slot {slot} is already busy"
                )));
            }
            Change::Remove if !owned => {
                return Err(CommandError::text(format!(
                    "ERR Slot {slot} is already unassigned"
                )));
            }
            _ => {}
        }
        if std::mem::replace(&mut seen[slot.index()], true) {
            return Err(CommandError::text(format!(
                "ERR Slot {slot} specified multiple times"
            )));
        }
    }
    let me = cluster.me().to_owned();
    cluster.change(|view| {
        for slot in slots {
            let owner = (change == Change::Add).then_some(me.as_str());
            view.assign(slot, slot, owner);
            if change == Change::Add {
                view.set_importing(slot, None);
            }
        }
    });
    reply_ok_when_saved(call);
    Ok(())
}

pub(super) fn flushslots(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster(call)?;
    if call.keyspace.len() > 0 {
        return Err(CommandError::text(
            "ERR DB must be empty to perform CLUSTER FLUSHSLOTS.",
        ));
    }
    let cluster = cluster_mut(call)?;
    let me = cluster.my_index();
    cluster.change(|view| {
        for slot in Slot::all()
            .filter(|slot| view.owner_index(*slot) == Some(me))
            .collect::<Vec<_>>()
        {
            view.assign(slot, slot, None);
        }
    });
    reply_ok_when_saved(call);
    Ok(())
}

pub(super) fn setslot(call: &mut Call<'_>) -> Result<(), CommandError> {
    if !cluster(call)?.is_primary() {
        return Err(CommandError::text(
            "ERR Please use SETSLOT only with masters.",
        ));
    }
    let slot = slot_arg(call, 2)?;
    let with_node = call.len() == 5;
    let was_mine = owns(call, slot)?;
    if call.arg_is(3, "MIGRATING") && with_node {
        set_migrating(call, slot)?;
    } else if call.arg_is(3, "IMPORTING") && with_node {
        set_importing(call, slot)?;
    } else if call.arg_is(3, "STABLE") && call.len() == 4 {
        cluster_mut(call)?.change(|view| {
            view.set_migrating(slot, None);
            view.set_importing(slot, None);
        });
    } else if call.arg_is(3, "NODE") && with_node {
        set_owner(call, slot)?;
    } else {
        return Err(CommandError::text(
            "ERR Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP",
        ));
    }
    // What becomes of others' slots this node would hear again, and nobody goes by its having
    // heard.
    if owns(call, slot)? == was_mine {
        call.reply_ok();
    } else {
        reply_ok_when_saved(call);
    }
    Ok(())
}

fn set_migrating(call: &mut Call<'_>, slot: Slot) -> Result<(), CommandError> {
    if !owns(call, slot)? {
        return Err(CommandError::text(format!(
            "ERR I'm not the owner of hash slot {slot}"
        )));
    }
    let node = known_node(call, "I don't know about node")?;
    cluster_mut(call)?.change(|view| view.set_migrating(slot, Some(node)));
    Ok(())
}

fn set_importing(call: &mut Call<'_>, slot: Slot) -> Result<(), CommandError> {
    if owns(call, slot)? {
        return Err(CommandError::text(format!(
            "ERR I'm already the owner of hash slot {slot}"
        )));
    }
    let node = known_node(call, "I don't know about node")?;
    cluster_mut(call)?.change(|view| view.set_importing(slot, Some(node)));
    Ok(())
}

fn set_owner(call: &mut Call<'_>, slot: Slot) -> Result<(), CommandError> {
    let node = known_node(call, "Unknown node")?;
    let mine = owns(call, slot)?;
    let becomes_mine = cluster(call)?.me() == node;
    let keys = call.keyspace.slot_len(slot);
    if mine && !becomes_mine && keys > 0 {
        return Err(CommandError::text(format!(
            "ERR Can't assign hashslot {slot} to a different node while I still hold keys for \
             this hash slot."
        )));
    }
    let now = call.now;
    let cluster = cluster_mut(call)?;
    let from = cluster.view().importing(slot).map(str::to_owned);
    let from = from.filter(|_| becomes_mine);
    cluster.change(|view| {
        if keys == 0 {
            view.set_migrating(slot, None);
        }
        view.assign(slot, slot, Some(&node));
        if from.is_some() {
            view.set_importing(slot, None);
        }
    });
    if let Some(from) = from {
        cluster.take_over(slot, from, now);
    }
    let is_bare = cluster.view().slot_count(cluster.my_index()) == 0;
    let migrates = cluster.has_bus() && cluster.settings().allow_replica_migration;
    if mine && !becomes_mine && is_bare && migrates {
        cluster.become_replica_of(&node);
    }
    Ok(())
}

fn owns(call: &Call<'_>, slot: Slot) -> Result<bool, CommandError> {
    let cluster = cluster(call)?;
    Ok(cluster.view().owner_index(slot) == Some(cluster.my_index()))
}

/// The id of the primary that argument 4 names.
fn known_node(call: &Call<'_>, complaint: &str) -> Result<String, CommandError> {
    let id = String::from_utf8_lossy(call.arg(4)).into_owned();
    let node = cluster(call)?.view().node(&id);
    match node.map(|node| node.role) {
        None => Err(CommandError::text(format!("ERR {complaint} {id}"))),
        Some(slotway_protocol::cluster::Role::Replica) => {
            Err(CommandError::text("ERR Target node is not a master"))
        }
        Some(slotway_protocol::cluster::Role::Primary) => Ok(id),
    }
}

pub(super) fn bumpepoch(call: &mut Call<'_>) -> Result<(), CommandError> {
    let now = call.now;
    let cluster = cluster_mut(call)?;
    let (bumped, epoch) = cluster.bump_epoch();
    if bumped {
        // Whoever takes over a slot has to know what is to be outbid.
        cluster.announce(now);
    }
    let word = if bumped { "BUMPED" } else { "STILL" };
    let text = format!("{word} {epoch}");
    slotway_protocol::resp::encode::simple(call.out, text.as_bytes());
    Ok(())
}

pub(super) fn set_config_epoch(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster(call)?;
    let given = String::from_utf8_lossy(call.arg(2)).into_owned();
    let epoch = number::parse_i64(call.arg(2)).ok_or(CommandError::NotAnInteger)?;
    let cluster = cluster_mut(call)?;
    let error = if epoch < 0 {
        Some(format!("ERR Invalid config epoch specified: {given}"))
    } else if cluster.view().nodes().len() > 1 {
        let text = "ERR The user can assign a config epoch only when the node does not know any \
                    other node.";
        Some(text.to_owned())
    } else if cluster.my_info().epoch != 0 {
        Some("ERR Node config epoch is already non-zero".to_owned())
    } else {
        None
    };
    if let Some(error) = error {
        return Err(CommandError::text(error));
    }
    let me = cluster.me().to_owned();
    cluster.change(|view| {
        let epoch = epoch.unsigned_abs();
        view.current_epoch = view.current_epoch.max(epoch);
        if let Some(node) = view.node_mut(&me) {
            node.epoch = epoch;
        }
    });
    reply_ok_when_saved(call);
    Ok(())
}
