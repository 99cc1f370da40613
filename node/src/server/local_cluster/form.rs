//! Makes a cluster of nodes that run: by CLUSTER ADDSLOTSRANGE, SET-CONFIG-EPOCH, MEET and
//! REPLICATE, and waits until each of them says that it is well.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use slotway_protocol::cluster::nodes::{NodeId, NodeLine, parse_nodes};
use slotway_protocol::cluster::{SLOTS, Slot};
use slotway_protocol::engine::Address;

use super::client::Client;
use super::{LocalClusterError, PATIENCE, PAUSE};
use crate::server::ServerHandle;

/// A node, and a connection to it.
#[derive(Debug)]
pub(super) struct Member {
    address: Address,
    bus_port: u16,
    id: String,
    client: Client,
}

impl Member {
    pub(super) fn of(node: &ServerHandle, password: &str) -> Result<Self, LocalClusterError> {
        let socket = node.addresses().first().copied();
        let socket = socket.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0)));
        let mut client = Client::connect(socket, password)?;
        Ok(Self {
            address: Address::new(socket.ip().to_string(), socket.port()),
            bus_port: node.bus_port(),
            id: client.ask(&["CLUSTER", "MYID"])?,
            client,
        })
    }

    /// What this node knows of its cluster.
    fn nodes(&mut self) -> Result<Vec<NodeLine>, LocalClusterError> {
        let text = self.client.ask(&["CLUSTER", "NODES"])?;
        parse_nodes(&text, &self.address).map_err(|error| LocalClusterError::Asked {
            node: self.client.node(),
            reason: error.to_string(),
        })
    }

    /// Whether a reply has that line, which ends in CR and LF.
    fn says(&mut self, request: &[&str], line: &str) -> Result<bool, LocalClusterError> {
        Ok(self
            .client
            .ask(request)?
            .lines()
            .any(|other| other.trim_end() == line))
    }
}

/// Has the nodes know each other, and with `primaries` makes those the first of them.
pub(super) fn form(
    members: &mut [Member],
    primaries: Option<usize>,
) -> Result<(), LocalClusterError> {
    let deadline = Instant::now() + PATIENCE;
    if let Some(primaries) = primaries {
        give_slots(members, primaries)?;
    }
    introduce(members)?;
    let ids: Vec<String> = members.iter().map(|member| member.id.clone()).collect();
    wait(deadline, || {
        for member in &mut *members {
            if let Some(trouble) = is_stranger_to(member, &ids)? {
                return Ok(Some(trouble));
            }
        }
        Ok(None)
    })?;
    if let Some(primaries) = primaries {
        for (index, member) in members.iter_mut().enumerate().skip(primaries) {
            let primary = &ids[index % primaries];
            member.client.ask(&["CLUSTER", "REPLICATE", primary])?;
        }
    }
    wait(deadline, || trouble(members))
}

/// The first nodes share all slots, as evenly as redis-cli has it.
fn give_slots(members: &mut [Member], primaries: usize) -> Result<(), LocalClusterError> {
    for (index, member) in members.iter_mut().enumerate() {
        if let Some((first, last)) = share(index, primaries) {
            let (first, last) = (first.to_string(), last.to_string());
            let request = ["CLUSTER", "ADDSLOTSRANGE", &first, &last];
            member.client.ask(&request)?;
        }
        let epoch = (index + 1).to_string();
        member
            .client
            .ask(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch])?;
    }
    Ok(())
}

/// The first and the last slot of a primary.
fn share(index: usize, primaries: usize) -> Option<(usize, usize)> {
    // Rounded to the nearest.
    let border = |index: usize| (2 * index * SLOTS + primaries) / (2 * primaries);
    (index < primaries).then(|| (border(index), border(index + 1) - 1))
}

/// Each node meets each that it does not know, or knows at another address. Through others it
/// would learn of all as well, but only in the course of seconds.
fn introduce(members: &mut [Member]) -> Result<(), LocalClusterError> {
    for index in 1..members.len() {
        let (earlier, rest) = members.split_at_mut(index);
        let Some(member) = rest.first_mut() else {
            continue;
        };
        let known = member.nodes()?;
        let knows = |other: &Member| {
            known
                .iter()
                .any(|line| line.id.to_string() == other.id && line.address == other.address)
        };
        for other in earlier.iter().filter(|other| !knows(other)) {
            let (port, bus_port) = (other.address.port.to_string(), other.bus_port.to_string());
            let request = ["CLUSTER", "MEET", &other.address.host, &port, &bus_port];
            member.client.ask(&request)?;
        }
    }
    Ok(())
}

/// Says whom a node does not know yet.
fn is_stranger_to(
    member: &mut Member,
    ids: &[String],
) -> Result<Option<String>, LocalClusterError> {
    let lines = member.nodes()?;
    let is_known = |id: &&String| {
        let line = lines.iter().find(|line| line.id.to_string() == **id);
        line.is_some_and(|line| !line.is_unreachable)
    };
    let known = ids.iter().filter(is_known).count();
    let all = ids.len();
    Ok((known < all).then(|| format!("{} knows {known} of {all} nodes", member.client.node())))
}

/// What is not well yet: all nodes must say that the cluster is, say the same of it, and have what
/// their primaries have.
fn trouble(members: &mut [Member]) -> Result<Option<String>, LocalClusterError> {
    let mut agreed = None;
    for member in members {
        let node = member.client.node();
        if !member.says(&["CLUSTER", "INFO"], "cluster_state:ok")? {
            return Ok(Some(format!("{node} says that the cluster is down")));
        }
        let lines = member.nodes()?;
        let is_replica = lines.iter().any(|line| line.is_myself && !line.is_primary);
        let believed = belief(lines);
        if *agreed.get_or_insert_with(|| believed.clone()) != believed {
            return Ok(Some(format!("{node} does not believe what others do")));
        }
        let request = ["INFO", "replication"];
        if is_replica && !member.says(&request, "master_link_status:up")? {
            return Ok(Some(format!("{node} has no link to its primary")));
        }
    }
    Ok(None)
}

/// What all have to agree on: who is there, whom each one follows, and what slots it owns.
type Belief = BTreeMap<NodeId, (bool, Option<NodeId>, Vec<(Slot, Slot)>)>;

fn belief(lines: Vec<NodeLine>) -> Belief {
    let of_one = |line: NodeLine| (line.id, (line.is_primary, line.primary, line.slots));
    lines.into_iter().map(of_one).collect()
}

/// Asks again and again, until there is no trouble or the time is over.
fn wait(
    deadline: Instant,
    mut trouble: impl FnMut() -> Result<Option<String>, LocalClusterError>,
) -> Result<(), LocalClusterError> {
    while let Some(trouble) = trouble()? {
        if Instant::now() >= deadline {
            return Err(LocalClusterError::NotWell {
                seconds: PATIENCE.as_secs(),
                trouble,
            });
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_shared_as_redis_cli_does() {
        for (primaries, expected) in [
            (1, vec![(0, 16_383)]),
            (3, vec![(0, 5_460), (5_461, 10_922), (10_923, 16_383)]),
            (
                5,
                vec![
                    (0, 3_276),
                    (3_277, 6_553),
                    (6_554, 9_829),
                    (9_830, 13_106),
                    (13_107, 16_383),
                ],
            ),
        ] {
            let shares = (0..primaries + 1).filter_map(|index| share(index, primaries));
            assert_eq!(shares.collect::<Vec<_>>(), expected);
        }
    }
}
