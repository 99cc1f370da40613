//! `CLUSTER` as it looks to clients of Redis Cluster: one node with all slots, at one address, the
//! proxy's own. No client is ever sent elsewhere.

use slotway_protocol::cluster::{SLOTS, Slot};
use slotway_protocol::engine::Address;
use slotway_protocol::resp::{Protocol, Request, encode};

use crate::engine::options::Emulation;
use crate::engine::session::Session;

/// What a client asks about the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Topic {
    FailureReports,
    Info,
    KeySlot,
    Links,
    MyId,
    Nodes,
    Replicas,
    Shards,
    Slots,
}

/// The reply about that topic, from one who is connected to the proxy as the session says.
pub(super) fn reply(
    topic: Topic,
    request: &Request<'_>,
    session: &Session,
    emulation: &Emulation,
    out: &mut Vec<u8>,
) {
    let node = Node::new(emulation, session);
    let protocol = session.protocol;
    match topic {
        Topic::FailureReports => {
            if node.is_asked(request.arg(2), out) {
                encode::integer(out, 0);
            }
        }
        Topic::Info => encode::verbatim(out, protocol, info().as_bytes()),
        Topic::KeySlot => encode::integer(out, Slot::of(request.arg(2)).number().into()),
        Topic::Links => encode::array(out, 0),
        Topic::MyId => encode::bulk(out, node.id.as_bytes()),
        Topic::Nodes => encode::verbatim(out, protocol, node.line().as_bytes()),
        Topic::Replicas => {
            if node.is_asked(request.arg(2), out) {
                encode::array(out, 0);
            }
        }
        Topic::Shards => node.write_shards(protocol, out),
        Topic::Slots => node.write_slots(protocol, out),
    }
}

/// The one node.
struct Node {
    address: Address,
    id: String,
}

impl Node {
    fn new(emulation: &Emulation, session: &Session) -> Self {
        let address = emulation.announce.clone().unwrap_or_else(|| {
            let local = session.ends.local();
            Address::new(local.ip().to_string(), local.port())
        });
        let id = id_of(&address);
        Self { address, id }
    }

    /// Whether a node id is this one's; if not, the reply says so.
    fn is_asked(&self, id: &[u8], out: &mut Vec<u8>) -> bool {
        let is_asked = id == self.id.as_bytes();
        if !is_asked {
            encode::error(out, &[b"ERR Unknown node ", id].concat());
        }
        is_asked
    }

    /// As in `CLUSTER NODES`. There is no bus, so its port is 0.
    fn line(&self) -> String {
        let Address { host, port } = &self.address;
        let last = SLOTS - 1;
        let id = &self.id;
        format!("{id} {host}:{port}@0 myself,master - 0 0 0 connected 0-{last}\n")
    }

    fn write_slots(&self, protocol: Protocol, out: &mut Vec<u8>) {
        encode::array(out, 1);
        encode::array(out, 3);
        encode::integer(out, 0);
        encode::integer(out, LAST_SLOT);
        encode::array(out, 4);
        encode::bulk(out, self.address.host.as_bytes());
        encode::integer(out, self.address.port.into());
        encode::bulk(out, self.id.as_bytes());
        encode::map(out, protocol, 0);
    }

    fn write_shards(&self, protocol: Protocol, out: &mut Vec<u8>) {
        encode::array(out, 1);
        encode::map(out, protocol, 2);
        encode::bulk(out, b"slots");
        encode::array(out, 2);
        encode::integer(out, 0);
        encode::integer(out, LAST_SLOT);
        encode::bulk(out, b"nodes");
        encode::array(out, 1);
        encode::map(out, protocol, 7);
        encode::bulk(out, b"id");
        encode::bulk(out, self.id.as_bytes());
        encode::bulk(out, b"port");
        encode::integer(out, self.address.port.into());
        for field in ["ip", "endpoint"] {
            encode::bulk(out, field.as_bytes());
            encode::bulk(out, self.address.host.as_bytes());
        }
        encode::bulk(out, b"role");
        encode::bulk(out, b"master");
        encode::bulk(out, b"replication-offset");
        encode::integer(out, 0);
        encode::bulk(out, b"health");
        encode::bulk(out, b"online");
    }
}

fn info() -> String {
    [
        "cluster_state:ok".to_owned(),
        format!("cluster_slots_assigned:{SLOTS}"),
        format!("cluster_slots_ok:{SLOTS}"),
        "cluster_slots_pfail:0".to_owned(),
        "cluster_slots_fail:0".to_owned(),
        "cluster_known_nodes:1".to_owned(),
        "cluster_size:1".to_owned(),
        "cluster_current_epoch:0".to_owned(),
        "cluster_my_epoch:0".to_owned(),
        "cluster_stats_messages_sent:0".to_owned(),
        "cluster_stats_messages_received:0".to_owned(),
        "total_cluster_links_buffer_limit_exceeded:0\r\n".to_owned(),
    ]
    .join("\r\n")
}

/// Forty hexadecimal digits, the same from every proxy that announces the address: FNV-1a, from
/// three beginnings.
fn id_of(address: &Address) -> String {
    let text = address.to_string();
    let hash = |round: u8| {
        let bytes = core::iter::once(round).chain(text.bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let mut id = format!("{:016x}{:016x}{:016x}", hash(0), hash(1), hash(2));
    id.truncate(40);
    id
}

const LAST_SLOT: i64 = SLOTS as i64 - 1;

#[cfg(test)]
mod tests {
    use slotway_protocol::cluster::nodes::parse_nodes;

    use super::super::tests::{World, session};
    use super::*;
    use crate::engine::listing::Ends;

    fn world() -> World {
        let mut world = World::default();
        world.options.cluster = Some(Emulation { announce: None });
        world
    }

    #[test]
    fn the_one_node_is_where_the_client_is_connected() {
        let mut session = session();
        session.ends = Ends::to(([10, 0, 0, 7], 6379).into());
        let mut world = world();
        let id = world.reply(&mut session, "CLUSTER MYID");
        let id = id
            .strip_prefix("$40\r\n")
            .expect("40 digits")
            .trim_end()
            .to_owned();
        assert!(
            id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{id}"
        );
        let end = format!("$8\r\n10.0.0.7\r\n:6379\r\n$40\r\n{id}\r\n");
        assert_eq!(
            world.reply(&mut session, "CLUSTER SLOTS"),
            format!("*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n{end}*0\r\n")
        );
        let line = format!("{id} 10.0.0.7:6379@0 myself,master - 0 0 0 connected 0-16383\n");
        let nodes = world.reply(&mut session, "CLUSTER NODES");
        assert_eq!(nodes, format!("${}\r\n{line}\r\n", line.len()));
        for (request, expected) in [
            (format!("CLUSTER REPLICAS {id}"), "*0\r\n"),
            (format!("CLUSTER SLAVES {id}"), "*0\r\n"),
            ("CLUSTER REPLICAS x".to_owned(), "-ERR Unknown node x\r\n"),
            (format!("CLUSTER COUNT-FAILURE-REPORTS {id}"), ":0\r\n"),
            ("CLUSTER KEYSLOT {a}b".to_owned(), ":15495\r\n"),
            ("CLUSTER LINKS".to_owned(), "*0\r\n"),
        ] {
            assert_eq!(world.reply(&mut session, &request), expected, "{request}");
        }
    }

    #[test]
    fn an_announced_address_is_the_same_for_everyone() {
        let mut world = world();
        let announce = Some(Address::new("cache.example", 7));
        world.options.cluster = Some(Emulation { announce });
        let mut one = session();
        let mut other = session();
        other.ends = Ends::to(([10, 0, 0, 8], 6380).into());
        for request in [
            "CLUSTER SHARDS",
            "CLUSTER SLOTS",
            "CLUSTER MYID",
            "CLUSTER NODES",
        ] {
            let reply = world.reply(&mut one, request);
            assert_eq!(world.reply(&mut other, request), reply);
            assert!(
                request.ends_with("MYID") || reply.contains("cache.example"),
                "{reply}"
            );
        }
        let address = |port| Address::new("h", port);
        assert_ne!(id_of(&address(1)), id_of(&address(2)));
        assert_eq!(id_of(&address(1)), id_of(&address(1)));
    }

    /// The discovery, which reads the replies of real nodes, can read this one.
    #[test]
    fn the_line_is_that_of_a_node() {
        let mut session = session();
        session.ends = Ends::to(([10, 0, 0, 7], 6379).into());
        let node = Node::new(&Emulation { announce: None }, &session);
        let lines = parse_nodes(&node.line(), &Address::new("h", 1)).expect("a list of nodes");
        assert_eq!(
            lines[0].slots,
            [(Slot::new(0).unwrap(), Slot::new(16_383).unwrap())]
        );
        assert!(lines[0].is_myself && lines[0].is_primary && !lines[0].is_unreachable);
    }

    #[test]
    fn resp3_has_maps_and_texts() {
        let mut session = session();
        session.protocol = Protocol::Resp3;
        let mut world = world();
        let reply = world.reply(&mut session, "CLUSTER SHARDS");
        assert!(
            reply.starts_with("*1\r\n%2\r\n$5\r\nslots\r\n*2\r\n:0\r\n"),
            "{reply}"
        );
        assert!(
            world
                .reply(&mut session, "CLUSTER SLOTS")
                .ends_with("%0\r\n")
        );
        let info = world.reply(&mut session, "CLUSTER INFO");
        assert!(
            info.starts_with("=316\r\ntxt:cluster_state:ok\r\n"),
            "{info}"
        );
    }
}
