//! Whether a request is this node's to serve, or who else's: the rules of the cluster
//! specification, in the server's order.

use slotway_protocol::cluster::Slot;
use slotway_protocol::command::{Command, Flags, keys};
use slotway_protocol::resp::Request;

use super::{Cluster, ClusterState, NodeInfo};
use crate::command::CommandError;
use crate::config::EndpointType;
use crate::keyspace::Keyspace;

/// A request with its command: alone, or one of a transaction.
pub(crate) type Keyed<'a> = (&'static Command, Request<'a>);

/// What a client has said that changes the rules for it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Permissions {
    pub(crate) asking: bool,
    pub(crate) readonly: bool,
}

/// The slot of all keys of these requests, `None` without keys, when this node may serve them;
/// else the error that says who does.
pub(crate) fn route(
    cluster: &Cluster,
    keyspace: &mut Keyspace,
    requests: &[Keyed<'_>],
    permissions: Permissions,
) -> Result<Option<Slot>, CommandError> {
    let Some(slot) = common_slot(cluster, requests)? else {
        return Ok(None);
    };
    if cluster.state() == ClusterState::Fail {
        judge_when_down(cluster, requests)?;
    }
    let owner = cluster.view().owner_index(slot);
    let mine = owner == Some(cluster.my_index());
    if !is_published(requests)
        && !cluster.view().is_stable()
        && let Some(verdict) = judge_moving(cluster, keyspace, requests, slot, permissions)
    {
        return verdict.map(|()| Some(slot));
    }
    if mine || may_read_here(cluster, requests, slot, permissions) {
        return Ok(Some(slot));
    }
    match cluster.view().owner(slot) {
        Some(owner) => Err(cluster.redirect("MOVED", slot, owner)),
        None => Err(CommandError::text("CLUSTERDOWN Hash slot not served")),
    }
}

/// Why nobody should wait here for a key of that slot to change, if there is a reason. Who may read
/// at a replica can also wait there.
pub(crate) fn lost(cluster: &Cluster, slot: Slot, may_read: bool) -> Option<CommandError> {
    if cluster.state() == ClusterState::Fail {
        return Some(CommandError::text("CLUSTERDOWN The cluster is down"));
    }
    let view = cluster.view();
    let mine = view.owner_index(slot) == Some(cluster.my_index());
    let is_of_primary = (view.owner(slot))
        .is_some_and(|owner| cluster.my_info().primary.as_ref() == Some(&owner.id));
    if mine || (may_read && is_of_primary) || view.importing(slot).is_some() {
        return None;
    }
    Some(match view.owner(slot) {
        Some(owner) => cluster.redirect("MOVED", slot, owner),
        None => CommandError::text("CLUSTERDOWN Hash slot not served"),
    })
}

/// Whether the keys are channels, which need not be there.
fn is_published(requests: &[Keyed<'_>]) -> bool {
    requests
        .iter()
        .all(|(command, _)| command.flags.contains(Flags::PUBSUB))
}

/// What may be served although the cluster is down.
#[cold]
fn judge_when_down(cluster: &Cluster, requests: &[Keyed<'_>]) -> Result<(), CommandError> {
    let settings = cluster.settings();
    let down = || Err(CommandError::text("CLUSTERDOWN The cluster is down"));
    if is_published(requests) {
        return if settings.allow_pubsubshard_when_down {
            Ok(())
        } else {
            down()
        };
    }
    if !settings.allow_reads_when_down {
        return down();
    }
    let writes = |(command, _): &Keyed<'_>| {
        // Counting may write down what it has found.
        command.flags.contains(Flags::WRITE) || command.name == "pfcount"
    };
    if requests.iter().any(writes) {
        return Err(CommandError::text(
            "CLUSTERDOWN The cluster is down and only accepts read commands",
        ));
    }
    Ok(())
}

/// The slot that all keys have; an error when they differ or nobody owns it.
fn common_slot(cluster: &Cluster, requests: &[Keyed<'_>]) -> Result<Option<Slot>, CommandError> {
    let (mut common, mut unbound, mut crossing) = (None, false, false);
    each_key(requests, &mut |key| {
        let slot = Slot::of(key);
        match common {
            None => {
                common = Some(slot);
                unbound = cluster.view().owner_index(slot).is_none();
            }
            Some(common) => crossing |= common != slot,
        }
    });
    if unbound {
        return Err(CommandError::text("CLUSTERDOWN Hash slot not served"));
    }
    if crossing {
        return Err(CommandError::text(
            "CROSSSLOT Keys in request don't hash to the same slot",
        ));
    }
    Ok(common)
}

/// The verdict on a slot that is moving; `None` when that makes no difference.
fn judge_moving(
    cluster: &Cluster,
    keyspace: &mut Keyspace,
    requests: &[Keyed<'_>],
    slot: Slot,
    permissions: Permissions,
) -> Option<Result<(), CommandError>> {
    let view = cluster.view();
    let mine = view.owner_index(slot) == Some(cluster.my_index());
    let target = view.migrating(slot).filter(|_| mine);
    let importing = target.is_none() && view.importing(slot).is_some();
    if target.is_none() && !importing {
        return None;
    }
    // MIGRATE moves keys in either direction, so it always means those of this node.
    if requests
        .iter()
        .any(|(command, _)| command.name == "migrate")
    {
        return Some(Ok(()));
    }
    keyspace.select(slot);
    let (mut missing, mut existing, mut several) = (0, 0, false);
    let mut first: Option<&[u8]> = None;
    each_key(requests, &mut |key| {
        several |= *first.get_or_insert(key) != key;
        if keyspace.contains(key) {
            existing += 1;
        } else {
            missing += 1;
        }
    });
    let try_again =
        || CommandError::text("TRYAGAIN Multiple keys request during rehashing of slot");
    if let Some(target) = target {
        return match (missing, existing) {
            (0, _) => None,
            (_, 0) => {
                let target = view.node(target)?;
                Some(Err(cluster.redirect("ASK", slot, target)))
            }
            _ => Some(Err(try_again())),
        };
    }
    let asking = requests
        .iter()
        .any(|(command, _)| command.flags.contains(Flags::ASKING));
    if !permissions.asking && !asking {
        return None;
    }
    if several && missing > 0 {
        return Some(Err(try_again()));
    }
    Some(Ok(()))
}

/// Whether a replica of the slot's owner may serve a client that said READONLY.
fn may_read_here(
    cluster: &Cluster,
    requests: &[Keyed<'_>],
    slot: Slot,
    permissions: Permissions,
) -> bool {
    let owner = cluster.view().owner(slot);
    (permissions.readonly || is_published(requests))
        && owner.is_some_and(|owner| cluster.my_info().primary.as_ref() == Some(&owner.id))
        && !requests
            .iter()
            .any(|(command, _)| command.flags.contains(Flags::WRITE))
}

/// A request whose keys can't be told is treated as one without: it is going to fail anyway, and
/// the command says why.
pub(crate) fn each_key<'a>(requests: &[Keyed<'a>], visit: &mut dyn FnMut(&'a [u8])) {
    for (command, request) in requests {
        match command.single_key() {
            Some(index) => visit(request.arg(index)),
            None if has_keys(command) => {
                let _ = keys::each_key(command, request, &mut |index| visit(request.arg(index)));
            }
            None => {}
        }
    }
}

/// The slot of a request's first key.
pub(crate) fn slot_of(request: &Keyed<'_>) -> Option<Slot> {
    let mut slot = None;
    each_key(&[*request], &mut |key| {
        slot.get_or_insert_with(|| Slot::of(key));
    });
    slot
}

#[inline]
pub(crate) fn has_keys(command: &Command) -> bool {
    !command.key_specs.is_empty()
}

impl Cluster {
    /// Sends a client to another node, by the name that nodes are to be called by.
    fn redirect(&self, kind: &str, slot: Slot, node: &NodeInfo) -> CommandError {
        let host = match self.settings().endpoint_type {
            EndpointType::Ip => &*node.address.host,
            EndpointType::Hostname if node.hostname.is_empty() => "?",
            EndpointType::Hostname => &node.hostname,
            EndpointType::UnknownEndpoint => "",
        };
        let port = node.address.port;
        CommandError::text(format!("{kind} {slot} {host}:{port}"))
    }
}
