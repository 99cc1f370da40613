//! What a node tells of its cluster, in the formats that clients and redis-cli read.

use core::fmt::Write;

use slotway_protocol::cluster::{Role, SLOTS, Slot};
use slotway_protocol::resp::encode;

use super::{Call, CommandError, cluster, unknown_node};
use crate::cluster::{Cluster, ClusterState, ClusterView, NodeInfo};

pub(super) fn myid(call: &mut Call<'_>) -> Result<(), CommandError> {
    let id = cluster(call)?.me().to_owned();
    call.reply_bulk(id.as_bytes());
    Ok(())
}

pub(super) fn nodes(call: &mut Call<'_>) -> Result<(), CommandError> {
    let cluster = cluster(call)?;
    let mut text = String::new();
    for node in cluster.view().nodes() {
        describe(cluster, node, &mut text);
        text.push('\n');
    }
    encode::verbatim(call.out, call.protocol, text.as_bytes());
    Ok(())
}

pub(super) fn replicas(call: &mut Call<'_>) -> Result<(), CommandError> {
    let id = call.arg(2);
    let cluster = cluster(call)?;
    let primary = core::str::from_utf8(id)
        .ok()
        .and_then(|id| cluster.view().node(id))
        .ok_or_else(|| unknown_node(id))?;
    if primary.role != Role::Primary {
        return Err(CommandError::text("ERR The specified node is not a master"));
    }
    let lines: Vec<String> = cluster
        .view()
        .replicas(&primary.id)
        .map(|replica| {
            let mut text = String::new();
            describe(cluster, replica, &mut text);
            text
        })
        .collect();
    call.reply_array(lines.len());
    for line in lines {
        call.reply_bulk(line.as_bytes());
    }
    Ok(())
}

/// One line of CLUSTER NODES, without its end.
fn describe(cluster: &Cluster, node: &NodeInfo, text: &mut String) {
    let view = cluster.view();
    let is_me = node.id == cluster.me();
    let role = match node.role {
        Role::Primary => "master",
        Role::Replica => "slave",
    };
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{} {}:{}@{} {}{role}{} {} 0 0 {} connected",
        node.id,
        node.address.host,
        node.address.port,
        node.bus_port,
        if is_me { "myself," } else { "" },
        if node.failed { ",fail" } else { "" },
        node.primary.as_deref().unwrap_or("-"),
        epoch(view, node),
    );
    for (first, last) in view.ranges(&node.id) {
        let _ = if first == last {
            write!(text, " {first}")
        } else {
            write!(text, " {first}-{last}")
        };
    }
    if is_me {
        for (slot, to) in view.migrating_slots() {
            let _ = write!(text, " [{slot}->-{to}]");
        }
        for (slot, from) in view.importing_slots() {
            let _ = write!(text, " [{slot}-<-{from}]");
        }
    }
}

/// A replica is shown with the epoch of its primary.
fn epoch(view: &ClusterView, node: &NodeInfo) -> u64 {
    let primary = node.primary.as_deref().and_then(|id| view.node(id));
    primary.unwrap_or(node).epoch
}

pub(super) fn slots(call: &mut Call<'_>) -> Result<(), CommandError> {
    let cluster = cluster(call)?;
    let view = cluster.view();
    let mut ranges: Vec<(Slot, Slot, &NodeInfo)> = view
        .nodes()
        .iter()
        .flat_map(|node| {
            let ranges = view.ranges(&node.id).into_iter();
            ranges.map(move |(first, last)| (first, last, node))
        })
        .collect();
    ranges.sort_by_key(|(first, ..)| *first);
    let mut reply = Vec::new();
    encode::array(&mut reply, ranges.len());
    for (first, last, owner) in ranges {
        let replicas: Vec<&NodeInfo> = view
            .replicas(&owner.id)
            .filter(|replica| !replica.failed)
            .collect();
        encode::array(&mut reply, 3 + replicas.len());
        encode::integer(&mut reply, first.number().into());
        encode::integer(&mut reply, last.number().into());
        for node in core::iter::once(owner).chain(replicas) {
            encode::array(&mut reply, 4);
            encode::bulk(&mut reply, node.address.host.as_bytes());
            encode::integer(&mut reply, node.address.port.into());
            encode::bulk(&mut reply, node.id.as_bytes());
            encode::array(&mut reply, 0);
        }
    }
    call.out.extend_from_slice(&reply);
    Ok(())
}

pub(super) fn shards(call: &mut Call<'_>) -> Result<(), CommandError> {
    let protocol = call.protocol;
    let view = cluster(call)?.view();
    let primaries: Vec<&NodeInfo> = view
        .nodes()
        .iter()
        .filter(|node| node.role == Role::Primary)
        .collect();
    let mut reply = Vec::new();
    encode::array(&mut reply, primaries.len());
    for primary in primaries {
        encode::map(&mut reply, protocol, 2);
        encode::bulk(&mut reply, b"slots");
        let ranges = view.ranges(&primary.id);
        encode::array(&mut reply, ranges.len() * 2);
        for (first, last) in ranges {
            encode::integer(&mut reply, first.number().into());
            encode::integer(&mut reply, last.number().into());
        }
        encode::bulk(&mut reply, b"nodes");
        let members: Vec<&NodeInfo> = core::iter::once(primary)
            .chain(view.replicas(&primary.id))
            .collect();
        encode::array(&mut reply, members.len());
        for member in members {
            write_member(&mut reply, protocol, member);
        }
    }
    call.out.extend_from_slice(&reply);
    Ok(())
}

fn write_member(
    reply: &mut Vec<u8>,
    protocol: slotway_protocol::resp::Protocol,
    member: &NodeInfo,
) {
    let host = member.address.host.as_bytes();
    encode::map(reply, protocol, 7);
    encode::bulk(reply, b"id");
    encode::bulk(reply, member.id.as_bytes());
    encode::bulk(reply, b"port");
    encode::integer(reply, member.address.port.into());
    encode::bulk(reply, b"ip");
    encode::bulk(reply, host);
    encode::bulk(reply, b"endpoint");
    encode::bulk(reply, host);
    encode::bulk(reply, b"role");
    let role: &[u8] = match member.role {
        Role::Primary => b"master",
        Role::Replica => b"replica",
    };
    encode::bulk(reply, role);
    encode::bulk(reply, b"replication-offset");
    // Nothing is replicated yet.
    encode::integer(reply, 0);
    encode::bulk(reply, b"health");
    let health: &[u8] = if member.failed { b"fail" } else { b"online" };
    encode::bulk(reply, health);
}

pub(super) fn info(call: &mut Call<'_>) -> Result<(), CommandError> {
    let cluster = cluster(call)?;
    let view = cluster.view();
    let owners = || Slot::all().filter_map(|slot| view.owner(slot));
    let assigned = owners().count();
    let failed = owners().filter(|owner| owner.failed).count();
    let size = (view.nodes().iter())
        .filter(|node| owners().any(|owner| owner.id == node.id))
        .count();
    debug_assert!(assigned <= SLOTS, "a slot has one owner");
    let state = match cluster.state() {
        ClusterState::Ok => "ok",
        ClusterState::Fail => "fail",
    };
    let text = format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\n\
         cluster_slots_ok:{}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:{failed}\r\n\
         cluster_known_nodes:{}\r\ncluster_size:{size}\r\ncluster_current_epoch:{}\r\n\
         cluster_my_epoch:{}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n",
        assigned - failed,
        view.nodes().len(),
        view.current_epoch,
        epoch(view, cluster.my_info()),
    );
    encode::verbatim(call.out, call.protocol, text.as_bytes());
    Ok(())
}

/// This node has no bus yet, and so no links.
pub(super) fn links(call: &mut Call<'_>) -> Result<(), CommandError> {
    cluster(call)?;
    call.reply_array(0);
    Ok(())
}
