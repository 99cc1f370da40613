//! Where nodes are reached that announce something else: `address_map` and `prefer_hostnames`.

use slotway::discovery::Addresses;

use super::reader::{Section, parse_address};

/// Reads both keys.
pub(super) fn read(section: &mut Section<'_>) -> Addresses {
    let mut addresses = Addresses {
        prefer_hostnames: section.flag("prefer_hostnames", false),
        ..Addresses::default()
    };
    for (offset, from, to) in section.pairs(MAP) {
        match (parse_address(&from), parse_address(&to)) {
            (Ok(from), Ok(to)) => {
                addresses.nodes.insert(from, to);
            }
            _ if is_host(&from) && is_host(&to) => {
                addresses.hosts.insert(from.into(), to.into());
            }
            _ => {
                let problem = format!(
                    "must lead from host:port to host:port or from host to host, \
                     got \"{from}\" = \"{to}\""
                );
                section.refuse(Some(offset), MAP, &problem);
            }
        }
    }
    addresses
}

/// The map as `CONFIG GET` shows it.
pub(super) fn shown(addresses: &Addresses) -> String {
    let nodes = addresses.nodes.iter();
    let nodes = nodes.map(|(from, to)| format!("{from}={to}"));
    let hosts = addresses.hosts.iter();
    let hosts = hosts.map(|(from, to)| format!("{from}={to}"));
    nodes.chain(hosts).collect::<Vec<_>>().join(" ")
}

/// A name or an address, an IPv6 one without brackets.
fn is_host(text: &str) -> bool {
    let is_name = !text.is_empty() && !text.contains([':', '/', '[', ']', ' ', '=']);
    is_name || text.parse::<core::net::Ipv6Addr>().is_ok()
}

const MAP: &str = "address_map";
