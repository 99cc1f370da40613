//! Reads the reply of `CLUSTER NODES`: what one node believes of its cluster.

use core::fmt;

use super::slot::Slot;
use crate::engine::Address;

/// One line: a node as another node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLine {
    pub id: NodeId,
    pub address: Address,
    /// What redirects may call it instead: by the name that it announces besides its address
    /// (`cluster-announce-hostname`).
    pub aliases: Vec<Address>,
    /// The node that answered.
    pub is_myself: bool,
    pub is_primary: bool,
    /// The node that answered has not heard of it in time; others may have.
    pub is_suspected: bool,
    /// The majority holds it to be down.
    pub is_failed: bool,
    /// It never takes its primary's place by itself.
    pub is_passive: bool,
    /// The node that answered has a connection to it.
    pub is_linked: bool,
    /// It can't be reached at that address: unknown, or not yet a member.
    pub is_unreachable: bool,
    /// The primary that a replica follows.
    pub primary: Option<NodeId>,
    pub config_epoch: u64,
    /// First and last slot of each range that it owns.
    pub slots: Vec<(Slot, Slot)>,
    /// Slots of the node that answered whose keys are on their way to the node of that id.
    pub migrating: Vec<(Slot, NodeId)>,
}

/// A node's name: 40 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 40]);

impl NodeId {
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: [u8; 40] = text.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(u8::is_ascii_hexdigit)
            .then_some(Self(bytes))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(core::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// Why a reply is no list of nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of CLUSTER NODES: {problem}")]
pub struct NodesError {
    /// Counted from 1.
    pub line: usize,
    pub problem: &'static str,
}

/// Reads all lines. `origin` is where the node that answered was reached: its host stands in for
/// an address that the node does not know itself.
pub fn parse_nodes(text: &str, origin: &Address) -> Result<Vec<NodeLine>, NodesError> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty());
    lines
        .map(|(index, line)| {
            parse_line(line, origin).map_err(|problem| NodesError {
                line: index + 1,
                problem,
            })
        })
        .collect()
}

/// `<id> <ip:port@cport[,hostname]> <flags> <primary> <ping> <pong> <epoch> <link> <slot> ...`
fn parse_line(line: &str, origin: &Address) -> Result<NodeLine, &'static str> {
    let mut words = line.split(' ');
    let mut word = |problem| words.next().ok_or(problem);
    let id = NodeId::parse(word("no id")?).ok_or("the id is not 40 hexadecimal digits")?;
    let place = word("no address")?;
    let address = parse_address(place, origin)?;
    let flags: Vec<&str> = word("no flags")?.split(',').collect();
    let primary = match word("no primary")? {
        "-" => None,
        primary => Some(NodeId::parse(primary).ok_or("the primary is no id")?),
    };
    word("no ping time")?;
    word("no pong time")?;
    let config_epoch = word("no epoch")?
        .parse()
        .map_err(|_| "the epoch is no number")?;
    let is_linked = word("no link state")? == "connected";
    let mut slots = Vec::new();
    let mut migrating = Vec::new();
    for word in words.filter(|word| !word.is_empty()) {
        // `[slot->-node]` and `[slot-<-node]` tell of a migration; the owner is still the owner.
        match word.strip_prefix('[') {
            Some(migration) => migrating.extend(parse_migrating(migration)),
            None => slots.push(parse_range(word).ok_or("a slot range can't be read")?),
        }
    }
    let has = |flag| flags.contains(&flag);
    Ok(NodeLine {
        id,
        is_unreachable: has("noaddr") || has("handshake") || address.port == 0,
        aliases: Vec::from_iter(parse_name(place, address.port)),
        address,
        is_myself: has("myself"),
        is_primary: has("master"),
        is_suspected: has("fail?"),
        is_failed: has("fail"),
        is_passive: has("nofailover"),
        is_linked,
        primary,
        config_epoch,
        slots,
        migrating,
    })
}

fn parse_address(word: &str, origin: &Address) -> Result<Address, &'static str> {
    let endpoint = word.split([',', '@']).next().unwrap_or(word);
    let (host, port) = endpoint.rsplit_once(':').ok_or("the address has no port")?;
    let port = port.parse().map_err(|_| "the port is no number")?;
    let host = if host.is_empty() {
        origin.host.clone()
    } else {
        host.into()
    };
    Ok(Address { host, port })
}

/// What is behind the first comma; later fields of newer servers have a `=`.
fn parse_name(place: &str, port: u16) -> Option<Address> {
    let name = place.split(',').nth(1)?;
    (!name.is_empty() && !name.contains('=')).then(|| Address::new(name, port))
}

fn parse_range(range: &str) -> Option<(Slot, Slot)> {
    let slot = |text: &str| Slot::new(text.parse().ok()?);
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (slot(first)?, slot(last)?);
    (first <= last).then_some((first, last))
}

/// What is behind the `[` when keys leave.
fn parse_migrating(word: &str) -> Option<(Slot, NodeId)> {
    let (slot, node) = word.strip_suffix(']')?.split_once("->-")?;
    Some((Slot::new(slot.parse().ok()?)?, NodeId::parse(node)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "07c37dfeb235213a872192d90877d0cd55635b91";
    const PRIMARY: &str = "e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca";

    fn line(text: &str) -> NodeLine {
        let origin = Address::new("10.1.1.1", 7000);
        parse_nodes(text, &origin).unwrap().remove(0)
    }

    #[test]
    fn reads_a_primary_with_slots_under_way() {
        let text = format!(
            "{ID} 127.0.0.1:30001@31001,host-1 myself,master - 0 0 7 connected \
             0-5460 9 [93->-{PRIMARY}] [6000-<-{PRIMARY}]\n"
        );
        let node = line(&text);
        assert_eq!(node.address, Address::new("127.0.0.1", 30001));
        assert_eq!(node.aliases, [Address::new("host-1", 30001)]);
        assert!(node.is_primary && node.is_myself && !node.is_failed && !node.is_unreachable);
        let slot = |number| Slot::new(number).unwrap();
        assert_eq!(node.slots, [(slot(0), slot(5460)), (slot(9), slot(9))]);
        assert_eq!((node.config_epoch, node.primary), (7, None));
        let primary = NodeId::parse(PRIMARY).unwrap();
        assert_eq!(node.migrating, [(slot(93), primary)]);
    }

    #[test]
    fn reads_replicas_failures_and_missing_addresses() {
        let node = line(&format!(
            "{ID} ::1:30001@31001 slave,fail {PRIMARY} 1 2 3 disconnected"
        ));
        assert_eq!(node.address, Address::new("::1", 30001));
        assert_eq!(node.primary, NodeId::parse(PRIMARY));
        assert!(node.is_failed && !node.is_primary && node.slots.is_empty());
        assert!(!node.is_suspected && !node.is_passive && !node.is_linked);
        let node = line(&format!(
            "{ID} h:1@2 slave,fail?,nofailover {PRIMARY} 1 2 3 connected"
        ));
        assert!(node.is_suspected && !node.is_failed && node.is_passive && node.is_linked);
        let node = line(&format!("{ID} h:1@2,,shard-id=7 master - 0 0 0 connected"));
        assert_eq!((node.address.port, node.aliases), (1, vec![]));
        let node = line(&format!("{ID} :7001@17001 myself,master - 0 0 0 connected"));
        assert_eq!(node.address, Address::new("10.1.1.1", 7001));
        assert!(line(&format!("{ID} :0@0 master,noaddr - 0 0 0 disconnected")).is_unreachable);
    }

    #[test]
    fn refuses_what_is_no_list_of_nodes() {
        let origin = Address::new("h", 1);
        for text in [
            "x",
            "nope 127.0.0.1:1@2 master - 0 0 0 connected",
            &format!("{ID} 127.0.0.1 master - 0 0 0 connected"),
            &format!("{ID} 127.0.0.1:1@2 master - 0 0 x connected"),
            &format!("{ID} 127.0.0.1:1@2 master - 0 0 0 connected 5-16384"),
            &format!("{ID} 127.0.0.1:1@2 master - 0 0 0 connected 6-5"),
        ] {
            assert!(parse_nodes(text, &origin).is_err(), "{text}");
        }
    }
}
