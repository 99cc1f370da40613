//! Where nodes are reached that announce something else: behind a translation of addresses, or
//! under a name.

use std::collections::BTreeMap;
use std::sync::Arc;

use slotway_protocol::cluster::nodes::NodeLine;
use slotway_protocol::engine::Address;

/// How announced addresses become those to connect to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Single nodes; they come before the hosts.
    pub nodes: BTreeMap<Address, Address>,
    /// Hosts, for all their ports.
    pub hosts: BTreeMap<Arc<str>, Arc<str>>,
    /// Whether a node that announces a hostname is reached by it.
    pub prefer_hostnames: bool,
}

impl Addresses {
    /// Gives the line the address to connect to; what is announced instead becomes an alias.
    pub(super) fn translate(&self, line: &mut NodeLine) {
        let names = core::mem::take(&mut line.aliases);
        let announced: Vec<Address> = core::iter::once(line.address.clone())
            .chain(names)
            .collect();
        let preferred = if self.prefer_hostnames {
            announced.last()
        } else {
            None
        };
        let mapped = announced.iter().find_map(|address| self.mapped(address));
        if let Some(address) = mapped.or_else(|| preferred.cloned()) {
            line.address = address;
        }
        line.aliases = announced;
        line.aliases.retain(|alias| *alias != line.address);
    }

    fn mapped(&self, address: &Address) -> Option<Address> {
        let node = self.nodes.get(address).cloned();
        node.or_else(|| {
            let host = Arc::clone(self.hosts.get(&address.host)?);
            let port = address.port;
            Some(Address { host, port })
        })
    }
}

#[cfg(test)]
mod tests {
    use slotway_protocol::cluster::nodes::parse_nodes;

    use super::*;

    fn member(addresses: &Addresses, place: &str) -> (String, Vec<String>) {
        let id = "07c37dfeb235213a872192d90877d0cd55635b91";
        let text = format!("{id} {place} master - 0 0 7 connected 0-100\n");
        let mut lines = parse_nodes(&text, &Address::new("h", 1)).unwrap();
        let mut line = lines.remove(0);
        addresses.translate(&mut line);
        let aliases = line.aliases.iter().map(ToString::to_string).collect();
        (line.address.to_string(), aliases)
    }

    #[test]
    fn a_name_is_an_alias_unless_it_is_preferred() {
        let mut addresses = Addresses::default();
        let place = "10.0.0.1:6379@16379,redis-1.example";
        let (ip, name) = ("10.0.0.1:6379", "redis-1.example:6379");
        assert_eq!(
            member(&addresses, place),
            (ip.to_owned(), vec![name.to_owned()])
        );
        assert_eq!(
            member(&addresses, "10.0.0.1:6379@1"),
            (ip.to_owned(), vec![])
        );
        addresses.prefer_hostnames = true;
        assert_eq!(
            member(&addresses, place),
            (name.to_owned(), vec![ip.to_owned()])
        );
        assert_eq!(
            member(&addresses, "10.0.0.1:6379@1"),
            (ip.to_owned(), vec![])
        );
    }

    #[test]
    fn a_node_comes_before_its_host_and_both_before_the_name() {
        let addresses = Addresses {
            nodes: [(Address::new("10.0.0.1", 6379), Address::new("out", 7001))].into(),
            hosts: [("10.0.0.1".into(), "gate".into())].into(),
            prefer_hostnames: true,
        };
        let (address, aliases) = member(&addresses, "10.0.0.1:6379@1,name");
        assert_eq!(address, "out:7001");
        assert_eq!(aliases, ["10.0.0.1:6379", "name:6379"]);
        assert_eq!(member(&addresses, "10.0.0.1:6380@1,name").0, "gate:6380");
        assert_eq!(member(&addresses, "10.0.0.2:6380@1,name").0, "name:6380");
    }
}
