//! The lines of CLUSTER NODES, which are also what the cluster file consists of.

use core::fmt::Write;

use slotway_protocol::cluster::{Role, Slot};
use slotway_protocol::engine::{Address, Instant, Now};

use super::send::unix_ms;
use super::{Cluster, ClusterView, NodeInfo};

/// A cluster file that can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unrecoverable error: corrupted cluster config file.")]
pub struct NodesConfError;

/// Appends one line, without its end.
pub(crate) fn describe(cluster: &Cluster, node: &NodeInfo, now: Now, text: &mut String) {
    let view = cluster.view();
    let is_me = node.id == cluster.me();
    let link = if is_me || node.contact.is_linked || !cluster.has_bus() {
        "connected"
    } else {
        "disconnected"
    };
    let (comma, hostname) = match node.hostname.as_str() {
        "" => ("", ""),
        hostname => (",", hostname),
    };
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{} {}:{}@{}{comma}{hostname} {} {} {} {} {} {link}",
        node.id,
        node.address.host,
        node.address.port,
        node.bus_port,
        flag_names(node, is_me),
        node.primary.as_deref().unwrap_or("-"),
        unix_ms(node.contact.ping_sent, now),
        unix_ms(node.contact.pong_received, now),
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
pub(crate) fn epoch(view: &ClusterView, node: &NodeInfo) -> u64 {
    let primary = node.primary.as_deref().and_then(|id| view.node(id));
    primary.unwrap_or(node).epoch
}

fn flag_names(node: &NodeInfo, is_me: bool) -> String {
    let names = [
        (is_me, "myself"),
        (node.role == Role::Primary && !node.handshake, "master"),
        (node.role == Role::Replica && !node.handshake, "slave"),
        (node.suspected, "fail?"),
        (node.failed, "fail"),
        (node.handshake, "handshake"),
        (node.no_address, "noaddr"),
        (node.no_failover, "nofailover"),
    ];
    let set = names.iter().filter(|(on, _)| *on);
    let names: Vec<&str> = set.map(|(_, name)| *name).collect();
    if names.is_empty() {
        "noflags".to_owned()
    } else {
        names.join(",")
    }
}

impl Cluster {
    /// The text of the cluster file.
    pub(crate) fn nodes_conf(&self) -> String {
        let mut text = String::new();
        // Times in it mean nothing but whether there was any.
        let now = Now {
            instant: Instant::from_micros(0),
            unix_ms: 1,
        };
        for node in self.view.nodes().iter().filter(|node| !node.handshake) {
            describe(self, node, now, &mut text);
            text.push('\n');
        }
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "vars currentEpoch {} lastVoteEpoch {}",
            self.view.current_epoch, self.last_vote_epoch
        );
        text
    }

    /// Takes over what the cluster file says.
    pub(crate) fn load_nodes_conf(&mut self, text: &str, now: Now) -> Result<(), NodesConfError> {
        let loaded = parse(text, now).ok_or(NodesConfError)?;
        self.me = loaded.me;
        self.had_past = true;
        self.last_vote_epoch = loaded.last_vote_epoch;
        let hostless = self.my_info().address.clone();
        self.my_index = loaded.view.index_of(&self.me).ok_or(NodesConfError)?;
        let require = self.view.require_full_coverage;
        self.view = loaded.view;
        self.view.require_full_coverage = require;
        let mine = self.my_info_mut();
        mine.address.port = hostless.port;
        self.update_my_address();
        let primary = self.my_info().primary.clone();
        if let Some(primary) = primary.and_then(|id| self.view.node(&id).cloned()) {
            let address = primary.address;
            self.effects.push_back(super::Effect::Follow(Some(address)));
        }
        Ok(())
    }
}

struct Loaded {
    view: ClusterView,
    me: String,
    last_vote_epoch: u64,
}

/// `None` for what is no cluster file.
fn parse(text: &str, now: Now) -> Option<Loaded> {
    let mut view = ClusterView::default();
    let (mut me, mut last_vote_epoch, mut has_end) = (None, 0, false);
    let mut slots = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let mut words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        if let Some((&"vars", pairs)) = words.split_first() {
            let (pairs, rest) = pairs.as_chunks::<2>();
            for [name, value] in pairs {
                match *name {
                    "currentEpoch" => view.current_epoch = value.parse().ok()?,
                    "lastVoteEpoch" => last_vote_epoch = value.parse().ok()?,
                    _ => {}
                }
            }
            has_end = rest.is_empty();
            continue;
        }
        let (node, is_me) = parse_node(&words, now)?;
        if is_me && me.replace(node.id.clone()).is_some() {
            return None;
        }
        slots.push((node.id.clone(), words.split_off(8)));
        view.add(node)?;
    }
    let me = me.filter(|_| has_end)?;
    for (id, words) in &slots {
        assign_slots(&mut view, id, words)?;
    }
    let primaries: Vec<String> = view
        .nodes()
        .iter()
        .filter_map(|node| node.primary.clone())
        .collect();
    for id in primaries {
        // One that is named but has no line of its own is one that nothing else is known of.
        if view.node(&id).is_none() {
            let mut node = NodeInfo::primary(id.clone(), "", 0);
            node.no_address = true;
            view.add(node)?;
        }
        view.node_mut(&id)?.migrate_to = true;
    }
    let highest = view
        .nodes()
        .iter()
        .map(|node| node.epoch)
        .max()
        .unwrap_or(0);
    view.current_epoch = view.current_epoch.max(highest);
    Some(Loaded {
        view,
        me,
        last_vote_epoch,
    })
}

/// A node, and whether it is this one.
fn parse_node(words: &[&str], now: Now) -> Option<(NodeInfo, bool)> {
    let [id, place, flags, primary, ping, pong, epoch, _link, ..] = words else {
        return None;
    };
    let is_id = |text: &str| text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id(id) {
        return None;
    }
    let mut names = place.split(',');
    let (address, bus_port) = match names.next()?.split_once('@') {
        Some((address, bus_port)) => (address, Some(bus_port.parse::<u16>().ok()?)),
        None => (names.next().is_none().then_some(*place)?, None),
    };
    let (host, port) = address.rsplit_once(':')?;
    let mut node = NodeInfo::primary(*id, host, port.parse().ok()?);
    node.address = Address::new(host, node.address.port);
    node.bus_port = bus_port.unwrap_or(node.bus_port);
    // Later servers put more behind the hostname, each with its name.
    node.hostname = names
        .next()
        .filter(|name| !name.contains('='))
        .unwrap_or("")
        .to_owned();
    let mut is_me = false;
    for flag in flags.split(',') {
        match flag {
            "myself" => is_me = true,
            "slave" => node.role = Role::Replica,
            "fail?" => node.suspected = true,
            "fail" => {
                node.failed = true;
                node.contact.failed_at = Some(now.instant);
            }
            "handshake" => node.handshake = true,
            "noaddr" => node.no_address = true,
            "nofailover" => node.no_failover = true,
            "master" | "noflags" => {}
            _ => return None,
        }
    }
    if *primary != "-" {
        node.primary = Some(is_id(primary).then(|| (*primary).to_owned())?);
    }
    let heard = |word: &str| Some((word.parse::<u64>().ok()? > 0).then_some(now.instant));
    node.contact.ping_sent = heard(ping)?;
    node.contact.pong_received = heard(pong)?;
    let epoch: u64 = epoch.parse().ok()?;
    if node.role == Role::Primary {
        node.epoch = epoch;
    }
    Some((node, is_me))
}

/// `0-5460`, `7`, `[93->-id]`, `[93-<-id]`.
fn assign_slots(view: &mut ClusterView, id: &str, words: &[&str]) -> Option<()> {
    let slot = |text: &str| Slot::new(text.parse().ok()?);
    for word in words {
        if let Some(moving) = word.strip_prefix('[') {
            let moving = moving.strip_suffix(']')?;
            if let Some((number, to)) = moving.split_once("->-") {
                view.set_migrating(slot(number)?, Some(to.to_owned()));
            } else {
                let (number, from) = moving.split_once("-<-")?;
                view.set_importing(slot(number)?, Some(from.to_owned()));
            }
            continue;
        }
        let (first, last) = word.split_once('-').unwrap_or((*word, *word));
        let (first, last) = (slot(first)?, slot(last)?);
        if first > last || !view.assign(first, last, Some(id)) {
            return None;
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Now = Now {
        instant: Instant::from_micros(5),
        unix_ms: 1_700_000_000_000,
    };

    /// As redis-server 7.0.15 has written it.
    const FILE: &str = concat!(
        "22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f0001 127.0.0.1:7001@17001 master,fail ",
        "- 1700000000000 1700000000001 2 disconnected 5461-10922\n",
        "22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f0000 127.0.0.1:7000@17000,host-0 myself,master ",
        "- 0 1700000000000 1 connected 0-5459 5460 ",
        "[93->-22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f0001]\n",
        "22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f0002 127.0.0.1:7002@17002,,shard-id=11 slave ",
        "22bbf0a1a0c5f9c0c2ac8eb5c1fd0d4b9e5f0000 0 1700000000000 1 connected\n",
        "vars currentEpoch 6 lastVoteEpoch 4 other 1\n\n\n",
    );

    #[test]
    fn reads_what_redis_has_written() {
        let loaded = parse(FILE, NOW).unwrap();
        let view = &loaded.view;
        assert_eq!((view.nodes().len(), view.current_epoch), (3, 6));
        assert_eq!(loaded.last_vote_epoch, 4);
        let mine = view.node(&loaded.me).unwrap();
        assert_eq!((mine.hostname.as_str(), mine.epoch), ("host-0", 1));
        let first = Slot::new(5460).unwrap();
        assert_eq!(view.owner(first).unwrap().id, loaded.me);
        assert!(view.nodes()[0].failed && view.nodes()[0].contact.failed_at.is_some());
        assert_eq!(view.replicas(&loaded.me).count(), 1);
        assert_eq!(view.nodes()[2].hostname, "");
        assert!(view.migrating(Slot::new(93).unwrap()).is_some());
    }

    #[test]
    fn what_is_cut_or_altered_is_refused() {
        let end = FILE.find("vars").unwrap();
        for cut in (0..end).filter(|cut| FILE.is_char_boundary(*cut)) {
            assert!(parse(&FILE[..cut], NOW).is_none(), "{}", &FILE[..cut]);
        }
        for (from, to) in [
            ("myself,", ""),
            ("master,fail", "myself"),
            ("0-5459", "5459-0"),
            ("0-5459", "0-16384"),
            ("17000", "170000"),
            ("22bbf0a1", "22bbf0x1"),
            ("currentEpoch 6", "currentEpoch x"),
        ] {
            assert!(parse(&FILE.replacen(from, to, 9), NOW).is_none(), "{from}");
        }
    }
}
