//! What a node tells of its cluster, in the formats that clients and redis-cli read.

use core::fmt::Write;

use slotway_protocol::cluster::{Role, Slot};
use slotway_protocol::resp::encode;

use super::{Call, CommandError, cluster, unknown_node};
use crate::cluster::bus::Kind;
use crate::cluster::{ClusterState, NodeInfo, describe, epoch};
use crate::config::EndpointType;

pub(super) fn myid(call: &mut Call<'_>) -> Result<(), CommandError> {
    let id = cluster(call)?.me().to_owned();
    call.reply_bulk(id.as_bytes());
    Ok(())
}

pub(super) fn nodes(call: &mut Call<'_>) -> Result<(), CommandError> {
    let cluster = cluster(call)?;
    let mut text = String::new();
    for node in cluster.view().nodes() {
        describe(cluster, node, call.now, &mut text);
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
            describe(cluster, replica, call.now, &mut text);
            text
        })
        .collect();
    call.reply_array(lines.len());
    for line in lines {
        call.reply_bulk(line.as_bytes());
    }
    Ok(())
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
            .filter(|replica| !replica.failed && offset(call, replica) != Some(0))
            .collect();
        encode::array(&mut reply, 3 + replicas.len());
        encode::integer(&mut reply, first.number().into());
        encode::integer(&mut reply, last.number().into());
        for node in core::iter::once(owner).chain(replicas) {
            write_endpoint(call, node, &mut reply);
        }
    }
    call.out.extend_from_slice(&reply);
    Ok(())
}

/// Where clients are to connect for a node, and by what other names it can be reached.
fn write_endpoint(call: &Call<'_>, node: &NodeInfo, reply: &mut Vec<u8>) {
    encode::array(reply, 4);
    let preferred = call.server.config.cluster_preferred_endpoint_type;
    write_preferred(call, node, reply);
    encode::integer(reply, node.address.port.into());
    encode::bulk(reply, node.id.as_bytes());
    let host = (preferred != EndpointType::Ip).then_some(("ip", &*node.address.host));
    let has_name = preferred != EndpointType::Hostname && !node.hostname.is_empty();
    let hostname = has_name.then_some(("hostname", node.hostname.as_str()));
    let names: Vec<(&str, &str)> = host.into_iter().chain(hostname).collect();
    encode::map(reply, call.protocol, names.len());
    for text in names.iter().flat_map(|(name, value)| [name, value]) {
        encode::bulk(reply, text.as_bytes());
    }
}

fn write_preferred(call: &Call<'_>, node: &NodeInfo, reply: &mut Vec<u8>) {
    match call.server.config.cluster_preferred_endpoint_type {
        EndpointType::Ip => encode::bulk(reply, node.address.host.as_bytes()),
        EndpointType::Hostname if node.hostname.is_empty() => encode::bulk(reply, b"?"),
        EndpointType::Hostname => encode::bulk(reply, node.hostname.as_bytes()),
        EndpointType::UnknownEndpoint => encode::null(reply, call.protocol),
    }
}

/// How far a node's stream of writes has come; `None` where nobody could know.
fn offset(call: &Call<'_>, node: &NodeInfo) -> Option<u64> {
    let cluster = call.server.cluster.as_ref()?;
    if !cluster.has_bus() {
        None
    } else if node.id == cluster.me() {
        Some(call.server.replication.told_offset())
    } else {
        Some(node.contact.offset)
    }
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
            write_member(call, member, &mut reply);
        }
    }
    call.out.extend_from_slice(&reply);
    Ok(())
}

fn write_member(call: &Call<'_>, member: &NodeInfo, reply: &mut Vec<u8>) {
    let has_name = !member.hostname.is_empty();
    encode::map(reply, call.protocol, 7 + usize::from(has_name));
    encode::bulk(reply, b"id");
    encode::bulk(reply, member.id.as_bytes());
    encode::bulk(reply, b"port");
    encode::integer(reply, member.address.port.into());
    encode::bulk(reply, b"ip");
    encode::bulk(reply, member.address.host.as_bytes());
    encode::bulk(reply, b"endpoint");
    write_preferred(call, member, reply);
    if has_name {
        encode::bulk(reply, b"hostname");
        encode::bulk(reply, member.hostname.as_bytes());
    }
    encode::bulk(reply, b"role");
    let is_replica = member.role == Role::Replica;
    let role: &[u8] = if is_replica { b"replica" } else { b"master" };
    encode::bulk(reply, role);
    let offset = offset(call, member);
    encode::bulk(reply, b"replication-offset");
    encode::integer(reply, offset.unwrap_or(0) as i64);
    encode::bulk(reply, b"health");
    let health: &[u8] = if member.failed {
        b"fail"
    } else if is_replica && offset == Some(0) {
        b"loading"
    } else {
        b"online"
    };
    encode::bulk(reply, health);
}

pub(super) fn info(call: &mut Call<'_>) -> Result<(), CommandError> {
    let cluster = cluster(call)?;
    let view = cluster.view();
    let owners = || Slot::all().filter_map(|slot| view.owner(slot));
    let assigned = owners().count();
    let failed = owners().filter(|owner| owner.failed).count();
    let suspected = owners().filter(|owner| owner.suspected).count();
    let state = match cluster.state() {
        ClusterState::Ok => "ok",
        ClusterState::Fail => "fail",
    };
    let mut text = format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\n\
         cluster_slots_ok:{}\r\ncluster_slots_pfail:{suspected}\r\n\
         cluster_slots_fail:{failed}\r\n\
         cluster_known_nodes:{}\r\ncluster_size:{}\r\ncluster_current_epoch:{}\r\n\
         cluster_my_epoch:{}\r\n",
        assigned - failed - suspected,
        view.nodes().len(),
        cluster.last_size(),
        view.current_epoch,
        epoch(view, cluster.my_info()),
    );
    let stats = cluster.stats();
    for (counts, way) in [(&stats.sent, "sent"), (&stats.received, "received")] {
        for (number, count) in (0..).zip(counts).filter(|(_, count)| **count > 0) {
            let name = Kind::from_number(number).map_or("", Kind::name);
            // Writing to a string does not fail.
            let _ = write!(text, "cluster_stats_messages_{name}_{way}:{count}\r\n");
        }
        let sum: u64 = counts.iter().sum();
        let _ = write!(text, "cluster_stats_messages_{way}:{sum}\r\n");
    }
    let exceeded = cluster.limit_exceeded();
    let _ = write!(
        text,
        "total_cluster_links_buffer_limit_exceeded:{exceeded}\r\n"
    );
    encode::verbatim(call.out, call.protocol, text.as_bytes());
    Ok(())
}

/// The links of which it is known who is at the other end.
pub(super) fn links(call: &mut Call<'_>) -> Result<(), CommandError> {
    let protocol = call.protocol;
    let cluster = cluster(call)?;
    let known = |link: &crate::cluster::Link| link.node.clone();
    let links: Vec<_> = cluster
        .links()
        .filter_map(|(_, link)| Some((link, known(link)?)))
        .collect();
    let mut reply = Vec::new();
    encode::array(&mut reply, links.len());
    for (link, node) in links {
        encode::map(&mut reply, protocol, 6);
        let direction: &[u8] = if link.is_inbound { b"from" } else { b"to" };
        let events: &[u8] = if link.waiting > 0 { b"rw" } else { b"r" };
        for (name, value) in [("direction", direction), ("node", node.as_bytes())] {
            encode::bulk(&mut reply, name.as_bytes());
            encode::bulk(&mut reply, value);
        }
        encode::bulk(&mut reply, b"create-time");
        encode::integer(&mut reply, link.created_unix_ms as i64);
        encode::bulk(&mut reply, b"events");
        encode::bulk(&mut reply, events);
        for name in ["send-buffer-allocated", "send-buffer-used"] {
            encode::bulk(&mut reply, name.as_bytes());
            encode::integer(&mut reply, link.waiting as i64);
        }
    }
    call.out.extend_from_slice(&reply);
    Ok(())
}
